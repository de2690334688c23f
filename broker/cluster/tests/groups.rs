//! What must hold of groups whatever they are asked, and of a log that Apache Kafka wrote.

// Outside #[test] functions clippy does not see that these are tests.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::groups::{
    Asked, Client, Command, FetchOffsets, GroupRecord, GroupSettings, Groups, Moment, Reply, Ticket,
};
use cluster::metadata::Image;
use groups_under_test::GroupsUnderTest;
use protocol::ids::Uuid;
use protocol::messages::ListGroupsRequest;
use protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;

#[path = "scripts/groups_under_test.rs"]
mod groups_under_test;

/// A small random number generator: the tests say which seed failed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

/// A command that may make sense.
fn random_command(random: &mut Random) -> String {
    let group = random.pick(&["g", "g", "h", "i"]);
    let who = random.pick(&["a", "b", "c"]);
    let instance = if who == "c" { " instance=i" } else { "" };
    let id = format!("{}-{}", if who == "c" { "i" } else { who }, 1 + random.below(4));
    let generation = 1 + random.below(8);
    let member = format!("as={id} gen={generation}{instance}");
    match random.below(20) {
        0..=4 => {
            let known = if random.below(3) > 0 { format!(" as={id}") } else { String::new() };
            let protocols =
                random.pick(&["range:[t]", "range:[t] sticky:[t]", "sticky:[u] range:[u]", "range:x"]);
            let version = if instance.is_empty() { random.pick(&["", " v=3", " v=8"]) } else { "" };
            let times = random.pick(&["", " session=30", " rebalance=8"]);
            format!("{who} join {group} {protocols}{known}{instance}{version}{times}")
        }
        5..=8 => format!("{who} sync {group} {member} a-1:1 b-1:2 i-1:3"),
        9 | 10 => format!("{who} beat {group} {member}"),
        11 => format!("{who} leave {group} {id} @i"),
        12 => format!("{who} leave {group} {id}"),
        13 => format!("{who} commit {group} t-{}={} {member}", random.below(4), random.below(100)),
        14 => format!("{who} commit {group} u-0={}/m t#7-1=1", random.below(100)),
        15 => format!("{who} forget {group} t-{} u-0", random.below(4)),
        16 => format!("{who} delete {group}"),
        17 if random.below(8) == 0 => {
            random.pick(&["restart", "restart max-size=2", "gone t#7 u"]).to_owned()
        }
        _ => format!("+{}", random.pick(&["0.5", "2", "3", "3", "9", "40", "400"])),
    }
}

/// What the log holds of each group, as far as can be told from outside: offsets always, members while it does not
/// rebalance. A group that nothing was ever written of is in no log.
fn held(groups: &mut Groups, image: &Image, now: Moment) -> BTreeMap<String, (String, String)> {
    let mut ask = |command: fn(Asked<String>) -> Command, group: &str| {
        let asked = Asked {
            ticket: Ticket(0),
            version: 6,
            client: Client::default(),
            fresh_id: Uuid::ZERO,
            request: group.to_owned(),
        };
        let decision = groups.decide(command(asked), image, now);
        assert_eq!(decision.records, []);
        decision.reply.into_iter().next().unwrap().reply
    };
    let list = |it: Asked<String>| {
        let Asked { ticket, version, client, fresh_id, .. } = it;
        Command::ListGroups(Asked {
            ticket,
            version,
            client,
            fresh_id,
            request: ListGroupsRequest::default(),
        })
    };
    let fetch = |it: Asked<String>| {
        let Asked { ticket, version, client, fresh_id, request } = it;
        let group = OffsetFetchRequestGroup { group_id: request, topics: None, ..Default::default() };
        let request = FetchOffsets { group, require_stable: false };
        Command::OffsetFetch(Asked { ticket, version, client, fresh_id, request })
    };
    let Reply::ListGroups(listed) = ask(list, "") else { panic!("a list was asked for") };
    let mut held = BTreeMap::new();
    for group in listed {
        let offsets = format!("{:?}", ask(fetch, &group.group_id));
        let members = match &*group.group_state {
            "Empty" | "Stable" => format!("{:?}", ask(Command::DescribeGroup, &group.group_id)),
            _ => String::new(),
        };
        let is_written = !group.protocol_type.is_empty() || offsets.contains("committed_offset");
        if is_written {
            held.insert(group.group_id, (offsets, members));
        }
    }
    held
}

fn replayed(history: &[GroupRecord]) -> Groups {
    let mut groups = Groups::new(Arc::new(GroupSettings::default()));
    history.iter().for_each(|record| groups.apply(record));
    groups
}

#[test]
fn replay_gives_the_state_that_deciding_did() {
    let mut compared = 0;
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut groups = GroupsUnderTest::new();
        for step in 0..120 {
            let command = random_command(&mut random);
            groups.command(&command);
            let (mut again, now) = (replayed(&groups.history), groups.moment());
            let ours = held(&mut groups.groups, &groups.image, now);
            let theirs = held(&mut again, &groups.image, now);
            for (group, (offsets, members)) in &ours {
                // A group that has never settled holds nothing yet.
                let Some((replayed_offsets, replayed_members)) = theirs.get(group) else {
                    assert!(members.is_empty(), "seed {seed} step {step}: {command}: {group} is in no log");
                    continue;
                };
                assert_eq!(replayed_offsets, offsets, "seed {seed} step {step}: {command}");
                if !members.is_empty() {
                    assert_eq!(replayed_members, members, "seed {seed} step {step}: {command}");
                    compared += 1;
                }
            }
            for group in theirs.keys() {
                assert!(ours.contains_key(group), "seed {seed} step {step}: {command}: {group} came back");
            }
            assert_eq!(groups.groups.counts().offsets, again.counts().offsets, "seed {seed} step {step}");
        }
    }
    assert!(compared > 10_000, "the commands lead to nothing: {compared}");
}

#[test]
fn nobody_waits_for_ever_and_in_the_end_all_is_gone() {
    for seed in 0..100 {
        let mut random = Random(seed);
        let mut groups = GroupsUnderTest::new();
        for _ in 0..150 {
            groups.command(&random_command(&mut random));
        }
        groups.command("+3600");
        assert!(groups.asked.is_empty(), "seed {seed}: {:?}", groups.asked);
        assert_eq!(groups.groups.counts().members, 0, "seed {seed}");
        groups.command("+700000");
        assert_eq!(groups.command("x list"), [""; 0], "seed {seed}");
        assert_eq!(replayed(&groups.history).counts().groups, BTreeMap::new(), "seed {seed}");
    }
}

fn kafkas_log() -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let bytes = |hex: &str| {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>()
    };
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let value = Some(words[2]).filter(|value| *value != "-").map(bytes);
        (bytes(words[1]), value)
    };
    include_str!("kafka_group_log.txt").lines().filter(|text| !text.starts_with('#')).map(line).collect()
}

#[test]
fn kafkas_records_come_back_byte_for_byte() {
    for (key, value) in kafkas_log() {
        let record = GroupRecord::from_bytes(&key, value.as_deref()).unwrap();
        let again = record.to_bytes().unwrap();
        assert_eq!((&*again.key, again.value.as_deref()), (&*key, value.as_deref()), "{record:?}");
    }
}

#[test]
fn kafkas_log_is_read() {
    let mut groups = Groups::new(Arc::new(GroupSettings::default()));
    let mut offsets = BTreeMap::new();
    for (key, value) in kafkas_log() {
        let record = GroupRecord::from_bytes(&key, value.as_deref()).unwrap();
        groups.apply(&record);
        if let GroupRecord::OffsetCommit(said) = record {
            let key = (said.key.group, said.key.topic, said.key.partition);
            match said.value {
                Some(value) => offsets.insert(key, value.offset),
                None => offsets.remove(&key),
            };
        }
    }
    let read =
        groups.committed().map(|it| ((it.group.to_owned(), it.topic.to_owned(), it.partition), it.offset));
    assert_eq!(read.collect::<BTreeMap<_, _>>(), offsets);
    assert!(offsets.len() > 10);
    assert!(groups.counts().members > 0, "{:?}", groups.counts());
}

fn told(groups: &mut GroupsUnderTest, command: &str) -> String {
    groups.command(command).join("\n")
}

#[test]
fn what_no_record_can_hold_is_refused() {
    let mut groups = GroupsUnderTest::new();
    let long = "x".repeat(32_768);
    for command in [
        format!("a join {long} range:x"),
        format!("a join g {long}:x"),
        format!("a join g range:x type={long}"),
        format!("a join g range:x instance={}", &long[..32_740]),
        format!("{} join g range:x", &long[..32_740]),
        format!("a commit {long} t-0=1"),
    ] {
        let told = told(&mut groups, &command);
        assert!(
            told.ends_with("INVALID_REQUEST") || told.ends_with("INVALID_REQUEST as -"),
            "{}",
            &told[..90]
        );
    }
    assert_eq!(groups.history.len(), 0);
    assert_eq!(groups.groups.counts().groups, BTreeMap::new());
}

#[test]
fn what_no_batch_can_hold_is_refused() {
    let mut groups = GroupsUnderTest::new();
    let long = "x".repeat(32_000);
    let partitions: String = (0..2_000).map(|partition| format!(" t-{partition}=1")).collect();
    assert!(
        told(&mut groups, &format!("a commit {long}{partitions}")).contains("INVALID_COMMIT_OFFSET_SIZE")
    );
    for part in 0..4 {
        let partitions: String =
            (0..500).map(|partition| format!(" t-{}=1", part * 500 + partition)).collect();
        assert!(!told(&mut groups, &format!("a commit {long}{partitions}")).contains("INVALID"));
    }
    let partitions: String = (0..2_000).map(|partition| format!(" t-{partition}")).collect();
    assert_eq!(told(&mut groups, &format!("a forget {long}{partitions}")), "a forgot: UNKNOWN_SERVER_ERROR");
}

/// A group with that many offsets, more than are deleted at once.
fn large_group(groups: &mut GroupsUnderTest, count: usize) {
    for part in (0..count).collect::<Vec<_>>().chunks(10_000) {
        let partitions: String = part.iter().map(|partition| format!(" t-{partition}=1")).collect();
        assert!(!told(groups, &format!("a commit g{partitions}")).contains("INVALID"));
    }
}

#[test]
fn large_group_is_deleted_in_parts_and_whoever_asks_meanwhile_waits() {
    const COUNT: usize = 400_000;
    let mut groups = GroupsUnderTest::new();
    large_group(&mut groups, COUNT);
    let first = groups.ask("a delete g");
    assert!(first.len() > 5_000 && first.len() < 50_000, "{}", first.len());
    assert!(first.iter().all(|line| line.starts_with("+ ")), "not answered before all are gone");
    assert_eq!(groups.groups.counts().offsets, COUNT - first.len());
    // Whatever is about it waits; others do not.
    assert_eq!(groups.ask("b commit g t-0=5"), [""; 0]);
    assert_eq!(groups.ask("c delete g"), [""; 0]);
    assert_eq!(groups.ask("d fetch g t-0"), [""; 0]);
    assert!(!groups.ask("e commit other t-0=5").is_empty());
    let after = groups.command("+0");
    let at = |line: &str| {
        after.iter().position(|found| found.starts_with(line)).unwrap_or_else(|| panic!("{line}"))
    };
    let end = at("a deleted: NONE");
    assert_eq!(first.len() + after[..end].iter().filter(|line| line.starts_with("+ ")).count(), COUNT + 1);
    assert!(end < at("b commit") && at("b commit") < at("c deleted: NONE"), "in the order asked");
    assert!(at("c deleted: NONE") < at("d fetched: NONE [t-0 = -1]"));
    assert_eq!(groups.groups.counts().offsets, 1);
    assert_eq!(told(&mut groups, "a delete g"), "a deleted: GROUP_ID_NOT_FOUND");
}

#[test]
fn crash_in_the_middle_of_a_deletion_leaves_a_smaller_group() {
    const COUNT: usize = 40_000;
    let mut groups = GroupsUnderTest::new();
    large_group(&mut groups, COUNT);
    let first = groups.ask("a delete g").len();
    groups.command("restart");
    let left = groups.groups.counts();
    assert_eq!((left.groups.len(), left.offsets), (1, COUNT - first));
    // Those that are left are whole, and the deletion can be asked for again.
    assert!(told(&mut groups, "b fetch g t-0").contains("t-0 = 1"));
    groups.ask("b delete g");
    assert!(groups.command("+0").contains(&"b deleted: NONE".to_owned()));
    assert_eq!(groups.groups.counts().groups.len(), 0);
    groups.command("restart");
    assert_eq!(groups.groups.counts().groups.len(), 0);
}

#[test]
fn a_group_keeps_no_more_than_its_log_can() {
    let mut groups = GroupsUnderTest::new();
    let large = "x".repeat(6 << 20);
    for who in ["a", "b"] {
        assert_eq!(
            told(&mut groups, &format!("{who} join g range:{large} v=3")).matches("joined").count(),
            0
        );
    }
    assert_eq!(
        told(&mut groups, &format!("c join g range:{large} v=3")),
        "c not joined: GROUP_MAX_SIZE_REACHED as -"
    );
    groups.command("+6");
    groups.command("b sync g as=b-1 gen=1");
    // Its leader assigns more than can be written: all begin anew.
    let assigned = format!("a sync g as=a-1 gen=1 a-1:{large} b-1:{large} c-1:{large}");
    let expected = "b not synced: UNKNOWN_SERVER_ERROR\na not synced: UNKNOWN_SERVER_ERROR";
    let mut told_all: Vec<String> = groups.command(&assigned);
    told_all.sort();
    let mut expected: Vec<&str> = expected.lines().collect();
    expected.sort_unstable();
    assert_eq!(told_all, expected);
    assert_eq!(told(&mut groups, "a beat g as=a-1 gen=1"), "a heard: REBALANCE_IN_PROGRESS");
}

#[test]
fn ids_are_not_given_out_without_end() {
    let mut groups = GroupsUnderTest::new();
    for _ in 0..10_000 {
        assert!(told(&mut groups, "a join g range:x").contains("MEMBER_ID_REQUIRED"));
    }
    assert_eq!(told(&mut groups, "a join g range:x"), "a not joined: GROUP_MAX_SIZE_REACHED as -");
    groups.command("+11");
    assert!(told(&mut groups, "a join g range:x").contains("MEMBER_ID_REQUIRED"));
}

#[test]
fn much_is_cleaned_up_a_little_at_a_time() {
    for forgotten in [false, true] {
        let mut groups = GroupsUnderTest::new();
        groups.command("restart retention=100 check=10");
        let partitions: String = (0..5_000).map(|partition| format!(" t#7-{partition}=1")).collect();
        groups.command(&format!("a commit g{partitions}"));
        groups.command("a commit h t#7-0=1 u-0=1");
        let before = groups.history.len();
        if forgotten {
            assert_eq!(groups.command("gone t#7").len(), 2_000);
            groups.command("+0");
            assert_eq!(groups.command("a fetch h"), ["a fetched: NONE [u-0 = 1]"]);
            assert_eq!(groups.history.len() - before, 5_001);
        }
        let happened = groups.command("+200");
        assert!(happened.iter().any(|line| line == "+ group g gone"));
        // A time, and what happened then.
        let turns = happened.split(|line| !line.starts_with('+')).map(<[String]>::len);
        assert!(turns.max().unwrap() <= 2_001);
        assert_eq!(told(&mut groups, "x list"), "");
        assert_eq!(groups.history.len() - before, 5_002 + 2);
    }
}
