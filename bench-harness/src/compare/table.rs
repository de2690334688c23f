//! Medians, spreads and ratios of runs of several targets.

use std::fmt::Write as _;

use serde::Serialize;

use crate::figure::{Figure, ROUNDS_MIN, Ratio};
use crate::number;
use crate::quantity::{QUANTITIES, Quantity};
use crate::result::{Outcome, RunResult};

/// Figures of all targets; ratios are to the first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Table {
    labels: Vec<String>,
    /// Of each target.
    runs: Vec<Runs>,
    rows: Vec<Row>,
}

/// How many runs of a target there are, and what became of their records.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Runs {
    all: usize,
    counted: usize,
    failed: u64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    corrupted: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Row {
    name: &'static str,
    unit: &'static str,
    /// None: neither is.
    lower_is_better: Option<bool>,
    /// Of each target. None if no counted run has it.
    figures: Vec<Option<Figure>>,
    /// Of each target but the first.
    ratios: Vec<Option<Ratio>>,
}

impl Table {
    /// Results with the place of their target in `labels`.
    pub(crate) fn of(labels: &[String], results: &[(usize, &RunResult)]) -> Self {
        let runs = (0..labels.len()).map(|target| Runs::of(target, results)).collect();
        let counted: Vec<(usize, &RunResult)> =
            results.iter().filter(|(_, result)| is_counted(result)).copied().collect();
        let rows = QUANTITIES.iter().map(|quantity| Row::of(quantity, labels.len(), &counted));
        let rows = rows.filter(|row| row.figures.iter().any(Option::is_some)).collect();
        Self { labels: labels.to_vec(), runs, rows }
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = "| | |".to_owned();
        for label in &self.labels {
            let _ = write!(text, " {label} |");
        }
        for label in self.labels.iter().skip(1) {
            let _ = write!(text, " {label} / {} |", self.labels[0]);
        }
        text += "\n|--|--|";
        text += &"--:|".repeat(self.labels.len() * 2 - 1);
        for row in &self.rows {
            let _ = write!(text, "\n| {} | {} |", row.name, row.unit);
            for figure in &row.figures {
                let shown = figure.as_ref().map_or_else(|| "-".to_owned(), Figure::shown);
                let _ = write!(text, " {shown} |");
            }
            for ratio in &row.ratios {
                let shown = ratio.as_ref().map_or_else(|| "-".to_owned(), Ratio::shown);
                let _ = write!(text, " {shown} |");
            }
        }
        self.accounts(&mut text);
        let _ = writeln!(
            text,
            "\n\nMedian [least … greatest] of the counted runs. A ratio is noise where the two ranges meet, and has a ? \
             with fewer than {ROUNDS_MIN} runs of each."
        );
        text
    }

    fn accounts(&self, text: &mut String) {
        type Count = fn(&Runs) -> String;
        let rows: [(&str, Count); 6] = [
            ("runs counted", |runs| format!("{} of {}", runs.counted, runs.all)),
            ("failed", |runs| number::whole(runs.failed)),
            ("lost", |runs| number::whole(runs.lost)),
            ("duplicated", |runs| number::whole(runs.duplicated)),
            ("reordered", |runs| number::whole(runs.reordered)),
            ("corrupted", |runs| number::whole(runs.corrupted)),
        ];
        for (name, count) in rows {
            let unit = if name == "runs counted" { "" } else { "records, all runs" };
            let _ = write!(text, "\n| {name} | {unit} |");
            for runs in &self.runs {
                let _ = write!(text, " {} |", count(runs));
            }
            *text += &" |".repeat(self.labels.len() - 1);
        }
    }
}

/// What is wrong is shown, but has no part in any median.
fn is_counted(result: &RunResult) -> bool {
    result.outcome == Outcome::Valid && result.records.lost == 0 && result.records.corrupted == 0
}

impl Runs {
    fn of(target: usize, results: &[(usize, &RunResult)]) -> Self {
        let mut runs = Self::default();
        for (_, result) in results.iter().filter(|(of, _)| *of == target) {
            let records = &result.records;
            runs.all += 1;
            runs.counted += usize::from(is_counted(result));
            runs.failed += records.failed;
            runs.lost += records.lost;
            runs.duplicated += records.duplicated;
            runs.reordered += records.reordered;
            runs.corrupted += records.corrupted;
        }
        runs
    }
}

impl Row {
    fn of(quantity: &Quantity, targets: usize, counted: &[(usize, &RunResult)]) -> Self {
        let figures: Vec<Option<Figure>> = (0..targets)
            .map(|target| {
                let results = counted.iter().filter(|(of, _)| *of == target);
                Figure::of(results.filter_map(|(_, result)| (quantity.of)(result)))
            })
            .collect();
        let first = figures.first().cloned().flatten();
        let ratio = |other: &Option<Figure>| Some(other.as_ref()?.ratio_to(first.as_ref()?));
        let ratios = figures.iter().skip(1).map(ratio).collect();
        let Quantity { name, unit, lower_is_better, .. } = *quantity;
        Self { name, unit, lower_is_better, figures, ratios }
    }
}
