//! One line a run, units in the columns' names.

use std::fmt::Write as _;

use super::Report;
use super::run::{Run, Standing};
use crate::quantity::QUANTITIES;

type Text = fn(&Run) -> String;

const TEXTS: &[(&str, Text)] = &[
    ("file", |run| run.file.clone()),
    ("began_ms", |run| run.result.began_ms.to_string()),
    ("machine", |run| run.facts.as_ref().map(crate::machine::Facts::title).unwrap_or_default()),
    ("workload", |run| run.result.workload.name.clone()),
    ("target", |run| run.result.target.name.clone()),
    ("version", |run| run.result.target.version.clone().unwrap_or_default()),
    ("fsync", |run| run.result.target.fsync.clone().unwrap_or_default()),
    ("standing", |run| match &run.standing {
        Standing::Good => "VALID".to_owned(),
        Standing::Bad { mark, .. } => (*mark).to_owned(),
    }),
    ("why", |run| match &run.standing {
        Standing::Good => String::new(),
        Standing::Bad { why, .. } => why.clone(),
    }),
    ("asked_per_s", |run| run.rate().map(|rate| rate.to_string()).unwrap_or_default()),
    ("sent", |run| run.result.records.sent.to_string()),
    ("acked", |run| run.result.records.acked.to_string()),
    ("failed", |run| run.result.records.failed.to_string()),
    ("retried", |run| run.result.records.retried.to_string()),
    ("delivered", |run| run.result.records.delivered.to_string()),
    ("lost", |run| run.result.records.lost.to_string()),
    ("duplicated", |run| run.result.records.duplicated.to_string()),
    ("reordered", |run| run.result.records.reordered.to_string()),
    ("corrupted", |run| run.result.records.corrupted.to_string()),
];

pub(super) fn table(report: &Report) -> String {
    let names = TEXTS.iter().map(|(name, _)| *name).chain(QUANTITIES.iter().map(|quantity| quantity.column));
    let mut out = names.collect::<Vec<_>>().join(",") + "\n";
    for run in report.runs() {
        let texts = TEXTS.iter().map(|(_, of)| quoted(&of(run)));
        let figures = QUANTITIES
            .iter()
            .map(|quantity| (quantity.of)(&run.result).map(|it| it.to_string()).unwrap_or_default());
        let _ = writeln!(out, "{}", texts.chain(figures).collect::<Vec<_>>().join(","));
    }
    out
}

fn quoted(text: &str) -> String {
    // A spreadsheet takes a text that begins so for a formula.
    let text = if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
