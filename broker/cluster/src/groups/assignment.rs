//! Partitions by topic: what a member shall have.

use protocol::ids::Uuid;

/// Partitions by topic, both ascending; no topic without partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment(Box<[(Uuid, Box<[i32]>)]>);

impl Assignment {
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Uuid, &[i32])> {
        self.0.iter().map(|(topic, partitions)| (*topic, &**partitions))
    }

    /// The partitions of one topic.
    pub fn of(&self, topic: Uuid) -> &[i32] {
        let found = self.0.binary_search_by_key(&topic, |(id, _)| *id);
        found.map_or(&[], |at| &*self.0[at].1)
    }

    pub fn contains(&self, topic: Uuid, partition: i32) -> bool {
        self.of(topic).binary_search(&partition).is_ok()
    }

    /// Partitions of all topics together.
    pub fn partition_count(&self) -> usize {
        self.0.iter().map(|(_, partitions)| partitions.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Uuid, Vec<i32>)> for Assignment {
    /// In any order, and with topics and partitions named more than once.
    fn from_iter<I: IntoIterator<Item = (Uuid, Vec<i32>)>>(parts: I) -> Self {
        let mut topics: Vec<(Uuid, Vec<i32>)> = Vec::new();
        for (topic, mut partitions) in parts {
            match topics.binary_search_by_key(&topic, |(id, _)| *id) {
                Ok(at) => topics[at].1.append(&mut partitions),
                Err(at) => topics.insert(at, (topic, partitions)),
            }
        }
        topics.retain(|(_, partitions)| !partitions.is_empty());
        let sorted = topics.into_iter().map(|(topic, mut partitions)| {
            partitions.sort_unstable();
            partitions.dedup();
            (topic, partitions.into_boxed_slice())
        });
        Self(sorted.collect())
    }
}
