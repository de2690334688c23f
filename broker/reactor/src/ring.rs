//! The ring machine: per core a glommio executor, and beside it an io_uring of our own for sockets and
//! direct files.
//!
//! glommio schedules, and nothing else. It does not see the traffic: its own rings interrupt the core for
//! each completion, and its files may end up polling a device that cannot be polled. Nor does it sleep:
//! see `pump`.
#![allow(unsafe_code)]

mod arena;
mod conn;
mod driver;
mod file;
mod pump;
mod slots;
mod tasks;
mod timers;
mod transfer;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use glommio::{
    Latency, LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement, Shares, TaskQueueHandle,
    executor, spawn_local_into,
};
use storage::disk::{Class, Disk, LocalFuture};

use self::conn::{Accepting, Connected};
use self::driver::Driver;
use self::file::RingDisk;
use self::pump::{Breaths, Eventfd};
use self::tasks::{Counted, Due};
use self::timers::Timers;
use crate::blocking::Directory;
use crate::clock;
use crate::host::{Conn, Host, Job, Listener, Load, Socket, clear_host, set_host};
use crate::mailbox::Mailbox;
use crate::seat::{Guarded, Seat};
use crate::socket;

/// A mailbox and the eventfd that wakes its core.
pub(crate) fn mailbox() -> io::Result<(Arc<Mailbox>, OwnedFd)> {
    let bell = Eventfd::new()?;
    let eventfd = bell.try_clone()?;
    Ok((Arc::new(Mailbox::new(Box::new(bell))), eventfd))
}

/// A core's thread from start to end.
pub(crate) fn run(
    seat: Seat,
    eventfd: OwnedFd,
    main: &dyn Fn() -> LocalFuture<'static, ()>,
    ready: &dyn Fn(io::Result<()>) -> bool,
) {
    let (executor, driver) = match set_up(&seat, eventfd) {
        Ok(parts) => parts,
        Err(error) => {
            ready(Err(error));
            return;
        }
    };
    if !ready(Ok(())) {
        return;
    }
    let seat = Rc::new(seat);
    let _alarm = seat.alarm();
    executor.run(async {
        let ring = Rc::new(Ring::new(seat.clone(), driver.clone()));
        set_host(ring.clone());
        ring.spawn_into(ring.queues.append, seat.main(main()));
        let queue = ring.queues.append;
        let pumping =
            async move { pump::pump(&ring.seat, &ring.driver, &ring.timers, &ring.breaths, &ring.due).await };
        spawn_local_into(seat.guard(Box::pin(pumping)), queue).expect(QUEUE).await;
    });
    // Order: tasks first, since they hold futures of the driver; then what they left under way.
    drop(executor);
    clear_host();
    if let Err(error) = driver.outwait_transfers() {
        tracing::error!(%error, core = seat.core, "writes under way at the end were not waited for");
    }
}

fn set_up(seat: &Seat, bell: OwnedFd) -> io::Result<(LocalExecutor, Rc<Driver>)> {
    let driver = Driver::new(bell, seat.plan.registered_bytes)?;
    let placement = seat.cpu.map_or(Placement::Unbound, Placement::Fixed);
    let builder = LocalExecutorBuilder::new(placement)
        .io_memory(GLOMMIO_MEMORY_BYTES)
        .preempt_timer(PREEMPT)
        // Otherwise its helper thread would share this core's CPU.
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1));
    let executor = builder.make().map_err(|error| io::Error::other(error.to_string()))?;
    Ok((executor, driver))
}

/// glommio's queues of tasks, one per class.
#[derive(Clone, Copy)]
struct Queues {
    append: TaskQueueHandle,
    read: TaskQueueHandle,
    background: TaskQueueHandle,
}

impl Queues {
    fn new(seat: &Seat) -> Self {
        let queue =
            |shares, name| executor().create_task_queue(Shares::Static(shares), Latency::NotImportant, name);
        let shares = seat.plan.shares;
        Self {
            append: queue(shares.append, "append"),
            read: queue(shares.read, "read"),
            background: queue(shares.background, "background"),
        }
    }

    fn of(&self, class: Class) -> TaskQueueHandle {
        match class {
            Class::Append => self.append,
            Class::Read => self.read,
            Class::Background => self.background,
        }
    }
}

struct Ring {
    seat: Rc<Seat>,
    driver: Rc<Driver>,
    timers: Rc<Timers>,
    breaths: Rc<Breaths>,
    due: Arc<Due>,
    queues: Queues,
    disks: Vec<Rc<dyn Disk>>,
}

impl Ring {
    fn new(seat: Rc<Seat>, driver: Rc<Driver>) -> Self {
        let disks = seat.shared.dirs.iter().map(|dir| {
            let directory = Directory::new(seat.clone(), dir);
            let disk: Rc<dyn Disk> = Rc::new(RingDisk::new(seat.clone(), driver.clone(), directory));
            disk
        });
        Self {
            timers: Rc::default(),
            breaths: Rc::new(Breaths::new(seat.plan.shares)),
            due: Due::new(seat.mailbox().clone()),
            queues: Queues::new(&seat),
            disks: disks.collect(),
            seat,
            driver,
        }
    }

    fn spawn_into(&self, queue: TaskQueueHandle, task: Guarded) {
        spawn_local_into(Counted::new(task, &self.due), queue).expect(QUEUE).detach();
    }
}

const QUEUE: &str = "queues live as long as the executor";

impl Host for Ring {
    fn core(&self) -> usize {
        self.seat.core
    }

    fn cores(&self) -> usize {
        self.seat.shared.mailboxes.len()
    }

    fn now_ns(&self) -> u64 {
        self.seat.shared.clock.now_ns()
    }

    fn wall_ms(&self) -> i64 {
        clock::wall_ms()
    }

    fn random(&self) -> u64 {
        self.seat.random.next()
    }

    fn sleep(&self, duration: Duration) -> LocalFuture<'static, ()> {
        let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Box::pin(self.timers.until(self.now_ns().saturating_add(duration_ns)))
    }

    fn spawn(&self, class: Class, task: LocalFuture<'static, ()>) {
        self.spawn_into(self.queues.of(class), self.seat.guard(task));
    }

    fn breathe(&self) -> LocalFuture<'static, ()> {
        self.breaths.breathe()
    }

    fn send(&self, core: usize, job: Job) -> bool {
        self.seat.send(core, job)
    }

    fn offload(&self, work: Job) -> LocalFuture<'static, ()> {
        self.seat.offload(work)
    }

    fn listen(&self, address: SocketAddr, backlog: i32) -> io::Result<Rc<dyn Listener>> {
        Ok(Rc::new(Accepting::new(self.driver.clone(), socket::bind(address, backlog)?)?))
    }

    fn connect(&self, address: SocketAddr) -> LocalFuture<'static, io::Result<Rc<dyn Conn>>> {
        let (seat, driver) = (self.seat.clone(), self.driver.clone());
        Box::pin(async move {
            let stream = conn::connect(&driver, address).await?;
            let conn: Rc<dyn Conn> = Rc::new(Connected::new(seat, driver, stream)?);
            Ok(conn)
        })
    }

    fn adopt(&self, socket: Socket) -> io::Result<Rc<dyn Conn>> {
        Ok(Rc::new(Connected::new(self.seat.clone(), self.driver.clone(), socket.stream)?))
    }

    fn disks(&self) -> Vec<Rc<dyn Disk>> {
        self.disks.clone()
    }

    fn load(&self) -> Load {
        let (transfers, transfers_waiting) = self.driver.load();
        Load { mailbox: self.seat.mailbox().len(), transfers, transfers_waiting }
    }
}

/// glommio's own buffers, which nothing uses.
const GLOMMIO_MEMORY_BYTES: usize = 64 << 10;
/// glommio's preempt timer, in effect off: see `pump`.
const PREEMPT: Duration = Duration::from_secs(3600);
