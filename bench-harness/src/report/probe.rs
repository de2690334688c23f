//! What disk and network give without a broker, measured by `raw disk` and `raw echo` on the same machine: the limit that
//! brokers are held against.

use serde::Deserialize;

use super::section::Machine;
use super::table::{Column, Row, Table};
use crate::machine::Facts;
use crate::number;
use crate::result::FORMAT;

#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) file: String,
    kind: Kind,
    facts: Facts,
    rows: Vec<Case>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Kind {
    #[serde(rename = "raw-disk")]
    Disk,
    #[serde(rename = "raw-echo")]
    Echo,
}

#[derive(Deserialize)]
struct Document {
    format: u32,
    kind: Kind,
    machine: Facts,
    rows: Vec<Case>,
}

/// One case of a probe.
#[derive(Clone, Debug, Deserialize)]
struct Case {
    bytes: u64,
    depth: u64,
    /// Of a disk: each write is flushed before it counts.
    #[serde(default)]
    dsync: Option<bool>,
    #[serde(default)]
    prewritten: Option<bool>,
    /// Of an echo.
    #[serde(default)]
    connections: Option<u64>,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
    per_s: f64,
    mib_per_s: f64,
}

/// What a figure of brokers is divided by.
pub(super) struct Limit {
    pub(super) name: String,
    pub(super) unit: &'static str,
    /// A column of the figures.
    pub(super) of: &'static str,
    pub(super) divisor: f64,
}

/// Whether a document says that it is one of a probe.
pub(super) fn is_probe(value: &serde_json::Value) -> bool {
    value.get("kind").is_some_and(|kind| Kind::deserialize(kind).is_ok())
}

impl Probe {
    pub(super) fn read(file: &str, value: serde_json::Value) -> Result<Self, String> {
        let document: Document =
            serde_json::from_value(value).map_err(|error| format!("not a probe's result: {error}"))?;
        if document.format != FORMAT {
            return Err(format!("format {}; this program reads {FORMAT}", document.format));
        }
        let Document { kind, machine, rows, .. } = document;
        Ok(Self { file: file.to_owned(), kind, facts: machine, rows })
    }

    /// A disk's figures hold for one disk, an echo's for the machine.
    pub(super) fn is_of(&self, machine: &Machine) -> bool {
        machine.facts.as_ref().is_some_and(|facts| match self.kind {
            Kind::Disk => facts.identity() == self.facts.identity(),
            Kind::Echo => facts.identity_without_disk() == self.facts.identity_without_disk(),
        })
    }

    /// What brokers are held against whose records have so many bytes.
    pub(super) fn limits(&self, record_bytes: u64) -> Vec<Limit> {
        let alone = |case: &&Case| {
            let is_durable = case.dsync.unwrap_or(true) && case.prewritten.unwrap_or(true);
            case.depth == 1 && case.connections.unwrap_or(1) == 1 && is_durable && case.p50_us > 0.0
        };
        // The smallest case that holds a record; the largest if none does.
        let fitting = self.rows.iter().filter(alone).min_by_key(|case| match case.bytes >= record_bytes {
            true => (false, case.bytes),
            false => (true, u64::MAX - case.bytes),
        });
        let what = match self.kind {
            Kind::Disk => "raw durable write",
            Kind::Echo => "raw echo",
        };
        let mut limits: Vec<Limit> = fitting
            .map(|case| Limit {
                name: format!("ack p50 / {what} of {} bytes", case.bytes),
                unit: "×",
                of: "ack_p50_us",
                divisor: case.p50_us,
            })
            .into_iter()
            .collect();
        let most = self.rows.iter().map(|case| case.mib_per_s).fold(0.0, f64::max);
        if self.kind == Kind::Disk && most > 0.0 {
            limits.push(Limit {
                name: "acknowledged bytes / most the raw disk took".to_owned(),
                unit: "%",
                of: "acked_mib_per_s",
                divisor: most / 100.0,
            });
        }
        limits
    }

    pub(super) fn table(&self) -> Table {
        let mut columns = vec![Column::text("what")];
        columns.extend([Column::number("size", "bytes"), Column::number("depth", "")]);
        columns.extend(["p50", "p99", "max"].map(|it| Column::number(it, "µs")));
        columns.extend([Column::number("rate", "per s"), Column::number("throughput", "MiB/s")]);
        let rows = self.rows.iter().map(|case| Row { cells: case.cells(), is_bad: false }).collect();
        let what = match self.kind {
            Kind::Disk => "What the disk gives to a bare io_uring loop",
            Kind::Echo => "What loopback or network gives to a bare io_uring echo",
        };
        Table { caption: format!("{what}, with no broker in between ({}).", self.file), columns, rows }
    }
}

impl Case {
    fn cells(&self) -> Vec<String> {
        let what = match (self.connections, self.dsync, self.prewritten) {
            (Some(connections), ..) => format!("{connections} connections"),
            (None, dsync, prewritten) => {
                let flushed = if dsync == Some(true) { "flushed" } else { "not flushed" };
                let space = if prewritten == Some(true) { "written space" } else { "new space" };
                format!("write, {flushed}, {space}")
            }
        };
        let mut cells = vec![what, number::whole(self.bytes), self.depth.to_string()];
        cells.extend([self.p50_us, self.p99_us, self.max_us, self.per_s, self.mib_per_s].map(number::plain));
        cells
    }
}
