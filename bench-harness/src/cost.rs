//! What a load costs the broker's process and its disk, from /proc.
//!
//! The process's own figures are of the measured time: a [`Watch`] is told when it begins and ends. The disk's are of
//! the whole load, because what a page cache holds back is written long after it was acknowledged.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::result::{Accounts, BrokerCost};

/// Looks at one process from before a load until after it.
pub(crate) struct Watch {
    pid: u32,
    disk: Option<Disk>,
    from: Option<Usage>,
    until: Option<Usage>,
}

impl Watch {
    /// `folder` is on the disk to watch, too. Takes as long as it takes to sync that.
    pub(crate) fn begin(pid: u32, folder: Option<&Path>) -> Self {
        Self { pid, disk: folder.and_then(Disk::begin), from: None, until: None }
    }

    /// The measured time begins.
    pub(crate) fn measuring(&mut self) {
        // 5: the peak of the resident memory begins anew, proc(5). Of another user's process it stays that of its life.
        let _ = fs::write(format!("/proc/{}/clear_refs", self.pid), "5");
        self.from = Usage::now(self.pid).ok();
    }

    /// The measured time is over.
    pub(crate) fn measured(&mut self) {
        self.until = Usage::now(self.pid).ok();
    }

    /// Whether the process has ended.
    pub(crate) fn is_over(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid));
        // Z: it waits to be taken note of.
        stat.map_or(true, |stat| stat.rsplit_once(')').is_none_or(|(_, rest)| rest.starts_with(" Z")))
    }

    /// After the load. None if the process was not there from begin to end of the measured time.
    pub(crate) fn end(self, accounts: &Accounts) -> Option<BrokerCost> {
        let mut cost = self.until?.since(&self.from?, accounts);
        cost.disk_written_bytes = self.disk.and_then(|disk| disk.end());
        let acked_bytes = accounts.acked as f64 * record_bytes(accounts);
        cost.disk_write_amplification = ratio(cost.disk_written_bytes, acked_bytes);
        Some(cost)
    }
}

/// Memory that a process has now; None if there is no such process.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(field(&status, "VmRSS:")? << 10)
}

/// Of a record's value, on average.
fn record_bytes(accounts: &Accounts) -> f64 {
    match accounts.measured_acked {
        0 => 0.0,
        records => accounts.measured_acked_bytes as f64 / records as f64,
    }
}

fn ratio(bytes: Option<u64>, acked_bytes: f64) -> Option<f64> {
    bytes.filter(|_| acked_bytes > 0.0).map(|bytes| bytes as f64 / acked_bytes)
}

/// What a process has used until a moment.
#[derive(Clone, Debug, Default, PartialEq)]
struct Usage {
    user_s: f64,
    system_s: f64,
    /// By thread: those of threads that have ended are gone.
    switches: BTreeMap<u32, u64>,
    resident_bytes: u64,
    peak_resident_bytes: u64,
    written_bytes: Option<u64>,
}

impl Usage {
    fn now(pid: u32) -> io::Result<Self> {
        let of = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
        let (stat, status) = (of("stat")?, of("status")?);
        let (user_ticks, system_ticks) = cpu_ticks(&stat).ok_or_else(|| io::Error::other("an odd stat"))?;
        let second = rustix::param::clock_ticks_per_second() as f64;
        let mut switches = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let Some(id) = thread?.file_name().to_str().and_then(|id| id.parse().ok()) else { continue };
            // It may have ended since.
            if let Ok(status) = of(&format!("task/{id}/status")) {
                switches.insert(id, context_switches(&status));
            }
        }
        Ok(Self {
            user_s: user_ticks as f64 / second,
            system_s: system_ticks as f64 / second,
            switches,
            resident_bytes: field(&status, "VmRSS:").unwrap_or(0) << 10,
            peak_resident_bytes: field(&status, "VmHWM:").unwrap_or(0) << 10,
            // Kernels without task accounting have no such file; another user's may not be read.
            written_bytes: of("io").ok().and_then(|io| field(&io, "write_bytes:")),
        })
    }

    fn since(&self, before: &Self, accounts: &Accounts) -> BrokerCost {
        let (user_s, system_s) = (self.user_s - before.user_s, self.system_s - before.system_s);
        let (cpu_s, records) = (user_s + system_s, accounts.measured_acked as f64);
        let acked_bytes = accounts.measured_acked_bytes as f64;
        let per = |what: f64, of: f64| if of > 0.0 { what / of } else { 0.0 };
        let switches = self.switches.iter().map(|(id, count)| {
            let before = before.switches.get(id).copied().unwrap_or(0);
            count.saturating_sub(before)
        });
        let device_written_bytes =
            self.written_bytes.zip(before.written_bytes).map(|(now, before)| now.saturating_sub(before));
        BrokerCost {
            user_s,
            system_s,
            cpu_us_per_record: per(cpu_s * 1e6, records),
            cpu_s_per_gib: per(cpu_s, acked_bytes / GIB),
            context_switches: switches.sum(),
            resident_bytes: self.resident_bytes,
            peak_resident_bytes: self.peak_resident_bytes,
            device_written_bytes,
            write_amplification: ratio(device_written_bytes, acked_bytes),
            disk_written_bytes: None,
            disk_write_amplification: None,
        }
    }
}

/// User and system time of all threads, those that have ended included, from /proc/PID/stat.
fn cpu_ticks(stat: &str) -> Option<(u64, u64)> {
    // The name may contain anything, brackets and spaces included.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn context_switches(status: &str) -> u64 {
    let of = |name| field(status, name).unwrap_or(0);
    of("voluntary_ctxt_switches:") + of("nonvoluntary_ctxt_switches:")
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The device below a folder, and what it had been given before.
struct Disk {
    folder: PathBuf,
    device: (u32, u32),
    written_bytes: u64,
}

impl Disk {
    fn begin(folder: &Path) -> Option<Self> {
        let device = device_below(folder)?;
        let written_bytes = written_after_sync(folder, device)?;
        Some(Self { folder: folder.to_owned(), device, written_bytes })
    }

    fn end(&self) -> Option<u64> {
        written_after_sync(&self.folder, self.device)?.checked_sub(self.written_bytes)
    }
}

/// What the device was given when all of the file system is on it.
fn written_after_sync(folder: &Path, device: (u32, u32)) -> Option<u64> {
    rustix::fs::syncfs(File::open(folder).ok()?).ok()?;
    written_bytes(&fs::read_to_string("/proc/diskstats").ok()?, device)
}

/// Major and minor number of the block device that a file system is on. None if it is on none.
fn device_below(folder: &Path) -> Option<(u32, u32)> {
    let stats = fs::read_to_string("/proc/diskstats").ok()?;
    let number = fs::metadata(folder).ok()?.dev();
    let own = (rustix::fs::major(number), rustix::fs::minor(number));
    if written_bytes(&stats, own).is_some() {
        return Some(own);
    }
    // File systems over several devices have a number of their own; the mount names one of the devices.
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let source = fs::metadata(mount_source(&mounts, own)?).ok()?.rdev();
    let source = (rustix::fs::major(source), rustix::fs::minor(source));
    written_bytes(&stats, source).map(|_| source)
}

/// What a file system of this number was mounted from.
fn mount_source(mounts: &str, (major, minor): (u32, u32)) -> Option<PathBuf> {
    let number = format!("{major}:{minor}");
    mounts.lines().find_map(|line| {
        let (place, source) = line.split_once(" - ")?;
        (place.split(' ').nth(2)? == number).then(|| source.split(' ').nth(1).map(PathBuf::from))?
    })
}

/// From /proc/diskstats. Its sectors are of 512 bytes whatever the device's are.
fn written_bytes(diskstats: &str, (major, minor): (u32, u32)) -> Option<u64> {
    diskstats.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = fields.first()?.parse() == Ok(major) && fields.get(1)?.parse() == Ok(minor);
        is_it.then(|| fields.get(9)?.parse::<u64>().ok())?.map(|sectors| sectors * 512)
    })
}

const GIB: f64 = 1_073_741_824.0;

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "4242 (a) (b c) S 1 4242 4242 0 -1 4194560 1093 0 0 0 731 219 0 0 20 0 9 0 123456 1 2 3\n";
    const STATUS: &str = "Name:\tkafka\nVmPeak:\t  999 kB\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\nThreads:\t9\n\
                          voluntary_ctxt_switches:\t100\nnonvoluntary_ctxt_switches:\t23\n";
    const DISKS: &str = "   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0\n \
                         254       0 vda 3556485 210056 779083858 26755361 15858562 743425 702343208 5479544 0 1 2\n \
                         259       3 nvme0n1p1 1 2 3 4 5 6 7 8 9 10 11\n";

    #[test]
    fn cpu_is_read_behind_whatever_the_name_is() {
        assert_eq!(cpu_ticks(STAT), Some((731, 219)));
        assert_eq!(cpu_ticks("4242 (x"), None);
        assert_eq!(cpu_ticks("4242 (x) S 1 2"), None);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        assert_eq!(context_switches(STATUS), 123);
        assert_eq!(field(STATUS, "VmRSS:"), Some(1024));
        assert_eq!(field("rchar: 1\nwrite_bytes: 77\ncancelled_write_bytes: 5\n", "write_bytes:"), Some(77));
        assert_eq!(field(STATUS, "VmSwap:"), None);
    }

    #[test]
    fn a_device_is_found_by_its_number() {
        assert_eq!(written_bytes(DISKS, (254, 0)), Some(702_343_208 * 512));
        assert_eq!(written_bytes(DISKS, (259, 3)), Some(7 * 512));
        assert_eq!(written_bytes(DISKS, (259, 0)), None);
        let mounts = "28 1 0:26 /root / rw shared:1 - btrfs /dev/nvme0n1p2 rw\n\
                      30 28 0:27 / /tmp rw - tmpfs tmpfs rw\n";
        assert_eq!(mount_source(mounts, (0, 26)), Some("/dev/nvme0n1p2".into()));
        assert_eq!(mount_source(mounts, (0, 99)), None);
    }

    #[test]
    fn cost_is_per_what_was_acknowledged_in_the_measured_time() {
        let usage = |user_s, switches: &[(u32, u64)], written| Usage {
            user_s,
            system_s: user_s / 2.0,
            switches: switches.iter().copied().collect(),
            resident_bytes: 10,
            peak_resident_bytes: 20,
            written_bytes: written,
        };
        let accounts = Accounts {
            acked: 3000,
            measured_acked: 2048,
            measured_acked_bytes: 2 << 20,
            ..Accounts::default()
        };
        let before = usage(1.0, &[(1, 100), (2, 50)], Some(1000));
        let after = usage(2.0, &[(1, 150), (3, 7)], Some(1000 + (4 << 20)));
        let cost = after.since(&before, &accounts);
        assert_eq!((cost.user_s, cost.system_s), (1.0, 0.5));
        assert!((cost.cpu_us_per_record - 1.5e6 / 2048.0).abs() < 1e-9);
        assert!((cost.cpu_s_per_gib - 1.5 * 512.0).abs() < 1e-9);
        assert_eq!(cost.context_switches, 57);
        assert_eq!((cost.resident_bytes, cost.peak_resident_bytes), (10, 20));
        assert_eq!(cost.device_written_bytes, Some(4 << 20));
        assert!((cost.write_amplification.unwrap() - 2.0).abs() < 1e-9);
        assert!((record_bytes(&accounts) - 1024.0).abs() < 1e-9);

        let idle = after.since(&before, &Accounts::default());
        assert_eq!((idle.cpu_us_per_record, idle.write_amplification), (0.0, None));
    }

    #[test]
    fn this_process_can_be_watched() {
        let folder = std::env::temp_dir();
        let mut watch = Watch::begin(std::process::id(), Some(&folder));
        assert!(!watch.is_over());
        watch.measuring();
        let cpu_ms = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).tv_nsec / 1_000_000;
        let (mut sum, began) = (0_u64, cpu_ms());
        while (cpu_ms() - began).rem_euclid(1000) < 60 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        watch.measured();
        let accounts =
            Accounts { acked: 1, measured_acked: 1, measured_acked_bytes: 1, ..Accounts::default() };
        let cost = watch.end(&accounts).unwrap();
        assert!(cost.user_s + cost.system_s >= 0.03, "{cost:?}");
        assert!(cost.resident_bytes > 1 << 20 && cost.peak_resident_bytes >= cost.resident_bytes);
    }

    #[test]
    fn a_process_that_is_gone_has_no_cost() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        let mut watch = Watch::begin(pid, None);
        watch.measuring();
        watch.measured();
        assert!(watch.is_over());
        assert_eq!(watch.end(&Accounts::default()), None);
    }
}
