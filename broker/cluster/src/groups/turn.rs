//! One decision as it is put together.

use std::rc::Rc;

use super::consumer::Watch;
use super::settings::GroupSettings;
use super::timers::{Timers, Uptime};
use super::{Answer, GroupRecord, Reply, Ticket};
use crate::machine::{Decision, Timestamp};
use crate::metadata::Image;

/// When something is decided, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// What is written down, and compared with what was written.
    pub wall: Timestamp,
    /// What members are timed by.
    pub uptime: Uptime,
}

/// What a command is decided by, and what it has led to so far.
pub(super) struct Turn<'a> {
    pub(super) settings: &'a GroupSettings,
    pub(super) image: &'a Image,
    pub(super) now: Uptime,
    pub(super) wall: Timestamp,
    pub(super) timers: &'a mut Timers,
    pub(super) watch: &'a mut Watch,
    pub(super) tally: &'a mut Tally,
    pub(super) records: Vec<GroupRecord>,
    pub(super) answers: Vec<Answer>,
}

/// What has happened since the machine was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Generations of classic groups that were begun.
    pub classic_rebalances: u64,
    /// Epochs of consumer groups.
    pub consumer_rebalances: u64,
    pub offsets_expired: u64,
    pub offsets_deleted: u64,
}

impl Turn<'_> {
    pub(super) fn record(&mut self, record: impl Into<GroupRecord>) {
        self.records.push(record.into());
    }

    pub(super) fn answer(&mut self, ticket: Ticket, reply: Reply) {
        self.answers.push(Answer { ticket, reply });
    }

    pub(super) fn after(&self, ms: i32) -> Uptime {
        Uptime(self.now.0.saturating_add(i64::from(ms.max(0))))
    }

    pub(super) fn over(self) -> Decision<GroupRecord, Vec<Answer>> {
        Decision { records: self.records, reply: self.answers }
    }
}

/// A group's or member's name, shared by all that mention it.
pub(super) type Name = Rc<str>;
