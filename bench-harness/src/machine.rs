//! What a result was measured on: facts of the machine, kept with every result.
//!
//! Everything is read below one folder, `/` outside tests, and whatever cannot be read is left out: a fact that is not
//! known is not guessed.

mod disk;
mod interrupts;
mod system;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Show what is written into every result about this machine.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the broker keeps its data: its disk is described.
    #[arg(long, default_value = ".")]
    data_dir: PathBuf,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Facts {
    /// Differs between machines and says nothing else of them.
    pub(crate) id: Option<String>,
    pub(crate) kernel: Option<String>,
    pub(crate) mitigations: Option<String>,
    pub(crate) cpu: Cpu,
    pub(crate) memory: Memory,
    pub(crate) clocksource: Option<String>,
    /// What it runs in, if it is no bare machine.
    pub(crate) virtualisation: Option<String>,
    pub(crate) limits: Limits,
    pub(crate) load_1_min: Option<f64>,
    pub(crate) disk: Option<Disk>,
    /// The busiest since the start, with the CPUs that answer them.
    pub(crate) interrupts: Vec<Interrupt>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Cpu {
    pub(crate) model: Option<String>,
    pub(crate) logical: usize,
    pub(crate) cores: usize,
    /// How many CPUs have which governor.
    pub(crate) governors: BTreeMap<String, usize>,
    pub(crate) frequency_driver: Option<String>,
    pub(crate) turbo: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Memory {
    pub(crate) total_bytes: u64,
    pub(crate) swap_total_bytes: u64,
    pub(crate) swap_used_bytes: u64,
    pub(crate) swappiness: Option<u32>,
    /// `always`, `madvise`, or `never`.
    pub(crate) transparent_huge_pages: Option<String>,
}

/// What this process may use, if that is less than there is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Limits {
    pub(crate) cpus: Option<f64>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) open_files: Option<u64>,
}

/// The disk under the data directory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Disk {
    pub(crate) mount: String,
    pub(crate) filesystem: String,
    pub(crate) options: String,
    /// The block device's name; None for what has none (tmpfs, overlay, network).
    pub(crate) device: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) is_rotational: Option<bool>,
    /// The kernel's word: `write back` has to be flushed, `write through` not.
    pub(crate) cache: Option<String>,
    pub(crate) scheduler: Option<String>,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) physical_block_bytes: Option<u64>,
    pub(crate) free_bytes: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Interrupt {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) count: u64,
    /// As the kernel writes a list: `0-3,8`.
    pub(crate) cpus: String,
}

/// What all CPUs did since the start, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTimes {
    pub(crate) idle: u64,
    pub(crate) steal: u64,
    pub(crate) total: u64,
}

/// Shares of all CPU time over a while, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Busy {
    pub(crate) busy: f64,
    /// Wanted by this machine and given to another one.
    pub(crate) steal: f64,
}

/// Where `/proc` and `/sys` are.
#[derive(Clone, Debug)]
pub(crate) struct Root(pub(crate) PathBuf);

pub(crate) fn main(args: Args) -> Result<(), Failure> {
    let facts = Facts::read(&Root::of_this_machine(), Some(&args.data_dir));
    let text = serde_json::to_string_pretty(&facts)
        .map_err(|error| Failure::failed(format!("facts cannot be written as JSON: {error}")))?;
    println!("{text}");
    Ok(())
}

/// For a result's `machine`. `data_dir` is the broker's, if it is on this machine.
pub(crate) fn facts(data_dir: Option<&Path>) -> serde_json::Value {
    serde_json::to_value(Facts::read(&Root::of_this_machine(), data_dir)).unwrap_or_default()
}

impl Root {
    pub(crate) fn of_this_machine() -> Self {
        Self(PathBuf::from("/"))
    }

    /// A file's text without the white space around it; None if it cannot be read or says nothing.
    fn text(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.0.join(path)).ok()?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }
}

impl Facts {
    pub(crate) fn read(root: &Root, data_dir: Option<&Path>) -> Self {
        Self {
            id: system::id(root),
            kernel: root.text("proc/sys/kernel/osrelease"),
            mitigations: system::mitigations(root),
            cpu: system::cpu(root),
            memory: system::memory(root),
            clocksource: root.text("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            virtualisation: system::virtualisation(root),
            limits: system::limits(root),
            load_1_min: system::load(root),
            disk: data_dir.and_then(|folder| disk::under(root, folder)),
            interrupts: interrupts::busiest(root),
        }
    }

    pub(crate) fn is_known(&self) -> bool {
        self.kernel.is_some() || self.cpu.model.is_some()
    }

    /// Results whose machines differ in this may not stand side by side.
    pub(crate) fn identity(&self) -> String {
        let disk = self.disk.as_ref().map(|disk| (&disk.device, &disk.model, &disk.filesystem, &disk.cache));
        format!("{} {disk:?}", self.identity_without_disk())
    }

    pub(crate) fn identity_without_disk(&self) -> String {
        let cpu = (&self.cpu.model, self.cpu.logical, &self.cpu.governors, self.cpu.turbo);
        let limits = (self.limits.cpus.map(f64::to_bits), self.limits.memory_bytes);
        format!("{:?}", (&self.id, &self.kernel, cpu, self.memory_gib().to_bits(), &self.clocksource, limits))
    }

    /// In one line.
    pub(crate) fn title(&self) -> String {
        let mut parts = vec![self.cpu.model.clone().unwrap_or_else(|| "unknown CPU".to_owned())];
        parts.push(format!("{} CPUs", self.cpu.logical));
        parts.push(format!("{:.0} GiB", self.memory_gib()));
        parts.extend(self.kernel.as_ref().map(|kernel| format!("Linux {kernel}")));
        parts.extend(self.disk.as_ref().map(Disk::title));
        parts.join(", ")
    }

    /// For people: name and value.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        let mut line = |name, value: Option<String>| lines.extend(value.map(|value| (name, value)));
        let cpu = &self.cpu;
        let model = cpu.model.as_deref().unwrap_or("unknown");
        line("CPU", Some(format!("{model}; {} CPUs, {} cores", cpu.logical, cpu.cores)));
        let governors: Vec<String> =
            cpu.governors.iter().map(|(name, count)| format!("{name} ({count} CPUs)")).collect();
        line("governor", Some(governors.join(", ")).filter(|it| !it.is_empty()));
        line("turbo", cpu.turbo.map(|it| if it { "on" } else { "off" }.to_owned()));
        line("memory", Some(format!("{:.1} GiB", self.memory_gib())));
        line("transparent huge pages", self.memory.transparent_huge_pages.clone());
        line("kernel", self.kernel.clone());
        line("mitigations", self.mitigations.clone());
        line("clock source", self.clocksource.clone());
        line("virtualisation", self.virtualisation.clone());
        line("CPU limit", self.limits.cpus.map(|it| format!("{it} CPUs")));
        line("load (1 min)", self.load_1_min.map(|it| it.to_string()));
        if let Some(disk) = &self.disk {
            line("disk", Some(disk.title()));
            line("mounted", Some(format!("{} ({})", disk.mount, disk.options)));
            line("disk cache", disk.cache.clone());
            line("disk scheduler", disk.scheduler.clone());
        }
        lines
    }

    fn memory_gib(&self) -> f64 {
        // The kernel keeps a part for itself that differs from one version to the next.
        (self.memory.total_bytes as f64 / f64::from(1 << 30) * 10.0).round() / 10.0
    }
}

impl Disk {
    fn title(&self) -> String {
        let on = match (&self.model, &self.device) {
            (Some(model), Some(device)) => format!(" on {model} ({device})"),
            (None, Some(device)) => format!(" on {device}"),
            _ => String::new(),
        };
        format!("{}{on}", self.filesystem)
    }
}

impl CpuTimes {
    pub(crate) fn read(root: &Root) -> Option<Self> {
        system::cpu_times(&root.text("proc/stat")?)
    }

    pub(crate) fn since(&self, before: &Self) -> Option<Busy> {
        let total = self.total.checked_sub(before.total).filter(|it| *it > 0)? as f64;
        let share = |now: u64, before: u64| now.saturating_sub(before) as f64 / total;
        let steal = share(self.steal, before.steal);
        Some(Busy { busy: (1.0 - share(self.idle, before.idle) - steal).clamp(0.0, 1.0), steal })
    }
}

#[cfg(test)]
pub(crate) mod tests;
