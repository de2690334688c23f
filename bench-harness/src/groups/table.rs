//! The result for people.

use std::fmt::Write as _;

use super::{Document, Rate, Round};
use crate::client::group::Protocol;
use crate::figure::Figure;
use crate::number;

const MIB: f64 = 1_048_576.0;

pub(super) fn markdown(document: &Document) -> String {
    let protocol = match document.protocol {
        Protocol::Classic => "classic",
        Protocol::Consumer => "consumer (KIP-848)",
    };
    let mut text = format!(
        "## groups, {}: {} of {} members, {protocol}, {} partitions, {} connections\n\n| | | |\n|--|--|--:|",
        document.load, document.groups, document.members, document.partitions, document.connections
    );
    let mut row = |name: &str, unit: &str, value: &str| {
        let _ = write!(text, "\n| {name} | {unit} | {value} |");
    };
    if document.rounds.is_empty() {
        row("all groups formed, members in a hurry", "s", &number::plain(document.forming_s));
    }
    for (name, rate) in [("heartbeats", &document.heartbeats), ("commits", &document.commits)] {
        let Some(Rate { per_s, latency, lag, .. }) = rate else { continue };
        row(name, "1/s", &number::plain(*per_s));
        for (which, us) in [("p50", latency.p50_us), ("p99", latency.p99_us), ("max", latency.max_us)] {
            row(&format!("{name}, {which}"), "ms", &number::plain(us / 1e3));
        }
        if let Some(lag) = lag {
            row(&format!("{name}, the generator's own lag, p99"), "ms", &number::plain(lag.p99_us / 1e3));
        }
    }
    for (error, count) in &document.again {
        row(&format!("asked again: {error}"), "answers", &number::whole(*count));
    }
    type Time = fn(&Round) -> f64;
    let times: [(&str, Time); 3] = [
        ("formed", |round| round.formed_ms),
        ("formed again without those who went", |round| round.without_ms),
        ("formed again with them back", |round| round.again_ms),
    ];
    for (name, of) in times {
        if let Some(figure) = Figure::of(document.rounds.iter().map(of)) {
            row(name, "ms", &figure.shown());
        }
    }
    if let Some(broker) = &document.broker {
        let each = match document.load {
            "commits" => "µs/commit",
            _ => "µs/heartbeat",
        };
        row("broker CPU", "s", &number::plain(broker.cost.user_s + broker.cost.system_s));
        if document.rounds.is_empty() {
            row("broker CPU", each, &number::plain(broker.cost.cpu_us_per_record));
        }
        row("broker memory before", "MiB", &number::plain(broker.resident_before_bytes as f64 / MIB));
        row("broker memory", "MiB", &number::plain(broker.cost.resident_bytes as f64 / MIB));
    }
    if let Some(why) = &document.why_incomplete {
        let _ = write!(text, "\n\nIncomplete: {why}.");
    }
    text + "\n"
}
