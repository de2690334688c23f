//! What a shard needs of the machine, and the one it runs on.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use storage::disk::{Class, Disk, LocalFuture};

/// Work sent to another core; runs there between other tasks, in the order sent.
pub type Job = Box<dyn FnOnce() + Send>;

/// An accepted connection on its way to the core that will serve it.
#[derive(Debug)]
pub struct Socket {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub local: SocketAddr,
}

/// One core's view of the machine. One per thread, set once at its start.
pub trait Host {
    /// This core, from 0, and how many there are.
    fn core(&self) -> usize;
    fn cores(&self) -> usize;
    /// Monotonic nanoseconds.
    fn now_ns(&self) -> u64;
    /// Milliseconds since the epoch.
    fn wall_ms(&self) -> i64;
    fn random(&self) -> u64;
    fn sleep(&self, duration: Duration) -> LocalFuture<'static, ()>;
    /// Runs a task on this core. `Background` tasks must await [`Host::breathe`] every 50 us of work.
    fn spawn(&self, class: Class, task: LocalFuture<'static, ()>);
    /// Lets everything else on this core run first.
    fn breathe(&self) -> LocalFuture<'static, ()>;
    /// Runs a job on another core (or this one, later). Order is kept per pair of cores. True if that core
    /// was waiting for something to do.
    fn send(&self, core: usize, job: Job) -> bool;
    /// Runs blocking or long CPU work on a helper thread and waits for it.
    fn offload(&self, work: Job) -> LocalFuture<'static, ()>;
    fn listen(&self, address: SocketAddr, backlog: i32) -> io::Result<Rc<dyn Listener>>;
    /// Connects to a peer; waits as long as the kernel does, so race it with a sleep.
    fn connect(&self, address: SocketAddr) -> LocalFuture<'static, io::Result<Rc<dyn Conn>>>;
    /// Takes over a connection that a listener, perhaps on another core, accepted, or another core released.
    fn adopt(&self, socket: Socket) -> io::Result<Rc<dyn Conn>>;
    /// The data directories, in configured order.
    fn disks(&self) -> Vec<Rc<dyn Disk>>;
    /// What waits for this core and its disks right now.
    fn load(&self) -> Load;
}

/// What waits, counted when asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Jobs sent to this core that have not run.
    pub mailbox: usize,
    /// Reads and writes of files that are under way: in this core's ring, or on the helper threads, which
    /// all cores share and the first core answers for.
    pub transfers: usize,
    /// Those that wait for their turn.
    pub transfers_waiting: usize,
}

/// A listening socket.
pub trait Listener {
    fn accept(&self) -> LocalFuture<'_, io::Result<Socket>>;
    fn local(&self) -> SocketAddr;
}

/// A byte stream to a client. One task may read while another writes.
pub trait Conn {
    /// Waits for bytes and appends them to `into`: as many as its spare capacity holds, or, if it has
    /// none, as the machine then makes room for. So an idle connection holds no buffer. 0 bytes: the
    /// peer is done. Dropping the future loses nothing.
    fn read<'a>(&'a self, into: &'a mut BytesMut) -> LocalFuture<'a, io::Result<usize>>;
    /// Writes all of a gather list, in order. If the future is dropped, part of it may have been sent:
    /// close the connection then.
    fn write<'a>(&'a self, gather: &'a [Bytes]) -> LocalFuture<'a, io::Result<()>>;
    /// Ends both directions; pending reads and writes return. After a release it does nothing.
    fn close(&self);
    /// Lets a core, perhaps another one, adopt the connection. No read or write may be under way or follow.
    fn release(&self) -> io::Result<Socket>;
}

thread_local! {
    static HOST: RefCell<Option<Rc<dyn Host>>> = const { RefCell::new(None) };
}

/// The machine this core runs on.
///
/// # Panics
/// If the thread is not a core of a started machine.
pub fn host() -> Rc<dyn Host> {
    HOST.with(|host| host.borrow().clone()).expect("called on a core")
}

/// Makes `host` the machine of this thread: at the start of a core, and in tests.
pub fn set_host(host: Rc<dyn Host>) {
    HOST.with(|slot| *slot.borrow_mut() = Some(host));
}

/// The thread's core has ended.
pub(crate) fn clear_host() {
    HOST.with(|slot| slot.borrow_mut().take());
}
