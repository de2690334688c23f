//! The machine under a shard. The only crate that names `glommio` or `io_uring`.
//!
//! [`Host`] and [`Conn`], beside storage's `Disk` and `File`, are the one seam between the broker and
//! the world: `ring` is glommio with an own io_uring ring per shard, `portable` a tokio current-thread
//! runtime per core. [`machine::start`] runs one event loop per core on either.
#![allow(clippy::disallowed_methods, reason = "time, threads, files and sockets come from here")]

mod blocking;
mod clock;
mod folder;
pub mod host;
pub mod machine;
mod mailbox;
mod pool;
mod portable;
pub mod probe;
mod ring;
mod seat;
mod socket;
mod sys;

pub use host::{Conn, Host, Job, Listener, Load, Socket, host};
pub use machine::{CorePlan, Found, Handle, Kind, Machine, Pin, Plan, Shares, start};
