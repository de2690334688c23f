//! `range`: a range of each topic for each of its subscribers. It remembers nothing: who has which place depends on names
//! alone, and those of static members outlive a restart.

use super::super::assignment::Assignment;
use super::{Subscriber, TopicSize, places};

/// How far a topic is shared out.
#[derive(Clone, Copy, Default)]
struct Share {
    subscribers: i32,
    /// Subscribers that get one partition more than the others, as far as they did not come by yet.
    longer: i32,
    next: i32,
}

pub(super) fn assign(topics: &[TopicSize], subscribers: &[Subscriber<'_>]) -> Vec<Assignment> {
    let mut shares = vec![Share::default(); topics.len()];
    for subscriber in subscribers {
        places(topics, subscriber.topics).for_each(|at| shares[at].subscribers += 1);
    }
    for (share, (_, partitions)) in shares.iter_mut().zip(topics) {
        if share.subscribers > 0 {
            share.longer = partitions % share.subscribers;
        }
    }
    let mut assigned = vec![Assignment::default(); subscribers.len()];
    for at in in_turn(subscribers) {
        let range = |place: usize| {
            let ((topic, partitions), share) = (topics[place], &mut shares[place]);
            let from = share.next;
            share.next += partitions / share.subscribers + i32::from(share.longer > 0);
            share.longer -= i32::from(share.longer > 0);
            (topic, (from..share.next).collect())
        };
        assigned[at] = places(topics, subscribers[at].topics).map(range).collect();
    }
    assigned
}

/// Static members first, by instance, then the others by member id.
fn in_turn(subscribers: &[Subscriber<'_>]) -> Vec<usize> {
    let mut turn: Vec<usize> = (0..subscribers.len()).collect();
    turn.sort_unstable_by_key(|&at| {
        let Subscriber { member_id, instance_id, .. } = subscribers[at];
        (instance_id.is_none(), instance_id.unwrap_or(member_id))
    });
    turn
}

#[cfg(test)]
mod tests {
    use protocol::ids::Uuid;

    use super::*;

    #[test]
    fn static_members_come_first_and_topics_of_one_size_are_cut_alike() {
        let (t, u) = (Uuid::from_u64_pair(0, 1), Uuid::from_u64_pair(0, 2));
        let (all, has) = ([t, u], Assignment::default());
        let one = |member_id, instance_id| Subscriber { member_id, instance_id, topics: &all, has: &has };
        let members = [one("a", None), one("c", Some("2")), one("b", Some("3"))];
        let assigned = assign(&[(t, 4), (u, 4)], &members);
        let expected = [[3].as_slice(), &[0, 1], &[2]];
        for (assigned, expected) in assigned.iter().zip(expected) {
            assert_eq!((assigned.of(t), assigned.of(u)), (expected, expected));
        }
    }

    #[test]
    fn more_members_than_partitions_leave_the_last_without() {
        let t = Uuid::from_u64_pair(0, 1);
        let (all, has) = ([t], Assignment::default());
        let one = |member_id| Subscriber { member_id, instance_id: None, topics: &all, has: &has };
        let assigned = assign(&[(t, 2)], &[one("a"), one("b"), one("c")]);
        assert_eq!(assigned.iter().map(Assignment::partition_count).collect::<Vec<_>>(), [1, 1, 0]);
    }
}
