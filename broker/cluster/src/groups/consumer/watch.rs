//! What is in no log of the consumer groups: for whom they wait how long, and what they looked up.

use std::collections::{BTreeMap, BTreeSet};

use crate::groups::timers::{Alarm, Timer, Timers, Uptime};
use crate::groups::turn::Name;
use crate::machine::Timestamp;
use crate::metadata::Image;

/// What a member has to do before its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::groups) enum Wait {
    /// To be heard of.
    Session,
    /// To give up what it shall not have any more.
    Revoke,
    /// Of the classic protocol: to join again.
    Join,
    /// Of the classic protocol: to ask for its assignment.
    Sync,
}

#[derive(Debug, Default)]
pub(in crate::groups) struct Watch {
    members: BTreeMap<Name, BTreeMap<Name, Alarms>>,
    /// Groups whose patterns are about to be looked up.
    resolving: BTreeSet<Name>,
    topics: TopicsSeen,
    hashes: Hashes,
}

#[derive(Debug, Default)]
struct Alarms {
    session: Alarm,
    revoke: Alarm,
    /// The epoch in which it has to give something up.
    revoke_epoch: i32,
    heard: Option<Timestamp>,
    /// Few have these.
    classic: Option<Box<(Alarm, Alarm)>>,
}

/// Which topics there were when last looked at, in one number.
#[derive(Debug, Default)]
struct TopicsSeen {
    at: Option<i64>,
    sum: u128,
    /// As of which image there was another set of topics.
    changed: i64,
}

/// Topics' hashes, as of one image.
#[derive(Debug, Default)]
struct Hashes {
    at: Option<i64>,
    of: BTreeMap<Box<str>, u64>,
}

impl Watch {
    pub(super) fn set(
        &mut self,
        (group, member): (&Name, &Name),
        wait: Wait,
        due: Uptime,
        timers: &mut Timers,
    ) {
        let timer = || Timer::Member { group: group.clone(), member: member.clone(), wait };
        self.alarms(group, member).of(wait).set(due, timers, timer);
    }

    pub(super) fn set_if_absent(
        &mut self,
        (group, member): (&Name, &Name),
        wait: Wait,
        due: Uptime,
        timers: &mut Timers,
    ) {
        if self.alarms(group, member).of(wait).due().is_none() {
            self.set((group, member), wait, due, timers);
        }
    }

    /// The member is heard of. When it was before, if that was since the groups were read.
    pub(super) fn heard(&mut self, group: &Name, member: &Name, wall: Timestamp) -> Option<Timestamp> {
        self.alarms(group, member).heard.replace(wall)
    }

    pub(super) fn set_revoke_epoch(&mut self, group: &Name, member: &Name, epoch: i32) {
        self.alarms(group, member).revoke_epoch = epoch;
    }

    pub(super) fn stop(&mut self, group: &str, member: &str, wait: Wait) {
        let alarms = self.members.get_mut(group).and_then(|members| members.get_mut(member));
        if let Some(alarms) = alarms {
            alarms.of(wait).stop();
        }
    }

    pub(super) fn forget(&mut self, group: &str, member: &str) {
        if let Some(members) = self.members.get_mut(group) {
            members.remove(member);
            if members.is_empty() {
                self.members.remove(group);
            }
        }
    }

    pub(in crate::groups) fn forget_group(&mut self, group: &str) {
        self.members.remove(group);
    }

    /// Whether the time is over for which a timer of `at` was set; if it had to do with an epoch, with that.
    pub(super) fn rings(
        &mut self,
        (group, member): (&Name, &Name),
        wait: Wait,
        (at, now): (Uptime, Uptime),
        timers: &mut Timers,
    ) -> Option<i32> {
        let alarms = self.members.get_mut(group)?.get_mut(member)?;
        let epoch = alarms.revoke_epoch;
        let timer = Timer::Member { group: group.clone(), member: member.clone(), wait };
        alarms.of(wait).rings(at, now, timers, timer).then_some(epoch)
    }

    /// False if that was already planned.
    pub(super) fn plan_resolving(&mut self, group: &Name) -> bool {
        self.resolving.insert(group.clone())
    }

    pub(super) fn is_resolving(&self, group: &str) -> bool {
        self.resolving.contains(group)
    }

    pub(super) fn resolves(&mut self, group: &str) {
        self.resolving.remove(group);
    }

    /// As of which image there are the topics that there are now.
    pub(super) fn topics_changed(&mut self, image: &Image) -> i64 {
        let seen = &mut self.topics;
        if seen.at != Some(image.offset) {
            let ids = image.topics.iter().map(|topic| u128::from_be_bytes(topic.id.0));
            let sum = ids.fold(0, u128::wrapping_add);
            if seen.at.is_none() || seen.sum != sum {
                (seen.sum, seen.changed) = (sum, image.offset);
            }
            seen.at = Some(image.offset);
        }
        seen.changed
    }

    /// See [`metadata_hash`](crate::groups::metadata_hash).
    pub(super) fn metadata_hash<'a>(&mut self, topics: impl Iterator<Item = &'a str>, image: &Image) -> i64 {
        let hashes = &mut self.hashes;
        if hashes.at != Some(image.offset) {
            hashes.of.clear();
            hashes.at = Some(image.offset);
        }
        let of_topics = topics.filter_map(|name| {
            if let Some(hash) = hashes.of.get(name) {
                return Some(*hash);
            }
            let hash = crate::groups::metadata_hash::of_topic(image.topics.by_name(name)?, &image.brokers);
            hashes.of.insert(name.into(), hash);
            Some(hash)
        });
        crate::groups::metadata_hash::of_hashes(of_topics) as i64
    }

    fn alarms(&mut self, group: &Name, member: &Name) -> &mut Alarms {
        if !self.members.contains_key(group) {
            self.members.insert(group.clone(), BTreeMap::new());
        }
        let members = self.members.get_mut(group).expect("it was put there");
        if !members.contains_key(member) {
            members.insert(member.clone(), Alarms::default());
        }
        members.get_mut(member).expect("it was put there")
    }
}

impl Alarms {
    fn of(&mut self, wait: Wait) -> &mut Alarm {
        match wait {
            Wait::Session => &mut self.session,
            Wait::Revoke => &mut self.revoke,
            Wait::Join => &mut self.classic.get_or_insert_default().0,
            Wait::Sync => &mut self.classic.get_or_insert_default().1,
        }
    }
}
