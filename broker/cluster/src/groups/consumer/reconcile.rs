//! One step of a member from what it has towards what it shall have: first it gives up, then it gets what others gave up.

use std::collections::BTreeSet;
use std::rc::Rc;

use protocol::ids::Uuid;
use protocol::messages::consumer_group_heartbeat_request::TopicPartitions;

use super::member::{Member, Owned, State};
use crate::groups::assignment::Assignment;

/// Where a member is to go and what is known on the way.
pub(super) struct Step<'a> {
    pub(super) target_epoch: i32,
    pub(super) target: &'a Assignment,
    /// The topics that it is subscribed to now. The target may be from before.
    pub(super) subscribed: &'a BTreeSet<Uuid>,
    pub(super) has_subscription_changed: bool,
    /// What it says to have; `None` if it does not say.
    pub(super) owns: Option<&'a [TopicPartitions]>,
    /// Somebody has it, the member itself perhaps.
    pub(super) is_owned: &'a dyn Fn(Uuid, i32) -> bool,
}

/// A member of which nobody knows where it is has to begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost;

impl Step<'_> {
    pub(super) fn of(&self, member: &Member) -> Result<Member, Lost> {
        Ok(match member.state {
            State::Stable if member.epoch != self.target_epoch => self.next(member, member.epoch),
            State::UnrevokedPartitions if !self.still_owns(&member.revoking) => {
                self.next(member, member.epoch)
            }
            State::UnreleasedPartitions => self.next(member, member.epoch),
            State::Stable | State::UnrevokedPartitions if self.has_subscription_changed => {
                self.without_unsubscribed(member)
            }
            State::Stable | State::UnrevokedPartitions => member.clone(),
            State::Unknown if self.owns.is_none_or(|owns| !owns.is_empty()) => return Err(Lost),
            State::Unknown => self.next(member, self.target_epoch),
        })
    }

    /// It says that it has some of these, or does not say.
    fn still_owns(&self, some: &Owned) -> bool {
        let Some(owns) = self.owns else { return true };
        let has_any = |topic: &TopicPartitions| {
            topic.partitions.iter().any(|partition| some.contains(topic.topic_id, *partition))
        };
        owns.iter().any(has_any)
    }

    /// It is not subscribed to some topics any more: it gives them up before there is a new target.
    fn without_unsubscribed(&self, member: &Member) -> Member {
        if member.assigned.topics().all(|(topic, _)| self.subscribed.contains(&topic)) {
            return member.clone();
        }
        let mut assigned = (*member.assigned).clone();
        let unsubscribed = assigned.split_off_topics(|topic| self.subscribed.contains(&topic));
        let mut revoking = (*member.revoking).clone();
        revoking.extend(unsubscribed);
        if self.still_owns(&revoking) {
            moved(member, State::UnrevokedPartitions, member.epoch, assigned, revoking)
        } else {
            Member {
                revoking: member.revoking.clone(),
                ..moved(member, member.state, member.epoch, assigned, Owned::default())
            }
        }
    }

    fn next(&self, member: &Member, epoch_until_then: i32) -> Member {
        let shall_have = |topic: Uuid, partition: i32| {
            self.subscribed.contains(&topic) && self.target.contains(topic, partition)
        };
        let has = || member.assigned.iter();
        let mut assigned: Owned = has().filter(|(topic, it, _)| shall_have(*topic, *it)).collect();
        let revoking: Owned = has().filter(|(topic, it, _)| !shall_have(*topic, *it)).collect();
        if !revoking.is_empty() && self.still_owns(&revoking) {
            return moved(member, State::UnrevokedPartitions, epoch_until_then, assigned, revoking);
        }
        let mut waits = false;
        for (topic, partitions) in self.target.iter().filter(|(topic, _)| self.subscribed.contains(topic)) {
            for &partition in partitions.iter().filter(|it| !member.assigned.contains(topic, **it)) {
                // What it gave up just now is its own.
                if (self.is_owned)(topic, partition) && !member.revoking.contains(topic, partition) {
                    waits = true;
                } else {
                    assigned.insert(topic, partition, self.target_epoch);
                }
            }
        }
        let state = if waits { State::UnreleasedPartitions } else { State::Stable };
        moved(member, state, self.target_epoch, assigned, Owned::default())
    }
}

fn moved(member: &Member, state: State, epoch: i32, assigned: Owned, revoking: Owned) -> Member {
    Member {
        id: member.id.clone(),
        metadata: member.metadata.clone(),
        epoch,
        previous_epoch: member.epoch,
        state,
        assigned: Rc::new(assigned),
        revoking: Rc::new(revoking),
    }
}
