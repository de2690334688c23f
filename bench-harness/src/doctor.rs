//! `doctor`: what about this machine spoils a benchmark, and what to do about it.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::failure::Failure;
use crate::machine::{Busy, CpuTimes, Disk, Facts, Interrupt, Root};

/// Say what about this machine spoils a benchmark.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the broker keeps its data: its disk is examined.
    #[arg(long, default_value = ".")]
    data_dir: PathBuf,
    /// CPUs that the broker is pinned to, as in 2-3,6: interrupts on them are told.
    #[arg(long, value_parser = cpu_list, default_value = "")]
    cores: CpuList,
    /// Read proc/ and sys/ below this folder.
    #[arg(long, default_value = "/", hide = true)]
    root: PathBuf,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuList(pub(crate) Vec<usize>);

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Good,
    /// Figures hold for this machine as it is, but less steadily, or for less than it seems.
    Doubtful,
    /// Figures mean little.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    pub(crate) what: &'static str,
    pub(crate) found: String,
    /// Empty where there is nothing to do.
    pub(crate) remedy: String,
}

const SAMPLE: Duration = Duration::from_secs(1);
const BUSY_MAX: f64 = 0.10;
const STEAL_BAD: f64 = 0.01;
const STEAL_DOUBTFUL: f64 = 0.001;
const FREE_BYTES_BAD: u64 = 2 << 30;
const FREE_BYTES_DOUBTFUL: u64 = 20 << 30;
const OPEN_FILES_MIN: u64 = 20_000;
const SWAPPINESS_MAX: u32 = 10;
/// Broker and generator need CPUs of their own.
const CPUS_MIN: usize = 4;
/// Clocks that a process reads without asking the kernel.
const FAST_CLOCKS: &[&str] = &["tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page"];
const MEMORY_FILESYSTEMS: &[&str] = &["tmpfs", "ramfs", "devtmpfs"];
const FAR_FILESYSTEMS: &[&str] =
    &["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "fuse.sshfs", "fuse"];

pub(crate) fn main(args: Args) -> Result<(), Failure> {
    let root = Root(args.root);
    let before = CpuTimes::read(&root);
    thread::sleep(SAMPLE);
    let busy = before.and_then(|before| CpuTimes::read(&root)?.since(&before));
    let findings = examine(&Facts::read(&root, Some(&args.data_dir)), busy.as_ref(), &args.cores.0);
    print!("{}", shown(&findings));
    let bad = findings.iter().filter(|finding| finding.level == Level::Bad).count();
    match bad {
        0 => Ok(()),
        1 => Err(Failure::failed("one thing makes figures from this machine mean little")),
        _ => Err(Failure::failed(format!("{bad} things make figures from this machine mean little"))),
    }
}

/// Looks at everything that is known; what is not known is not judged.
pub(crate) fn examine(facts: &Facts, busy: Option<&Busy>, cores: &[usize]) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(busy.map(neighbours));
    found.extend(busy.map(steal));
    found.push(governor(facts));
    found.extend(facts.cpu.turbo.map(turbo));
    found.push(cpus(facts));
    found.extend(facts.limits.cpus.map(cpu_limit));
    found.extend(facts.clocksource.as_deref().map(clock));
    found.push(swap(facts));
    found.extend(facts.memory.transparent_huge_pages.as_deref().map(huge_pages));
    found.extend(facts.virtualisation.as_deref().map(virtual_machine));
    if let Some(disk) = &facts.disk {
        found.push(filesystem(disk));
        found.extend(disk.cache.as_deref().map(|cache| disk_cache(cache, facts.virtualisation.is_some())));
        found.extend(disk.free_bytes.map(free_space));
    }
    found.extend(facts.limits.open_files.map(open_files));
    found.extend(interrupts(&facts.interrupts, cores));
    found
}

fn finding(level: Level, what: &'static str, found: impl Into<String>, remedy: &str) -> Finding {
    let remedy = if level == Level::Good { String::new() } else { remedy.to_owned() };
    Finding { level, what, found: found.into(), remedy }
}

/// Bad or doubtful if it is so, good otherwise.
fn level_if(is_so: bool, level: Level) -> Level {
    if is_so { level } else { Level::Good }
}

fn neighbours(busy: &Busy) -> Finding {
    let level = level_if(busy.busy > BUSY_MAX, Level::Bad);
    let found = format!("{:.1} % of all CPU time was in use before the benchmark began", busy.busy * 100.0);
    finding(level, "other load", found, "Stop what else runs (see top), or take another machine.")
}

fn steal(busy: &Busy) -> Finding {
    let level = match busy.steal {
        share if share > STEAL_BAD => Level::Bad,
        share if share > STEAL_DOUBTFUL => Level::Doubtful,
        _ => Level::Good,
    };
    let found =
        format!("{:.2} % of CPU time was given to other machines on the same host", busy.steal * 100.0);
    finding(
        level,
        "steal",
        found,
        "Take a machine of its own (dedicated or bare metal), or measure at another hour.",
    )
}

fn governor(facts: &Facts) -> Finding {
    let governors = &facts.cpu.governors;
    if governors.is_empty() {
        return match facts.virtualisation {
            Some(_) => finding(Level::Good, "governor", "the host's affair: not visible in here", ""),
            None => finding(Level::Good, "governor", "none: the frequency is not the kernel's to set", ""),
        };
    }
    let names: Vec<&str> = governors.keys().map(String::as_str).collect();
    let level = level_if(names != ["performance"], Level::Bad);
    let remedy = "Fix the frequency: cpupower frequency-set -g performance";
    finding(level, "governor", names.join(", "), remedy)
}

fn turbo(is_on: bool) -> Finding {
    let remedy = "Turn it off, or figures follow the temperature: echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo, \
                  or echo 0 > /sys/devices/system/cpu/cpufreq/boost";
    finding(level_if(is_on, Level::Doubtful), "turbo", if is_on { "on" } else { "off" }, remedy)
}

fn cpus(facts: &Facts) -> Finding {
    let (logical, cores) = (facts.cpu.logical, facts.cpu.cores);
    let found = format!("{logical} CPUs, {cores} cores");
    let remedy = if logical < CPUS_MIN {
        "Broker and generator share CPUs: read ratios, not figures, and watch the generator's lag."
    } else {
        "Pin broker and generator to different cores, not to the two halves of one."
    };
    finding(level_if(logical < CPUS_MIN || cores < logical, Level::Doubtful), "CPUs", found, remedy)
}

fn cpu_limit(cpus: f64) -> Finding {
    let remedy = "A quota stops a process for milliseconds at a time: pin to CPUs instead.";
    finding(Level::Bad, "CPU limit", format!("a control group allows {cpus} CPUs"), remedy)
}

fn clock(name: &str) -> Finding {
    let is_slow = !FAST_CLOCKS.contains(&name);
    let remedy = "Each look at the clock asks the kernel. Boot with clocksource=tsc tsc=reliable if the CPU's is steady.";
    finding(level_if(is_slow, Level::Bad), "clock", name, remedy)
}

fn swap(facts: &Facts) -> Finding {
    const MIB: u64 = 1 << 20;
    let memory = &facts.memory;
    let (total, used) = (memory.swap_total_bytes / MIB, memory.swap_used_bytes / MIB);
    if total == 0 {
        return finding(Level::Good, "swap", "none", "");
    }
    let found = format!("{used} of {total} MiB in use");
    if used > 0 {
        return finding(Level::Bad, "swap", found, "Make room and turn it off: swapoff -a");
    }
    let is_eager = memory.swappiness.is_none_or(|it| it > SWAPPINESS_MAX);
    finding(
        level_if(is_eager, Level::Doubtful),
        "swap",
        found,
        "Turn it off: swapoff -a, or sysctl vm.swappiness=1",
    )
}

fn huge_pages(chosen: &str) -> Finding {
    let remedy = "The kernel may stop a process to merge pages: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled";
    finding(level_if(chosen == "always", Level::Doubtful), "transparent huge pages", chosen, remedy)
}

fn virtual_machine(name: &str) -> Finding {
    let remedy = "Neighbours and the host's disk cache cannot be seen from in here: repeat, interleave, and trust ratios only.";
    finding(Level::Doubtful, "virtual machine", name, remedy)
}

fn filesystem(disk: &Disk) -> Finding {
    let found = format!("{} at {}", disk.filesystem, disk.mount);
    let kind = disk.filesystem.as_str();
    if MEMORY_FILESYSTEMS.contains(&kind) {
        let remedy = "Nothing is ever written: put the data directory on a disk.";
        return finding(Level::Bad, "data directory", found, remedy);
    }
    if FAR_FILESYSTEMS.contains(&kind) || kind == "overlay" {
        let remedy = "What is measured is the layer between, not a disk: put the data directory on a local file system.";
        return finding(Level::Bad, "data directory", found, remedy);
    }
    if disk.options.split(',').any(|it| it == "discard") {
        let remedy = "Deleted segments are trimmed at once, beside the load: mount without discard and run fstrim before.";
        return finding(Level::Doubtful, "data directory", format!("{found}, discard"), remedy);
    }
    finding(Level::Good, "data directory", found, "")
}

fn disk_cache(cache: &str, is_virtual: bool) -> Finding {
    let is_volatile = cache != "write through";
    let remedy = if is_virtual {
        "A write is durable only after a flush, and whether the host passes flushes on cannot be seen from in here: \
         compare targets that flush with targets that flush, on this disk only."
    } else {
        "A write is durable only after a flush; a disk with power-loss protection says write through. Compare targets \
         that flush with targets that flush, on this disk only."
    };
    finding(level_if(is_volatile, Level::Doubtful), "disk cache", cache, remedy)
}

fn free_space(bytes: u64) -> Finding {
    let level = match bytes {
        _ if bytes < FREE_BYTES_BAD => Level::Bad,
        _ if bytes < FREE_BYTES_DOUBTFUL => Level::Doubtful,
        _ => Level::Good,
    };
    let remedy = "Make room: a run may end with a full disk, and full disks are slower.";
    finding(level, "free space", format!("{} GiB", bytes >> 30), remedy)
}

fn open_files(limit: u64) -> Finding {
    let remedy = "Workloads with many clients or partitions need more: ulimit -n 1000000";
    finding(level_if(limit < OPEN_FILES_MIN, Level::Doubtful), "open files", limit.to_string(), remedy)
}

fn interrupts(all: &[Interrupt], cores: &[usize]) -> Option<Finding> {
    if cores.is_empty() {
        return None;
    }
    let on_them =
        |it: &&Interrupt| cpu_list(&it.cpus).is_ok_and(|cpus| cpus.0.iter().any(|cpu| cores.contains(cpu)));
    let names: Vec<String> = all
        .iter()
        .filter(on_them)
        .map(|it| format!("{} ({}, CPU {})", it.name, it.number, it.cpus))
        .collect();
    let found = if names.is_empty() {
        "none of the busy ones on the measured CPUs".to_owned()
    } else {
        names.join(", ")
    };
    let remedy = "Move them: echo OTHER_CPUS > /proc/irq/NUMBER/smp_affinity_list, and stop irqbalance.";
    Some(finding(level_if(!names.is_empty(), Level::Doubtful), "interrupts", found, remedy))
}

/// What kernels write and taskset reads: `0-3,8`.
fn cpu_list(text: &str) -> Result<CpuList, String> {
    const CPU_MAX: usize = 65_536;
    let mut cpus = Vec::new();
    for part in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |it: &str| it.parse::<usize>().ok().filter(|it| *it < CPU_MAX);
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => cpus.extend(first..=last),
            _ => return Err(format!("`{part}` is neither a CPU's number nor a range of them")),
        }
    }
    Ok(CpuList(cpus))
}

fn shown(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let word = match finding.level {
            Level::Good => "good    ",
            Level::Doubtful => "doubtful",
            Level::Bad => "BAD     ",
        };
        out.push_str(&format!("{word}  {:<22}  {}\n", finding.what, finding.found));
        if !finding.remedy.is_empty() {
            out.push_str(&format!("          {:<22}  → {}\n", "", finding.remedy));
        }
    }
    out
}

#[cfg(test)]
mod tests;
