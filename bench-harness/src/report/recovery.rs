//! How long brokers take to answer: on an empty folder, and after a kill with data on the disk.

use serde::Deserialize;

use super::section::Machine;
use super::table::{Column, Row, Table};
use crate::figure::Figure;
use crate::machine::Facts;
use crate::number;
use crate::result::{FORMAT, TargetFacts};

pub(super) const KIND: &str = "recovery";

/// What `recovery` found of one target.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Recovery {
    #[serde(skip)]
    pub(super) file: String,
    format: u32,
    machine: Facts,
    target: TargetFacts,
    partitions: i64,
    /// Nothing of the data was in memory.
    cold: bool,
    rounds: Vec<Round>,
    troubles: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Round {
    empty_answer_ms: f64,
    empty_first_ack_ms: f64,
    filled_bytes: u64,
    killed_answer_ms: f64,
    killed_first_ack_ms: f64,
    killed_all_ack_ms: f64,
    lost: u64,
}

type Time = fn(&Round) -> f64;

const TIMES: &[(&str, Time)] = &[
    ("empty: first answer", |round| round.empty_answer_ms),
    ("empty: first ack", |round| round.empty_first_ack_ms),
    ("killed: first answer", |round| round.killed_answer_ms),
    ("killed: first ack", |round| round.killed_first_ack_ms),
    ("killed: all partitions", |round| round.killed_all_ack_ms),
];

impl Recovery {
    pub(super) fn read(file: &str, value: serde_json::Value) -> Result<Self, String> {
        let mut found: Self =
            serde_json::from_value(value).map_err(|error| format!("not a recovery's result: {error}"))?;
        if found.format != FORMAT {
            return Err(format!("format {}; this program reads {FORMAT}", found.format));
        }
        file.clone_into(&mut found.file);
        Ok(found)
    }

    pub(super) fn is_of(&self, machine: &Machine) -> bool {
        machine.facts.as_ref().is_some_and(|facts| facts.identity() == self.machine.identity())
    }

    fn row(&self) -> Row {
        let filled =
            Figure::of(self.rounds.iter().map(|round| round.filled_bytes as f64 / f64::from(1 << 30)));
        let lost: u64 = self.rounds.iter().map(|round| round.lost).sum();
        let mut cells = vec![
            self.target.title(),
            if self.cold { "cold" } else { "warm" }.to_owned(),
            filled.map_or_else(|| "–".to_owned(), |it| number::plain(it.median)),
            self.partitions.to_string(),
            self.rounds.len().to_string(),
        ];
        cells.extend(TIMES.iter().map(|(_, of)| {
            Figure::of(self.rounds.iter().map(of)).map_or_else(|| "–".to_owned(), |it| it.shown())
        }));
        cells.push(number::whole(lost));
        cells.push(self.troubles.join("; "));
        Row { cells, is_bad: lost > 0 || !self.troubles.is_empty() }
    }
}

pub(super) fn table(all: &[Recovery]) -> Option<Table> {
    let mut columns = vec![Column::text("target"), Column::text("page cache")];
    columns.extend([
        Column::number("data", "GiB"),
        Column::number("partitions", ""),
        Column::number("rounds", ""),
    ]);
    columns.extend(TIMES.iter().map(|(name, _)| Column::number(*name, "ms")));
    columns.extend([Column::number("lost", "records"), Column::text("remarks")]);
    let caption = "Start-up on an empty folder, and recovery after a kill (the process's, not the machine's): from the \
                   start of the process, medians and [least … greatest]. Acknowledged records that were gone afterwards \
                   are lost."
        .to_owned();
    let rows: Vec<Row> = all.iter().map(Recovery::row).collect();
    (!rows.is_empty()).then_some(Table { caption, columns, rows })
}
