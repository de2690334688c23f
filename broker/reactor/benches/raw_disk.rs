//! What the disk itself gives. The figures of a machine are read as a ratio of these.
//!
//! `cargo bench -p reactor --bench raw_disk -- [DIRECTORY [SECONDS]]`
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench may")]

use std::path::PathBuf;
use std::time::Duration;

#[path = "raw/disk.rs"]
mod disk;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into()));
    let seconds = arguments.next().map_or(2, |seconds| seconds.parse().unwrap());
    println!("{}", disk::TITLE);
    for (bytes, depth, durable) in [(4096, 1, true), (65_536, 1, true), (4096, 16, true), (65_536, 16, false)]
    {
        let path = folder.join("raw_disk.probe");
        let file = disk::written(&path);
        let took = disk::run(&file, bytes, depth, durable, Duration::from_secs(seconds));
        let how = if durable { "durable" } else { "plain" };
        took.print(&format!("raw {} KiB, depth {depth}, {how}", bytes >> 10));
        std::fs::remove_file(path).unwrap();
    }
}
