//! Every record accounted for: what was acknowledged and what arrived, number by number.
//!
//! A producer numbers its records by partition without gaps, so that a set of a few ranges says all of what was acknowledged or
//! seen, however many records there were.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use crate::payload::Stamp;

/// A set of sequence numbers, as ranges that neither overlap nor touch.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// From, and the first one after; rising.
    spans: Vec<(u64, u64)>,
}

impl Numbers {
    /// Adds one and says whether it was new.
    #[inline]
    pub(crate) fn insert(&mut self, number: u64) -> bool {
        if let Some(last) = self.spans.last_mut()
            && last.1 == number
        {
            last.1 += 1;
            return true;
        }
        if self.contains(number) {
            return false;
        }
        self.insert_range(number, number + 1);
        true
    }

    /// Adds all from `from` to before `to`.
    pub(crate) fn insert_range(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        match self.spans.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            Some(last) if last.1 > from => self.merge(from, to),
            _ => self.spans.push((from, to)),
        }
    }

    fn merge(&mut self, from: u64, to: u64) {
        let first = self.spans.partition_point(|span| span.1 < from);
        let after = self.spans.partition_point(|span| span.0 <= to);
        let from = self.spans.get(first).map_or(from, |span| span.0.min(from));
        let to = if after > first { self.spans[after - 1].1.max(to) } else { to };
        self.spans.splice(first..after, [(from, to)]);
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        let at = self.spans.partition_point(|span| span.1 <= number);
        self.spans.get(at).is_some_and(|span| span.0 <= number)
    }

    /// The first number after all of the set.
    pub(crate) fn end(&self) -> u64 {
        self.spans.last().map_or(0, |span| span.1)
    }

    pub(crate) fn count(&self) -> u64 {
        self.spans.iter().map(|(from, to)| to - from).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        for (from, to) in &other.spans {
            self.insert_range(*from, *to);
        }
    }

    /// What is in here and not in `other`.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut left = Self::default();
        let mut holes = other.spans.iter().peekable();
        for &(mut from, to) in &self.spans {
            while holes.next_if(|hole| hole.1 <= from).is_some() {}
            let mut ahead = holes.clone();
            while let Some(&(hole_from, hole_to)) = ahead.next_if(|hole| hole.0 < to) {
                left.insert_range(from, hole_from.max(from));
                from = hole_to;
            }
            left.insert_range(from.min(to), to);
        }
        left
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        for (at, (from, to)) in self.spans.iter().take(SHOWN).enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            match to - from {
                1 => write!(f, "{comma}{from}")?,
                _ => write!(f, "{comma}{from}-{}", to - 1)?,
            }
        }
        if self.spans.len() > SHOWN {
            write!(f, " and {} more ranges", self.spans.len() - SHOWN)
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

/// One producer's numbers in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stream {
    pub(crate) slot: u32,
    pub(crate) producer: u32,
}

/// What was acknowledged, by stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acknowledged {
    streams: BTreeMap<Stream, Numbers>,
}

impl Acknowledged {
    pub(crate) fn add(&mut self, stream: Stream, numbers: &Numbers) {
        if !numbers.is_empty() {
            self.streams.entry(stream).or_default().extend(numbers);
        }
    }
}

/// What one consumer saw.
#[derive(Debug)]
pub(crate) struct Ledger {
    run: u32,
    /// Where a stream stands in `seen`. Records come in batches of one stream, so the last place is mostly the next.
    places: HashMap<Stream, usize>,
    last: Option<(Stream, usize)>,
    seen: Vec<Numbers>,
    slots: Vec<SlotCounts>,
    /// Deleted on purpose before they were read: what is missing there is nobody's fault.
    excused: BTreeSet<u32>,
    pub(crate) delivered: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SlotCounts {
    duplicated: u64,
    reordered: u64,
    corrupted: u64,
}

/// What became of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    First,
    Again,
    Corrupted,
}

impl Ledger {
    pub(crate) fn new(run: u32, slots: u32) -> Self {
        let slots = vec![SlotCounts::default(); slots as usize];
        Self {
            run,
            places: HashMap::new(),
            last: None,
            seen: Vec::new(),
            slots,
            excused: BTreeSet::new(),
            delivered: 0,
        }
    }

    /// A value that came out of a slot; None for one that is not what anybody sent.
    #[inline]
    pub(crate) fn deliver(&mut self, slot: u32, stamp: Option<&Stamp>) -> Delivery {
        let counts = &mut self.slots[slot as usize];
        // Kafka: a partition is a log of its own. A record in another one than it was sent to is nobody's.
        let Some(stamp) = stamp.filter(|stamp| stamp.run == self.run && stamp.slot == slot) else {
            counts.corrupted += 1;
            return Delivery::Corrupted;
        };
        let stream = Stream { slot, producer: stamp.producer };
        let place = match self.last {
            Some((last, place)) if last == stream => place,
            _ => {
                let next = self.seen.len();
                let place = *self.places.entry(stream).or_insert(next);
                if place == next {
                    self.seen.push(Numbers::default());
                }
                self.last = Some((stream, place));
                place
            }
        };
        let seen = &mut self.seen[place];
        let is_late = stamp.sequence < seen.end();
        if !seen.insert(stamp.sequence) {
            counts.duplicated += 1;
            return Delivery::Again;
        }
        counts.reordered += u64::from(is_late);
        self.delivered += 1;
        Delivery::First
    }

    /// Records that came in a batch nobody can read.
    pub(crate) fn corrupted(&mut self, slot: u32, records: u64) {
        self.slots[slot as usize].corrupted += records;
    }

    /// Nothing of a slot counts as missing any more.
    pub(crate) fn excuse(&mut self, slot: u32) {
        self.excused.insert(slot);
    }

    pub(crate) fn excused(&self) -> usize {
        self.excused.len()
    }

    /// Takes in what another member of the group saw; returns how many of these records were seen here already.
    fn join(&mut self, other: Self) -> u64 {
        let mut again = 0;
        for (stream, place) in other.places {
            let theirs = &other.seen[place];
            let next = self.seen.len();
            let place = *self.places.entry(stream).or_insert(next);
            if place == next {
                self.seen.push(Numbers::default());
            }
            let ours = &mut self.seen[place];
            let both = ours.count() + theirs.count();
            ours.extend(theirs);
            let twice = both - ours.count();
            self.slots[stream.slot as usize].duplicated += twice;
            again += twice;
        }
        for (ours, theirs) in self.slots.iter_mut().zip(other.slots) {
            ours.duplicated += theirs.duplicated;
            ours.reordered += theirs.reordered;
            ours.corrupted += theirs.corrupted;
        }
        self.excused.extend(other.excused);
        self.delivered += other.delivered - again;
        again
    }

    fn seen(&self, stream: Stream) -> Option<&Numbers> {
        self.places.get(&stream).map(|place| &self.seen[*place])
    }
}

/// One ledger for each consumer that reads everything, and for each group. What several members of a group saw is counted as
/// duplicated, and returned: it was taken for a first delivery by each of them.
pub(crate) fn by_group(ledgers: Vec<(Option<usize>, Ledger)>) -> (Vec<Ledger>, u64) {
    let mut groups: BTreeMap<usize, Ledger> = BTreeMap::new();
    let (mut alone, mut again) = (Vec::new(), 0);
    for (group, ledger) in ledgers {
        match group.map(|group| groups.entry(group)) {
            None => alone.push(ledger),
            Some(Entry::Vacant(place)) => drop(place.insert(ledger)),
            Some(Entry::Occupied(mut first)) => again += first.get_mut().join(ledger),
        }
    }
    alone.extend(groups.into_values());
    (alone, again)
}

/// What was found in one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) corrupted: u64,
    /// Acknowledged and gone, producer and numbers: what those who looked last did not find.
    pub(crate) gone: Vec<(u32, Numbers)>,
}

impl Verdict {
    pub(crate) fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

/// Compares what was acknowledged with what arrived; only slots where something is wrong are in the answer.
///
/// A record is lost once, if any of the ledgers lacks it. A corrupted delivery stands for one of the missing: it did arrive.
/// Duplicates and reorderings are of `consumers`, the others only have to be complete.
pub(crate) fn judge(
    acknowledged: &Acknowledged,
    consumers: &[Ledger],
    others: &[Ledger],
) -> BTreeMap<u32, Verdict> {
    let mut verdicts: BTreeMap<u32, Verdict> = BTreeMap::new();
    let none = Numbers::default();
    for (stream, numbers) in &acknowledged.streams {
        let missing = |ledgers: &[Ledger]| {
            let mut missing = Numbers::default();
            for ledger in ledgers.iter().filter(|ledger| !ledger.excused.contains(&stream.slot)) {
                missing.extend(&numbers.without(ledger.seen(*stream).unwrap_or(&none)));
            }
            missing
        };
        let (mut lost, absent) = (missing(consumers), missing(others));
        let gone = if others.is_empty() { lost.clone() } else { absent.clone() };
        lost.extend(&absent);
        if !lost.is_empty() {
            let verdict = verdicts.entry(stream.slot).or_default();
            verdict.lost += lost.count();
            if !gone.is_empty() {
                verdict.gone.push((stream.producer, gone));
            }
        }
    }
    let slots = consumers.iter().chain(others).map(|ledger| ledger.slots.len()).max().unwrap_or(0);
    for slot in 0..slots {
        let counts = |ledger: &Ledger| ledger.slots[slot];
        let by_consumers =
            consumers.iter().map(counts).fold(SlotCounts::default(), |sum, counts| SlotCounts {
                duplicated: sum.duplicated + counts.duplicated,
                reordered: sum.reordered + counts.reordered,
                corrupted: sum.corrupted + counts.corrupted,
            });
        let by_others = others.iter().map(|ledger| counts(ledger).corrupted).max().unwrap_or(0);
        let once = consumers.iter().map(|ledger| counts(ledger).corrupted).max().unwrap_or(0).max(by_others);
        if by_consumers == SlotCounts::default() && by_others == 0 {
            continue;
        }
        let verdict = verdicts.entry(slot as u32).or_default();
        verdict.duplicated = by_consumers.duplicated;
        verdict.reordered = by_consumers.reordered;
        verdict.corrupted = by_consumers.corrupted.max(by_others);
        verdict.lost = verdict.lost.saturating_sub(once);
    }
    verdicts.retain(|_, verdict| !verdict.is_clean());
    verdicts
}

#[cfg(test)]
#[path = "accounts/tests.rs"]
mod tests;
