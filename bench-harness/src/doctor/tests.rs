use std::path::Path;

use super::*;
use crate::machine::tests::{Fixture, SERVER};

const CALM: Busy = Busy { busy: 0.01, steal: 0.0 };

fn levels(facts: &Facts, busy: &Busy, cores: &[usize]) -> Vec<(&'static str, Level)> {
    examine(facts, Some(busy), cores).iter().map(|it| (it.what, it.level)).collect()
}

/// Nothing to find fault with.
fn good() -> Facts {
    let fixture = Fixture::new("good", SERVER);
    let mut facts = Facts::read(&fixture.0, Some(Path::new("/data here")));
    (facts.cpu.logical, facts.cpu.cores, facts.cpu.turbo) = (8, 8, Some(false));
    facts.cpu.governors = [("performance".to_owned(), 8)].into();
    (facts.memory.swap_total_bytes, facts.memory.swap_used_bytes) = (0, 0);
    facts.memory.transparent_huge_pages = Some("madvise".into());
    facts.clocksource = Some("tsc".into());
    facts.limits.cpus = None;
    facts.limits.open_files = Some(1_000_000);
    let disk = facts.disk.as_mut().unwrap();
    disk.options = "rw,noatime".into();
    disk.cache = Some("write through".into());
    disk.free_bytes = Some(100 << 30);
    facts
}

#[test]
fn a_good_machine_passes_and_each_fault_is_found_alone() {
    for (what, level) in levels(&good(), &CALM, &[2, 3]) {
        assert_eq!(level, Level::Good, "{what}");
    }
    let check = |what: &str, level: Level, spoil: &dyn Fn(&mut Facts, &mut Busy)| {
        let (mut facts, mut busy) = (good(), CALM);
        spoil(&mut facts, &mut busy);
        let faults: Vec<_> =
            levels(&facts, &busy, &[2, 3]).into_iter().filter(|(_, level)| *level != Level::Good).collect();
        assert_eq!(faults, [(what, level)]);
    };
    check("other load", Level::Bad, &|_, busy| busy.busy = 0.2);
    check("steal", Level::Bad, &|_, busy| busy.steal = 0.05);
    check("steal", Level::Doubtful, &|_, busy| busy.steal = 0.005);
    check("governor", Level::Bad, &|facts, _| {
        facts.cpu.governors.insert("powersave".into(), 1);
    });
    check("turbo", Level::Doubtful, &|facts, _| facts.cpu.turbo = Some(true));
    check("CPUs", Level::Doubtful, &|facts, _| facts.cpu.cores = 4);
    check("CPUs", Level::Doubtful, &|facts, _| (facts.cpu.logical, facts.cpu.cores) = (2, 2));
    check("CPU limit", Level::Bad, &|facts, _| facts.limits.cpus = Some(2.0));
    check("clock", Level::Bad, &|facts, _| facts.clocksource = Some("hpet".into()));
    check("swap", Level::Doubtful, &|facts, _| facts.memory.swap_total_bytes = 1 << 30);
    check("swap", Level::Bad, &|facts, _| {
        (facts.memory.swap_total_bytes, facts.memory.swap_used_bytes) = (1 << 30, 1 << 20);
    });
    check("transparent huge pages", Level::Doubtful, &|facts, _| {
        facts.memory.transparent_huge_pages = Some("always".into());
    });
    check("virtual machine", Level::Doubtful, &|facts, _| facts.virtualisation = Some("kvm".into()));
    check("open files", Level::Doubtful, &|facts, _| facts.limits.open_files = Some(1024));
    check("interrupts", Level::Doubtful, &|facts, _| facts.interrupts[0].cpus = "1-2".into());
    let disk =
        |spoil: fn(&mut Disk)| move |facts: &mut Facts, _: &mut Busy| spoil(facts.disk.as_mut().unwrap());
    check("disk cache", Level::Doubtful, &disk(|disk| disk.cache = Some("write back".into())));
    check("data directory", Level::Bad, &disk(|disk| disk.filesystem = "tmpfs".into()));
    check("data directory", Level::Bad, &disk(|disk| disk.filesystem = "overlay".into()));
    check("data directory", Level::Doubtful, &disk(|disk| disk.options = "rw,discard".into()));
    check("free space", Level::Doubtful, &disk(|disk| disk.free_bytes = Some(10 << 30)));
    check("free space", Level::Bad, &disk(|disk| disk.free_bytes = Some(1 << 30)));
}

#[test]
fn whoever_finds_fault_says_what_to_do() {
    let fixture = Fixture::new("faults", SERVER);
    let facts = Facts::read(&fixture.0, Some(Path::new("/data here")));
    let findings = examine(&facts, Some(&Busy { busy: 0.9, steal: 0.5 }), &[0]);
    for finding in &findings {
        assert_eq!(finding.remedy.is_empty(), finding.level == Level::Good, "{finding:?}");
    }
    let text = shown(&findings);
    for words in
        ["BAD       governor", "→ Fix the frequency", "hpet", "nvme0q1 (24, CPU 0)", "doubtful  turbo"]
    {
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn what_is_not_known_is_not_judged() {
    let levels = levels(
        &Facts {
            cpu: crate::machine::Cpu { logical: 8, cores: 8, ..Default::default() },
            ..Facts::default()
        },
        &CALM,
        &[],
    );
    assert!(levels.iter().all(|(_, level)| *level == Level::Good), "{levels:?}");
}

#[test]
fn lists_of_cpus_are_read_as_the_kernel_writes_them() {
    assert_eq!(cpu_list("0-3,8").unwrap().0, [0, 1, 2, 3, 8]);
    assert_eq!(cpu_list("").unwrap().0, [0; 0]);
    for wrong in ["a", "3-1", "1-", "-", "99999999", "0-99999999999"] {
        assert!(cpu_list(wrong).is_err(), "{wrong}");
    }
}
