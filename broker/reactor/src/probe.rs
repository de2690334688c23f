//! Whether io_uring is within reach, and if not, why, in words an operator can act on.
//!
//! glommio itself panics or exits the process where it is not, so this is asked first.

use std::fmt;
use std::fs;
use std::io;

use io_uring::{IoUring, Probe, opcode};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What keeps the ring machine from running here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The sysctl kernel.io_uring_disabled is 1 (privileged processes only) or 2 (nobody).
    Sysctl(u32),
    /// A seccomp filter refuses the system call, as container runtimes do by default.
    Seccomp,
    /// A security module refuses, or the reason cannot be seen from here.
    Forbidden,
    /// The kernel has no io_uring at all.
    NoSystemCall,
    /// The kernel lacks operations that are needed.
    NoOperations(Vec<&'static str>),
    /// Too little memory may be locked; soft and hard limit, and what is needed, in bytes.
    Memlock {
        soft: u64,
        hard: u64,
        needed: u64,
    },
    /// No descriptor, or no memory, was left for a ring.
    Exhausted(i32),
    /// A single ring works, but not all that the machine needs.
    Start(String),
    Other(i32),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sysctl(1) => f.write_str(
                "io_uring is for privileged processes only (sysctl kernel.io_uring_disabled = 1): set it to 0, \
                 or add this user's group to kernel.io_uring_group",
            ),
            Self::Sysctl(value) => write!(
                f,
                "io_uring is switched off (sysctl kernel.io_uring_disabled = {value}): set it to 0"
            ),
            Self::Seccomp => f.write_str(
                "a seccomp filter forbids io_uring, as container runtimes do by default: run the container \
                 with a profile that allows io_uring_setup, io_uring_enter and io_uring_register \
                 (with Docker: --security-opt seccomp=<profile>, or =unconfined to try)",
            ),
            Self::Forbidden => f.write_str(
                "the kernel forbids io_uring to this process: look for a security module's policy \
                 (SELinux, AppArmor) or a sandbox such as gVisor",
            ),
            Self::NoSystemCall => {
                f.write_str("this kernel has no io_uring: Linux 5.19 or newer is needed, built with it")
            }
            Self::NoOperations(names) => write!(
                f,
                "this kernel's io_uring cannot do {}: Linux 5.19 or newer is needed",
                names.join(", ")
            ),
            Self::Memlock { soft, hard, needed } => write!(
                f,
                "only {} KiB of memory may be locked (hard limit {} KiB), {} KiB are needed: raise it with \
                 `ulimit -l`, LimitMEMLOCK= in the systemd unit, or --ulimit memlock= for a container",
                soft >> 10,
                hard >> 10,
                needed >> 10
            ),
            Self::Exhausted(errno) => write!(
                f,
                "no resources are left for an io_uring ({}): raise the limits on locked memory (`ulimit -l`) and \
                 open files (`ulimit -n`), of which this user's other processes may use a part",
                io::Error::from_raw_os_error(*errno)
            ),
            Self::Start(why) => write!(
                f,
                "io_uring is there, but a core cannot be started on it ({why}): raise the limits on locked \
                 memory (`ulimit -l`) and open files (`ulimit -n`)"
            ),
            Self::Other(errno) => {
                write!(f, "io_uring cannot be set up: {}", io::Error::from_raw_os_error(*errno))
            }
        }
    }
}

impl std::error::Error for Obstacle {}

/// How well the ring runs here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingFacts {
    /// Completions wait for the core's next system call instead of interrupting it (Linux 5.19).
    pub cooperative: bool,
    /// The kernel knows that one thread alone uses a ring (Linux 6.0).
    pub single_issuer: bool,
    /// Memory for direct I/O can be registered.
    pub registered_memory: bool,
}

/// Tries io_uring as a machine of some cores would use it. Raises the memlock limit as far as it may.
pub fn io_uring(cores: usize) -> Result<RingFacts, Obstacle> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    memlock_verdict(raise_memlock(), cores, counts_rings(&release))?;
    let ring =
        IoUring::new(8).map_err(|error| verdict(error.raw_os_error().unwrap_or(0), sysctl(), seccomp()))?;
    let mut probe = Probe::new();
    let missing = match ring.submitter().register_probe(&mut probe) {
        Ok(()) => missing(|code| probe.is_supported(code)),
        // Older than 5.6, where the question itself was added.
        Err(_) => missing(|_| false),
    };
    if !missing.is_empty() {
        return Err(Obstacle::NoOperations(missing));
    }
    Ok(RingFacts {
        cooperative: knows(|builder| builder.setup_coop_taskrun().setup_taskrun_flag()),
        single_issuer: knows(|builder| builder.setup_single_issuer()),
        registered_memory: ring.submitter().register_buffers_sparse(1).is_ok(),
    })
}

fn knows(flags: impl FnOnce(&mut io_uring::Builder) -> &mut io_uring::Builder) -> bool {
    let result = flags(&mut IoUring::builder()).build(8);
    !result.is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL))
}

/// Why `io_uring_setup` answered `errno`.
fn verdict(errno: i32, sysctl: Option<u32>, seccomp: bool) -> Obstacle {
    match (errno, sysctl) {
        (libc::EPERM | libc::EACCES, Some(value)) if value > 0 => Obstacle::Sysctl(value),
        (libc::EPERM | libc::EACCES, _) if seccomp => Obstacle::Seccomp,
        (libc::EPERM | libc::EACCES, _) => Obstacle::Forbidden,
        // Some filters answer as if the call did not exist.
        (libc::ENOSYS, _) if seccomp => Obstacle::Seccomp,
        (libc::ENOSYS, _) => Obstacle::NoSystemCall,
        (libc::EMFILE | libc::ENFILE | libc::ENOMEM, _) => Obstacle::Exhausted(errno),
        _ => Obstacle::Other(errno),
    }
}

/// `counts_rings`: the kernel counts the memory of rings themselves as locked.
fn memlock_verdict(memlock: Memlock, cores: usize, counts_rings: bool) -> Result<(), Obstacle> {
    let Memlock { soft, hard, exempt } = memlock;
    let rings = if counts_rings && !exempt { cores as u64 * MEMLOCK_BYTES_PER_CORE } else { 0 };
    let needed = rings.max(MEMLOCK_BYTES_MIN);
    if soft < needed { Err(Obstacle::Memlock { soft, hard, needed }) } else { Ok(()) }
}

/// Kernels before 5.12 and from 6.14 on do.
fn counts_rings(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>());
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < (5, 12) || (major, minor) >= (6, 14),
        _ => true,
    }
}

/// Names of what is needed and not there. All but the last two are what glommio ends the process for.
fn missing(is_supported: impl Fn(u8) -> bool) -> Vec<&'static str> {
    let needed = [
        ("NOP", opcode::Nop::CODE),
        ("READV", opcode::Readv::CODE),
        ("WRITEV", opcode::Writev::CODE),
        ("FSYNC", opcode::Fsync::CODE),
        ("READ_FIXED", opcode::ReadFixed::CODE),
        ("WRITE_FIXED", opcode::WriteFixed::CODE),
        ("POLL_ADD", opcode::PollAdd::CODE),
        ("POLL_REMOVE", opcode::PollRemove::CODE),
        ("SENDMSG", opcode::SendMsg::CODE),
        ("RECVMSG", opcode::RecvMsg::CODE),
        ("TIMEOUT", opcode::Timeout::CODE),
        ("TIMEOUT_REMOVE", opcode::TimeoutRemove::CODE),
        ("ACCEPT", opcode::Accept::CODE),
        ("LINK_TIMEOUT", opcode::LinkTimeout::CODE),
        ("CONNECT", opcode::Connect::CODE),
        ("FALLOCATE", opcode::Fallocate::CODE),
        ("OPENAT", opcode::OpenAt::CODE),
        ("CLOSE", opcode::Close::CODE),
        ("STATX", opcode::Statx::CODE),
        ("READ", opcode::Read::CODE),
        ("WRITE", opcode::Write::CODE),
        ("SEND", opcode::Send::CODE),
        ("RECV", opcode::Recv::CODE),
        ("ASYNC_CANCEL", opcode::AsyncCancel::CODE),
    ];
    needed.into_iter().filter(|(_, code)| !is_supported(*code)).map(|(name, _)| name).collect()
}

fn sysctl() -> Option<u32> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

/// Whether a seccomp filter is on this thread.
fn seccomp() -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

/// Limits on locked memory in bytes; `u64::MAX` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memlock {
    pub soft: u64,
    pub hard: u64,
    /// Registered memory is not counted against them (CAP_IPC_LOCK).
    pub exempt: bool,
}

/// Raises the soft limit on locked memory to the hard one.
pub(crate) fn raise_memlock() -> Memlock {
    let Rlimit { current, maximum } = getrlimit(Resource::Memlock);
    if current != maximum {
        // Refused by some sandboxes: the limit stays what it was.
        let _ = setrlimit(Resource::Memlock, Rlimit { current: maximum, maximum });
    }
    let Rlimit { current, maximum } = getrlimit(Resource::Memlock);
    let exempt = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::IPC_LOCK));
    Memlock { soft: current.unwrap_or(u64::MAX), hard: maximum.unwrap_or(u64::MAX), exempt }
}

/// What glommio asks for, whether it uses it or not.
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;
/// The rings of a core, and the memory glommio registers with each of its three.
const MEMLOCK_BYTES_PER_CORE: u64 = 320 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// The words for a refusal must name what to change.
    fn check(errno: i32, sysctl: Option<u32>, seccomp: bool, expected: Obstacle, remedy: &str) {
        let found = verdict(errno, sysctl, seccomp);
        assert_eq!(found, expected);
        assert!(found.to_string().contains(remedy), "{found}");
    }

    #[test]
    fn each_refusal_has_its_own_remedy() {
        check(libc::EPERM, Some(2), false, Obstacle::Sysctl(2), "io_uring_disabled = 2): set it to 0");
        check(libc::EPERM, Some(1), true, Obstacle::Sysctl(1), "kernel.io_uring_group");
        check(libc::EPERM, Some(0), true, Obstacle::Seccomp, "--security-opt seccomp=");
        check(libc::ENOSYS, None, true, Obstacle::Seccomp, "seccomp");
        check(libc::EPERM, None, false, Obstacle::Forbidden, "SELinux");
        check(libc::EACCES, Some(0), false, Obstacle::Forbidden, "AppArmor");
        check(libc::ENOSYS, None, false, Obstacle::NoSystemCall, "Linux 5.19");
        check(libc::EMFILE, Some(0), false, Obstacle::Exhausted(libc::EMFILE), "ulimit -n");
        check(libc::ENOMEM, Some(0), false, Obstacle::Exhausted(libc::ENOMEM), "ulimit -l");
        check(libc::EINVAL, Some(0), false, Obstacle::Other(libc::EINVAL), "Invalid argument");
    }

    #[test]
    fn too_little_lockable_memory_is_told_with_the_limit() {
        let check = |kib: u64, exempt, cores, counts, needed: Option<u64>| {
            let memlock = Memlock { soft: kib << 10, hard: kib << 10, exempt };
            let obstacle = needed.map(|needed| Obstacle::Memlock {
                soft: kib << 10,
                hard: kib << 10,
                needed: needed << 10,
            });
            assert_eq!(memlock_verdict(memlock, cores, counts).err(), obstacle);
            obstacle.map_or_else(String::new, |obstacle| obstacle.to_string())
        };
        let words = check(64, false, 1, false, Some(512));
        assert!(words.contains("only 64 KiB") && words.contains("512 KiB are needed"), "{words}");
        assert!(words.contains("LimitMEMLOCK"), "{words}");
        check(64, true, 1, true, Some(512));
        check(512, false, 1, true, None);
        check(512, false, 2, true, Some(640));
        check(512, false, 64, false, None);
        check(512, true, 64, true, None);
        check(8192, false, 64, true, Some(20_480));
    }

    #[test]
    fn kernels_that_count_rings_as_locked_memory_are_known() {
        assert!(counts_rings("6.18.44-fc-v669") && counts_rings("6.14.0") && counts_rings("7.0"));
        assert!(!counts_rings("6.13.12-1-amd64") && !counts_rings("5.15.0-113-generic"));
        assert!(counts_rings("5.10.0") && counts_rings("odd"));
    }

    #[test]
    fn missing_operations_are_named() {
        let old = missing(|code| code != opcode::Send::CODE && code != opcode::AsyncCancel::CODE);
        assert_eq!(old, ["SEND", "ASYNC_CANCEL"]);
        let words = Obstacle::NoOperations(old).to_string();
        assert!(words.contains("cannot do SEND, ASYNC_CANCEL"), "{words}");
        assert!(missing(|_| true).is_empty());
    }
}
