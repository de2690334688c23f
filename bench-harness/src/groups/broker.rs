//! The broker under load: one that runs already, or a target that is started for this and wiped afterwards.

use std::path::Path;

use super::findings;
use crate::cost::{self, Watch};
use crate::failure::Failure;
use crate::machine;
use crate::result::{Accounts, TargetFacts};
use crate::session::{Session, Site};
use crate::target::{Running, Target};

#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// A broker to start from; several are separated by commas
    #[arg(short, long, value_name = "HOST:PORT", required_unless_present = "target")]
    bootstrap: Option<String>,
    /// What the result calls that broker; by its address if not said
    #[arg(long, value_name = "NAME", conflicts_with = "target")]
    label: Option<String>,
    /// That broker's process on this machine: what the load cost it goes into the result
    #[arg(long, value_name = "N", conflicts_with = "target")]
    pid: Option<u32>,
    /// A target to start instead, as in `compare`; what it says is kept beside the result, and its folder is wiped
    #[arg(short, long, value_name = "TARGET", conflicts_with = "bootstrap", requires = "output")]
    target: Option<String>,
    #[command(flatten)]
    site: Site,
}

pub(super) struct Broker {
    pub(super) facts: TargetFacts,
    pub(super) machine: serde_json::Value,
    /// None: it ran before, and goes on.
    started: Option<(Running, Session)>,
}

/// What a broker was before a load, and has used since.
pub(super) struct Meter {
    resident_before_bytes: u64,
    pub(super) watch: Watch,
}

impl Which {
    /// Returns when it answers, if it is started here.
    pub(super) fn ready(&self, output: Option<&Path>) -> Result<Broker, Failure> {
        let Some(target) = &self.target else { return self.as_it_runs() };
        let target = Target::parse(target)?;
        target.check_installed()?;
        let output = output.ok_or_else(|| Failure::usage("groups: --target asks for --output"))?;
        // Of a bare name the parent is an empty path.
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
        let session = self.site.session(folder.unwrap_or(Path::new(".")))?;
        let name = output.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match session.start(&target, &target.limits(session.limits()), &name) {
            Ok(running) => Ok(Broker {
                facts: running.facts().clone(),
                machine: session.machine().clone(),
                started: Some((running, session)),
            }),
            Err(failure) => {
                session.close();
                Err(failure)
            }
        }
    }

    fn as_it_runs(&self) -> Result<Broker, Failure> {
        if self.site.says_something() {
            return Err(Failure::usage(
                "groups: --scratch, --cpus, --memory-mib and --open-files are for a --target that is started here",
            ));
        }
        let facts = TargetFacts {
            name: self.label.clone().unwrap_or_default(),
            bootstrap: self.bootstrap.clone().unwrap_or_default(),
            pid: self.pid,
            ..TargetFacts::default()
        };
        Ok(Broker { facts, machine: machine::facts(None), started: None })
    }
}

impl Broker {
    /// None if its process is not known.
    pub(super) fn meter(&self) -> Result<Option<Meter>, Failure> {
        let Some(pid) = self.facts.pid else { return Ok(None) };
        let resident = cost::resident_bytes(pid)
            .ok_or_else(|| Failure::usage(format!("--pid {pid}: there is no such process on this machine")));
        Ok(Some(Meter { resident_before_bytes: resident?, watch: Watch::begin(pid, None) }))
    }

    /// What was started is stopped and wiped. Says why it had ended before that.
    pub(super) fn close(self) -> Option<String> {
        let (mut running, session) = self.started?;
        let ended = running.ended();
        if let Some(why) = &ended {
            eprintln!("{why}{}", running.last_words());
        }
        if let Err(failure) = running.stop() {
            eprintln!("warning: {failure}");
        }
        session.close();
        ended
    }
}

impl Meter {
    /// What each of so many things cost.
    pub(super) fn end(self, count: u64) -> Option<findings::Broker> {
        let cost = self.watch.end(&Accounts { measured_acked: count, ..Accounts::default() })?;
        Some(findings::Broker { resident_before_bytes: self.resident_before_bytes, cost })
    }
}
