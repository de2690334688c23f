//! Record batches, version 2: what producers send, logs keep and consumers get, byte for byte the same.
//!
//! ```text
//!  0  base offset             i64   stamped by the leader    \
//!  8  length of what follows  i32                             | outside the checksum: the leader gives a batch its
//! 12  partition leader epoch  i32   stamped by the leader     | offset and epoch without touching the rest
//! 16  magic                   i8    2                         |
//! 17  CRC-32C of all below    u32                            /
//! 21  attributes              i16   bits 0-2 codec, 3 log append time, 4 transactional, 5 control, 6 delete horizon
//! 23  last offset delta       i32   compaction leaves it, so that offsets stay known
//! 27  base timestamp          i64   of the first record; with bit 6 the time at which tombstones here may go
//! 35  max timestamp           i64   with bit 3 the time of every record
//! 43  producer id             i64   -1: not idempotent
//! 51  producer epoch          i16
//! 53  base sequence           i32   of the first record; wraps from i32::MAX to 0
//! 57  record count            i32
//! 61  records, together compressed by the codec
//! ```
//!
//! A record is a varint length, attributes (unused), timestamp and offset as varint deltas, key, value and headers.
//! `batch` views and stamps a batch where it lies, `record` walks its records, `compression` unpacks them within a limit,
//! `builder` makes batches, `control` reads and writes what control batches hold, and `produced` judges what a client sent.
//! Magic 0 and 1 are recognised and refused.

pub mod batch;
pub mod builder;
pub mod compression;
pub mod control;
pub mod produced;
pub mod record;
