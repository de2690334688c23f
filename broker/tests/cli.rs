//! The command line against brokers of its own: every command does what its help says, and ends with the code it promises.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of processes needs files")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::time::Instant;

use process::{Broker, Folder, fails, free_address, offline, run};
use serde_json::Value;

#[path = "cli/process.rs"]
mod process;

#[test]
fn topics_are_made_shown_and_removed() {
    let broker = Broker::start("topics");
    let create = ["topic", "create", "orders", "--partitions", "3", "--config", "retention.ms=86400000"];
    assert_eq!(broker.says(&create, ""), "orders created: 3 partitions, 1 replica\n");
    fails(&broker.run(&create, b""), 1, "cannot create topic orders: TOPIC_ALREADY_EXISTS");
    let create = ["topic", "create", "orders", "--if-not-exists"];
    assert_eq!(broker.says(&create, ""), "orders exists\n");
    broker.says(&["topic", "create", "planned", "--dry-run"], "");
    fails(&broker.run(&["topic", "create", "x", "--config", "no.such=1"], b""), 1, "INVALID_CONFIG");
    fails(&broker.run(&["topic", "create", "two words"], b""), 1, "INVALID_TOPIC_EXCEPTION");
    assert_eq!(broker.says(&["topic", "list"], ""), "TOPIC\tPARTITIONS\tREPLICAS\norders\t3\t1\n");

    let listing: Value = serde_json::from_str(&broker.says(&["topic", "list", "--json"], "")).unwrap();
    assert_eq!((&listing["version"], &listing["topics"][0]["name"]), (&1.into(), &"orders".into()));
    broker.says(&["produce", "orders", "-p", "1"], "a\nb\n");
    let described = broker.says(&["topic", "describe", "orders", "--json"], "");
    let topic = &serde_json::from_str::<Value>(&described).unwrap()["topics"][0];
    assert_eq!(topic["id"], listing["topics"][0]["id"]);
    let ends: Vec<_> =
        topic["partitions"].as_array().unwrap().iter().map(|partition| &partition["end"]).collect();
    assert_eq!(ends, [0, 2, 0]);
    let retention =
        topic["configs"].as_array().unwrap().iter().find(|config| config["name"] == "retention.ms");
    assert_eq!(
        retention.map(|config| (&config["value"], &config["source"])),
        Some((&"86400000".into(), &"topic".into()))
    );
    let shown = broker.says(&["topic", "describe", "orders"], "");
    assert!(shown.contains("retention.ms\t86400000\ttopic\n") && shown.contains("\n1\t"), "{shown}");

    fails(&broker.run(&["topic", "delete", "orders"], b""), 2, "add --yes");
    assert_eq!(broker.says(&["topic", "delete", "orders", "--yes"], ""), "orders deleted\n");
    assert_eq!(
        broker.says(&["topic", "delete", "orders", "--yes", "--if-exists"], ""),
        "orders does not exist\n"
    );
    let several = broker.run(&["topic", "delete", "--yes", "one", "other"], b"");
    fails(&several, 1, "there is no topic one\n");
    fails(&several, 1, "there is no topic other\n");
    fails(&broker.run(&["topic", "describe", "orders"], b""), 1, "there is no topic orders\n  next: ");
    fails(&broker.run(&["consume", "orders", "-e"], b""), 1, "there is no topic orders");
}

#[test]
fn settings_of_what_runs_are_shown_and_changed() {
    let broker = Broker::start("settings");
    broker.says(&["topic", "create", "orders"], "");
    let get = ["config", "get", "topic", "orders"];
    let at_first = broker.says(&get, "");
    assert_eq!(at_first, "CONFIG\tVALUE\tSET BY\nmin.insync.replicas\t1\tcluster, dynamic\n");
    let set = ["config", "set", "topic", "orders", "retention.ms=86400000", "cleanup.policy+=compact"];
    let could = broker.says(&[&set[..], &["--dry-run"]].concat(), "");
    assert!(could.starts_with("topic orders could be changed: retention.ms=86400000\n"), "{could}");
    assert_eq!(broker.says(&get, ""), at_first);
    let done = "topic orders changed: retention.ms=86400000\ntopic orders changed: cleanup.policy+=compact\n";
    assert_eq!(broker.says(&set, ""), done);
    let shown = broker.says(&["config", "get", "topic", "orders", "cleanup.policy", "segment.ms"], "");
    assert_eq!(
        shown,
        "CONFIG\tVALUE\tSET BY\ncleanup.policy\tdelete,compact\ttopic\nsegment.ms\t604800000\tdefault\n"
    );
    let unset = broker.says(&["config", "unset", "topic", "orders", "retention.ms", "cleanup.policy"], "");
    assert!(unset.starts_with("topic orders changed: retention.ms back to its default\n"), "{unset}");
    assert_eq!(broker.says(&get, ""), at_first);

    broker.says(&["config", "set", "group", "g", "consumer.session.timeout.ms=50000"], "");
    let listing = broker.says(&["config", "get", "group", "g", "--json"], "");
    let listing: Value = serde_json::from_str(&listing).unwrap();
    assert_eq!(
        listing["settings"],
        serde_json::json!([{"name": "consumer.session.timeout.ms", "value": "50000", "source": "group", "sensitive": false}])
    );
    broker.says(&["config", "set", "broker", "all", "message.max.bytes=2000000"], "");
    let all = broker.says(&["config", "get", "broker", "all"], "");
    assert!(all.contains("message.max.bytes\t2000000\tcluster, dynamic\n"), "{all}");
    let one = broker.says(&["config", "get", "broker", "1", "message.max.bytes"], "");
    assert!(one.ends_with("message.max.bytes\t2000000\tcluster, dynamic\n"), "{one}");

    fails(
        &broker.run(&["config", "set", "topic", "orders", "retention.ms=x"], b""),
        1,
        "Not a number of type LONG",
    );
    fails(&broker.run(&["config", "set", "topic", "orders", "no.such=1"], b""), 1, "INVALID_CONFIG");
    let asked = Instant::now();
    let set_other = ["config", "set", "topic", "other", "retention.ms=1"];
    fails(&broker.run(&set_other, b""), 1, "there is no topic other");
    fails(&broker.run(&["config", "get", "topic", "other"], b""), 1, "there is no topic other");
    assert!(asked.elapsed().as_secs() < 20, "told soon, and not when the time to try again is over");
    fails(
        &broker.run(&["config", "get", "topic", "orders", "no.such"], b""),
        1,
        "topic orders has no setting no.such",
    );
    fails(
        &broker.run(&["config", "set", "broker", "1", "num.io.threads=2"], b""),
        1,
        "while the broker runs",
    );
    fails(&broker.run(&["config", "get", "broker", "orders"], b""), 2, "a broker is named by its id");
    fails(&broker.run(&["config", "set", "topic", "orders", "retention.ms"], b""), 2, "KEY=VALUE");
}

#[test]
fn records_come_out_as_they_went_in() {
    let broker = Broker::start("records");
    broker.says(&["topic", "create", "orders"], "");
    let produce = ["produce", "orders", "-K", ":", "-Z", "-H", "from=test", "-H", "mark"];
    broker.says(&produce, "alice:1\nbob:2:3\nno key\n\nalice:\n");
    let format = "%t/%p/%o %k(%K)=%s(%S) %h\\n";
    assert_eq!(
        broker.says(&["consume", "orders", "-e", "-f", format], ""),
        "orders/0/0 alice(5)=1(1) from=test,mark=NULL\n\
         orders/0/1 bob(3)=2:3(3) from=test,mark=NULL\n\
         orders/0/2 (-1)=no key(6) from=test,mark=NULL\n\
         orders/0/3 (-1)=(-1) from=test,mark=NULL\n\
         orders/0/4 alice(5)=(-1) from=test,mark=NULL\n"
    );
    assert_eq!(
        broker.says(&["consume", "orders", "-e", "-K", "|", "-Z"], "").lines().nth(4),
        Some("alice|NULL")
    );
    assert_eq!(broker.says(&["consume", "orders", "-c", "2"], ""), "1\n2:3\n");
    assert_eq!(broker.says(&["consume", "orders", "-e", "-o", "-4", "-c", "1"], ""), "2:3\n");
    assert_eq!(broker.says(&["consume", "orders", "-e", "-o", "2", "-c", "1"], ""), "no key\n");
    assert_eq!(broker.says(&["consume", "orders", "-e", "-o", "end"], ""), "");
    assert_eq!(broker.says(&["consume", "orders", "-e", "-o", "s@0"], "").lines().count(), 5);
    assert_eq!(broker.says(&["consume", "orders", "-o", "e@1"], ""), "");
    let beyond = broker.run(&["consume", "orders", "-e", "-o", "99"], b"");
    fails(&beyond, 0, "offset 99 is beyond the end; beginning at 5");

    let copied = broker.says(&["consume", "orders", "-e", "-J"], "");
    broker.says(&["produce", "copy", "--json"], &copied);
    let again = broker.says(&["consume", "copy", "-e", "-J"], "");
    assert_eq!(again.replace("\"topic\":\"copy\"", "\"topic\":\"orders\""), copied);
    let wild = r#"{"key":{"base64":"/wA="},"payload":"p","ts":1234}"#;
    broker.says(&["produce", "wild", "--json"], wild);
    let back: Value = serde_json::from_str(&broker.says(&["consume", "wild", "-e", "-J"], "")).unwrap();
    assert_eq!((&back["key"]["base64"], &back["ts"]), (&"/wA=".into(), &1234.into()));

    fails(
        &broker.run(&["produce", "orders", "--json"], b"{}\n{\"a\":1}\n"),
        1,
        "standard input, line 2: unknown field `a`",
    );
    fails(&broker.run(&["produce", "orders", "-p", "7"], b"x\n"), 1, "topic orders has partition 0, not 7");
    fails(&broker.run(&["consume", "orders", "-p", "7"], b""), 1, "topic orders has no partition 7");
}

#[test]
fn many_records_survive_every_codec_and_a_stop() {
    let broker = Broker::start("many");
    let mut lines: Vec<String> = (0..5000).map(|number| format!("record number {number}")).collect();
    broker.says(&["topic", "create", "many", "--partitions", "4"], "");
    for (codec, acks) in [("none", "all"), ("gzip", "1"), ("snappy", "all"), ("lz4", "1"), ("zstd", "all")] {
        let arguments = ["produce", "many", "-z", codec, "--acks", acks, "--batch-bytes", "20000"];
        broker.says(&arguments, &(lines.join("\n") + "\n"));
    }
    let keyed: String = (0..1000).map(|number| format!("{}\t{number}\n", number % 50)).collect();
    broker.says(&["produce", "keyed", "-K", "\\t"], &keyed);
    let consumed = broker.says(&["consume", "many", "-e"], "");
    let mut consumed: Vec<&str> = consumed.lines().collect();
    consumed.sort_unstable();
    lines.sort_unstable();
    assert!(consumed.len() == 25_000 && consumed.iter().step_by(5).eq(&lines), "{} lines", consumed.len());

    let mut reading = broker.begin(&["consume", "many", "-e"]);
    let mut first = [0; 100];
    reading.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let ended = reading.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), &b""[..]), "nobody reads any more");

    fails(&offline(&["log", "verify"], &broker.folder.data()), 1, "a broker runs on ");
    let folder = broker.stop("TERM");
    let verified = offline(&["log", "verify", "--deep"], &folder.data());
    assert!(verified.code == 0 && verified.out.ends_with("nothing is damaged\n"), "{verified:?}");
    let dumped = offline(&["log", "dump", "--print-data-log"], &folder.data());
    assert_eq!(dumped.code, 0, "{}", dumped.err);
    assert_eq!(dumped.out.matches(" payload: record number 4999\n").count(), 5);
    fails(&offline(&["format"], &folder.data()), 1, "formatted already: it belongs to node");
}

#[test]
fn crash_leaves_nothing_damaged_and_damage_is_found() {
    let broker = Broker::start("crash");
    broker.says(&["produce", "orders"], &"something to keep\n".repeat(500));
    let folder = broker.stop("KILL");
    let verified = offline(&["log", "verify", "--deep"], &folder.data());
    assert_eq!(verified.code, 0, "{verified:?}");
    let log = folder.data().join("orders-0/00000000000000000000.log");
    let mut bytes = fs::read(&log).unwrap();
    bytes[70] ^= 1;
    fs::write(&log, bytes).unwrap();
    let verified = offline(&["log", "verify"], &folder.data());
    fails(&verified, 1, "one place is damaged\n  next: ");
    assert!(
        verified.out.contains("orders-0/00000000000000000000.log at byte 0: the checksum is "),
        "{verified:?}"
    );
}

#[test]
fn exit_codes_tell_what_kind_of_failure_it_was() {
    let nobody = free_address();
    for command in [&["topic", "list"][..], &["produce", "orders"], &["consume", "orders"]] {
        fails(&run(&[command, &["-b", &nobody]].concat(), b""), 4, "cannot reach a broker at 127.0.0.1:");
    }
    for wrong in [
        &["consume"][..],
        &["consume", "orders", "-o", "soon"],
        &["consume", "orders", "-f", "%q"],
        &["consume", "orders", "-o", "1", "-o", "2"],
        &["produce", "orders", "--acks", "2"],
        &["produce", "orders", "-z", "rar"],
        &["topic", "create", "orders", "--config", "novalue"],
        &["format", "somewhere", "--cluster-id", "short"],
    ] {
        assert_eq!(run(wrong, b"").code, 2, "{wrong:?}");
    }
    let folder = Folder::new("codes");
    fails(&offline(&["log", "dump"], &folder.path().join("nothing")), 1, "does not exist");
    fails(&offline(&["log", "verify"], folder.path()), 1, "holds neither partitions nor meta.properties");
}

#[test]
fn configuration_is_checked_to_the_column() {
    let folder = Folder::new("config");
    let config = folder.path().join("broker.toml");
    let check = |text: &str| {
        fs::write(&config, text).unwrap();
        offline(&["config", "check"], &config)
    };
    let checked = check("num.partitions = 3\n");
    assert!(checked.code == 0 && checked.out.ends_with("broker.toml is fine\n"), "{checked:?}");
    let misspelt = check("\n  num.partitons = 3\n");
    fails(&misspelt, 1, "broker.toml:2:3: ");
    fails(&misspelt, 1, "num.partitions");
    fails(&check("num.partitions = 'many'\n"), 1, "broker.toml:1:18: ");
    fails(&check("num.partitions = \n"), 1, "broker.toml:1:");
    fails(&offline(&["config", "check"], &folder.path().join("none.toml")), 1, "cannot read ");
    let path = config.to_str().unwrap();
    check("num.partitions = 3\n");
    fails(&run(&["config", "check", path, "--set", "num.partitions=x"], b""), 1, "num.partitions");
}

#[test]
fn formatted_directory_is_what_the_broker_takes() {
    let folder = Folder::new("format");
    let id = "MkU3OEVBNTcwNTJENDM2Qg";
    let formatted = offline(&["format", "--cluster-id", id], &folder.data());
    assert!(
        formatted.code == 0 && formatted.out.contains(&format!(": cluster {id}, node 1,")),
        "{formatted:?}"
    );
    let facts = fs::read_to_string(folder.data().join("meta.properties")).unwrap();
    fails(&offline(&["format"], &folder.data()), 1, "formatted already: it belongs to node 1");
    let broker = Broker::start_on(folder);
    broker.says(&["produce", "orders"], "a\n");
    let folder = broker.stop("TERM");
    assert_eq!(fs::read_to_string(folder.data().join("meta.properties")).unwrap(), facts);

    let metadata = folder.data().join("__cluster_metadata-0");
    let dumped = offline(&["log", "dump", "--cluster-metadata-decoder"], &metadata);
    assert_eq!(dumped.code, 0, "{dumped:?}");
    for said in
        [" payload: Topic(TopicRecord { name: \"orders\"", " payload: RegisterBroker(", "LeaderChange"]
    {
        assert!(dumped.out.contains(said), "no `{said}` in {}", dumped.out);
    }
    assert!(!dumped.out.contains("unreadable"), "{}", dumped.out);
}

#[test]
fn what_comes_later_is_sent_and_shown_as_it_comes() {
    let broker = Broker::start("live");
    broker.says(&["topic", "create", "chat", "--partitions", "2"], "");
    let mut reading = broker.begin(&["consume", "chat", "-f", "%s\n"]);
    let mut read = BufReader::new(reading.stdout.take().unwrap());
    let mut writing = broker.begin(&["produce", "chat"]);
    let mut write = writing.stdin.take().unwrap();
    for said in ["hello\n", "still there?\n"] {
        write.write_all(said.as_bytes()).unwrap();
        let mut line = String::new();
        read.read_line(&mut line).unwrap();
        assert_eq!(line, said, "before the input ends");
    }
    drop(write);
    let written = writing.wait_with_output().unwrap();
    // Neither is on a terminal: no summary, no bar.
    assert_eq!((written.status.code(), written.stderr.as_slice()), (Some(0), &b""[..]));
    reading.kill().unwrap();
    assert!(reading.wait_with_output().unwrap().stderr.is_empty());
}

#[test]
fn completions_and_help_are_there_for_everything() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let completions = run(&["completions", shell], b"");
        assert!(completions.code == 0 && completions.out.contains("cluster-metadata-decoder"), "{shell}");
    }
    for command in [
        &["start"][..],
        &["format"],
        &["config", "check"],
        &["topic", "create"],
        &["topic", "list"],
        &["topic", "describe"],
        &["topic", "delete"],
        &["produce"],
        &["consume"],
        &["log", "dump"],
        &["log", "verify"],
        &["completions"],
    ] {
        let help = run(&[command, &["--help"]].concat(), b"");
        let example = format!("millstream {}", command.join(" "));
        let examples = help.out.split_once("Examples:\n").map(|(_, examples)| examples.contains(&example));
        assert_eq!((help.code, examples), (0, Some(true)), "{}", help.out);
    }
    fails(&run(&["topics"], b""), 2, "'topic'");
}

#[test]
fn groups_are_reset_shown_and_deleted() {
    let broker = Broker::start("groups");
    broker.says(&["topic", "create", "orders", "--partitions", "2"], "");
    broker.says(&["produce", "orders", "-p", "1"], "a\nb\nc\n");
    fails(&broker.run(&["group", "describe", "billing"], b""), 1, "there is no group billing\n  next: ");
    assert_eq!(broker.says(&["group", "list"], ""), "GROUP\tTYPE\tPROTOCOL\tSTATE\tCOORDINATOR\n");

    let reset = ["group", "reset-offsets", "billing", "--topic", "orders", "--to", "end"];
    let shown = "PARTITION\tBEFORE\tAFTER\norders [0]\t-\t0\norders [1]\t-\t3\n";
    assert_eq!(broker.says(&reset, ""), format!("{shown}\nNothing was changed; add --execute to do it.\n"));
    assert_eq!(broker.says(&["group", "list"], "").lines().count(), 1, "nothing was changed");
    assert_eq!(broker.says(&[&reset[..], &["--execute"]].concat(), ""), shown);
    assert_eq!(broker.says(&["group", "list"], "").lines().last(), Some("billing\tclassic\t\tEmpty\t1"));

    let back = ["group", "reset-offsets", "billing", "--shift", "-2", "--execute", "--json"];
    let done: Value = serde_json::from_str(&broker.says(&back, "")).unwrap();
    assert_eq!((&done["executed"], &done["partitions"][0]["after"]), (&true.into(), &0.into()), "{done}");
    assert_eq!((&done["partitions"][1]["before"], &done["partitions"][1]["after"]), (&3.into(), &1.into()));
    fails(&broker.run(&["group", "reset-offsets", "billing", "--to", "e@1"], b""), 2, "--to e@1");
    fails(
        &broker.run(&["group", "reset-offsets", "billing", "--topic", "orders", "-p", "7", "--to", "0"], b""),
        1,
        "topic orders has no partition 7",
    );

    let described = broker.says(&["group", "describe", "billing", "--json"], "");
    let group = &serde_json::from_str::<Value>(&described).unwrap()["groups"][0];
    assert_eq!((&group["type"], &group["state"]), (&"classic".into(), &"Empty".into()));
    let lags: Vec<_> = group["partitions"].as_array().unwrap().iter().map(|it| &it["lag"]).collect();
    assert_eq!(lags, [0, 2]);
    let shown = broker.says(&["group", "describe", "billing"], "");
    assert!(shown.contains("lag\t2\n") && shown.contains("orders [1]\t1\t3\t2\t-\n"), "{shown}");

    assert_eq!(broker.says(&["group", "delete", "billing"], ""), "billing deleted\n");
    fails(&broker.run(&["group", "delete", "billing"], b""), 1, "GROUP_ID_NOT_FOUND");
}
