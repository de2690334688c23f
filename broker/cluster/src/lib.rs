//! What the cluster decides, as pure state machines: no I/O, no clock, no randomness of its own.
//!
//! - [`machine`]: the contract. Deciding reads the state and yields records; applying records changes it.
//! - [`controller`]: the metadata machine: topics, partitions, brokers, producer ids.
//! - [`groups`]: consumer groups and their offsets.
//! - [`metadata`]: the image that every broker has, and the records that it is made of.
//! - [`setting`] and [`topic_settings`]: how settings are read and checked, and those of topics.

pub mod controller;
pub mod groups;
pub mod machine;
pub mod metadata;
pub mod setting;
pub mod topic_settings;
