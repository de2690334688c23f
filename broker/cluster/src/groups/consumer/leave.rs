//! Members go: because they say so, or because nothing is heard of them in time.

use std::collections::BTreeMap;
use std::rc::Rc;

use protocol::error_code::ErrorCode;
use protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::member::{Member, Owned, epoch};
use super::watch::Wait;
use super::{ConsumerGroup, Refusal, records};
use crate::groups::group::{Group, Kind};
use crate::groups::timers::Uptime;
use crate::groups::turn::{Name, Turn};

pub(super) fn leave(
    groups: &BTreeMap<Name, Group>,
    request: &ConsumerGroupHeartbeatRequest,
    turn: &mut Turn<'_>,
) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
    let id = &*request.group_id;
    let not_found = |text: String| Err(Refusal::new(ErrorCode::GROUP_ID_NOT_FOUND, text));
    let group = match groups.get(id).map(|group| &group.kind) {
        Some(Kind::Consumer(group)) => group,
        Some(Kind::Classic(_)) => return not_found(format!("Group {id} is not a consumer group.")),
        None => return not_found(format!("Group {id} not found.")),
    };
    let member = match request.instance_id.as_deref() {
        None => group.known_member(&request.member_id)?,
        Some(instance) => group.current_member(&request.member_id, instance)?,
    };
    if request.member_epoch == epoch::LEAVE_STATIC && request.instance_id.is_some() {
        turn.record(records::assigned(&group.id, &away(member)));
    } else {
        group.fence(&[member], turn);
    }
    Ok(ConsumerGroupHeartbeatResponse {
        member_id: Some(request.member_id.clone()),
        member_epoch: request.member_epoch,
        ..Default::default()
    })
}

/// A static member that will be back: what it has is kept for its instance.
fn away(member: &Member) -> Member {
    Member {
        epoch: epoch::LEAVE_STATIC,
        assigned: Rc::new(member.assigned.since_ever()),
        revoking: Rc::new(Owned::default()),
        ..member.clone()
    }
}

impl ConsumerGroup {
    pub(super) fn known_member(&self, id: &str) -> Result<&Member, Refusal> {
        self.members.get(id).ok_or_else(|| {
            let text = format!("Member {id} is not a member of group {}.", self.id);
            Refusal::new(ErrorCode::UNKNOWN_MEMBER_ID, text)
        })
    }

    /// These are members no more. Who is left may all speak the classic protocol; then the group does.
    pub(super) fn fence(&self, gone: &[&Member], turn: &mut Turn<'_>) {
        if gone.is_empty() {
            return;
        }
        if self.can_downgrade_without(gone, turn.settings) {
            self.downgrade(gone, None, true, turn);
            return;
        }
        for member in gone {
            turn.records.extend(records::no_such_member(&self.id, &member.id));
        }
        let patterns = self.patterns_of_none_but(gone);
        turn.records.extend(patterns.iter().map(|pattern| records::no_pattern(&self.id, pattern)));
        let topics = self.topics_without_members(gone, &patterns);
        let hash = turn.watch.metadata_hash(topics.into_iter(), turn.image);
        turn.record(records::epoch(&self.id, self.epoch + 1, hash));
        for member in gone {
            turn.watch.forget(&self.id, &member.id);
        }
    }

    fn patterns_of_none_but<'a>(&self, gone: &[&'a Member]) -> Vec<&'a str> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for pattern in gone.iter().filter_map(|member| member.pattern()) {
            *counts.entry(pattern).or_default() += 1;
        }
        counts.retain(|pattern, count| self.patterns.get(*pattern) == Some(count));
        counts.into_keys().collect()
    }

    /// A timer came up that was set for a member and for `at`.
    pub(in crate::groups) fn time_is_over(&self, member: &Name, wait: Wait, at: Uptime, turn: &mut Turn<'_>) {
        let Some(epoch) = turn.watch.rings((&self.id, member), wait, (at, turn.now), turn.timers) else {
            return;
        };
        match self.members.get(member) {
            // It has moved on since it was told to give something up.
            Some(member) if wait == Wait::Revoke && member.epoch != epoch => (),
            Some(member) => self.fence(&[member], turn),
            None => turn.watch.forget(&self.id, member),
        }
    }

    /// The log is read to its end: the members that it knows may be alive.
    pub(in crate::groups) fn loaded(&self, turn: &mut Turn<'_>) {
        let due = turn.after(turn.settings.consumer_times(&self.id, turn.image).session_timeout_ms);
        for member in self.members.values() {
            turn.watch.set((&self.id, &member.id), Wait::Session, due, turn.timers);
            if member.state == super::member::State::UnrevokedPartitions {
                self.watch_revoking(member, turn);
            }
        }
    }
}
