//! Many members of groups on one thread, several of them on each connection.
//!
//! Kafka answers a connection's requests one after the other. A heartbeat is answered at once, so that members of different
//! groups may share a connection; JoinGroup waits for the others of its group, so that members of one group may not.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io::{self, IoSlice};
use std::time::Duration;

use protocol::api_key::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::frame;
use protocol::primitives::Reader;

use crate::client::connection::{self, Served};
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
    link: Option<Link>,
    served: Served,
    waiting: VecDeque<Sent>,
    correlation_id: i32,
    watches_writes: bool,
}

/// A question under way.
struct Sent {
    correlation_id: i32,
    seat: usize,
    api: ApiKey,
    version: i16,
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

    /// Opens a connection; returns its place.
    pub(super) fn connect(&mut self, address: &str, served: Served) -> io::Result<usize> {
        let link = Link::new(connection::connect(address, CONNECT_TIMEOUT)?)?;
        self.poller.add(&link, self.lines.len() as u64)?;
        let (waiting, link) = (VecDeque::new(), Some(link));
        self.lines.push(Line { link, served, waiting, correlation_id: 0, watches_writes: false });
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
        self.lines[line].link = None;
        self.lines[line].waiting.clear();
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
        if self.lines[seat.line].link.is_none() {
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
        let line = &mut self.lines[at];
        let Some(link) = &mut line.link else { return Ok(()) };
        let unserved = || format!("the broker serves no version of {} that is known here", ask.api());
        let version = ask.version(&line.served).ok_or_else(unserved)?;
        line.correlation_id = line.correlation_id.wrapping_add(1);
        let correlation_id = line.correlation_id;
        let frame = ask.frame(version, correlation_id).map_err(|error| format!("{}: {error}", ask.api()))?;
        line.waiting.push_back(Sent { correlation_id, seat, api: ask.api(), version, due_ns });
        link.send(&[IoSlice::new(&frame)]).map_err(broke)?;
        self.watch_writes(at)
    }

    fn watch_writes(&mut self, at: usize) -> Result<(), String> {
        let line = &mut self.lines[at];
        let Some(link) = &line.link else { return Ok(()) };
        let watch = link.has_output();
        if watch != line.watches_writes {
            line.watches_writes = watch;
            self.poller.watch_writes(link, at as u64, watch).map_err(broke)?;
        }
        Ok(())
    }

    fn flush(&mut self, at: usize) -> Result<(), String> {
        if let Some(link) = &mut self.lines[at].link {
            link.flush().map_err(broke)?;
        }
        self.watch_writes(at)
    }

    fn receive(&mut self, at: usize) -> Result<(), String> {
        let Some(link) = &mut self.lines[at].link else { return Ok(()) };
        link.fill().map_err(broke)?;
        while let Some(sent) = self.absorb_next(at)? {
            match sent.api {
                ApiKey::OffsetCommit if self.seats[sent.seat].commits => self.send_commit(sent.seat)?,
                ApiKey::OffsetCommit => {}
                // Most answers to members that join lead to the next question.
                _ => self.ask(sent.seat)?,
            }
            self.note(sent.seat);
        }
        Ok(())
    }

    /// Takes in the next answer, if all of it is there.
    fn absorb_next(&mut self, at: usize) -> Result<Option<Sent>, String> {
        let Line { link: Some(link), waiting, .. } = &mut self.lines[at] else { return Ok(None) };
        let Some(range) = link.next_frame().map_err(broke)? else { return Ok(None) };
        let sent = waiting.pop_front().ok_or("the broker answers what was not asked")?;
        let odd = |error: &dyn std::fmt::Display| format!("no proper answer to {}: {error}", sent.api);
        let mut r = Reader::new(link.bytes(range));
        let head =
            frame::decode_response_head(&mut r, sent.api, sent.version).map_err(|error| odd(&error))?;
        if head != sent.correlation_id {
            return Err(odd(&format!("it answers request {head}")));
        }
        let now_ns = clock::now_ns();
        if sent.api == ApiKey::OffsetCommit {
            let code = group::committed(sent.version, r.rest()).map_err(|error| odd(&error))?;
            self.count.commits += u64::from(code.is_none());
            latency::record(&mut self.count.commit, now_ns - sent.due_ns);
            if code.is_err() {
                self.count.again(code);
            }
            return Ok(Some(sent));
        }
        let member = &mut self.seats[sent.seat].member;
        let heard = member.hear(sent.api, sent.version, r.rest(), now_ns).map_err(|error| odd(&error))?;
        if matches!(sent.api, ApiKey::Heartbeat | ApiKey::ConsumerGroupHeartbeat) {
            self.count.heartbeats += 1;
            latency::record(&mut self.count.heartbeat, now_ns - sent.due_ns);
        }
        match heard {
            Heard::Fine | Heard::Left => {}
            Heard::Assigned => {
                self.count.assignments += 1;
                self.assigned.push(sent.seat);
            }
            Heard::Again(code) => self.count.again(code),
            Heard::Refused(code) => return Err(format!("{} was refused: {code}", sent.api)),
        }
        Ok(Some(sent))
    }
}

impl Count {
    fn again(&mut self, code: ErrorCode) {
        *self.again.entry(code.name()).or_default() += 1;
    }
}

fn broke(error: io::Error) -> String {
    format!("a connection to the broker broke: {error}")
}
