//! Which brokers get a new partition's replicas.
//!
//! Racks take turns, brokers of a rack take turns, and the order of both is random, so that leaders are spread evenly
//! and two brokers do not share all of their partitions. A fenced broker may follow but not lead.

use crate::metadata::Broker;

/// Brokers of one rack, each kind in its turn.
struct Rack {
    usable: Vec<i32>,
    fenced: Vec<i32>,
}

/// Replicas for `count` partitions, preferred leader first. `Err` says why not, in Kafka's words.
pub(super) fn place<'a>(
    brokers: impl Iterator<Item = &'a Broker>,
    count: usize,
    replication_factor: i16,
    random: u64,
) -> Result<Vec<Vec<i32>>, String> {
    // A broker on its way out gets nothing, nor does one whose directories are all cordoned.
    let candidates: Vec<&Broker> =
        brokers.filter(|it| !it.is_in_controlled_shutdown && it.has_uncordoned_dir()).collect();
    let Some(wanted) = usize::try_from(replication_factor).ok().filter(|&wanted| wanted > 0) else {
        return Err(format!(
            "Invalid replication factor {replication_factor}: the replication factor must be positive."
        ));
    };
    if wanted > candidates.len() {
        return Err(format!(
            "The target replication factor of {replication_factor} cannot be reached because only {} broker(s) are \
             registered or some brokers have all their log directories cordoned.",
            candidates.len()
        ));
    }
    if candidates.iter().all(|broker| broker.is_fenced) {
        return Err(
            "All brokers are currently fenced, or have all their log directories cordoned.".to_owned()
        );
    }
    let mut dice = Dice(random);
    let racks = racks(&candidates, &mut dice);
    let leaders = leaders(&racks);
    Ok((0..count).map(|at| replicas(&racks, &leaders, at, wanted)).collect())
}

fn racks(candidates: &[&Broker], dice: &mut Dice) -> Vec<Rack> {
    let mut names: Vec<Option<&str>> = candidates.iter().map(|broker| broker.rack.as_deref()).collect();
    names.sort_unstable();
    names.dedup();
    dice.shuffle(&mut names);
    let members = |name: Option<&str>, is_fenced: bool, dice: &mut Dice| {
        let here = |it: &&&Broker| it.rack.as_deref() == name && it.is_fenced == is_fenced;
        let mut ids: Vec<i32> = candidates.iter().filter(here).map(|it| it.id).collect();
        dice.shuffle(&mut ids);
        ids
    };
    names
        .into_iter()
        .map(|name| Rack { usable: members(name, false, dice), fenced: members(name, true, dice) })
        .collect()
}

/// Every broker that can lead, with its rack: rack after rack, a broker of each at a time.
fn leaders(racks: &[Rack]) -> Vec<(usize, i32)> {
    let longest = racks.iter().map(|rack| rack.usable.len()).max().unwrap_or(0);
    let turn = |at: usize| {
        racks.iter().enumerate().filter_map(move |(rack, it)| it.usable.get(at).map(|&id| (rack, id)))
    };
    (0..longest).flat_map(turn).collect()
}

/// The replicas of the partition at `at`: its leader, then one broker of each following rack until there are enough.
/// Where a rack's turn of brokers begins moves with every round, so that a leader's followers change.
fn replicas(racks: &[Rack], leaders: &[(usize, i32)], at: usize, wanted: usize) -> Vec<i32> {
    let (home, leader) = leaders[at % leaders.len()];
    let round = at / leaders.len() + at % leaders.len();
    let mut replicas = vec![leader];
    let mut rack = home;
    while replicas.len() < wanted {
        rack = (rack + 1) % racks.len();
        let Rack { usable, fenced } = &racks[rack];
        let in_turn = |ids: &'_ [i32]| {
            (0..ids.len()).map(|i| ids[(round + 1 + i) % ids.len()]).find(|id| !replicas.contains(id))
        };
        if let Some(id) = in_turn(usable).or_else(|| in_turn(fenced)) {
            replicas.push(id);
        }
    }
    replicas
}

/// Random numbers of one seed: splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // The bias is far below what anybody could see with so few brokers.
        (mixed % bound as u64) as usize
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            let with = self.below(last + 1);
            list.swap(last, with);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use protocol::ids::Uuid;

    use super::*;

    fn broker(id: i32, rack: Option<&str>, is_fenced: bool) -> Broker {
        Broker {
            id,
            epoch: 0,
            incarnation_id: Uuid::ZERO,
            endpoints: Vec::new(),
            features: BTreeMap::new(),
            rack: rack.map(str::to_owned),
            is_fenced,
            is_in_controlled_shutdown: false,
            log_dirs: vec![Uuid::ONE],
            cordoned_log_dirs: None,
        }
    }

    fn cluster(racks: &[(Option<&str>, usize)]) -> Vec<Broker> {
        let racks = racks.iter().flat_map(|&(rack, size)| vec![rack; size]);
        racks.enumerate().map(|(id, rack)| broker(id as i32, rack, false)).collect()
    }

    #[test]
    fn replicas_are_distinct_and_spread_over_racks_and_leaders() {
        let shapes: [&[(Option<&str>, usize)]; 5] = [
            &[(None, 1)],
            &[(None, 5)],
            &[(Some("a"), 3), (Some("b"), 3), (Some("c"), 3)],
            &[(Some("a"), 1), (Some("b"), 4)],
            &[(None, 2), (Some("a"), 2)],
        ];
        for (shape, seed) in shapes.iter().flat_map(|shape| (0..20).map(move |seed| (shape, seed))) {
            let brokers = cluster(shape);
            for factor in 1..=brokers.len() {
                let count = brokers.len() * 4;
                let placed = place(brokers.iter(), count, factor as i16, seed).unwrap();
                let mut led = BTreeMap::new();
                for replicas in &placed {
                    assert_eq!(replicas.len(), factor);
                    assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), factor, "{replicas:?}");
                    let rack = |id: &i32| brokers[*id as usize].rack.clone();
                    let racks = replicas.iter().map(rack).collect::<BTreeSet<_>>().len();
                    assert_eq!(racks, factor.min(shape.len()), "{replicas:?}");
                    *led.entry(replicas[0]).or_insert(0) += 1;
                }
                assert!(led.values().all(|&times| times == 4), "{led:?}");
            }
        }
    }

    #[test]
    fn followers_of_a_leader_change() {
        let brokers = cluster(&[(None, 6)]);
        let placed = place(brokers.iter(), 36, 3, 7).unwrap();
        for leader in 0..6 {
            let of: BTreeSet<&Vec<i32>> = placed.iter().filter(|replicas| replicas[0] == leader).collect();
            assert!(of.len() > 1, "{of:?}");
        }
    }

    #[test]
    fn fenced_brokers_follow_but_do_not_lead() {
        let brokers = [broker(1, None, false), broker(2, None, true), broker(3, None, true)];
        for replicas in place(brokers.iter(), 10, 2, 1).unwrap() {
            assert_eq!(replicas[0], 1);
        }
        let fenced = "All brokers are currently fenced, or have all their log directories cordoned.";
        assert_eq!(place(brokers[1..].iter(), 1, 1, 1), Err(fenced.to_owned()));
    }

    #[test]
    fn brokers_that_leave_or_are_cordoned_get_nothing() {
        let mut brokers = cluster(&[(None, 3)]);
        brokers[0].is_in_controlled_shutdown = true;
        brokers[1].cordoned_log_dirs = Some(vec![Uuid::ONE]);
        assert_eq!(place(brokers.iter(), 2, 1, 1), Ok(vec![vec![2], vec![2]]));
        let few = "The target replication factor of 2 cannot be reached because only 1 broker(s) are registered or \
                   some brokers have all their log directories cordoned.";
        assert_eq!(place(brokers.iter(), 2, 2, 1), Err(few.to_owned()));
        let none = "Invalid replication factor 0: the replication factor must be positive.";
        assert_eq!(place(brokers.iter(), 2, 0, 1), Err(none.to_owned()));
    }
}
