//! Kafka's range assignor: of each topic, every member gets a row of neighbouring partitions.

use crate::client::admin::TopicSet;

/// The slots of each of so many members, in the order of their ids. All are subscribed to all topics.
pub(super) fn assign(topics: &TopicSet, members: usize) -> Vec<Vec<u32>> {
    let mut assigned = vec![Vec::new(); members];
    let (each, more) = (topics.partitions as usize / members, topics.partitions as usize % members);
    for first in (0..topics.slots()).step_by(topics.partitions as usize) {
        let mut next = first;
        for (at, slots) in assigned.iter_mut().enumerate() {
            let count = (each + usize::from(at < more)) as u32;
            slots.extend(next..next + count);
            next += count;
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_members_have_one_more_where_it_does_not_come_out_even() {
        let topics = TopicSet { names: vec!["one".into(), "two".into()], partitions: 5 };
        assert_eq!(assign(&topics, 2), [vec![0, 1, 2, 5, 6, 7], vec![3, 4, 8, 9]]);
        assert_eq!(assign(&topics, 1), [(0..10).collect::<Vec<_>>()]);
        let seven = assign(&topics, 7);
        assert_eq!(seven[4], [4, 9]);
        assert_eq!((&seven[5], &seven[6]), (&vec![], &vec![]));
    }
}
