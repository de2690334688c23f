//! `report`: result files as one page that needs nothing else, as Markdown, as CSV, or as one picture.
//!
//! What may not be used is shown, marked, and kept out of medians and plots. Runs of different machines or workloads
//! never share a plot.

mod csv;
mod groups;
mod histogram;
mod html;
mod markdown;
mod plot;
mod probe;
mod recovery;
mod run;
mod section;
mod summary;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use groups::Groups;
use probe::Probe;
use recovery::Recovery;
use run::Run;
use section::Machine;

/// Turn result files into a page, Markdown, CSV, or a picture.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Result files of `run`, `compare`, `sweep`, `recovery`, `groups` and `raw`; a folder stands for the .json files in it.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Where to write: .html, .md, .csv, or .svg for the first plot alone.
    #[arg(long, short)]
    output: PathBuf,
}

/// All that a report is made of.
#[derive(Debug, Default)]
struct Report {
    machines: Vec<Machine>,
    /// Files that are no results of runs, and why.
    left_out: Vec<String>,
}

/// One file.
enum Document {
    Run(Box<Run>),
    Probe(Box<Probe>),
    Recovery(Box<Recovery>),
    Groups(Box<Groups>),
    /// What `compare` and `sweep` made of runs, which have files of their own.
    Summary,
}

const SUMMARIES: &[&str] = &["comparison", "sweep"];

impl Document {
    fn read(name: &str, text: &str) -> Result<Self, String> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        if probe::is_probe(&value) {
            return Probe::read(name, value).map(Box::new).map(Self::Probe);
        }
        match value.get("kind").and_then(serde_json::Value::as_str) {
            Some(recovery::KIND) => return Recovery::read(name, value).map(Box::new).map(Self::Recovery),
            Some(groups::KIND) => return Groups::read(name, value).map(Box::new).map(Self::Groups),
            Some(kind) if SUMMARIES.contains(&kind) => return Ok(Self::Summary),
            _ => {}
        }
        Run::read(name, value).map(Box::new).map(Self::Run)
    }
}

type Render = fn(&Report) -> Option<String>;

pub(crate) fn main(args: Args) -> Result<(), Failure> {
    let render: Render = match args.output.extension().and_then(|it| it.to_str()) {
        Some("html") => |report| Some(html::page(report)),
        Some("md") => |report| Some(markdown::page(report)),
        Some("csv") => |report| Some(csv::table(report)),
        Some("svg") => html::picture,
        _ => {
            return Err(Failure::usage(format!(
                "{}: ends in none of .html, .md, .csv, .svg",
                args.output.display()
            )));
        }
    };
    let mut texts = Vec::new();
    for path in listed(&args.files)? {
        let text = fs::read_to_string(&path)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        texts.push((path.display().to_string(), text));
    }
    let report = Report::of(&texts);
    for line in &report.left_out {
        eprintln!("left out: {line}");
    }
    if report.machines.is_empty() {
        return Err(Failure::usage("none of the files is the result of a run"));
    }
    let text = render(&report).ok_or_else(|| Failure::usage("nothing here makes a plot"))?;
    fs::write(&args.output, text)
        .map_err(|error| Failure::failed(format!("{}: {error}", args.output.display())))
}

impl Report {
    /// From files' names and texts, in the order given.
    fn of(texts: &[(String, String)]) -> Self {
        let (mut runs, mut loads, mut probes, mut recoveries) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut left_out = Vec::new();
        for (path, text) in texts {
            let name = path.rsplit('/').next().unwrap_or(path);
            match Document::read(name, text) {
                Ok(Document::Run(run)) => runs.push(*run),
                Ok(Document::Probe(probe)) => probes.push(*probe),
                Ok(Document::Recovery(recovery)) => recoveries.push(*recovery),
                Ok(Document::Groups(groups)) => loads.push(*groups),
                Ok(Document::Summary) => {}
                Err(why) => left_out.push(format!("{path}: {why}")),
            }
        }
        let mut machines = section::group(runs);
        groups::place(loads, &mut machines);
        for probe in probes {
            match machines.iter_mut().find(|machine| probe.is_of(machine)) {
                Some(machine) => machine.probes.push(probe),
                None => left_out.push(format!("{}: a probe of a machine that has no runs here", probe.file)),
            }
        }
        for recovery in recoveries {
            match machines.iter_mut().find(|machine| recovery.is_of(machine)) {
                Some(machine) => machine.recoveries.push(recovery),
                None => left_out.push(format!("{}: of a machine that has no runs here", recovery.file)),
            }
        }
        Self { machines, left_out }
    }

    fn groups(&self) -> impl Iterator<Item = &Groups> {
        self.machines.iter().flat_map(|machine| &machine.groups)
    }

    fn runs(&self) -> impl Iterator<Item = &Run> {
        self.machines.iter().flat_map(|machine| &machine.sections).flat_map(|section| &section.runs)
    }
}

fn listed(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(in_folder(path)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error| Failure::usage(format!("{}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|it| it == "json") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
