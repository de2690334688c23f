//! Subscriptions differ: first what is nobody's goes to whoever has least, topics with the fewest subscribers first; then
//! partitions move from who has most to who has least, topic by topic, until that helps no more.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::super::super::assignment::Assignment;
use super::super::{Subscriber, TopicSize, places};
use super::Kept;

/// With subscriptions that overlap in many ways the last moves could take for ever. Each round about halves what is left.
const ROUNDS_MAX: usize = 16;

pub(super) fn assign(topics: &[TopicSize], subscribers: &[Subscriber<'_>]) -> Vec<Assignment> {
    let mut kept = Kept::new(topics);
    let mut mix = Mix::new(topics, subscribers);
    for (at, subscriber) in (0u32..).zip(subscribers) {
        for (place, partition) in kept.keep(at, subscriber) {
            mix.give(place, at, partition);
        }
    }
    let mut free: Vec<Vec<i32>> = vec![Vec::new(); topics.len()];
    kept.free().into_iter().for_each(|(place, partition)| free[place].push(partition));
    let order = mix.order();
    for &place in &order {
        mix.hand_out(place, &free[place]);
    }
    mix.balance(&order);
    mix.into_assignments()
}

struct Mix<'a> {
    topics: &'a [TopicSize],
    /// By topic: its subscribers, ascending, each with its partitions of the topic; what came last is given away first.
    shares: Vec<Vec<(u32, Vec<i32>)>>,
    /// How much each subscriber has, of all topics.
    loads: Vec<usize>,
}

impl<'a> Mix<'a> {
    fn new(topics: &'a [TopicSize], subscribers: &[Subscriber<'_>]) -> Self {
        let mut shares = vec![Vec::new(); topics.len()];
        for (at, subscriber) in (0..).zip(subscribers) {
            places(topics, subscriber.topics).for_each(|place| shares[place].push((at, Vec::new())));
        }
        Self { topics, shares, loads: vec![0; subscribers.len()] }
    }

    /// Topics with many partitions for each subscriber first: they leave the least choice.
    fn order(&self) -> Vec<usize> {
        let wanted = |place: &usize| !self.shares[*place].is_empty();
        let mut order: Vec<usize> = (0..self.topics.len()).filter(wanted).collect();
        order.sort_by(|&a, &b| {
            let (of_a, of_b) = (self.shares[a].len(), self.shares[b].len());
            let per_subscriber =
                |place: usize, others: usize| i64::from(self.topics[place].1) * others as i64;
            match per_subscriber(b, of_a).cmp(&per_subscriber(a, of_b)) {
                Ordering::Equal => of_a.cmp(&of_b),
                unequal => unequal,
            }
        });
        order
    }

    fn give(&mut self, place: usize, subscriber: u32, partition: i32) {
        let at = self.share_of(place, subscriber);
        self.shares[place][at].1.push(partition);
        self.loads[subscriber as usize] += 1;
    }

    fn take(&mut self, place: usize, subscriber: u32) -> i32 {
        let at = self.share_of(place, subscriber);
        self.loads[subscriber as usize] -= 1;
        self.shares[place][at].1.pop().expect("who is asked has some")
    }

    fn share_of(&self, place: usize, subscriber: u32) -> usize {
        let found = self.shares[place].binary_search_by_key(&subscriber, |(at, _)| *at);
        found.expect("nobody has partitions of a topic that it is not subscribed to")
    }

    fn hand_out(&mut self, place: usize, free: &[i32]) {
        let mut least = self.by_load(place, |_| true);
        for &partition in free {
            let (load, subscriber) = least.pop_first().expect("the topic has subscribers");
            self.give(place, subscriber, partition);
            least.insert((load + 1, subscriber));
        }
    }

    fn balance(&mut self, order: &[usize]) {
        // A whole round without a move, counted from the last topic that moved anything, is the end.
        let mut still = 0;
        for &place in order.iter().cycle().take(order.len() * ROUNDS_MAX) {
            let moved = self.balance_topic(place);
            still = if moved { 0 } else { still + 1 };
            if still == order.len() {
                return;
            }
        }
    }

    /// True if anything moved.
    fn balance_topic(&mut self, place: usize) -> bool {
        let mut takers = self.by_load(place, |_| true);
        let mut givers = self.by_load(place, |partitions| !partitions.is_empty());
        let mut moved = false;
        while let (Some(&(least, taker)), Some(&(most, giver))) = (takers.first(), givers.last()) {
            if most <= least + 1 {
                break;
            }
            let partition = self.take(place, giver);
            self.give(place, taker, partition);
            takers.remove(&(least, taker));
            takers.remove(&(most, giver));
            givers.remove(&(most, giver));
            givers.remove(&(least, taker));
            takers.extend([(least + 1, taker), (most - 1, giver)]);
            givers.insert((least + 1, taker));
            if !self.shares[place][self.share_of(place, giver)].1.is_empty() {
                givers.insert((most - 1, giver));
            }
            moved = true;
        }
        moved
    }

    fn by_load(&self, place: usize, wanted: impl Fn(&[i32]) -> bool) -> BTreeSet<(usize, u32)> {
        let shares = self.shares[place].iter().filter(|(_, partitions)| wanted(partitions));
        shares.map(|(at, _)| (self.loads[*at as usize], *at)).collect()
    }

    fn into_assignments(self) -> Vec<Assignment> {
        let mut parts = vec![Vec::new(); self.loads.len()];
        for ((topic, _), shares) in self.topics.iter().zip(self.shares) {
            for (at, partitions) in shares {
                parts[at as usize].push((*topic, partitions));
            }
        }
        parts.into_iter().map(Assignment::from_iter).collect()
    }
}
