use std::collections::BTreeSet;

use super::*;
use crate::random::Random;

const RUN: u32 = 9;

fn stamp(slot: u32, producer: u32, sequence: u64) -> Stamp {
    Stamp { run: RUN, producer, slot, sequence, intended_ns: 0 }
}

fn numbers(all: impl IntoIterator<Item = u64>) -> Numbers {
    let mut numbers = Numbers::default();
    for number in all {
        numbers.insert(number);
    }
    numbers
}

#[test]
fn numbers_are_a_set_whatever_the_order() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let (mut ours, mut model) = (Numbers::default(), BTreeSet::new());
        let (mut other, mut other_model) = (Numbers::default(), BTreeSet::new());
        for _ in 0..60 {
            let (from, len) = (random.below(100), random.below(6));
            match random.below(3) {
                0 => assert_eq!(ours.insert(from), model.insert(from)),
                1 => {
                    ours.insert_range(from, from + len);
                    model.extend(from..from + len);
                }
                _ => {
                    other.insert_range(from, from + len);
                    other_model.extend(from..from + len);
                }
            }
            assert_eq!(ours.count(), model.len() as u64);
            assert_eq!(ours.end(), model.last().map_or(0, |last| last + 1));
            assert!((0..110).all(|number| ours.contains(number) == model.contains(&number)));
            let touching = ours.spans.windows(2).any(|pair| pair[0].1 >= pair[1].0);
            assert!(!touching && ours.spans.iter().all(|span| span.0 < span.1), "{ours:?}");
        }
        assert_eq!(ours.without(&other), numbers(model.difference(&other_model).copied()));
        ours.extend(&other);
        assert_eq!(ours, numbers(model.union(&other_model).copied()));
    }
}

/// What was planted in one run, by slot.
#[derive(Default)]
struct Planted {
    lost: u64,
    duplicated: u64,
    reordered: u64,
    corrupted: u64,
}

/// Sends every stream's records through a log that damages some, and says what it did.
fn damaged(random: &mut Random, ledger: &mut Ledger, slot: u32, acknowledged: &mut Acknowledged) -> Planted {
    let mut planted = Planted::default();
    // Everything that is to be delivered, one stream after the other.
    let mut log: Vec<Option<Stamp>> = Vec::new();
    for producer in 0..3 {
        let count = 200 + random.below(300);
        // Some were never acknowledged and may be missing for free.
        let unacked = numbers((0..random.below(5)).map(|_| random.below(count)));
        let all = numbers(0..count);
        acknowledged.add(Stream { slot, producer }, &all.without(&unacked));
        let mut records: Vec<Option<Stamp>> =
            (0..count).map(|sequence| Some(stamp(slot, producer, sequence))).collect();
        // Two distinct places apart for each kind, so that one damage does not hide another.
        let at = |random: &mut Random, tenth: u64| (count / 10 * tenth + random.below(count / 12)) as usize;
        let lose = at(random, 1);
        if !unacked.contains(lose as u64) {
            planted.lost += 1;
        }
        let corrupt = at(random, 3);
        let swap = at(random, 5);
        let again = at(random, 7);
        records.swap(swap, swap + 1);
        planted.reordered += 1;
        if unacked.contains(corrupt as u64) {
            // One that nobody waits for is only wrong, not missing: left alone here.
        } else {
            records[corrupt] = None;
            planted.corrupted += 1;
        }
        let copy = records[again];
        records.insert(again + 1 + random.below(20) as usize, copy);
        planted.duplicated += 1;
        records.remove(lose);
        log.extend(records);
    }
    for stamp in &log {
        ledger.deliver(slot, stamp.as_ref());
    }
    planted
}

#[test]
fn planted_damage_is_found_record_by_record_for_every_seed() {
    const SLOTS: u32 = 4;
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let mut acknowledged = Acknowledged::default();
        let mut ledger = Ledger::new(RUN, SLOTS);
        let damage: Vec<Planted> =
            (0..SLOTS - 1).map(|slot| damaged(&mut random, &mut ledger, slot, &mut acknowledged)).collect();
        acknowledged.add(Stream { slot: SLOTS - 1, producer: 0 }, &numbers(0..50));
        (0..50).for_each(|sequence| {
            assert_eq!(ledger.deliver(SLOTS - 1, Some(&stamp(SLOTS - 1, 0, sequence))), Delivery::First);
        });
        let verdicts = judge(&acknowledged, &[ledger], &[]);
        assert!(!verdicts.contains_key(&(SLOTS - 1)), "seed {seed}: a sound partition is not mentioned");
        for (slot, planted) in damage.iter().enumerate() {
            let found = &verdicts[&(slot as u32)];
            let pairs = [
                ("lost", planted.lost, found.lost),
                ("duplicated", planted.duplicated, found.duplicated),
                ("reordered", planted.reordered, found.reordered),
                ("corrupted", planted.corrupted, found.corrupted),
            ];
            for (what, planted, found) in pairs {
                assert_eq!(planted, found, "seed {seed}, slot {slot}: {what}");
            }
        }
    }
}

#[test]
fn a_record_is_lost_once_however_many_lack_it() {
    let mut acknowledged = Acknowledged::default();
    acknowledged.add(Stream { slot: 0, producer: 1 }, &numbers(0..10));
    let reads = |missing: &[u64]| {
        let mut ledger = Ledger::new(RUN, 1);
        for sequence in (0..10).filter(|sequence| !missing.contains(sequence)) {
            ledger.deliver(0, Some(&stamp(0, 1, sequence)));
        }
        ledger
    };
    let verdicts = judge(&acknowledged, &[reads(&[3, 4]), reads(&[4])], &[reads(&[9])]);
    assert_eq!(verdicts[&0].lost, 3);
    assert_eq!(verdicts[&0].gone[0].1.to_string(), "9", "the others were merely not delivered");
    assert_eq!(judge(&acknowledged, &[reads(&[3, 4, 9])], &[])[&0].gone[0].1.to_string(), "3-4, 9");
    assert!(judge(&acknowledged, &[reads(&[])], &[reads(&[])]).is_empty());
    assert_eq!(judge(&acknowledged, &[], &[Ledger::new(RUN, 1)])[&0].lost, 10);
}

#[test]
fn strangers_are_corrupted_and_not_delivered() {
    let mut ledger = Ledger::new(RUN, 2);
    let of_another_run = Stamp { run: RUN + 1, ..stamp(0, 0, 0) };
    for stranger in [None, Some(of_another_run), Some(stamp(1, 0, 0))] {
        assert_eq!(ledger.deliver(0, stranger.as_ref()), Delivery::Corrupted);
    }
    assert_eq!(ledger.delivered, 0);
    assert_eq!(judge(&Acknowledged::default(), &[ledger], &[])[&0].corrupted, 3);
}

#[test]
fn what_was_delivered_and_never_acknowledged_is_no_fault() {
    let mut ledger = Ledger::new(RUN, 1);
    (0..5).for_each(|sequence| {
        ledger.deliver(0, Some(&stamp(0, 0, sequence)));
    });
    let mut acknowledged = Acknowledged::default();
    acknowledged.add(Stream { slot: 0, producer: 0 }, &numbers(0..3));
    assert!(judge(&acknowledged, &[ledger], &[]).is_empty());
}

#[test]
fn members_of_a_group_are_one_consumer_and_what_two_of_them_saw_is_duplicated() {
    let (mut first, mut second, alone) = (Ledger::new(RUN, 2), Ledger::new(RUN, 2), Ledger::new(RUN, 2));
    for sequence in 0..60 {
        first.deliver(0, Some(&stamp(0, 0, sequence)));
    }
    for sequence in 50..100 {
        second.deliver(0, Some(&stamp(0, 0, sequence)));
    }
    for sequence in 0..10 {
        second.deliver(1, Some(&stamp(1, 0, sequence)));
    }
    let (ledgers, again) = by_group(vec![(Some(0), first), (None, alone), (Some(0), second)]);
    assert_eq!((ledgers.len(), again), (2, 10));
    let group = &ledgers[1];
    assert_eq!((group.delivered, group.slots[0].duplicated, group.slots[1].duplicated), (110, 10, 0));
    let mut acknowledged = Acknowledged::default();
    let mut sent = Numbers::default();
    sent.insert_range(0, 101);
    acknowledged.add(Stream { slot: 0, producer: 0 }, &sent);
    let verdicts = judge(&acknowledged, &ledgers[1..], &[]);
    assert_eq!((verdicts[&0].lost, verdicts[&0].duplicated), (1, 10));
}
