//! Puts a load on a broker and accounts for every record of it.
//!
//! One thread for each part of the producers (`sender`) and of the consumers (`reader`); the calling thread conducts: it makes
//! topics, says when to begin, puts the seconds together and judges in the end.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::plan::Plan;
use crate::client::admin::{Admin, Bound};
use crate::client::batch::Identity;
use crate::client::error::ClientError;
use crate::result::{RunResult, Second, TargetFacts};
use crate::stop::Stop;
use crate::workload::Workload;

mod conduct;
mod contact;
mod group;
#[cfg(feature = "librdkafka")]
mod librdkafka;
mod outcome;
mod plan;
mod reader;
mod sender;
mod signals;
mod source;
mod tally;
mod wire;

/// How a load is put on a broker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// `HOST:PORT`, several separated by commas.
    pub(crate) bootstrap: String,
    pub(crate) target: TargetFacts,
    pub(crate) client: Client,
    /// Outlasts restarts of the broker, and reads everything again in the end.
    pub(crate) verify: bool,
    /// How long a broker may be out of reach before the run is given up; 15 s, or 120 s to verify, if not said.
    pub(crate) patience: Option<Duration>,
    /// For producers, and as many for consumers; half of the machine's cores if not said.
    pub(crate) threads: Option<usize>,
    /// Producing threads look at the clock again instead of sleeping.
    pub(crate) spin: bool,
    /// An HdrHistogram log of every second.
    pub(crate) hlog: Option<PathBuf>,
    /// As it was typed, for the result.
    pub(crate) command: Vec<String>,
    /// Ends the run early; what was measured is kept.
    pub(crate) stop: Stop,
}

/// Whose client puts the load on a broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Client {
    /// This program's
    #[default]
    Own,
    /// librdkafka, if this program was built with it
    Librdkafka,
}

/// Sees a run as it goes. Called on the thread that called [`run`].
pub(crate) trait Observer {
    /// The warm-up is over.
    fn measuring(&mut self) {}
    /// A second of the measured time is complete.
    fn second(&mut self, _second: &Second) {}
    /// The measured time is over. Answers and deliveries may still be waited for.
    fn measured(&mut self) {}
}

/// Why there is no result at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The workload asks for what cannot be.
    #[error("{0}")]
    Workload(String),
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It failed before anything was measured.
    #[error("{0}")]
    Failed(String),
}

const ADMIN_TIMEOUT: Duration = Duration::from_secs(20);
/// Nobody answers yet: most likely the address is wrong.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);
const DELETE_PATIENCE: Duration = Duration::from_secs(5);
/// Many topics take their time.
const CREATE_PATIENCE: Duration = Duration::from_secs(60);
/// What is open beside the connections.
const FILES_BESIDE: u64 = 256;

/// Runs a workload. The result has everything but the machine and what the broker's process cost.
pub(crate) fn run(
    workload: &Workload,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<RunResult, LoadError> {
    let mut plan = Plan::new(workload, options)?;
    let mut admin = Admin::new(&plan.bootstrap, ADMIN_TIMEOUT);
    prepare(&mut plan, &mut admin)?;
    let topics = plan.topics.clone();
    let result = conduct::conduct(plan, &mut admin, options, observer);
    // A broker that is gone keeps its topics; the result says that it is gone.
    if let Err(error) = admin.retry(DELETE_PATIENCE, |admin| admin.delete(&topics))
        && result.is_ok()
    {
        eprintln!("millstream-bench: topics {}.. were not deleted: {error}", topics.names[0]);
    }
    result
}

fn prepare(plan: &mut Plan, admin: &mut Admin) -> Result<(), LoadError> {
    let topics = &plan.workload.topics;
    let factor = topics.replication_factor;
    admin.retry(plan.patience.min(FIRST_PATIENCE), |admin| {
        admin.create(&plan.topics, factor, &topics.config)
    })?;
    let leaders = admin.wait_for_leaders(&plan.topics, CREATE_PATIENCE)?;
    // Leaders that do not know yet that they lead would refuse the first records, and put them out of order.
    admin.retry(CREATE_PATIENCE, |admin| admin.offsets(&plan.topics, Bound::Latest))?;
    if let Some(protocol) = plan.workload.consume.group {
        let topic_ids = admin.topic_ids(&plan.topics)?;
        plan.make_groups(protocol, &topic_ids);
    }
    let produce = &plan.workload.produce;
    if produce.idempotent {
        for _ in 0..produce.producers {
            let (producer_id, epoch) = admin.retry(ADMIN_TIMEOUT, Admin::producer_id)?;
            plan.identities.push(Identity { producer_id, epoch, base_sequence: 0 });
        }
    }
    let mut nodes = leaders;
    nodes.sort_unstable();
    nodes.dedup();
    let clients = u64::from(produce.producers) + u64::from(plan.workload.consume.consumers);
    let to_coordinators = if plan.groups.is_empty() { 0 } else { u64::from(plan.workload.consume.consumers) };
    allow_files(clients * nodes.len() as u64 + to_coordinators + FILES_BESIDE)
}

pub(crate) fn allow_files(needed: u64) -> Result<(), LoadError> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let wanted = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    if wanted < needed || raised.is_err() {
        let why = format!("{needed} open files are needed and {wanted} are allowed: raise `ulimit -n`");
        return Err(LoadError::Workload(why));
    }
    Ok(())
}
