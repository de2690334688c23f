//! How sockets are made and tuned, the same on every machine.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, SockRef, Type};

use crate::host::Socket;

/// A listening socket. Without SO_REUSEPORT: a second broker on the same port must fail loudly.
pub(crate) fn bind(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // `[::]` also takes IPv4, as Kafka's does; where the kernel has no such mode, IPv6 alone.
        let _ = socket.set_only_v6(false);
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A just accepted or connected stream with its two addresses.
pub(crate) fn named(stream: TcpStream, peer: SocketAddr) -> io::Result<Socket> {
    let local = stream.local_addr()?;
    Ok(Socket { stream, peer, local })
}

/// What every connection wants: no waiting in the kernel, answers sent at once, dead peers noticed.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)
}

/// The same connection once more, for another core to adopt.
pub(crate) fn again(stream: &impl AsFd) -> io::Result<Socket> {
    let stream = TcpStream::from(stream.as_fd().try_clone_to_owned()?);
    let peer = stream.peer_addr()?;
    named(stream, peer)
}

pub(crate) fn shut(stream: &impl AsFd) {
    // It fails only where the peer was quicker.
    let _ = SockRef::from(stream).shutdown(Shutdown::Both);
}

pub(crate) fn is_try_again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Whether an accept failed because of that one connection, so that the next may succeed at once.
pub(crate) fn is_peers_fault(error: &io::Error) -> bool {
    let transient = [
        libc::ECONNABORTED,
        libc::EPROTO,
        libc::ENETDOWN,
        libc::ENOPROTOOPT,
        libc::EHOSTDOWN,
        libc::ENONET,
        libc::EHOSTUNREACH,
        libc::EOPNOTSUPP,
        libc::ENETUNREACH,
        libc::EINTR,
    ];
    error.raw_os_error().is_some_and(|errno| transient.contains(&errno))
}

/// What one write may send before the core's other tasks get their turn.
pub(crate) const TURN_BYTES: usize = 1 << 20;

/// Begins a connection; true if it is not there yet: wait until the socket is writable.
pub(crate) fn dial(address: SocketAddr) -> io::Result<(socket2::Socket, bool)> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => Ok((socket, false)),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok((socket, true)),
        Err(error) => Err(error),
    }
}
