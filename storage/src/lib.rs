//! One partition's log on disk: segments, indexes, recovery, producer state. Knows no requests, no
//! leaders and no clock; time and scheduling are its caller's. All files are reached through
//! [`disk::Disk`], which the reactor implements for real and [`disk::memory`] for tests.

pub mod buffer;
pub mod cache;
pub mod catalogue;
pub mod checkpoint;
pub mod commit_log;
pub mod compaction;
mod config;
pub mod data_dir;
pub mod disk;
pub mod error;
mod facts;
pub mod format;
pub mod leader_epochs;
pub mod log;
pub mod producers;
pub mod recovery;
pub mod retention;
pub mod segment;

pub use error::Error;
