//! Starting and stopping the machine: one thread with one event loop per core.

mod cpus;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use storage::disk::LocalFuture;

pub use self::cpus::{Allowed, allowed_cpus};
use crate::host::Job;
use crate::portable;
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
        Self { cpu: None, registered_bytes: 32 << 20, shares: Shares::default() }
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
    kind: Kind,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Machine {
    /// `Ring` or `Portable`.
    pub fn kind(&self) -> Kind {
        self.kind
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
    let kind = match plan.kind {
        Kind::Auto | Kind::Portable => Kind::Portable,
        Kind::Ring => return Err(io::Error::new(io::ErrorKind::Unsupported, "the ring is not built in")),
    };
    let dirs = plan.data_dirs.iter().map(|path| DataDir { path: path.clone(), direct: true }).collect();
    let (mailboxes, bells) = plan.cores.iter().map(|_| portable::mailbox()).unzip();
    let shared = Arc::new(Shared::new(mailboxes, dirs));
    let seats = seats(&plan, &shared)?;
    let bodies = seats.into_iter().zip::<Vec<_>>(bells).map(|(seat, bell)| {
        let main = main.clone();
        let body: Body = Box::new(move |ready| portable::run(seat, bell, &*main, ready));
        body
    });
    let threads = launch(&shared, bodies)?;
    Ok(Machine { kind, shared, threads })
}

fn seats(plan: &Plan, shared: &Arc<Shared>) -> io::Result<Vec<Seat>> {
    let cpus = match plan.pin {
        Pin::On => allowed_cpus()?.cpus,
        Pin::Auto | Pin::Off => Vec::new(),
    };
    let seat = |(core, plan): (usize, &CorePlan)| {
        let any = |cpus: &[usize]| cpus[core % cpus.len()];
        let cpu = (!cpus.is_empty()).then(|| plan.cpu.unwrap_or_else(|| any(&cpus)));
        Seat::new(core, cpu, plan.clone(), shared.clone())
    };
    Ok(plan.cores.iter().enumerate().map(seat).collect())
}

/// What a core's thread does; it calls the argument when it is up and goes on only if that says so.
type Body = Box<dyn FnOnce(&dyn Fn(io::Result<()>) -> bool) + Send>;

/// Starts the threads; none goes on before all are up, and none at all if one fails.
fn launch(shared: &Arc<Shared>, bodies: impl Iterator<Item = Body>) -> io::Result<Vec<JoinHandle<()>>> {
    let (report, reports) = mpsc::channel::<io::Result<()>>();
    let mut threads = Vec::new();
    let mut gates = Vec::new();
    let mut failure = None;
    for (core, body) in bodies.enumerate() {
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
