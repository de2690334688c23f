//! The clients' side of the network.

pub(crate) mod connection;
mod follow;
pub(crate) mod listener;
mod replies;
