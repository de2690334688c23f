//! Settings that a broker, or all of them, can be given while it runs: the defaults of topics' settings, and a few of its
//! own.

use crate::group_settings;
use crate::metadata::Layers;
use crate::setting::Default::Text;
use crate::setting::Importance::Medium;
use crate::setting::Kind::{self, Double, Int, Long};
use crate::setting::Standing::Honoured;
use crate::setting::Valid::{self, Any, AtLeast};
use crate::setting::{Invalid, Setting};
use crate::topic_settings::changeable_default;

const fn live(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    valid: Valid,
    doc: &'static str,
) -> Setting {
    Setting { name, kind, default: Text(default), valid, importance: Medium, standing: Honoured, doc }
}

pub const DEDUPE_BUFFER_SIZE: &str = "log.cleaner.dedupe.buffer.size";
pub const ASSIGNMENT_INTERVAL_MS: &str = "group.consumer.assignment.interval.ms";

/// Those of its own.
#[rustfmt::skip]
pub const LIVE_SETTINGS: &[Setting] = &[
    live("log.cleaner.backoff.ms", Long, "15000", AtLeast(0),
        "How long compaction rests when there is nothing to do."),
    live(DEDUPE_BUFFER_SIZE, Long, "134217728", Any,
        "Memory for the keys of a log while it is compacted."),
    live("log.cleaner.io.buffer.load.factor", Double, "0.9", Any,
        "How full that memory may become."),
    live("log.cleaner.io.max.bytes.per.second", Double, "1.7976931348623157E308", Any,
        "Most bytes a second that compaction reads and writes."),
    live(ASSIGNMENT_INTERVAL_MS, Int, "1000", AtLeast(0),
        "How long a consumer group waits between two assignments."),
];

/// What Kafka wants for the keys of each of its threads.
const DEDUPE_BUFFER_SIZE_MIN: i64 = 1 << 20;

/// The setting of that name, if it can change while the broker runs.
pub fn find(name: &str) -> Option<Setting> {
    own(name).or_else(|| changeable_default(name))
}

/// As [`find`], of a broker's own.
pub fn own(name: &str) -> Option<Setting> {
    LIVE_SETTINGS.iter().copied().find(|setting| setting.name == name)
}

/// Whether what holds after a change can hold, beyond each value's being valid.
pub fn check(before: &Layers<'_>, after: &Layers<'_>) -> Result<(), Invalid> {
    let number = |layers: &Layers<'_>, name| {
        let setting = own(name).expect("in the table");
        layers.of_broker(&setting).and_then(|value| value.as_i64()).expect("a whole number with a default")
    };
    let changed = |name| Some(number(after, name)).filter(|now| *now != number(before, name));
    if let Some(bytes) = changed(DEDUPE_BUFFER_SIZE) {
        let threads =
            after.statics.get("log.cleaner.threads").and_then(|text| text.trim().parse::<i64>().ok());
        if bytes / threads.unwrap_or(1).max(1) <= DEDUPE_BUFFER_SIZE_MIN {
            return Err(Invalid(format!("{DEDUPE_BUFFER_SIZE} must be at least 1MB per cleaner thread.")));
        }
    }
    match changed(ASSIGNMENT_INTERVAL_MS) {
        Some(_) => group_settings::check_default(ASSIGNMENT_INTERVAL_MS, after),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Overrides, Source};

    const NONE: [(&str, &str); 0] = [];

    fn set(pairs: &[(&'static str, &'static str)]) -> Overrides {
        pairs.iter().copied().collect()
    }

    /// What becomes of a change of one broker's settings, where all brokers' are others.
    fn changed(
        before: &[(&'static str, &'static str)],
        after: &[(&'static str, &'static str)],
        all_brokers: &[(&'static str, &'static str)],
        statics: &[(&'static str, &'static str)],
    ) -> Result<(), String> {
        let [before, after, all_brokers, statics] = [before, after, all_brokers, statics].map(set);
        let layers = |broker| Layers {
            own: None,
            own_source: Source::Topic,
            broker: Some(broker),
            all_brokers: Some(&all_brokers),
            statics: &statics,
        };
        check(&layers(&before), &layers(&after)).map_err(|invalid| invalid.0)
    }

    #[test]
    fn tables_are_sound() {
        for (at, setting) in LIVE_SETTINGS.iter().enumerate() {
            assert!(LIVE_SETTINGS[..at].iter().all(|other| other.name != setting.name));
            let default = setting.default_text().unwrap();
            assert_eq!(setting.parse(default).unwrap().to_string(), default);
            assert!(changeable_default(setting.name).is_none(), "{} is a topic's", setting.name);
            assert_eq!(find(setting.name).map(|found| found.name), Some(setting.name));
        }
        assert!(find("log.retention.ms").is_some());
        assert!(find("num.io.threads").is_none());
    }

    #[test]
    fn memory_for_keys_is_more_than_a_mebibyte_for_each_thread() {
        let refused =
            Err("log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.".to_owned());
        assert_eq!(changed(&NONE, &[(DEDUPE_BUFFER_SIZE, "1048576")], &NONE, &NONE), refused);
        assert_eq!(changed(&NONE, &[(DEDUPE_BUFFER_SIZE, "-5")], &NONE, &NONE), refused);
        assert_eq!(changed(&NONE, &[(DEDUPE_BUFFER_SIZE, "1048577")], &NONE, &NONE), Ok(()));
        let threads = [("log.cleaner.threads", "2")];
        assert_eq!(changed(&NONE, &[(DEDUPE_BUFFER_SIZE, "2097153")], &NONE, &threads), refused);
        assert_eq!(changed(&NONE, &[(DEDUPE_BUFFER_SIZE, "2097154")], &NONE, &threads), Ok(()));
        // What the broker was started with is not judged again.
        let small = [(DEDUPE_BUFFER_SIZE, "5")];
        assert_eq!(changed(&NONE, &[("log.cleaner.backoff.ms", "5")], &NONE, &small), Ok(()));
    }

    #[test]
    fn wait_between_assignments_keeps_to_the_bounds_of_groups() {
        let interval = |text| [(ASSIGNMENT_INTERVAL_MS, text)];
        let max = "group.consumer.assignment.interval.ms must be less than or equal to \
                   group.consumer.max.assignment.interval.ms";
        assert_eq!(changed(&NONE, &interval("15000"), &NONE, &NONE), Ok(()));
        assert_eq!(changed(&NONE, &interval("15001"), &NONE, &NONE), Err(max.to_owned()));
        let min = "group.consumer.assignment.interval.ms must be greater than or equal to \
                   group.consumer.min.assignment.interval.ms";
        let least = [("group.consumer.min.assignment.interval.ms", "10")];
        assert_eq!(changed(&NONE, &interval("9"), &NONE, &least), Err(min.to_owned()));
        // Without its own, the other layer's would hold.
        assert_eq!(changed(&interval("20"), &NONE, &interval("9"), &least), Err(min.to_owned()));
        assert_eq!(changed(&interval("9"), &interval("9"), &NONE, &least), Ok(()));
    }
}
