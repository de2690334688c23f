//! What a person sees while a load runs: a bar on a terminal, plain lines elsewhere. On standard error, so that standard
//! output stays a result's.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::load::Observer;
use crate::machine::{Busy, CpuTimes, Root};
use crate::number;
use crate::result::Second;
use crate::workload::Workload;

/// A load's observer.
pub(crate) struct Live {
    /// None where there is no terminal.
    bar: Option<ProgressBar>,
    lines: Lines,
    /// What all CPUs had done by the last second.
    cpu: Option<CpuTimes>,
}

/// Longer runs say less often how they are.
const LINE_A_SECOND_S: f64 = 60.0;
const LONG_RUN_STEP_S: usize = 10;

impl Live {
    /// `label` says which run of several this is.
    pub(crate) fn new(workload: &Workload, label: &str) -> Self {
        let step = if workload.duration_s <= LINE_A_SECOND_S { 1 } else { LONG_RUN_STEP_S };
        let bar = std::io::stderr().is_terminal().then(|| bar(workload.duration_s, label));
        if let Some(bar) = &bar {
            bar.set_message(format!("warming up for {} s", workload.warm_up_s));
            bar.tick();
        }
        if bar.is_none() {
            eprintln!("{label}: {} s of warm-up, then {} s", workload.warm_up_s, workload.duration_s);
        }
        Self { bar, lines: Lines::new(step), cpu: None }
    }
}

impl Observer for Live {
    fn measuring(&mut self) {
        if let Some(bar) = &self.bar {
            bar.set_message("");
            bar.reset();
        }
        self.cpu = CpuTimes::read(&Root::of_this_machine());
    }

    fn second(&mut self, second: &Second) {
        if let Some(bar) = &self.bar {
            // One line under the other: each fits a terminal of 80 columns.
            let cpu = since(&mut self.cpu);
            bar.set_message(format!("{}{cpu}\n{}", rates(second), times(second)));
            bar.inc(1);
        } else if let Some(line) = self.lines.next(second) {
            eprintln!("{line}{}", since(&mut self.cpu));
        }
    }
}

/// What the CPUs did since the last look.
fn since(before: &mut Option<CpuTimes>) -> String {
    let now = CpuTimes::read(&Root::of_this_machine());
    let busy = now.zip(*before).and_then(|(now, before)| now.since(&before));
    *before = now;
    busy.map(|busy| cpu(&busy)).unwrap_or_default()
}

impl Drop for Live {
    /// Not when the measured time is over: its last second is told after that.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(duration_s: f64, label: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(duration_s.ceil() as u64), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} s\n{msg}")
        .expect("the template is one of ours")
        .progress_chars("━╸ ");
    bar.set_style(style);
    bar.set_prefix(label.to_owned());
    bar
}

/// Seconds gathered into lines.
struct Lines {
    step: usize,
    gathered: Vec<Second>,
}

impl Lines {
    fn new(step: usize) -> Self {
        Self { step, gathered: Vec::new() }
    }

    /// A line when enough seconds have come: mean rates, and the worst of the times.
    fn next(&mut self, second: &Second) -> Option<String> {
        self.gathered.push(second.clone());
        if self.gathered.len() < self.step {
            return None;
        }
        let all = std::mem::take(&mut self.gathered);
        let mean = |of: fn(&Second) -> u64| all.iter().map(of).sum::<u64>() / all.len() as u64;
        let worst = |of: fn(&Second) -> f64| all.iter().map(of).fold(0.0, f64::max);
        let together = Second {
            sent: mean(|it| it.sent),
            acked: mean(|it| it.acked),
            delivered: mean(|it| it.delivered),
            ack_p50_us: worst(|it| it.ack_p50_us),
            ack_p99_us: worst(|it| it.ack_p99_us),
            ack_max_us: worst(|it| it.ack_max_us),
            lag_max_us: worst(|it| it.lag_max_us),
            ..second.clone()
        };
        Some(format!("{:>6.0} s  {}  {}", second.at_s + 1.0, rates(&together), times(&together)))
    }
}

fn rates(second: &Second) -> String {
    format!("{:>9} acked/s  {:>9} delivered/s", number::whole(second.acked), number::whole(second.delivered))
}

fn times(second: &Second) -> String {
    format!(
        "ack p50 {:>8}  p99 {:>8}  max {:>8}  generator late {:>8}",
        number::rounded_time(second.ack_p50_us),
        number::rounded_time(second.ack_p99_us),
        number::rounded_time(second.ack_max_us),
        number::rounded_time(second.lag_max_us),
    )
}

/// Of the whole machine: whatever else runs on it counts.
fn cpu(busy: &Busy) -> String {
    let steal = match busy.steal {
        share if share >= 0.005 => format!(", stolen {:.0} %", share * 100.0),
        _ => String::new(),
    };
    format!("  all CPUs {:.0} % busy{steal}", busy.busy * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(at_s: f64, acked: u64, p99: f64) -> Second {
        Second { at_s, acked, ack_p50_us: 210.0, ack_p99_us: p99, ack_max_us: 41_200.0, ..Second::default() }
    }

    #[test]
    fn a_line_says_the_worst_of_its_seconds_and_the_mean_rate() {
        let mut lines = Lines::new(2);
        assert_eq!(lines.next(&second(0.0, 100_000, 5_000.0)), None);
        let line = lines.next(&second(1.0, 50_000, 900.0)).unwrap();
        for words in ["     2 s", "75,000 acked/s", "p50   210 µs", "p99     5 ms", "max  41.2 ms"] {
            assert!(line.contains(words), "{words}: {line}");
        }
        assert_eq!(lines.next(&second(3.0, 1, 1.0)), None);
        assert_eq!(cpu(&Busy { busy: 0.973, steal: 0.0 }), "  all CPUs 97 % busy");
        assert_eq!(cpu(&Busy { busy: 0.5, steal: 0.031 }), "  all CPUs 50 % busy, stolen 3 %");
    }
}
