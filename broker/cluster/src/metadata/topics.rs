//! Topics and their partitions. Small in memory: every core has all of them.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use protocol::ids::Uuid;
use protocol::messages::{PartitionChangeRecord, PartitionRecord};

/// "Nobody": a partition without a leader.
pub const NO_LEADER: i32 = -1;
/// In a change record: the leader stays who it is.
pub const NO_LEADER_CHANGE: i32 = -2;

/// Reserved directory ids, as Kafka uses them.
pub mod directory {
    use protocol::ids::Uuid;

    /// Not said, because the record is older than directories.
    pub const MIGRATING: Uuid = Uuid::from_u64_pair(0, 0);
    /// The broker has several and will say which.
    pub const UNASSIGNED: Uuid = Uuid::from_u64_pair(0, 1);
    /// The broker lost it.
    pub const LOST: Uuid = Uuid::from_u64_pair(0, 2);
    /// Ids below this are reserved.
    pub const RESERVED: u64 = 100;

    pub fn is_reserved(id: Uuid) -> bool {
        u128::from_be_bytes(id.0) < u128::from(RESERVED)
    }
}

/// Whether a leader was elected that may lack acknowledged records, and still has to say that it caught up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaderRecovery {
    #[default]
    Recovered = 0,
    Recovering = 1,
}

impl LeaderRecovery {
    pub const fn code(self) -> i8 {
        self as i8
    }

    fn from_code(code: i8) -> Self {
        if code == Self::Recovering.code() { Self::Recovering } else { Self::Recovered }
    }
}

/// One topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    pub name: Arc<str>,
    pub id: Uuid,
    /// By index.
    partitions: Vec<Partition>,
}

/// Who has a partition's data and who leads.
#[derive(Clone, Debug, PartialEq)]
pub struct Partition {
    pub index: i32,
    /// A broker, or [`NO_LEADER`].
    pub leader: i32,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    pub recovery: LeaderRecovery,
    /// Preferred leader first.
    pub replicas: Brokers,
    pub isr: Brokers,
    /// Where each replica lives, in the order of `replicas`.
    pub directories: Box<[Uuid]>,
    /// What only some partitions have.
    unusual: Option<Box<Unusual>>,
}

/// Left the in-sync set with everything acknowledged then, or on the move.
#[derive(Clone, Debug, Default, PartialEq)]
struct Unusual {
    elr: Brokers,
    last_known_elr: Brokers,
    adding: Brokers,
    removing: Brokers,
}

/// A short list of broker ids, in place up to [`Brokers::IN_PLACE`]. A replica set is rarely longer.
#[derive(Clone)]
pub enum Brokers {
    InPlace { len: u8, ids: [i32; Self::IN_PLACE] },
    Heap(Box<[i32]>),
}

impl Topic {
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    pub fn partition(&self, index: i32) -> Option<&Partition> {
        // Indexes have no gaps, but for while a snapshot is being read.
        let at = usize::try_from(index).ok()?;
        match self.partitions.get(at) {
            Some(partition) if partition.index == index => Some(partition),
            _ => self.place(index).ok().map(|at| &self.partitions[at]),
        }
    }

    fn place(&self, index: i32) -> Result<usize, usize> {
        self.partitions.binary_search_by_key(&index, |partition| partition.index)
    }
}

impl Partition {
    pub fn elr(&self) -> &[i32] {
        self.unusual.as_ref().map_or(&[], |it| &it.elr)
    }

    pub fn last_known_elr(&self) -> &[i32] {
        self.unusual.as_ref().map_or(&[], |it| &it.last_known_elr)
    }

    pub fn adding_replicas(&self) -> &[i32] {
        self.unusual.as_ref().map_or(&[], |it| &it.adding)
    }

    pub fn removing_replicas(&self) -> &[i32] {
        self.unusual.as_ref().map_or(&[], |it| &it.removing)
    }

    pub fn is_being_reassigned(&self) -> bool {
        !self.adding_replicas().is_empty() || !self.removing_replicas().is_empty()
    }

    /// Where a broker's replica lives; `None` if it has none.
    pub fn directory_of(&self, broker: i32) -> Option<Uuid> {
        let at = self.replicas.iter().position(|&replica| replica == broker)?;
        Some(self.directories.get(at).copied().unwrap_or(directory::MIGRATING))
    }

    fn from_record(record: &PartitionRecord) -> Self {
        let mut partition = Self {
            index: record.partition_id,
            leader: record.leader,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
            recovery: LeaderRecovery::from_code(record.leader_recovery_state),
            replicas: Brokers::from(&record.replicas[..]),
            isr: Brokers::from(&record.isr[..]),
            directories: record.directories.clone().into_boxed_slice(),
            unusual: None,
        };
        partition.change_unusual(|it| {
            it.elr = Brokers::from(record.eligible_leader_replicas.as_deref().unwrap_or_default());
            it.last_known_elr = Brokers::from(record.last_known_elr.as_deref().unwrap_or_default());
            it.adding = Brokers::from(&record.adding_replicas[..]);
            it.removing = Brokers::from(&record.removing_replicas[..]);
        });
        partition
    }

    /// The record that says all of this.
    pub fn to_record(&self, topic_id: Uuid) -> PartitionRecord {
        let some_of = |ids: &[i32]| (!ids.is_empty()).then(|| ids.to_vec());
        PartitionRecord {
            partition_id: self.index,
            topic_id,
            replicas: self.replicas.to_vec(),
            isr: self.isr.to_vec(),
            removing_replicas: self.removing_replicas().to_vec(),
            adding_replicas: self.adding_replicas().to_vec(),
            leader: self.leader,
            leader_recovery_state: self.recovery.code(),
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            directories: self.directories.to_vec(),
            eligible_leader_replicas: some_of(self.elr()),
            last_known_elr: some_of(self.last_known_elr()),
        }
    }

    fn change(&mut self, record: &PartitionChangeRecord) {
        if let Some(isr) = &record.isr {
            self.isr = Brokers::from(&isr[..]);
        }
        if let Some(replicas) = &record.replicas {
            self.replicas = Brokers::from(&replicas[..]);
        }
        if let Some(directories) = &record.directories {
            self.directories = directories.clone().into_boxed_slice();
        }
        // Naming the leader starts a new epoch even if it is the same one.
        if record.leader != NO_LEADER_CHANGE {
            self.leader = record.leader;
            self.leader_epoch += 1;
        }
        if record.leader_recovery_state != -1 {
            self.recovery = LeaderRecovery::from_code(record.leader_recovery_state);
        }
        self.change_unusual(|it| {
            let replace = |list: &mut Brokers, with: &Option<Vec<i32>>| {
                if let Some(with) = with {
                    *list = Brokers::from(&with[..]);
                }
            };
            replace(&mut it.elr, &record.eligible_leader_replicas);
            replace(&mut it.last_known_elr, &record.last_known_elr);
            replace(&mut it.adding, &record.adding_replicas);
            replace(&mut it.removing, &record.removing_replicas);
        });
        self.partition_epoch += 1;
    }

    fn change_unusual(&mut self, change: impl FnOnce(&mut Unusual)) {
        let mut unusual = self.unusual.take().unwrap_or_default();
        change(&mut unusual);
        self.unusual = (*unusual != Unusual::default()).then_some(unusual);
    }
}

impl Brokers {
    pub const IN_PLACE: usize = 3;

    pub const fn one(id: i32) -> Self {
        Self::InPlace { len: 1, ids: [id, 0, 0] }
    }
}

impl Default for Brokers {
    fn default() -> Self {
        Self::InPlace { len: 0, ids: [0; Self::IN_PLACE] }
    }
}

impl From<&[i32]> for Brokers {
    fn from(list: &[i32]) -> Self {
        if list.len() > Self::IN_PLACE {
            return Self::Heap(list.into());
        }
        let mut ids = [0; Self::IN_PLACE];
        ids[..list.len()].copy_from_slice(list);
        Self::InPlace { len: list.len() as u8, ids }
    }
}

impl Deref for Brokers {
    type Target = [i32];

    fn deref(&self) -> &[i32] {
        match self {
            Self::InPlace { len, ids } => &ids[..usize::from(*len)],
            Self::Heap(ids) => ids,
        }
    }
}

impl PartialEq for Brokers {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl std::fmt::Debug for Brokers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// All topics, by name and by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topics {
    by_name: BTreeMap<Arc<str>, Topic>,
    names: BTreeMap<Uuid, Arc<str>>,
    partition_count: usize,
}

impl Topics {
    pub fn by_name(&self, name: &str) -> Option<&Topic> {
        self.by_name.get(name)
    }

    pub fn by_id(&self, id: Uuid) -> Option<&Topic> {
        self.by_name.get(self.names.get(&id)?)
    }

    /// By name.
    pub fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.by_name.values()
    }

    /// From a name on, in the order of names: for answers that come in pages.
    pub fn from(&self, name: &str) -> impl Iterator<Item = &Topic> {
        use std::ops::Bound::{Included, Unbounded};
        self.by_name.range::<str, _>((Included(name), Unbounded)).map(|(_, topic)| topic)
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Partitions of all topics together.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// False if there is one of that name or id.
    pub(super) fn add(&mut self, name: &str, id: Uuid) -> bool {
        if self.by_name.contains_key(name) || self.names.contains_key(&id) {
            return false;
        }
        let name: Arc<str> = name.into();
        self.names.insert(id, name.clone());
        self.by_name.insert(name.clone(), Topic { name, id, partitions: Vec::new() });
        true
    }

    pub(super) fn remove(&mut self, id: Uuid) -> Option<Topic> {
        let topic = self.by_name.remove(&self.names.remove(&id)?)?;
        self.partition_count -= topic.partitions.len();
        Some(topic)
    }

    /// False without such a topic.
    pub(super) fn set_partition(&mut self, record: &PartitionRecord) -> bool {
        let Some(topic) = self.by_id_mut(record.topic_id) else { return false };
        let partition = Partition::from_record(record);
        match topic.place(partition.index) {
            Ok(at) => topic.partitions[at] = partition,
            Err(at) => {
                // Most topics never grow: no room is kept for more.
                topic.partitions.reserve_exact(usize::from(topic.partitions.is_empty()));
                topic.partitions.insert(at, partition);
                self.partition_count += 1;
            }
        }
        true
    }

    /// False without such a partition.
    pub(super) fn change_partition(&mut self, record: &PartitionChangeRecord) -> bool {
        let Some(topic) = self.by_id_mut(record.topic_id) else { return false };
        let Ok(at) = topic.place(record.partition_id) else { return false };
        topic.partitions[at].change(record);
        true
    }

    /// Forgets eligible leaders, of one topic or (no name) of all. False without such a topic.
    pub(super) fn clear_elr(&mut self, name: &str) -> bool {
        let clear = |topic: &mut Topic| {
            for partition in &mut topic.partitions {
                if !partition.elr().is_empty() || !partition.last_known_elr().is_empty() {
                    partition.change_unusual(|it| {
                        it.elr = Brokers::default();
                        it.last_known_elr = Brokers::default();
                    });
                    partition.partition_epoch += 1;
                }
            }
        };
        if name.is_empty() {
            self.by_name.values_mut().for_each(clear);
            return true;
        }
        self.by_name.get_mut(name).map(clear).is_some()
    }

    fn by_id_mut(&mut self, id: Uuid) -> Option<&mut Topic> {
        self.by_name.get_mut(self.names.get(&id)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_small() {
        // With two map entries, a name and one directory id this is below 400 bytes for a topic of one partition.
        assert_eq!(size_of::<Brokers>(), 24);
        assert!(size_of::<Partition>() <= 96, "{}", size_of::<Partition>());
        assert!(size_of::<Topic>() <= 64, "{}", size_of::<Topic>());
    }

    #[test]
    fn long_replica_lists_are_kept_too() {
        for len in 0..8 {
            let ids: Vec<i32> = (10..10 + len).collect();
            assert_eq!(*Brokers::from(&ids[..]), ids[..]);
        }
        assert_eq!(Brokers::one(7), Brokers::from(&[7][..]));
    }
}
