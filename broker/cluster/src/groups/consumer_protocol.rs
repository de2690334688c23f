//! What members of the classic protocol say to each other: a version (int16) and a message, opaque to the broker but for
//! groups of protocol type `consumer`.

use bytes::Bytes;
use protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription, Message};
use protocol::primitives::{DecodeError, Reader, Writer};

/// The protocol type of members that embed this.
pub const PROTOCOL_TYPE: &str = "consumer";

/// The version that a message says it has.
pub fn version_of(metadata: &[u8]) -> Result<i16, DecodeError> {
    Reader::new(metadata).i16()
}

pub fn parse_subscription(metadata: &[u8]) -> Result<ConsumerProtocolSubscription, DecodeError> {
    parse(metadata)
}

pub fn parse_assignment(assignment: &[u8]) -> Result<ConsumerProtocolAssignment, DecodeError> {
    parse(assignment)
}

/// An assignment in the version that its reader spoke last, or in the newest of those that are known here.
pub fn assignment_bytes(assignment: &ConsumerProtocolAssignment, version: i16) -> Bytes {
    let version = version
        .clamp(*ConsumerProtocolAssignment::VERSIONS.start(), *ConsumerProtocolAssignment::VERSIONS.end());
    let mut w = Writer::new();
    w.i16(version);
    assignment.encode(&mut w, version).expect("topics' names are shorter than what the format can hold");
    w.into_bytes()
}

/// A later version only adds to the end, so what is known of it is at its beginning.
fn parse<M: Message>(bytes: &[u8]) -> Result<M, DecodeError> {
    let mut r = Reader::new(bytes);
    let version = r.i16()?;
    M::decode(&mut r, version.min(*M::VERSIONS.end()))
}

#[cfg(test)]
mod tests {
    use protocol::messages::consumer_protocol_assignment::TopicPartition;

    use super::*;

    #[test]
    fn later_versions_are_read_as_the_newest_known() {
        let subscription = ConsumerProtocolSubscription {
            topics: vec!["t".to_owned()],
            rack_id: Some("r".to_owned()),
            generation_id: 4,
            ..Default::default()
        };
        for version in [0, 1, 2, 3] {
            let mut w = Writer::new();
            w.i16(version);
            subscription.encode(&mut w, version).unwrap();
            let mut bytes = w.into_bytes().to_vec();
            assert_eq!(parse_subscription(&bytes).unwrap().topics, ["t"]);
            assert_eq!(version_of(&bytes), Ok(version));
            if version == 3 {
                bytes[1] = 9;
                bytes.extend([1, 2, 3]);
                assert_eq!(parse_subscription(&bytes).unwrap(), subscription);
            }
        }
    }

    #[test]
    fn what_is_damaged_or_of_a_negative_version_is_refused() {
        for bytes in [&[][..], &[0], &[0, 0], &[0xff, 0xff, 0, 0, 0, 0], &[0, 0, 0x7f, 0xff, 0xff, 0xff]] {
            assert!(parse_subscription(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn an_assignment_is_written_in_the_version_asked_for() {
        let assigned_partitions = vec![TopicPartition { topic: "t".to_owned(), partitions: vec![0, 2] }];
        let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
        for (asked, written) in [(0, 0), (2, 2), (9, 3)] {
            let bytes = assignment_bytes(&assignment, asked);
            assert_eq!(version_of(&bytes), Ok(written));
            assert_eq!(parse_assignment(&bytes).unwrap(), assignment);
        }
    }
}
