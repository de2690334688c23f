//! A core's commit log: small appends of all its logs, made durable in one write.
//!
//! A device has so many writes to give a second, however small. Logs that flush each for itself spend one on every few
//! records. Here they go together: while one round is being written, what other logs have to flush gathers, and goes with the
//! next. A log writes its own file later, many appends at a time, and until then keeps in memory what only the commit log
//! has on disk ([`Log::sync`](crate::log::Log::sync) does that at once). Nobody waits for it but a half of the commit log that is to be used again.
//!
//! What recovery relies on:
//! - A round begins when the one before it is over. So one that is not whole ends what was ever acknowledged.
//! - A half is written over when no log needs anything of it any more; until then the other half is used, and if
//!   that is full too, logs flush for themselves.
//! - What is here is only a repetition: batches with their offsets. A log that is opened after a crash takes what lies
//!   behind its end ([`Log::replay`](crate::log::Log::replay)) and nothing else.
//! - It takes only what the log's file has room for already. So what it took is never without a place.

mod left;
mod round;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use bytes::Bytes;
use protocol::ids::Uuid;

pub use self::left::{Left, file_name, parse_file_name};
pub use self::round::Frame;
use self::round::{Gathering, file_head};
use crate::Error;
use crate::disk::{BLOCK_BYTES, Class, Disk, File, LocalFuture, Mode, Sync};

pub struct CommitLog {
    disk: Rc<dyn Disk>,
    name: String,
    number: u64,
    salt: u64,
    half_bytes: u64,
    /// Never borrowed across an await.
    state: RefCell<State>,
    /// Those who wait for a round to end.
    waiting: RefCell<Vec<Waker>>,
}

/// What was written, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub rounds: u64,
    /// One per flush of a log.
    pub frames: u64,
    /// Whole blocks.
    pub bytes: u64,
}

#[derive(Default)]
struct State {
    /// None before it is ready.
    file: Option<Rc<dyn File>>,
    /// Appends that it could have taken, had it been ready.
    missed: u32,
    halves: [Half; 2],
    /// Of the two.
    active: usize,
    generation: u64,
    gathering: Gathering,
    /// The number of the round that gathers. All rounds below `landed` are durable.
    boarding: u64,
    landed: u64,
    is_writing: bool,
    is_in_upkeep: bool,
    failure: Option<Error>,
    written: Written,
}

#[derive(Default)]
struct Half {
    used_bytes: u64,
    sequence: u32,
    /// Who may need what is in it.
    guests: Vec<Weak<dyn Guest>>,
    /// One of them could not: this half is needed until the next start.
    is_kept: bool,
}

impl Half {
    fn is_free(&self) -> bool {
        self.guests.is_empty() && !self.is_kept
    }
}

/// A log, as the commit log knows it.
pub(crate) trait Guest {
    /// Everything that was ever on board of a round is in its own files when this resolves.
    fn settle_all(&self) -> LocalFuture<'_, Result<(), Error>>;
    /// Whether the commit log holds something that no file of its own does.
    fn has_unsettled(&self) -> bool;
}

/// A log's place in the rounds of its core.
pub(crate) struct Berth {
    pub(crate) commit_log: Rc<CommitLog>,
    guest: Weak<dyn Guest>,
    /// The half that knows of the log.
    generation: Cell<u64>,
    /// Up to here the log's flights went by way of the commit log, landed or not.
    pub(crate) boarded_offset: Cell<i64>,
}

impl Berth {
    pub(crate) fn new(commit_log: Rc<CommitLog>, guest: Weak<dyn Guest>) -> Self {
        Self { commit_log, guest, generation: Cell::new(0), boarded_offset: Cell::new(0) }
    }
}

impl CommitLog {
    /// Of so many bytes, as file number `number` of this core: above that of every file that is there. `salt` is random.
    /// Nothing is written before there is use for it.
    pub fn new(disk: Rc<dyn Disk>, core: u32, number: u64, salt: u64, bytes: u64) -> Rc<Self> {
        let half_bytes = bytes / 2 / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        let name = file_name(core, number);
        Rc::new(Self {
            disk,
            name,
            number,
            salt,
            half_bytes,
            state: RefCell::default(),
            waiting: RefCell::default(),
        })
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn written(&self) -> Written {
        self.state.borrow().written
    }

    /// Whether there is work for [`Self::upkeep`]. Cheap: ask after each flush.
    pub fn wants_upkeep(&self) -> bool {
        let state = self.state.borrow();
        if state.is_in_upkeep || state.failure.is_some() {
            return false;
        }
        match state.file {
            None => state.missed >= MISSED_MAX,
            Some(_) => !state.halves[1 - state.active].guests.is_empty(),
        }
    }

    /// Makes the file, or frees the half that is full. At most one runs; a second returns at once. After an error it is not
    /// used any more, and logs flush for themselves.
    pub fn upkeep(self: &Rc<Self>) -> LocalFuture<'static, Result<(), Error>> {
        let this = Rc::clone(self);
        Box::pin(async move {
            while this.wants_upkeep() {
                let _turn = Upkeep::begin(&this);
                let is_ready = this.state.borrow().file.is_some();
                if is_ready {
                    this.retire().await;
                } else {
                    this.make_file().await?;
                }
            }
            Ok(())
        })
    }

    /// Makes the file at once, without waiting until there is use for it.
    pub fn prepare(self: &Rc<Self>) -> LocalFuture<'static, Result<(), Error>> {
        let this = Rc::clone(self);
        Box::pin(async move {
            let _turn = Upkeep::begin(&this);
            this.make_file().await
        })
    }

    async fn make_file(&self) -> Result<(), Error> {
        let made = self.write_zeros().await.map_err(|error| Error::io(&self.name, error));
        if let Err(error) = &made {
            self.state.borrow_mut().failure = Some(error.clone());
        }
        made
    }

    /// All of it is written beforehand: a round then neither extends the file nor converts extents.
    async fn write_zeros(&self) -> io::Result<()> {
        let file = self.disk.open(&self.name, Mode::DirectCreate).await?;
        let bytes = half_at(2, self.half_bytes);
        file.allocate(0, bytes).await?;
        let mut zeros = self.disk.buffer(ZEROS_BYTES);
        zeros.whole()[..ZEROS_BYTES].fill(0);
        zeros.set_len(ZEROS_BYTES);
        let zeros = zeros.freeze();
        let mut from = 0;
        while from < bytes {
            let part = zeros.slice(..ZEROS_BYTES.min((bytes - from) as usize));
            let part_bytes = part.len() as u64;
            // Durable each: what gathers in the device's cache somebody's append would have to wait for.
            file.write_at(from, part, Sync::Durable, Class::Background).await?;
            from += part_bytes;
        }
        let mut head = self.disk.buffer(BLOCK_BYTES);
        head.extend(&file_head(self.salt));
        head.pad_to_block();
        // Order: with a head the file counts, so it comes last.
        file.write_at(0, head.freeze(), Sync::Durable, Class::Background).await?;
        file.sync().await?;
        self.disk.sync_dir("").await?;
        let mut state = self.state.borrow_mut();
        state.file = Some(file);
        state.generation = 1;
        Ok(())
    }

    /// Has the logs with something in the half that is full write it to their own files.
    async fn retire(&self) {
        // Order: they are guests until the last of them is done, so that the half is neither used nor removed before.
        let (at, guests) = {
            let state = self.state.borrow();
            let at = 1 - state.active;
            (at, state.halves[at].guests.clone())
        };
        let mut is_kept = false;
        for log in guests.iter().filter_map(Weak::upgrade) {
            is_kept |= log.settle_all().await.is_err() && log.has_unsettled();
        }
        let mut state = self.state.borrow_mut();
        let half = &mut state.halves[at];
        half.guests.clear();
        half.is_kept |= is_kept;
    }

    /// A log went, with something that only this file holds: the next start needs it.
    pub(crate) fn keep_all(&self) {
        self.state.borrow_mut().halves.iter_mut().for_each(|half| half.is_kept = true);
    }

    /// Takes whole batches of a topic's partition on board, if there is room for them now; they are durable when
    /// [`Self::landed`] says so of the round.
    pub(crate) fn board(&self, berth: &Berth, id: (Uuid, i32), follows: i64, parts: &[&[u8]]) -> Option<u64> {
        let bytes = parts.iter().map(|part| part.len()).sum();
        let mut state = self.state.borrow_mut();
        if !state.make_room(bytes, self.half_bytes) {
            return None;
        }
        let state = &mut *state;
        state.gathering.push(id.0, id.1, follows, parts);
        state.written.frames += 1;
        if berth.generation.replace(state.generation) != state.generation {
            state.halves[state.active].guests.push(Weak::clone(&berth.guest));
        }
        Some(state.boarding)
    }

    /// Resolves when a round is durable. Whoever comes first writes it for all. An error is final: nobody knows what of the
    /// round is on disk.
    pub(crate) async fn landed(&self, round: u64) -> Result<(), Error> {
        loop {
            self.until(|state| state.landed > round || state.failure.is_some() || !state.is_writing).await;
            {
                let state = self.state.borrow();
                if state.landed > round {
                    return Ok(());
                }
                if let Some(failure) = &state.failure {
                    return Err(failure.clone());
                }
            }
            self.write_round().await;
        }
    }

    async fn write_round(&self) {
        let turn = Turn::begin(self);
        // Whoever has something to flush in this turn of the core is on board.
        yield_once().await;
        let (file, position, data) = self.take_off();
        let written = file.write_at(position, data, Sync::Durable, Class::Append).await;
        turn.end(written.map_err(|error| Error::io(&self.name, error)));
    }

    fn take_off(&self) -> (Rc<dyn File>, u64, Bytes) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let half = &mut state.halves[state.active];
        let head = state.gathering.head(self.salt, state.generation, half.sequence);
        let frames = state.gathering.frames();
        let mut buffer = self.disk.buffer(head.len() + frames.len());
        buffer.extend(&head);
        buffer.extend(frames);
        buffer.pad_to_block();
        let data = buffer.freeze();
        let position = half_at(state.active, self.half_bytes) + half.used_bytes;
        half.used_bytes += data.len() as u64;
        half.sequence += 1;
        state.gathering.clear();
        state.boarding += 1;
        state.written.rounds += 1;
        state.written.bytes += data.len() as u64;
        (Rc::clone(state.file.as_ref().expect("nobody boards before")), position, data)
    }

    async fn until(&self, is_so: impl Fn(&State) -> bool) {
        poll_fn(|context| {
            if is_so(&self.state.borrow()) {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn wake_all(&self) {
        let wakers = std::mem::take(&mut *self.waiting.borrow_mut());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Takes the file away: all logs were closed in order, and hold everything themselves. False if one did not, and the
    /// file has to stay.
    pub fn remove(self: &Rc<Self>) -> LocalFuture<'static, Result<bool, Error>> {
        let this = Rc::clone(self);
        Box::pin(async move {
            let is_needed = {
                let mut state = this.state.borrow_mut();
                state.failure.get_or_insert_with(|| Error::Fenced("the commit log was closed".to_owned()));
                let is_guest_there =
                    |log: &Weak<dyn Guest>| log.upgrade().is_some_and(|log| log.has_unsettled());
                state.halves.iter().any(|half| half.is_kept || half.guests.iter().any(is_guest_there))
            };
            if is_needed {
                return Ok(false);
            }
            match this.disk.remove(&this.name).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(&this.name, error)),
                _ => Ok(true),
            }
        })
    }
}

impl State {
    /// Whether so many bytes can go with the round that gathers. Changes the half if that is what it takes.
    fn make_room(&mut self, bytes: usize, half_bytes: u64) -> bool {
        if self.failure.is_some() {
            return false;
        }
        if self.file.is_none() {
            self.missed = self.missed.saturating_add(1);
            return false;
        }
        let round_bytes = self.gathering.round_bytes_with(bytes);
        let fits = |half: &Half| half.used_bytes + round_bytes as u64 <= half_bytes;
        if round_bytes <= ROUND_BYTES_MAX && fits(&self.halves[self.active]) {
            return true;
        }
        if !self.gathering.is_empty() || !self.halves[1 - self.active].is_free() {
            return false;
        }
        self.active = 1 - self.active;
        self.generation += 1;
        self.halves[self.active] = Half::default();
        round_bytes <= ROUND_BYTES_MAX && round_bytes as u64 <= half_bytes
    }
}

/// The one round that is being written.
struct Turn<'a> {
    commit_log: &'a CommitLog,
    outcome: Result<(), Error>,
}

impl<'a> Turn<'a> {
    fn begin(commit_log: &'a CommitLog) -> Self {
        commit_log.state.borrow_mut().is_writing = true;
        Self { commit_log, outcome: Err(Error::Fenced("a write was abandoned".to_owned())) }
    }

    fn end(mut self, outcome: Result<(), Error>) {
        self.outcome = outcome;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.commit_log.state.borrow_mut();
            state.is_writing = false;
            match std::mem::replace(&mut self.outcome, Ok(())) {
                Ok(()) => state.landed = state.boarding,
                Err(error) => state.failure = Some(error),
            }
        }
        self.commit_log.wake_all();
    }
}

/// The one upkeep that runs.
struct Upkeep<'a> {
    commit_log: &'a CommitLog,
}

impl<'a> Upkeep<'a> {
    fn begin(commit_log: &'a CommitLog) -> Self {
        commit_log.state.borrow_mut().is_in_upkeep = true;
        Self { commit_log }
    }
}

impl Drop for Upkeep<'_> {
    fn drop(&mut self) {
        self.commit_log.state.borrow_mut().is_in_upkeep = false;
    }
}

/// Where a half begins; behind both, the file ends.
fn half_at(half: usize, half_bytes: u64) -> u64 {
    BLOCK_BYTES as u64 + half as u64 * half_bytes
}

async fn yield_once() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Appends of this size and less, all of one flush, go by way of the commit log.
pub(crate) const SMALL_BYTES_MAX: usize = 16 << 10;
/// Most bytes of a round.
const ROUND_BYTES_MAX: usize = 1 << 20;
/// A core that seldom flushes needs no commit log.
const MISSED_MAX: u32 = 64;
const ZEROS_BYTES: usize = 256 << 10;
