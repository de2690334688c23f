//! The result for people.

use std::fmt::Write as _;

use super::findings::{Findings, QUANTITIES};
use crate::figure::Figure;
use crate::number;

pub(super) fn markdown(findings: &Findings) -> String {
    let mut text = format!(
        "## groups, {}: {}, {}\n\n| | | |\n|--|--|--:|",
        findings.load.name(),
        findings.target.title(),
        findings.asked()
    );
    let mut row = |name: &str, unit: &str, value: &str| {
        let _ = write!(text, "\n| {name} | {unit} | {value} |");
    };
    for quantity in QUANTITIES {
        if let Some(figure) = Figure::of((quantity.of)(findings)) {
            row(quantity.name, quantity.unit, &figure.shown());
        }
    }
    for (error, count) in &findings.again {
        row(&format!("asked again: {error}"), "answers", &number::whole(*count));
    }
    if let Some(why) = &findings.why_incomplete {
        let _ = write!(text, "\n\nIncomplete: {why}.");
    }
    text + "\n"
}
