//! The physical limit: what disk and network give to a bare io_uring loop, with no broker in between.

use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::failure::Failure;
use crate::heading::Heading;
use crate::session::write_json;

pub(crate) mod disk;
pub(crate) mod echo;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Writes past the page cache: sizes by depths, flushed or not, into new and into written space
    Disk(disk::Args),
    /// Requests that come back as they are, over TCP
    Echo(echo::Args),
}

pub(crate) fn main(args: Args) -> Result<(), Failure> {
    match args.command {
        Action::Disk(args) => disk::main(&args),
        Action::Echo(args) => echo::main(&args),
    }
}

/// A probe's results: what `--output` writes.
#[derive(Serialize)]
struct Document<'a, R> {
    #[serde(flatten)]
    heading: Heading,
    rows: &'a [R],
}

/// How long single operations took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Times {
    pub(crate) count: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p99_9_us: f64,
    pub(crate) max_us: f64,
}

impl Times {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        let max_us = histogram.max() as f64 / 1e3;
        Self { count: histogram.len(), p50_us: at(0.5), p99_us: at(0.99), p99_9_us: at(0.999), max_us }
    }
}

fn histogram() -> Histogram<u64> {
    // With bounds: without, `saturating_record` would cut at the few nanoseconds that it begins with.
    Histogram::new_with_bounds(1, HOUR_NS, 3).expect("three digits and an hour are allowed")
}

fn write_document<R: Serialize>(
    output: Option<&PathBuf>,
    kind: &'static str,
    folder: &Path,
    rows: &[R],
) -> Result<(), Failure> {
    let Some(path) = output else { return Ok(()) };
    write_json(path, &Document { heading: Heading::of(kind, crate::machine::facts(Some(folder))), rows })
}

const HOUR_NS: u64 = 3_600_000_000_000;
