//! Patterns that members are subscribed to. They are looked up apart from the heartbeat that brings them, as this takes longer
//! the more topics there are; the heartbeat after it sees the topics.

use std::collections::BTreeSet;

use protocol::error_code::ErrorCode;

use super::member::Member;
use super::{ConsumerGroup, Refusal, records};
use crate::groups::subscription::TopicPattern;
use crate::groups::timers::Timer;
use crate::groups::turn::Turn;

/// What became of a member's pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    /// It has another one, of which nobody knows yet what it stands for.
    Updated,
    /// It has another one or none, and what that stands for is known.
    Resolved,
}

/// However often topics are made and members come, patterns are looked up no more often.
const LOOKUP_EVERY_MS: i64 = 10_000;

impl ConsumerGroup {
    /// A member changes from `old` to `new`.
    pub(super) fn change_pattern(
        &self,
        old: &Member,
        new: &Member,
        turn: &mut Turn<'_>,
    ) -> Result<Change, Refusal> {
        let mut change = Change::None;
        let mut is_unknown = false;
        if old.metadata.subscribed_topic_regex != new.metadata.subscribed_topic_regex {
            change = Change::Updated;
            if let Some(old) = old.pattern().filter(|old| self.patterns.get(*old) == Some(&1)) {
                turn.record(records::no_pattern(&self.id, old));
            }
            match (old.pattern(), new.pattern()) {
                (_, Some(new)) if !self.patterns.contains_key(new) => {
                    check(new)?;
                    is_unknown = true;
                }
                (_, Some(new)) if self.resolved.contains_key(new) => change = Change::Resolved,
                (Some(_), None) => change = Change::Resolved,
                _ => (),
            }
        }
        if is_unknown || !self.patterns.is_empty() {
            self.plan_lookup(is_unknown, (old, new), turn);
        }
        Ok(change)
    }

    fn plan_lookup(&self, is_unknown: bool, (old, new): (&Member, &Member), turn: &mut Turn<'_>) {
        if turn.watch.is_resolving(&self.id) {
            return;
        }
        let (version, timestamp) =
            self.resolved.values().next().map_or((0, None), |it| (it.version, Some(it.timestamp)));
        let since_ms = timestamp.map_or(i64::MAX, |timestamp| turn.wall.0.saturating_sub(timestamp));
        // Before 0 if the clock was set back meanwhile: then nobody knows how long it was.
        if (0..=LOOKUP_EVERY_MS).contains(&since_ms) {
            return;
        }
        let patterns = self.patterns_after(old, new);
        let is_due = is_unknown
            || patterns.len() != self.resolved.len()
            || version < turn.watch.topics_changed(turn.image)
            || !(0..=i64::from(turn.settings.consumer_regex_refresh_interval_ms)).contains(&since_ms);
        if is_due && !patterns.is_empty() && turn.watch.plan_resolving(&self.id) {
            turn.timers.push(turn.now, Timer::Resolve(self.id.clone()));
        }
    }

    fn patterns_after<'a>(&'a self, old: &Member, new: &'a Member) -> BTreeSet<&'a str> {
        let mut patterns: BTreeSet<&str> = self.patterns.keys().map(|pattern| &**pattern).collect();
        if let Some(old) = old.pattern().filter(|old| self.patterns.get(*old) == Some(&1)) {
            patterns.remove(old);
        }
        patterns.extend(new.pattern());
        patterns
    }

    /// Looks up what the members' patterns stand for.
    pub(in crate::groups) fn resolve_patterns(&self, turn: &mut Turn<'_>) {
        turn.watch.resolves(&self.id);
        let (version, timestamp) = (turn.image.offset, turn.wall.0);
        let mut lost = Vec::new();
        let mut gained: Vec<String> = Vec::new();
        let mut is_new = false;
        for pattern in self.patterns.keys() {
            // It was valid when it came, and once more when it was read from the log by another version perhaps.
            let parsed = TopicPattern::parse(pattern);
            let topics: Vec<String> = parsed
                .map_or(Vec::new(), |parsed| parsed.topics(&turn.image.topics).map(str::to_owned).collect());
            let known = self.resolved.get(pattern).map_or(&[][..], |resolved| &resolved.topics);
            if known != topics {
                is_new = true;
                lost.extend(self.stood_for(pattern));
                gained.extend(topics.iter().cloned());
            }
            turn.record(records::pattern(&self.id, pattern, topics, version, timestamp));
        }
        let mut topics = self.topics_without(&lost);
        topics.extend(gained.iter().map(String::as_str));
        let hash = turn.watch.metadata_hash(topics.into_iter(), turn.image);
        if is_new || hash != self.metadata_hash {
            turn.record(records::epoch(&self.id, self.epoch + 1, hash));
            turn.tally.consumer_rebalances += 1;
            self.looked_at.set((turn.image.offset, self.epoch + 1));
        }
    }
}

fn check(pattern: &str) -> Result<(), Refusal> {
    match TopicPattern::parse(pattern) {
        Ok(_) => Ok(()),
        Err(reason) => {
            let text =
                format!("SubscribedTopicRegex `{pattern}` is not a valid regular expression: {reason}.");
            Err(Refusal::new(ErrorCode::INVALID_REGULAR_EXPRESSION, text))
        }
    }
}
