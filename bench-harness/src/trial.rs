//! One run on a broker of its own: started on a fresh folder, loaded, watched, stopped, wiped.

use std::path::PathBuf;

use crate::cost::Watch;
use crate::failure::Failure;
use crate::live::Live;
use crate::load::{self, Client, Observer};
use crate::result::{Outcome, RunResult, Second, TargetFacts};
use crate::run::seconds;
use crate::session::{Grounds, Session};
use crate::stop::Stop;
use crate::target::{Limits, Target};
use crate::workload::{self, Workload};

/// What commands that run a workload on brokers have in common.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What to measure: the name of a workload, or a file
    #[arg(long, short, value_name = "NAME|FILE")]
    pub(crate) workload: String,
    /// Measured time of a run, instead of the workload's
    #[arg(long, value_parser = seconds, value_name = "TIME")]
    pub(crate) duration: Option<f64>,
    /// Time before that, not measured, instead of the workload's
    #[arg(long, value_parser = seconds, value_name = "TIME")]
    pub(crate) warm_up: Option<f64>,
    /// Threads of the generator
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Do not sleep between records: each of the generator's producing threads takes a whole CPU, and is on time to some
    /// microseconds. For machines with CPUs to spare
    #[arg(long)]
    pub(crate) spin: bool,
    /// Whose client to use: results must not depend on it
    #[arg(long, value_enum, default_value = "own")]
    pub(crate) client: Client,
    #[command(flatten)]
    pub(crate) grounds: Grounds,
}

/// Loads a broker that answers.
pub(crate) type Load<'l> = dyn FnMut(&Workload, &TargetFacts, &Stop, &mut dyn Observer) -> Loaded + 'l;

pub(crate) type Loaded = Result<RunResult, String>;

/// The generator of this program.
pub(crate) fn generator(
    options: &Options,
) -> impl FnMut(&Workload, &TargetFacts, &Stop, &mut dyn Observer) -> Loaded + use<> {
    let (threads, spin, client) = (options.threads, options.spin, options.client);
    move |workload, facts, stop, observer| {
        let options = load::Options {
            bootstrap: facts.bootstrap.clone(),
            target: facts.clone(),
            threads,
            spin,
            client,
            command: std::env::args().collect(),
            stop: stop.clone(),
            ..load::Options::default()
        };
        load::run(workload, &options, observer).map_err(|error| error.to_string())
    }
}

/// What became of one run.
pub(crate) struct Trial {
    /// Its result file, if it has a result at all.
    pub(crate) file: Option<PathBuf>,
    pub(crate) result: Option<RunResult>,
    /// Why it is not as it should be.
    pub(crate) trouble: Option<String>,
}

impl Options {
    /// The workload with what the command line says instead.
    pub(crate) fn workload(&self) -> Result<Workload, Failure> {
        let mut workload =
            workload::load(&self.workload).map_err(|error| Failure::usage(error.to_string()))?;
        workload.duration_s = self.duration.unwrap_or(workload.duration_s);
        workload.warm_up_s = self.warm_up.unwrap_or(workload.warm_up_s);
        Ok(workload)
    }
}

impl Session {
    /// Runs the workload on a fresh broker; `name` is that of its files.
    pub(crate) fn run(
        &self,
        target: &Target,
        limits: &Limits,
        workload: &Workload,
        name: &str,
        load: &mut Load<'_>,
    ) -> Trial {
        let mut running = match self.start(target, limits, name) {
            Ok(running) => running,
            Err(failure) => return Trial { file: None, result: None, trouble: Some(failure.to_string()) },
        };
        let watch = running.pid().map(|pid| Watch::begin(pid, running.folder()));
        let mut shown = Live::new(workload, &target.label);
        let stop = Stop::default();
        let mut watching = Watching { watch, shown: &mut shown, stop: stop.clone() };
        let loaded = load(workload, running.facts(), &stop, &mut watching);
        let watch = watching.watch;
        let ended = running.ended();
        if let Some(why) = &ended {
            eprintln!("{why}{}", running.last_words());
        }
        let (mut result, mut trouble) = match loaded {
            Ok(result) => (Some(result), ended.clone()),
            Err(why) => (None, Some(ended.clone().unwrap_or(why))),
        };
        if let Some(result) = &mut result {
            result.broker = watch.and_then(|watch| watch.end(&result.records));
            result.target = running.facts().clone();
            result.machine = self.machine().clone();
            result.command = std::env::args().collect();
            if let Some(why) = ended {
                result.outcome = Outcome::Incomplete { why };
            }
        }
        if let Err(failure) = running.stop() {
            eprintln!("warning: {failure}");
        }
        let file = result.as_ref().map(|result| self.write(&format!("{name}.json"), result));
        let file =
            file.and_then(|written| written.map_err(|failure| trouble = Some(failure.to_string())).ok());
        let trouble = trouble.or_else(|| result.as_ref().and_then(what_is_wrong));
        Trial { file, result, trouble }
    }
}

/// Why a result is not to be relied on.
pub(crate) fn what_is_wrong(result: &RunResult) -> Option<String> {
    let records = &result.records;
    match &result.outcome {
        Outcome::Invalid { why } => Some(format!("invalid: {why}")),
        Outcome::Incomplete { why } => Some(format!("incomplete: {why}")),
        Outcome::Valid if records.lost > 0 => Some(format!("{} records lost", records.lost)),
        Outcome::Valid if records.corrupted > 0 => Some(format!("{} records corrupted", records.corrupted)),
        Outcome::Valid => None,
    }
}

/// Shows a load to another observer, tells a watch when to look, and ends the load if the broker has ended.
pub(crate) struct Watching<'o> {
    pub(crate) watch: Option<Watch>,
    pub(crate) shown: &'o mut dyn Observer,
    pub(crate) stop: Stop,
}

impl Observer for Watching<'_> {
    fn measuring(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.measuring();
        }
        self.shown.measuring();
    }

    fn second(&mut self, second: &Second) {
        if self.watch.as_ref().is_some_and(Watch::is_over) {
            self.stop.set();
        }
        self.shown.second(second);
    }

    fn measured(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.measured();
        }
        self.shown.measured();
    }
}
