//! Commands that need no broker, as a shell sees them: what they print, and how they exit.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of files and processes")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Exit code, standard output, standard error.
fn bench(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_millstream-bench")).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn at(&self, path: &str) -> String {
        self.0.join(path).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn workloads_are_listed_and_printed() {
    let (code, out, _) = bench(&["workloads"]);
    assert_eq!(code, 0);
    for name in ["paced-1k\n", "small-100b\n", "durable-single\n", "soak\n"] {
        assert!(out.contains(name), "{out}");
    }
    let (code, out, _) = bench(&["workloads", "burst"]);
    assert!(code == 0 && out.starts_with("name = \"burst\"\n") && out.contains("lasts_s"), "{out}");
    let (code, _, err) = bench(&["workloads", "burts"]);
    assert!(code == 2 && err.contains("did you mean `burst`?"), "{err}");
}

#[test]
fn a_report_of_nothing_is_refused() {
    let folder = Folder::new("nothing", &[("a.json", "{"), ("b.txt", "")]);
    let check = |arguments: &[&str], expected: &str| {
        let (code, _, err) = bench(arguments);
        assert!(code == 2 && err.contains(expected), "{arguments:?}: {code}: {err}");
    };
    check(&["report", &folder.at("a.json"), "-o", &folder.at("r.html")], "left out");
    check(
        &["report", &folder.at(""), "-o", &folder.at("r.html")],
        "none of the files is the result of a run",
    );
    check(
        &["report", &folder.at("a.json"), "-o", &folder.at("r.pdf")],
        "ends in none of .html, .md, .csv, .svg",
    );
    check(&["report", &folder.at("c.json"), "-o", &folder.at("r.html")], "c.json: No such file");
    check(&["report", "-o", &folder.at("r.html")], "required");
    assert!(!folder.0.join("r.html").exists());
}

#[test]
fn a_load_of_groups_is_put_on_one_broker_and_not_on_two() {
    let check = |arguments: &[&str], expected: &str| {
        let (code, _, err) = bench(&[&["groups"], arguments].concat());
        assert!(code == 2 && err.contains(expected), "{arguments:?}: {code}: {err}");
    };
    check(&["steady"], "--bootstrap");
    check(&["steady", "--target", "kafka"], "--output");
    check(&["commits", "--target", "kafka", "-o", "x.json", "--bootstrap", "h:1"], "cannot be used with");
    check(&["commits", "--target", "kafka", "-o", "x.json", "--pid", "1"], "cannot be used with");
    check(&["commits", "--target", "kafka", "-o", "x.json", "--label", "x"], "cannot be used with");
    check(&["rebalance", "--target", "kafak", "-o", "x.json"], "did you mean `kafka`?");
    check(&["rebalance", "--bootstrap", "h:1", "--cpus", "0"], "for a --target that is started here");
}

#[test]
fn a_workload_of_the_openmessaging_benchmark_becomes_one_of_ours() {
    let yaml = "name: x\ntopics: 1\npartitionsPerTopic: 4\nmessageSize: 100\nsubscriptionsPerTopic: 1\n\
                producersPerTopic: 1\nproducerRate: 500\ntestDurationMinutes: 1\n";
    let bad = yaml.replace("topics: 1", "topics: 0");
    let folder = Folder::new("omb", &[("w.yaml", yaml), ("bad.yaml", &bad), ("odd.yaml", "name:\n  x: 1\n")]);
    let (code, out, err) = bench(&["import-omb", &folder.at("w.yaml")]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("rate = 500.0") && out.contains("partitions = 4"), "{out}");
    assert!(err.contains("note: no --driver"), "{err}");
    let written = folder.at("w.toml");
    let (code, out, _) = bench(&["import-omb", &folder.at("w.yaml"), "--output", &written]);
    assert!(code == 0 && out.is_empty() && fs::read_to_string(&written).unwrap().contains("rate = 500.0"));
    let (code, _, err) = bench(&["import-omb", &folder.at("bad.yaml")]);
    assert!(code == 2 && err.contains("topics.count: at least one topic"), "{err}");
    let (code, _, err) = bench(&["import-omb", &folder.at("odd.yaml")]);
    assert!(code == 2 && err.contains("odd.yaml:2:1: "), "{err}");
}

#[test]
fn the_doctor_fails_on_what_is_bad_only() {
    let folder = Folder::new(
        "doctor",
        &[
            ("calm/proc/stat", "cpu  1 0 0 9 0 0 0 0\n"),
            ("slow/proc/cpuinfo", "processor: 0\nmodel name: A CPU\n"),
            ("slow/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n"),
        ],
    );
    let (code, out, err) = bench(&["doctor", "--root", &folder.at("calm")]);
    assert_eq!(code, 0, "{out}{err}");
    let (code, out, err) = bench(&["doctor", "--root", &folder.at("slow")]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(
        out.contains("BAD       governor") && out.contains("cpupower frequency-set -g performance"),
        "{out}"
    );
    assert!(err.contains("one thing makes figures from this machine mean little"), "{err}");
    let (code, _, err) = bench(&["doctor", "--cores", "x"]);
    assert!(code == 2 && err.contains("neither a CPU's number"), "{err}");
}

#[test]
fn the_machine_describes_itself_as_json() {
    let (code, out, _) = bench(&["machine", "--data-dir", "/"]);
    assert_eq!(code, 0);
    let facts: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(facts["cpu"]["logical"].as_u64().unwrap() > 0, "{out}");
    assert!(facts["disk"]["filesystem"].is_string(), "{out}");
}
