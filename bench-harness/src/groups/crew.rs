//! Many members of groups on one thread, several of them on each connection.
//!
//! Kafka answers a connection's requests one after the other. A heartbeat is answered at once, so that members of different
//! groups may share a connection; JoinGroup waits for the others of its group, so that members of one group may not.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::time::Duration;

use protocol::api_key::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::primitives::DecodeError;

use crate::client::connection::Connection;
use crate::client::dialogue::{Dialogue, Question};
use crate::client::error::ClientError;
use crate::client::group::{self, Ask, Heard, Member};
use crate::client::link::Link;
use crate::client::poller::{Poller, Readiness};
use crate::clock;
use crate::latency::{self, Histogram};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Crew {
    poller: Poller,
    ready: Vec<Readiness>,
    lines: Vec<Line>,
    seats: Vec<Seat>,
    /// When which seat has something to ask. What is overtaken by events stays in it and is passed over.
    agenda: BinaryHeap<Reverse<(i64, usize)>>,
    /// Seats that were given partitions, until somebody asks.
    assigned: Vec<usize>,
    /// What is counted goes here.
    pub(super) count: Count,
    now_ns: i64,
}

struct Seat {
    member: Member,
    line: usize,
    /// It commits again and again.
    commits: bool,
    /// By slot; the same for all of them.
    offsets: Vec<i64>,
}

struct Line {
    /// None after it was cut.
    dialogue: Option<Dialogue<Note>>,
    watches_writes: bool,
}

/// Whose question it is, and when it was due.
#[derive(Clone, Copy, Debug)]
struct Note {
    seat: usize,
    due_ns: i64,
}

/// What happened, for as long as somebody counts.
#[derive(Debug)]
pub(super) struct Count {
    pub(super) heartbeats: u64,
    pub(super) commits: u64,
    /// Partitions were given out, to a member at a time.
    pub(super) assignments: u64,
    /// Answers that ask for another try, by their error.
    pub(super) again: BTreeMap<&'static str, u64>,
    /// Of heartbeats, from when they were due; of commits, from when they were sent.
    pub(super) heartbeat: Histogram,
    pub(super) commit: Histogram,
    /// From when a heartbeat was due to when it was sent.
    pub(super) lag: Histogram,
}

impl Count {
    pub(super) fn new() -> Self {
        let empty = latency::histogram;
        Self {
            heartbeats: 0,
            commits: 0,
            assignments: 0,
            again: BTreeMap::new(),
            heartbeat: empty(),
            commit: empty(),
            lag: empty(),
        }
    }
}

impl Crew {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            poller: Poller::new()?,
            ready: Vec::new(),
            lines: Vec::new(),
            seats: Vec::new(),
            agenda: BinaryHeap::new(),
            assigned: Vec::new(),
            count: Count::new(),
            now_ns: clock::now_ns(),
        })
    }

    /// Opens a connection; returns its place. One after the other, each with its first answer: whoever connects faster than a
    /// broker accepts (Kafka's `socket.listen.backlog.size` is 50) has its next connection held back by the kernel for a second.
    pub(super) fn connect(&mut self, address: &str) -> Result<usize, ClientError> {
        let (stream, served) = Connection::open(address, CONNECT_TIMEOUT)?.into_stream();
        let lost = |source| ClientError::Lost { address: address.to_owned(), source };
        let link = Link::new(stream).map_err(lost)?;
        self.poller.add(&link, self.lines.len() as u64).map_err(lost)?;
        self.lines.push(Line { dialogue: Some(Dialogue::new(link, served)), watches_writes: false });
        Ok(self.lines.len() - 1)
    }

    pub(super) fn lines(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn seats(&self) -> usize {
        self.seats.len()
    }

    /// Gives a member its place on a connection; returns its seat.
    pub(super) fn seat(&mut self, member: Member, line: usize) -> usize {
        self.seats.push(Seat { member, line, commits: false, offsets: Vec::new() });
        self.seats.len() - 1
    }

    pub(super) fn member(&self, seat: usize) -> &Member {
        &self.seats[seat].member
    }

    /// Tells a member something, and takes note of when it wants to ask.
    pub(super) fn tell(&mut self, seat: usize, what: impl FnOnce(&mut Member, i64)) {
        what(&mut self.seats[seat].member, clock::now_ns());
        self.note(seat);
    }

    /// From now on it commits, each time the last one was answered.
    pub(super) fn commit(&mut self, seat: usize, slots: u32) -> Result<(), String> {
        self.seats[seat].commits = true;
        self.seats[seat].offsets = vec![0; slots as usize];
        self.send_commit(seat)
    }

    pub(super) fn stop_commits(&mut self) {
        self.seats.iter_mut().for_each(|seat| seat.commits = false);
    }

    /// Hangs up on whoever sits on this connection.
    pub(super) fn cut(&mut self, seat: usize) {
        let line = self.seats[seat].line;
        self.lines[line].dialogue = None;
        for seat in self.seats.iter_mut().filter(|seat| seat.line == line) {
            seat.member.hang_up();
        }
    }

    /// The seats that were given partitions since this was asked last.
    pub(super) fn take_assigned(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.assigned)
    }

    /// Asks what is due, then waits until something happens or the time has come.
    pub(super) fn turn(&mut self, until_ns: i64) -> Result<(), String> {
        self.now_ns = clock::now_ns();
        while let Some(Reverse((due_ns, seat))) = self.agenda.peek().copied()
            && due_ns <= self.now_ns
        {
            self.agenda.pop();
            self.ask(seat)?;
        }
        let next_ns = self.agenda.peek().map_or(i64::MAX, |next| next.0.0);
        let mut ready = std::mem::take(&mut self.ready);
        let waited = self.poller.wait(until_ns.min(next_ns), &mut ready);
        waited.map_err(|error| format!("the generator cannot wait for its sockets: {error}"))?;
        self.now_ns = clock::now_ns();
        for readiness in &ready {
            let line = readiness.token as usize;
            if readiness.can_write {
                self.flush(line)?;
            }
            if readiness.can_read {
                self.receive(line)?;
            }
        }
        self.ready = ready;
        Ok(())
    }

    fn note(&mut self, seat: usize) {
        let due_ns = self.seats[seat].member.due_ns();
        if due_ns != i64::MAX {
            self.agenda.push(Reverse((due_ns, seat)));
        }
    }

    fn ask(&mut self, at: usize) -> Result<(), String> {
        let seat = &mut self.seats[at];
        if self.lines[seat.line].dialogue.is_none() {
            return Ok(());
        }
        let due_ns = seat.member.due_ns();
        let Some(ask) = seat.member.ask(self.now_ns) else { return Ok(()) };
        if matches!(ask, Ask::Heartbeat(_) | Ask::ConsumerHeartbeat(_)) {
            latency::record(&mut self.count.lag, self.now_ns - due_ns);
        }
        self.send(at, &ask, due_ns)
    }

    fn send_commit(&mut self, at: usize) -> Result<(), String> {
        let seat = &mut self.seats[at];
        seat.offsets.iter_mut().for_each(|offset| *offset += 1);
        let ask = seat.member.commit(seat.member.slots(), &seat.offsets);
        self.send(at, &ask, clock::now_ns())
    }

    fn send(&mut self, seat: usize, ask: &Ask, due_ns: i64) -> Result<(), String> {
        let at = self.seats[seat].line;
        let Some(dialogue) = &mut self.lines[at].dialogue else { return Ok(()) };
        dialogue.ask(ask, Note { seat, due_ns }).map_err(broke)?;
        self.watch_writes(at)
    }

    fn watch_writes(&mut self, at: usize) -> Result<(), String> {
        let line = &mut self.lines[at];
        let Some(dialogue) = &line.dialogue else { return Ok(()) };
        let watch = dialogue.has_output();
        if watch != line.watches_writes {
            line.watches_writes = watch;
            self.poller.watch_writes(dialogue, at as u64, watch).map_err(broke)?;
        }
        Ok(())
    }

    fn flush(&mut self, at: usize) -> Result<(), String> {
        if let Some(dialogue) = &mut self.lines[at].dialogue {
            dialogue.flush().map_err(broke)?;
        }
        self.watch_writes(at)
    }

    fn receive(&mut self, at: usize) -> Result<(), String> {
        let Some(dialogue) = &mut self.lines[at].dialogue else { return Ok(()) };
        dialogue.exchange().map_err(broke)?;
        while let Some((api, seat)) = self.absorb_next(at)? {
            match api {
                ApiKey::OffsetCommit if self.seats[seat].commits => self.send_commit(seat)?,
                ApiKey::OffsetCommit => {}
                // Most answers to members that join lead to the next question.
                _ => self.ask(seat)?,
            }
            self.note(seat);
        }
        self.watch_writes(at)
    }

    /// Takes in the next answer, if all of it is there; returns what was asked, and by whom.
    fn absorb_next(&mut self, at: usize) -> Result<Option<(ApiKey, usize)>, String> {
        let Some(dialogue) = &mut self.lines[at].dialogue else { return Ok(None) };
        let Some((question, answer)) = dialogue.answer().map_err(broke)? else { return Ok(None) };
        let Question { api, version, note: Note { seat, due_ns }, .. } = question;
        let odd = |error: DecodeError| format!("no proper answer to {api}: {error}");
        let now_ns = clock::now_ns();
        if api == ApiKey::OffsetCommit {
            let code = group::committed(version, answer).map_err(odd)?;
            self.count.commits += u64::from(code.is_none());
            latency::record(&mut self.count.commit, now_ns - due_ns);
            if code.is_err() {
                self.count.again(code);
            }
            return Ok(Some((api, seat)));
        }
        let heard = self.seats[seat].member.hear(api, version, answer, now_ns).map_err(odd)?;
        if matches!(api, ApiKey::Heartbeat | ApiKey::ConsumerGroupHeartbeat) {
            self.count.heartbeats += 1;
            latency::record(&mut self.count.heartbeat, now_ns - due_ns);
        }
        match heard {
            Heard::Fine | Heard::Left => {}
            Heard::Assigned => {
                self.count.assignments += 1;
                self.assigned.push(seat);
            }
            Heard::Again(code) => self.count.again(code),
            Heard::Refused(code) => return Err(format!("{api} was refused: {code}")),
        }
        Ok(Some((api, seat)))
    }
}

impl Count {
    fn again(&mut self, code: ErrorCode) {
        *self.again.entry(code.name()).or_default() += 1;
    }
}

fn broke(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::Unsupported => error.to_string(),
        _ => format!("a connection to the broker broke: {error}"),
    }
}
