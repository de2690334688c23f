//! One segment of a log: its files and their indexes.

pub mod aborted_index;
pub mod offset_index;
pub mod time_index;
