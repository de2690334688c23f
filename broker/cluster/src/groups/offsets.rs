//! What a group has committed. Most offsets have no metadata and all of a topic's have the topic's one id, so that an offset
//! takes 32 bytes.

pub(super) mod commit;
pub(super) mod delete;
pub(super) mod fetch;
mod pending;

use std::collections::BTreeMap;

use protocol::ids::Uuid;
use protocol::messages::OffsetCommitValue;

/// The offsets of one group.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Offsets {
    topics: BTreeMap<Box<str>, TopicOffsets>,
    count: usize,
    pending: Option<Box<pending::Pending>>,
}

#[derive(Debug, PartialEq)]
struct TopicOffsets {
    id: Uuid,
    /// In the order of partitions.
    partitions: Vec<Committed>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Committed {
    partition: i32,
    leader_epoch: i32,
    offset: i64,
    commit_timestamp: i64,
    unusual: Option<Box<Unusual>>,
}

/// What few offsets have.
#[derive(Debug, PartialEq)]
struct Unusual {
    metadata: Box<str>,
    /// -1: by the group's rules
    expire_timestamp: i64,
    /// Differs from the topic's where the topic was made anew under its old name.
    topic_id: Uuid,
}

/// One offset as it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct OffsetView<'a> {
    topic: &'a TopicOffsets,
    committed: &'a Committed,
}

impl<'a> OffsetView<'a> {
    pub(super) fn partition(self) -> i32 {
        self.committed.partition
    }

    pub(super) fn offset(self) -> i64 {
        self.committed.offset
    }

    pub(super) fn leader_epoch(self) -> i32 {
        self.committed.leader_epoch
    }

    pub(super) fn commit_timestamp(self) -> i64 {
        self.committed.commit_timestamp
    }

    pub(super) fn metadata(self) -> &'a str {
        self.committed.unusual.as_ref().map_or("", |it| &it.metadata)
    }

    pub(super) fn expire_timestamp(self) -> Option<i64> {
        self.committed.unusual.as_ref().map(|it| it.expire_timestamp).filter(|&at| at >= 0)
    }

    /// Zero if whoever committed it knew none.
    pub(super) fn topic_id(self) -> Uuid {
        self.committed.unusual.as_ref().map_or(self.topic.id, |it| it.topic_id)
    }
}

impl Offsets {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn get(&self, topic: &str, partition: i32) -> Option<OffsetView<'_>> {
        let topic = self.topics.get(topic)?;
        let at = topic.find(partition).ok()?;
        Some(OffsetView { topic, committed: &topic.partitions[at] })
    }

    pub(super) fn of(&self, topic: &str) -> impl Iterator<Item = OffsetView<'_>> {
        self.topics.get(topic).into_iter().flat_map(TopicOffsets::iter)
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(|name| &**name)
    }

    /// In bytes.
    pub(super) fn longest_name(&self) -> usize {
        self.topics().map(str::len).max().unwrap_or(0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, OffsetView<'_>)> {
        self.topics.iter().flat_map(|(name, topic)| topic.iter().map(move |offset| (&**name, offset)))
    }

    /// Those of each topic backwards: so they are removed the fastest.
    pub(super) fn iter_back(&self) -> impl Iterator<Item = (&str, OffsetView<'_>)> {
        self.topics
            .iter()
            .flat_map(move |(name, topic)| topic.iter().rev().map(move |offset| (&**name, offset)))
    }

    pub(super) fn set(&mut self, topic: &str, partition: i32, value: &OffsetCommitValue) {
        self.overtake(topic, partition);
        if !self.topics.contains_key(topic) {
            let fresh = TopicOffsets { id: value.topic_id, partitions: Vec::new() };
            self.topics.insert(topic.into(), fresh);
        }
        let topic = self.topics.get_mut(topic).expect("it was put there");
        let committed = topic.committed(partition, value);
        match topic.find(partition) {
            Ok(at) => topic.partitions[at] = committed,
            Err(at) => {
                topic.partitions.insert(at, committed);
                self.count += 1;
            }
        }
    }

    pub(super) fn remove(&mut self, name: &str, partition: i32) {
        self.forget_pending(name, partition);
        let Some(topic) = self.topics.get_mut(name) else { return };
        if let Ok(at) = topic.find(partition) {
            topic.partitions.remove(at);
            self.count -= 1;
            if topic.partitions.is_empty() {
                self.topics.remove(name);
            }
        }
    }
}

impl TopicOffsets {
    fn find(&self, partition: i32) -> Result<usize, usize> {
        // Whole topics are read back in order.
        if self.partitions.last().is_none_or(|last| last.partition < partition) {
            return Err(self.partitions.len());
        }
        self.partitions.binary_search_by_key(&partition, |committed| committed.partition)
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = OffsetView<'_>> {
        self.partitions.iter().map(move |committed| OffsetView { topic: self, committed })
    }

    fn committed(&self, partition: i32, value: &OffsetCommitValue) -> Committed {
        let expires = value.expire_timestamp >= 0;
        let usual = value.metadata.is_empty() && !expires && value.topic_id == self.id;
        let unusual = || {
            Box::new(Unusual {
                metadata: value.metadata.as_str().into(),
                expire_timestamp: value.expire_timestamp.max(-1),
                topic_id: value.topic_id,
            })
        };
        Committed {
            partition,
            leader_epoch: value.leader_epoch,
            offset: value.offset,
            commit_timestamp: value.commit_timestamp,
            unusual: (!usual).then(unusual),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(offset: i64, metadata: &str, topic_id: u64) -> OffsetCommitValue {
        OffsetCommitValue {
            offset,
            metadata: metadata.into(),
            commit_timestamp: 1,
            topic_id: Uuid::from_u64_pair(0, topic_id),
            ..Default::default()
        }
    }

    #[test]
    fn an_ordinary_offset_is_small() {
        assert_eq!(size_of::<Committed>(), 32);
    }

    #[test]
    fn offsets_keep_what_was_said_of_them() {
        let mut offsets = Offsets::default();
        for (partition, metadata, id) in [(2, "", 7), (0, "m", 7), (1, "", 8), (3, "", 7), (0, "n", 9)] {
            offsets.set("t", partition, &value(10 + i64::from(partition), metadata, id));
        }
        offsets.set("a", 5, &value(1, "", 0));
        let found: Vec<(&str, i32, i64, &str, Uuid)> = offsets
            .iter()
            .map(|(name, it)| (name, it.partition(), it.offset(), it.metadata(), it.topic_id()))
            .collect();
        let id = |id| Uuid::from_u64_pair(0, id);
        let expected = [
            ("a", 5, 1, "", id(0)),
            ("t", 0, 10, "n", id(9)),
            ("t", 1, 11, "", id(8)),
            ("t", 2, 12, "", id(7)),
            ("t", 3, 13, "", id(7)),
        ];
        assert_eq!(found, expected);
        assert_eq!(offsets.len(), 5);
        for partition in [9, 0, 1, 2, 3] {
            offsets.remove("t", partition);
        }
        assert_eq!(offsets.topics().collect::<Vec<_>>(), ["a"]);
        assert_eq!(offsets.len(), 1);
    }
}
