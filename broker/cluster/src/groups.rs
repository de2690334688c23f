//! The groups whose records are in one partition of `__consumer_offsets`, as a machine.

pub mod assignment;
pub mod assignor;
mod command;
pub mod consumer_protocol;
pub mod metadata_hash;
mod record;
mod settings;
pub mod subscription;

pub use command::{Answer, Asked, Client, Command, FetchOffsets, Reply, Ticket};
pub use record::{GroupRecord, KeyValue, RecordError, Said};
pub use settings::{Bounds, ConsumerTimes, GroupSettings, MigrationPolicy};
