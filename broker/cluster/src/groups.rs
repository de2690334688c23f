//! The groups whose records are in one partition of `__consumer_offsets`, as a machine.

mod command;
mod record;
mod settings;

pub use command::{Answer, Asked, Client, Command, FetchOffsets, Reply, Ticket};
pub use record::{GroupRecord, KeyValue, RecordError, Said};
pub use settings::{Bounds, ConsumerTimes, GroupSettings, MigrationPolicy};
