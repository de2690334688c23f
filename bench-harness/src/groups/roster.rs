//! Which members there are, in which groups, and whether those have formed.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::crew::Crew;
use super::findings::Round;
use super::{FORM_PATIENCE_NS, HURRY_NS, LOOK_UP_NS, patience};
use crate::client::admin::{Admin, TopicSet};
use crate::client::error::ClientError;
use crate::client::group::{Member, Protocol, Terms};
use crate::clock::{self, NS_PER_S};
use crate::failure::Failure;
use crate::load::allow_files;
use crate::random::Random;
use crate::stop;

pub(super) struct Roster {
    pub(super) crew: Crew,
    admin: Admin,
    /// Of all groups but for the name.
    terms: Terms,
    run: u32,
    groups: Vec<Group>,
    /// Groups that share connections, and so form one after the other.
    sets: Vec<Range<usize>>,
}

struct Group {
    seats: Range<usize>,
    has_formed: bool,
}

/// Files beside connections.
const FILES_BESIDE: u64 = 256;
/// How many groups are asked for at once.
const ASKED: usize = 1_000;
/// Of a broker that answers and is not ready for more yet.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);
/// For members to say good-bye.
const LEAVE_NS: i64 = 10 * NS_PER_S;

impl Roster {
    /// Makes a topic for groups to read.
    pub(super) fn open(
        bootstrap: &str,
        protocol: Protocol,
        partitions: u32,
        session_timeout_ms: i32,
    ) -> Result<Self, Failure> {
        let run = Random::new(clock::wall_ms() as u64 ^ u64::from(std::process::id()) << 40).bits();
        let topics = TopicSet { names: vec![format!("bench-groups-{:08x}", run as u32)], partitions };
        let mut admin = Admin::new(bootstrap, patience());
        let failed = |error: ClientError| Failure::failed(error.to_string());
        let broker_default = -1;
        let create = |admin: &mut Admin| admin.create(&topics, broker_default, &Default::default());
        admin.retry(FIRST_PATIENCE, create).map_err(failed)?;
        admin.wait_for_leaders(&topics, patience()).map_err(failed)?;
        let topic_ids = admin.topic_ids(&topics).map_err(failed)?;
        let terms = Terms { group: String::new(), protocol, topics, topic_ids, session_timeout_ms };
        let crew = Crew::new().map_err(|error| Failure::failed(error.to_string()))?;
        Ok(Self { crew, admin, terms, run: run as u32, groups: Vec::new(), sets: Vec::new() })
    }

    /// Takes on members of so many groups, in so many sets. None of them joins yet.
    pub(super) fn engage(&mut self, groups: u32, members: u32, sets: u32) -> Result<(), String> {
        let names: Vec<String> = (0..groups)
            .map(|at| format!("bench-{:08x}-{}", self.run, self.groups.len() + at as usize))
            .collect();
        let mut nodes = Vec::with_capacity(names.len());
        for some in names.chunks(ASKED) {
            let found = self.admin.retry(patience(), |admin| admin.coordinators(some));
            nodes.extend(found.map_err(|error| error.to_string())?);
        }
        let mut by_node: Vec<(i32, &String)> = nodes.into_iter().zip(&names).collect();
        by_node.sort_by_key(|(node, _)| *node);
        let each = (groups as usize).div_ceil(sets as usize);
        let mut parts: Vec<&[(i32, &String)]> = Vec::new();
        for of_node in by_node.chunk_by(|one, next| one.0 == next.0) {
            parts.extend(of_node.chunks(each));
        }
        let connections = parts.len() as u64 * u64::from(members);
        allow_files(connections + FILES_BESIDE).map_err(|error| error.to_string())?;
        for part in parts {
            let first = self.groups.len();
            let lines = self.connect(part[0].0, members)?;
            part.iter().for_each(|(_, name)| self.seat(name, lines.clone()));
            self.sets.push(first..self.groups.len());
        }
        Ok(())
    }

    fn connect(&mut self, node: i32, members: u32) -> Result<Range<usize>, String> {
        let (address, _) = self.admin.node(node).map_err(|error| error.to_string())?;
        let first = self.crew.lines();
        for _ in 0..members {
            self.crew.connect(&address).map_err(|error| error.to_string())?;
        }
        Ok(first..self.crew.lines())
    }

    /// A group with a member on each of these connections.
    fn seat(&mut self, name: &str, lines: Range<usize>) {
        let terms = Arc::new(Terms { group: name.to_owned(), ..self.terms.clone() });
        let first = self.crew.seats();
        for line in lines {
            self.crew.seat(Member::new(Arc::clone(&terms)), line);
        }
        self.groups.push(Group { seats: first..self.crew.seats(), has_formed: false });
    }

    /// Until every group has formed; within a set one after the other.
    pub(super) fn form_all(&mut self) -> Result<(), String> {
        let sets = self.sets.clone();
        let mut under_way: Vec<usize> = sets.iter().map(|set| set.start).collect();
        for at in under_way.clone() {
            self.start(at);
        }
        let mut deadline_ns = clock::now_ns() + FORM_PATIENCE_NS;
        while !under_way.is_empty() {
            self.turn(deadline_ns, "groups did not form")?;
            if self.crew.take_assigned().is_empty() {
                continue;
            }
            let (formed, waiting): (Vec<usize>, Vec<usize>) =
                under_way.into_iter().partition(|at| self.has_formed(self.groups[*at].seats.clone()));
            under_way = waiting;
            for at in formed {
                self.groups[at].has_formed = true;
                self.groups[at]
                    .seats
                    .clone()
                    .for_each(|seat| self.crew.tell(seat, |it, now| it.hurry(None, now)));
                deadline_ns = clock::now_ns() + FORM_PATIENCE_NS;
                if sets.iter().any(|set| set.contains(&(at + 1)) && set.contains(&at)) {
                    self.start(at + 1);
                    under_way.push(at + 1);
                }
            }
        }
        Ok(())
    }

    fn start(&mut self, at: usize) {
        for seat in self.groups[at].seats.clone() {
            self.crew.tell(seat, |member, now_ns| {
                member.join(now_ns);
                member.hurry(Some(HURRY_NS), now_ns);
            });
        }
    }

    /// Heartbeats of all members come at equal distances, as those of consumers that know nothing of each other do on average.
    pub(super) fn spread_heartbeats(&mut self) {
        let (seats, from_ns) = (self.crew.seats(), clock::now_ns());
        for seat in 0..seats {
            self.crew.tell(seat, |member, _| {
                member.beat_at(from_ns + (member.heartbeat_ns() as f64 * seat as f64 / seats as f64) as i64);
            });
        }
    }

    /// Lets members do what they do, for so long or until the program is told to stop.
    pub(super) fn go_on(&mut self, lasts_ns: i64) -> Result<(), String> {
        let until_ns = clock::now_ns() + lasts_ns;
        while clock::now_ns() < until_ns && !stop::was_told() {
            self.crew.turn(until_ns.min(clock::now_ns() + LOOK_UP_NS))?;
        }
        Ok(())
    }

    /// A new group forms, loses members and gets them back.
    pub(super) fn change(&mut self, members: u32, lose: u32, crash: bool) -> Result<Round, String> {
        self.engage(1, members, 1)?;
        let seats = self.groups.last().expect("engaged a moment ago").seats.clone();
        let (stay, go) = (seats.start + lose as usize..seats.end, seats.start..seats.start + lose as usize);
        let began_ns = clock::now_ns();
        seats.clone().for_each(|seat| self.crew.tell(seat, Member::join));
        let formed_ms = self.until_formed(seats.clone(), began_ns)?;

        self.rest(seats.clone())?;
        let began_ns = clock::now_ns();
        match crash {
            true => go.clone().for_each(|seat| self.crew.cut(seat)),
            false => go.clone().for_each(|seat| self.crew.tell(seat, Member::leave)),
        }
        let without_ms = self.until_formed(stay.clone(), began_ns)?;

        self.rest(stay.clone())?;
        let back = match crash {
            true => self.replace(go)?,
            false => go,
        };
        let began_ns = clock::now_ns();
        back.clone().for_each(|seat| self.crew.tell(seat, Member::join));
        let again_ms = self.until_all_formed(&[back.clone(), stay.clone()], began_ns)?;
        for seat in back.chain(stay) {
            self.crew.tell(seat, Member::leave);
        }
        self.go_on(NS_PER_S)?;
        Ok(Round { formed_ms, without_ms, again_ms })
    }

    /// Others for those who are gone, on connections of their own.
    fn replace(&mut self, gone: Range<usize>) -> Result<Range<usize>, String> {
        let name = format!("bench-{:08x}-{}", self.run, self.groups.len() - 1);
        let node =
            self.admin.coordinators(std::slice::from_ref(&name)).map_err(|error| error.to_string())?[0];
        let lines = self.connect(node, gone.len() as u32)?;
        let first = self.crew.seats();
        self.seat(&name, lines);
        self.groups.pop();
        Ok(first..self.crew.seats())
    }

    /// A while in which nobody comes or goes, with heartbeats spread over time.
    fn rest(&mut self, seats: Range<usize>) -> Result<(), String> {
        let (from_ns, count) = (clock::now_ns(), seats.len());
        let mut longest_ns = 0;
        for (at, seat) in seats.enumerate() {
            let every_ns = self.crew.member(seat).heartbeat_ns();
            longest_ns = longest_ns.max(every_ns);
            let due_ns = from_ns + (every_ns as f64 * at as f64 / count as f64) as i64;
            self.crew.tell(seat, |member, _| member.beat_at(due_ns));
        }
        self.go_on(longest_ns)
    }

    fn until_formed(&mut self, seats: Range<usize>, began_ns: i64) -> Result<f64, String> {
        self.until_all_formed(&[seats], began_ns)
    }

    /// Milliseconds since it began.
    fn until_all_formed(&mut self, seats: &[Range<usize>], began_ns: i64) -> Result<f64, String> {
        let seats = || seats.iter().flat_map(Range::clone);
        while !self.has_formed(seats()) {
            self.turn(began_ns + FORM_PATIENCE_NS, "the group did not form")?;
        }
        Ok(clock::seconds(clock::now_ns() - began_ns) * 1e3)
    }

    fn turn(&mut self, deadline_ns: i64, late: &str) -> Result<(), String> {
        let now_ns = clock::now_ns();
        if now_ns > deadline_ns {
            return Err(format!("{late} within {} s", FORM_PATIENCE_NS / NS_PER_S));
        }
        if stop::was_told() {
            return Err("stopped early".to_owned());
        }
        self.crew.turn(deadline_ns.min(now_ns + LOOK_UP_NS))
    }

    /// Each partition has one reader, and members have as many as each other, or one more.
    fn has_formed(&self, seats: impl Iterator<Item = usize> + Clone) -> bool {
        let slots = self.terms.topics.slots() as usize;
        let counts = || seats.clone().map(|seat| self.crew.member(seat).slots().len());
        if !seats.clone().all(|seat| self.crew.member(seat).is_settled())
            || counts().sum::<usize>() != slots
            || counts().max() > counts().min().map(|least| least + 1)
        {
            return false;
        }
        let mut is_read = vec![false; slots];
        seats.flat_map(|seat| self.crew.member(seat).slots()).for_each(|slot| is_read[*slot as usize] = true);
        is_read.iter().all(|is_read| *is_read)
    }

    /// Members leave, as good consumers do, and the topic goes. What cannot be done any more is left.
    pub(super) fn close(mut self) {
        self.crew.stop_commits();
        for seat in 0..self.crew.seats() {
            if self.crew.member(seat).is_settled() {
                self.crew.tell(seat, Member::leave);
            }
        }
        let until_ns = clock::now_ns() + LEAVE_NS;
        let is_there = |crew: &Crew| (0..crew.seats()).any(|seat| crew.member(seat).is_settled());
        while is_there(&self.crew) && clock::now_ns() < until_ns {
            if self.crew.turn(clock::now_ns() + LOOK_UP_NS).is_err() {
                break;
            }
        }
        if let Err(error) = self.admin.delete(&self.terms.topics) {
            eprintln!("millstream-bench: topic {} was not deleted: {error}", self.terms.topics.names[0]);
        }
    }
}
