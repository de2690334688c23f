//! Every setting a group can have, in the order in which Kafka checks them.
//!
//! A group that does not set one takes it from its broker, and a broker sets bounds to what a group may choose.

use crate::metadata::{Layers, Overrides};
use crate::setting::Default::{self, Text};
use crate::setting::Importance::Medium;
use crate::setting::Kind::{self, Boolean, Int, String};
use crate::setting::Standing::{self, Honoured, NotYet};
use crate::setting::Valid::{self, Any, AtLeast, OffsetReset, OneOf};
use crate::setting::{Invalid, Setting};
use crate::topic_settings::Synonym;

/// A group's setting and where its value comes from when the group says nothing.
#[derive(Clone, Copy, Debug)]
pub struct GroupSetting {
    pub setting: Setting,
    /// The broker's setting; the setting itself where the broker has none.
    pub synonyms: &'static [Synonym],
}

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static GroupSetting> {
    GROUP_SETTINGS.iter().find(|group| group.setting.name == name)
}

/// Whether a group may have these settings, `layers` being its own and those of its broker.
pub fn check(own: &Overrides, layers: &Layers<'_>) -> Result<(), Invalid> {
    if let Some((unknown, _)) = own.iter().find(|(name, _)| find(name).is_none()) {
        return Err(Invalid(format!("Unknown group config name: {unknown}")));
    }
    for group in GROUP_SETTINGS {
        if let Some(text) = own.get(group.setting.name) {
            group.setting.parse(text)?;
        }
    }
    for bound in BOUNDS.iter().filter(|bound| own.get(bound.name).is_some()) {
        bound.check(bound.name, layers)?;
    }
    for (session, heartbeat) in SESSIONS {
        let is_own = own.get(session).is_some() || own.get(heartbeat).is_some();
        if is_own && number(session, layers) <= number(heartbeat, layers) {
            return Err(Invalid(format!("{session} must be greater than {heartbeat}")));
        }
    }
    Ok(())
}

/// Whether a broker's setting keeps to the bounds for the groups that take it from there. `layers` are the broker's.
pub fn check_default(name: &str, layers: &Layers<'_>) -> Result<(), Invalid> {
    let takes_it = |group: &&GroupSetting| group.synonyms.iter().any(|one| one.name == name);
    let group = GROUP_SETTINGS.iter().find(takes_it).expect("a default of groups");
    BOUNDS
        .iter()
        .filter(|bound| bound.name == group.setting.name)
        .try_for_each(|bound| bound.check(name, layers))
}

/// Why a value that Kafka takes is refused here: nothing would act on it.
pub fn is_refused(name: &str, text: &str) -> Option<Invalid> {
    let group = find(name).filter(|group| group.setting.standing == NotYet)?;
    let is_default = group.setting.parse(text).ok() == group.setting.default_value();
    let kind = name.split('.').next().expect("a split has a first part");
    (!is_default).then(|| Invalid(format!("{name} would have no effect: {kind} groups are not served yet")))
}

/// The broker's settings that bound what groups choose, with their defaults.
pub fn bounds() -> impl Iterator<Item = (&'static str, i64)> {
    let limits = BOUNDS.iter().flat_map(|bound| bound.least.iter().chain(&bound.most));
    limits.map(|limit| (limit.broker, limit.default))
}

/// What a group chooses lies between two settings of its broker.
struct Bound {
    name: &'static str,
    least: Option<Limit>,
    most: Option<Limit>,
}

struct Limit {
    broker: &'static str,
    default: i64,
}

impl Bound {
    /// `name` is what it is called towards whoever set it.
    fn check(&self, name: &str, layers: &Layers<'_>) -> Result<(), Invalid> {
        let value = number(self.name, layers);
        if let Some(least) = self.least.as_ref().filter(|least| value < least.in_force(layers)) {
            return Err(Invalid(format!("{name} must be greater than or equal to {}", least.broker)));
        }
        if let Some(most) = self.most.as_ref().filter(|most| value > most.in_force(layers)) {
            return Err(Invalid(format!("{name} must be less than or equal to {}", most.broker)));
        }
        Ok(())
    }
}

impl Limit {
    /// It cannot change while the broker runs.
    fn in_force(&self, layers: &Layers<'_>) -> i64 {
        let given = layers.statics.get(self.broker).and_then(|text| text.trim().parse().ok());
        given.unwrap_or(self.default)
    }
}

/// A whole number that holds for the group.
fn number(name: &str, layers: &Layers<'_>) -> i64 {
    let group = find(name).expect("in the table");
    let text = layers.resolve_group(group).0;
    let value =
        text.and_then(|text| group.setting.parse(&text).ok()).or_else(|| group.setting.default_value());
    value.and_then(|value| value.as_i64()).expect("a whole number with a default")
}

const fn bound(name: &'static str, least: Option<Limit>, most: Option<Limit>) -> Bound {
    Bound { name, least, most }
}

const fn limit(broker: &'static str, default: i64) -> Option<Limit> {
    Some(Limit { broker, default })
}

const fn group(
    name: &'static str,
    kind: Kind,
    default: Default,
    valid: Valid,
    standing: Standing,
    synonyms: &'static [Synonym],
    doc: &'static str,
) -> GroupSetting {
    let setting = Setting { name, kind, default, valid, importance: Medium, standing, doc };
    GroupSetting { setting, synonyms }
}

const fn from(name: &'static str, default: &'static str) -> Synonym {
    Synonym { name, factor: 1, default: Some(default) }
}

#[rustfmt::skip]
pub const GROUP_SETTINGS: &[GroupSetting] = &[
    group("consumer.session.timeout.ms", Int, Text("45000"), AtLeast(1), Honoured, &[from("group.consumer.session.timeout.ms", "45000")],
        "How long a silent member stays in a consumer group."),
    group("consumer.heartbeat.interval.ms", Int, Text("5000"), AtLeast(1), Honoured, &[from("group.consumer.heartbeat.interval.ms", "5000")],
        "How often members of a consumer group are told to send heartbeats."),
    group("consumer.assignment.interval.ms", Int, Text("1000"), AtLeast(0), Honoured, &[from("group.consumer.assignment.interval.ms", "1000")],
        "How long a consumer group waits between two assignments."),
    group("share.session.timeout.ms", Int, Text("45000"), AtLeast(1), NotYet, &[from("group.share.session.timeout.ms", "45000")],
        "How long a silent member stays in a share group."),
    group("share.heartbeat.interval.ms", Int, Text("5000"), AtLeast(1), NotYet, &[from("group.share.heartbeat.interval.ms", "5000")],
        "How often members of a share group are told to send heartbeats."),
    group("share.record.lock.duration.ms", Int, Text("30000"), AtLeast(1000), NotYet, &[from("group.share.record.lock.duration.ms", "30000")],
        "How long a member of a share group may keep a record before others get it."),
    group("share.delivery.count.limit", Int, Text("5"), AtLeast(2), NotYet, &[from("group.share.delivery.count.limit", "5")],
        "How often a record is handed out before it counts as undeliverable."),
    group("share.partition.max.record.locks", Int, Text("2000"), AtLeast(100), NotYet, &[from("group.share.partition.max.record.locks", "2000")],
        "How many records of a partition the members of a share group may hold at once."),
    group("share.auto.offset.reset", String, Text("latest"), OffsetReset, NotYet, &[from("share.auto.offset.reset", "latest")],
        "Where a share group begins to read: at the end, at the beginning, or that long ago."),
    group("share.isolation.level", String, Text("read_uncommitted"), OneOf(&["read_committed", "read_uncommitted"]), NotYet, &[from("share.isolation.level", "read_uncommitted")],
        "Whether a share group gets records of transactions that are open or were aborted."),
    group("share.renew.acknowledge.enable", Boolean, Text("true"), Any, NotYet, &[from("share.renew.acknowledge.enable", "true")],
        "Whether members of a share group may keep a record for longer."),
    group("share.assignment.interval.ms", Int, Text("1000"), AtLeast(0), NotYet, &[from("group.share.assignment.interval.ms", "1000")],
        "How long a share group waits between two assignments."),
    group("streams.session.timeout.ms", Int, Text("45000"), AtLeast(1), NotYet, &[from("group.streams.session.timeout.ms", "45000")],
        "How long a silent member stays in a streams group."),
    group("streams.heartbeat.interval.ms", Int, Text("5000"), AtLeast(1), NotYet, &[from("group.streams.heartbeat.interval.ms", "5000")],
        "How often members of a streams group are told to send heartbeats."),
    group("streams.num.standby.replicas", Int, Text("0"), AtLeast(0), NotYet, &[from("group.streams.num.standby.replicas", "0")],
        "How many spare copies of each task's state a streams group keeps."),
    group("streams.initial.rebalance.delay.ms", Int, Text("3000"), AtLeast(0), NotYet, &[from("group.streams.initial.rebalance.delay.ms", "3000")],
        "How long a new streams group waits for more members."),
    group("streams.assignment.interval.ms", Int, Text("1000"), AtLeast(0), NotYet, &[from("group.streams.assignment.interval.ms", "1000")],
        "How long a streams group waits between two assignments."),
];

/// Checked in this order, once every value is known to be one.
#[rustfmt::skip]
const BOUNDS: &[Bound] = &[
    bound("consumer.heartbeat.interval.ms", limit("group.consumer.min.heartbeat.interval.ms", 5_000), limit("group.consumer.max.heartbeat.interval.ms", 15_000)),
    bound("consumer.session.timeout.ms", limit("group.consumer.min.session.timeout.ms", 45_000), limit("group.consumer.max.session.timeout.ms", 60_000)),
    bound("consumer.assignment.interval.ms", limit("group.consumer.min.assignment.interval.ms", 0), limit("group.consumer.max.assignment.interval.ms", 15_000)),
    bound("share.heartbeat.interval.ms", limit("group.share.min.heartbeat.interval.ms", 5_000), limit("group.share.max.heartbeat.interval.ms", 15_000)),
    bound("share.session.timeout.ms", limit("group.share.min.session.timeout.ms", 45_000), limit("group.share.max.session.timeout.ms", 60_000)),
    bound("share.record.lock.duration.ms", limit("group.share.min.record.lock.duration.ms", 15_000), limit("group.share.max.record.lock.duration.ms", 60_000)),
    bound("share.delivery.count.limit", limit("group.share.min.delivery.count.limit", 2), limit("group.share.max.delivery.count.limit", 10)),
    bound("share.partition.max.record.locks", limit("group.share.min.partition.max.record.locks", 100), limit("group.share.max.partition.max.record.locks", 4_000)),
    bound("share.assignment.interval.ms", limit("group.share.min.assignment.interval.ms", 0), limit("group.share.max.assignment.interval.ms", 15_000)),
    bound("streams.heartbeat.interval.ms", limit("group.streams.min.heartbeat.interval.ms", 5_000), limit("group.streams.max.heartbeat.interval.ms", 15_000)),
    bound("streams.session.timeout.ms", limit("group.streams.min.session.timeout.ms", 45_000), limit("group.streams.max.session.timeout.ms", 60_000)),
    bound("streams.num.standby.replicas", None, limit("group.streams.max.standby.replicas", 2)),
    bound("streams.assignment.interval.ms", limit("group.streams.min.assignment.interval.ms", 0), limit("group.streams.max.assignment.interval.ms", 15_000)),
];

/// Who is heard of more seldom than he would be declared dead is always dead.
const SESSIONS: [(&str, &str); 3] = [
    ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"),
    ("share.session.timeout.ms", "share.heartbeat.interval.ms"),
    ("streams.session.timeout.ms", "streams.heartbeat.interval.ms"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Source;

    fn checked(own: &[(&str, &str)], statics: &[(&str, &str)]) -> Result<(), std::string::String> {
        let (own, statics) = (own.iter().copied().collect(), statics.iter().copied().collect());
        let layers = Layers {
            own: Some(&own),
            own_source: Source::Group,
            broker: None,
            all_brokers: None,
            statics: &statics,
        };
        check(&own, &layers).map_err(|invalid| invalid.0)
    }

    #[test]
    fn defaults_are_the_brokers_and_within_the_bounds() {
        for (i, group) in GROUP_SETTINGS.iter().enumerate() {
            let Setting { name, default: Text(default), doc, .. } = group.setting else { panic!() };
            assert!(GROUP_SETTINGS[..i].iter().all(|other| other.setting.name != name), "{name} twice");
            assert!(doc.ends_with('.'), "{name}");
            assert_eq!(group.synonyms[0].default, Some(default), "{name}");
            assert_eq!(checked(&[(name, default)], &[]), Ok(()), "{name}");
            assert_eq!(is_refused(name, default), None);
        }
        assert_eq!(GROUP_SETTINGS.len(), 17);
    }

    #[test]
    fn bounds_follow_what_the_broker_was_started_with() {
        let session = ("consumer.session.timeout.ms", "20000");
        let low = "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms";
        assert_eq!(checked(&[session], &[]), Err(low.to_owned()));
        let min = ("group.consumer.min.session.timeout.ms", "6000");
        assert_eq!(checked(&[session], &[min]), Ok(()));
        let heartbeat = ("consumer.heartbeat.interval.ms", "20000");
        let high = "consumer.heartbeat.interval.ms must be less than or equal to group.consumer.max.heartbeat.interval.ms";
        assert_eq!(checked(&[session, heartbeat], &[min]), Err(high.to_owned()));
        let max = ("group.consumer.max.heartbeat.interval.ms", "60000");
        let dead = "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms";
        assert_eq!(checked(&[session, heartbeat], &[min, max]), Err(dead.to_owned()));
        // The broker's session counts where the group has none.
        assert_eq!(checked(&[heartbeat], &[min, max]), Ok(()));
        let short = ("group.consumer.session.timeout.ms", "20000");
        assert_eq!(checked(&[heartbeat], &[min, max, short]), Err(dead.to_owned()));
    }

    #[test]
    fn what_would_have_no_effect_is_refused() {
        assert_eq!(is_refused("consumer.session.timeout.ms", "50000"), None);
        assert_eq!(is_refused("share.session.timeout.ms", " 45000"), None);
        let refused = is_refused("streams.num.standby.replicas", "1").unwrap();
        assert_eq!(
            refused.0,
            "streams.num.standby.replicas would have no effect: streams groups are not served yet"
        );
    }
}
