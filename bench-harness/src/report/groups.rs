//! Coordinators of groups under load, without records: what the same load was to several brokers, side by side.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Deserialize;

use super::run::{Standing, circumstances};
use super::section::Machine;
use super::table::{Column, Row, Table, escaped};
use super::{histogram, html, markdown, summary};
use crate::figure::Figure;
use crate::groups::findings::{Findings, QUANTITIES, Rate};
use crate::machine::Facts;
use crate::number;
use crate::result::FORMAT;

pub(super) const KIND: &str = "groups";

/// A generator that is later than this, and a share of what it measured, is told.
const LAG_TOLD_US: f64 = 1e3;
const LAG_SHARE_TOLD: f64 = 0.1;

/// What `groups` found on one broker.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    pub(super) file: String,
    pub(super) began_ms: i64,
    command: Vec<String>,
    pub(super) facts: Facts,
    pub(super) found: Findings,
    pub(super) standing: Standing,
}

#[derive(Deserialize)]
struct Document {
    format: u32,
    began_ms: i64,
    command: Vec<String>,
    machine: Facts,
    #[serde(flatten)]
    found: Findings,
}

/// The same load, on one broker or on several.
pub(super) struct Load<'m> {
    runs: Vec<&'m Groups>,
    /// In the order of the machine's, so that the same one is the first everywhere.
    targets: Vec<String>,
}

impl Groups {
    pub(super) fn read(file: &str, value: serde_json::Value) -> Result<Self, String> {
        let document: Document =
            serde_json::from_value(value).map_err(|error| format!("not a result of groups: {error}"))?;
        if document.format != FORMAT {
            return Err(format!("format {}; this program reads {FORMAT}", document.format));
        }
        let Document { began_ms, command, machine, found, .. } = document;
        let mut standing = Standing::Good;
        if let Some(why) = &found.why_incomplete {
            standing = standing.or_bad("INCOMPLETE", why.clone());
        }
        if let Err(why) = agrees(&found) {
            standing = standing.or_bad("BROKEN", why);
        }
        Ok(Self { file: file.to_owned(), began_ms, command, facts: machine, found, standing })
    }

    pub(super) fn target(&self) -> String {
        self.found.target.title()
    }

    fn is_good(&self) -> bool {
        self.standing == Standing::Good
    }

    /// What a reader must know of figures that may be used all the same.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let p99_us = self.found.heartbeats.as_ref().map_or(0.0, |rate| rate.latency.p99_us);
        let lag_us = self.found.lag_p99_us().unwrap_or(0.0);
        if lag_us > LAG_TOLD_US && lag_us > LAG_SHARE_TOLD * p99_us {
            remarks.push(format!(
                "the generator was late itself (p99 {:.1} ms): heartbeats' times include that",
                lag_us / 1e3
            ));
        }
        remarks.extend(circumstances(&self.found.target, self.found.all_cpus));
        remarks
    }

    fn row(&self) -> Row {
        let (standing, mut remarks) = match &self.standing {
            Standing::Good => ("valid".to_owned(), Vec::new()),
            Standing::Bad { mark, why } => ((*mark).to_owned(), vec![why.clone()]),
        };
        remarks.extend(self.remarks());
        let cells = vec![
            self.file.clone(),
            self.target(),
            standing,
            number::date(self.began_ms),
            self.command.join(" "),
            remarks.join("; "),
        ];
        Row { cells, is_bad: !self.is_good() }
    }
}

/// Whether named percentiles are those of the histograms beside them.
fn agrees(found: &Findings) -> Result<(), String> {
    let rates = [("heartbeats", &found.heartbeats), ("commits", &found.commits)];
    for (name, rate) in rates {
        let Some(Rate { latency, .. }) = rate else { continue };
        histogram::curve(latency).map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(())
}

/// Puts loads beside the runs of their machine. One for which the broker ran already knows nothing of its disk.
pub(super) fn place(mut loads: Vec<Groups>, machines: &mut Vec<Machine>) {
    loads.sort_by_key(|load| load.facts.disk.is_none());
    for load in loads {
        let is_same = |machine: &Machine, identity: fn(&Facts) -> String| {
            machine.facts.as_ref().is_some_and(|facts| identity(facts) == identity(&load.facts))
        };
        let exactly = machines.iter().position(|machine| is_same(machine, Facts::identity));
        let but_for_the_disk =
            || machines.iter().position(|machine| is_same(machine, Facts::identity_without_disk));
        let at = exactly.or_else(|| but_for_the_disk().filter(|_| load.facts.disk.is_none()));
        let at = at.unwrap_or_else(|| {
            machines.push(Machine { facts: Some(load.facts.clone()), ..Machine::default() });
            machines.len() - 1
        });
        machines[at].groups.push(load);
    }
    for machine in machines {
        machine.groups.sort_by(|one, other| one.file.cmp(&other.file));
    }
}

pub(super) fn loads(machine: &Machine) -> Vec<Load<'_>> {
    let mut loads: Vec<Load<'_>> = Vec::new();
    for run in &machine.groups {
        match loads.iter_mut().find(|load| load.runs[0].found.is_like(&run.found)) {
            Some(load) => load.runs.push(run),
            None => loads.push(Load { runs: vec![run], targets: Vec::new() }),
        }
    }
    for load in &mut loads {
        let own = load.runs.iter().map(|run| run.target());
        for target in machine.targets.iter().cloned().chain(own) {
            if !load.targets.contains(&target) && load.runs.iter().any(|run| run.target() == target) {
                load.targets.push(target);
            }
        }
    }
    loads
}

impl Load<'_> {
    fn title(&self) -> String {
        format!("Groups without records: {}", self.runs[0].found.load.name())
    }

    fn asked(&self) -> String {
        let found = &self.runs[0].found;
        format!("{}.", found.asked())
    }

    /// Figures down, targets across; the first target is what others are measured by.
    pub(super) fn comparison(&self) -> Table {
        let targets: Vec<&String> = self.targets.iter().collect();
        let figures = |of: &dyn Fn(&Findings) -> Vec<f64>| -> Vec<Option<Figure>> {
            let good = |target: &&String| {
                let runs = self.runs.iter().filter(|run| run.is_good() && run.target() == **target);
                Figure::of(runs.flat_map(|run| of(&run.found)))
            };
            targets.iter().map(good).collect()
        };
        let mut rows: Vec<Row> = QUANTITIES
            .iter()
            .filter_map(|quantity| summary::compared(quantity.name, quantity.unit, &figures(&quantity.of)))
            .collect();
        let errors: BTreeSet<&String> = self.runs.iter().flat_map(|run| run.found.again.keys()).collect();
        for error in errors {
            let count = |found: &Findings| vec![found.again.get(error).copied().unwrap_or(0) as f64];
            rows.extend(summary::compared(&format!("asked again: {error}"), "answers", &figures(&count)));
        }
        let caption = format!("Medians, {}", summary::how_to_read("runs or rounds"));
        Table { caption, columns: summary::side_by_side(&targets), rows }
    }

    fn all_runs(&self) -> Table {
        let names = ["file", "target", "standing", "began", "command", "remarks"];
        let columns = names.map(Column::text).to_vec();
        let rows = self.runs.iter().map(|run| run.row()).collect();
        Table { caption: "Every run.".to_owned(), columns, rows }
    }

    pub(super) fn html(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "<section class=\"workload\">\n<h3>{}</h3>\n<p class=\"asked\">{}</p>",
            escaped(&self.title()),
            escaped(&self.asked())
        );
        for run in &self.runs {
            html::warn(&run.standing, &run.target(), &run.file, out);
        }
        let _ = writeln!(
            out,
            "{}<details><summary>Every run</summary>\n{}</details>\n</section>",
            self.comparison().html(),
            self.all_runs().html()
        );
    }

    pub(super) fn markdown(&self) -> String {
        let mut out = format!("### {}\n\n{}\n\n", self.title(), self.asked());
        for run in &self.runs {
            markdown::warn(&run.standing, &run.target(), &run.file, &mut out);
        }
        if self.runs.iter().any(|run| !run.is_good()) {
            out.push('\n');
        }
        out + &self.comparison().markdown() + &self.all_runs().markdown()
    }
}
