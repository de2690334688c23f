//! What the cluster decides, as pure state machines: no I/O, no clock, no randomness of its own.
//!
//! - [`machine`]: the contract. Deciding reads the state and yields records; applying records changes it.
//! - [`controller`]: the metadata machine: topics, partitions, brokers, producer ids.
//! - [`groups`]: consumer groups and their offsets.
//! - [`metadata`]: the image that every broker has, and the records that it is made of.
//! - [`setting`]: how settings are read and checked. [`topic_settings`], [`group_settings`]: those of topics and groups;
//!   [`live_settings`]: those of brokers that change while they run.

pub mod controller;
pub mod group_settings;
pub mod groups;
pub mod live_settings;
pub mod machine;
pub mod metadata;
pub mod setting;
pub mod topic_settings;
