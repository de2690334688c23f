//! Every change to groups and offsets, as Kafka writes it to `__consumer_offsets`.
//!
//! A key is the kind of record (int16) and the message; a value is its version (int16) and the message. No value: what the
//! key names is gone.

use bytes::Bytes;
use protocol::messages::*;
use protocol::primitives::{DecodeError, EncodeError, Reader, Writer};

/// What a record says of what its key names: how it is now, or that it is gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Said<Key, Value> {
    pub key: Key,
    pub value: Option<Value>,
}

impl<Key, Value> Said<Key, Value> {
    pub fn now(key: Key, value: Value) -> Self {
        Self { key, value: Some(value) }
    }

    pub fn gone(key: Key) -> Self {
        Self { key, value: None }
    }
}

/// A key and a value's bytes as a log keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

macro_rules! group_records {
    ($($(#[$doc:meta])* $name:ident($key:ident, $value:ident) = $kind:literal, written in $version:expr;)*) => {
        /// One change.
        #[derive(Clone, Debug, PartialEq)]
        pub enum GroupRecord {
            $($(#[$doc])* $name(Said<$key, $value>),)*
        }

        $(impl From<Said<$key, $value>> for GroupRecord {
            fn from(said: Said<$key, $value>) -> Self {
                Self::$name(said)
            }
        })*

        impl GroupRecord {
            /// As the key and value of a log record.
            ///
            /// # Errors
            /// If a text in it is too long for Kafka's format.
            pub fn to_bytes(&self) -> Result<KeyValue, EncodeError> {
                match self {
                    $(Self::$name(said) => {
                        let version: fn(&$value) -> i16 = $version;
                        key_value($kind, &said.key, said.value.as_ref().map(|value| (version(value), value)))
                    })*
                }
            }

            /// Reads a log record, in any version.
            ///
            /// # Errors
            /// If it is damaged, or of a kind that this version does not know.
            pub fn from_bytes(key: &[u8], value: Option<&[u8]>) -> Result<Self, RecordError> {
                let mut r = Reader::new(key);
                let kind = r.i16()?;
                Ok(match kind {
                    $($kind => Self::$name(said(r, value)?),)*
                    unknown => return Err(RecordError::Kind(unknown)),
                })
            }
        }
    };
}

group_records! {
    OffsetCommit(OffsetCommitKey, OffsetCommitValue) = 1, written in offset_version;
    /// A classic group.
    GroupMetadata(GroupMetadataKey, GroupMetadataValue) = 2, written in |_| 3;
    ConsumerGroupMetadata(ConsumerGroupMetadataKey, ConsumerGroupMetadataValue) = 3, written in |_| 0;
    /// Older versions wrote it; now it is only deleted.
    ConsumerGroupPartitionMetadata(ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue) = 4, written in |_| 0;
    ConsumerGroupMember(ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue) = 5, written in |_| 0;
    TargetAssignmentEpoch(ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue) = 6, written in |_| 0;
    TargetAssignment(ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue) = 7, written in |_| 0;
    CurrentAssignment(ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue) = 8, written in |_| 0;
    RegularExpression(ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue) = 16, written in |_| 0;
}

// Kafka: only version 1 can say when an offset expires; asked for by commits up to version 4.
fn offset_version(offset: &OffsetCommitValue) -> i16 {
    if offset.expire_timestamp >= 0 { 1 } else { 4 }
}

/// Why bytes are not a record of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// A kind that this version does not know: of share and streams groups, or of a later Kafka.
    Kind(i16),
    Message(DecodeError),
}

impl From<DecodeError> for RecordError {
    fn from(error: DecodeError) -> Self {
        Self::Message(error)
    }
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "a group's record of unknown kind {kind}"),
            Self::Message(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RecordError {}

fn key_value(
    kind: i16,
    key: &impl Message,
    value: Option<(i16, &impl Message)>,
) -> Result<KeyValue, EncodeError> {
    let mut w = Writer::new();
    w.i16(kind);
    key.encode(&mut w, 0)?;
    let encoded = |(version, message): (i16, _)| {
        let mut w = Writer::new();
        w.i16(version);
        Message::encode(message, &mut w, version)?;
        Ok(w.into_bytes())
    };
    Ok(KeyValue { key: w.into_bytes(), value: value.map(encoded).transpose()? })
}

fn said<K: Message, V: Message>(
    mut key: Reader<'_>,
    value: Option<&[u8]>,
) -> Result<Said<K, V>, DecodeError> {
    let key = K::decode(&mut key, 0)?;
    let value = value.map(|bytes| {
        let mut r = Reader::new(bytes);
        let version = r.i16()?;
        V::decode(&mut r, version)
    });
    Ok(Said { key, value: value.transpose()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let key = || OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 3 };
        let value =
            OffsetCommitValue { offset: 7, metadata: "m".into(), commit_timestamp: 9, ..Default::default() };
        let expiring = OffsetCommitValue { expire_timestamp: 10, ..value.clone() };
        for record in [Said::now(key(), value), Said::now(key(), expiring), Said::gone(key())] {
            let record = GroupRecord::from(record);
            let bytes = record.to_bytes().unwrap();
            assert_eq!(GroupRecord::from_bytes(&bytes.key, bytes.value.as_deref()).unwrap(), record);
        }
    }

    #[test]
    fn kinds_of_other_coordinators_are_told_apart_from_damage() {
        assert_eq!(GroupRecord::from_bytes(&[0, 11, 0, 0], None), Err(RecordError::Kind(11)));
        assert!(matches!(GroupRecord::from_bytes(&[0, 1, 0], None), Err(RecordError::Message(_))));
    }
}
