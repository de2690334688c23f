//! `uniform`: everybody has the same number of partitions, as far as subscriptions allow; and as much of what they had as
//! that allows.

mod mixed;

use protocol::ids::Uuid;

use super::super::assignment::Assignment;
use super::{Subscriber, TopicSize, places};

pub(super) fn assign(topics: &[TopicSize], subscribers: &[Subscriber<'_>]) -> Vec<Assignment> {
    let Some((first, others)) = subscribers.split_first() else { return Vec::new() };
    if others.iter().all(|other| other.topics == first.topics) {
        let subscribed: Vec<TopicSize> = places(topics, first.topics).map(|place| topics[place]).collect();
        alike(&subscribed, subscribers)
    } else {
        mixed::assign(topics, subscribers)
    }
}

/// All are subscribed to the same.
fn alike(topics: &[TopicSize], subscribers: &[Subscriber<'_>]) -> Vec<Assignment> {
    let mut kept = Kept::new(topics);
    let mut shares: Vec<Vec<(usize, i32)>> =
        (0..).zip(subscribers).map(|(at, it)| kept.keep(at, it)).collect();
    let total: usize = kept.owners.iter().map(Vec::len).sum();
    let (least, mut longer) = (total / subscribers.len(), total % subscribers.len());
    let mut free = kept.free();
    // Who had more than the least goes on having one more, as long as there are such places.
    let mut quotas = vec![least; shares.len()];
    for (quota, share) in quotas.iter_mut().zip(&mut shares) {
        if share.len() > least && longer > 0 {
            *quota += 1;
            longer -= 1;
        }
        free.extend(share.drain((*quota).min(share.len())..));
    }
    let rest = quotas.iter_mut().rev().filter(|quota| **quota == least);
    rest.take(longer).for_each(|quota| *quota += 1);
    let mut free = free.into_iter();
    for (quota, share) in quotas.iter().zip(&mut shares) {
        share.extend(free.by_ref().take(quota - share.len()));
    }
    debug_assert!(free.next().is_none(), "the quotas add up to all partitions");
    shares.into_iter().map(|share| assignment(topics, share)).collect()
}

const NOBODY: u32 = u32::MAX;

/// Whose each partition is, by the place of its topic.
struct Kept<'a> {
    topics: &'a [TopicSize],
    owners: Vec<Vec<u32>>,
}

impl<'a> Kept<'a> {
    fn new(topics: &'a [TopicSize]) -> Self {
        let nobody = |(_, partitions): &TopicSize| vec![NOBODY; usize::try_from(*partitions).unwrap_or(0)];
        Self { topics, owners: topics.iter().map(nobody).collect() }
    }

    /// What a subscriber can go on having: what still is there, that it is subscribed to, and that nobody has.
    fn keep(&mut self, owner: u32, subscriber: &Subscriber<'_>) -> Vec<(usize, i32)> {
        let mut share = Vec::with_capacity(subscriber.has.partition_count());
        for (topic, partitions) in subscriber.has.iter() {
            if subscriber.topics.binary_search(&topic).is_err() {
                continue;
            }
            let Ok(place) = self.topics.binary_search_by_key(&topic, |(id, _)| *id) else { continue };
            for &partition in partitions {
                let slot = usize::try_from(partition).ok().and_then(|at| self.owners[place].get_mut(at));
                if let Some(slot) = slot.filter(|slot| **slot == NOBODY) {
                    *slot = owner;
                    share.push((place, partition));
                }
            }
        }
        share
    }

    /// What is nobody's.
    fn free(&self) -> Vec<(usize, i32)> {
        let topics = self.owners.iter().enumerate();
        let free = topics.flat_map(|(place, owners)| {
            let partitions = (0..).zip(owners).filter(|(_, owner)| **owner == NOBODY);
            partitions.map(move |(partition, _)| (place, partition))
        });
        free.collect()
    }
}

fn assignment(topics: &[TopicSize], mut share: Vec<(usize, i32)>) -> Assignment {
    share.sort_unstable();
    let of_topic = |part: &[(usize, i32)]| -> (Uuid, Vec<i32>) {
        (topics[part[0].0].0, part.iter().map(|(_, partition)| *partition).collect())
    };
    share.chunk_by(|a, b| a.0 == b.0).map(of_topic).collect()
}
