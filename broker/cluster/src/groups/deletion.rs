//! The end of a group with more offsets than go at once. They go part by part, the last part with the group itself, so
//! that a crash leaves a smaller group. What is asked of the group meanwhile is decided when it is gone.

use std::collections::{BTreeMap, VecDeque};

use protocol::error_code::ErrorCode;

use super::command::{Command, Reply, Ticket};
use super::group::Group;
use super::limits::RECORD_BYTES;
use super::offsets::delete::gone;
use super::timers::{Timer, Uptime};
use super::turn::{Name, Turn};

/// Those under way, by group.
#[derive(Debug, Default)]
pub(super) struct Deletions(BTreeMap<Name, Deletion>);

#[derive(Debug)]
struct Deletion {
    /// Who wants it; nobody once it is over.
    asked: Option<Ticket>,
    /// When it was over.
    over: Option<Uptime>,
    /// In the order asked.
    waiting: VecDeque<Command>,
}

/// In one turn: about what Kafka takes at all.
const PART_BYTES: usize = 1 << 20;

impl Deletions {
    /// Keeps a command that has to wait; gives any other back.
    pub(super) fn hold(&mut self, command: Command) -> Option<Command> {
        let deletion = command.group().and_then(|group| self.0.get_mut(group));
        match deletion {
            Some(deletion) => {
                deletion.waiting.push_back(command);
                None
            }
            None => Some(command),
        }
    }

    /// The next that has waited long enough. It is to be decided alone: it may be about a group that the one before makes.
    pub(super) fn release(&mut self) -> Option<Command> {
        let (name, deletion) = self.0.iter_mut().find(|(_, deletion)| deletion.over.is_some())?;
        let command = deletion.waiting.pop_front();
        if deletion.waiting.is_empty() {
            let name = name.clone();
            self.0.remove(&name);
        }
        command
    }

    /// When the next should be released.
    pub(super) fn deadline(&self) -> Option<Uptime> {
        self.0.values().find_map(|deletion| deletion.over)
    }

    /// Ends an empty group, at once or in parts.
    pub(super) fn begin(&mut self, name: &Name, group: &Group, asked: Ticket, turn: &mut Turn<'_>) {
        if !end(name, group, turn) {
            let deletion = Deletion { asked: Some(asked), over: None, waiting: VecDeque::new() };
            self.0.insert(name.clone(), deletion);
            return;
        }
        turn.answer(asked, Reply::DeleteGroup(ErrorCode::NONE));
    }

    /// Its timer came up: the next part.
    pub(super) fn go_on(&mut self, name: &Name, groups: &BTreeMap<Name, Group>, turn: &mut Turn<'_>) {
        let Some(deletion) = self.0.get_mut(name) else { return };
        // Without it: its time was over, too.
        if groups.get(name).is_none_or(|group| end(name, group, turn)) {
            if let Some(asked) = deletion.asked.take() {
                turn.answer(asked, Reply::DeleteGroup(ErrorCode::NONE));
            }
            deletion.over = Some(turn.now);
            if deletion.waiting.is_empty() {
                self.0.remove(name);
            }
        }
    }
}

/// True if nothing is left; else there is a timer for the rest.
fn end(name: &Name, group: &Group, turn: &mut Turn<'_>) -> bool {
    let mut left = PART_BYTES;
    for (topic, offset) in group.offsets.iter_back() {
        if left == 0 {
            turn.timers.push(turn.now, Timer::Delete(name.clone()));
            return false;
        }
        left = left.saturating_sub(name.len() + topic.len() + RECORD_BYTES);
        turn.records.push(gone(name, topic, offset.partition()));
        turn.tally.offsets_deleted += 1;
    }
    group.gone(&mut turn.records);
    true
}
