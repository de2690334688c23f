//! What holds of both assignors, whatever comes.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use protocol::ids::Uuid;

use super::super::assignment::Assignment;
use super::{Assignor, Subscriber, TopicSize};

/// A small random number generator: the tests say which seed failed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

struct Member {
    id: String,
    instance: Option<String>,
    topics: Vec<Uuid>,
    has: Assignment,
}

#[derive(Default)]
struct World {
    topics: BTreeMap<Uuid, i32>,
    members: Vec<Member>,
    born: u64,
}

impl World {
    fn change(&mut self, random: &mut Random, alike: bool) {
        let topic = Uuid::from_u64_pair(7, random.below(8));
        match random.below(6) {
            0 => drop(self.topics.insert(topic, 1 + random.below(20) as i32)),
            1 if self.topics.len() > 1 => {
                self.topics.remove(&topic);
                self.members.iter_mut().for_each(|member| member.topics.retain(|it| *it != topic));
            }
            2 if self.members.len() > 1 => {
                self.members.remove(random.below(self.members.len() as u64) as usize);
            }
            3 if !self.members.is_empty() => {
                let at = random.below(self.members.len() as u64) as usize;
                self.members[at].topics = self.some_topics(random);
            }
            _ => {
                self.born += 1;
                let id = format!("{:02}-{}", random.below(100), self.born);
                let instance = (random.below(3) == 0).then(|| format!("i{}", self.born));
                let topics = self.some_topics(random);
                self.members.push(Member { id, instance, topics, has: Assignment::default() });
                self.members.sort_by(|a, b| a.id.cmp(&b.id));
            }
        }
        if alike {
            let all: Vec<Uuid> = self.topics.keys().copied().collect();
            self.members.iter_mut().for_each(|member| member.topics.clone_from(&all));
        }
    }

    fn some_topics(&self, random: &mut Random) -> Vec<Uuid> {
        self.topics.keys().copied().filter(|_| random.below(3) > 0).collect()
    }

    fn assign(&mut self, assignor: Assignor) {
        let topics: Vec<TopicSize> = self.topics.iter().map(|(id, partitions)| (*id, *partitions)).collect();
        let subscriber =
            |it: &'_ Member| -> (String, Option<String>) { (it.id.clone(), it.instance.clone()) };
        let names: Vec<_> = self.members.iter().map(subscriber).collect();
        let subscribers: Vec<Subscriber<'_>> = self
            .members
            .iter()
            .zip(&names)
            .map(|(it, (id, instance))| Subscriber {
                member_id: id,
                instance_id: instance.as_deref(),
                topics: &it.topics,
                has: &it.has,
            })
            .collect();
        let assigned = assignor.assign(&topics, &subscribers);
        assert_eq!(assigned.len(), self.members.len());
        self.members.iter_mut().zip(assigned).for_each(|(member, assigned)| member.has = assigned);
    }

    /// Every partition that somebody is subscribed to has one owner, who is subscribed to it.
    fn check_owners(&self, seed: u64) {
        let mut owned = BTreeSet::new();
        for member in &self.members {
            for (topic, partitions) in member.has.iter() {
                assert!(member.topics.contains(&topic), "seed {seed}");
                for partition in partitions {
                    assert!((0..self.topics[&topic]).contains(partition), "seed {seed}");
                    assert!(owned.insert((topic, *partition)), "seed {seed}: two owners");
                }
            }
        }
        let wanted: BTreeSet<Uuid> = self.members.iter().flat_map(|it| it.topics.iter().copied()).collect();
        let partitions: i32 = wanted.iter().map(|topic| self.topics[topic]).sum();
        assert_eq!(owned.len(), partitions as usize, "seed {seed}: partitions without owner");
    }

    /// No move of one partition would make two members more even.
    fn check_balance(&self, seed: u64) {
        for giver in &self.members {
            for (topic, _) in giver.has.iter() {
                for taker in self.members.iter().filter(|it| it.topics.contains(&topic)) {
                    let (most, least) = (giver.has.partition_count(), taker.has.partition_count());
                    assert!(most <= least + 1, "seed {seed}: {} has {most}, {} {least}", giver.id, taker.id);
                }
            }
        }
    }

    /// Of each topic, no two subscribers differ by more than one.
    fn check_ranges(&self, seed: u64) {
        for topic in self.topics.keys() {
            let subscribers = self.members.iter().filter(|it| it.topics.contains(topic));
            let counts: Vec<usize> = subscribers.map(|it| it.has.of(*topic).len()).collect();
            let (least, most) = (counts.iter().min(), counts.iter().max());
            assert!(least.zip(most).is_none_or(|(least, most)| most - least <= 1), "seed {seed}: {counts:?}");
        }
    }

    fn all(&self) -> Vec<Assignment> {
        self.members.iter().map(|it| it.has.clone()).collect()
    }
}

fn worlds(alike: bool, mut check: impl FnMut(&mut World, u64)) {
    for seed in 0..150 {
        let mut random = Random(seed);
        let mut world = World::default();
        for _ in 0..60 {
            world.change(&mut random, alike);
            check(&mut world, seed);
        }
    }
}

#[test]
fn uniform_gives_every_partition_to_one_and_evenly() {
    for alike in [true, false] {
        worlds(alike, |world, seed| {
            world.assign(Assignor::Uniform);
            world.check_owners(seed);
            world.check_balance(seed);
            let before = world.all();
            world.assign(Assignor::Uniform);
            assert_eq!(world.all(), before, "seed {seed}: moves without need");
        });
    }
}

#[test]
fn range_gives_every_partition_to_one_and_each_topic_evenly() {
    for alike in [true, false] {
        worlds(alike, |world, seed| {
            world.assign(Assignor::Range);
            world.check_owners(seed);
            world.check_ranges(seed);
        });
    }
}

/// With the same subscriptions nobody loses more than what it has above its new share.
#[test]
fn uniform_moves_no_more_than_it_must() {
    worlds(true, |world, seed| {
        let before: BTreeMap<String, Assignment> =
            world.members.iter().map(|it| (it.id.clone(), it.has.clone())).collect();
        let there = world.topics.clone();
        world.assign(Assignor::Uniform);
        for member in &world.members {
            let had = &before[&member.id];
            let still_there = had.iter().flat_map(|(topic, list)| {
                let count = there.get(&topic).copied().unwrap_or(0);
                list.iter().filter(move |it| **it < count).map(move |it| (topic, *it))
            });
            let still_there: Vec<_> = still_there.collect();
            let kept = still_there.iter().filter(|(topic, it)| member.has.contains(*topic, *it)).count();
            let lost = still_there.len() - kept;
            assert!(
                lost == 0 || kept == member.has.partition_count(),
                "seed {seed}: {} lost {lost} and got others",
                member.id
            );
        }
    });
}

/// The measure is counted, not timed: what is timed fails on a busy machine.
#[test]
fn a_large_group_is_shared_out() {
    let topics: Vec<TopicSize> = (0..100).map(|at| (Uuid::from_u64_pair(1, at), 100)).collect();
    let ids: Vec<Uuid> = topics.iter().map(|(id, _)| *id).collect();
    let names: Vec<String> = (0..100).map(|at| format!("m{at:03}")).collect();
    let mut has = vec![Assignment::default(); names.len()];
    for assignor in [Assignor::Uniform, Assignor::Range] {
        for gone in [0, 10] {
            let subscribers: Vec<Subscriber<'_>> = names
                .iter()
                .zip(&has)
                .skip(gone)
                .map(|(member_id, has)| Subscriber { member_id, instance_id: None, topics: &ids, has })
                .collect();
            let assigned = assignor.assign(&topics, &subscribers);
            let total: usize = assigned.iter().map(Assignment::partition_count).sum();
            assert_eq!(total, 10_000);
            has.splice(gone.., assigned);
        }
    }
}
