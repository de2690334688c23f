//! The groups whose records are in one partition of `__consumer_offsets`, as a machine.
//!
//! It differs from [`Machine`](crate::machine::Machine) in one thing: much of a group is in no log (who waits for an answer, who was
//! heard of when, a rebalance that is under way), and that, deciding changes. So what was decided must be appended and applied before the next
//! command; if it cannot be, the machine is dropped and read anew from its log, and members join again, as after any
//! failover.

pub mod assignment;
pub mod assignor;
mod classic;
mod command;
mod consumer;
pub mod consumer_protocol;
mod deletion;
mod group;
mod limits;
mod listing;
mod members;
pub mod metadata_hash;
mod offsets;
mod record;
mod settings;
pub mod subscription;
mod sweep;
mod timers;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::error_code::ErrorCode;
use protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use protocol::messages::{
    OffsetCommitKey, OffsetCommitRequest, OffsetCommitResponse, OffsetCommitValue, OffsetDeleteRequest,
    OffsetDeleteResponse,
};

use crate::machine::Decision;
use crate::metadata::Image;
pub use command::{Answer, Asked, Client, Command, FetchOffsets, Reply, Ticket};
use consumer::{ConsumerGroup, Watch};
use deletion::Deletions;
use group::{Group, Kind};
use offsets::{commit, delete, fetch};
pub use record::{GroupRecord, KeyValue, RecordError, Said};
pub use settings::{Bounds, ConsumerTimes, GroupSettings, MigrationPolicy};
use sweep::Sweep;
pub use timers::Uptime;
use timers::{Timer, Timers};
pub use turn::{Moment, Tally};
use turn::{Name, Turn};

/// The groups of one partition.
#[derive(Debug)]
pub struct Groups {
    settings: Arc<GroupSettings>,
    groups: BTreeMap<Name, Group>,
    timers: Timers,
    watch: Watch,
    sweep: Sweep,
    deletions: Deletions,
    offsets: usize,
    /// Where transactions that are not over have offsets.
    in_transaction: BTreeMap<i64, BTreeSet<Name>>,
    tally: Tally,
}

/// How much there is of everything; for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By type and state, as ListGroups names them.
    pub groups: BTreeMap<(&'static str, &'static str), usize>,
    pub members: usize,
    pub offsets: usize,
    pub tally: Tally,
}

/// One of [`Groups::committed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedOffset<'a> {
    pub group: &'a str,
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
}

/// A tick leaves the rest to the next, so that its records are one batch.
const TICK_RECORDS_MAX: usize = 500;

/// What a turn takes of the machine, beside its groups.
macro_rules! turn {
    ($machine:ident, $image:expr, $now:expr) => {
        Turn {
            settings: &$machine.settings,
            image: $image,
            now: $now.uptime,
            wall: $now.wall,
            timers: &mut $machine.timers,
            watch: &mut $machine.watch,
            tally: &mut $machine.tally,
            records: Vec::new(),
            answers: Vec::new(),
        }
    };
}

impl Groups {
    pub fn new(settings: Arc<GroupSettings>) -> Self {
        Self {
            settings,
            groups: BTreeMap::new(),
            timers: Timers::default(),
            watch: Watch::default(),
            sweep: Sweep::default(),
            deletions: Deletions::default(),
            offsets: 0,
            in_transaction: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    /// What is to be done about a command. The records are to be appended, all or none, and applied at once, before
    /// anything else is decided; the answers, some of them perhaps to earlier commands, are safe to give when everything
    /// appended so far is.
    pub fn decide(
        &mut self,
        command: Command,
        image: &Image,
        now: Moment,
    ) -> Decision<GroupRecord, Vec<Answer>> {
        let released = if command == Command::Tick { self.deletions.release() } else { None };
        match released.or_else(|| self.deletions.hold(command)) {
            Some(command) => self.decide_now(command, image, now),
            None => Decision::answer(Vec::new()),
        }
    }

    fn decide_now(
        &mut self,
        command: Command,
        image: &Image,
        now: Moment,
    ) -> Decision<GroupRecord, Vec<Answer>> {
        let Self { groups, sweep, deletions, .. } = self;
        let mut turn = turn!(self, image, now);
        if limits::refuse_long_texts(&command, &mut turn) {
            return turn.over();
        }
        match command {
            Command::JoinGroup(asked) => members::join(groups, &asked, &mut turn),
            Command::SyncGroup(asked) => members::sync(groups, &asked, &mut turn),
            Command::Heartbeat(asked) => members::heartbeat(groups, &asked, &mut turn),
            Command::LeaveGroup(asked) => members::leave(groups, &asked, &mut turn),
            Command::ConsumerGroupHeartbeat(asked) => {
                let response = consumer::heartbeat(groups, &asked, &mut turn);
                turn.answer(asked.ticket, Reply::ConsumerGroupHeartbeat(response));
            }
            Command::OffsetCommit(asked) => {
                let response = commit_offsets(groups, &asked, &mut turn);
                turn.answer(asked.ticket, Reply::OffsetCommit(response));
            }
            Command::OffsetFetch(asked) => {
                let response = fetch_offsets(groups, &asked.request, turn.image);
                turn.answer(asked.ticket, Reply::OffsetFetch(response));
            }
            Command::OffsetDelete(asked) => {
                let response = delete_offsets(groups, &asked.request, &mut turn);
                turn.answer(asked.ticket, Reply::OffsetDelete(response));
            }
            Command::ListGroups(asked) => {
                let listed = |(id, group): (&Name, &Group)| listing::listed(id, group, &asked.request);
                let listed = groups.iter().filter_map(listed).collect();
                turn.answer(asked.ticket, Reply::ListGroups(listed));
            }
            Command::DescribeGroup(asked) => {
                let id = &asked.request;
                let described = listing::described(id, groups.get(&**id), asked.version);
                turn.answer(asked.ticket, Reply::DescribeGroup(described));
            }
            Command::DescribeConsumerGroup(asked) => {
                let id = &asked.request;
                let described = match groups.get(&**id) {
                    Some(Group { kind: Kind::Consumer(group), .. }) => group.described(image, &self.settings),
                    other => listing::not_described_consumer(id, other),
                };
                turn.answer(asked.ticket, Reply::DescribeConsumerGroup(described));
            }
            Command::DeleteGroup(asked) => match listing::admit_delete(groups, &asked.request) {
                Ok((name, group)) => deletions.begin(name, group, asked.ticket, &mut turn),
                Err(error) => turn.answer(asked.ticket, Reply::DeleteGroup(error)),
            },
            Command::TopicsDeleted(topics) => sweep.forget(topics, groups, &mut turn),
            Command::Tick => tick(groups, sweep, deletions, &mut turn),
        }
        turn.over()
    }

    /// Takes in what the log holds: right after it was appended, and when the log is read.
    pub fn apply(&mut self, record: &GroupRecord) {
        match record {
            GroupRecord::OffsetCommit(said) => self.apply_offset(&said.key, said.value.as_ref()),
            GroupRecord::GroupMetadata(said) => match &said.value {
                Some(value) => {
                    let group = entry(&mut self.groups, &said.key.group);
                    match &mut group.kind {
                        Kind::Classic(classic) => classic.apply(value),
                        // The records of the one end before those of the other begin.
                        Kind::Consumer(_) => (),
                    }
                }
                None => self.remove_classic(&said.key.group),
            },
            record => self.apply_consumer(record),
        }
    }

    /// Takes in an offset of a transaction that is not over.
    pub fn apply_pending(&mut self, record: &GroupRecord, producer_id: i64) {
        if let GroupRecord::OffsetCommit(Said { key, value: Some(value) }) = record {
            let group = entry(&mut self.groups, &key.group);
            group.offsets.set_pending(producer_id, &key.topic, key.partition, value.clone());
            let groups = self.in_transaction.entry(producer_id).or_default();
            groups.insert(Name::from(&*key.group));
        }
    }

    /// A transaction is over: its marker is in the log.
    pub fn end_transaction(&mut self, producer_id: i64, is_committed: bool) {
        for group in self.in_transaction.remove(&producer_id).unwrap_or_default() {
            if let Some(group) = self.groups.get_mut(&group) {
                let before = group.offsets.len();
                group.offsets.end_transaction(producer_id, is_committed);
                self.offsets = self.offsets + group.offsets.len() - before;
            }
        }
    }

    /// The log is read to its end. From now on members must be heard of.
    pub fn loaded(&mut self, image: &Image, now: Moment) -> Decision<GroupRecord, Vec<Answer>> {
        let Self { groups, sweep, .. } = self;
        let mut turn = turn!(self, image, now);
        for group in groups.values_mut() {
            match &mut group.kind {
                Kind::Classic(classic) => classic.loaded(&mut turn),
                Kind::Consumer(group) => group.loaded(&mut turn),
            }
        }
        sweep.begin(&mut turn);
        turn.over()
    }

    /// When it wants [`Command::Tick`]. Sometimes there is nothing to do then.
    pub fn deadline(&self) -> Option<Uptime> {
        self.timers.deadline().into_iter().chain(self.deletions.deadline()).min()
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts { offsets: self.offsets, tally: self.tally, ..Counts::default() };
        for group in self.groups.values() {
            *counts.groups.entry((group.type_name(), group.state_name())).or_default() += 1;
            counts.members += match &group.kind {
                Kind::Classic(classic) => classic.members().len(),
                Kind::Consumer(group) => group.member_count(),
            };
        }
        counts
    }

    pub fn committed(&self) -> impl Iterator<Item = CommittedOffset<'_>> {
        self.groups.iter().flat_map(|(group, it)| {
            it.offsets.iter().map(move |(topic, offset)| CommittedOffset {
                group,
                topic,
                partition: offset.partition(),
                offset: offset.offset(),
            })
        })
    }

    fn apply_offset(&mut self, key: &OffsetCommitKey, value: Option<&OffsetCommitValue>) {
        let group = match value {
            // Kafka: whoever only commits has a group all the same.
            Some(_) => entry(&mut self.groups, &key.group),
            None => match self.groups.get_mut(&*key.group) {
                Some(group) => group,
                None => return,
            },
        };
        let before = group.offsets.len();
        match value {
            Some(value) => group.offsets.set(&key.topic, key.partition, value),
            None => group.offsets.remove(&key.topic, key.partition),
        }
        self.offsets = self.offsets + group.offsets.len() - before;
    }

    fn apply_consumer(&mut self, record: &GroupRecord) {
        let Some((id, is_said)) = consumer::subject(record) else { return };
        let kind = match self.groups.get_mut(id) {
            Some(group) => &mut group.kind,
            None if is_said => &mut entry(&mut self.groups, id).kind,
            None => return,
        };
        if is_said && matches!(kind, Kind::Classic(_)) {
            *kind = Kind::Consumer(Box::new(ConsumerGroup::new(&Name::from(id))));
        }
        let Kind::Consumer(group) = kind else { return };
        if matches!(record, GroupRecord::ConsumerGroupMetadata(Said { value: None, .. })) {
            self.remove(id);
        } else {
            group.apply(record);
        }
    }

    fn remove_classic(&mut self, id: &str) {
        if matches!(self.groups.get(id), Some(Group { kind: Kind::Classic(_), .. })) {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: &str) {
        let Some((name, group)) = self.groups.remove_entry(id) else { return };
        // What it committed ends by records of its own.
        if !group.offsets.is_empty() || group.offsets.has_pending() {
            let group = Group { offsets: group.offsets, ..Group::new(&name) };
            self.groups.insert(name, group);
        }
    }
}

fn entry<'a>(groups: &'a mut BTreeMap<Name, Group>, id: &str) -> &'a mut Group {
    if !groups.contains_key(id) {
        let name = Name::from(id);
        groups.insert(name.clone(), Group::new(&name));
    }
    groups.get_mut(id).expect("it was put there")
}

fn commit_offsets(
    groups: &mut BTreeMap<Name, Group>,
    asked: &Asked<OffsetCommitRequest>,
    turn: &mut Turn<'_>,
) -> OffsetCommitResponse {
    let request = &asked.request;
    let admitted = match groups.get_mut(&*request.group_id) {
        Some(group) => group.admit_commit(request, asked.version, turn),
        None if request.generation_id_or_member_epoch < 0 => Ok(()),
        None if asked.version >= 9 => Err(ErrorCode::GROUP_ID_NOT_FOUND),
        None => Err(ErrorCode::ILLEGAL_GENERATION),
    };
    match admitted {
        Ok(()) => commit::committed(request, turn),
        Err(error) => commit::refused(request, error),
    }
}

fn fetch_offsets(
    groups: &BTreeMap<Name, Group>,
    asked: &FetchOffsets,
    image: &Image,
) -> OffsetFetchResponseGroup {
    let group = groups.get(&*asked.group.group_id);
    let admitted = group.map_or(Ok(()), |group| {
        group.admit_fetch(asked.group.member_id.as_deref(), asked.group.member_epoch)
    });
    match admitted {
        Ok(()) => fetch::fetched(group.map(|group| &group.offsets), asked, image),
        Err(error) => fetch::refused(asked, error),
    }
}

fn delete_offsets(
    groups: &BTreeMap<Name, Group>,
    request: &OffsetDeleteRequest,
    turn: &mut Turn<'_>,
) -> OffsetDeleteResponse {
    let Some(group) = groups.get(&*request.group_id) else {
        return delete::refused(ErrorCode::GROUP_ID_NOT_FOUND);
    };
    match group.admit_offset_delete() {
        Ok(()) => delete::deleted(group, request, turn),
        Err(error) => delete::refused(error),
    }
}

fn tick(
    groups: &mut BTreeMap<Name, Group>,
    sweep: &mut Sweep,
    deletions: &mut Deletions,
    turn: &mut Turn<'_>,
) {
    while turn.records.len() < TICK_RECORDS_MAX {
        let Some((at, timer)) = turn.timers.pop(turn.now) else { return };
        match timer {
            Timer::Session { group, member } => {
                if let Some(Kind::Classic(group)) = groups.get_mut(&group).map(|group| &mut group.kind) {
                    group.session_rings(&member, at, turn);
                }
            }
            Timer::Join(group) => {
                if let Some(Kind::Classic(group)) = groups.get_mut(&group).map(|group| &mut group.kind) {
                    group.joining_rings(at, turn);
                }
            }
            Timer::Sync(group) => {
                if let Some(Kind::Classic(group)) = groups.get_mut(&group).map(|group| &mut group.kind) {
                    group.syncing_rings(at, turn);
                }
            }
            Timer::Member { group, member, wait } => {
                match groups.get(&group).map(|group| &group.kind) {
                    Some(Kind::Consumer(group)) => group.time_is_over(&member, wait, at, turn),
                    _ => turn.watch.forget_group(&group),
                }
                // What is next may be about the same group, which is not yet what these records make it.
                if !turn.records.is_empty() {
                    return;
                }
            }
            Timer::Resolve(group) => {
                if let Some(Kind::Consumer(group)) = groups.get(&group).map(|group| &group.kind) {
                    return group.resolve_patterns(turn);
                }
            }
            Timer::Downgraded { group, rebalance } => {
                if let Some(Kind::Classic(group)) = groups.get_mut(&group).map(|group| &mut group.kind) {
                    group.takes_over(rebalance, turn);
                }
            }
            Timer::Delete(group) => return deletions.go_on(&group, groups, turn),
            Timer::Sweep => return sweep.go_on(groups, turn),
        }
    }
}
