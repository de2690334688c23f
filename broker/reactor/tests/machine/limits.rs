//! Starts under limits that real places impose. Each runs in a process of its own, since limits stay.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;
use reactor::machine::{Main, allowed_cpus};
use reactor::probe::{Obstacle, io_uring};
use reactor::{Found, Kind, Pin, Plan, host, start};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CpuSet, capabilities, sched_setaffinity, set_capabilities};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use storage::disk::{Class, Mode, Sync};

use super::{Folder, child, disk, kinds};

#[test]
fn limits_of_real_places_are_met() {
    let names = [
        "io_uring_is_denied",
        "little_memory_may_be_locked",
        "just_enough_memory",
        "too_few_descriptors_for_the_rings",
        "one_cpu",
    ];
    for name in names {
        let output = child(&format!("limits::{name}"), &[]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Runs a machine that writes durably and reads back on every core; what it found.
fn works(kind: Kind, cores: usize) -> Found {
    let folder = Folder::new();
    let plan = Plan { kind, pin: Pin::Off, ..Plan::new(cores, vec![folder.0.clone()]) };
    let main: Main = Arc::new(|| {
        Box::pin(async {
            let name = format!("log-{}", host().core());
            let file = disk().open(&name, Mode::DirectCreate).await.unwrap();
            let mut data = disk().buffer(8192);
            data.set_len(8192);
            data.as_mut().fill(7);
            file.write_at(0, data.freeze(), Sync::Durable, Class::Append).await.unwrap();
            assert_eq!(file.read_at(5000, 100, Class::Read).await.unwrap(), Bytes::from(vec![7; 100]));
            let listener = host().listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
            host().connect(listener.local()).await.unwrap();
            listener.accept().await.unwrap();
        })
    });
    let machine = start(plan, main).unwrap();
    let found = machine.found().clone();
    machine.join().unwrap();
    println!("{found}{:?}", found.complaints());
    found
}

#[test]
#[ignore = "run by limits_of_real_places_are_met"]
fn io_uring_is_denied() {
    let denied = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
    let rules: BTreeMap<_, _> = denied.into_iter().map(|call| (call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let target = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, target).unwrap();
    apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();

    assert_eq!(io_uring(1), Err(Obstacle::Seccomp));
    let found = works(Kind::Auto, 2);
    assert_eq!(found.kind, Kind::Portable);
    assert!(found.complaints()[0].contains("seccomp"));
    let plan = Plan { kind: Kind::Ring, ..Plan::new(1, Vec::new()) };
    let refused = start(plan, Arc::new(|| unreachable!("it must not start"))).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("--security-opt"), "{refused}");
}

/// As an ordinary user has it.
fn limit_memlock(bytes: u64) {
    let mut sets = capabilities(None).unwrap();
    sets.effective.remove(CapabilitySet::IPC_LOCK);
    sets.permitted.remove(CapabilitySet::IPC_LOCK);
    set_capabilities(None, sets).unwrap();
    setrlimit(Resource::Memlock, Rlimit { current: Some(bytes), maximum: Some(bytes) }).unwrap();
}

#[test]
#[ignore = "run by limits_of_real_places_are_met"]
fn little_memory_may_be_locked() {
    limit_memlock(64 << 10);
    if kinds().contains(&Kind::Ring) {
        let (soft, hard, needed) = (64 << 10, 64 << 10, 512 << 10);
        assert_eq!(io_uring(1), Err(Obstacle::Memlock { soft, hard, needed }));
    }
    assert_eq!(works(Kind::Auto, 2).kind, Kind::Portable);
}

#[test]
#[ignore = "run by limits_of_real_places_are_met"]
fn just_enough_memory() {
    limit_memlock(512 << 10);
    // The soft limit is raised by the machine itself.
    setrlimit(Resource::Memlock, Rlimit { current: Some(4096), maximum: Some(512 << 10) }).unwrap();
    // Enough for the rings of one core at least: if it is not the ring, the machine says why.
    let found = works(Kind::Auto, 1);
    assert_eq!(found.memlock.soft, 512 << 10);
    assert!(found.complaints()[0].contains("ulimit -l"), "{:?}", found.complaints());
}

#[test]
#[ignore = "run by limits_of_real_places_are_met"]
fn too_few_descriptors_for_the_rings() {
    let rings = |kind| {
        let folder = Folder::new();
        let plan = Plan { kind, pin: Pin::Off, ..Plan::new(12, vec![folder.0.clone()]) };
        start(plan, Arc::new(|| Box::pin(async {})))
    };
    setrlimit(Resource::Nofile, Rlimit { current: Some(72), maximum: Some(72) }).unwrap();
    if kinds().contains(&Kind::Ring) {
        assert!(rings(Kind::Ring).is_err());
    }
    let machine = rings(Kind::Auto).unwrap();
    assert_eq!(machine.found().kind, Kind::Portable);
    println!("{:?}", machine.found().complaints());
    machine.join().unwrap();
}

#[test]
#[ignore = "run by limits_of_real_places_are_met"]
fn one_cpu() {
    let allowed = allowed_cpus().unwrap().cpus;
    let mut set = CpuSet::new();
    set.set(allowed[0]);
    sched_setaffinity(None, &set).unwrap();
    let allowed = allowed_cpus().unwrap();
    assert_eq!((allowed.cores(), allowed.cpus.len()), (1, 1));
    for kind in kinds() {
        works(kind, 1);
        let crowded = works(kind, 2);
        assert!(crowded.complaints().iter().any(|complaint| complaint.contains("take turns")));
    }
}
