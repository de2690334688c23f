//! The machine under a shard. The only crate that names `glommio` or `io_uring`.
//!
//! [`Host`] and [`Conn`], beside storage's `Disk` and `File`, are the one seam between the broker and
//! the world: `ring` is glommio with an own io_uring ring per shard, `portable` a tokio current-thread
//! runtime per core.

pub mod host;

pub use host::{Conn, Host, Job, Listener, Socket, host};
