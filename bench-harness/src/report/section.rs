//! Which runs may stand side by side: those of one machine that did the same work, the rate apart.

use std::collections::BTreeSet;

use super::groups::Groups;
use super::probe::Probe;
use super::recovery::Recovery;
use super::run::Run;
use crate::machine::Facts;

/// Runs of one machine.
#[derive(Debug, Default)]
pub(super) struct Machine {
    pub(super) facts: Option<Facts>,
    pub(super) sections: Vec<Section>,
    /// In the order of their first runs; a target has one colour on all plots of a machine.
    pub(super) targets: Vec<String>,
    /// What it gives without a broker.
    pub(super) probes: Vec<Probe>,
    pub(super) recoveries: Vec<Recovery>,
    pub(super) groups: Vec<Groups>,
}

/// Runs of one workload.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) runs: Vec<Run>,
}

/// Where targets meet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Compared {
    /// The work has no rate.
    AsIs,
    At(f64),
    /// Each has rates of its own: only the plots by rate say something.
    Nowhere,
}

pub(super) fn group(runs: Vec<Run>) -> Vec<Machine> {
    let mut machines: Vec<(String, Machine)> = Vec::new();
    for run in runs {
        let key = run.facts.as_ref().map(Facts::identity).unwrap_or_default();
        let at = machines.iter().position(|(it, _)| *it == key).unwrap_or_else(|| {
            let facts = run.facts.clone();
            machines.push((key, Machine { facts, ..Machine::default() }));
            machines.len() - 1
        });
        machines[at].1.add(run);
    }
    machines.into_iter().map(|(_, machine)| machine).collect()
}

impl Machine {
    fn add(&mut self, run: Run) {
        let target = run.target();
        if !self.targets.contains(&target) {
            self.targets.push(target);
        }
        let work = work(&run);
        match self
            .sections
            .iter_mut()
            .find(|section| section.runs.first().map(self::work) == Some(work.clone()))
        {
            Some(section) => section.runs.push(run),
            None => self.sections.push(Section { runs: vec![run] }),
        }
    }
}

impl Compared {
    /// The rate of the runs that stand side by side; None for no runs.
    pub(super) fn rate(self) -> Option<Option<f64>> {
        match self {
            Self::AsIs => Some(None),
            Self::At(rate) => Some(Some(rate)),
            Self::Nowhere => None,
        }
    }
}

impl Section {
    /// Those that were asked for, rising.
    pub(super) fn rates(&self) -> Vec<f64> {
        let mut rates: Vec<f64> = self.runs.iter().filter_map(Run::rate).collect();
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        rates
    }

    /// At which targets are compared: where most of them have runs that may be used, and of those the highest.
    pub(super) fn compared(&self) -> Compared {
        let targets = |runs: &mut dyn Iterator<Item = &Run>| -> usize {
            runs.map(Run::target).collect::<BTreeSet<String>>().len()
        };
        let at = |rate: f64| targets(&mut self.good_at(Some(rate)));
        let Some(rate) = self.rates().into_iter().max_by_key(|rate| (at(*rate), rate.to_bits())) else {
            return Compared::AsIs;
        };
        let is_shared = at(rate) > 1 || targets(&mut self.runs.iter()) == 1;
        if is_shared { Compared::At(rate) } else { Compared::Nowhere }
    }

    pub(super) fn good_at(&self, rate: Option<f64>) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.rate() == rate && run.is_good())
    }

    pub(super) fn bad(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| !run.is_good())
    }

    /// Of one target's runs, that whose p99 is in the middle.
    pub(super) fn middle(&self, target: &str, rate: Option<f64>) -> Option<&Run> {
        let mut runs: Vec<&Run> = self.good_at(rate).filter(|run| run.target() == target).collect();
        runs.sort_by(|a, b| {
            a.ack_p99_us().unwrap_or(f64::INFINITY).total_cmp(&b.ack_p99_us().unwrap_or(f64::INFINITY))
        });
        runs.get(runs.len().saturating_sub(1) / 2).copied()
    }
}

/// What was asked, the rate, the seed and the words apart.
fn work(run: &Run) -> crate::workload::Workload {
    let mut work = run.result.workload.clone();
    work.produce.rate = None;
    work.seed = 0;
    work.about.clear();
    work
}
