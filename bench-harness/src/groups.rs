//! `groups`: what coordinating groups costs a broker, without any records: many members that only send heartbeats, commits as fast
//! as they are taken, and how long a group takes to form when members come and go.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use self::roster::Roster;
use crate::client::group::{Protocol, SESSION_TIMEOUT_MS};
use crate::clock::{self, CpuTime, NS_PER_MS, NS_PER_S};
use crate::cost::{self, Watch};
use crate::failure::Failure;
use crate::heading::Heading;
use crate::latency::{self, Histogram};
use crate::machine::{self, Busy, CpuTimes, Root};
use crate::result::{Accounts, BrokerCost, Percentiles};
use crate::run::seconds;
use crate::session::write_json;
use crate::stop;

mod crew;
mod roster;
mod table;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  millstream-bench groups steady --bootstrap HOST:9092 --protocol consumer --groups 1000 --members 10 --pid 4242
  millstream-bench groups commits --bootstrap HOST:9092 --groups 100 --members 1
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
    /// A broker to start from; several are separated by commas
    #[arg(short, long, value_name = "HOST:PORT")]
    bootstrap: String,
    #[arg(long, value_enum, default_value = "classic")]
    protocol: Protocol,
    /// Of the one topic that all groups read; as many as a group has members if not said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    partitions: Option<u32>,
    /// The broker's process on this machine: what the load cost it goes into the result
    #[arg(long, value_name = "N")]
    pid: Option<u32>,
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
#[derive(Debug, Serialize)]
struct Document {
    #[serde(flatten)]
    heading: Heading,
    bootstrap: String,
    /// `steady`, `commits` or `rebalance`.
    load: &'static str,
    protocol: Protocol,
    groups: u32,
    /// Of each group.
    members: u32,
    partitions: u32,
    connections: usize,
    /// Why not everything asked for was measured; None if it was.
    why_incomplete: Option<String>,
    /// Until all groups had formed.
    forming_s: f64,
    /// Measured.
    seconds: f64,
    heartbeats: Option<Rate>,
    commits: Option<Rate>,
    /// Answers in the measured time that asked for another try, by their error.
    again: std::collections::BTreeMap<&'static str, u64>,
    rounds: Vec<Round>,
    generator: Own,
    all_cpus: Option<Busy>,
    broker: Option<Broker>,
}

/// What came again and again.
#[derive(Debug, Serialize)]
struct Rate {
    count: u64,
    per_s: f64,
    latency: Percentiles,
    /// How late the generator itself was.
    lag: Option<Percentiles>,
}

/// A group's changes, from when the first member did something to when all had their partitions.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Round {
    formed_ms: f64,
    without_ms: f64,
    again_ms: f64,
}

#[derive(Debug, Default, Serialize)]
struct Own {
    user_s: f64,
    system_s: f64,
}

#[derive(Debug, Serialize)]
struct Broker {
    /// Before the first member came.
    resident_before_bytes: u64,
    /// `cpu_us_per_record` is for a heartbeat or a commit.
    #[serde(flatten)]
    cost: BrokerCost,
}

pub(crate) fn main(args: Args) -> Result<(), Failure> {
    let (document, output) = match args.what {
        What::Steady(load) => (steady(&load, false)?, load.place.output),
        What::Commits(load) => (steady(&load, true)?, load.place.output),
        What::Rebalance(changes) => (rebalance(&changes)?, changes.place.output),
    };
    if let Some(path) = &output {
        write_json(path, &document)?;
    }
    print!("{}", table::markdown(&document));
    match &document.why_incomplete {
        None => Ok(()),
        Some(why) => Err(Failure::failed(format!("groups: incomplete: {why}"))),
    }
}

fn steady(load: &Load, commits: bool) -> Result<Document, Failure> {
    let place = &load.place;
    let name = if commits { "commits" } else { "steady" };
    let resident_before_bytes = place.resident()?;
    let mut document = place.document(name, load.groups, load.members);
    let mut roster = Roster::open(&place.bootstrap, place.protocol, document.partitions, SESSION_TIMEOUT_MS)?;
    let found = (|| {
        roster.engage(load.groups, load.members, load.sets)?;
        eprintln!("{} groups of {} members form ...", load.groups, load.members);
        let began_ns = clock::now_ns();
        roster.form_all()?;
        document.forming_s = clock::seconds(clock::now_ns() - began_ns);
        document.connections = roster.crew.lines();
        roster.spread_heartbeats();
        if commits {
            let slots = document.partitions;
            (0..roster.crew.seats()).try_for_each(|seat| roster.crew.commit(seat, slots))?;
        }
        eprintln!(
            "formed after {:.1} s; {} s of warm-up, then {} s",
            document.forming_s, load.warm_up, load.duration
        );
        roster.go_on(clock::from_seconds(load.warm_up))?;
        measure(&mut roster, &mut document, load, commits, resident_before_bytes)
    })();
    document.why_incomplete = found.err().or_else(|| stop::was_told().then(|| "stopped early".to_owned()));
    roster.close();
    Ok(document)
}

fn measure(
    roster: &mut Roster,
    document: &mut Document,
    load: &Load,
    commits: bool,
    resident_before_bytes: u64,
) -> Result<(), String> {
    let mut watch = load.place.pid.map(|pid| Watch::begin(pid, None));
    let machine = Root::of_this_machine();
    let (cpu, all) = (CpuTime::now(), CpuTimes::read(&machine));
    roster.crew.count = crew::Count::new();
    if let Some(watch) = &mut watch {
        watch.measuring();
    }
    let began_ns = clock::now_ns();
    let went_on = roster.go_on(clock::from_seconds(load.duration));
    document.seconds = clock::seconds(clock::now_ns() - began_ns);
    if let Some(watch) = &mut watch {
        watch.measured();
    }
    let cpu = CpuTime::now().since(cpu);
    document.generator = Own { user_s: cpu.user_s, system_s: cpu.system_s };
    document.all_cpus = CpuTimes::read(&machine).zip(all).and_then(|(now, before)| now.since(&before));
    let count = std::mem::replace(&mut roster.crew.count, crew::Count::new());
    let rate = |count: u64, times: &Histogram, lag: Option<&Histogram>| Rate {
        count,
        per_s: count as f64 / document.seconds,
        latency: latency::percentiles(times),
        lag: lag.map(latency::percentiles),
    };
    document.heartbeats = Some(rate(count.heartbeats, &count.heartbeat, Some(&count.lag)));
    document.commits = commits.then(|| rate(count.commits, &count.commit, None));
    document.again = count.again;
    let measured_acked = if commits { count.commits } else { count.heartbeats };
    let cost = watch.and_then(|watch| watch.end(&Accounts { measured_acked, ..Accounts::default() }));
    document.broker = cost.map(|cost| Broker { resident_before_bytes, cost });
    went_on
}

fn rebalance(changes: &Changes) -> Result<Document, Failure> {
    let place = &changes.place;
    if changes.lose == 0 || changes.lose >= changes.members {
        return Err(Failure::usage("groups: --lose: at least one member, and not all of them"));
    }
    let resident_before_bytes = place.resident()?;
    let mut document = place.document("rebalance", 1, changes.members);
    let session_timeout_ms = (changes.session_timeout * 1e3) as i32;
    let mut roster = Roster::open(&place.bootstrap, place.protocol, document.partitions, session_timeout_ms)?;
    let mut watch = place.pid.map(|pid| Watch::begin(pid, None));
    if let Some(watch) = &mut watch {
        watch.measuring();
    }
    let began_ns = clock::now_ns();
    let found = (1..=changes.rounds).try_for_each(|number| {
        let round = roster.change(changes.members, changes.lose, changes.crash)?;
        eprintln!(
            "round {number} of {}: formed after {:.0} ms, without {} after {:.0} ms, with them again after {:.0} ms",
            changes.rounds, round.formed_ms, changes.lose, round.without_ms, round.again_ms
        );
        document.rounds.push(round);
        Ok(())
    });
    document.seconds = clock::seconds(clock::now_ns() - began_ns);
    document.why_incomplete = found.err();
    document.connections = changes.members as usize;
    if let Some(watch) = &mut watch {
        watch.measured();
    }
    let changed = 3 * document.rounds.len() as u64;
    let cost =
        watch.and_then(|watch| watch.end(&Accounts { measured_acked: changed, ..Accounts::default() }));
    document.broker = cost.map(|cost| Broker { resident_before_bytes, cost });
    roster.close();
    Ok(document)
}

impl Place {
    fn document(&self, load: &'static str, groups: u32, members: u32) -> Document {
        Document {
            heading: Heading::of("groups", machine::facts(None)),
            bootstrap: self.bootstrap.clone(),
            load,
            protocol: self.protocol,
            groups,
            members,
            partitions: self.partitions.unwrap_or(members),
            connections: 0,
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

    /// Memory of the broker's process, if it was named.
    fn resident(&self) -> Result<u64, Failure> {
        let Some(pid) = self.pid else { return Ok(0) };
        cost::resident_bytes(pid)
            .ok_or_else(|| Failure::usage(format!("--pid {pid}: there is no such process on this machine")))
    }
}

/// For what is waited for.
fn patience() -> Duration {
    Duration::from_nanos(FORM_PATIENCE_NS as u64)
}
