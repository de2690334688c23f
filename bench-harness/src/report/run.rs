//! One run, as a report sees it: its figures, and whether they may be used.

use super::histogram::{self, Curve};
use crate::machine::{Busy, Facts};
use crate::result::{FORMAT, Outcome, RunResult, TargetFacts};

#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The file it comes from.
    pub(super) file: String,
    pub(super) result: RunResult,
    pub(super) standing: Standing,
    /// None where the machine was not written down.
    pub(super) facts: Option<Facts>,
    pub(super) ack: Option<Curve>,
    pub(super) end_to_end: Option<Curve>,
}

/// Whether a run's figures may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Good,
    Bad { mark: &'static str, why: String },
}

/// A schedule of chance has a little more or less than its rate.
const HELD_MIN: f64 = 0.97;
/// A share of CPU time that a p99 would show.
const STEAL_TOLD: f64 = 0.01;

impl Run {
    pub(super) fn read(file: &str, value: serde_json::Value) -> Result<Self, String> {
        if value.get("records").is_none() || value.get("workload").is_none() {
            return Err("not the result of a run".to_owned());
        }
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => return Err(format!("format {format}; this program reads {FORMAT}")),
            None => return Err("says no format".to_owned()),
        }
        let result: RunResult =
            serde_json::from_value(value).map_err(|error| format!("not the result of a run: {error}"))?;
        Ok(Self::of(file, result))
    }

    pub(super) fn of(file: &str, result: RunResult) -> Self {
        let mut standing = standing(&result);
        let (mut ack, mut end_to_end) = (None, None);
        if let Some(latency) = &result.latency {
            let of_deliveries = latency.end_to_end.as_ref().map_or(Ok(None), histogram::curve);
            match histogram::curve(&latency.ack).and_then(|of_acks| Ok((of_acks, of_deliveries?))) {
                Ok(curves) => (ack, end_to_end) = curves,
                Err(why) => standing = standing.or_bad("BROKEN", why),
            }
        }
        let facts = serde_json::from_value(result.machine.clone()).ok().filter(Facts::is_known);
        Self { file: file.to_owned(), result, standing, facts, ack, end_to_end }
    }

    pub(super) fn is_good(&self) -> bool {
        self.standing == Standing::Good
    }

    /// What ran, in enough words that two of the same name differ.
    pub(super) fn target(&self) -> String {
        let client = Some(self.result.generator.client.as_str()).filter(|it| it.starts_with("librdkafka"));
        let by = client.map(|client| format!(", by {client}")).unwrap_or_default();
        self.result.target.title() + &by
    }

    pub(super) fn rate(&self) -> Option<f64> {
        self.result.workload.produce.rate
    }

    pub(super) fn ack_p99_us(&self) -> Option<f64> {
        self.result.latency.as_ref().map(|latency| latency.ack.p99_us)
    }

    /// What a reader must know of a run that may be used all the same.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let records = &self.result.records;
        let out_of_order = format!("out of order{}", self.result.why_reordered());
        let counts = [
            (records.failed, "refused or timed out"),
            (records.retried, "sent again"),
            (records.duplicated, "delivered twice"),
            (records.reordered, out_of_order.as_str()),
        ];
        remarks.extend(counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} records {what}")));
        if let Some(rate) = self.rate().filter(|rate| records.acked_per_s < HELD_MIN * rate) {
            let share = 100.0 * records.acked_per_s / rate;
            remarks.push(format!("did not keep up: {share:.0} % of the rate asked was acknowledged in time"));
        }
        let overrun_s = self.result.generator.overrun_s;
        if overrun_s > 0 {
            remarks.push(format!(
                "in {overrun_s} s the generator could read no more: delivered/s and end to end are its own"
            ));
        }
        remarks.extend(circumstances(&self.result.target, self.result.all_cpus));
        remarks
    }
}

/// What a reader must know of what a broker ran on.
pub(super) fn circumstances(target: &TargetFacts, all_cpus: Option<Busy>) -> Vec<String> {
    let stolen = all_cpus.filter(|cpus| cpus.steal >= STEAL_TOLD);
    let stolen = stolen
        .map(|cpus| format!("{:.1} % of all CPU time was stolen by other machines", cpus.steal * 100.0));
    let unenforced = target.limits.iter().filter(|limit| limit.applied.is_none());
    let unenforced = unenforced.map(|limit| format!("limit of {} ({}) not enforced", limit.of, limit.asked));
    stolen.into_iter().chain(unenforced).collect()
}

fn standing(result: &RunResult) -> Standing {
    let standing = match &result.outcome {
        Outcome::Valid => Standing::Good,
        Outcome::Invalid { why } => Standing::Good.or_bad("INVALID", why.clone()),
        Outcome::Incomplete { why } => Standing::Good.or_bad("INCOMPLETE", why.clone()),
    };
    let records = &result.records;
    if records.lost > 0 {
        return standing.or_bad("LOST", format!("{} records lost: no latency", records.lost));
    }
    if records.corrupted > 0 {
        return standing.or_bad("CORRUPTED", format!("{} records corrupted", records.corrupted));
    }
    if result.latency.is_none() {
        return standing.or_bad("NO LATENCY", "no latency was measured".to_owned());
    }
    standing
}

impl Standing {
    /// The first mark stays; reasons add up.
    pub(super) fn or_bad(self, mark: &'static str, why: String) -> Self {
        match self {
            Self::Good => Self::Bad { mark, why },
            Self::Bad { mark, why: before } => Self::Bad { mark, why: format!("{before}; {why}") },
        }
    }
}
