//! What the machine found out about the computer it runs on: for the banner at the start, the metrics
//! and every benchmark's result.

use std::fmt;

use super::cpus::Allowed;
use super::dirs::DirFacts;
use super::memory::Memory;
use super::{Kind, Pin};
use crate::probe::{Memlock, Obstacle, RingFacts};

/// Facts of one start. Its `Display` is the banner, a line per fact.
#[derive(Clone, Debug)]
pub struct Found {
    /// What was chosen: `Ring` or `Portable`.
    pub kind: Kind,
    /// Cores of the machine.
    pub cores: usize,
    /// Whether a core's thread stays on its CPU, and why (not).
    pub pinned: bool,
    pub pinning: String,
    pub kernel: String,
    pub allowed: Allowed,
    pub memory: Memory,
    pub memlock: Memlock,
    /// Memory that the cores may want to register, together.
    pub registered_bytes: u64,
    pub io_uring: Result<RingFacts, Obstacle>,
    pub dirs: Vec<DirFacts>,
}

impl Found {
    /// What an operator should change, most important first. Empty on a well-set-up machine.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        match (&self.io_uring, self.kind) {
            (Err(obstacle), _) => complaints.push(format!("running without io_uring, slower: {obstacle}")),
            (Ok(_), Kind::Portable) => {
                complaints.push("running without io_uring, slower, because the configuration says so".into());
            }
            (Ok(facts), _) => complaints.extend(self.ring_complaints(facts)),
        }
        for dir in self.dirs.iter().filter(|dir| !dir.direct.is_used()) {
            complaints.push(format!("{dir}"));
        }
        if self.cores > self.allowed.cores() {
            complaints.push(format!(
                "{} cores on {} allowed CPUs: they take turns, and latency suffers",
                self.cores,
                self.allowed.cores()
            ));
        }
        complaints
    }

    fn ring_complaints(&self, facts: &RingFacts) -> Vec<String> {
        let mut complaints = Vec::new();
        if !facts.cooperative {
            complaints
                .push("the kernel interrupts cores for each completion: Linux 5.19 spares them that".into());
        }
        if !facts.registered_memory {
            complaints.push("memory for direct I/O cannot be registered: Linux 5.19 or newer can".into());
        } else if !self.memlock.exempt && self.memlock.soft < self.registered_bytes {
            complaints.push(format!(
                "only {} KiB of memory may be locked, {} would be registered for direct I/O: the rest goes \
                 without, at some cost; raise `ulimit -l`",
                self.memlock.soft >> 10,
                self.registered_bytes >> 10
            ));
        }
        complaints
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Ring => "ring (io_uring)",
            Kind::Portable | Kind::Auto => "portable (epoll)",
        };
        let pinned = if self.pinned { "pinned" } else { "not pinned" };
        writeln!(f, "reactor   {kind}, cores: {}, {pinned}: {}", self.cores, self.pinning)?;
        write!(f, "machine   Linux {}, allowed CPUs: {}", self.kernel, self.allowed.cpus.len())?;
        if let Some(quota) = self.allowed.quota {
            write!(f, ", of which a quota of {quota:.1}")?;
        }
        writeln!(f, ", memory: {}", self.memory)?;
        match &self.io_uring {
            Ok(facts) => {
                let has = |is: bool| if is { "yes" } else { "no" };
                let (coop, single) = (has(facts.cooperative), has(facts.single_issuer));
                let registered = has(facts.registered_memory);
                writeln!(
                    f,
                    "io_uring  cooperative {coop}, single issuer {single}, registered memory {registered}"
                )?;
            }
            Err(obstacle) => writeln!(f, "io_uring  NO: {obstacle}")?,
        }
        match self.memlock.soft {
            u64::MAX => writeln!(f, "memlock   unlimited")?,
            bytes => writeln!(f, "memlock   {} KiB", bytes >> 10)?,
        }
        for dir in &self.dirs {
            writeln!(f, "data      {dir}")?;
        }
        Ok(())
    }
}

/// Whether to pin, and the reason. `pressure` is the share of time (in percent) in which some task of
/// the computer waited for a CPU during the last ten seconds; `online` all its CPUs.
pub(super) fn pinning(
    pin: Pin,
    kind: Kind,
    cores: usize,
    allowed: &Allowed,
    online: usize,
    pressure: Option<f64>,
) -> (bool, String) {
    match pin {
        Pin::On => (true, "as configured".into()),
        Pin::Off => (false, "as configured".into()),
        Pin::Auto if kind == Kind::Portable => (false, UNPINNED_PORTABLE.into()),
        Pin::Auto if cores > allowed.cpus.len() => (false, "there are fewer CPUs than cores".into()),
        Pin::Auto if allowed.quota.is_some() => (false, "the CPUs are a quota of shared ones".into()),
        Pin::Auto if allowed.cpus.len() >= online => {
            (false, "no CPUs were set aside for this process (taskset, cpuset)".into())
        }
        Pin::Auto => match pressure {
            Some(percent) if percent < PRESSURE_PERCENT_MAX => {
                (true, format!("{} CPUs are set aside and quiet", allowed.cpus.len()))
            }
            Some(percent) => (false, format!("others use the CPUs (pressure {percent:.1} %)")),
            None => (false, "the kernel does not tell whether others use the CPUs".into()),
        },
    }
}

/// The share of `/proc/pressure/cpu`'s first line.
pub(super) fn pressure(text: &str) -> Option<f64> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    some.split(' ').find_map(|field| field.strip_prefix("avg10="))?.parse().ok()
}

/// Its files are written by helper threads, which have to get to a CPU beside the cores.
pub(super) const UNPINNED_PORTABLE: &str = "the portable reactor's helper threads need the CPUs, too";
/// Above this, somebody waits for the CPUs often enough that a pinned thread would suffer.
const PRESSURE_PERCENT_MAX: f64 = 1.0;
#[cfg(test)]
mod tests {
    use super::super::dirs::{Direct, WriteCache};
    use super::*;

    #[test]
    fn pinning_is_for_cpus_set_aside_and_quiet() {
        let allowed = |cpus: usize, quota| Allowed { cpus: (0..cpus).collect(), quota };
        let check = |expected, pin, cores, allowed: &Allowed, pressure| {
            let (pinned, why) = pinning(pin, Kind::Ring, cores, allowed, 8, pressure);
            assert_eq!(pinned, expected, "{why}");
        };
        check(true, Pin::Auto, 4, &allowed(4, None), Some(0.2));
        check(false, Pin::Auto, 4, &allowed(4, None), Some(7.0));
        check(false, Pin::Auto, 4, &allowed(4, None), None);
        check(false, Pin::Auto, 8, &allowed(8, None), Some(0.0));
        check(false, Pin::Auto, 6, &allowed(4, None), Some(0.0));
        check(false, Pin::Auto, 2, &allowed(4, Some(2.0)), Some(0.0));
        check(true, Pin::On, 8, &allowed(8, None), Some(90.0));
        check(false, Pin::Off, 4, &allowed(4, None), Some(0.0));
        let portable = |pin| pinning(pin, Kind::Portable, 4, &allowed(4, None), 8, Some(0.0)).0;
        assert!(!portable(Pin::Auto) && portable(Pin::On));
    }

    #[test]
    fn pressure_is_the_last_ten_seconds() {
        let text = "some avg10=3.25 avg60=1.00 avg300=0.50 total=1234\nfull avg10=0.00 total=0\n";
        assert_eq!(pressure(text), Some(3.25));
        assert_eq!(pressure(""), None);
    }

    #[test]
    fn what_is_wrong_is_told_and_what_is_right_is_not() {
        let mut found = Found {
            kind: Kind::Ring,
            cores: 2,
            pinned: false,
            pinning: "as configured".into(),
            kernel: "6.18.0".into(),
            allowed: Allowed { cpus: vec![0, 1], quota: None },
            memory: Memory { total_bytes: 8 << 30, limit_bytes: None },
            memlock: Memlock { soft: u64::MAX, hard: u64::MAX, exempt: false },
            registered_bytes: 64 << 20,
            io_uring: Ok(RingFacts { cooperative: true, single_issuer: true, registered_memory: true }),
            dirs: vec![DirFacts {
                path: "/data".into(),
                filesystem: Some("ext4".into()),
                device: Some("/dev/vda".into()),
                direct: Direct::Yes,
                write_cache: WriteCache::Volatile,
            }],
        };
        assert!(found.complaints().is_empty(), "{:?}", found.complaints());
        assert!(
            found
                .to_string()
                .contains("data      /data: ext4 on /dev/vda, direct I/O, volatile write cache\n")
        );
        found.kind = Kind::Portable;
        found.io_uring = Err(Obstacle::Seccomp);
        found.dirs[0].direct = Direct::No("the filesystem does not know O_DIRECT".into());
        found.allowed.quota = Some(1.0);
        let complaints = found.complaints();
        assert_eq!(complaints.len(), 3, "{complaints:?}");
        assert!(complaints[0].contains("seccomp") && complaints[1].contains("NO DIRECT I/O"));
        assert!(found.to_string().contains("quota of 1.0"), "{found}");
    }
}
