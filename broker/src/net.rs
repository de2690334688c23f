//! The clients' side of the network.

pub(crate) mod connection;
pub(crate) mod listener;
mod replies;
