//! Every setting a topic can have, in the order in which Kafka checks them.
//!
//! A topic that does not set one takes it from its broker, under another name and perhaps in another unit.

use crate::setting::Default::{Null, Text};
use crate::setting::Importance::Medium;
use crate::setting::Kind::{self, Boolean, Double, Int, List, Long, String};
use crate::setting::Standing::{self, Accepted, Honoured, NotYet};
use crate::setting::Valid::{
    Any, AtLeast, Between, ElementsOneOf, GzipLevel, OneOf, ThrottledReplicas, UpTo,
};
use crate::setting::{Default, Setting, Valid};

/// A topic's setting and where its value comes from when the topic says nothing.
#[derive(Clone, Copy, Debug)]
pub struct TopicSetting {
    pub setting: Setting,
    /// Kafka: shown only where it is set.
    pub is_internal: bool,
    /// The broker's settings to look at, in order.
    pub synonyms: &'static [Synonym],
}

/// A broker's setting that stands behind a topic's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    pub name: &'static str,
    /// The broker's unit in the topic's.
    pub factor: i64,
    pub default: Option<&'static str>,
}

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static TopicSetting> {
    TOPIC_SETTINGS.iter().find(|topic| topic.setting.name == name)
}

/// The setting by which a running broker, or all of them, can be given another default for topics: one that acts at once,
/// under the broker's name for it.
pub fn changeable_default(name: &str) -> Option<Setting> {
    let of_that_name =
        |topic: &TopicSetting| topic.synonyms.iter().any(|one| one.name == name && one.factor == 1);
    let topic = TOPIC_SETTINGS.iter().find(|topic| of_that_name(topic))?;
    let synonym = topic.synonyms.iter().find(|one| one.name == name)?;
    (topic.setting.standing == Honoured).then_some(Setting { name: synonym.name, ..topic.setting })
}

const fn topic(
    name: &'static str,
    kind: Kind,
    default: Default,
    valid: Valid,
    standing: Standing,
    synonyms: &'static [Synonym],
    doc: &'static str,
) -> TopicSetting {
    let setting = Setting { name, kind, default, valid, importance: Medium, standing, doc };
    TopicSetting { setting, is_internal: false, synonyms }
}

/// A synonym in the topic's own unit.
const fn same(name: &'static str, default: &'static str) -> Synonym {
    Synonym { name, factor: 1, default: Some(default) }
}

const fn unset(name: &'static str, factor: i64) -> Synonym {
    Synonym { name, factor, default: None }
}

const fn in_hours(name: &'static str, default: &'static str) -> Synonym {
    Synonym { name, factor: HOUR_MS, default: Some(default) }
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const FOREVER: &str = "9223372036854775807";

const CLEANUP: Valid = ElementsOneOf { of: &["compact", "delete"], may_be_empty: true, may_repeat: true };
const CODECS: Valid = OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);
const TIMESTAMPS: Valid = OneOf(&["CreateTime", "LogAppendTime"]);

const ZERO_FILLED: Standing = Accepted("segments are always reserved ahead; appends never extend a file");
const FLUSHED: Standing = Accepted("the broker's `durability` decides, for every write");
const ONE_REPLICA: Standing = Accepted("nothing is replicated yet, so there is nothing to slow down");

/// Sorted by when Kafka checks them: of several bad values in a request, the first here is the one reported.
#[rustfmt::skip]
pub const TOPIC_SETTINGS: &[TopicSetting] = &[
    topic("segment.bytes", Int, Text("1073741824"), AtLeast(1_048_576), Honoured, &[same("log.segment.bytes", "1073741824")],
        "Size at which a segment file is closed and the next one begun."),
    topic("segment.ms", Long, Text("604800000"), AtLeast(1), Honoured, &[unset("log.roll.ms", 1), in_hours("log.roll.hours", "168")],
        "Age at which a segment is closed even if it is not full, so that retention and compaction can get at it."),
    topic("segment.jitter.ms", Long, Text("0"), AtLeast(0), Honoured, &[unset("log.roll.jitter.ms", 1), in_hours("log.roll.jitter.hours", "0")],
        "Up to how much earlier than segment.ms a segment may be closed, at random, so that not all close at once."),
    topic("segment.index.bytes", Int, Text("10485760"), AtLeast(4), Honoured, &[same("log.index.size.max.bytes", "10485760")],
        "Largest size of a segment's offset index; a full index closes the segment."),
    topic("flush.messages", Long, Text(FOREVER), AtLeast(1), FLUSHED, &[same("log.flush.interval.messages", FOREVER)],
        "After how many records a flush is forced."),
    topic("flush.ms", Long, Text(FOREVER), AtLeast(0), FLUSHED, &[unset("log.flush.interval.ms", 1), same("log.flush.scheduler.interval.ms", FOREVER)],
        "After how long a flush is forced."),
    topic("retention.bytes", Long, Text("-1"), Any, Honoured, &[same("log.retention.bytes", "-1")],
        "How much of a partition is kept before its oldest segments are deleted; -1 keeps all."),
    topic("retention.ms", Long, Text("604800000"), AtLeast(-1), Honoured,
        &[unset("log.retention.ms", 1), unset("log.retention.minutes", MINUTE_MS), in_hours("log.retention.hours", "168")],
        "How long a segment is kept after its newest record; -1 keeps it for ever."),
    topic("max.message.bytes", Int, Text("1048588"), AtLeast(0), Honoured, &[same("message.max.bytes", "1048588")],
        "Largest record batch accepted, as it is sent, so after compression."),
    topic("index.interval.bytes", Int, Text("4096"), AtLeast(0), Honoured, &[same("log.index.interval.bytes", "4096")],
        "Bytes of log between two entries of the offset index."),
    topic("delete.retention.ms", Long, Text("86400000"), AtLeast(0), Honoured, &[same("log.cleaner.delete.retention.ms", "86400000")],
        "How long a compacted topic keeps a tombstone, which is how long a reader may take from the start to the end."),
    topic("min.compaction.lag.ms", Long, Text("0"), AtLeast(0), Honoured, &[same("log.cleaner.min.compaction.lag.ms", "0")],
        "How long a record stays untouched by compaction."),
    topic("max.compaction.lag.ms", Long, Text(FOREVER), AtLeast(1), Honoured, &[same("log.cleaner.max.compaction.lag.ms", FOREVER)],
        "How long a record may wait until compaction considers it."),
    topic("file.delete.delay.ms", Long, Text("60000"), AtLeast(0), Honoured, &[same("log.segment.delete.delay.ms", "60000")],
        "How long the files of a deleted segment stay on disk under another name."),
    topic("min.cleanable.dirty.ratio", Double, Text("0.5"), UpTo(1.0), Honoured, &[same("log.cleaner.min.cleanable.ratio", "0.5")],
        "Share of a log that must be uncompacted before compaction is worth its cost."),
    topic("cleanup.policy", List, Text("delete"), CLEANUP, Honoured, &[same("log.cleanup.policy", "delete")],
        "What happens to old records: delete them by age and size, compact them by key, both, or (empty) nothing."),
    topic("unclean.leader.election.enable", Boolean, Text("false"), Any, Accepted("a partition's only replica cannot be out of sync"), &[same("unclean.leader.election.enable", "false")],
        "Whether a replica that lacks acknowledged records may lead when no other is left."),
    topic("min.insync.replicas", Int, Text("1"), AtLeast(1), Honoured, &[same("min.insync.replicas", "1")],
        "How many replicas must hold a batch before acks=all is answered; capped by the replica count."),
    topic("compression.type", String, Text("producer"), CODECS, Honoured, &[same("compression.type", "producer")],
        "Codec in which batches are stored; `producer` keeps what the producer chose."),
    topic("compression.gzip.level", Int, Text("-1"), GzipLevel, Honoured, &[same("compression.gzip.level", "-1")],
        "Effort of gzip where the broker compresses."),
    topic("compression.lz4.level", Int, Text("9"), Between(1, 17), Honoured, &[same("compression.lz4.level", "9")],
        "Effort of lz4 where the broker compresses."),
    topic("compression.zstd.level", Int, Text("3"), Between(-131_072, 22), Honoured, &[same("compression.zstd.level", "3")],
        "Effort of zstd where the broker compresses."),
    topic("preallocate", Boolean, Text("false"), Any, ZERO_FILLED, &[same("log.preallocate", "false")],
        "Whether a new segment's file is reserved in full at once."),
    topic("message.timestamp.type", String, Text("CreateTime"), TIMESTAMPS, Honoured, &[same("log.message.timestamp.type", "CreateTime")],
        "Whether a record keeps its producer's timestamp or gets the time at which it was appended."),
    topic("message.timestamp.before.max.ms", Long, Text(FOREVER), AtLeast(0), Honoured, &[same("log.message.timestamp.before.max.ms", FOREVER)],
        "How far behind the broker's clock a producer's timestamp may be."),
    topic("message.timestamp.after.max.ms", Long, Text("3600000"), AtLeast(0), Honoured, &[same("log.message.timestamp.after.max.ms", "3600000")],
        "How far ahead of the broker's clock a producer's timestamp may be."),
    topic("leader.replication.throttled.replicas", List, Text(""), ThrottledReplicas, ONE_REPLICA, &[],
        "Replicas whose leader sends no faster than its throttle, as partition:broker pairs, or * for all."),
    topic("follower.replication.throttled.replicas", List, Text(""), ThrottledReplicas, ONE_REPLICA, &[],
        "Replicas that fetch no faster than their throttle, as partition:broker pairs, or * for all."),
    topic("remote.storage.enable", Boolean, Text("false"), Any, NotYet, &[],
        "Whether closed segments move to an object store."),
    topic("local.retention.ms", Long, Text("-2"), AtLeast(-2), NotYet, &[same("log.local.retention.ms", "-2")],
        "How long a segment stays on local disk once it is in the object store; -2 follows retention.ms."),
    topic("local.retention.bytes", Long, Text("-2"), AtLeast(-2), NotYet, &[same("log.local.retention.bytes", "-2")],
        "How much of a partition stays on local disk once it is in the object store; -2 follows retention.bytes."),
    topic("remote.log.copy.disable", Boolean, Text("false"), Any, NotYet, &[],
        "Whether a tiered topic stops copying new segments to the object store."),
    topic("remote.log.delete.on.disable", Boolean, Text("false"), Any, NotYet, &[],
        "Whether turning tiering off deletes what was moved."),
    INTERNAL_SEGMENT_BYTES,
];

/// Kafka: lets tests have small segments.
const INTERNAL_SEGMENT_BYTES: TopicSetting = TopicSetting {
    setting: Setting {
        name: "internal.segment.bytes",
        kind: Int,
        default: Null,
        valid: Any,
        importance: Medium,
        standing: Honoured,
        doc: "Replaces segment.bytes without its lower bound; for tests.",
    },
    is_internal: true,
    synonyms: &[],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_defaults_are_valid() {
        for (i, topic) in TOPIC_SETTINGS.iter().enumerate() {
            let Setting { name, default, doc, .. } = topic.setting;
            assert!(TOPIC_SETTINGS[..i].iter().all(|other| other.setting.name != name), "{name} twice");
            assert!(doc.ends_with('.'), "{name}");
            let Text(default) = default else { continue };
            let value = topic.setting.parse(default).unwrap();
            assert_eq!(value.to_string(), default, "{name}");
            let Some(last) = topic.synonyms.last() else { continue };
            let inherited = last.default.expect("the last synonym has a value");
            let expected = match last.factor {
                1 => inherited.to_owned(),
                factor => (inherited.parse::<i64>().unwrap() * factor).to_string(),
            };
            assert_eq!(expected, default, "{name}");
        }
        assert_eq!(TOPIC_SETTINGS.len(), 34);
    }
}
