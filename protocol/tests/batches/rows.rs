//! Batches that Apache Kafka 4.3.1 made, with what it reads in them.

#![allow(clippy::unwrap_used, dead_code, reason = "shared by several test binaries")]

use std::path::PathBuf;

use serde_json::Value;

pub(crate) struct Row {
    pub(crate) magic: i8,
    pub(crate) codec: String,
    pub(crate) kind: String,
    pub(crate) bytes: Vec<u8>,
    /// What Kafka reads, batch by batch.
    pub(crate) read: Vec<Value>,
}

impl Row {
    pub(crate) fn name(&self) -> String {
        format!("magic {} {} {}", self.magic, self.codec, self.kind)
    }
}

/// All rows where the facts of Kafka are at hand, and without the long ones where they are not.
pub(crate) fn batches() -> Vec<Row> {
    let text = facts("batches/batches.tsv").unwrap_or_else(|| include_str!("batches.tsv").to_owned());
    text.lines().skip(1).map(row).collect()
}

/// A file of facts: in the folder that MILLSTREAM_KAFKA_FACTS names, or beside the workspace.
pub(crate) fn facts(file: &str) -> Option<String> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/kafka"));
    let folder = std::env::var_os("MILLSTREAM_KAFKA_FACTS").map_or_else(beside, PathBuf::from);
    std::fs::read_to_string(folder.join(file)).ok()
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.split('\t').collect();
    let &[magic, codec, kind, hex, read] = &cells[..] else { panic!("five columns in {line}") };
    Row {
        magic: magic.parse().unwrap(),
        codec: codec.to_owned(),
        kind: kind.to_owned(),
        bytes: unhex(hex),
        read: serde_json::from_str(read).unwrap(),
    }
}

/// What a broker answered to a batch, and what its log held then.
pub(crate) struct Append {
    /// The row of `batches` that was sent: magic, codec, kind.
    pub(crate) batch: [String; 3],
    pub(crate) topic_kind: String,
    pub(crate) error: i16,
    pub(crate) record_errors: Vec<i32>,
    /// `None` where it is just what was sent.
    pub(crate) stored: Option<Vec<u8>>,
}

pub(crate) fn appends() -> Vec<Append> {
    let text = facts("batches/append.tsv").unwrap_or_else(|| include_str!("append.tsv").to_owned());
    text.lines().skip(1).map(append).collect()
}

fn append(line: &str) -> Append {
    let cells: Vec<&str> = line.split('\t').collect();
    let &[magic, codec, kind, topic_kind, error, _, _, _, record_errors, _, _, stored] = &cells[..] else {
        panic!("twelve columns in {line}")
    };
    Append {
        batch: [magic, codec, kind].map(str::to_owned),
        topic_kind: topic_kind.to_owned(),
        error: error.parse().unwrap(),
        record_errors: record_errors.split(',').filter_map(|index| index.parse().ok()).collect(),
        stored: (stored != "=").then(|| unhex(stored)),
    }
}

pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
