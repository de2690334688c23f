//! The ring machine: per core a glommio executor, and beside it an io_uring of our own for sockets and
//! direct files.
//!
//! glommio schedules, sleeps and keeps the timers. It does not see the traffic: its own rings interrupt
//! the core for each completion, and its files may end up polling a device that cannot be polled.
#![allow(unsafe_code)]

mod arena;
mod conn;
mod driver;
mod file;
mod pump;
mod slots;
mod transfer;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
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
use crate::blocking::Directory;
use crate::clock;
use crate::host::{Conn, Host, Job, Listener, Socket, clear_host, set_host};
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
    let (executor, driver) = match set_up(&seat, &eventfd) {
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
        let queues = Queues::new(&seat);
        let breaths = Rc::new(Breaths::new(seat.plan.shares));
        let ring = Ring::new(seat.clone(), driver.clone(), breaths.clone(), queues);
        set_host(Rc::new(ring));
        let main = Counted { task: seat.main(main()), driver: driver.clone() };
        spawn_local_into(main, queues.append).expect("the queue was just made").detach();
        let pumping = {
            let (seat, driver) = (seat.clone(), driver.clone());
            async move { pump::pump(&seat, &driver, &breaths, eventfd).await }
        };
        spawn_local_into(seat.guard(Box::pin(pumping)), queues.append)
            .expect("the queue was just made")
            .await;
    });
    // Order: tasks first, since they hold futures of the driver; then what they left under way.
    drop(executor);
    clear_host();
    if let Err(error) = driver.outwait_transfers() {
        tracing::error!(%error, core = seat.core, "writes under way at the end were not waited for");
    }
}

fn set_up(seat: &Seat, eventfd: &OwnedFd) -> io::Result<(LocalExecutor, Rc<Driver>)> {
    let driver = Driver::new(eventfd.as_fd(), seat.plan.registered_bytes)?;
    let placement = seat.cpu.map_or(Placement::Unbound, Placement::Fixed);
    let builder = LocalExecutorBuilder::new(placement)
        .io_memory(GLOMMIO_MEMORY_BYTES)
        .preempt_timer(PREEMPT)
        // Otherwise its helper thread would share this core's CPU.
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1));
    let executor = builder.make().map_err(|error| io::Error::other(error.to_string()))?;
    // The first sleep costs 10 ms and more; better now than when somebody waits.
    executor.run(glommio::timer::sleep(FIRST_SLEEP));
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

/// A task that lets the pump run now and then even if no task waits for anything outside.
struct Counted {
    task: Guarded,
    driver: Rc<Driver>,
}

impl Future for Counted {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.driver.count_poll();
        Pin::new(&mut self.task).poll(context)
    }
}

struct Ring {
    seat: Rc<Seat>,
    driver: Rc<Driver>,
    breaths: Rc<Breaths>,
    queues: Queues,
    disks: Vec<Rc<dyn Disk>>,
}

impl Ring {
    fn new(seat: Rc<Seat>, driver: Rc<Driver>, breaths: Rc<Breaths>, queues: Queues) -> Self {
        let disks = seat.shared.dirs.iter().map(|dir| {
            let directory = Directory::new(seat.clone(), dir);
            let disk: Rc<dyn Disk> = Rc::new(RingDisk::new(seat.clone(), driver.clone(), directory));
            disk
        });
        let disks = disks.collect();
        Self { seat, driver, breaths, queues, disks }
    }
}

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
        Box::pin(glommio::timer::sleep(duration))
    }

    fn spawn(&self, class: Class, task: LocalFuture<'static, ()>) {
        let task = Counted { task: self.seat.guard(task), driver: self.driver.clone() };
        let task = spawn_local_into(task, self.queues.of(class));
        task.expect("queues live as long as the executor").detach();
    }

    fn breathe(&self) -> LocalFuture<'static, ()> {
        self.breaths.breathe(&self.driver)
    }

    fn send(&self, core: usize, job: Job) {
        self.seat.send(core, job);
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
}

/// glommio's own buffers, which nothing uses.
const GLOMMIO_MEMORY_BYTES: usize = 64 << 10;
/// glommio's preempt timer, in effect off: see `pump`.
const PREEMPT: Duration = Duration::from_secs(3600);
const FIRST_SLEEP: Duration = Duration::from_micros(1);
