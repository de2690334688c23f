//! A Kafka client for load: batches, pipelines and reads without waiting, and never does anything that its caller did not
//! ask for, so that what is measured is the broker.
//!
//! `admin` asks and waits: topics, leaders, offsets, producer ids. `link` is a connection that never waits; `scout` finds
//! leaders and opens connections for those who may not wait. `batch`, `produce` and `fetch` are the two APIs that carry records.
//! `group` is a member of a group, without I/O of its own; a `dialogue` carries what it asks and is told.

pub(crate) mod admin;
pub(crate) mod batch;
pub(crate) mod connection;
pub(crate) mod dialogue;
pub(crate) mod error;
pub(crate) mod fetch;
pub(crate) mod group;
pub(crate) mod link;
pub(crate) mod poller;
pub(crate) mod produce;
pub(crate) mod scout;

pub(crate) const CLIENT_ID: &str = "millstream-bench";
