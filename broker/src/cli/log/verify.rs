//! `millstream log verify`: reads everything in a data directory and tells what is not as it was written.
//!
//! A place is *damaged* if acknowledged records or what was flushed with them may be lost. What an unclean stop leaves behind above the
//! recovery point, and the next start puts right, is only noted.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use indicatif::HumanBytes;

use self::directory::Directory;
use super::{listed, name, unreadable};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::progress::{Progress, Unit};
use crate::server::dir_lock::{DirLock, LockError};

mod directory;
mod indexes;
mod partition;
mod segment;

#[derive(clap::Args)]
#[command(
    after_help = "Lengths, checksums, offsets and leader epochs of every batch are checked, and that indexes, producer \
snapshots and checkpoints agree with them. An append that a crash cut short is noted, not damage: the broker judges it the \
same way when it starts. Nothing is changed. The broker must not run on the directory. Ends with 1 if something is damaged.

Examples:
  millstream log verify /var/lib/millstream
  millstream log verify --deep data/orders-0"
)]
pub(crate) struct Arguments {
    /// Data directories, or folders of single partitions
    #[arg(required = true, value_name = "DATA_DIR")]
    dirs: Vec<PathBuf>,
    /// Unpack every batch and check each record, too
    #[arg(long)]
    deep: bool,
}

/// What was looked at and what was found.
struct Findings<'w> {
    output: Output<'w>,
    progress: Progress,
    partitions: u64,
    segments: u64,
    damaged: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Damage,
    /// Of an unclean stop, or harmless.
    Note,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut findings = Findings::new(Output::stdout());
    verify(arguments, &mut findings)?;
    let damaged = findings.damaged;
    findings.finish()?;
    match damaged {
        0 => Ok(()),
        count => {
            let places = if count == 1 {
                "one place is damaged".to_owned()
            } else {
                format!("{count} places are damaged")
            };
            let next =
                "`millstream log dump FILE` shows what is around it; a replica or a backup may have it whole";
            Err(Failure::failed(places).next(next))
        }
    }
}

fn verify(arguments: &Arguments, findings: &mut Findings<'_>) -> Result<(), Failure> {
    let directories =
        arguments.dirs.iter().map(|dir| Directory::open(dir)).collect::<Result<Vec<_>, Failure>>()?;
    let bytes = directories.iter().map(Directory::log_bytes).sum::<Result<u64, Failure>>()?;
    findings.progress.expect(bytes);
    for directory in &directories {
        directory.verify(arguments.deep, findings)?;
    }
    Ok(())
}

impl<'w> Findings<'w> {
    fn new(output: Output<'w>) -> Self {
        Self { output, progress: Progress::new(Unit::Bytes), partitions: 0, segments: 0, damaged: 0 }
    }

    fn found(&mut self, severity: Severity, path: &Path, at: Option<u64>, what: &str) -> Result<(), Failure> {
        let word = match severity {
            Severity::Damage => "damaged",
            Severity::Note => "note",
        };
        self.damaged += u64::from(severity == Severity::Damage);
        let place = at.map_or_else(String::new, |position| format!(" at byte {position}"));
        let Self { output, progress, .. } = self;
        let line = format!("{word}: {}{place}: {what}", path.display());
        progress.aside(|| output.line(&line).and_then(|()| output.flush()))
    }

    fn damage(&mut self, path: &Path, at: Option<u64>, what: &str) -> Result<(), Failure> {
        self.found(Severity::Damage, path, at, what)
    }

    fn note(&mut self, path: &Path, at: Option<u64>, what: &str) -> Result<(), Failure> {
        self.found(Severity::Note, path, at, what)
    }

    fn finish(mut self) -> Result<(), Failure> {
        let (bytes, took) = self.progress.finish();
        let verdict = match self.damaged {
            0 => "nothing is damaged".to_owned(),
            count => format!("{count} damaged"),
        };
        let counts =
            format!("{} partitions, {} segments, {}", self.partitions, self.segments, HumanBytes(bytes));
        self.output.line(&format!("{counts} in {:.1} s: {verdict}", took.as_secs_f64()))?;
        self.output.flush()
    }
}

/// Keeps brokers away while a directory is read; fails if one is at it.
fn locked(dir: &Path) -> Result<Option<DirLock>, Failure> {
    match DirLock::shared(dir) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.is_absence() => Ok(None),
        Err(LockError::Held(pid)) => {
            let who = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
            let text = format!(
                "a broker runs on {}{who}, and what it is writing now would look damaged",
                dir.display()
            );
            Err(Failure::failed(text).next("stop the broker, or verify a snapshot of the filesystem"))
        }
        Err(LockError::Open { path, source }) => Err(unreadable(&path, &source)),
        Err(error @ LockError::Lock { .. }) => {
            // A filesystem without locks cannot tell; better to read than to refuse.
            let _ = writeln!(io::stderr(), "millstream: {error}");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests;
