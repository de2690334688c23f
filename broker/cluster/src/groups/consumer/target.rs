//! What the members shall have, as of an epoch of the group.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use protocol::ids::Uuid;

use super::member::Member;
use super::{ConsumerGroup, records};
use crate::groups::assignment::Assignment;
use crate::groups::assignor::{Assignor, Subscriber, TopicSize};
use crate::groups::settings::GroupSettings;
use crate::groups::turn::Turn;
use crate::metadata::{Image, Topics};

impl ConsumerGroup {
    /// As of which epoch there is a target, and what `member`, as it is now, shall have. The target follows the group's
    /// epoch, though not at once: members that come together share one.
    pub(super) fn next_target(
        &self,
        epoch: i32,
        member: &Member,
        turn: &mut Turn<'_>,
    ) -> (i32, Cow<'_, Assignment>) {
        let made = self.target.timestamp;
        // Not after all, if the clock was set back meanwhile.
        let is_soon = |interval_ms| (made..made.saturating_add(interval_ms)).contains(&turn.wall.0);
        let interval_ms = || turn.settings.assignment_interval_ms(&self.id, turn.image).into();
        if self.target.epoch >= epoch || (made != 0 && is_soon(interval_ms())) {
            return (self.target.epoch, self.target_of(member).map_or_else(Cow::default, Cow::Borrowed));
        }
        let members = self.members_with(member);
        let assignor = preferred_assignor(&members, turn.settings);
        let assignments = self.assign(assignor, &members, turn.image);
        let mut of_member = Assignment::default();
        for (other, assignment) in members.iter().zip(assignments) {
            if self.target.members.get(&other.id) != Some(&assignment) {
                turn.record(records::target(&self.id, &other.id, &assignment));
            }
            if other.id == member.id {
                of_member = assignment;
            }
        }
        turn.record(records::target_epoch(&self.id, epoch, turn.wall.0));
        (epoch, Cow::Owned(of_member))
    }

    /// The members once `member` is as it is now; it may be new, or take the place of another.
    fn members_with<'a>(&'a self, member: &'a Member) -> Vec<&'a Member> {
        let replaced = member.instance().and_then(|instance| self.instances.get(instance));
        let others = self.members.values().filter(|it| it.id != member.id && Some(&it.id) != replaced);
        let mut members: Vec<&Member> = others.collect();
        let at = members.partition_point(|it| it.id < member.id);
        members.insert(at, member);
        members
    }

    fn assign(&self, assignor: Assignor, members: &[&Member], image: &Image) -> Vec<Assignment> {
        let mut subscriptions = Subscriptions { group: self, topics: &image.topics, known: BTreeMap::new() };
        let subscribed: Vec<Rc<[Uuid]>> = members.iter().map(|it| subscriptions.of(it)).collect();
        let nothing = Assignment::default();
        let subscriber =
            |(member, topics): (&&'_ Member, &'_ Rc<[Uuid]>)| (member.id.clone(), topics.clone());
        let named: Vec<_> = members.iter().zip(&subscribed).map(subscriber).collect();
        let subscribers = named.iter().zip(members).map(|((id, topics), member)| Subscriber {
            member_id: id,
            instance_id: member.instance(),
            topics,
            // A static member that is back shall have what its instance shall have.
            has: self.target_of(member).unwrap_or(&nothing),
        });
        let all: BTreeSet<Uuid> =
            subscriptions.known.values().flat_map(|topics| topics.iter().copied()).collect();
        let size = |id: Uuid| -> TopicSize {
            let count = image.topics.by_id(id).map_or(0, |topic| topic.partitions().len());
            (id, i32::try_from(count).unwrap_or(i32::MAX))
        };
        let topics: Vec<TopicSize> = all.into_iter().map(size).collect();
        assignor.assign(&topics, &subscribers.collect::<Vec<_>>())
    }

    /// The topics that a member is subscribed to and that exist.
    pub(super) fn subscribed_topics(&self, member: &Member, topics: &Topics) -> BTreeSet<Uuid> {
        let names = member.topics().iter().map(String::as_str);
        let matched = member.pattern().into_iter().flat_map(|pattern| self.stood_for(pattern));
        names.chain(matched).filter_map(|name| topics.by_name(name)).map(|topic| topic.id).collect()
    }
}

/// Names and a pattern.
type Wish<'a> = (&'a [String], Option<&'a str>);

/// Topics by subscription: most members have the same one.
struct Subscriptions<'a> {
    group: &'a ConsumerGroup,
    topics: &'a Topics,
    known: BTreeMap<Wish<'a>, Rc<[Uuid]>>,
}

impl<'a> Subscriptions<'a> {
    fn of(&mut self, member: &'a Member) -> Rc<[Uuid]> {
        let find = || self.group.subscribed_topics(member, self.topics).into_iter().collect();
        self.known.entry((member.topics(), member.pattern())).or_insert_with(find).clone()
    }
}

/// The one that most members ask for, else the broker's first.
pub(super) fn preferred_assignor(members: &[&Member], settings: &GroupSettings) -> Assignor {
    let asked = |assignor: &Assignor| {
        let name = Some(assignor.name());
        members.iter().filter(|member| member.metadata.server_assignor.as_deref() == name).count()
    };
    let preferred =
        [Assignor::Range, Assignor::Uniform].into_iter().filter(|it| asked(it) > 0).max_by_key(asked);
    let broker = || settings.consumer_assignors.iter().find_map(|name| Assignor::from_name(name));
    preferred.or_else(broker).unwrap_or(Assignor::Uniform)
}
