//! Heartbeat.

use protocol::error_code::ErrorCode;
use protocol::messages::HeartbeatRequest;

use super::{ClassicGroup, State};
use crate::groups::turn::Turn;

impl ClassicGroup {
    pub(in crate::groups) fn heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        self.known(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        self.heard_of(&request.member_id, turn);
        match self.state {
            State::PreparingRebalance => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            // Who has joined may be heard of before it asks for its assignment.
            _ => Ok(()),
        }
    }
}
