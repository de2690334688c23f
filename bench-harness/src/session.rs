//! Where a command that starts brokers has its results and the brokers' data, and what it does between runs.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::clock;
use crate::failure::Failure;
use crate::run::seconds;
use crate::target::{Limits, Place, Running, Target};

/// What commands that start brokers have in common.
#[derive(Debug, clap::Args)]
pub(crate) struct Grounds {
    /// Folder for the results, made if it is not there; one named after the command and the time if not said
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) site: Site,
}

/// Where brokers are started, and what they may use.
#[derive(Debug, clap::Args)]
pub(crate) struct Site {
    /// Folder on the disk to measure, for the brokers' data; beside the results if not said
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Rest before each start, after everything was written back
    #[arg(long, value_parser = seconds, default_value = "2s", value_name = "TIME")]
    settle: f64,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

/// Where runs have their files, and what they have in common.
pub(crate) struct Session {
    pub(crate) output: PathBuf,
    scratch: PathBuf,
    settle: Duration,
    machine: serde_json::Value,
    limits: Limits,
}

impl Grounds {
    pub(crate) fn session(&self, command: &str) -> Result<Session, Failure> {
        let output =
            self.output.clone().unwrap_or_else(|| PathBuf::from(format!("{command}-{}", time_name())));
        self.site.session(&output)
    }
}

impl Site {
    /// With results and logs in this folder.
    pub(crate) fn session(&self, output: &Path) -> Result<Session, Failure> {
        let failed = |error| Failure::failed(format!("{}: {error}", output.display()));
        fs::create_dir_all(output).map_err(failed)?;
        let scratch = self.scratch.clone().unwrap_or_else(|| output.join("scratch"));
        let made = fs::create_dir_all(&scratch).and_then(|()| fs::canonicalize(&scratch));
        let scratch = made.map_err(|error| Failure::failed(format!("{}: {error}", scratch.display())))?;
        if is_in_memory(&scratch) {
            let scratch = scratch.display();
            eprintln!(
                "warning: {scratch} is in memory, not on a disk: no flush of it costs anything; see --scratch"
            );
        }
        let machine = crate::machine::facts(Some(&scratch));
        let settle = Duration::from_secs_f64(self.settle);
        Ok(Session { output: output.to_owned(), scratch, settle, machine, limits: self.limits.clone() })
    }

    /// Whether the command line names a place or a limit.
    pub(crate) fn says_something(&self) -> bool {
        self.scratch.is_some() || self.limits != Limits::default()
    }
}

impl Session {
    pub(crate) fn machine(&self) -> &serde_json::Value {
        &self.machine
    }

    /// Those of the command line.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A fresh broker; `name` is that of its log.
    pub(crate) fn start(&self, target: &Target, limits: &Limits, name: &str) -> Result<Running, Failure> {
        // What the run before has left in the page cache is written now, not beside the next run.
        rustix::fs::sync();
        thread::sleep(self.settle);
        let place = Place { scratch: self.scratch.clone(), log: self.output.join(format!("{name}.log")) };
        Running::start(target, limits, &place)
    }

    /// A document among the results, whole or not at all.
    pub(crate) fn write<T: Serialize>(&self, name: &str, document: &T) -> Result<PathBuf, Failure> {
        let path = self.output.join(name);
        write_json(&path, document).map(|()| path)
    }

    /// Removes the folder of the data if it was made for this and nothing is in it.
    pub(crate) fn close(self) {
        if self.scratch.parent() == fs::canonicalize(&self.output).ok().as_deref() {
            // Not empty: something could not be wiped, and was told.
            let _ = fs::remove_dir(&self.scratch);
        }
    }
}

/// Whole or not at all; unless it is a pipe or a terminal, which take it as it comes.
pub(crate) fn write_json<T: Serialize>(path: &Path, document: &T) -> Result<(), Failure> {
    let takes_all = fs::metadata(path).is_ok_and(|facts| !facts.is_file());
    let part = if takes_all { path.to_owned() } else { path.with_extension("json.part") };
    let written = File::create(&part).and_then(|mut file| {
        serde_json::to_writer_pretty(&mut file, document)?;
        file.write_all(b"\n")?;
        if takes_all { Ok(()) } else { fs::rename(&part, path) }
    });
    written.map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
}

/// UTC, as 20260131-235959.
fn time_name() -> String {
    let seconds = clock::wall_ms() / 1000;
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day so many days after 1970 began.
fn date(mut days: i64) -> (i64, i64, i64) {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + i64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

/// A tmpfs or ramfs.
fn is_in_memory(folder: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    rustix::fs::statfs(folder).is_ok_and(|facts| [TMPFS, RAMFS].contains(&(facts.f_type as u64)))
}

#[cfg(test)]
impl Session {
    /// In a folder of a test's own.
    pub(crate) fn of_test(output: &Path) -> Self {
        let (scratch, settle) = (output.join("scratch"), Duration::ZERO);
        let (machine, limits) = (serde_json::Value::Null, Limits::default());
        Self { output: output.to_owned(), scratch, settle, machine, limits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(59), (1970, 3, 1));
        assert_eq!(date(19_782), (2024, 2, 29));
        assert_eq!(date(20_453), (2025, 12, 31));
    }
}
