//! Targets against each other: the same workload, in turns, several rounds, each run on a fresh folder.

use std::fs;

use serde::Serialize;

use crate::failure::Failure;
use crate::heading::Heading;
use crate::result::{RunResult, TargetFacts};
use crate::session::Session;
use crate::stop;
use crate::target::{Limits, Target};
use crate::trial::{Load, Options, Trial, generator};
use crate::workload::Workload;
use table::Table;

mod table;

#[derive(Debug, clap::Args)]
#[command(after_help = "A target is NAME-OR-FILE[,fsync=every-ack|os][,label=NAME]; one that runs already is
external,bootstrap=HOST:PORT[,pid=N][,data=DIR]. Ratios are to the first target.

Examples:
  millstream-bench compare --target millstream --target kafka --workload paced-1k
  millstream-bench compare --target millstream --target kafka --target kafka,fsync=os --workload small-100b --rounds 5
  millstream-bench compare --target millstream --target millstream --workload paced-1k      how large the noise is")]
pub(crate) struct Args {
    /// What to compare; to be given at least twice
    #[arg(long = "target", short, required = true, value_name = "TARGET")]
    targets: Vec<String>,
    /// Runs of each target
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Records a second, instead of the workload's
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    #[command(flatten)]
    options: Options,
}

pub(crate) fn main(args: &Args) -> Result<(), Failure> {
    let targets = Target::parse_all(&args.targets)?;
    if targets.len() < 2 {
        return Err(Failure::usage(
            "compare: at least two targets are asked, as in --target millstream --target kafka",
        ));
    }
    let limits = same_limits(&targets, &args.options.grounds.site.limits)?;
    let mut workload = args.options.workload()?;
    workload.produce.rate = args.rate.or(workload.produce.rate);
    targets.iter().try_for_each(Target::check_installed)?;
    let session = args.options.grounds.session("compare")?;
    let mut load = generator(&args.options);
    let comparison = run(&session, &targets, &limits, &workload, args.rounds, &mut load)?;
    let markdown = comparison.markdown();
    let written = fs::write(session.output.join("comparison.md"), &markdown);
    println!("{markdown}");
    eprintln!("results are in {}", session.output.display());
    written.map_err(|error| Failure::failed(format!("comparison.md: {error}")))?;
    session.close();
    comparison.judge()
}

/// The limits of all targets, if they are the same.
fn same_limits(targets: &[Target], said: &Limits) -> Result<Limits, Failure> {
    let limits: Vec<Limits> = targets.iter().map(|target| target.limits(said)).collect();
    match targets.iter().zip(&limits).find(|(_, one)| **one != limits[0]) {
        None => Ok(limits[0].clone()),
        Some((target, _)) => Err(Failure::usage(format!(
            "the limits of {} and {} differ; say --cpus, --memory-mib and --open-files for both",
            targets[0].label, target.label
        ))),
    }
}

/// What `comparison.json` has.
#[derive(Serialize)]
pub(crate) struct Comparison {
    #[serde(flatten)]
    heading: Heading,
    /// All rounds were run.
    complete: bool,
    rounds: u32,
    workload: Workload,
    targets: Vec<TargetFacts>,
    runs: Vec<Run>,
    table: Table,
    #[serde(skip)]
    results: Vec<(usize, RunResult)>,
}

/// One run of one target.
#[derive(Serialize)]
struct Run {
    round: u32,
    target: String,
    /// Beside this file. None if there is no result.
    file: Option<String>,
    /// Why it is not counted.
    trouble: Option<String>,
}

/// A B A B ... The file is written anew after each run, so that what is done is kept whatever comes next.
fn run(
    session: &Session,
    targets: &[Target],
    limits: &Limits,
    workload: &Workload,
    rounds: u32,
    load: &mut Load<'_>,
) -> Result<Comparison, Failure> {
    let mut comparison = Comparison::new(session, targets, workload, rounds);
    for round in 1..=rounds {
        for (at, target) in targets.iter().enumerate() {
            eprintln!("round {round} of {rounds}: {}", target.label);
            let name = format!("{round}-{}", target.label);
            let trial = session.run(target, limits, workload, &name, load);
            eprintln!("  {}", said(&trial));
            comparison.add(round, at, target, trial);
            comparison.complete = round == rounds && at + 1 == targets.len();
            session.write("comparison.json", &comparison)?;
            if stop::was_told() {
                return Ok(comparison);
            }
        }
    }
    Ok(comparison)
}

/// A run in one line.
fn said(trial: &Trial) -> String {
    if let Some(trouble) = &trial.trouble {
        return trouble.clone();
    }
    let Some(result) = &trial.result else { return "no result".into() };
    let latency = result.latency.as_ref().map_or_else(String::new, |latency| {
        let (p50, p99) = (latency.ack.p50_us / 1e3, latency.ack.p99_us / 1e3);
        format!(", acknowledged after {p50:.2} ms (p50), {p99:.2} ms (p99)")
    });
    format!("{:.0} records/s{latency}", result.records.acked_per_s)
}

impl Comparison {
    fn new(session: &Session, targets: &[Target], workload: &Workload, rounds: u32) -> Self {
        let targets: Vec<TargetFacts> = targets
            .iter()
            .map(|target| TargetFacts {
                name: target.label.clone(),
                version: target.version.clone(),
                fsync: Some(target.fsync.name().to_owned()),
                ..TargetFacts::default()
            })
            .collect();
        let labels: Vec<String> = targets.iter().map(|target| target.name.clone()).collect();
        Self {
            heading: Heading::of("comparison", session.machine().clone()),
            complete: false,
            rounds,
            workload: workload.clone(),
            targets,
            runs: Vec::new(),
            table: Table::of(&labels, &[]),
            results: Vec::new(),
        }
    }

    fn add(&mut self, round: u32, at: usize, target: &Target, trial: Trial) {
        let name = trial.file.as_deref().and_then(|file| file.file_name());
        self.runs.push(Run {
            round,
            target: target.label.clone(),
            file: name.map(|name| name.to_string_lossy().into_owned()),
            trouble: trial.trouble,
        });
        if let Some(result) = trial.result {
            // As started, with what its limits became.
            self.targets[at] = result.target.clone();
            self.results.push((at, result));
        }
        let labels: Vec<String> = self.targets.iter().map(|target| target.name.clone()).collect();
        let results: Vec<(usize, &RunResult)> =
            self.results.iter().map(|(at, result)| (*at, result)).collect();
        self.table = Table::of(&labels, &results);
    }

    fn markdown(&self) -> String {
        let mut text = format!("## {}: ", self.workload.name);
        let names: Vec<&str> = self.targets.iter().map(|target| target.name.as_str()).collect();
        text += &names.join(" and ");
        text += "\n\n";
        for target in &self.targets {
            let version = target.version.as_deref().unwrap_or("of unknown version");
            let fsync = match target.fsync.as_deref() {
                Some("every-ack") => "flushed to the device before it is acknowledged",
                Some("os") => "acknowledged before it is flushed",
                _ => "flushed at an unknown time",
            };
            text += &format!("- {} {version}: {fsync}", target.name);
            for limit in &target.limits {
                let how = limit.applied.as_deref().unwrap_or("NOT enforced: not possible here");
                text += &format!("; {} {} ({how})", limit.of, limit.asked);
            }
            text += "\n";
        }
        text += "\n";
        text += &self.table.markdown();
        let bad = self.runs.iter().filter_map(|run| run.trouble.as_ref().map(|trouble| (run, trouble)));
        for (run, trouble) in bad {
            text += &format!("\nNot counted: round {} of {}: {trouble}\n", run.round, run.target);
        }
        if !self.complete {
            text += "\nIncomplete: not all rounds were run.\n";
        }
        text
    }

    fn judge(&self) -> Result<(), Failure> {
        let bad = self.runs.iter().filter(|run| run.trouble.is_some()).count();
        match (self.complete, bad) {
            (true, 0) => Ok(()),
            (false, _) => Err(Failure::failed("compare: incomplete")),
            (true, bad) => {
                Err(Failure::failed(format!("compare: {bad} of {} runs are not counted", self.runs.len())))
            }
        }
    }
}

#[cfg(test)]
mod tests;
