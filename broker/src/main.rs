//! `millstream`: the broker and its command line in one binary.

mod admin;
mod api;
mod cli;
mod config;
mod controller;
mod coordinator;
mod metrics;
mod net;
mod partition;
mod promise;
mod server;
mod shard;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
