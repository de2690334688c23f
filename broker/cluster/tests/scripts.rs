//! Runs every script under `scripts/`: commands on a cluster, and what came of them.
//!
//! A line that starts with `>` is a command; the lines up to the next blank one are the records it led to (`+`) and its
//! answer. Records are the cluster's history on disk, so a change here is a change there. `UPDATE_SCRIPTS=1` writes what
//! happened into the scripts; read the difference before you keep it.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that reads and writes its own files"
)]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "scripts/cluster_under_test.rs"]
mod cluster_under_test;
#[path = "scripts/groups_under_test.rs"]
mod groups_under_test;

use cluster_under_test::ClusterUnderTest;
use groups_under_test::GroupsUnderTest;

#[test]
fn every_script_says_what_happens() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut scripts = Vec::new();
    find(&root, &mut scripts);
    assert!(scripts.len() >= 3, "the scripts are gone");
    let update = std::env::var_os("UPDATE_SCRIPTS").is_some();
    let mut wrong = Vec::new();
    for path in scripts {
        let expected = fs::read_to_string(&path).unwrap();
        let happened = if path.starts_with(root.join("groups")) {
            let mut groups = GroupsUnderTest::new();
            run(&expected, |command| groups.command(command))
        } else {
            let mut cluster = ClusterUnderTest::new();
            run(&expected, |command| cluster.command(command))
        };
        if happened == expected {
            continue;
        }
        if update {
            fs::write(&path, happened).unwrap();
        } else {
            wrong.push(format!("{}:\n{}", path.display(), difference(&expected, &happened)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn find(folder: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            find(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            into.push(path);
        }
    }
}

/// The script with what really happens in the place of what it expects.
fn run(script: &str, mut runs: impl FnMut(&str) -> Vec<String>) -> String {
    let mut out = String::new();
    let mut skipping = false;
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            out.push_str(line);
            out.push('\n');
            for happened in runs(command) {
                out.push_str(&happened);
                out.push('\n');
            }
            skipping = true;
        } else if line.is_empty() || !skipping {
            skipping = false;
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

fn difference(expected: &str, happened: &str) -> String {
    let (mut e, mut h) = (expected.lines(), happened.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (e.next(), h.next()) {
            (None, None) => return "  only the end of the file differs".to_owned(),
            (expected, happened) if expected == happened => (),
            (expected, happened) => {
                let shown = |line: Option<&str>| line.unwrap_or("(end)").to_owned();
                return format!(
                    "  line {number}\n    expected {}\n    happened {}",
                    shown(expected),
                    shown(happened)
                );
            }
        }
    }
}
