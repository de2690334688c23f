//! What nobody needs any more is looked for from time to time: offsets past their retention, groups without members and
//! offsets, and what was committed for topics that are gone. A few groups at a time, so that nobody waits for it.

use std::collections::BTreeMap;
use std::ops::Bound;

use protocol::ids::Uuid;

use super::group::{Group, Retention};
use super::offsets::delete::gone;
use super::timers::{Timer, Uptime};
use super::turn::{Name, Turn};

#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// When all groups are looked at next.
    next: Option<Uptime>,
    /// The group after which to go on, of a round that is under way.
    expiring: Option<Name>,
    is_expiring: bool,
    /// Topics that are gone, and how far their offsets are.
    forgetting: Option<Forgetting>,
}

#[derive(Debug)]
struct Forgetting {
    topics: Vec<(String, Uuid)>,
    since: i64,
    after: Option<Name>,
}

/// In one turn: records, and groups and offsets that are looked at.
const RECORDS_MAX: usize = 2_000;
const LOOKS_MAX: usize = 20_000;

type Groups = BTreeMap<Name, Group>;

impl Sweep {
    pub(super) fn begin(&mut self, turn: &mut Turn<'_>) {
        let interval_ms = turn.settings.offsets_retention_check_interval_ms.max(1);
        self.next = Some(Uptime(turn.now.0.saturating_add(interval_ms)));
        self.schedule(turn);
    }

    pub(super) fn forget(&mut self, topics: Vec<(String, Uuid)>, groups: &Groups, turn: &mut Turn<'_>) {
        match &mut self.forgetting {
            // From the first group again, for all of them.
            Some(forgetting) => {
                forgetting.topics.extend(topics);
                forgetting.since = turn.wall.0;
                forgetting.after = None;
            }
            None => self.forgetting = Some(Forgetting { topics, since: turn.wall.0, after: None }),
        }
        self.go_on(groups, turn);
    }

    /// Its timer came up.
    pub(super) fn go_on(&mut self, groups: &Groups, turn: &mut Turn<'_>) {
        let mut left = LOOKS_MAX;
        self.forget_some(groups, &mut left, turn);
        if !self.is_expiring && self.next.is_some_and(|next| next <= turn.now) {
            self.is_expiring = true;
            self.begin(turn);
        }
        self.expire_some(groups, &mut left, turn);
        if self.is_expiring || self.forgetting.is_some() {
            turn.timers.push(turn.now, Timer::Sweep);
        }
    }

    fn schedule(&self, turn: &mut Turn<'_>) {
        if let Some(next) = self.next {
            turn.timers.push(next, Timer::Sweep);
        }
    }

    fn expire_some(&mut self, groups: &Groups, left: &mut usize, turn: &mut Turn<'_>) {
        if !self.is_expiring {
            return;
        }
        for (name, group) in after(groups, self.expiring.as_ref()) {
            if *left == 0 || turn.records.len() >= RECORDS_MAX {
                return;
            }
            *left = left.saturating_sub(1 + group.offsets.len());
            if !expire(name, group, turn) {
                return;
            }
            self.expiring = Some(name.clone());
        }
        (self.is_expiring, self.expiring) = (false, None);
    }

    fn forget_some(&mut self, groups: &Groups, left: &mut usize, turn: &mut Turn<'_>) {
        let Some(forgetting) = &mut self.forgetting else { return };
        for (name, group) in after(groups, forgetting.after.as_ref()) {
            if *left == 0 || turn.records.len() >= RECORDS_MAX {
                return;
            }
            *left = left.saturating_sub(1);
            for (topic, id) in &forgetting.topics {
                let of_it = group.offsets.of(topic).filter(|it| match it.topic_id() {
                    unknown if unknown.is_zero() => it.commit_timestamp() <= forgetting.since,
                    known => known == *id,
                });
                for offset in of_it {
                    if turn.records.len() >= RECORDS_MAX {
                        return;
                    }
                    turn.records.push(gone(name, topic, offset.partition()));
                    turn.tally.offsets_deleted += 1;
                }
            }
            forgetting.after = Some(name.clone());
        }
        self.forgetting = None;
    }
}

fn after<'a>(
    groups: &'a Groups,
    last: Option<&Name>,
) -> impl Iterator<Item = (&'a Name, &'a Group)> + use<'a> {
    let from = last.map_or(Bound::Unbounded, |name| Bound::Excluded(name.clone()));
    groups.range((from, Bound::Unbounded))
}

/// Ends the group's offsets that are past their retention, and the group itself if that leaves nothing of it. False if there is
/// more to end than fits into this turn.
fn expire(name: &Name, group: &Group, turn: &mut Turn<'_>) -> bool {
    let (offsets, retention) = (&group.offsets, group.retention());
    if retention == Retention::Never {
        return true;
    }
    let before = turn.records.len();
    for topic in offsets.topics().filter(|topic| !group.is_subscribed_to(topic)) {
        for offset in offsets.of(topic) {
            let has_passed = retention.has_passed(offset, turn.settings.offsets_retention_ms, turn.wall.0);
            if has_passed && !offsets.is_pending(topic, offset.partition()) {
                if turn.records.len() >= RECORDS_MAX {
                    turn.tally.offsets_expired += (turn.records.len() - before) as u64;
                    return false;
                }
                turn.records.push(gone(name, topic, offset.partition()));
            }
        }
    }
    let expired = turn.records.len() - before;
    turn.tally.offsets_expired += expired as u64;
    if expired == offsets.len() && !offsets.has_pending() && group.is_abandoned() {
        group.gone(&mut turn.records);
    }
    true
}
