//! One direct read or write: possibly several operations of the ring, since the kernel may do less than
//! it was asked and large background work goes in pieces.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use io_uring::squeue::{Entry, Flags};
use io_uring::{opcode, types};
use storage::buffer::Buffer;
use storage::disk::{BLOCK_BYTES, Class, Sync};

use super::file::Open;

pub(super) struct Transfer {
    /// Keeps the file open.
    file: Rc<Open>,
    memory: Memory,
    position: u64,
    done: usize,
    total: usize,
    retries: u32,
    durable: bool,
    class: Class,
}

enum Memory {
    Read(Buffer),
    Write(Bytes),
    /// Nothing is moved; what was written is flushed.
    Flush,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Done,
    /// Ask for [`Transfer::entry`] again.
    Again,
    Failed(i32),
}

impl Transfer {
    /// Reads `total` bytes, whole blocks, into the beginning of `buffer`.
    pub(super) fn read(file: Rc<Open>, position: u64, buffer: Buffer, total: usize, class: Class) -> Self {
        assert!(total <= buffer.capacity(), "the kernel writes into the buffer only");
        Self::new(file, Memory::Read(buffer), position, total, Sync::Later, class)
    }

    pub(super) fn write(file: Rc<Open>, position: u64, data: Bytes, sync: Sync, class: Class) -> Self {
        let total = data.len();
        Self::new(file, Memory::Write(data), position, total, sync, class)
    }

    pub(super) fn flush(file: Rc<Open>) -> Self {
        Self::new(file, Memory::Flush, 0, 0, Sync::Durable, Class::Append)
    }

    fn new(file: Rc<Open>, memory: Memory, position: u64, total: usize, sync: Sync, class: Class) -> Self {
        let durable = sync == Sync::Durable;
        Self { file, memory, position, done: 0, total, retries: 0, durable, class }
    }

    pub(super) fn class(&self) -> Class {
        self.class
    }

    /// What a read brought.
    pub(super) fn into_read(self) -> io::Result<Bytes> {
        match self.memory {
            Memory::Read(mut buffer) => {
                buffer.set_len(self.done);
                Ok(buffer.freeze())
            }
            Memory::Write(_) | Memory::Flush => Err(io::Error::other("not a read")),
        }
    }

    /// The operation for what is left to do. The memory it names belongs to this transfer, which must
    /// outlive the operation; neither [`Buffer`] nor [`Bytes`] move their content when they are moved.
    pub(super) fn entry(&mut self, registered: impl FnOnce(&[u8]) -> Option<u16>) -> Entry {
        let fd = types::Fd(self.file.slot().map_or(self.file.fd(), |slot| slot.cast_signed()));
        let to = self.total.min(self.done + piece_bytes(self.class));
        let position = self.position + self.done as u64;
        let entry = match &mut self.memory {
            Memory::Flush => opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build(),
            Memory::Read(buffer) => {
                let piece = &mut buffer.whole()[self.done..to];
                let (start, len) = (piece.as_mut_ptr(), length(piece));
                match registered(piece) {
                    Some(index) => opcode::ReadFixed::new(fd, start, len, index).offset(position).build(),
                    None => opcode::Read::new(fd, start, len).offset(position).build(),
                }
            }
            Memory::Write(data) => {
                let piece = &data[self.done..to];
                let (start, len) = (piece.as_ptr(), length(piece));
                let flags = if self.durable { libc::RWF_DSYNC } else { 0 };
                match registered(piece) {
                    Some(index) => {
                        let write = opcode::WriteFixed::new(fd, start, len, index);
                        write.offset(position).rw_flags(flags).build()
                    }
                    None => opcode::Write::new(fd, start, len).offset(position).rw_flags(flags).build(),
                }
            }
        };
        if self.file.slot().is_some() { entry.flags(Flags::FIXED_FILE) } else { entry }
    }

    /// Takes in what the kernel says of the last operation.
    pub(super) fn completed(&mut self, result: i32) -> Progress {
        let n = match usize::try_from(result) {
            Ok(n) => n,
            Err(_) if matches!(-result, libc::EINTR | libc::EAGAIN) => return self.retry(-result),
            Err(_) => return Progress::Failed(-result),
        };
        match self.memory {
            Memory::Flush => Progress::Done,
            Memory::Read(_) => self.has_read(n),
            Memory::Write(_) => self.has_written(n),
        }
    }

    fn has_read(&mut self, n: usize) -> Progress {
        self.done += n;
        if n == 0 || self.done == self.total {
            return Progress::Done;
        }
        if self.done.is_multiple_of(BLOCK_BYTES) {
            return Progress::Again;
        }
        // Inside a block: the end of the file, or the kernel stopped half way for a reason of its own.
        match self.file.len() {
            Ok(len) if self.position + self.done as u64 >= len => Progress::Done,
            Ok(_) => self.step_back(libc::EIO),
            Err(error) => Progress::Failed(error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }

    fn has_written(&mut self, n: usize) -> Progress {
        self.done += n;
        match self.done {
            done if done == self.total => Progress::Done,
            done if n > 0 && done.is_multiple_of(BLOCK_BYTES) => Progress::Again,
            _ => self.step_back(libc::EIO),
        }
    }

    /// Begins again at a block's border, as direct operations must.
    fn step_back(&mut self, errno: i32) -> Progress {
        self.done -= self.done % BLOCK_BYTES;
        self.retry(errno)
    }

    fn retry(&mut self, errno: i32) -> Progress {
        self.retries += 1;
        if self.retries <= RETRIES_MAX { Progress::Again } else { Progress::Failed(errno) }
    }
}

fn length(piece: &[u8]) -> u32 {
    u32::try_from(piece.len()).expect("bounded by piece_bytes")
}

/// The most that one operation moves. Background work in small pieces, so that an append never waits
/// behind much of it; appends whole, since each durable piece would cost a flush.
fn piece_bytes(class: Class) -> usize {
    match class {
        Class::Append => 1 << 30,
        Class::Read => 1 << 20,
        Class::Background => 256 << 10,
    }
}

/// Attempts at an operation that the kernel keeps interrupting or cutting short.
const RETRIES_MAX: u32 = 16;
