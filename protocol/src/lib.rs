//! Kafka on the wire, as values. Pure: no I/O, no async, no clock.

pub mod api_key;
pub mod crc32c;
pub mod error_code;
pub mod frame;
pub mod ids;
pub mod message;
#[rustfmt::skip] // generated
pub mod messages;
pub mod primitives;
pub mod records;
