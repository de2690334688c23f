//! A consumer's place in a group: which partitions it reads, from where on, and what it commits. As Java's consumer does it, what
//! is given up is committed first, and so is everything else every few seconds.

use std::io;
use std::sync::Arc;

use protocol::api_key::ApiKey;
use protocol::error_code::ErrorCode;

use super::{GROUP_LINE, Reader};
use crate::client::dialogue::{Dialogue, Question};
use crate::client::error::ClientError;
use crate::client::group::{self, Ask, Heard, Member, Protocol};
use crate::client::link::Link;
use crate::client::scout::{Call, Errand};
use crate::clock::{NS_PER_MS, NS_PER_S};
use crate::load::contact::PAUSE_NS;
use crate::load::group::Group;
use crate::load::wire::token;

/// Until the load begins, so that nobody waits for those who join later.
const HURRY_NS: i64 = 100 * NS_PER_MS;
/// A group that takes longer to form is given up.
const FORM_PATIENCE_NS: i64 = 120 * NS_PER_S;

pub(super) struct Membership {
    pub(super) group: Arc<Group>,
    member: Member,
    tie: Tie,
    /// Given to it, with or without a known place to read from.
    given: Vec<u32>,
    /// Read by it. Rising.
    slots: Vec<u32>,
    commits_at_ns: i64,
    redials_at_ns: i64,
    hurries: bool,
}

/// The connection to the coordinator.
enum Tie {
    Down,
    Dialing,
    Up(Dialogue<()>),
}

impl Membership {
    pub(super) fn new(group: Arc<Group>, now_ns: i64) -> Self {
        let mut member = Member::new(Arc::clone(&group.terms));
        member.join(now_ns);
        member.hurry(Some(HURRY_NS), now_ns);
        Self {
            group,
            member,
            tie: Tie::Down,
            given: Vec::new(),
            slots: Vec::new(),
            commits_at_ns: i64::MAX,
            redials_at_ns: now_ns,
            hurries: true,
        }
    }

    pub(super) fn reads(&self, slot: u32) -> bool {
        self.slots.binary_search(&slot).is_ok()
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.tie, Tie::Up(_))
    }

    /// It has its share, knows where to read, and so do the others.
    pub(super) fn is_ready(&self) -> bool {
        let fair = match self.group.terms.protocol {
            // What is fair with several topics the range assignor has its own view of.
            Protocol::Classic => 0,
            Protocol::Consumer => self.group.terms.topics.slots() as usize / self.group.size,
        };
        self.member.is_settled()
            && self.given.len() >= fair
            && self.slots == self.given
            && self.group.is_held()
    }

    pub(super) fn due_ns(&self) -> i64 {
        match self.tie {
            Tie::Up(_) => self.member.due_ns().min(self.commits_at_ns),
            Tie::Dialing => i64::MAX,
            Tie::Down => self.redials_at_ns,
        }
    }

    fn hold(&mut self, slots: Vec<u32>) {
        self.group.hold(slots.len(), self.slots.len());
        self.slots = slots;
    }

    fn send(&mut self, ask: &Ask) -> io::Result<()> {
        match &mut self.tie {
            Tie::Up(dialogue) => dialogue.ask(ask, ()),
            Tie::Down | Tie::Dialing => Ok(()),
        }
    }
}

impl Reader {
    /// Does what members of groups have to do now.
    pub(super) fn look_after_members(&mut self) {
        let has_begun = self.signals.times().is_some();
        for at in 0..self.consumers.len() {
            let Some(it) = &mut self.consumers[at].membership else { continue };
            if has_begun && it.hurries {
                it.hurries = false;
                it.member.hurry(None, self.now_ns);
            }
            if it.due_ns() > self.now_ns {
                continue;
            }
            match it.tie {
                Tie::Up(_) => self.speak(at),
                Tie::Dialing => {}
                Tie::Down => {
                    it.tie = Tie::Dialing;
                    let group = it.group.terms.group.clone();
                    self.contact.scout.ask(Errand::Coordinate { ticket: token(at, GROUP_LINE), group });
                }
            }
        }
    }

    pub(super) fn members_due_ns(&self) -> i64 {
        let members = self.consumers.iter().filter_map(|consumer| consumer.membership.as_ref());
        members.map(Membership::due_ns).min().unwrap_or(i64::MAX).max(self.now_ns)
    }

    pub(super) fn are_members_ready(&self) -> bool {
        let mut members = self.consumers.iter().filter_map(|consumer| consumer.membership.as_ref());
        let are_ready = members.all(Membership::is_ready);
        if !are_ready && self.now_ns - self.since_ns > FORM_PATIENCE_NS {
            let limit = FORM_PATIENCE_NS / NS_PER_S;
            self.signals.fail(|| format!("the consumers' groups did not form within {limit} s"));
        }
        are_ready
    }

    /// Asks what the member wants to ask, and commits if it is time.
    fn speak(&mut self, at: usize) {
        let consumer = &mut self.consumers[at];
        let Some(it) = &mut consumer.membership else { return };
        let mut sent = Ok(());
        if it.commits_at_ns <= self.now_ns {
            it.commits_at_ns = self.now_ns + self.plan.commit_interval_ns;
            sent = it.send(&it.member.commit(&it.slots, &consumer.offsets));
        }
        if let Some(ask) = it.member.ask(self.now_ns) {
            sent = sent.and_then(|()| it.send(&ask));
        }
        if let Err(error) = sent {
            self.lose_member(at, &error);
        }
    }

    pub(super) fn connect_member(&mut self, at: usize, call: Result<Call, ClientError>) {
        let Some(it) = &mut self.consumers[at].membership else { return };
        it.tie = Tie::Down;
        it.redials_at_ns = self.now_ns + PAUSE_NS;
        match call {
            Ok(call) => {
                let link = Link::new(call.stream).and_then(|link| {
                    self.poller.add(&link, token(at, GROUP_LINE))?;
                    Ok(link)
                });
                if let Ok(link) = link {
                    it.tie = Tie::Up(Dialogue::new(link, call.served));
                    it.commits_at_ns = self.now_ns + self.plan.commit_interval_ns;
                }
            }
            Err(error) if !error.is_retriable() => self.signals.fail(|| error.to_string()),
            Err(_) => {}
        }
    }

    fn lose_member(&mut self, at: usize, error: &io::Error) {
        if error.kind() == io::ErrorKind::Unsupported {
            self.signals.fail(|| error.to_string());
        }
        let Some(it) = &mut self.consumers[at].membership else { return };
        it.member.hang_up();
        it.tie = Tie::Down;
        it.redials_at_ns = self.now_ns + PAUSE_NS;
    }

    pub(super) fn hear_coordinator(&mut self, at: usize) {
        let Some(Membership { tie: Tie::Up(dialogue), .. }) = &mut self.consumers[at].membership else {
            return;
        };
        if let Err(error) = dialogue.exchange() {
            return self.lose_member(at, &error);
        }
        loop {
            match self.absorb_answer(at) {
                Ok(true) => {}
                Ok(false) => return,
                Err(why) => {
                    self.signals.refuse(|| why.clone());
                    return self.lose_member(at, &io::Error::other(why));
                }
            }
        }
    }

    /// Takes in the next answer of the coordinator, if all of it is there.
    fn absorb_answer(&mut self, at: usize) -> Result<bool, String> {
        let Some(it) = &mut self.consumers[at].membership else { return Ok(false) };
        let Tie::Up(dialogue) = &mut it.tie else { return Ok(false) };
        let answered = dialogue.answer().map_err(|error| error.to_string())?;
        let Some((Question { api, version, .. }, answer)) = answered else { return Ok(false) };
        let odd = |error: &dyn std::fmt::Display| format!("no proper answer to {api}: {error}");
        match api {
            ApiKey::OffsetCommit => {
                let code = group::committed(version, answer).map_err(|error| odd(&error))?;
                if code.is_err() {
                    self.signals.refuse(|| format!("a commit was refused: {code}"));
                }
            }
            ApiKey::OffsetFetch => {
                let found = it.member.found(version, answer).map_err(|error| odd(&error))?;
                self.begin_at(at, &found);
            }
            _ => {
                let heard = it.member.hear(api, version, answer, self.now_ns);
                match heard.map_err(|error| odd(&error))? {
                    Heard::Refused(code) => self.signals.fail(|| format!("{api} was refused: {code}")),
                    Heard::Fine | Heard::Left => {}
                    // Another broker may know the group now.
                    Heard::Again(code @ ErrorCode::NOT_COORDINATOR) => return Err(odd(&code)),
                    Heard::Again(_) | Heard::Assigned => self.follow_assignment(at),
                }
            }
        }
        self.speak(at);
        Ok(true)
    }

    /// Commits and gives up what is another's now, and asks where to begin with what is new.
    fn follow_assignment(&mut self, at: usize) {
        let consumer = &mut self.consumers[at];
        let Some(it) = &mut consumer.membership else { return };
        let given = it.member.slots().to_vec();
        let is_given = |slot: &u32| given.binary_search(slot).is_ok();
        let (kept, lost): (Vec<u32>, Vec<u32>) = it.slots.iter().partition(|slot| is_given(slot));
        let new: Vec<u32> = given.iter().copied().filter(|slot| kept.binary_search(slot).is_err()).collect();
        let mut sent = Ok(());
        if !lost.is_empty() {
            sent = it.send(&it.member.commit(&lost, &consumer.offsets));
        }
        if !new.is_empty() {
            sent = sent.and_then(|()| it.send(&it.member.find(&new)));
        }
        it.given = given;
        it.hold(kept);
        if let Err(error) = sent {
            self.lose_member(at, &error);
        }
        self.share_out(at);
    }

    /// Goes on where the group was, or at the beginning.
    fn begin_at(&mut self, at: usize, found: &[(u32, i64)]) {
        let consumer = &mut self.consumers[at];
        let Some(it) = &mut consumer.membership else { return };
        let mut slots = it.slots.clone();
        for (slot, offset) in found {
            // It may have been given away again since it was asked for.
            if it.given.binary_search(slot).is_ok() && !slots.contains(slot) {
                consumer.offsets[*slot as usize] = (*offset).max(0);
                slots.push(*slot);
            }
        }
        slots.sort_unstable();
        it.hold(slots);
        self.share_out(at);
    }

    /// Leaves groups, as a consumer does that is closed. Nobody waits for the answers.
    pub(super) fn leave_groups(&mut self) {
        for at in 0..self.consumers.len() {
            let consumer = &mut self.consumers[at];
            let Some(it) = &mut consumer.membership else { continue };
            let _ = it.send(&it.member.commit(&it.slots, &consumer.offsets));
            it.member.hang_up();
            it.member.leave(self.now_ns);
            if let Some(ask) = it.member.ask(self.now_ns) {
                let _ = it.send(&ask);
            }
        }
    }
}
