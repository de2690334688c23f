//! A classic group from one generation to the next: all join, a leader assigns, all learn what is theirs.

use protocol::error_code::ErrorCode;
use protocol::messages::JoinGroupResponse;

use super::join::refusal;
use super::{ClassicGroup, Forming, State, sync};
use crate::groups::Reply;
use crate::groups::timers::{Timer, Uptime};
use crate::groups::turn::{Name, Turn};

impl ClassicGroup {
    /// Someone came, went, or wants something else.
    pub(super) fn rebalance(&mut self, turn: &mut Turn<'_>) {
        match self.state {
            State::PreparingRebalance => self.go_on_if_all_joined(turn),
            _ => self.prepare(turn),
        }
    }

    pub(super) fn prepare(&mut self, turn: &mut Turn<'_>) {
        if self.state == State::CompletingRebalance {
            self.refuse_syncs(ErrorCode::REBALANCE_IN_PROGRESS, turn);
        }
        self.syncing.stop();
        let is_first = self.state == State::Empty;
        self.transition(State::PreparingRebalance, turn);
        if is_first {
            let waited_ms = turn.settings.initial_rebalance_delay_ms;
            let remaining_ms = self.rebalance_timeout_ms().saturating_sub(waited_ms).max(0);
            self.forming = Some(Forming { waited_ms, remaining_ms, has_newcomer: false });
            self.wait_for_joins(waited_ms, turn);
        } else if self.have_all_joined() {
            self.end_joining(turn);
        } else {
            self.wait_for_joins(self.rebalance_timeout_ms(), turn);
        }
    }

    pub(super) fn go_on_if_all_joined(&mut self, turn: &mut Turn<'_>) {
        if self.state == State::PreparingRebalance && self.forming.is_none() && self.have_all_joined() {
            self.end_joining(turn);
        }
    }

    /// The members have had their time to join.
    pub(in crate::groups) fn joining_rings(&mut self, at: Uptime, turn: &mut Turn<'_>) {
        let timer = Timer::Join(self.id.clone());
        if !self.joining.rings(at, turn.now, turn.timers, timer) || self.state != State::PreparingRebalance {
            return;
        }
        match self.forming {
            Some(Forming { has_newcomer: true, waited_ms, remaining_ms }) if remaining_ms > 0 => {
                let wait_ms = turn.settings.initial_rebalance_delay_ms.min(remaining_ms);
                let remaining_ms = (remaining_ms - waited_ms).max(0);
                self.forming = Some(Forming { waited_ms: wait_ms, remaining_ms, has_newcomer: false });
                self.wait_for_joins(wait_ms, turn);
            }
            _ => self.end_joining(turn),
        }
    }

    /// The members have had their time to ask for their assignments; who did not is gone.
    pub(in crate::groups) fn syncing_rings(&mut self, at: Uptime, turn: &mut Turn<'_>) {
        let timer = Timer::Sync(self.id.clone());
        let rings = self.syncing.rings(at, turn.now, turn.timers, timer);
        if !rings || !matches!(self.state, State::CompletingRebalance | State::Stable) {
            return;
        }
        let owing = self.members.values().filter(|member| member.owes_sync);
        let owing: Vec<Name> = owing.map(|member| member.id.clone()).collect();
        if !owing.is_empty() {
            for id in &owing {
                self.expel(id, turn);
            }
            self.prepare(turn);
        }
    }

    /// A member, or one to be, was not heard of for its session timeout.
    pub(in crate::groups) fn session_rings(&mut self, id: &Name, at: Uptime, turn: &mut Turn<'_>) {
        let timer = || Timer::Session { group: self.id.clone(), member: id.clone() };
        if let Some(alarm) = self.expected.get_mut(id) {
            if alarm.rings(at, turn.now, turn.timers, timer()) {
                self.expected.remove(id);
                self.go_on_if_all_joined(turn);
            }
        } else if let Some(member) = self.members.get_mut(id)
            && member.session.rings(at, turn.now, turn.timers, timer())
            && (member.is_new || member.joining.is_none() && member.syncing.is_none())
        {
            self.expel(id, turn);
            self.rebalance(turn);
        }
    }

    /// The member is no more, which it learns if it waits for an answer.
    pub(super) fn expel(&mut self, id: &str, turn: &mut Turn<'_>) {
        self.expected.remove(id);
        let Some(mut member) = self.members.remove(id) else { return };
        if let Some(parked) = member.joining.take() {
            let response = refusal("", ErrorCode::UNKNOWN_MEMBER_ID);
            turn.answer(parked.ticket, Reply::JoinGroup(response));
        }
        sync::refuse_parked(&mut member, ErrorCode::UNKNOWN_MEMBER_ID, turn);
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    pub(super) fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    pub(super) fn rebalance_timeout_ms(&self) -> i32 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0)
    }

    fn wait_for_joins(&mut self, ms: i32, turn: &mut Turn<'_>) {
        let due = turn.after(ms);
        self.joining.set(due, turn.timers, || Timer::Join(self.id.clone()));
    }

    fn have_all_joined(&self) -> bool {
        self.expected.is_empty() && self.members.values().all(|member| member.joining.is_some())
    }

    /// The next generation begins with those who have joined, and with static members, who may be away for a while.
    fn end_joining(&mut self, turn: &mut Turn<'_>) {
        self.joining.stop();
        self.forming = None;
        let missing = self.members.values().filter(|it| it.joining.is_none() && it.instance.is_none());
        for id in missing.map(|member| member.id.clone()).collect::<Vec<_>>() {
            self.expel(&id, turn);
        }
        if !self.members.is_empty() && !self.elect_among_joined() {
            return self.wait_for_joins(self.rebalance_timeout_ms(), turn);
        }
        self.generation = self.generation.wrapping_add(1);
        self.protocol = self.selected();
        self.subscribed = self.subscriptions();
        if self.members.is_empty() {
            self.transition(State::Empty, turn);
            turn.record(self.settled());
        } else {
            self.transition(State::CompletingRebalance, turn);
            self.begin_generation(turn);
        }
    }

    fn begin_generation(&mut self, turn: &mut Turn<'_>) {
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let members = if self.is_leader(&id) { self.told_members() } else { Vec::new() };
            let response = JoinGroupResponse { members, ..self.joined(&id) };
            let member = self.members.get_mut(&id).expect("it is among the members");
            member.is_new = false;
            member.owes_sync = true;
            if let Some(parked) = member.joining.take() {
                turn.answer(parked.ticket, Reply::JoinGroup(response));
            }
            self.heard_of(&id, turn);
        }
        let due = turn.after(self.rebalance_timeout_ms());
        self.syncing.set(due, turn.timers, || Timer::Sync(self.id.clone()));
    }

    /// The leader stays the one it is if it has joined. False if nobody has.
    fn elect_among_joined(&mut self) -> bool {
        let has_joined = |id: &Name| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if self.leader.as_ref().is_some_and(has_joined) {
            return true;
        }
        let joined = self.members.values().find(|member| member.joining.is_some());
        let elected = joined.map(|member| member.id.clone());
        let is_elected = elected.is_some();
        self.leader = elected.or(self.leader.take());
        is_elected
    }

    /// Of the protocols that all can do, the one that most like best; of several, the one that the first of the members likes
    /// best. `None` without members.
    pub(super) fn selected(&self) -> Option<Box<str>> {
        let first = self.members.values().next()?;
        let by_all = |name: &str| self.members.values().all(|member| member.protocols.contains(name));
        let candidates: Vec<&str> =
            first.protocols.iter().map(|(name, _)| &**name).filter(|name| by_all(name)).collect();
        let mut votes = vec![0usize; candidates.len()];
        for member in self.members.values() {
            let vote =
                member.protocols.iter().find_map(|(name, _)| candidates.iter().position(|it| *it == &**name));
            if let Some(vote) = vote {
                votes[vote] += 1;
            }
        }
        let most = votes.iter().max()?;
        let chosen = votes.iter().position(|votes| votes == most)?;
        Some(candidates[chosen].into())
    }
}
