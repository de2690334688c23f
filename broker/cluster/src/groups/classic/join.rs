//! JoinGroup.

use protocol::error_code::ErrorCode;
use protocol::messages::join_group_response::JoinGroupResponseMember;
use protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use super::member::{Member, Parked, Protocols};
use super::{ClassicGroup, State};
use crate::groups::limits::{EXPECTED_MAX, GROUP_BYTES_MAX};
use crate::groups::turn::{Name, Turn};
use crate::groups::{Asked, Reply};

/// How long a new member waits for the others. Before it is answered it cannot be heard of, and nobody would notice that it is
/// gone.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i32 = 5 * 60_000;

/// From this version on one must come back with the id that one was given: who only tried is then no member.
const MEMBER_ID_REQUIRED_FROM: i16 = 4;
/// From this version on a leader can be told that there is nothing to assign.
const SKIP_ASSIGNMENT_FROM: i16 = 9;

impl ClassicGroup {
    pub(in crate::groups) fn join(&mut self, asked: &Asked<JoinGroupRequest>, turn: &mut Turn<'_>) {
        let request = &asked.request;
        let is_new = request.member_id.is_empty();
        let refusal =
            if !self.has_room_for(&request.member_id, turn.settings.max_size) || !self.can_keep(request) {
                self.expel(&request.member_id, turn);
                Some(("", ErrorCode::GROUP_MAX_SIZE_REACHED))
            } else if !self.supports(request) {
                Some((&*request.member_id, ErrorCode::INCONSISTENT_GROUP_PROTOCOL))
            } else {
                None
            };
        match refusal {
            Some((member_id, error)) => refuse(asked, member_id, error, turn),
            None if is_new => self.join_anew(asked, turn),
            None => self.join_again(asked, turn),
        }
    }

    fn has_room_for(&self, member: &str, max: i32) -> bool {
        let has_room = |count: usize| i32::try_from(count).is_ok_and(|count| count < max);
        let known = self.members.get(member);
        match self.state {
            State::Empty => true,
            State::PreparingRebalance => {
                known.is_some_and(|member| member.joining.is_some())
                    || has_room(self.members.values().filter(|member| member.joining.is_some()).count())
            }
            State::CompletingRebalance | State::Stable => known.is_some() || has_room(self.members.len()),
        }
    }

    /// Whether the log could still hold what the members say of themselves.
    fn can_keep(&self, request: &JoinGroupRequest) -> bool {
        let others = self.members.values().filter(|member| *member.id != *request.member_id);
        let known: usize = others.map(|member| member.protocols.bytes()).sum();
        let asked: usize = request.protocols.iter().map(|it| it.name.len() + it.metadata.len()).sum();
        let is_waited_for = !request.member_id.is_empty() || self.expected.len() < EXPECTED_MAX;
        known.saturating_add(asked) <= GROUP_BYTES_MAX && is_waited_for
    }

    /// Whether there would still be a protocol that all members can do.
    fn supports(&self, request: &JoinGroupRequest) -> bool {
        if self.is_empty() {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        }
        let by_all = |name: &str| self.members.values().all(|member| member.protocols.contains(name));
        self.protocol_type() == Some(&request.protocol_type)
            && request.protocols.iter().any(|protocol| by_all(&protocol.name))
    }

    fn join_anew(&mut self, asked: &Asked<JoinGroupRequest>, turn: &mut Turn<'_>) {
        let request = &asked.request;
        let instance = request.group_instance_id.as_deref();
        let id = fresh_member_id(asked);
        match instance.map(|instance| self.instances.get(instance).cloned()) {
            Some(Some(current)) => self.replace_static(&current, id, asked, turn),
            None if asked.version >= MEMBER_ID_REQUIRED_FROM => {
                let alarm = self.expected.entry(id.clone()).or_default();
                let due = turn.after(request.session_timeout_ms);
                Self::watch(&self.id, &id, alarm, due, turn.timers);
                refuse(asked, &id, ErrorCode::MEMBER_ID_REQUIRED, turn);
            }
            _ => self.join_as(id, asked, turn),
        }
    }

    fn join_again(&mut self, asked: &Asked<JoinGroupRequest>, turn: &mut Turn<'_>) {
        let request = &asked.request;
        if let Some((id, _)) = self.expected.get_key_value(&*request.member_id) {
            // Kafka: nobody with an instance's name is given an id beforehand.
            match request.group_instance_id {
                Some(_) => refuse(asked, &request.member_id, ErrorCode::UNKNOWN_SERVER_ERROR, turn),
                None => self.join_as(id.clone(), asked, turn),
            }
            return;
        }
        if let Err(error) = self.known(&request.member_id, request.group_instance_id.as_deref()) {
            return refuse(asked, &request.member_id, error, turn);
        }
        let is_leader = self.is_leader(&request.member_id);
        let is_unchanged = self.members[&*request.member_id].protocols == Protocols::new(&request.protocols);
        match self.state {
            // It did not get the answer, or is a follower who makes sure.
            State::CompletingRebalance if is_unchanged => {
                let members = if is_leader { self.told_members() } else { Vec::new() };
                self.tell(asked, members, turn);
            }
            State::Stable if is_unchanged && !is_leader => self.tell(asked, Vec::new(), turn),
            _ => {
                self.update(asked, turn);
                self.rebalance(turn);
            }
        }
    }

    /// The current generation, without a rebalance.
    fn tell(
        &self,
        asked: &Asked<JoinGroupRequest>,
        members: Vec<JoinGroupResponseMember>,
        turn: &mut Turn<'_>,
    ) {
        let response = JoinGroupResponse { members, ..self.joined(&asked.request.member_id) };
        turn.answer(asked.ticket, Reply::JoinGroup(response));
    }

    fn join_as(&mut self, id: Name, asked: &Asked<JoinGroupRequest>, turn: &mut Turn<'_>) {
        if self.members.is_empty() {
            self.protocol_type = Some(asked.request.protocol_type.as_str().into());
        }
        if let Some(forming) = &mut self.forming {
            forming.has_newcomer = true;
        }
        self.add(new_member(id.clone(), asked));
        let member = self.members.get_mut(&id).expect("it was added");
        let due = turn.after(NEW_MEMBER_JOIN_TIMEOUT_MS);
        Self::watch(&self.id, &id, &mut member.session, due, turn.timers);
        self.rebalance(turn);
    }

    fn update(&mut self, asked: &Asked<JoinGroupRequest>, turn: &mut Turn<'_>) {
        let request = &asked.request;
        let Some(member) = self.members.get_mut(&*request.member_id) else { return };
        member.protocols = Protocols::new(&request.protocols);
        member.rebalance_timeout_ms = rebalance_timeout_ms(asked);
        member.session_timeout_ms = request.session_timeout_ms;
        let parked = Parked { ticket: asked.ticket, version: asked.version };
        // It asks a second time: nobody waits for the first answer, but no request stays without one.
        if let Some(first) = member.joining.replace(parked) {
            let response = refusal(&request.member_id, ErrorCode::REBALANCE_IN_PROGRESS);
            turn.answer(first.ticket, Reply::JoinGroup(response));
        }
    }

    /// An instance is back, under a new id. If what it can do changes nothing, it takes over what its former self had.
    fn replace_static(
        &mut self,
        current: &Name,
        id: Name,
        asked: &Asked<JoinGroupRequest>,
        turn: &mut Turn<'_>,
    ) {
        let leader_before = self.leader.clone();
        let mut former = self.members.remove(current).expect("an instance is a member");
        fence(&mut former, turn);
        if self.is_leader(current) {
            self.leader = Some(id.clone());
        }
        let mut member = new_member(id.clone(), asked);
        member.client = former.client;
        member.assignment = former.assignment;
        member.owes_sync = former.owes_sync;
        member.is_new = false;
        self.add(member);
        self.heard_of(&id, turn);
        match self.state {
            State::Stable if self.selected() == self.protocol => {
                self.subscribed = self.subscriptions();
                turn.record(self.settled());
                let member = self.members.get_mut(&id).expect("it was added");
                member.joining = None;
                let is_leader = self.is_leader(&id);
                let mut response = self.joined(&id);
                if asked.version >= SKIP_ASSIGNMENT_FROM {
                    response.skip_assignment = is_leader;
                    response.members = if is_leader { self.told_members() } else { Vec::new() };
                } else {
                    // A leader would assign, and a stable group would not heed it: it is not told that it leads.
                    response.leader = leader_before.as_deref().unwrap_or_default().to_owned();
                }
                turn.answer(asked.ticket, Reply::JoinGroup(response));
            }
            _ => self.rebalance(turn),
        }
    }

    pub(super) fn joined(&self, member: &str) -> JoinGroupResponse {
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.as_deref().map(str::to_owned),
            protocol_name: self.protocol.as_deref().map(str::to_owned),
            leader: self.leader.as_deref().unwrap_or_default().to_owned(),
            member_id: member.to_owned(),
            ..Default::default()
        }
    }

    /// All members as their leader is told.
    pub(super) fn told_members(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let member = |member: &Member| JoinGroupResponseMember {
            member_id: member.id.as_ref().to_owned(),
            group_instance_id: member.instance.as_deref().map(str::to_owned),
            metadata: member.protocols.metadata(protocol),
        };
        self.members.values().map(member).collect()
    }
}

/// The ids that Kafka gives: what the member calls itself, and 128 random bits.
fn fresh_member_id(asked: &Asked<JoinGroupRequest>) -> Name {
    let prefix = asked.request.group_instance_id.as_deref().unwrap_or(&asked.client.id);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let id = &asked.fresh_id.0;
    let parts = [hex(&id[..4]), hex(&id[4..6]), hex(&id[6..8]), hex(&id[8..10]), hex(&id[10..])];
    format!("{prefix}-{}", parts.join("-")).into()
}

fn new_member(id: Name, asked: &Asked<JoinGroupRequest>) -> Member {
    let request = &asked.request;
    Member {
        instance: request.group_instance_id.as_deref().map(Into::into),
        client: asked.client.clone(),
        rebalance_timeout_ms: rebalance_timeout_ms(asked),
        session_timeout_ms: request.session_timeout_ms,
        joining: Some(Parked { ticket: asked.ticket, version: asked.version }),
        is_new: true,
        ..Member::new(id, Protocols::new(&request.protocols))
    }
}

// Kafka: version 0 knows only one timeout.
pub(in crate::groups) fn rebalance_timeout_ms(asked: &Asked<JoinGroupRequest>) -> i32 {
    match asked.version {
        0 => asked.request.session_timeout_ms,
        _ => asked.request.rebalance_timeout_ms,
    }
}

fn fence(member: &mut Member, turn: &mut Turn<'_>) {
    if let Some(parked) = member.joining.take() {
        let response = refusal(&member.id, ErrorCode::FENCED_INSTANCE_ID);
        turn.answer(parked.ticket, Reply::JoinGroup(response));
    }
    super::sync::refuse_parked(member, ErrorCode::FENCED_INSTANCE_ID, turn);
}

pub(in crate::groups) fn refuse(
    asked: &Asked<JoinGroupRequest>,
    member_id: &str,
    error: ErrorCode,
    turn: &mut Turn<'_>,
) {
    turn.answer(asked.ticket, Reply::JoinGroup(refusal(member_id, error)));
}

pub(super) fn refusal(member_id: &str, error: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse { member_id: member_id.to_owned(), error_code: error.0, ..Default::default() }
}
