//! SyncGroup.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::member::Member;
use super::{ClassicGroup, State};
use crate::groups::limits::GROUP_BYTES_MAX;
use crate::groups::turn::{Name, Turn};
use crate::groups::{Asked, Reply};

impl ClassicGroup {
    pub(in crate::groups) fn sync(&mut self, asked: &Asked<SyncGroupRequest>, turn: &mut Turn<'_>) {
        let request = &asked.request;
        if let Err(error) = self.admit_sync(request) {
            return refuse(asked, error, turn);
        }
        let response = self.assigned(&request.member_id);
        let is_leader = self.is_leader(&request.member_id);
        let member = self.members.get_mut(&*request.member_id).expect("only members are admitted");
        member.owes_sync = false;
        if self.state == State::Stable {
            return turn.answer(asked.ticket, Reply::SyncGroup(response));
        }
        // It asks a second time: nobody waits for the first answer, but no request stays without one.
        refuse_parked(member, ErrorCode::REBALANCE_IN_PROGRESS, turn);
        member.syncing = Some(asked.ticket);
        if is_leader {
            let assigned: usize = request.assignments.iter().map(|it| it.assignment.len()).sum();
            if assigned <= GROUP_BYTES_MAX {
                self.settle(request, turn);
            } else {
                // Kafka: what could not be written is tried once more.
                self.refuse_syncs(ErrorCode::UNKNOWN_SERVER_ERROR, turn);
                self.prepare(turn);
            }
        }
    }

    fn admit_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        let differs = |asked: &Option<String>, ours: &Option<Box<str>>| {
            asked.is_some() && asked.as_deref() != ours.as_deref()
        };
        self.known(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol)
        {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        match self.state {
            State::Empty => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            State::PreparingRebalance => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// The leader has assigned: the generation is settled. Members that it left out get nothing.
    fn settle(&mut self, request: &SyncGroupRequest, turn: &mut Turn<'_>) {
        let given: BTreeMap<&str, &Bytes> =
            request.assignments.iter().map(|it| (&*it.member_id, &it.assignment)).collect();
        for member in self.members.values_mut() {
            member.assignment = given.get(&*member.id).map_or(Bytes::new(), |&assignment| assignment.clone());
        }
        // Kafka: the time in the record is still that at which the generation began.
        self.state = State::Stable;
        turn.record(self.settled());
        turn.tally.classic_rebalances += 1;
        for id in self.members.keys().cloned().collect::<Vec<Name>>() {
            let response = self.assigned(&id);
            let member = self.members.get_mut(&id).expect("it is among the members");
            if let Some(ticket) = member.syncing.take() {
                turn.answer(ticket, Reply::SyncGroup(response));
                self.heard_of(&id, turn);
            }
        }
    }

    fn assigned(&self, member: &str) -> SyncGroupResponse {
        SyncGroupResponse {
            protocol_type: self.protocol_type.as_deref().map(str::to_owned),
            protocol_name: self.protocol.as_deref().map(str::to_owned),
            assignment: self.members.get(member).map_or(Bytes::new(), |member| member.assignment.clone()),
            ..Default::default()
        }
    }

    /// The generation ends before it is settled.
    pub(super) fn refuse_syncs(&mut self, error: ErrorCode, turn: &mut Turn<'_>) {
        for id in self.members.keys().cloned().collect::<Vec<Name>>() {
            let member = self.members.get_mut(&id).expect("it is among the members");
            member.assignment = Bytes::new();
            if refuse_parked(member, error, turn) {
                self.heard_of(&id, turn);
            }
        }
    }
}

/// Whether it did wait.
pub(super) fn refuse_parked(member: &mut Member, error: ErrorCode, turn: &mut Turn<'_>) -> bool {
    let Some(ticket) = member.syncing.take() else { return false };
    turn.answer(ticket, Reply::SyncGroup(refusal(error)));
    true
}

pub(in crate::groups) fn refuse(asked: &Asked<SyncGroupRequest>, error: ErrorCode, turn: &mut Turn<'_>) {
    turn.answer(asked.ticket, Reply::SyncGroup(refusal(error)));
}

fn refusal(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: error.0, ..Default::default() }
}
