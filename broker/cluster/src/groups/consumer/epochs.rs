//! The group's epoch: it grows when members come, go or change their minds, and when their topics change.

use std::collections::{BTreeMap, BTreeSet};

use super::member::Member;
use super::{ConsumerGroup, records};
use crate::groups::turn::Turn;

impl ConsumerGroup {
    /// The epoch after a member changed from `old` to `new`. Whether topics changed is looked at once for each image.
    pub(super) fn next_epoch(
        &self,
        is_new_epoch: bool,
        (old, new): (&Member, &Member),
        turn: &mut Turn<'_>,
    ) -> i32 {
        let (offset, epoch) = self.looked_at.get();
        // An epoch that was decided and is not the group's: what was decided then was refused after all.
        if !is_new_epoch && offset == turn.image.offset && epoch <= self.epoch {
            return self.epoch;
        }
        let topics = self.topics_after(old, new);
        let hash = turn.watch.metadata_hash(topics.into_iter(), turn.image);
        let mut epoch = self.epoch;
        if is_new_epoch || hash != self.metadata_hash {
            epoch += 1;
            turn.record(records::epoch(&self.id, epoch, hash));
            turn.tally.consumer_rebalances += 1;
        }
        self.looked_at.set((turn.image.offset, epoch));
        if self.has_partition_metadata {
            turn.record(records::no_partition_metadata(&self.id));
        }
        epoch
    }

    /// All topics that the members are subscribed to once one of them has changed.
    fn topics_after<'a>(&'a self, old: &'a Member, new: &'a Member) -> BTreeSet<&'a str> {
        let mut lost: Vec<&str> = Vec::new();
        if old.topics() != new.topics() {
            lost.extend(old.topics().iter().map(String::as_str));
        }
        if let Some(pattern) = old.pattern().filter(|pattern| new.pattern() != Some(*pattern))
            && self.patterns.get(pattern) == Some(&1)
        {
            lost.extend(self.stood_for(pattern));
        }
        let mut topics = self.topics_without(&lost);
        // A new member's names are not counted before its record is.
        topics.extend(new.topics().iter().map(String::as_str));
        topics
    }

    /// All topics that the members are subscribed to once these have gone, and patterns that only they have.
    pub(super) fn topics_without_members(&self, gone: &[&Member], patterns: &[&str]) -> BTreeSet<&str> {
        let names = gone.iter().flat_map(|member| member.topics().iter().map(String::as_str));
        let lost: Vec<&str> =
            names.chain(patterns.iter().flat_map(|pattern| self.stood_for(pattern))).collect();
        self.topics_without(&lost)
    }

    /// The topics that a pattern stood for when it was last looked up.
    pub(super) fn stood_for<'a>(&'a self, pattern: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let resolved = self.resolved.get(pattern);
        resolved.into_iter().flat_map(|resolved| resolved.topics.iter().map(String::as_str))
    }

    pub(super) fn topics_without(&self, lost: &[&str]) -> BTreeSet<&str> {
        let mut losses: BTreeMap<&str, usize> = BTreeMap::new();
        lost.iter().for_each(|topic| *losses.entry(topic).or_default() += 1);
        let left = self.topics.iter().map(|(topic, count)| (&**topic, *count));
        let left = left.filter(|(topic, count)| losses.get(topic).is_none_or(|lost| lost < count));
        left.map(|(topic, _)| topic).collect()
    }
}
