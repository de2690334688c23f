//! How a request on the hot path names a topic.

use std::borrow::Cow;

use crate::ids::Uuid;
use crate::primitives::{DecodeError, Reader, Writer};

/// By name in older versions and by id in newer ones, never by both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicKey<'a> {
    /// As it was sent: at most 32767 bytes, and UTF-8 only by contract.
    Name(&'a [u8]),
    Id(Uuid),
}

impl<'a> TopicKey<'a> {
    /// Kafka: what is not UTF-8 reads as U+FFFD.
    pub fn name(&self) -> Option<Cow<'a, str>> {
        match self {
            Self::Name(name) => Some(String::from_utf8_lossy(name)),
            Self::Id(_) => None,
        }
    }

    pub fn id(&self) -> Option<Uuid> {
        match self {
            Self::Name(_) => None,
            Self::Id(id) => Some(*id),
        }
    }

    pub(crate) fn read(r: &mut Reader<'a>, by_id: bool, flexible: bool) -> Result<Self, DecodeError> {
        if by_id {
            r.uuid().map(Self::Id)
        } else {
            r.string_bytes(flexible)?.map(Self::Name).ok_or(DecodeError::Null)
        }
    }

    pub(crate) fn write(&self, w: &mut Writer, by_id: bool, flexible: bool) {
        match self {
            Self::Id(id) if by_id => w.uuid(*id),
            Self::Name(name) if !by_id => {
                let bytes = i16::try_from(name.len())
                    .expect("a topic's name came from a request or from us, and is short");
                if flexible {
                    w.unsigned_varint(bytes as u32 + 1)
                } else {
                    w.i16(bytes)
                }
                w.raw(name);
            }
            _ => panic!("an answer names its topics the way its version does: {self:?}, by id: {by_id}"),
        }
    }
}

impl<'a> From<&'a str> for TopicKey<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(name.as_bytes())
    }
}

impl From<Uuid> for TopicKey<'_> {
    fn from(id: Uuid) -> Self {
        Self::Id(id)
    }
}
