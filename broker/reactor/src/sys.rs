//! The few system calls that no dependency offers safely. With `ring`, the only `unsafe` of this crate.
#![allow(unsafe_code)]

use std::io::{self, IoSlice};
use std::os::fd::AsFd;

use bytes::{BufMut, Bytes, BytesMut};
use socket2::SockRef;

/// Receives into the spare capacity of `into` without waiting.
pub(crate) fn receive(stream: &impl AsFd, into: &mut BytesMut) -> io::Result<usize> {
    let n = SockRef::from(stream).recv_with_flags(into.spare_capacity_mut(), libc::MSG_DONTWAIT)?;
    // SAFETY: the kernel has filled the first `n` bytes of the spare capacity.
    unsafe { into.advance_mut(n) };
    Ok(n)
}

/// Receives into a slice without waiting.
pub(crate) fn receive_slice(stream: &impl AsFd, into: &mut [u8]) -> io::Result<usize> {
    let flags = rustix::net::RecvFlags::DONTWAIT;
    Ok(rustix::net::recv(stream, into, flags)?.0)
}

/// Sends as much of the gather list from `at` as the socket takes without waiting, and moves `at`.
pub(crate) fn send(stream: &impl AsFd, gather: &[Bytes], at: &mut Cursor) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let mut used = 0;
    for (index, part) in gather.iter().enumerate().skip(at.part) {
        let from = if index == at.part { at.byte } else { 0 };
        if part.len() > from {
            slices[used] = IoSlice::new(&part[from..]);
            used += 1;
        }
        if used == SLICES_MAX {
            break;
        }
    }
    if used == 0 {
        at.part = gather.len();
        return Ok(0);
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let sent = SockRef::from(stream).send_vectored_with_flags(&slices[..used], flags)?;
    at.advance(gather, sent);
    Ok(sent)
}

/// How far a gather list has been sent.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    part: usize,
    byte: usize,
}

impl Cursor {
    pub(crate) fn is_done(&self, gather: &[Bytes]) -> bool {
        self.part >= gather.len()
    }

    fn advance(&mut self, gather: &[Bytes], mut sent: usize) {
        while let Some(part) = gather.get(self.part) {
            let left = part.len() - self.byte;
            if sent < left {
                self.byte += sent;
                return;
            }
            sent -= left;
            self.part += 1;
            self.byte = 0;
        }
    }
}

/// Parts handed to the kernel in one call; the kernel itself takes 1024.
const SLICES_MAX: usize = 64;
