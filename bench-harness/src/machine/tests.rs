use super::*;

/// A machine made of files, gone when dropped.
pub(crate) struct Fixture(pub(crate) Root);

impl Fixture {
    pub(crate) fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("millstream-bench-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(Root(folder))
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0.0);
    }
}

/// A server of one socket, two cores of two threads, an NVMe disk with a partition.
pub(crate) const SERVER: &[(&str, &str)] = &[
    ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ("proc/sys/kernel/osrelease", "6.12.1\n"),
    ("proc/cmdline", "root=/dev/nvme0n1p2 mitigations=off quiet\n"),
    (
        "proc/cpuinfo",
        "processor\t: 0\nmodel name\t: A CPU @ 3 GHz\nphysical id\t: 0\ncore id\t\t: 0\nflags\t\t: fpu tsc\n\n\
         processor\t: 1\nmodel name\t: A CPU @ 3 GHz\nphysical id\t: 0\ncore id\t\t: 1\nflags\t\t: fpu tsc\n\n\
         processor\t: 2\nmodel name\t: A CPU @ 3 GHz\nphysical id\t: 0\ncore id\t\t: 0\nflags\t\t: fpu tsc\n\n\
         processor\t: 3\nmodel name\t: A CPU @ 3 GHz\nphysical id\t: 0\ncore id\t\t: 1\nflags\t\t: fpu tsc\n",
    ),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", "intel_pstate\n"),
    ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance\n"),
    ("sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "performance\n"),
    ("sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "powersave\n"),
    ("sys/devices/system/cpu/intel_pstate/no_turbo", "0\n"),
    (
        "proc/meminfo",
        "MemTotal:       33554432 kB\nMemFree: 1 kB\nSwapTotal:       2048 kB\nSwapFree:        1024 kB\n",
    ),
    ("proc/sys/vm/swappiness", "60\n"),
    ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n"),
    ("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n"),
    ("proc/loadavg", "1.25 0.5 0.1 1/200 4242\n"),
    ("proc/self/cgroup", "0::/user.slice/bench\n"),
    ("sys/fs/cgroup/user.slice/cpu.max", "150000 100000\n"),
    ("sys/fs/cgroup/user.slice/bench/cpu.max", "max 100000\n"),
    ("sys/fs/cgroup/user.slice/bench/memory.max", "1073741824\n"),
    (
        "proc/self/limits",
        "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024        524288   files\n",
    ),
    (
        "proc/self/mountinfo",
        "27 1 259:2 / / rw,relatime - ext4 /dev/nvme0n1p2 rw\n\
         28 27 259:3 / /data\\040here rw,noatime - xfs /dev/nvme0n1p3 rw,discard\n\
         29 27 0:30 / /memory rw - tmpfs tmpfs rw\n",
    ),
    ("sys/dev/block/259:3/partition", "3\n"),
    ("sys/dev/block/queue/write_cache", "write back\n"),
    ("sys/dev/block/queue/rotational", "0\n"),
    ("sys/dev/block/queue/scheduler", "[none] mq-deadline\n"),
    ("sys/dev/block/queue/physical_block_size", "4096\n"),
    ("sys/dev/block/device/model", "A DISK 2000\n"),
    ("sys/dev/block/size", "2048\n"),
    (
        "proc/interrupts",
        "           CPU0       CPU1       CPU2       CPU3\n\
         24:       5000          0          0          0  PCI-MSIX-0000:01:00.0   1-edge      nvme0q1\n\
         25:          3          0          0          0  PCI-MSIX-0000:01:00.0   2-edge      nvme0q2\n\
         LOC:   90000000   90000000   90000000   90000000   Local timer interrupts\n",
    ),
    ("proc/irq/24/effective_affinity_list", "0\n"),
    ("proc/stat", "cpu  10 0 10 70 10 0 0 0 0 0\ncpu0 1 2 3 4\n"),
];

#[test]
fn a_server_is_described() {
    let fixture = Fixture::new("server", SERVER);
    let facts = Facts::read(&fixture.0, Some(Path::new("/data here/kafka")));
    assert_eq!(facts.kernel.as_deref(), Some("6.12.1"));
    assert_eq!(facts.mitigations.as_deref(), Some("off"));
    let cpu = &facts.cpu;
    assert_eq!((cpu.model.as_deref(), cpu.logical, cpu.cores), (Some("A CPU @ 3 GHz"), 4, 2));
    let governors: Vec<(&str, usize)> = cpu.governors.iter().map(|(name, n)| (name.as_str(), *n)).collect();
    assert_eq!(governors, [("performance", 3), ("powersave", 1)]);
    assert_eq!((cpu.turbo, cpu.frequency_driver.as_deref()), (Some(true), Some("intel_pstate")));
    let memory = &facts.memory;
    assert_eq!(
        (memory.total_bytes, memory.swap_total_bytes, memory.swap_used_bytes),
        (32 << 30, 2 << 20, 1 << 20)
    );
    assert_eq!((memory.swappiness, memory.transparent_huge_pages.as_deref()), (Some(60), Some("always")));
    assert_eq!((facts.clocksource.as_deref(), facts.virtualisation.as_deref()), (Some("hpet"), None));
    assert_eq!(facts.load_1_min, Some(1.25));
    let limits = Limits { cpus: Some(1.5), memory_bytes: Some(1 << 30), open_files: Some(1024) };
    assert_eq!(facts.limits, limits);
    let disk = facts.disk.clone().unwrap();
    assert_eq!((disk.mount.as_str(), disk.filesystem.as_str()), ("/data here", "xfs"));
    assert_eq!(disk.options, "rw,noatime,discard", "of the mount and of the file system");
    assert_eq!((disk.cache.as_deref(), disk.model.as_deref()), (Some("write back"), Some("A DISK 2000")));
    assert_eq!((disk.scheduler.as_deref(), disk.is_rotational), (Some("none"), Some(false)));
    assert_eq!((disk.size_bytes, disk.physical_block_bytes), (Some(1 << 20), Some(4096)));
    let disk_queue = Interrupt { number: 24, name: "nvme0q1".into(), count: 5000, cpus: "0".into() };
    assert_eq!(facts.interrupts, [disk_queue]);
    assert_eq!(facts.id.as_ref().map(String::len), Some(16));
    assert!(
        !facts.id.clone().unwrap().contains("0123456789abcdef"),
        "the machine's own id stays in the machine"
    );
    assert!(facts.is_known());
    assert!(
        facts.title().starts_with("A CPU @ 3 GHz, 4 CPUs, 32 GiB, Linux 6.12.1, xfs on A DISK 2000"),
        "{}",
        facts.title()
    );
}

#[test]
fn facts_come_back_from_a_result_as_they_went_in() {
    let fixture = Fixture::new("again", SERVER);
    let facts = Facts::read(&fixture.0, Some(Path::new("/memory/x")));
    assert_eq!(facts.disk.as_ref().map(|it| (it.filesystem.as_str(), &it.device)), Some(("tmpfs", &None)));
    let value = serde_json::to_value(&facts).unwrap();
    assert_eq!(serde_json::from_value::<Facts>(value).unwrap(), facts);
    let older: Facts = serde_json::from_str(r#"{"kernel": "5", "unheard-of": 1}"#).unwrap();
    assert!(older.is_known() && older.identity() != facts.identity());
}

#[test]
fn what_cannot_be_read_is_left_out() {
    let fixture = Fixture::new("bare", &[("proc/stat", "cpu  1\n"), ("proc/interrupts", "\n:\nx: y\n1:\n")]);
    let facts = Facts::read(&fixture.0, Some(Path::new("/data")));
    assert_eq!(facts, Facts::default());
    assert!(!facts.is_known());
    assert_eq!(CpuTimes::read(&fixture.0), None);
    assert!(facts.lines().iter().all(|(_, value)| !value.is_empty()));
}

#[test]
fn this_machine_is_described_too() {
    let facts = Facts::read(&Root::of_this_machine(), Some(Path::new(".")));
    assert!(facts.is_known() && facts.cpu.logical > 0 && facts.memory.total_bytes > 0, "{facts:?}");
    assert!(facts.disk.is_some_and(|disk| !disk.filesystem.is_empty()));
}

#[test]
fn shares_of_cpu_time_come_from_two_looks() {
    let before = system::cpu_times("cpu  100 0 0 800 100 0 0 0 0 0").unwrap();
    let after = system::cpu_times("cpu  130 10 0 840 110 0 0 10 0 0\ncpu0 1 1 1 1").unwrap();
    let Busy { busy, steal } = after.since(&before).unwrap();
    assert!((busy - 0.40).abs() < 1e-9 && (steal - 0.10).abs() < 1e-9, "{busy} {steal}");
    assert_eq!(before.since(&before), None);
    assert_eq!(before.since(&after), None);
}
