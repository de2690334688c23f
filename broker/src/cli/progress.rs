//! A bar for what takes longer than a second, on a terminal only.
#![allow(clippy::disallowed_methods, reason = "commands run without a reactor and read the clock")]

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Records,
}

pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
    /// It is not shown yet, and will be if it takes long.
    may_come: bool,
}

const QUIET: Duration = Duration::from_secs(1);

impl Progress {
    pub(crate) fn new(unit: Unit) -> Self {
        let look = match unit {
            Unit::Bytes => "{wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left",
            Unit::Records => "{wide_bar} {human_pos}/{human_len} records {eta} left",
        };
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        bar.set_style(ProgressStyle::with_template(look).expect("the template is right"));
        Self { bar, started: Instant::now(), may_come: true }
    }

    /// For a command whose output would run through the bar if both were on the terminal.
    pub(crate) fn beside_output(unit: Unit) -> Self {
        Self { may_come: !io::stdout().is_terminal(), ..Self::new(unit) }
    }

    /// Never shown.
    pub(crate) fn hidden() -> Self {
        Self { may_come: false, ..Self::new(Unit::Bytes) }
    }

    /// How much there is to do.
    pub(crate) fn expect(&self, all: u64) {
        self.bar.set_length(all);
    }

    pub(crate) fn advance(&mut self, by: u64) {
        self.bar.inc(by);
        if self.may_come && self.started.elapsed() > QUIET {
            // Draws nothing if this is no terminal.
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.may_come = false;
        }
    }

    /// Prints without tearing the bar.
    pub(crate) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Takes the bar away. How much was done, and how long it took.
    pub(crate) fn finish(&self) -> (u64, Duration) {
        self.bar.finish_and_clear();
        (self.bar.position(), self.started.elapsed())
    }
}
