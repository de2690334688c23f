//! Sockets: plain non-blocking calls, and the core's ring to wait for readiness. Nothing the kernel
//! writes to later is ever handed out, so reads and writes can be dropped at any time.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use storage::disk::LocalFuture;

use super::driver::Driver;
use super::pump::yield_now;
use crate::host::{Conn, Listener, Socket};
use crate::seat::Seat;
use crate::socket;
use crate::sys::{self, Cursor};

/// Waits until a descriptor is readable (or at its end, or broken: the next call tells).
async fn readable(driver: &Rc<Driver>, fd: RawFd) -> io::Result<()> {
    ready(driver, fd, libc::POLLIN).await
}

async fn writable(driver: &Rc<Driver>, fd: RawFd) -> io::Result<()> {
    ready(driver, fd, libc::POLLOUT).await
}

async fn ready(driver: &Rc<Driver>, fd: RawFd, events: i16) -> io::Result<()> {
    let (result, _) = driver.ready(fd, events as u32).await;
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}

pub(super) struct Accepting {
    driver: Rc<Driver>,
    listener: TcpListener,
    local: SocketAddr,
}

impl Accepting {
    pub(super) fn new(driver: Rc<Driver>, listener: TcpListener) -> io::Result<Self> {
        let local = listener.local_addr()?;
        Ok(Self { driver, listener, local })
    }

    async fn next(&self) -> io::Result<Socket> {
        loop {
            match self.listener.accept() {
                Ok((stream, peer)) => return socket::named(stream, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    readable(&self.driver, self.listener.as_raw_fd()).await?;
                }
                Err(error) if socket::is_peers_fault(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Listener for Accepting {
    fn accept(&self) -> LocalFuture<'_, io::Result<Socket>> {
        Box::pin(self.next())
    }

    fn local(&self) -> SocketAddr {
        self.local
    }
}

pub(super) async fn connect(driver: &Rc<Driver>, address: SocketAddr) -> io::Result<TcpStream> {
    let (socket, pending) = socket::dial(address)?;
    if pending {
        writable(driver, socket.as_raw_fd()).await?;
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
    }
    Ok(socket.into())
}

pub(super) struct Connected {
    seat: Rc<Seat>,
    driver: Rc<Driver>,
    stream: TcpStream,
    /// The last read took all there was: wait before trying again.
    drained: Cell<bool>,
    released: Cell<bool>,
}

impl Connected {
    pub(super) fn new(seat: Rc<Seat>, driver: Rc<Driver>, stream: TcpStream) -> io::Result<Self> {
        socket::tune(&stream)?;
        Ok(Self { seat, driver, stream, drained: Cell::new(true), released: Cell::new(false) })
    }

    async fn read_some(&self, into: &mut BytesMut) -> io::Result<usize> {
        loop {
            if self.drained.get() {
                readable(&self.driver, self.stream.as_raw_fd()).await?;
            }
            match self.seat.receive(&self.stream, into) {
                Ok((n, drained)) => {
                    self.drained.set(drained && n > 0);
                    return Ok(n);
                }
                Err(error) if socket::is_try_again(&error) => self.drained.set(true),
                Err(error) => return Err(error),
            }
        }
    }

    async fn write_all(&self, gather: &[Bytes]) -> io::Result<()> {
        let mut at = Cursor::default();
        let mut turn_bytes = 0;
        while !at.is_done(gather) {
            match sys::send(&self.stream, gather, &mut at) {
                Ok(sent) => turn_bytes += sent,
                Err(error) if socket::is_try_again(&error) => {
                    turn_bytes = 0;
                    writable(&self.driver, self.stream.as_raw_fd()).await?;
                }
                Err(error) => return Err(error),
            }
            if turn_bytes >= socket::TURN_BYTES {
                turn_bytes = 0;
                yield_now().await;
            }
        }
        Ok(())
    }
}

impl Conn for Connected {
    fn read<'a>(&'a self, into: &'a mut BytesMut) -> LocalFuture<'a, io::Result<usize>> {
        Box::pin(self.read_some(into))
    }

    fn write<'a>(&'a self, gather: &'a [Bytes]) -> LocalFuture<'a, io::Result<()>> {
        Box::pin(self.write_all(gather))
    }

    fn close(&self) {
        if !self.released.get() {
            socket::shut(&self.stream);
        }
    }

    fn release(&self) -> io::Result<Socket> {
        let socket = socket::again(&self.stream)?;
        self.released.set(true);
        Ok(socket)
    }
}
