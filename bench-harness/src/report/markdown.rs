//! The tables of a report as Markdown; plots are for the page.

use std::fmt::Write as _;

use super::run::Standing;
use super::{Report, groups, html, recovery, section, summary};

pub(super) fn page(report: &Report) -> String {
    let mut out = String::from("# millstream-bench\n\n");
    for warning in html::warnings(report) {
        let _ = writeln!(out, "> **{warning}**\n");
    }
    for line in &report.left_out {
        let _ = writeln!(out, "- left out: {line}");
    }
    for machine in &report.machines {
        let _ = writeln!(out, "## {}\n", html::machine_title(machine));
        if let Some(facts) = &machine.facts {
            for (name, value) in facts.lines() {
                let _ = writeln!(out, "- {name}: {value}");
            }
            for finding in html::spoilers(facts) {
                let _ = writeln!(out, "- **{finding}**");
            }
            out.push('\n');
        }
        for section in &machine.sections {
            out.push_str(&one(section, machine));
        }
        for load in groups::loads(machine) {
            out.push_str(&load.markdown());
        }
        if let Some(table) = recovery::table(&machine.recoveries) {
            let _ = write!(out, "### Start-up and recovery\n\n{}", table.markdown());
        }
        for probe in &machine.probes {
            out.push_str(&probe.table().markdown());
        }
    }
    out
}

fn one(section: &section::Section, machine: &section::Machine) -> String {
    let mut out = String::new();
    let Some(first) = section.runs.first() else { return out };
    let _ = writeln!(out, "### {}\n\n{}\n", first.result.workload.name, html::what_was_asked(first));
    for run in section.bad() {
        warn(&run.standing, &run.target(), &run.file, &mut out);
    }
    if section.bad().next().is_some() {
        out.push('\n');
    }
    for table in summary::tables(section, machine) {
        out.push_str(&table.markdown());
    }
    out.push_str(&summary::all_runs(section).markdown());
    if let Some(table) = summary::partitions(section) {
        out.push_str(&table.markdown());
    }
    out
}

/// Of a run that may not be used.
pub(super) fn warn(standing: &Standing, target: &str, file: &str, out: &mut String) {
    if let Standing::Bad { mark, why } = standing {
        let _ = writeln!(out, "- **{mark}**: {target} ({file}): {why}");
    }
}
