//! CPU, memory, kernel, and what stands between this process and them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cpu, CpuTimes, Limits, Memory, Root};

const CPUS: &str = "sys/devices/system/cpu";
/// More are not looked at one by one.
const CPUS_MAX: usize = 4096;

/// Of the machine's own id, which is not for showing around, only a hash that serves no other end.
pub(super) fn id(root: &Root) -> Option<String> {
    let id = root.text("etc/machine-id")?;
    let hash =
        b"millstream-bench:".iter().chain(id.as_bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    Some(format!("{hash:016x}"))
}

pub(super) fn mitigations(root: &Root) -> Option<String> {
    let arguments = root.text("proc/cmdline")?;
    arguments.split_whitespace().find_map(|it| it.strip_prefix("mitigations=")).map(str::to_owned)
}

pub(super) fn cpu(root: &Root) -> Cpu {
    let info = root.text("proc/cpuinfo").unwrap_or_default();
    let values = |wanted: &'static str| {
        let lines = info.lines().filter_map(|line| line.split_once(':'));
        lines.filter(move |(name, _)| name.trim() == wanted).map(|(_, value)| value.trim())
    };
    let logical = values("processor").count();
    let cores: BTreeSet<(&str, &str)> = values("physical id").zip(values("core id")).collect();
    let mut governors = BTreeMap::new();
    for cpu in 0..logical.min(CPUS_MAX) {
        if let Some(governor) = root.text(&format!("{CPUS}/cpu{cpu}/cpufreq/scaling_governor")) {
            *governors.entry(governor).or_insert(0) += 1;
        }
    }
    Cpu {
        model: values("model name").next().map(str::to_owned),
        logical,
        cores: if cores.is_empty() { logical } else { cores.len() },
        governors,
        frequency_driver: root.text(&format!("{CPUS}/cpu0/cpufreq/scaling_driver")),
        turbo: turbo(root),
    }
}

fn turbo(root: &Root) -> Option<bool> {
    let is_off = root.number(&format!("{CPUS}/intel_pstate/no_turbo")).map(|it| it == 1);
    is_off.map(|it| !it).or_else(|| root.number(&format!("{CPUS}/cpufreq/boost")).map(|it| it == 1))
}

pub(super) fn memory(root: &Root) -> Memory {
    let info = root.text("proc/meminfo").unwrap_or_default();
    let bytes = |name: &str| -> u64 {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0).saturating_mul(1024)
    };
    let swap_total_bytes = bytes("SwapTotal");
    Memory {
        total_bytes: bytes("MemTotal"),
        swap_total_bytes,
        swap_used_bytes: swap_total_bytes.saturating_sub(bytes("SwapFree")),
        swappiness: root.number("proc/sys/vm/swappiness").and_then(|it| u32::try_from(it).ok()),
        transparent_huge_pages: root
            .text("sys/kernel/mm/transparent_hugepage/enabled")
            .and_then(|it| chosen(&it)),
    }
}

/// The kernel puts the one that holds in brackets.
pub(super) fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(chosen, _)| chosen.to_owned())
}

pub(super) fn virtualisation(root: &Root) -> Option<String> {
    let info = root.text("proc/cpuinfo").unwrap_or_default();
    let has_flag = info
        .lines()
        .filter_map(|line| line.split_once(':'))
        .any(|(name, value)| name.trim() == "flags" && value.split_whitespace().any(|it| it == "hypervisor"));
    let product = ["sys_vendor", "product_name"].map(|it| root.text(&format!("sys/class/dmi/id/{it}")));
    let product = product.into_iter().flatten().collect::<Vec<_>>().join(" ");
    match root.text("sys/hypervisor/type") {
        Some(name) => Some(name),
        None if has_flag && !product.is_empty() => Some(product),
        None => has_flag.then(|| "a hypervisor that does not say its name".to_owned()),
    }
}

pub(super) fn load(root: &Root) -> Option<f64> {
    root.text("proc/loadavg")?.split_whitespace().next()?.parse().ok()
}

/// The tightest of the control groups that this process is in.
pub(super) fn limits(root: &Root) -> Limits {
    let groups = root.text("proc/self/cgroup").unwrap_or_default();
    let path = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().to_owned();
    let mut limits = Limits { open_files: open_files(root), ..Limits::default() };
    let mut path = path.as_str();
    loop {
        let folder = format!("sys/fs/cgroup/{}", path.trim_start_matches('/'));
        if let Some(cpus) = root.text(&format!("{folder}/cpu.max")).and_then(|it| cpus_of(&it)) {
            limits.cpus = Some(limits.cpus.map_or(cpus, |before: f64| before.min(cpus)));
        }
        if let Some(bytes) = root.number(&format!("{folder}/memory.max")) {
            limits.memory_bytes = Some(limits.memory_bytes.map_or(bytes, |before| before.min(bytes)));
        }
        match path.rsplit_once('/') {
            Some((parent, last)) if !last.is_empty() => path = parent,
            _ => break limits,
        }
    }
}

/// `QUOTA PERIOD`, or `max PERIOD` for none.
fn cpus_of(text: &str) -> Option<f64> {
    let (quota, period) = text.split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0.0).then_some(quota / period)
}

fn open_files(root: &Root) -> Option<u64> {
    let limits = root.text("proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The first line: user, nice, system, idle, iowait, irq, softirq, steal.
pub(super) fn cpu_times(stat: &str) -> Option<CpuTimes> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|it| it.parse().ok()).take(8).collect();
    let at = |place: usize| ticks.get(place).copied().unwrap_or(0);
    (ticks.len() >= 4).then(|| CpuTimes { idle: at(3) + at(4), steal: at(7), total: ticks.iter().sum() })
}
