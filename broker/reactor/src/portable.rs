//! The portable machine: per core a tokio current-thread runtime (epoll), files on helper threads.
//! For where io_uring is blocked. Same promises as the ring, slower.

mod conn;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};
use storage::disk::{Class, Disk, LocalFuture};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local, yield_now};

use self::conn::{Accepting, Connected};
use crate::blocking::Directory;
use crate::clock;
use crate::host::{Conn, Host, Job, Listener, Load, Socket, clear_host, set_host};
use crate::mailbox::{Bell, Mailbox};
use crate::seat::Seat;
use crate::socket;

impl Bell for Arc<Notify> {
    fn ring(&self) {
        self.notify_one();
    }
}

/// A mailbox and what its core waits on.
pub(crate) fn mailbox() -> (Arc<Mailbox>, Arc<Notify>) {
    let bell = Arc::new(Notify::new());
    (Arc::new(Mailbox::new(Box::new(bell.clone()))), bell)
}

/// A core's thread from start to end.
pub(crate) fn run(
    seat: Seat,
    bell: Arc<Notify>,
    main: &dyn Fn() -> LocalFuture<'static, ()>,
    ready: &dyn Fn(io::Result<()>) -> bool,
) {
    let runtime = match set_up(&seat) {
        Ok(runtime) => runtime,
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
    set_host(Rc::new(Portable::new(seat.clone())));
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        spawn_local(seat.main(main()));
        serve(&seat, &bell).await;
    });
    // Order: tasks first, while what they use is still there.
    drop(local);
    clear_host();
}

fn set_up(seat: &Seat) -> io::Result<Runtime> {
    if let Some(cpu) = seat.cpu {
        let mut set = CpuSet::new();
        set.set(cpu);
        sched_setaffinity(None, &set)?;
    }
    Builder::new_current_thread().enable_io().enable_time().build()
}

/// Runs what other cores send, until the machine stops.
async fn serve(seat: &Seat, bell: &Notify) {
    let mailbox = seat.mailbox();
    loop {
        let more = mailbox.run_some();
        // Order: after the jobs, since the one that told of the stop may have been among them.
        if seat.shared.is_stopping() {
            return;
        }
        if more {
            yield_now().await;
        } else if mailbox.begin_wait() {
            bell.notified().await;
        }
    }
}

struct Portable {
    seat: Rc<Seat>,
    disks: Vec<Rc<dyn Disk>>,
}

impl Portable {
    fn new(seat: Rc<Seat>) -> Self {
        let disks = seat.shared.dirs.iter().map(|dir| {
            let disk: Rc<dyn Disk> = Rc::new(Directory::new(seat.clone(), dir));
            disk
        });
        let disks = disks.collect();
        Self { seat, disks }
    }
}

impl Host for Portable {
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
        Box::pin(tokio::time::sleep(duration))
    }

    fn spawn(&self, _class: Class, task: LocalFuture<'static, ()>) {
        // tokio has no classes: fairness rests on `breathe`.
        spawn_local(self.seat.guard(task));
    }

    fn breathe(&self) -> LocalFuture<'static, ()> {
        // Woken only after the next look at epoll and the timers.
        Box::pin(yield_now())
    }

    fn send(&self, core: usize, job: Job) -> bool {
        self.seat.send(core, job)
    }

    fn offload(&self, work: Job) -> LocalFuture<'static, ()> {
        self.seat.offload(work)
    }

    fn listen(&self, address: SocketAddr, backlog: i32) -> io::Result<Rc<dyn Listener>> {
        Ok(Rc::new(Accepting::new(socket::bind(address, backlog)?)?))
    }

    fn connect(&self, address: SocketAddr) -> LocalFuture<'static, io::Result<Rc<dyn Conn>>> {
        let seat = self.seat.clone();
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            let conn: Rc<dyn Conn> = Rc::new(Connected::new(seat, stream.into_std()?)?);
            Ok(conn)
        })
    }

    fn adopt(&self, socket: Socket) -> io::Result<Rc<dyn Conn>> {
        Ok(Rc::new(Connected::new(self.seat.clone(), socket.stream)?))
    }

    fn disks(&self) -> Vec<Rc<dyn Disk>> {
        self.disks.clone()
    }

    fn load(&self) -> Load {
        let (transfers, transfers_waiting) =
            if self.seat.core == 0 { self.seat.shared.files.load() } else { (0, 0) };
        Load { mailbox: self.seat.mailbox().len(), transfers, transfers_waiting }
    }
}
