//! One line a run, units in the columns' names. Where there are runs of `groups`, what only they have comes behind all others.

use super::Report;
use super::groups::Groups;
use super::run::{Run, Standing};
use crate::figure::Figure;
use crate::groups::findings;
use crate::machine::Facts;
use crate::quantity::QUANTITIES;
use crate::result::TargetFacts;

/// A column's name and what a line has in it, as it is written.
type Cell = (&'static str, String);
type Text<T> = fn(&T) -> String;

const OF_RUNS: &[(&str, Text<Run>)] = &[
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

const OF_GROUPS: &[(&str, Text<Groups>)] = &[
    ("protocol", |it| it.found.protocol.name().to_owned()),
    ("groups", |it| it.found.groups.to_string()),
    ("members", |it| it.found.members.to_string()),
    ("partitions", |it| it.found.partitions.to_string()),
    ("connections", |it| it.found.connections.to_string()),
];

pub(super) fn table(report: &Report) -> String {
    let lines: Vec<Vec<Cell>> = report.runs().map(of_run).chain(report.groups().map(of_groups)).collect();
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in lines.iter().flatten() {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let mut out = names.join(",") + "\n";
    for line in &lines {
        let cell = |name: &&str| line.iter().find(|(it, _)| it == name).map_or("", |(_, text)| text.as_str());
        let cells: Vec<&str> = names.iter().map(cell).collect();
        out += &(cells.join(",") + "\n");
    }
    out
}

fn of_run(run: &Run) -> Vec<Cell> {
    let result = &run.result;
    let line = Line {
        file: &run.file,
        began_ms: result.began_ms,
        machine: run.facts.as_ref(),
        target: &result.target,
        standing: &run.standing,
    };
    let mut cells = line.head(result.workload.name.clone());
    cells.extend(OF_RUNS.iter().map(|(name, of)| (*name, of(run))));
    cells.extend(QUANTITIES.iter().map(|it| (it.column, figure((it.of)(result)))));
    cells
}

fn of_groups(groups: &Groups) -> Vec<Cell> {
    let found = &groups.found;
    let line = Line {
        file: &groups.file,
        began_ms: groups.began_ms,
        machine: Some(&groups.facts),
        target: &found.target,
        standing: &groups.standing,
    };
    let mut cells = line.head(format!("groups-{}", found.load.name()));
    cells.extend(OF_GROUPS.iter().map(|(name, of)| (*name, of(groups))));
    let median = |of: fn(&findings::Findings) -> Vec<f64>| Figure::of(of(found)).map(|it| it.median);
    cells.extend(findings::QUANTITIES.iter().map(|it| (it.column, figure(median(it.of)))));
    cells
}

/// What is known of a run of either kind.
struct Line<'r> {
    file: &'r str,
    began_ms: i64,
    machine: Option<&'r Facts>,
    target: &'r TargetFacts,
    standing: &'r Standing,
}

impl Line<'_> {
    /// What every line begins with.
    fn head(&self, workload: String) -> Vec<Cell> {
        let (mark, why) = match self.standing {
            Standing::Good => ("VALID", ""),
            Standing::Bad { mark, why } => (*mark, why.as_str()),
        };
        let text = |text: &Option<String>| quoted(text.as_deref().unwrap_or_default());
        vec![
            ("file", quoted(self.file)),
            ("began_ms", self.began_ms.to_string()),
            ("machine", quoted(&self.machine.map(Facts::title).unwrap_or_default())),
            ("workload", quoted(&workload)),
            ("target", quoted(self.target.name())),
            ("version", text(&self.target.version)),
            ("fsync", text(&self.target.fsync)),
            ("standing", quoted(mark)),
            ("why", quoted(why)),
        ]
    }
}

fn figure(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn quoted(text: &str) -> String {
    // A spreadsheet takes a text that begins so for a formula.
    let text = if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
