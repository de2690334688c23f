//! The alphabet of the protocol: integers, varints, strings, bytes, arrays, tagged fields.
//!
//! Every string, byte field and array has two encodings of its length: the classic one (16 or 32 bits) and the compact one
//! (an unsigned varint holding the length plus one). `flexible` picks the compact one.

mod reader;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

use std::fmt;

/// No string on the wire is longer, whatever its encoding.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the value does, or a length says so.
    Short,
    /// A varint goes on after its last possible byte.
    Varint,
    /// Null where a value must be.
    Null,
    /// A string longer than any string may be.
    TooLong,
    /// What the bytes describe needs more memory than a message of this size may ask for.
    TooHeavy,
    /// There is no such version of this message.
    Version,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "the message ends too early",
            Self::Varint => "a varint is too long",
            Self::Null => "null where a value must be",
            Self::TooLong => "a string is longer than 32767 bytes",
            Self::TooHeavy => "the message asks for too much memory",
            Self::Version => "no such version of the message",
        })
    }
}

impl std::error::Error for DecodeError {}

/// Why a value cannot be said in a version. Always our own mistake, or a peer that is too old for what we have to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The field has a value that matters, and this version has no such field.
    NoSuchField { field: &'static str, version: i16 },
    /// The field is null, and may not be in this version.
    Null { field: &'static str, version: i16 },
    /// A string, byte field or array is longer than its length field can say.
    TooLong,
    /// There is no such version of this message.
    Version { message: &'static str, version: i16 },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchField { field, version } => write!(f, "version {version} has no field {field}"),
            Self::Null { field, version } => write!(f, "field {field} must not be null in version {version}"),
            Self::TooLong => f.write_str("a value is too long for its length field"),
            Self::Version { message, version } => write!(f, "{message} has no version {version}"),
        }
    }
}

impl std::error::Error for EncodeError {}
