//! What must hold of groups whatever they are asked, and of a log that Apache Kafka wrote.

// Outside #[test] functions clippy does not see that these are tests.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::groups::{
    Asked, Client, Command, FetchOffsets, GroupRecord, GroupSettings, Groups, Reply, Ticket,
};
use cluster::machine::Timestamp;
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
fn held(groups: &mut Groups, image: &Image, now: Timestamp) -> BTreeMap<String, (String, String)> {
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

fn replayed(history: &[(GroupRecord, Timestamp)]) -> Groups {
    let mut groups = Groups::new(Arc::new(GroupSettings::default()));
    for (record, at) in history {
        groups.apply(record, *at);
    }
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
            let mut again = replayed(&groups.history);
            let ours = held(&mut groups.groups, &groups.image, groups.now);
            let theirs = held(&mut again, &groups.image, groups.now);
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

fn kafkas_log() -> Vec<(Timestamp, Vec<u8>, Option<Vec<u8>>)> {
    let bytes = |hex: &str| {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>()
    };
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let value = Some(words[2]).filter(|value| *value != "-").map(bytes);
        (Timestamp(words[0].parse().unwrap()), bytes(words[1]), value)
    };
    include_str!("kafka_group_log.txt").lines().filter(|text| !text.starts_with('#')).map(line).collect()
}

#[test]
fn kafkas_records_come_back_byte_for_byte() {
    for (_, key, value) in kafkas_log() {
        let record = GroupRecord::from_bytes(&key, value.as_deref()).unwrap();
        let again = record.to_bytes().unwrap();
        assert_eq!((&*again.key, again.value.as_deref()), (&*key, value.as_deref()), "{record:?}");
    }
}

#[test]
fn kafkas_log_is_read() {
    let mut groups = Groups::new(Arc::new(GroupSettings::default()));
    let mut offsets = BTreeMap::new();
    for (at, key, value) in kafkas_log() {
        let record = GroupRecord::from_bytes(&key, value.as_deref()).unwrap();
        groups.apply(&record, at);
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
