//! Kafka on the wire, as values. Pure: no I/O, no async, no clock.
//!
//! Start with `frame::RequestHead`, which says what a frame holds; `messages`, one generated type per message, all of them
//! a `messages::Message`; `primitives::{Reader, Writer}`, which they are read from and written to; and
//! `records::batch::BatchView`, the form of records on the wire and on disk. `produce` and `fetch` are those two APIs by hand, for
//! brokers. `api_key` and `error_code` are Kafka's tables.

pub mod api_key;
pub mod crc32c;
pub mod error_code;
pub mod fetch;
pub mod frame;
pub mod ids;
pub mod leader_hint;
pub mod message;
#[rustfmt::skip] // generated
pub mod messages;
pub mod partitioner;
pub mod primitives;
pub mod produce;
pub mod records;
pub mod topic_key;
