//! What every generated message can do.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::primitives::{DecodeError, EncodeError, Reader, Writer};

/// A message in all of its versions. `Default` gives Kafka's default for every field.
pub trait Message: Clone + Debug + Default + PartialEq {
    const NAME: &'static str;
    /// The API of a request or response, the type of a metadata or coordinator record.
    const KEY: Option<i16>;
    const VERSIONS: RangeInclusive<i16>;
    /// First version with compact lengths and tagged fields.
    const FLEXIBLE_FROM: Option<i16>;

    /// Reads the message and leaves what follows it. Unknown tagged fields are skipped.
    fn decode(r: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError>;

    /// Writes the message after what was written before. A field that this version lacks must have its default, unless
    /// Kafka marks it as one that may be lost.
    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError>;

    /// Kafka: bytes after the message are no error.
    fn from_bytes(bytes: &[u8], version: i16) -> Result<Self, DecodeError> {
        Self::decode(&mut Reader::new(bytes), version)
    }

    fn to_bytes(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut w = Writer::new();
        self.encode(&mut w, version)?;
        Ok(w.into_bytes())
    }
}

pub(crate) fn check_decodable<M: Message>(version: i16) -> Result<(), DecodeError> {
    if M::VERSIONS.contains(&version) { Ok(()) } else { Err(DecodeError::Version) }
}

pub(crate) fn check_encodable<M: Message>(version: i16) -> Result<(), EncodeError> {
    let message = M::NAME;
    if M::VERSIONS.contains(&version) { Ok(()) } else { Err(EncodeError::Version { message, version }) }
}

/// Complains about a field that says something in a version that has no place for it.
pub(crate) fn no_such_field(is_set: bool, field: &'static str, version: i16) -> Result<(), EncodeError> {
    if is_set { Err(EncodeError::NoSuchField { field, version }) } else { Ok(()) }
}

pub(crate) fn not_null(is_null: bool, field: &'static str, version: i16) -> Result<(), EncodeError> {
    if is_null { Err(EncodeError::Null { field, version }) } else { Ok(()) }
}

/// What generated files are made of.
pub(crate) mod parts {
    pub(crate) use std::ops::RangeInclusive;

    pub(crate) use bytes::Bytes;

    pub(crate) use super::{Message, check_decodable, check_encodable, no_such_field, not_null};
    pub(crate) use crate::ids::Uuid;
    pub(crate) use crate::primitives::{DecodeError, EncodeError, Reader, Writer};
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::fetch_request::ReplicaState;
    use crate::messages::{FetchRequest, JoinGroupRequest, MetadataRequest};

    #[test]
    fn a_version_that_does_not_exist_is_refused_both_ways() {
        for version in [-1, 14, i16::MAX] {
            assert_eq!(MetadataRequest::from_bytes(&[0; 64], version), Err(DecodeError::Version));
            let error = EncodeError::Version { message: "MetadataRequest", version };
            assert_eq!(MetadataRequest::default().to_bytes(version), Err(error));
        }
    }

    #[test]
    fn a_field_that_matters_is_not_dropped() {
        let request = MetadataRequest { allow_auto_topic_creation: false, ..Default::default() };
        let error = EncodeError::NoSuchField { field: "AllowAutoTopicCreation", version: 3 };
        assert_eq!(request.to_bytes(3), Err(error));
        assert_eq!(MetadataRequest::from_bytes(&request.to_bytes(4).unwrap(), 4), Ok(request));

        let replica_state = ReplicaState { replica_id: 1, ..Default::default() };
        let request = FetchRequest { replica_state, ..Default::default() };
        assert_eq!(
            request.to_bytes(14),
            Err(EncodeError::NoSuchField { field: "ReplicaState", version: 14 })
        );
        assert_eq!(FetchRequest::from_bytes(&request.to_bytes(15).unwrap(), 15), Ok(request));
    }

    #[test]
    fn a_field_marked_ignorable_is_dropped_where_a_version_lacks_it() {
        let request = JoinGroupRequest { reason: Some("rebalance".to_owned()), ..Default::default() };
        assert_eq!(request.to_bytes(7), JoinGroupRequest::default().to_bytes(7));
        assert_ne!(request.to_bytes(8), JoinGroupRequest::default().to_bytes(8));
    }

    #[test]
    fn null_and_empty_stay_apart() {
        let (all, none) =
            (MetadataRequest { topics: None, ..Default::default() }, MetadataRequest::default());
        for version in 1..=13 {
            for request in [&all, &none] {
                let bytes = request.to_bytes(version).unwrap();
                assert_eq!(MetadataRequest::from_bytes(&bytes, version).as_ref(), Ok(request));
            }
        }
        assert_eq!(all.to_bytes(0), Err(EncodeError::Null { field: "Topics", version: 0 }));
        assert_eq!(MetadataRequest::from_bytes(&[0xff; 4], 0), Err(DecodeError::Null));
    }
}
