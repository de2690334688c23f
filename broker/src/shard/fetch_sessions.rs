//! Fetch sessions (KIP-227): what a client fetches is remembered, and only what changed is said.
//!
//! A session lives on the core of the connection that made it, and its id tells which that is: whoever
//! comes by another core is served by message.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::ids::Uuid;
use protocol::topic_key::TopicKey;

/// A session unused for so long may be evicted in favour of a new one.
const EVICTABLE_AFTER_MS: i64 = 120_000;
/// Closes a session, or asks for none.
const FINAL_EPOCH: i32 = -1;
/// Asks for everything, and for a new session.
const INITIAL_EPOCH: i32 = 0;

/// A topic as the client calls it: by name to version 12, by id from 13.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TopicRef {
    Name(Arc<str>),
    Id(Uuid),
}

impl TopicRef {
    pub(crate) fn of(key: TopicKey<'_>) -> Self {
        match key {
            TopicKey::Id(id) => Self::Id(id),
            TopicKey::Name(name) => Self::Name(Arc::from(String::from_utf8_lossy(name))),
        }
    }

    pub(crate) fn key(&self) -> TopicKey<'_> {
        match self {
            Self::Id(id) => TopicKey::Id(*id),
            Self::Name(name) => TopicKey::Name(name.as_bytes()),
        }
    }
}

/// One partition of a fetch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) topic: TopicRef,
    pub(crate) partition: i32,
}

/// What is asked of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) offset: i64,
    pub(crate) bytes_max: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) last_fetched_epoch: i32,
    pub(crate) log_start_offset: i64,
}

/// What the client was last told of a partition; -1: nothing it could rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    high_watermark: i64,
    log_start_offset: i64,
}

const NOTHING: Bounds = Bounds { high_watermark: -1, log_start_offset: -1 };

#[derive(Debug)]
struct Member {
    key: Key,
    wanted: Wanted,
    told: Bounds,
    /// Asked for by an id that stood for a topic once.
    was_known: bool,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    uses_ids: bool,
    used_ms: i64,
    /// In the order they are served: who got data goes to the back.
    members: BTreeMap<u64, Member>,
    places: HashMap<Key, u64>,
    next_place: u64,
}

/// What a request says of its session and partitions.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) session_id: i32,
    pub(crate) epoch: i32,
    pub(crate) uses_ids: bool,
    pub(crate) partitions: Vec<(Key, Wanted)>,
    pub(crate) forgotten: Vec<Key>,
}

/// What is to be fetched, and how the answer is to be cut down.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) partitions: Vec<(Key, Wanted)>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// No session now or after.
    Sessionless,
    /// Everything is said; a session may begin with this answer.
    Full {
        uses_ids: bool,
    },
    Incremental {
        id: i32,
    },
}

/// What one partition's answer holds, as far as sessions care.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub(crate) error: ErrorCode,
    pub(crate) has_records: bool,
    pub(crate) diverges: bool,
    pub(crate) high_watermark: i64,
    pub(crate) log_start_offset: i64,
}

/// What of the plan is in the answer, and of which session that is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) session_id: i32,
    /// For each partition of the plan: the error to tell, or none if the partition is not told of.
    pub(crate) errors: Vec<Option<ErrorCode>>,
}

/// The core whose session this is, if there is such a session.
pub(crate) fn home(session_id: i32, cores: usize) -> usize {
    session_id.rem_euclid(cores as i32) as usize
}

impl Asked {
    /// Whether it goes on with a session, and thus has to be planned where that lives.
    pub(crate) fn continues(&self) -> bool {
        self.epoch != FINAL_EPOCH && self.epoch != INITIAL_EPOCH
    }
}

impl Plan {
    /// The session that has to be told what was said, if there is one already.
    pub(crate) fn session(&self) -> Option<i32> {
        match self.kind {
            Kind::Incremental { id } => Some(id),
            _ => None,
        }
    }
}

/// One core's sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    core: usize,
    cores: usize,
    slots: usize,
    open: HashMap<i32, Session>,
}

impl Sessions {
    pub(crate) fn new(core: usize, cores: usize, slots: usize) -> Self {
        Self { core, cores, slots, open: HashMap::new() }
    }

    pub(crate) fn close(&mut self, session_id: i32) {
        self.open.remove(&session_id);
    }

    /// What this request fetches, or why its session cannot serve it. A full request ends the session that
    /// it names; where that lives elsewhere, the caller sees to it.
    pub(crate) fn plan(&mut self, asked: Asked, now_ms: i64) -> Result<Plan, ErrorCode> {
        if !asked.continues() {
            self.open.remove(&asked.session_id);
            let uses_ids = asked.uses_ids;
            let kind = if asked.epoch == FINAL_EPOCH { Kind::Sessionless } else { Kind::Full { uses_ids } };
            return Ok(Plan { partitions: last_of_each(asked.partitions), kind });
        }
        let id = asked.session_id;
        let session = self.open.get_mut(&id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != asked.epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.uses_ids != asked.uses_ids {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        session.update(&asked.partitions, &asked.forgotten);
        session.used_ms = now_ms;
        if session.members.is_empty() {
            self.open.remove(&id);
            // Kafka: the request is served once more, without a session, even what it also forgets.
            return Ok(Plan { partitions: last_of_each(asked.partitions), kind: Kind::Sessionless });
        }
        session.epoch = next_epoch(session.epoch);
        let members = session.members.values();
        let partitions = members.map(|member| (member.key.clone(), member.wanted)).collect();
        Ok(Plan { partitions, kind: Kind::Incremental { id } })
    }

    /// Remembers what is said, and what of it need not be said at all.
    pub(crate) fn answer(
        &mut self,
        plan: &Plan,
        said: &[Said],
        new_id: impl FnMut() -> i32,
        now_ms: i64,
    ) -> Told {
        let all = || said.iter().map(|said| Some(said.error)).collect();
        match plan.kind {
            Kind::Sessionless => Told { session_id: 0, errors: all() },
            Kind::Full { uses_ids } => {
                let session_id = self.begin(plan, said, uses_ids, new_id, now_ms);
                Told { session_id, errors: all() }
            }
            Kind::Incremental { id } => match self.open.get_mut(&id) {
                Some(session) => {
                    let told =
                        plan.partitions.iter().zip(said).map(|((key, _), said)| session.tell(key, said));
                    Told { session_id: id, errors: told.collect() }
                }
                None => Told { session_id: 0, errors: all() },
            },
        }
    }

    /// A new session, or 0 if there is no slot for it. Kafka: also one of nothing, which ends with the next
    /// request that adds nothing.
    fn begin(
        &mut self,
        plan: &Plan,
        said: &[Said],
        uses_ids: bool,
        mut new_id: impl FnMut() -> i32,
        now_ms: i64,
    ) -> i32 {
        if !self.make_room(now_ms) {
            return 0;
        }
        let id = loop {
            let cores = self.cores as i32;
            let id = new_id().max(0) % (i32::MAX / cores) * cores + self.core as i32;
            if id > 0 && !self.open.contains_key(&id) {
                break id;
            }
        };
        let mut session = Session {
            epoch: next_epoch(INITIAL_EPOCH),
            uses_ids,
            used_ms: now_ms,
            members: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
        };
        session.update(&plan.partitions, &[]);
        // Kafka: only answers within the session change the order.
        for (member, said) in session.members.values_mut().zip(said) {
            member.tell(said);
        }
        self.open.insert(id, session);
        id
    }

    fn make_room(&mut self, now_ms: i64) -> bool {
        if self.open.len() < self.slots {
            return true;
        }
        let oldest = self.open.iter().min_by_key(|(id, session)| (session.used_ms, **id));
        match oldest.map(|(id, session)| (*id, session.used_ms)) {
            Some((id, used_ms)) if used_ms + EVICTABLE_AFTER_MS <= now_ms => {
                self.open.remove(&id);
                true
            }
            _ => false,
        }
    }
}

impl Session {
    fn update(&mut self, partitions: &[(Key, Wanted)], forgotten: &[Key]) {
        for (key, wanted) in partitions {
            if let Some(member) = self.places.get(key).and_then(|place| self.members.get_mut(place)) {
                member.wanted = *wanted;
                continue;
            }
            let member = Member { key: key.clone(), wanted: *wanted, told: NOTHING, was_known: false };
            self.places.insert(key.clone(), self.next_place);
            self.members.insert(self.next_place, member);
            self.next_place += 1;
        }
        for key in forgotten {
            if let Some(place) = self.places.remove(key) {
                self.members.remove(&place);
            }
        }
    }

    /// The error to say, or none if nothing must be said of the partition.
    fn tell(&mut self, key: &Key, said: &Said) -> Option<ErrorCode> {
        let place = self.places.get_mut(key)?;
        let mut member = self.members.remove(place)?;
        let told = member.tell(said);
        if said.has_records {
            *place = self.next_place;
            self.next_place += 1;
        }
        self.members.insert(*place, member);
        told
    }
}

impl Member {
    /// The error to say, or none if nothing must be said; remembers that it was.
    fn tell(&mut self, said: &Said) -> Option<ErrorCode> {
        let now = Bounds { high_watermark: said.high_watermark, log_start_offset: said.log_start_offset };
        let must = said.has_records || said.diverges || self.told != now || said.error.is_err();
        // An error is said again until it is over, and then the good news is said too.
        self.told = if said.error.is_err() { NOTHING } else { now };
        let error = match said.error {
            // Kafka: within a session the topic's name is still known.
            ErrorCode::UNKNOWN_TOPIC_ID if self.was_known => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            error => error,
        };
        self.was_known |= said.error != ErrorCode::UNKNOWN_TOPIC_ID;
        must.then_some(error)
    }
}

/// Kafka: a partition named twice counts as named last.
fn last_of_each(partitions: Vec<(Key, Wanted)>) -> Vec<(Key, Wanted)> {
    let mut places: HashMap<Key, usize> = HashMap::with_capacity(partitions.len());
    let mut kept: Vec<(Key, Wanted)> = Vec::with_capacity(partitions.len());
    for (key, wanted) in partitions {
        match places.get(&key) {
            Some(place) => kept[*place].1 = wanted,
            None => {
                places.insert(key.clone(), kept.len());
                kept.push((key, wanted));
            }
        }
    }
    kept
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(partition: i32) -> Key {
        Key { topic: TopicRef::Name(Arc::from("t")), partition }
    }

    fn wanted(offset: i64) -> Wanted {
        Wanted { offset, bytes_max: 1000, leader_epoch: -1, last_fetched_epoch: -1, log_start_offset: -1 }
    }

    fn asked(session_id: i32, epoch: i32, partitions: &[i32]) -> Asked {
        let partitions = partitions.iter().map(|index| (key(*index), wanted(0))).collect();
        Asked { session_id, epoch, uses_ids: false, partitions, forgotten: Vec::new() }
    }

    fn said(high_watermark: i64, has_records: bool) -> Said {
        Said { error: ErrorCode::NONE, has_records, diverges: false, high_watermark, log_start_offset: 0 }
    }

    fn started(sessions: &mut Sessions, partitions: &[i32]) -> i32 {
        let plan = sessions.plan(asked(0, 0, partitions), 0).unwrap();
        let told = vec![said(0, false); partitions.len()];
        sessions.answer(&plan, &told, || 7, 0).session_id
    }

    #[test]
    fn an_incremental_answer_says_only_what_changed() {
        let mut sessions = Sessions::new(0, 1, 10);
        let id = started(&mut sessions, &[0, 1, 2]);
        assert_eq!(id, 7);
        let plan = sessions.plan(asked(id, 1, &[]), 0).unwrap();
        assert_eq!(plan.partitions.len(), 3);
        let told = [said(0, false), said(5, true), said(0, false)];
        let told = sessions.answer(&plan, &told, || 8, 0);
        assert_eq!(told, Told { session_id: 7, errors: vec![None, Some(ErrorCode::NONE), None] });
        let plan = sessions.plan(asked(id, 2, &[]), 0).unwrap();
        let order: Vec<_> = plan.partitions.iter().map(|(key, _)| key.partition).collect();
        assert_eq!(order, [0, 2, 1], "who got data goes to the back");
    }

    #[test]
    fn an_error_is_said_again_and_its_end_too() {
        let mut sessions = Sessions::new(0, 1, 10);
        let id = started(&mut sessions, &[0]);
        let wrong = Said { error: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ..said(-1, false) };
        for epoch in 1..3 {
            let plan = sessions.plan(asked(id, epoch, &[]), 0).unwrap();
            assert_eq!(sessions.answer(&plan, &[wrong], || 8, 0).errors, [Some(wrong.error)]);
        }
        let plan = sessions.plan(asked(id, 3, &[]), 0).unwrap();
        let told = sessions.answer(&plan, &[said(0, false)], || 8, 0);
        assert_eq!(told.errors, [Some(ErrorCode::NONE)]);
    }

    #[test]
    fn a_wrong_epoch_or_id_is_refused_and_the_session_stays() {
        let mut sessions = Sessions::new(0, 1, 10);
        let id = started(&mut sessions, &[0]);
        assert_eq!(sessions.plan(asked(id, 5, &[]), 0), Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH));
        assert_eq!(sessions.plan(asked(99, 1, &[]), 0), Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
        let by_id = Asked { uses_ids: true, ..asked(id, 1, &[]) };
        assert_eq!(sessions.plan(by_id, 0), Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR));
        assert!(sessions.plan(asked(id, 1, &[]), 0).is_ok());
    }

    #[test]
    fn forgetting_everything_ends_the_session() {
        let mut sessions = Sessions::new(0, 1, 10);
        let id = started(&mut sessions, &[0]);
        let last = Asked { forgotten: vec![key(0)], ..asked(id, 1, &[]) };
        let plan = sessions.plan(last, 0).unwrap();
        assert_eq!(sessions.answer(&plan, &[], || 8, 0).session_id, 0);
        assert_eq!(sessions.plan(asked(id, 2, &[]), 0), Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
    }

    #[test]
    fn what_is_forgotten_and_added_at_once_is_served_once_more() {
        let mut sessions = Sessions::new(0, 1, 10);
        let id = started(&mut sessions, &[0]);
        let last = Asked { forgotten: vec![key(0)], ..asked(id, 1, &[0]) };
        let plan = sessions.plan(last, 0).unwrap();
        assert_eq!((plan.session(), plan.partitions.len()), (None, 1));
    }

    #[test]
    fn opening_does_not_change_the_order() {
        let mut sessions = Sessions::new(0, 1, 10);
        let plan = sessions.plan(asked(0, 0, &[2, 0, 1]), 0).unwrap();
        sessions.answer(&plan, &[said(1, true), said(1, false), said(1, false)], || 7, 0);
        let plan = sessions.plan(asked(7, 1, &[]), 0).unwrap();
        let order: Vec<_> = plan.partitions.iter().map(|(key, _)| key.partition).collect();
        assert_eq!(order, [2, 0, 1]);
    }

    #[test]
    fn a_session_of_nothing_is_a_session_until_it_is_used() {
        let mut sessions = Sessions::new(0, 1, 10);
        let id = started(&mut sessions, &[]);
        assert_eq!(id, 7);
        assert_eq!(sessions.plan(asked(id, 2, &[]), 0), Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH));
        assert_eq!(sessions.plan(asked(id, 1, &[]), 0).unwrap().session(), None);
        assert_eq!(sessions.plan(asked(id, 1, &[]), 0), Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
    }

    #[test]
    fn an_id_tells_the_core_of_its_session() {
        for core in 0..3 {
            let mut sessions = Sessions::new(core, 3, 100);
            for random in [-5, 0, 1, 2, 100, i32::MAX - 9] {
                let plan = sessions.plan(asked(0, 0, &[0]), 0).unwrap();
                let mut random = random;
                let next = || {
                    random += 1;
                    random
                };
                let id = sessions.answer(&plan, &[said(0, false)], next, 0).session_id;
                assert_eq!((home(id, 3), id > 0), (core, true));
            }
        }
        assert_eq!(home(-1, 3), 2);
    }

    #[test]
    fn a_topic_deleted_under_a_session_is_unknown_by_name() {
        let mut sessions = Sessions::new(0, 1, 10);
        let gone = Said { error: ErrorCode::UNKNOWN_TOPIC_ID, ..said(-1, false) };
        let id = started(&mut sessions, &[0]);
        let plan = sessions.plan(asked(id, 1, &[]), 0).unwrap();
        let told = sessions.answer(&plan, &[gone], || 8, 0);
        assert_eq!(told.errors, [Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)]);
    }

    #[test]
    fn a_full_cache_gives_no_session_until_one_is_old() {
        let mut sessions = Sessions::new(0, 1, 1);
        started(&mut sessions, &[0]);
        let plan = sessions.plan(asked(0, 0, &[1]), 0).unwrap();
        assert_eq!(sessions.answer(&plan, &[said(0, false)], || 8, 1000).session_id, 0);
        assert_eq!(sessions.answer(&plan, &[said(0, false)], || 8, EVICTABLE_AFTER_MS).session_id, 8);
    }

    #[test]
    fn a_partition_named_twice_counts_as_named_last() {
        let mut sessions = Sessions::new(0, 1, 1);
        let mut twice = asked(0, 0, &[0, 0]);
        twice.partitions[1].1 = wanted(9);
        assert_eq!(sessions.plan(twice, 0).unwrap().partitions, [(key(0), wanted(9))]);
    }
}
