//! `groups`: what coordinating groups costs a broker, without any records: many members that only send heartbeats, commits as fast
//! as they are taken, and how long a group takes to form when members come and go.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use self::broker::{Broker, Meter, Which};
use self::findings::{Findings, Kind, Leavers, Own, Rate};
use self::roster::Roster;
use crate::client::group::{Protocol, SESSION_TIMEOUT_MS};
use crate::clock::{self, CpuTime, NS_PER_MS, NS_PER_S};
use crate::failure::Failure;
use crate::heading::Heading;
use crate::latency::{self, Histogram};
use crate::machine::{CpuTimes, Root};
use crate::run::seconds;
use crate::session::write_json;
use crate::stop;

mod broker;
mod crew;
pub(crate) mod findings;
mod roster;
mod table;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  millstream-bench groups steady --bootstrap HOST:9092 --protocol consumer --groups 1000 --members 10 --pid 4242
  millstream-bench groups commits --target kafka,fsync=os,label=kafka-default --groups 100 --members 1 --output kafka.json
  millstream-bench groups rebalance --bootstrap HOST:9092 --members 200 --lose 50")]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Members that do nothing but send heartbeats, as often as Kafka's consumers do by default
    Steady(Load),
    /// Members that commit offsets, each again as soon as the last commit was answered
    Commits(Load),
    /// A group that forms, loses members at once, and gets them back
    Rebalance(Changes),
}

#[derive(Debug, clap::Args)]
struct Load {
    #[command(flatten)]
    place: Place,
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    groups: u32,
    /// Of each group
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    members: u32,
    /// How many groups form at the same time, each set of them over connections of its own; members with the same number in
    /// groups of one set share a connection
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sets: u32,
    /// How long to measure
    #[arg(long, value_parser = seconds, default_value = "30s", value_name = "TIME")]
    duration: f64,
    /// How long to go on before that
    #[arg(long, value_parser = seconds, default_value = "10s", value_name = "TIME")]
    warm_up: f64,
}

#[derive(Debug, clap::Args)]
struct Changes {
    #[command(flatten)]
    place: Place,
    /// Each has a connection of its own
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=10_000))]
    members: u32,
    /// So many of them go at once
    #[arg(long, default_value_t = 10, value_name = "N")]
    lose: u32,
    /// They hang up instead of leaving: the group finds out when their sessions end
    #[arg(long)]
    crash: bool,
    /// Of the classic protocol; the other one's is the broker's own
    #[arg(long, value_parser = seconds, default_value_t = f64::from(SESSION_TIMEOUT_MS) / 1e3, value_name = "TIME")]
    session_timeout: f64,
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
}

#[derive(Debug, clap::Args)]
struct Place {
    #[command(flatten)]
    which: Which,
    #[arg(long, value_enum, default_value = "classic")]
    protocol: Protocol,
    /// Of the one topic that all groups read; as many as a group has members if not said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    partitions: Option<u32>,
    /// Write the result here, as JSON
    #[arg(short, long, value_name = "FILE.json")]
    output: Option<PathBuf>,
}

/// A group that takes longer to form is given up.
const FORM_PATIENCE_NS: i64 = 120 * NS_PER_S;
/// Members that wait for others to join are heard of this often, so that those need not wait for them. Not measured.
const HURRY_NS: i64 = 100 * NS_PER_MS;
const LOOK_UP_NS: i64 = 100 * NS_PER_MS;

/// What the file has.
#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    heading: Heading,
    #[serde(flatten)]
    findings: Findings,
}

pub(crate) fn main(args: Args) -> Result<(), Failure> {
    if matches!(&args.what, What::Rebalance(it) if it.lose == 0 || it.lose >= it.members) {
        return Err(Failure::usage("groups: --lose: at least one member, and not all of them"));
    }
    let place = args.what.place();
    let broker = place.which.ready(place.output.as_deref())?;
    let heading = Heading::of("groups", broker.machine.clone());
    let found = match &args.what {
        What::Steady(load) => steady(load, Kind::Steady, &broker),
        What::Commits(load) => steady(load, Kind::Commits, &broker),
        What::Rebalance(changes) => rebalance(changes, &broker),
    };
    let ended = broker.close();
    let mut findings = match (found, &ended) {
        (Err(_), Some(why)) => return Err(Failure::failed(why.clone())),
        (found, _) => found?,
    };
    // Why it ended says more than what its end looked like from here.
    findings.why_incomplete = ended.or(findings.why_incomplete);
    let document = Document { heading, findings };
    if let Some(path) = &place.output {
        write_json(path, &document)?;
    }
    print!("{}", table::markdown(&document.findings));
    match document.findings.why_incomplete {
        None => Ok(()),
        Some(why) => Err(Failure::failed(format!("groups: incomplete: {why}"))),
    }
}

fn steady(load: &Load, kind: Kind, broker: &Broker) -> Result<Findings, Failure> {
    let place = &load.place;
    let meter = broker.meter()?;
    let mut findings = place.findings(kind, load.groups, load.members, broker);
    let mut roster =
        Roster::open(&broker.facts.bootstrap, place.protocol, findings.partitions, SESSION_TIMEOUT_MS)?;
    let found = (|| {
        roster.engage(load.groups, load.members, load.sets)?;
        findings.connections = roster.crew.lines();
        eprintln!("{} groups of {} members form ...", load.groups, load.members);
        let began_ns = clock::now_ns();
        roster.form_all()?;
        findings.forming_s = clock::seconds(clock::now_ns() - began_ns);
        roster.spread_heartbeats();
        if kind == Kind::Commits {
            let slots = findings.partitions;
            (0..roster.crew.seats()).try_for_each(|seat| roster.crew.commit(seat, slots))?;
        }
        eprintln!(
            "formed after {:.1} s; {} s of warm-up, then {} s",
            findings.forming_s, load.warm_up, load.duration
        );
        roster.go_on(clock::from_seconds(load.warm_up))?;
        if stop::was_told() {
            return Ok(());
        }
        measure(&mut roster, &mut findings, load.duration, meter)
    })();
    findings.why_incomplete = found.err().or_else(|| stop::was_told().then(|| "stopped early".to_owned()));
    roster.close();
    Ok(findings)
}

fn measure(
    roster: &mut Roster,
    findings: &mut Findings,
    duration_s: f64,
    mut meter: Option<Meter>,
) -> Result<(), String> {
    let machine = Root::of_this_machine();
    let (cpu, all) = (CpuTime::now(), CpuTimes::read(&machine));
    roster.crew.count = crew::Count::new();
    if let Some(meter) = &mut meter {
        meter.watch.measuring();
    }
    let began_ns = clock::now_ns();
    let went_on = roster.go_on(clock::from_seconds(duration_s));
    findings.seconds = clock::seconds(clock::now_ns() - began_ns);
    if let Some(meter) = &mut meter {
        meter.watch.measured();
    }
    let cpu = CpuTime::now().since(cpu);
    findings.generator = Own { user_s: cpu.user_s, system_s: cpu.system_s };
    findings.all_cpus = CpuTimes::read(&machine).zip(all).and_then(|(now, before)| now.since(&before));
    let count = std::mem::replace(&mut roster.crew.count, crew::Count::new());
    let rate = |count: u64, times: &Histogram, lag: Option<&Histogram>| Rate {
        count,
        per_s: count as f64 / findings.seconds,
        latency: latency::percentiles(times),
        lag: lag.map(latency::percentiles),
    };
    let commits = findings.load == Kind::Commits;
    findings.heartbeats = Some(rate(count.heartbeats, &count.heartbeat, Some(&count.lag)));
    findings.commits = commits.then(|| rate(count.commits, &count.commit, None));
    findings.again = count.again.iter().map(|(error, count)| ((*error).to_owned(), *count)).collect();
    findings.broker =
        meter.and_then(|meter| meter.end(if commits { count.commits } else { count.heartbeats }));
    went_on
}

fn rebalance(changes: &Changes, broker: &Broker) -> Result<Findings, Failure> {
    let place = &changes.place;
    let mut meter = broker.meter()?;
    let mut findings = place.findings(Kind::Rebalance, 1, changes.members, broker);
    findings.connections = changes.members as usize;
    let session_timeout_s = changes.session_timeout;
    findings.leavers = Some(Leavers { count: changes.lose, crash: changes.crash, session_timeout_s });
    let session_timeout_ms = (session_timeout_s * 1e3) as i32;
    let mut roster =
        Roster::open(&broker.facts.bootstrap, place.protocol, findings.partitions, session_timeout_ms)?;
    if let Some(meter) = &mut meter {
        meter.watch.measuring();
    }
    let began_ns = clock::now_ns();
    let found = (1..=changes.rounds).try_for_each(|number| {
        let round = roster.change(changes.members, changes.lose, changes.crash)?;
        eprintln!(
            "round {number} of {}: formed after {:.0} ms, without {} after {:.0} ms, with them again after {:.0} ms",
            changes.rounds, round.formed_ms, changes.lose, round.without_ms, round.again_ms
        );
        findings.rounds.push(round);
        Ok(())
    });
    findings.seconds = clock::seconds(clock::now_ns() - began_ns);
    findings.why_incomplete = found.err();
    if let Some(meter) = &mut meter {
        meter.watch.measured();
    }
    findings.broker = meter.and_then(|meter| meter.end(3 * findings.rounds.len() as u64));
    roster.close();
    Ok(findings)
}

impl What {
    fn place(&self) -> &Place {
        match self {
            Self::Steady(load) | Self::Commits(load) => &load.place,
            Self::Rebalance(changes) => &changes.place,
        }
    }
}

impl Place {
    fn findings(&self, load: Kind, groups: u32, members: u32, broker: &Broker) -> Findings {
        Findings {
            target: broker.facts.clone(),
            load,
            protocol: self.protocol,
            groups,
            members,
            partitions: self.partitions.unwrap_or(members),
            connections: 0,
            leavers: None,
            why_incomplete: None,
            forming_s: 0.0,
            seconds: 0.0,
            heartbeats: None,
            commits: None,
            again: Default::default(),
            rounds: Vec::new(),
            generator: Own::default(),
            all_cpus: None,
            broker: None,
        }
    }
}

/// For what is waited for.
fn patience() -> Duration {
    Duration::from_nanos(FORM_PATIENCE_NS as u64)
}
