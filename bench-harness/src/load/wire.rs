//! One connection to a broker, as a line of a sender or of a reader has it: it comes, goes, and comes again.

use std::io;

use crate::client::link::Link;
use crate::client::poller::Poller;

#[derive(Debug, Default)]
pub(super) struct Wire {
    state: State,
    /// Of the one API that is spoken on it.
    pub(super) version: i16,
    watches_writes: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Down,
    Dialing,
    Up(Link),
}

impl Wire {
    pub(super) fn is_down(&self) -> bool {
        matches!(self.state, State::Down)
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// The kernel took everything so far.
    pub(super) fn has_room(&self) -> bool {
        matches!(&self.state, State::Up(link) if !link.has_output())
    }

    /// None while it is not up.
    pub(super) fn link(&mut self) -> Option<&mut Link> {
        match &mut self.state {
            State::Up(link) => Some(link),
            State::Down | State::Dialing => None,
        }
    }

    pub(super) fn dial(&mut self) {
        self.state = State::Dialing;
    }

    pub(super) fn connect(&mut self, link: Link, version: i16) {
        *self = Self { state: State::Up(link), version, watches_writes: false };
    }

    pub(super) fn hang_up(&mut self) {
        self.state = State::Down;
    }

    /// Waits for room where the kernel took less than everything.
    pub(super) fn watch_writes(&mut self, poller: &Poller, token: u64) -> io::Result<()> {
        let State::Up(link) = &self.state else { return Ok(()) };
        let watch = link.has_output();
        if watch == self.watches_writes {
            return Ok(());
        }
        self.watches_writes = watch;
        poller.watch_writes(link, token, watch)
    }

    pub(super) fn flush(&mut self, poller: &Poller, token: u64) -> io::Result<()> {
        if let State::Up(link) = &mut self.state {
            link.flush()?;
        }
        self.watch_writes(poller, token)
    }
}

/// Names a line to the kernel and to the scout: whose it is, and which of theirs.
pub(super) fn token(at: usize, line: usize) -> u64 {
    (at as u64) << 32 | line as u64
}

pub(super) fn place(token: u64) -> (usize, usize) {
    ((token >> 32) as usize, token as u32 as usize)
}
