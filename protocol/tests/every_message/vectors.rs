//! Bytes that Apache Kafka 4.3.1 wrote, with what they mean.

#![allow(clippy::unwrap_used, dead_code, reason = "shared by several test binaries")]

use std::path::PathBuf;

pub(crate) struct Vector {
    pub(crate) message: String,
    pub(crate) version: i16,
    pub(crate) variant: String,
    pub(crate) bytes: Vec<u8>,
    /// Kafka's own JSON form, where it is kept.
    pub(crate) json: Option<serde_json::Value>,
}

/// The representative part that is checked in: the oldest and the newest version of every message.
pub(crate) fn checked_in() -> Vec<Vector> {
    include_str!("../golden/vectors.tsv").lines().skip(1).map(|line| vector(line, [0, 1, 2, 3, 4])).collect()
}

/// All vectors, where the facts of Kafka are at hand: in the folder that MILLSTREAM_KAFKA_FACTS names, or beside the workspace.
pub(crate) fn all() -> Option<Vec<Vector>> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/kafka"));
    let facts = std::env::var_os("MILLSTREAM_KAFKA_FACTS").map_or_else(beside, PathBuf::from);
    let text = std::fs::read_to_string(facts.join("golden/vectors.tsv")).ok()?;
    Some(text.lines().skip(1).map(|line| vector(line, [0, 3, 5, 6, 7])).collect())
}

fn vector(line: &str, columns: [usize; 5]) -> Vector {
    let cells: Vec<&str> = line.split('\t').collect();
    let [message, version, variant, hex, json] = columns.map(|at| cells[at]);
    Vector {
        message: message.to_owned(),
        version: version.parse().unwrap(),
        variant: variant.to_owned(),
        bytes: (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect(),
        json: (!json.is_empty()).then(|| serde_json::from_str(json).unwrap()),
    }
}
