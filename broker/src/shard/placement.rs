//! Which core owns a partition: a pure function of its id and the number of cores, so that it is
//! stable while the core count is, and no file or folder names a core.

use protocol::ids::Uuid;

/// A partition by topic id, which unlike its name is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PartitionId {
    pub(crate) topic: Uuid,
    pub(crate) index: i32,
}

/// Neighbouring partitions of a topic live on neighbouring cores: an even spread within each topic,
/// and by the topic's random id an even spread of one-partition topics.
pub(crate) fn owner(id: PartitionId, cores: usize) -> usize {
    let start =
        id.topic.0.iter().fold(0u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    ((start.wrapping_add(id.index.unsigned_abs().into())) % cores as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_a_topic_spread_evenly() {
        let mut counts = [0; 4];
        for index in 0..64 {
            counts[owner(PartitionId { topic: Uuid([7; 16]), index }, 4)] += 1;
        }
        assert_eq!(counts, [16; 4]);
    }
}
