//! What `start` says on standard output: the machine found, what it listens on, a line to try.
#![allow(clippy::print_stdout, reason = "the banner is for the person at the terminal")]

use std::net::SocketAddr;

use reactor::{Kind, Plan};

use crate::config::Config;

/// Before the cores start.
pub(crate) fn machine(plan: &Plan) {
    println!("Millstream {}", env!("CARGO_PKG_VERSION"));
    println!("  cores      {}", plan.cores.len());
}

/// Once clients can come.
pub(crate) fn listening(config: &Config, kind: Kind, addresses: &[SocketAddr], http: Option<SocketAddr>) {
    let dirs: Vec<_> = config.log_dirs.iter().map(|dir| dir.display().to_string()).collect();
    println!(
        "  reactor    {}",
        if kind == Kind::Ring { "ring (io_uring)" } else { "portable (epoll; slower than ring)" }
    );
    println!("  data       {}", dirs.join(", "));
    for address in addresses {
        println!("  listening  {address}");
    }
    if let Some(http) = http {
        println!("  metrics    http://{http}/metrics");
    }
    if let Some(address) = addresses.first() {
        println!(
            "Try:  echo hello | kcat -P -b {address} -t greetings && kcat -C -b {address} -t greetings -e"
        );
    }
}
