//! The groups of a partition, taking commands as lines of text.
//!
//! ```text
//! WHO join GROUP PROTOCOL:METADATA ... [as=ID] [instance=I] [session=S] [rebalance=S] [type=T] [v=N]
//! WHO sync GROUP as=ID gen=N [instance=I] [type=T] [protocol=P] ID:ASSIGNMENT ...
//! WHO beat GROUP as=ID gen=N [instance=I]              WHO leave GROUP ID|@INSTANCE|ID@INSTANCE ... [v=N]
//! WHO commit GROUP TOPIC-P=OFFSET[/METADATA] ... [as=ID] [gen=N] [instance=I] [retention=S] [v=N]
//! WHO fetch GROUP [TOPIC-P ...] [stable]               WHO forget GROUP TOPIC-P ...
//! WHO list [state=S] [type=T]      WHO describe GROUP [v=N]      WHO delete GROUP
//! gone TOPIC ...       +N (seconds pass)       restart [SETTING=VALUE ...]       counts
//! pending PRODUCER GROUP TOPIC-P=OFFSET        commit-transaction PRODUCER       abort-transaction PRODUCER
//! ```
//! WHO is a client; what it is answered, now or later, comes under its name. Ids that are given out end in a number that
//! counts those of one client or instance, and stands for the whole UUID. `[a,b]` as metadata is a consumer's subscription to these topics. `TOPIC#N` has the topic id N. Times are in
//! seconds and begin with 0; a line with nothing but a time says when what follows happened.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cluster::groups::{
    Answer, Asked, Client, Command, FetchOffsets, GroupRecord, GroupSettings, Groups, Said, Ticket,
};
use cluster::machine::{Decision, Timestamp};
use cluster::metadata::Image;
use protocol::error_code::ErrorCode;
use protocol::ids::Uuid;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::*;
use protocol::primitives::Writer;

#[path = "groups_under_test/shown.rs"]
mod shown;

pub(crate) struct GroupsUnderTest {
    pub(crate) groups: Groups,
    settings: GroupSettings,
    pub(crate) image: Image,
    pub(crate) now: Timestamp,
    /// By what they begin with.
    ids_given: BTreeMap<String, u64>,
    tickets: u64,
    /// Who asked what in which version, and is not answered yet.
    pub(crate) asked: BTreeMap<Ticket, (String, i16)>,
    /// Every record so far, and when it was appended.
    pub(crate) history: Vec<(GroupRecord, Timestamp)>,
}

impl GroupsUnderTest {
    pub(crate) fn new() -> Self {
        let settings = GroupSettings::default();
        let mut it = Self {
            groups: Groups::new(Arc::new(settings.clone())),
            settings,
            image: Image::new("c"),
            now: Timestamp(0),
            ids_given: BTreeMap::new(),
            tickets: 0,
            asked: BTreeMap::new(),
            history: Vec::new(),
        };
        it.restart(&[]);
        it
    }

    /// Runs a command and says what came of it.
    pub(crate) fn command(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split(' ').collect();
        if let Some(seconds) = line.strip_prefix('+') {
            let ms = (seconds.parse::<f64>().unwrap() * 1_000.0) as i64;
            return self.pass(ms);
        }
        match words[0] {
            "restart" => self.restart(&words[1..]),
            "counts" => {
                let it = self.groups.counts();
                vec![format!(
                    "{:?} members={} offsets={} expired={}",
                    it.groups, it.members, it.offsets, it.tally.offsets_expired
                )]
            }
            "gone" => {
                let topics = words[1..].iter().map(|word| topic(word)).collect();
                self.decide(Command::TopicsDeleted(topics))
            }
            "pending" => {
                let mut line = Vec::new();
                let (producer_id, group) = (words[1].parse().unwrap(), words[2].to_owned());
                for topic in offsets(&words[3..]) {
                    let partition = &topic.partitions[0];
                    let key = OffsetCommitKey {
                        group: group.clone(),
                        topic: topic.name,
                        partition: partition.partition_index,
                    };
                    let value =
                        OffsetCommitValue { offset: partition.committed_offset, ..Default::default() };
                    let record = GroupRecord::from(Said::now(key, value));
                    self.groups.apply_pending(&record, producer_id);
                    line.push(format!("({})", shown::record(&record)));
                }
                line
            }
            "commit-transaction" | "abort-transaction" => {
                self.groups.end_transaction(words[1].parse().unwrap(), words[0].starts_with('c'));
                Vec::new()
            }
            who => {
                let command = self.parse(who, words[1], &words[2..]);
                self.decide(command)
            }
        }
    }

    fn decide(&mut self, command: Command) -> Vec<String> {
        let decision = self.groups.decide(command, &self.image, self.now);
        self.append(decision)
    }

    fn append(&mut self, decision: Decision<GroupRecord, Vec<Answer>>) -> Vec<String> {
        let mut lines = Vec::new();
        for record in decision.records {
            let bytes = record.to_bytes().unwrap();
            assert_eq!(GroupRecord::from_bytes(&bytes.key, bytes.value.as_deref()).unwrap(), record);
            self.groups.apply(&record, self.now);
            lines.push(format!("+ {}", shown::record(&record)));
            self.history.push((record, self.now));
        }
        for answer in decision.reply {
            let (who, version) = self.asked.remove(&answer.ticket).expect("each request is answered once");
            lines
                .extend(shown::reply(&answer.reply, version).into_iter().map(|line| format!("{who} {line}")));
        }
        lines
    }

    fn pass(&mut self, ms: i64) -> Vec<String> {
        let until = Timestamp(self.now.0 + ms);
        let mut lines = Vec::new();
        while let Some(at) = self.groups.deadline().filter(|at| *at <= until) {
            self.now = at.max(self.now);
            let happened = self.decide(Command::Tick);
            if !happened.is_empty() {
                lines.push(format!("{}", self.now.0 as f64 / 1_000.0));
                lines.extend(happened);
            }
        }
        self.now = until;
        lines
    }

    fn restart(&mut self, settings: &[&str]) -> Vec<String> {
        for word in settings {
            let (name, value) = word.split_once('=').unwrap();
            self.set(name, value.parse().unwrap());
        }
        self.asked.clear();
        self.groups = Groups::new(Arc::new(self.settings.clone()));
        for (record, at) in &self.history {
            self.groups.apply(record, *at);
        }
        let loaded = self.groups.loaded(&self.image, self.now);
        self.append(loaded)
    }

    fn set(&mut self, name: &str, value: i64) {
        let (it, small) = (&mut self.settings, value as i32);
        match name {
            "initial-delay" => it.initial_rebalance_delay_ms = small * 1_000,
            "max-size" => it.max_size = small,
            "retention" => it.offsets_retention_ms = value * 1_000,
            "check" => it.offsets_retention_check_interval_ms = value * 1_000,
            "metadata-max" => it.offset_metadata_max = small,
            unknown => panic!("no setting {unknown}"),
        }
    }

    fn asked<Request>(&mut self, who: &str, version: i16, request: Request) -> Asked<Request> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.asked.insert(ticket, (who.to_owned(), version));
        let client = Client { id: who.to_owned(), host: "/h".to_owned() };
        Asked { ticket, version, client, fresh_id: Uuid::ZERO, request }
    }

    fn parse(&mut self, who: &str, verb: &str, words: &[&str]) -> Command {
        let line = Line::new(words);
        let version = |newest| line.option("v").map_or(newest, |version| version.parse().unwrap());
        match verb {
            "join" => {
                let mut asked = self.asked(who, version(9), line.join());
                if asked.request.member_id.is_empty() {
                    let prefix = asked.request.group_instance_id.as_deref().unwrap_or(who);
                    let number = self.ids_given.entry(prefix.to_owned()).or_default();
                    *number += 1;
                    asked.fresh_id = Uuid::from_u64_pair(0, *number);
                }
                Command::JoinGroup(asked)
            }
            "sync" => {
                let names_protocol = line.option("type").is_some() || line.option("protocol").is_some();
                let newest = if names_protocol { 5 } else { 4 };
                Command::SyncGroup(self.asked(who, version(newest), line.sync()))
            }
            "beat" => Command::Heartbeat(self.asked(who, version(4), line.heartbeat())),
            "leave" => Command::LeaveGroup(self.asked(who, version(5), line.leave(version(5)))),
            "commit" => Command::OffsetCommit(self.asked(who, version(9), line.commit())),
            "fetch" => Command::OffsetFetch(self.asked(who, version(9), line.fetch())),
            "forget" => Command::OffsetDelete(self.asked(who, version(0), line.forget())),
            "list" => {
                let filter = |name| line.option(name).into_iter().map(str::to_owned).collect();
                let request =
                    ListGroupsRequest { states_filter: filter("state"), types_filter: filter("type") };
                Command::ListGroups(self.asked(who, version(5), request))
            }
            "describe" => Command::DescribeGroup(self.asked(who, version(6), line.group())),
            "delete" => Command::DeleteGroup(self.asked(who, version(2), line.group())),
            unknown => panic!("no command {unknown}"),
        }
    }
}

/// The words of a command: options have `=`, the first of the others is the group.
struct Line<'a> {
    options: Vec<(&'a str, &'a str)>,
    plain: Vec<&'a str>,
}

const OPTIONS: &[&str] =
    &["as", "instance", "session", "rebalance", "type", "protocol", "gen", "v", "retention", "state"];

impl<'a> Line<'a> {
    fn new(words: &[&'a str]) -> Self {
        let option = |word: &&'a str| word.split_once('=').filter(|(name, _)| OPTIONS.contains(name));
        let options = words.iter().filter_map(option).collect();
        let plain = words.iter().copied().filter(|word| option(word).is_none()).collect();
        Self { options, plain }
    }

    fn option(&self, name: &str) -> Option<&'a str> {
        self.options.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn number(&self, name: &str, default: i32) -> i32 {
        self.option(name).map_or(default, |value| value.parse().unwrap())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.option(name).map(str::to_owned)
    }

    /// `""` is the group without a name.
    fn group(&self) -> String {
        self.plain[0].trim_matches('"').to_owned()
    }

    fn member(&self) -> String {
        self.option("as").map_or(String::new(), shown::whole_id)
    }

    fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.plain[1..].iter().map(|word| word.split_once(':').unwrap())
    }

    fn join(&self) -> JoinGroupRequest {
        let protocols = self.pairs().map(|(name, metadata)| JoinGroupRequestProtocol {
            name: name.to_owned(),
            metadata: subscription(metadata),
        });
        JoinGroupRequest {
            group_id: self.group(),
            session_timeout_ms: self.number("session", 10) * 1_000,
            rebalance_timeout_ms: self.number("rebalance", 60) * 1_000,
            member_id: self.member(),
            group_instance_id: self.text("instance"),
            protocol_type: self.text("type").unwrap_or("consumer".to_owned()),
            protocols: protocols.collect(),
            reason: None,
        }
    }

    fn sync(&self) -> SyncGroupRequest {
        let assignments = self.pairs().map(|(member, assignment)| SyncGroupRequestAssignment {
            member_id: shown::whole_id(member),
            assignment: Bytes::copy_from_slice(assignment.as_bytes()),
        });
        SyncGroupRequest {
            group_id: self.group(),
            generation_id: self.number("gen", -1),
            member_id: self.member(),
            group_instance_id: self.text("instance"),
            protocol_type: self.text("type"),
            protocol_name: self.text("protocol"),
            assignments: assignments.collect(),
        }
    }

    fn heartbeat(&self) -> HeartbeatRequest {
        HeartbeatRequest {
            group_id: self.group(),
            generation_id: self.number("gen", -1),
            member_id: self.member(),
            group_instance_id: self.text("instance"),
        }
    }

    fn leave(&self, version: i16) -> LeaveGroupRequest {
        let member = |word: &&str| {
            let (id, instance) = word.split_once('@').map_or((*word, None), |(id, it)| (id, Some(it)));
            let group_instance_id = instance.map(str::to_owned);
            MemberIdentity { member_id: shown::whole_id(id), group_instance_id, reason: None }
        };
        let members: Vec<MemberIdentity> = self.plain[1..].iter().map(member).collect();
        match version {
            0..3 => {
                let member_id = members[0].member_id.clone();
                LeaveGroupRequest { group_id: self.group(), member_id, members: Vec::new() }
            }
            _ => LeaveGroupRequest { group_id: self.group(), members, ..Default::default() },
        }
    }

    fn commit(&self) -> OffsetCommitRequest {
        OffsetCommitRequest {
            group_id: self.group(),
            generation_id_or_member_epoch: self.number("gen", -1),
            member_id: self.member(),
            group_instance_id: self.text("instance"),
            retention_time_ms: self.option("retention").map_or(-1, |it| it.parse::<i64>().unwrap() * 1_000),
            topics: offsets(&self.plain[1..]),
        }
    }

    fn fetch(&self) -> FetchOffsets {
        let require_stable = self.plain.contains(&"stable");
        let named = self.plain[1..].iter().filter(|word| **word != "stable").map(|word| {
            let (name, partition) = partition(word);
            let (name, topic_id) = topic(name);
            OffsetFetchRequestTopics { name, topic_id, partition_indexes: vec![partition] }
        });
        let topics: Vec<OffsetFetchRequestTopics> = named.collect();
        let topics = if topics.is_empty() { None } else { Some(topics) };
        let group = OffsetFetchRequestGroup { group_id: self.group(), topics, ..Default::default() };
        FetchOffsets { group, require_stable }
    }

    fn forget(&self) -> OffsetDeleteRequest {
        let topics = self.plain[1..].iter().map(|word| {
            let (name, partition_index) = partition(word);
            let partitions = vec![OffsetDeleteRequestPartition { partition_index }];
            OffsetDeleteRequestTopic { name: name.to_owned(), partitions }
        });
        OffsetDeleteRequest { group_id: self.group(), topics: topics.collect() }
    }
}

fn partition(word: &str) -> (&str, i32) {
    let (topic, partition) = word.rsplit_once('-').unwrap();
    (topic, partition.parse().unwrap())
}

fn topic(word: &str) -> (String, Uuid) {
    let (name, id) = word.split_once('#').unwrap_or((word, "0"));
    (name.to_owned(), Uuid::from_u64_pair(0, id.parse().unwrap()))
}

fn offsets(words: &[&str]) -> Vec<OffsetCommitRequestTopic> {
    let topic = |word: &&str| {
        let (at, offset) = word.split_once('=').unwrap();
        let (offset, metadata) = offset.split_once('/').map_or((offset, None), |(it, said)| (it, Some(said)));
        let (name, partition_index) = partition(at);
        let (name, topic_id) = topic(name);
        let partition = OffsetCommitRequestPartition {
            partition_index,
            committed_offset: offset.parse().unwrap(),
            committed_leader_epoch: -1,
            committed_metadata: metadata.map(str::to_owned),
        };
        OffsetCommitRequestTopic { name, topic_id, partitions: vec![partition] }
    };
    words.iter().map(topic).collect()
}

fn subscription(text: &str) -> Bytes {
    let Some(topics) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) else {
        return Bytes::copy_from_slice(text.as_bytes());
    };
    let topics = topics.split(',').filter(|topic| !topic.is_empty()).map(str::to_owned).collect();
    let mut w = Writer::new();
    w.i16(0);
    ConsumerProtocolSubscription { topics, ..Default::default() }.encode(&mut w, 0).unwrap();
    w.into_bytes()
}

fn error_name(code: i16) -> &'static str {
    ErrorCode(code).name()
}
