//! All messages behind one face, for tests that go through them all.

// Each test uses the part it needs.
#![allow(dead_code, reason = "shared by several test binaries")]

#[path = "table.rs"]
mod table;

use std::fmt;

use protocol::messages::Message;
use protocol::primitives::{DecodeError, EncodeError, Reader, Writer};
pub(crate) use table::MESSAGES;

pub(crate) struct Codec {
    pub(crate) name: &'static str,
    pub(crate) key: Option<i16>,
    pub(crate) first: i16,
    pub(crate) last: i16,
    pub(crate) flexible_from: Option<i16>,
    /// Decodes and drops.
    pub(crate) accepts: fn(&mut Reader<'_>, i16) -> Result<(), DecodeError>,
    pub(crate) decode: Decode,
    pub(crate) default: fn() -> Box<dyn Value>,
}

pub(crate) type Decode = fn(&mut Reader<'_>, i16) -> Result<Box<dyn Value>, DecodeError>;

/// A message of some type.
pub(crate) trait Value: fmt::Debug {
    fn encode(&self, version: i16) -> Result<Vec<u8>, EncodeError>;
    /// Whether decoding `bytes` gives this value.
    fn is_read_from(&self, bytes: &[u8], version: i16) -> bool;
}

impl<M: Message> Value for M {
    fn encode(&self, version: i16) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new();
        Message::encode(self, &mut w, version)?;
        Ok(w.into_vec())
    }

    fn is_read_from(&self, bytes: &[u8], version: i16) -> bool {
        M::from_bytes(bytes, version).is_ok_and(|other| other == *self)
    }
}

const fn codec<M: Message + 'static>() -> Codec {
    Codec {
        name: M::NAME,
        key: M::KEY,
        first: *M::VERSIONS.start(),
        last: *M::VERSIONS.end(),
        flexible_from: M::FLEXIBLE_FROM,
        accepts: |r, version| M::decode(r, version).map(drop),
        decode: |r, version| Ok(Box::new(M::decode(r, version)?)),
        default: || Box::new(M::default()),
    }
}

pub(crate) fn find(name: &str) -> &'static Codec {
    MESSAGES.iter().find(|codec| codec.name == name).unwrap_or_else(|| panic!("no message {name}"))
}

pub(crate) fn request(key: i16) -> Option<&'static Codec> {
    MESSAGES.iter().find(|codec| codec.key == Some(key) && codec.name.ends_with("Request"))
}

/// Reads a frame as a broker does: header, then the message in the version the header names.
pub(crate) fn decode_request(frame: &[u8]) {
    let mut r = Reader::new(frame);
    let Ok(head) = protocol::frame::RequestHead::decode(&mut r) else { return };
    if let Some(codec) = request(head.key.as_i16()) {
        let _ = (codec.accepts)(&mut r, head.version);
    }
}
