//! Waits for sockets and for instants, to the microsecond.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use crate::clock;

/// Waiting for less costs more than looking again.
const SPIN_NS: i64 = 3_000;
const EVENTS: usize = 256;

pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
    /// Less is not waited for, but looked at again.
    spin_ns: i64,
}

/// What became of one socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness {
    pub(crate) token: u64,
    pub(crate) can_read: bool,
    pub(crate) can_write: bool,
}

impl Poller {
    /// For the calling thread, whose timers are made exact.
    pub(crate) fn new() -> io::Result<Self> {
        // The kernel lets timers of a thread be 50 µs late by default, to wake less often.
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS), spin_ns: SPIN_NS })
    }

    /// One that never sleeps.
    pub(crate) fn spinning() -> io::Result<Self> {
        Ok(Self { spin_ns: i64::MAX, ..Self::new()? })
    }

    pub(crate) fn add(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(token), EventFlags::IN)?)
    }

    /// Whether room to write is waited for as well.
    pub(crate) fn watch_writes(&self, socket: impl AsFd, token: u64, watch: bool) -> io::Result<()> {
        let flags = if watch { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        Ok(epoll::modify(&self.epoll, socket, EventData::new_u64(token), flags)?)
    }

    /// Waits until a socket is ready or the instant has come.
    pub(crate) fn wait(&mut self, until_ns: i64, ready: &mut Vec<Readiness>) -> io::Result<()> {
        const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        ready.clear();
        let left_ns = until_ns.saturating_sub(clock::now_ns());
        if left_ns > self.spin_ns {
            // epoll itself counts in milliseconds on older kernels; an epoll is a file that can be polled.
            let mut files = [PollFd::new(&self.epoll, PollFlags::IN)];
            match poll(&mut files, Some(&clock::timespec(left_ns))) {
                Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&NOW)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let readable = EventFlags::IN | EventFlags::HUP | EventFlags::ERR;
        ready.extend(self.events.iter().map(|event| {
            let flags = event.flags;
            Readiness {
                token: event.data.u64(),
                can_read: flags.intersects(readable),
                can_write: flags.contains(EventFlags::OUT),
            }
        }));
        Ok(())
    }
}
