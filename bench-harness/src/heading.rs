//! What every document begins with that is no run's result: what it is, who made it, when, and on which machine.

use serde::Serialize;

use crate::clock;

const FORMAT: u32 = 1;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Heading {
    format: u32,
    /// `comparison`, `sweep`, `recovery`, `groups`, `raw-disk` or `raw-echo`.
    kind: &'static str,
    /// The harness's own version.
    harness: &'static str,
    command: Vec<String>,
    /// Wall clock, UTC.
    began_ms: i64,
    machine: serde_json::Value,
}

impl Heading {
    pub(crate) fn of(kind: &'static str, machine: serde_json::Value) -> Self {
        Self {
            format: FORMAT,
            kind,
            harness: env!("CARGO_PKG_VERSION"),
            command: std::env::args().collect(),
            began_ms: clock::wall_ms(),
            machine,
        }
    }
}
