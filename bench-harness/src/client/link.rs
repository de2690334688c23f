//! A connection that never waits: takes what the kernel takes, gives what has come, whole frames at a time.

use std::io::{self, IoSlice, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use protocol::frame::{self, LENGTH_BYTES};
use rustix::buffer::spare_capacity;

use super::connection::ANSWER_BYTES_MAX;

const READ_BYTES_MIN: usize = 16 << 10;
/// A larger buffer is given back when it is empty.
const KEPT_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
    input: Vec<u8>,
    /// Up to here frames were taken.
    taken: usize,
    /// What the kernel did not take yet.
    output: Vec<u8>,
    written: usize,
}

impl Link {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, input: Vec::new(), taken: 0, output: Vec::new(), written: 0 })
    }

    /// Sends all parts, as one; what the kernel does not take now is copied and goes with `flush`.
    pub(crate) fn send(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut sent = 0;
        if self.output.is_empty() {
            sent = match self.stream.write_vectored(parts) {
                Ok(sent) => sent,
                Err(error) if is_nothing(&error) => 0,
                Err(error) => return Err(error),
            };
        }
        for part in parts {
            let left = part.get(sent..).unwrap_or_default();
            sent = sent.saturating_sub(part.len());
            self.output.extend_from_slice(left);
        }
        if self.has_output() { self.flush() } else { Ok(()) }
    }

    pub(crate) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => self.written += sent,
                Err(error) if is_nothing(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.output.shrink_to(KEPT_BYTES);
        self.written = 0;
        Ok(())
    }

    /// Reads once what has come.
    pub(crate) fn fill(&mut self) -> io::Result<()> {
        self.make_room();
        match rustix::io::read(&self.stream, spare_capacity(&mut self.input)) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn make_room(&mut self) {
        if self.taken == self.input.len() {
            self.input.clear();
            self.input.shrink_to(KEPT_BYTES);
        } else {
            self.input.drain(..self.taken);
        }
        self.taken = 0;
        // The rest of a frame whose length is known, as far as it may be believed; `next_frame` says if it may not.
        let expected = match self.input.first_chunk() {
            Some(prefix) => frame::frame_len(*prefix, ANSWER_BYTES_MAX).unwrap_or(0) + LENGTH_BYTES,
            None => 0,
        };
        let room = expected.saturating_sub(self.input.len()).clamp(READ_BYTES_MIN, KEPT_BYTES);
        self.input.reserve(room);
    }

    /// Where the next whole frame lies, without its length. To be asked until there is none.
    pub(crate) fn next_frame(&mut self) -> io::Result<Option<Range<usize>>> {
        let Some(prefix) = self.input[self.taken..].first_chunk() else { return Ok(None) };
        let bytes = frame::frame_len(*prefix, ANSWER_BYTES_MAX)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        let from = self.taken + LENGTH_BYTES;
        if self.input.len() - from < bytes {
            return Ok(None);
        }
        self.taken = from + bytes;
        Ok(Some(from..self.taken))
    }

    pub(crate) fn bytes(&self, frame: Range<usize>) -> &[u8] {
        &self.input[frame]
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Link::new(ours).unwrap(), listener.accept().unwrap().0)
    }

    #[test]
    fn more_than_the_kernel_takes_goes_out_in_order() {
        let (mut link, mut peer) = pair();
        let parts: Vec<Vec<u8>> = (0..200u8).map(|at| vec![at; 100_000]).collect();
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        link.send(&slices).unwrap();
        assert!(link.has_output(), "twenty megabytes do not fit into a socket");
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all
        });
        while link.has_output() {
            link.flush().unwrap();
        }
        drop(link);
        assert!(reader.join().unwrap() == parts.concat());
    }

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let (mut link, mut peer) = pair();
        let frames: Vec<Vec<u8>> = [0, 1, 70_000, 5, 300_000].iter().map(|len| vec![7; *len]).collect();
        let mut bytes = Vec::new();
        for frame in &frames {
            bytes.extend((frame.len() as i32).to_be_bytes());
            bytes.extend(frame);
        }
        let writer = std::thread::spawn(move || {
            for piece in bytes.chunks(1_777) {
                peer.write_all(piece).unwrap();
            }
            peer
        });
        let mut came = Vec::new();
        while came.len() < frames.len() {
            link.fill().unwrap();
            while let Some(frame) = link.next_frame().unwrap() {
                came.push(link.bytes(frame).to_vec());
            }
        }
        assert!(came == frames);
        drop(writer.join().unwrap());
        while link.fill().is_ok() {}
    }

    #[test]
    fn a_length_that_cannot_be_is_an_error() {
        let (mut link, mut peer) = pair();
        peer.write_all(&[0xff; 8]).unwrap();
        while link.input.len() < 8 {
            link.fill().unwrap();
        }
        assert!(link.next_frame().is_err());
    }
}
