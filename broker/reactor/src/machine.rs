//! Starting and stopping the machine: one thread with one event loop per core.

mod cgroup;
mod cpus;
mod dirs;
mod found;
mod memory;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use storage::disk::LocalFuture;

pub use self::cpus::{Allowed, allowed_cpus};
pub use self::dirs::{DirFacts, Direct, WriteCache};
pub use self::found::Found;
pub use self::memory::Memory;
use crate::host::Job;
use crate::mailbox::Mailbox;
use crate::portable;
use crate::probe::{self, Obstacle};
use crate::ring;
use crate::seat::{Seat, Shared};

/// What every core runs, with [`crate::host()`] set.
pub type Main = Arc<dyn Fn() -> LocalFuture<'static, ()> + Send + Sync>;

/// The machine one wants.
#[derive(Clone, Debug)]
pub struct Plan {
    pub kind: Kind,
    /// One entry per core.
    pub cores: Vec<CorePlan>,
    /// Existing folders; [`crate::Host::disks`] keeps their order.
    pub data_dirs: Vec<PathBuf>,
    pub pin: Pin,
}

impl Plan {
    /// `cores` equal cores, the kind and the pinning as the machine suggests.
    pub fn new(cores: usize, data_dirs: Vec<PathBuf>) -> Self {
        Self { kind: Kind::Auto, cores: vec![CorePlan::default(); cores], data_dirs, pin: Pin::Auto }
    }
}

/// What the event loops are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `Ring` where io_uring is within reach, else `Portable`.
    Auto,
    /// glommio and io_uring.
    Ring,
    /// tokio, epoll and helper threads for files.
    Portable,
}

/// Whether a core's thread stays on one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Only if this process has its CPUs to itself: a pinned thread on a shared CPU is 10 to 25 times
    /// slower, a free one at most twice.
    Auto,
    On,
    Off,
}

/// One core of a [`Plan`].
#[derive(Clone, Debug)]
pub struct CorePlan {
    /// The CPU to use if pinned; one of the allowed if not said.
    pub cpu: Option<usize>,
    /// The most memory registered with the kernel for direct I/O. Taken as it is needed.
    pub registered_bytes: usize,
    pub shares: Shares,
}

impl Default for CorePlan {
    fn default() -> Self {
        Self { cpu: None, registered_bytes: 64 << 20, shares: Shares::default() }
    }
}

/// How the classes of tasks divide a core that has more to do than time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    pub append: usize,
    pub read: usize,
    pub background: usize,
}

impl Default for Shares {
    fn default() -> Self {
        Self { append: 1000, read: 400, background: 50 }
    }
}

/// A data directory and what its filesystem can do.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    pub(crate) path: PathBuf,
    pub(crate) direct: bool,
}

/// A running machine.
pub struct Machine {
    found: Found,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Machine {
    /// `Ring` or `Portable`.
    pub fn kind(&self) -> Kind {
        self.found.kind
    }

    /// What was found and chosen at the start.
    pub fn found(&self) -> &Found {
        &self.found
    }

    pub fn handle(&self) -> Handle {
        Handle { shared: self.shared.clone() }
    }

    /// Waits until main has returned on every core. Tasks that are still running then are dropped.
    pub fn join(self) -> io::Result<()> {
        let mut lost = false;
        for thread in self.threads {
            lost |= thread.join().is_err();
        }
        match self.shared.panicked() {
            Some(core) => Err(io::Error::other(format!("a task panicked on core {core}"))),
            None if lost => Err(io::Error::other("a core's thread panicked")),
            None => Ok(()),
        }
    }
}

/// Reaches the cores from threads that are none.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub fn cores(&self) -> usize {
        self.shared.mailboxes.len()
    }

    /// Runs a job on a core. Jobs from one thread keep their order.
    pub fn send(&self, core: usize, job: Job) {
        self.shared.mailboxes[core].post(job);
    }
}

/// Starts a machine: `main` runs on every core once all of them are up.
pub fn start(plan: Plan, main: Main) -> io::Result<Machine> {
    if plan.cores.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a machine needs a core"));
    }
    let mut found = inspect(&plan)?;
    let auto = plan.kind == Kind::Auto && found.kind == Kind::Ring;
    match start_on(&plan, found.clone(), main.clone()) {
        Err(error) if auto => {
            found.kind = Kind::Portable;
            found.io_uring = Err(Obstacle::Start(error.to_string()));
            if plan.pin == Pin::Auto {
                (found.pinned, found.pinning) = (false, found::UNPINNED_PORTABLE.into());
            }
            start_on(&plan, found, main)
        }
        result => result,
    }
}

fn start_on(plan: &Plan, found: Found, main: Main) -> io::Result<Machine> {
    let cores = plan.cores.len();
    let (shared, bodies) = match found.kind {
        Kind::Portable => assemble(plan, &found, (0..cores).map(|_| Ok(portable::mailbox())), {
            move |seat, bell, ready| portable::run(seat, bell, &*main, ready)
        }),
        Kind::Auto | Kind::Ring => assemble(plan, &found, (0..cores).map(|_| ring::mailbox()), {
            move |seat, bell, ready| ring::run(seat, bell, &*main, ready)
        }),
    }?;
    let threads = launch(&shared, bodies)?;
    Ok(Machine { found, shared, threads })
}

/// Looks at the computer and decides what to run.
fn inspect(plan: &Plan) -> io::Result<Found> {
    let io_uring = probe::io_uring(plan.cores.len());
    let kind = match (plan.kind, &io_uring) {
        (Kind::Portable, _) | (Kind::Auto, Err(_)) => Kind::Portable,
        (Kind::Auto | Kind::Ring, Ok(_)) => Kind::Ring,
        (Kind::Ring, Err(obstacle)) => {
            return Err(io::Error::new(io::ErrorKind::Unsupported, obstacle.clone()));
        }
    };
    let allowed = allowed_cpus()?;
    let online = thread::available_parallelism().map_or(allowed.cpus.len(), usize::from);
    let online = fs::read_to_string("/sys/devices/system/cpu/online").map_or(online, |text| count(&text));
    let pressure = fs::read_to_string("/proc/pressure/cpu").ok().and_then(|text| found::pressure(&text));
    let (pinned, pinning) = found::pinning(plan.pin, kind, plan.cores.len(), &allowed, online, pressure);
    if pinned {
        check_cpus(plan, &allowed)?;
    }
    Ok(Found {
        kind,
        cores: plan.cores.len(),
        pinned,
        pinning,
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        allowed,
        memory: memory::memory(),
        memlock: probe::raise_memlock(),
        registered_bytes: plan.cores.iter().map(|core| core.registered_bytes as u64).sum(),
        io_uring,
        dirs: plan.data_dirs.iter().map(|path| dirs::inspect(path)).collect::<io::Result<_>>()?,
    })
}

/// A core cannot be pinned to a CPU that is not for this process.
fn check_cpus(plan: &Plan, allowed: &Allowed) -> io::Result<()> {
    for (core, cpu) in plan.cores.iter().enumerate().filter_map(|(core, plan)| Some((core, plan.cpu?))) {
        if !allowed.cpus.contains(&cpu) {
            let text = format!("core {core} is to run on CPU {cpu}, of {:?} that are allowed", allowed.cpus);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
    }
    Ok(())
}

/// CPUs in a list like `0-3,8`.
fn count(list: &str) -> usize {
    let range = |range: &str| -> Option<usize> {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(last.parse::<usize>().ok()? + 1 - first.parse::<usize>().ok()?)
    };
    list.trim().split(',').filter_map(range).sum()
}

/// Makes the mailboxes, and what each core's thread will do.
fn assemble<B: Send + 'static>(
    plan: &Plan,
    found: &Found,
    mailboxes: impl Iterator<Item = io::Result<(Arc<Mailbox>, B)>>,
    run: impl Fn(Seat, B, &Ready) + Clone + Send + 'static,
) -> io::Result<(Arc<Shared>, Vec<Body>)> {
    let (mailboxes, bells): (Vec<_>, Vec<B>) = mailboxes.collect::<io::Result<Vec<_>>>()?.into_iter().unzip();
    let dir = |facts: &DirFacts| DataDir { path: facts.path.clone(), direct: facts.direct.is_used() };
    let dirs = found.dirs.iter().map(dir).collect();
    // A thread begins with the mask of the one that starts it: a pinned core's would be a single CPU.
    let helpers = found.pinned.then(|| found.allowed.cpus.clone());
    let shared = Arc::new(Shared::new(mailboxes, dirs, helpers.unwrap_or_default()));
    let bodies = seats(plan, found, &shared).into_iter().zip(bells).map(|(seat, bell)| {
        let run = run.clone();
        let body: Body = Box::new(move |ready| run(seat, bell, ready));
        body
    });
    let bodies = bodies.collect();
    Ok((shared, bodies))
}

fn seats(plan: &Plan, found: &Found, shared: &Arc<Shared>) -> Vec<Seat> {
    let cpus = pins(plan, &found.allowed.cpus);
    let seat = |(core, plan): (usize, &CorePlan)| {
        let cpu = found.pinned.then(|| cpus[core]);
        Seat::new(core, cpu, plan.clone(), shared.clone())
    };
    plan.cores.iter().enumerate().map(seat).collect()
}

/// The CPU of each core, if it is to be pinned: the one it names, else one that none names, as long as there are any.
fn pins(plan: &Plan, allowed: &[usize]) -> Vec<usize> {
    let is_named = |cpu: &usize| plan.cores.iter().any(|core| core.cpu == Some(*cpu));
    let mut free = allowed.iter().copied().filter(|cpu| !is_named(cpu));
    let pin = |(core, plan): (usize, &CorePlan)| {
        plan.cpu.or_else(|| free.next()).unwrap_or(allowed[core % allowed.len()])
    };
    plan.cores.iter().enumerate().map(pin).collect()
}

/// What a core's thread does; it calls the argument when it is up and goes on only if that says so.
type Body = Box<dyn FnOnce(&Ready) + Send>;
type Ready = dyn Fn(io::Result<()>) -> bool;

/// Starts the threads; none goes on before all are up, and none at all if one fails.
fn launch(shared: &Arc<Shared>, bodies: Vec<Body>) -> io::Result<Vec<JoinHandle<()>>> {
    let (report, reports) = mpsc::channel::<io::Result<()>>();
    let mut threads = Vec::new();
    let mut gates = Vec::new();
    let mut failure = None;
    for (core, body) in bodies.into_iter().enumerate() {
        let (gate, go) = mpsc::channel::<()>();
        let report = report.clone();
        let ready = move |result: io::Result<()>| {
            let is_up = result.is_ok();
            report.send(result).is_ok() && is_up && go.recv().is_ok()
        };
        match thread::Builder::new().name(format!("core-{core}")).spawn(move || body(&ready)) {
            Ok(thread) => threads.push(thread),
            Err(error) => failure = Some(error),
        }
        gates.push(gate);
    }
    drop(report);
    for _ in 0..threads.len() {
        match reports.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failure = Some(error),
            Err(_) => failure = Some(io::Error::other("a core's thread ended before it was up")),
        }
    }
    if let Some(error) = failure {
        drop(gates);
        shared.stop();
        for thread in threads {
            let _ = thread.join();
        }
        return Err(error);
    }
    for gate in gates {
        // A core that is up waits for this.
        let _ = gate.send(());
    }
    Ok(threads)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use storage::disk::{Class, Mode, Sync};

    use super::*;

    /// What a filesystem without O_DIRECT gets: any position and length, and the same bytes back.
    #[test]
    fn a_filesystem_that_cannot_be_direct_is_written_through_the_page_cache() {
        let folder = std::env::temp_dir().join(format!("not-direct-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let kinds =
            if probe::io_uring(1).is_ok() { [Kind::Portable, Kind::Ring] } else { [Kind::Portable; 2] };
        for kind in kinds {
            let plan = Plan { kind, pin: Pin::Off, ..Plan::new(1, vec![folder.clone()]) };
            let mut found = inspect(&plan).unwrap();
            found.dirs[0].direct = Direct::No("for this test".into());
            let main: Main = Arc::new(|| {
                Box::pin(async {
                    let disk = crate::host().disks().remove(0);
                    let file = disk.open("log", Mode::DirectCreate).await.unwrap();
                    let data = Bytes::from(vec![3; 10_000]);
                    file.write_at(77, data.clone(), Sync::Durable, Class::Append).await.unwrap();
                    assert_eq!(file.read_at(77, 10_000, Class::Read).await.unwrap(), data);
                    assert_eq!(file.len().await.unwrap(), 10_077);
                })
            });
            start_on(&plan, found, main).unwrap().join().unwrap();
            fs::remove_file(folder.join("log")).unwrap();
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn cores_get_cpus_of_their_own_around_those_that_are_named() {
        let mut plan = Plan::new(3, Vec::new());
        plan.cores[0].cpu = Some(4);
        assert_eq!(pins(&plan, &[2, 4, 6]), [4, 2, 6]);
        assert_eq!(pins(&plan, &[2, 4]), [4, 2, 2]);
        let allowed = Allowed { cpus: vec![2, 4], quota: None };
        check_cpus(&plan, &allowed).unwrap();
        plan.cores[1].cpu = Some(5);
        let refused = check_cpus(&plan, &allowed).unwrap_err().to_string();
        assert_eq!(refused, "core 1 is to run on CPU 5, of [2, 4] that are allowed");
    }

    #[test]
    fn lists_of_cpus_are_counted() {
        assert_eq!(count("0-3,8\n"), 5);
        assert_eq!(count("0\n"), 1);
        assert_eq!(count(""), 0);
    }
}
