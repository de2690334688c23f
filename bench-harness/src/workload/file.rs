//! Where workloads come from: those that are shipped, by name, and files, by path.

use std::fs;
use std::io;
use std::path::Path;

use super::Workload;
use super::check::Wrong;
use crate::toml_file::{self, Problem};

/// Shipped workloads: name and text.
pub(crate) const SHIPPED: &[(&str, &str)] = &[
    ("paced-1k", include_str!("../../workloads/paced-1k.toml")),
    ("small-100b", include_str!("../../workloads/small-100b.toml")),
    ("big-1m", include_str!("../../workloads/big-1m.toml")),
    ("many-partitions", include_str!("../../workloads/many-partitions.toml")),
    ("many-partitions-10k", include_str!("../../workloads/many-partitions-10k.toml")),
    ("many-clients", include_str!("../../workloads/many-clients.toml")),
    ("many-clients-10k", include_str!("../../workloads/many-clients-10k.toml")),
    ("fan-out", include_str!("../../workloads/fan-out.toml")),
    ("fan-out-1", include_str!("../../workloads/fan-out-1.toml")),
    ("fan-out-5", include_str!("../../workloads/fan-out-5.toml")),
    ("catch-up", include_str!("../../workloads/catch-up.toml")),
    ("burst", include_str!("../../workloads/burst.toml")),
    ("compacted-keys", include_str!("../../workloads/compacted-keys.toml")),
    ("in-groups", include_str!("../../workloads/in-groups.toml")),
    ("mixed", include_str!("../../workloads/mixed.toml")),
    ("durable-single", include_str!("../../workloads/durable-single.toml")),
    ("soak", include_str!("../../workloads/soak.toml")),
];

/// Why there is no workload.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkloadError {
    #[error(
        "no shipped workload is called `{name}`{suggestion}\nshipped: {shipped}\na file's path ends in .toml or has a / in it"
    )]
    Unknown { name: String, suggestion: String, shipped: String },
    #[error("{path}: {error}")]
    Unreadable { path: String, error: io::Error },
    #[error("{}", lines(.0))]
    Wrong(Vec<Problem>),
}

/// A shipped workload by its name, or the one that a file describes.
pub(crate) fn load(name_or_path: &str) -> Result<Workload, WorkloadError> {
    if let Some((name, text)) = SHIPPED.iter().find(|(name, _)| *name == name_or_path) {
        return parse(&format!("{name}.toml"), text);
    }
    let looks_like_a_path = name_or_path.contains('/') || name_or_path.ends_with(".toml");
    if !looks_like_a_path && !Path::new(name_or_path).exists() {
        let names = SHIPPED.iter().map(|(name, _)| *name);
        return Err(WorkloadError::Unknown {
            name: name_or_path.to_owned(),
            suggestion: toml_file::did_you_mean(name_or_path, names.clone()),
            shipped: names.collect::<Vec<_>>().join(", "),
        });
    }
    let unreadable = |error| WorkloadError::Unreadable { path: name_or_path.to_owned(), error };
    parse(name_or_path, &fs::read_to_string(name_or_path).map_err(unreadable)?)
}

/// What a workload file's text says, if it can be run.
pub(crate) fn parse(path: &str, text: &str) -> Result<Workload, WorkloadError> {
    let workload: Workload =
        toml_file::parse(path, text).map_err(|problem| WorkloadError::Wrong(vec![problem]))?;
    let mut wrongs = workload.check();
    wrongs.extend(keys_beside_none(&workload, text));
    if wrongs.is_empty() {
        return Ok(workload);
    }
    let place = |wrong: Wrong| toml_file::problem_of(path, text, wrong.keys, wrong.message);
    Err(WorkloadError::Wrong(wrongs.into_iter().map(place).collect()))
}

/// serde lets anything stand beside a tag that has no fields.
fn keys_beside_none(workload: &Workload, text: &str) -> Option<Wrong> {
    let keys: &[&str] = &["records", "keys"];
    let is_odd = workload.records.keys == super::Keys::None && toml_file::width(text, keys) > 1;
    is_odd.then(|| Wrong {
        keys: &["records", "keys", "kind"],
        message: "keys of kind `none` have no other settings".to_owned(),
    })
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
