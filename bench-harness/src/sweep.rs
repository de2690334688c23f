//! Latency against rate: what a target can take at most, what 10 to 90 % of that feels like, and the highest rate at
//! which a percentile stays below a limit. Each point is a run on a fresh broker.

use std::fmt::Write as _;
use std::fs;

use serde::Serialize;

use crate::failure::Failure;
use crate::heading::Heading;
use crate::number;
use crate::result::{RunResult, TargetFacts};
use crate::run::seconds;
use crate::session::Session;
use crate::stop;
use crate::target::Target;
use crate::trial::{Load, Options, generator, what_is_wrong};
use crate::workload::{Arrivals, Workload};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The peak is found with arrivals = \"max\"; the other points are open loop, at the workload's arrivals or,
if those have no rate, at equal distances.

Examples:
  millstream-bench sweep --target millstream --workload paced-1k
  millstream-bench sweep --target millstream --target kafka --workload small-100b --hold-p99 10ms --duration 20s"
)]
pub(crate) struct Args {
    /// What to measure, as in `compare`; may be given several times
    #[arg(long = "target", short, required = true, value_name = "TARGET")]
    targets: Vec<String>,
    /// Shares of the peak, in percent
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "10,20,30,40,50,60,70,80,90",
        value_name = "PERCENT,..."
    )]
    shares: Vec<f64>,
    /// Find the highest rate at which records are acknowledged within this time at the 99th percentile
    #[arg(long, value_parser = seconds, value_name = "TIME")]
    hold_p99: Option<f64>,
    /// Take this as the peak instead of looking for it
    #[arg(long, value_name = "RECORDS/S")]
    peak: Option<f64>,
    #[command(flatten)]
    options: Options,
}

pub(crate) fn main(args: &Args) -> Result<(), Failure> {
    let targets = Target::parse_all(&args.targets)?;
    let workload = args.options.workload()?;
    if let Some(share) = args.shares.iter().find(|share| !(**share > 0.0 && **share <= 200.0)) {
        return Err(Failure::usage(format!("--shares {share}: more than 0 and at most 200 is asked")));
    }
    if args.peak.is_some_and(|peak| !(peak.is_finite() && peak > 0.0)) {
        return Err(Failure::usage("--peak: more than 0 is asked"));
    }
    targets.iter().try_for_each(Target::check_installed)?;
    let session = args.options.grounds.session("sweep")?;
    let mut load = generator(&args.options);
    let mut bad = Vec::new();
    let mut markdown = String::new();
    for target in &targets {
        if stop::was_told() {
            bad.push(format!("{}: it was told to stop", target.label));
            break;
        }
        let sweep = Sweep::run(&session, target, &workload, args, &mut load)?;
        let text = sweep.markdown();
        println!("{text}");
        markdown += &text;
        bad.extend(sweep.why_incomplete.map(|why| format!("{}: {why}", target.label)));
    }
    let written = fs::write(session.output.join("sweep.md"), markdown);
    written.map_err(|error| Failure::failed(format!("sweep.md: {error}")))?;
    eprintln!("results are in {}", session.output.display());
    session.close();
    match bad.is_empty() {
        true => Ok(()),
        false => Err(Failure::failed(format!("sweep: incomplete: {}", bad.join("; ")))),
    }
}

/// What `sweep-TARGET.json` has.
#[derive(Serialize)]
struct Sweep {
    #[serde(flatten)]
    heading: Heading,
    target: TargetFacts,
    workload: Workload,
    /// None if everything asked for was measured.
    why_incomplete: Option<String>,
    /// Records a second.
    peak_per_s: Option<f64>,
    held: Option<Held>,
    points: Vec<Point>,
}

/// The highest rate at which a percentile stayed below a limit.
#[derive(Debug, PartialEq, Serialize)]
struct Held {
    limit_p99_ms: f64,
    /// None if not even the lowest rate tried held.
    per_s: Option<f64>,
    /// The lowest rate tried that did not; None if all did.
    broken_per_s: Option<f64>,
    /// What was wrong there. It may have been the generator: then the target may hold more than is known.
    broken_why: Option<String>,
}

#[derive(Serialize)]
struct Point {
    what: What,
    /// Records a second that were to come; None for the peak.
    rate: Option<f64>,
    /// Of the peak.
    share: Option<f64>,
    file: Option<String>,
    trouble: Option<String>,
    result: Option<RunResult>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    Peak,
    Share,
    Hold,
}

/// What a sweep of one target goes through.
struct Course<'a, 'l> {
    session: &'a Session,
    target: &'a Target,
    load: &'a mut Load<'l>,
    sweep: Sweep,
}

impl Sweep {
    fn run(
        session: &Session,
        target: &Target,
        workload: &Workload,
        args: &Args,
        load: &mut Load<'_>,
    ) -> Result<Self, Failure> {
        let facts = TargetFacts {
            name: target.label.clone(),
            version: target.version.clone(),
            fsync: Some(target.fsync.name().to_owned()),
            ..TargetFacts::default()
        };
        let sweep = Self {
            heading: Heading::of("sweep", session.machine().clone()),
            target: facts,
            workload: workload.clone(),
            why_incomplete: Some("it was cut short".into()),
            peak_per_s: args.peak,
            held: None,
            points: Vec::new(),
        };
        let mut course = Course { session, target, load, sweep };
        course.sweep.why_incomplete = course.go(args)?;
        course.write()?;
        Ok(course.sweep)
    }

    fn markdown(&self) -> String {
        let mut text = format!("## {}: {}\n\n", self.target.name, self.workload.name);
        text += "| share of the peak | asked, records/s | acknowledged, records/s | p50 ms | p99 ms | p99.9 ms | most ms | |\n";
        text += "|--:|--:|--:|--:|--:|--:|--:|--|";
        for point in &self.points {
            let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number::plain);
            let ack =
                point.result.as_ref().and_then(|result| result.latency.as_ref()).map(|latency| &latency.ack);
            let share = point.share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0));
            let share = if point.what == What::Peak { "peak".to_owned() } else { share };
            let acked = point.result.as_ref().map(|result| result.records.acked_per_s);
            let _ = write!(text, "\n| {share} | {} | {} |", shown(point.rate), shown(acked));
            for value in
                [ack.map(|a| a.p50_us), ack.map(|a| a.p99_us), ack.map(|a| a.p99_9_us), ack.map(|a| a.max_us)]
            {
                let _ = write!(text, " {} |", shown(value.map(|us| us / 1e3)));
            }
            let trouble = point.trouble.as_deref().and_then(|trouble| trouble.lines().next());
            let _ = write!(text, " {} |", trouble.unwrap_or_default());
        }
        text += "\n\nTime to acknowledgement, from when each record was due.\n";
        if let Some(held) = &self.held {
            let rate = |rate: f64| format!("{} records/s", number::plain(rate));
            let per_s = held.per_s.map_or_else(|| "no rate tried".to_owned(), rate);
            let _ = write!(text, "\np99 within {} ms: {per_s}", number::plain(held.limit_p99_ms));
            if let (Some(broken), Some(why)) = (held.broken_per_s, &held.broken_why) {
                let _ = write!(text, "; at {}: {why}", rate(broken));
            }
            text += ".\n";
        }
        if let Some(why) = &self.why_incomplete {
            let _ = writeln!(text, "\nIncomplete: {why}.");
        }
        text
    }
}

impl Course<'_, '_> {
    /// Why it had to end early, if it had to.
    fn go(&mut self, args: &Args) -> Result<Option<String>, Failure> {
        if args.peak.is_none() {
            let at = self.point(What::Peak, None, None)?;
            let point = &self.sweep.points[at];
            let acked = point.result.as_ref().map_or(0.0, |result| result.records.acked_per_s);
            if point.trouble.is_some() || acked <= 0.0 {
                let why = point.trouble.clone().unwrap_or_else(|| "nothing was acknowledged".into());
                return Ok(Some(format!("no peak: {why}")));
            }
            self.sweep.peak_per_s = Some(acked);
        }
        let peak = self.sweep.peak_per_s.expect("given or found above");
        let mut shares: Vec<f64> = args.shares.iter().map(|percent| percent / 100.0).collect();
        shares.sort_by(f64::total_cmp);
        for share in shares {
            if stop::was_told() {
                break;
            }
            self.point(What::Share, Some(peak * share), Some(share))?;
        }
        if let Some(limit_s) = args.hold_p99.filter(|_| !stop::was_told()) {
            self.hold(limit_s * 1e3, peak)?;
        }
        if stop::was_told() {
            return Ok(Some("it was told to stop".into()));
        }
        let missing = self.sweep.points.iter().filter(|point| point.result.is_none()).count();
        Ok((missing > 0).then(|| format!("{missing} of {} points have no result", self.sweep.points.len())))
    }

    /// Between the highest rate that is known to hold and the lowest that is known not to, halving.
    fn hold(&mut self, limit_p99_ms: f64, peak: f64) -> Result<(), Failure> {
        let known: Vec<(f64, bool)> = self
            .sweep
            .points
            .iter()
            .filter_map(|point| Some((point.rate?, holds(point, limit_p99_ms))))
            .collect();
        let mut search = Search::after(&known, peak);
        while let Some(rate) = search.next_rate().filter(|_| !stop::was_told()) {
            let at = self.point(What::Hold, Some(rate), Some(rate / peak))?;
            search.learn(rate, holds(&self.sweep.points[at], limit_p99_ms));
        }
        let is_broken = |point: &&Point| point.rate.is_some() && point.rate == search.bad;
        let broken = self.sweep.points.iter().rfind(is_broken);
        let broken_why = broken.map(|point| why_not(point, limit_p99_ms));
        self.sweep.held =
            Some(Held { limit_p99_ms, per_s: search.good, broken_per_s: search.bad, broken_why });
        Ok(())
    }

    /// Measures one point; returns its place.
    fn point(&mut self, what: What, rate: Option<f64>, share: Option<f64>) -> Result<usize, Failure> {
        let mut workload = self.sweep.workload.clone();
        workload.produce.rate = rate;
        workload.produce.arrivals = match (rate, workload.produce.arrivals) {
            (None, _) => Arrivals::Max,
            (Some(_), Arrivals::Poisson) => Arrivals::Poisson,
            (Some(_), _) => Arrivals::Fixed,
        };
        if rate.is_none() {
            workload.produce.burst = None;
        }
        let number = self.sweep.points.len();
        let of = rate.map_or_else(
            || "as fast as it takes them".to_owned(),
            |rate| format!("{} records/s", number::plain(rate)),
        );
        eprintln!("{}: {of}", self.target.label);
        let name = format!("{}-{number:02}", self.target.label);
        let limits = self.target.limits(self.session.limits());
        let trial = self.session.run(self.target, &limits, &workload, &name, self.load);
        if let Some(trouble) = &trial.trouble {
            eprintln!("  {trouble}");
        }
        if let Some(result) = &trial.result {
            self.sweep.target = result.target.clone();
        }
        let file = trial.file.as_deref().and_then(|file| file.file_name());
        let file = file.map(|name| name.to_string_lossy().into_owned());
        self.sweep.points.push(Point {
            what,
            rate,
            share,
            file,
            trouble: trial.trouble,
            result: trial.result,
        });
        self.write()?;
        Ok(number)
    }

    fn write(&self) -> Result<(), Failure> {
        self.session.write(&format!("sweep-{}.json", self.target.label), &self.sweep).map(|_| ())
    }
}

/// Whether all that was due came through in time.
fn holds(point: &Point, limit_p99_ms: f64) -> bool {
    let (Some(result), Some(rate)) = (&point.result, point.rate) else { return false };
    let p99_ms = result.latency.as_ref().map(|latency| latency.ack.p99_us / 1e3);
    let in_time = p99_ms.is_some_and(|p99_ms| p99_ms <= limit_p99_ms);
    what_is_wrong(result).is_none() && in_time && result.records.acked_per_s >= rate * KEPT_UP
}

/// Why it does not hold.
fn why_not(point: &Point, limit_p99_ms: f64) -> String {
    let Some(result) = &point.result else { return point.trouble.clone().unwrap_or_default() };
    let p99_ms = result.latency.as_ref().map(|latency| latency.ack.p99_us / 1e3);
    what_is_wrong(result).unwrap_or_else(|| match p99_ms {
        Some(p99_ms) if p99_ms > limit_p99_ms => format!("p99 is {} ms", number::plain(p99_ms)),
        _ => format!("{} records/s acknowledged", number::plain(result.records.acked_per_s)),
    })
}

/// Looks for the border between rates that hold and rates that do not.
#[derive(Debug, PartialEq)]
struct Search {
    good: Option<f64>,
    bad: Option<f64>,
    tries_left: u32,
    peak: f64,
}

impl Search {
    /// A rate above one that did not hold counts for nothing, even if it held.
    fn after(known: &[(f64, bool)], peak: f64) -> Self {
        let bad = known.iter().filter(|(_, holds)| !holds).map(|(rate, _)| *rate).min_by(f64::total_cmp);
        let below = known.iter().filter(|(rate, holds)| *holds && bad.is_none_or(|bad| *rate < bad));
        let good = below.map(|(rate, _)| *rate).max_by(f64::total_cmp);
        Self { good, bad, tries_left: TRIES, peak }
    }

    /// None when it is known closely enough, or enough was tried.
    fn next_rate(&self) -> Option<f64> {
        let next = match (self.good, self.bad) {
            (Some(good), Some(bad)) => Some(f64::midpoint(good, bad)).filter(|_| bad - good > good * CLOSE),
            // The peak itself is the most that is worth a try.
            (Some(good), None) => Some(self.peak).filter(|peak| good < *peak),
            (None, Some(bad)) => Some(bad / 2.0).filter(|rate| *rate > self.peak / 1000.0),
            (None, None) => Some(self.peak / 2.0),
        };
        next.filter(|_| self.tries_left > 0)
    }

    fn learn(&mut self, rate: f64, holds: bool) {
        self.tries_left -= 1;
        *(if holds { &mut self.good } else { &mut self.bad }) = Some(rate);
    }
}

/// The share of what was due that has to be acknowledged in the measured time.
const KEPT_UP: f64 = 0.99;
/// How far apart, relative to the lower, the rates that hold and do not may stay.
const CLOSE: f64 = 0.03;
/// Runs that the search may take.
const TRIES: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// What the search finds if rates up to `border` hold.
    fn found(known: &[f64], border: f64, peak: f64) -> (Search, u32) {
        let known: Vec<(f64, bool)> = known.iter().map(|rate| (*rate, *rate <= border)).collect();
        let mut search = Search::after(&known, peak);
        let mut tries = 0;
        while let Some(rate) = search.next_rate().filter(|_| !stop::was_told()) {
            search.learn(rate, rate <= border);
            tries += 1;
        }
        (search, tries)
    }

    #[test]
    fn the_border_is_found_closely() {
        let tenths: Vec<f64> = (1..10).map(|tenth| f64::from(tenth) * 100.0).collect();
        for border in [110.0, 333.0, 555.0, 899.0, 950.0] {
            let (search, tries) = found(&tenths, border, 1000.0);
            let (good, bad) = (search.good.unwrap(), search.bad.unwrap());
            assert!(good <= border && bad > border && bad - good <= good * CLOSE, "{border}: {search:?}");
            assert!(tries <= TRIES);
        }
    }

    #[test]
    fn the_search_ends_where_all_or_nothing_holds() {
        let (search, tries) = found(&[500.0], 1e9, 1000.0);
        assert_eq!((search.good, search.bad, tries), (Some(1000.0), None, 1));
        let (search, tries) = found(&[500.0], 0.0, 1000.0);
        assert!(search.good.is_none() && tries <= TRIES, "{search:?}");
        let (search, _) = found(&[], 300.0, 1000.0);
        assert!(search.good.unwrap() <= 300.0 && search.bad.unwrap() > 300.0);
    }

    #[test]
    fn what_holds_by_luck_above_what_does_not_is_no_evidence() {
        let search = Search::after(&[(100.0, true), (200.0, false), (300.0, true)], 1000.0);
        assert_eq!((search.good, search.bad), (Some(100.0), Some(200.0)));
    }
}
