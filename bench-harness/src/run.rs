//! `millstream-bench run`: one workload on one broker.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cost::Watch;
use crate::failure::Failure;
use crate::live::Live;
use crate::load::{self, Client, LoadError, Options};
use crate::machine;
use crate::result::{Outcome, Percentiles, RunResult, TargetFacts};
use crate::session::write_json;
use crate::stop::Stop;
use crate::trial::Watching;
use crate::workload::{self, Workload};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A workload file, or the name of one that comes with the program
    workload: String,
    /// A broker to start from; several are separated by commas
    #[arg(short, long, value_name = "HOST:PORT")]
    bootstrap: String,
    /// Records a second, instead of what the workload says
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// How long to measure, as in 10s, 500ms or 2m, instead of what the workload says
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    duration: Option<f64>,
    /// How long to warm up, instead of what the workload says
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    warm_up: Option<f64>,
    /// Of arrivals, keys and contents, instead of what the workload says
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Threads for producers, and as many for consumers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Do not sleep between records: each of the generator's producing threads takes a whole CPU, and is on time to some
    /// microseconds. For machines with CPUs to spare
    #[arg(long)]
    spin: bool,
    /// Whose client to use: results must not depend on it
    #[arg(long, value_enum, default_value = "own")]
    client: Client,
    /// Write the result here, as JSON
    #[arg(short, long, value_name = "FILE.json")]
    output: Option<PathBuf>,
    /// Outlast restarts of the broker, read everything again in the end and tell what was acknowledged and is gone
    #[arg(long)]
    verify: bool,
    /// How long the broker may be out of reach before the run is given up
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    patience: Option<f64>,
    /// The broker's process on this machine: what the run cost it goes into the result
    #[arg(long, value_name = "N")]
    pid: Option<u32>,
    /// The broker's data directory on this machine: its disk is described, and what is written to it counted
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Write every second's latencies here, as an HdrHistogram log
    #[arg(long, value_name = "FILE.hlog")]
    hlog: Option<PathBuf>,
}

pub(crate) fn main(args: Args) -> Result<(), Failure> {
    let workload = adjusted(&args)?;
    let watch = args.pid.map(|pid| watched(pid, args.data_dir.as_deref())).transpose()?;
    let stop = Stop::default();
    let options = Options {
        bootstrap: args.bootstrap,
        client: args.client,
        verify: args.verify,
        patience: args.patience.map(Duration::from_secs_f64),
        threads: args.threads.map(usize::from),
        spin: args.spin,
        hlog: args.hlog,
        command: std::env::args().collect(),
        stop: stop.clone(),
        target: TargetFacts { pid: args.pid, ..TargetFacts::default() },
    };
    let mut live = Live::new(&workload, &workload.name);
    let mut watching = Watching { watch, shown: &mut live, stop };
    let mut result = load::run(&workload, &options, &mut watching).map_err(|error| match error {
        LoadError::Workload(why) => Failure::usage(why),
        error => Failure::failed(error.to_string()),
    })?;
    let watch = watching.watch;
    // Its bar is taken away before anything else is printed.
    drop(live);
    result.broker = watch.and_then(|watch| watch.end(&result.records));
    result.machine = machine::facts(args.data_dir.as_deref());
    if let Some(path) = &args.output {
        write_json(path, &result)?;
    }
    print!("{}", summary(&result));
    match result.outcome {
        Outcome::Valid => Ok(()),
        Outcome::Invalid { why } => Err(Failure::failed(format!("the run is invalid: {why}"))),
        Outcome::Incomplete { why } => Err(Failure::failed(format!("the run is incomplete: {why}"))),
    }
}

fn watched(pid: u32, data_dir: Option<&Path>) -> Result<Watch, Failure> {
    let watch = Watch::begin(pid, data_dir);
    match watch.is_over() {
        true => Err(Failure::usage(format!("--pid {pid}: there is no such process on this machine"))),
        false => Ok(watch),
    }
}

fn adjusted(args: &Args) -> Result<Workload, Failure> {
    let mut workload = workload::load(&args.workload).map_err(|error| Failure::usage(error.to_string()))?;
    workload.duration_s = args.duration.unwrap_or(workload.duration_s);
    workload.warm_up_s = args.warm_up.unwrap_or(workload.warm_up_s);
    workload.seed = args.seed.unwrap_or(workload.seed);
    workload.produce.rate = args.rate.or(workload.produce.rate);
    Ok(workload)
}

fn summary(result: &RunResult) -> String {
    let records = &result.records;
    let generator = &result.generator;
    let mut text = format!(
        "{}: {:.0} records/s acknowledged ({:.1} MiB/s), {:.0}/s delivered\n",
        result.workload.name, records.acked_per_s, records.acked_mib_per_s, records.delivered_per_s
    );
    text += &format!(
        "records     sent {}  again {}  acked {}  failed {}  delivered {}  lost {}  duplicated {}  reordered {}  \
         corrupted {}\n",
        records.sent,
        records.retried,
        records.acked,
        records.failed,
        records.delivered,
        records.lost,
        records.duplicated,
        records.reordered,
        records.corrupted
    );
    if !result.why_reordered().is_empty() {
        text += &format!("reordered  {}\n", result.why_reordered());
    }
    if let Some(latency) = &result.latency {
        text += &row("ack", &latency.ack);
        text += &latency.end_to_end.as_ref().map(|it| row("end to end", it)).unwrap_or_default();
    }
    text += &generator.lag.as_ref().map(|lag| row("own lag", lag)).unwrap_or_default();
    text += &generator.reading_lag.as_ref().map(|lag| row("own reading", lag)).unwrap_or_default();
    text += &format!(
        "generator   {} threads, {:.2} s user, {:.2} s system, {:.0} records per CPU second\n",
        generator.threads, generator.user_s, generator.system_s, generator.records_per_cpu_s
    );
    text += &match &result.broker {
        Some(cost) => format!(
            "broker      {:.2} s user, {:.2} s system, {:.2} µs a record, {:.0} MiB resident at most\n",
            cost.user_s,
            cost.system_s,
            cost.cpu_us_per_record,
            cost.peak_resident_bytes as f64 / f64::from(1 << 20)
        ),
        None => "broker      what it cost is not known: --pid says which process it is\n".to_owned(),
    };
    text += &result.all_cpus.map_or_else(String::new, |cpus| {
        format!("all CPUs    {:.0} % busy, {:.1} % stolen\n", cpus.busy * 100.0, cpus.steal * 100.0)
    });
    text
}

fn row(name: &str, it: &Percentiles) -> String {
    let ms = |us: f64| us / 1e3;
    format!(
        "{name:<11} p50 {:.3}  p90 {:.3}  p99 {:.3}  p99.9 {:.3}  p99.99 {:.3}  max {:.3} ms\n",
        ms(it.p50_us),
        ms(it.p90_us),
        ms(it.p99_us),
        ms(it.p99_9_us),
        ms(it.p99_99_us),
        ms(it.max_us)
    )
}

/// `10s`, `500ms`, `2m`, `1h`, or seconds without a unit.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        unit => return Err(format!("unknown unit {unit:?}: expected ms, s, m or h")),
    };
    let number: f64 = digits.parse().map_err(|_| format!("{text:?} is no time, as 10s is"))?;
    match (0.0..=SECONDS_MAX).contains(&(number * unit)) {
        true => Ok(number * unit),
        false => Err("a time from 0 to 30 days is asked".into()),
    }
}

/// 30 days.
const SECONDS_MAX: f64 = 2_592_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, s) in [("10s", 10.0), ("500ms", 0.5), ("2m", 120.0), ("1h", 3_600.0), ("1.5", 1.5)] {
            assert_eq!(seconds(text), Ok(s));
        }
        for text in ["", "s", "10 parsecs", "-1s", "NaN", "infs"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
