//! Sockets on epoll.

use std::cell::Cell;
use std::io;
use std::net::{self, SocketAddr};
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use storage::disk::LocalFuture;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;

use crate::host::{Conn, Listener, Socket};
use crate::seat::Seat;
use crate::socket;
use crate::sys::{self, Cursor};

pub(super) struct Accepting {
    listener: TcpListener,
    local: SocketAddr,
}

impl Accepting {
    pub(super) fn new(listener: net::TcpListener) -> io::Result<Self> {
        let local = listener.local_addr()?;
        Ok(Self { listener: TcpListener::from_std(listener)?, local })
    }

    async fn next(&self) -> io::Result<Socket> {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => return socket::named(stream.into_std()?, peer),
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

pub(super) struct Connected {
    seat: Rc<Seat>,
    stream: TcpStream,
    released: Cell<bool>,
}

impl Connected {
    pub(super) fn new(seat: Rc<Seat>, stream: net::TcpStream) -> io::Result<Self> {
        socket::tune(&stream)?;
        Ok(Self { seat, stream: TcpStream::from_std(stream)?, released: Cell::new(false) })
    }

    async fn read_some(&self, into: &mut BytesMut) -> io::Result<usize> {
        loop {
            self.stream.readable().await?;
            match self.stream.try_io(Interest::READABLE, || self.seat.receive(&self.stream, into)) {
                Ok((n, drained)) => {
                    if drained && n > 0 {
                        // Spares the next read a useless attempt: nothing is left, and epoll tells of
                        // what comes from now on.
                        let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                        let _ = self.stream.try_io(Interest::READABLE, nothing);
                    }
                    return Ok(n);
                }
                Err(error) if socket::is_try_again(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn write_all(&self, gather: &[Bytes]) -> io::Result<()> {
        let mut at = Cursor::default();
        let mut turn_bytes = 0;
        while !at.is_done(gather) {
            match self.stream.try_io(Interest::WRITABLE, || sys::send(&self.stream, gather, &mut at)) {
                Ok(sent) => turn_bytes += sent,
                Err(error) if socket::is_try_again(&error) => {
                    turn_bytes = 0;
                    self.stream.writable().await?;
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
