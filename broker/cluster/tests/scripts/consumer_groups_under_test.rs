//! The groups of a partition, taking commands of consumers of both protocols as lines of text.
//!
//! ```text
//! topic NAME PARTITIONS     grow NAME PARTITIONS     gone NAME     config GROUP NAME=VALUE     set NAME=VALUE (of the broker)
//! +3s  +200ms               time goes on, and what was waited for happens
//! restart                   a new coordinator reads the log
//! records                   from now on records are shown; `records off`: they are not
//!
//! beat GROUP MEMBER EPOCH [topics=T,T] [regex=R] [instance=I] [rack=R] [assignor=A] [timeout=MS] [owns=T:0,1;U:2] [v=N] [host=H]
//! join GROUP MEMBER ...     the same in epoch 0, with a timeout and owning nothing;  leave, away: in epochs -1 and -2
//! commit GROUP MEMBER EPOCH T:0=OFFSET [v=N]     fetch GROUP [MEMBER EPOCH]     list     describe GROUP     delete GROUP
//!
//! classic-join GROUP MEMBER topics=T,T [owns=T:0,1] [protocols=P,P] [session=MS] [timeout=MS] [instance=I] [type=T] [v=N]
//! classic-sync GROUP MEMBER GENERATION [give=MEMBER/T:0,1;U:0+MEMBER/...] [instance=I] [protocol=P] [type=T]
//! classic-beat GROUP MEMBER GENERATION [instance=I]     classic-leave GROUP MEMBER [instance=I]
//! ```
//! `as=NAME` names the member that the answer tells of; an id that was made up is then shown by that name.
//! `-` is an empty list or text, `_` a space.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cluster::groups::consumer_protocol::{assignment_bytes, parse_assignment};
use cluster::groups::{
    Answer, Asked, Client, Command, FetchOffsets, GroupRecord, GroupSettings, Groups, MigrationPolicy, Reply,
    Ticket,
};
use cluster::machine::Timestamp;
use cluster::metadata::{Image, MetadataRecord, ResourceKind};
use protocol::ids::Uuid;
use protocol::messages::consumer_group_current_member_assignment_value::TopicPartitions as Had;
use protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use protocol::messages::consumer_protocol_assignment::TopicPartition as Given;
use protocol::messages::consumer_protocol_subscription::TopicPartition as Owned;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::*;
use protocol::primitives::Writer;

pub(crate) struct ConsumerGroupsUnderTest {
    pub(crate) groups: Groups,
    settings: GroupSettings,
    image: Image,
    now: i64,
    asked: u64,
    shows_records: bool,
    /// Ids by name.
    names: BTreeMap<String, String>,
    told_id: Option<String>,
    /// Every record so far and when it was written.
    pub(crate) history: Vec<(GroupRecord, Timestamp)>,
}

const START: i64 = 1_000_000;

impl ConsumerGroupsUnderTest {
    pub(crate) fn new() -> Self {
        let settings = GroupSettings::default();
        let mut under_test = Self {
            groups: Groups::new(Arc::new(settings.clone())),
            settings,
            image: Image::new("c"),
            now: START,
            asked: 0,
            shows_records: true,
            names: BTreeMap::new(),
            told_id: None,
            history: Vec::new(),
        };
        let mut out = Vec::new();
        under_test.restart(&mut out);
        under_test
    }

    /// Runs a command and says what came of it.
    pub(crate) fn command(&mut self, line: &str) -> Vec<String> {
        let mut out = Vec::new();
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words = Words::new(rest);
        match verb {
            "topic" | "grow" => self.topic(words.at(0), words.at(1).parse().unwrap()),
            "gone" => self.gone(words.at(0)),
            "config" => self.config(&words),
            "set" => self.set(&words),
            "records" => self.shows_records = words.at(0) != "off",
            "restart" => self.restart(&mut out),
            _ if verb.starts_with('+') => self.wait(milliseconds(&verb[1..]), &mut out),
            _ => {
                let command = self.parse(verb, &words);
                self.run(command, &mut out);
            }
        }
        if let Some(name) = words.named.get("as")
            && let Some(id) = self.told_id.take()
        {
            self.names.insert((*name).to_owned(), id);
        }
        let named =
            |line: String| self.names.iter().fold(line, |line, (name, id)| line.replace(id.as_str(), name));
        out.into_iter().map(named).collect()
    }

    fn run(&mut self, command: Command, out: &mut Vec<String>) {
        self.turn(command, out);
        self.wait(0, out);
    }

    fn turn(&mut self, command: Command, out: &mut Vec<String>) {
        let now = Timestamp(self.now);
        let decision = self.groups.decide(command, &self.image, now);
        self.take(&decision.records, out);
        for answer in &decision.reply {
            let told = self.answer(answer);
            self.told_id = told_id(&answer.reply).or(self.told_id.take());
            out.push(told);
        }
    }

    fn take(&mut self, records: &[GroupRecord], out: &mut Vec<String>) {
        let now = Timestamp(self.now);
        for record in records {
            let bytes = record.to_bytes().unwrap();
            let read = GroupRecord::from_bytes(&bytes.key, bytes.value.as_deref()).unwrap();
            assert_eq!(read, *record, "what is written is what is read");
            self.groups.apply(record, now);
            if self.shows_records {
                out.push(format!("+ {}", self.record(record)));
            }
        }
        self.history.extend(records.iter().map(|record| (record.clone(), now)));
    }

    /// Goes from one thing that is waited for to the next.
    fn wait(&mut self, ms: i64, out: &mut Vec<String>) {
        let until = self.now + ms;
        let mut turns = 0;
        while let Some(Timestamp(at)) = self.groups.deadline().filter(|at| at.0 <= until) {
            self.now = self.now.max(at);
            self.turn(Command::Tick, out);
            turns += 1;
            assert!(turns < 10_000, "it never comes to rest");
        }
        self.now = until;
    }

    fn restart(&mut self, out: &mut Vec<String>) {
        self.groups = Groups::new(Arc::new(self.settings.clone()));
        for (record, at) in &self.history {
            self.groups.apply(record, *at);
        }
        let loaded = self.groups.loaded(&self.image, Timestamp(self.now));
        self.take(&loaded.records, out);
        out.extend(loaded.reply.iter().map(|answer| self.answer(answer)));
    }

    // The cluster around.

    fn topic(&mut self, name: &str, partitions: i32) {
        let known = self.image.topics.by_name(name).map(|topic| (topic.id, topic.partitions().len() as i32));
        let (topic_id, from) = known.unwrap_or_else(|| {
            let topic_id = Uuid::from_u64_pair(7, self.image.topics.len() as u64 + 1);
            self.see(MetadataRecord::Topic(TopicRecord { name: name.to_owned(), topic_id }));
            (topic_id, 0)
        });
        for partition_id in from..partitions {
            let replicas = vec![1];
            let record = PartitionRecord { partition_id, topic_id, replicas, ..Default::default() };
            self.see(MetadataRecord::Partition(record));
        }
    }

    fn gone(&mut self, name: &str) {
        let topic_id = self.id(name);
        self.see(MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id }));
    }

    fn config(&mut self, words: &Words<'_>) {
        for (name, value) in &words.named {
            self.see(MetadataRecord::Config(ConfigRecord {
                resource_type: ResourceKind::Group.code(),
                resource_name: words.at(0).to_owned(),
                name: (*name).to_owned(),
                value: Some((*value).to_owned()),
            }));
        }
    }

    fn see(&mut self, record: MetadataRecord) {
        self.image.apply(&record, self.image.offset + 1).unwrap();
    }

    /// The broker starts again with other settings.
    fn set(&mut self, words: &Words<'_>) {
        for (name, value) in &words.named {
            let number = || value.parse().unwrap();
            match *name {
                "initial-delay" => self.settings.initial_rebalance_delay_ms = number(),
                "max" => self.settings.consumer_max_size = number(),
                "classic-max" => self.settings.max_size = number(),
                "interval" => self.settings.consumer_assignment_interval_ms = number(),
                "regex-refresh" => self.settings.consumer_regex_refresh_interval_ms = number(),
                "assignors" => {
                    self.settings.consumer_assignors = value.split(',').map(str::to_owned).collect();
                }
                "migration" => {
                    self.settings.consumer_migration_policy = match *value {
                        "disabled" => MigrationPolicy::Disabled,
                        "upgrade" => MigrationPolicy::Upgrade,
                        "downgrade" => MigrationPolicy::Downgrade,
                        _ => MigrationPolicy::Bidirectional,
                    }
                }
                other => panic!("no setting {other}"),
            }
        }
        self.restart(&mut Vec::new());
    }

    // What is asked.

    fn parse(&mut self, verb: &str, words: &Words<'_>) -> Command {
        let group = || words.at(0).to_owned();
        match verb {
            "beat" => {
                let epoch = words.at(2).parse().unwrap();
                let request = self.beat(words, epoch);
                Command::ConsumerGroupHeartbeat(self.asked(words, 1, request))
            }
            "join" => {
                let mut request = self.beat(words, 0);
                request.topic_partitions.get_or_insert_default();
                if !words.named.contains_key("timeout") {
                    request.rebalance_timeout_ms = 60_000;
                }
                Command::ConsumerGroupHeartbeat(self.asked(words, 1, request))
            }
            "leave" | "away" => {
                let request = self.beat(words, if verb == "away" { -2 } else { -1 });
                Command::ConsumerGroupHeartbeat(self.asked(words, 1, request))
            }
            "commit" => {
                let mut request = commit(words);
                request.member_id = self.member(words.at(1));
                Command::OffsetCommit(self.asked(words, 9, request))
            }
            "fetch" => {
                let member = words.plain.get(1).map(|member| (*member).to_owned());
                let member_epoch = words.plain.get(2).map_or(-1, |epoch| epoch.parse().unwrap());
                let group = OffsetFetchRequestGroup {
                    group_id: group(),
                    member_id: member,
                    member_epoch,
                    topics: None,
                };
                let request = FetchOffsets { group, require_stable: false };
                Command::OffsetFetch(self.asked(words, 9, request))
            }
            "list" => {
                let filter = |name: &str| words.named.get(name).map(|it| vec![(*it).to_owned()]);
                let states_filter = filter("state").unwrap_or_default();
                let types_filter = filter("type").unwrap_or_default();
                let request = ListGroupsRequest { states_filter, types_filter };
                Command::ListGroups(self.asked(words, 5, request))
            }
            "describe" => Command::DescribeConsumerGroup(self.asked(words, 1, group())),
            "describe-classic" => Command::DescribeGroup(self.asked(words, 6, group())),
            "delete" => Command::DeleteGroup(self.asked(words, 2, group())),
            "classic-join" => Command::JoinGroup(self.asked(words, 9, self.classic_join(words))),
            "classic-sync" => Command::SyncGroup(self.asked(words, 5, self.classic_sync(words))),
            "classic-beat" => {
                let request = HeartbeatRequest {
                    group_id: group(),
                    generation_id: words.at(2).parse().unwrap(),
                    member_id: self.member(words.at(1)),
                    group_instance_id: words.named.get("instance").map(|it| plain(it)),
                };
                Command::Heartbeat(self.asked(words, 4, request))
            }
            "classic-leave" => {
                let member = MemberIdentity {
                    member_id: self.member(words.at(1)),
                    group_instance_id: words.named.get("instance").map(|it| plain(it)),
                    reason: None,
                };
                let request =
                    LeaveGroupRequest { group_id: group(), members: vec![member], ..Default::default() };
                Command::LeaveGroup(self.asked(words, 5, request))
            }
            other => panic!("no command {other}"),
        }
    }

    fn member(&self, word: &str) -> String {
        self.names.get(word).cloned().unwrap_or_else(|| plain(word))
    }

    fn classic_join(&self, words: &Words<'_>) -> JoinGroupRequest {
        let owned_partitions = words.named.get("owns").map_or(Vec::new(), |it| {
            parts(it).map(|(topic, partitions)| Owned { topic: topic.to_owned(), partitions }).collect()
        });
        let topics = words.named.get("topics").map_or(Vec::new(), |it| list(it));
        let subscription = ConsumerProtocolSubscription { topics, owned_partitions, ..Default::default() };
        let mut w = Writer::new();
        w.i16(1);
        subscription.encode(&mut w, 1).unwrap();
        let metadata =
            words.named.get("metadata").map_or(w.into_bytes(), |it| Bytes::copy_from_slice(it.as_bytes()));
        let names = list(words.named.get("protocols").unwrap_or(&"range"));
        let protocol = |name| JoinGroupRequestProtocol { name, metadata: metadata.clone() };
        let number = |name: &str, default| words.named.get(name).map_or(default, |it| it.parse().unwrap());
        JoinGroupRequest {
            group_id: plain(words.at(0)),
            session_timeout_ms: number("session", 10_000),
            rebalance_timeout_ms: number("timeout", 60_000),
            member_id: self.member(words.at(1)),
            group_instance_id: words.named.get("instance").map(|it| plain(it)),
            protocol_type: words.named.get("type").unwrap_or(&"consumer").to_string(),
            protocols: names.into_iter().map(protocol).collect(),
            reason: None,
        }
    }

    fn classic_sync(&self, words: &Words<'_>) -> SyncGroupRequest {
        let give = words.named.get("give").copied().unwrap_or_default();
        let assignments = give.split('+').filter(|it| !it.is_empty()).map(|part| {
            let (member, partitions) = part.split_once('/').unwrap();
            let topic = |(topic, partitions): (&str, _)| Given { topic: topic.to_owned(), partitions };
            let assigned_partitions = parts(partitions).map(topic).collect();
            let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
            SyncGroupRequestAssignment {
                member_id: self.member(member),
                assignment: assignment_bytes(&assignment, 1),
            }
        });
        let text = |name: &str| words.named.get(name).map(|it| plain(it));
        SyncGroupRequest {
            group_id: plain(words.at(0)),
            generation_id: words.at(2).parse().unwrap(),
            member_id: self.member(words.at(1)),
            group_instance_id: text("instance"),
            protocol_type: text("type").or(Some("consumer".to_owned())),
            protocol_name: text("protocol").or(Some("range".to_owned())),
            assignments: assignments.collect(),
        }
    }

    fn asked<Request>(&mut self, words: &Words<'_>, version: i16, request: Request) -> Asked<Request> {
        self.asked += 1;
        let text = |name: &str, default: &str| words.named.get(name).unwrap_or(&default).to_string();
        Asked {
            ticket: Ticket(self.asked),
            version: words.named.get("v").map_or(version, |version| version.parse().unwrap()),
            client: Client { id: text("client", "c"), host: text("host", "/h") },
            fresh_id: Uuid::from_u64_pair(9, self.asked),
            request,
        }
    }

    fn beat(&self, words: &Words<'_>, member_epoch: i32) -> ConsumerGroupHeartbeatRequest {
        let text = |name: &str| words.named.get(name).map(|it| plain(it));
        let owned = |it: &&str| {
            parts(it)
                .map(|(topic, partitions)| TopicPartitions { topic_id: self.id(topic), partitions })
                .collect()
        };
        ConsumerGroupHeartbeatRequest {
            group_id: plain(words.at(0)),
            member_id: self.member(words.at(1)),
            member_epoch,
            instance_id: text("instance"),
            rack_id: text("rack"),
            rebalance_timeout_ms: words.named.get("timeout").map_or(-1, |it| it.parse().unwrap()),
            subscribed_topic_names: words.named.get("topics").map(|it| list(it)),
            subscribed_topic_regex: text("regex"),
            server_assignor: text("assignor"),
            topic_partitions: words.named.get("owns").map(owned),
        }
    }

    fn id(&self, topic: &str) -> Uuid {
        let known = self.image.topics.by_name(topic).map(|topic| topic.id);
        known.unwrap_or_else(|| Uuid::from_u64_pair(8, topic.len() as u64))
    }

    // What came of it.

    fn name(&self, id: Uuid) -> String {
        self.image.topics.by_id(id).map_or_else(|| id.to_string(), |topic| topic.name.to_string())
    }

    fn parts<'a>(&self, parts: impl Iterator<Item = (Uuid, &'a [i32])>) -> String {
        let shown = parts.map(|(topic, list)| {
            let list: Vec<String> = list.iter().map(i32::to_string).collect();
            format!("{}:{}", self.name(topic), list.join(","))
        });
        let shown: Vec<String> = shown.collect();
        if shown.is_empty() { "-".to_owned() } else { shown.join(";") }
    }

    fn answer(&self, answer: &Answer) -> String {
        let told = match &answer.reply {
            Reply::ConsumerGroupHeartbeat(it) => self.beaten(it),
            Reply::OffsetCommit(it) => {
                let errors = it.topics.iter().flat_map(|topic| &topic.partitions);
                let errors: Vec<String> = errors.map(|it| it.error_code.to_string()).collect();
                format!("committed {}", errors.join(" "))
            }
            Reply::OffsetFetch(it) if it.error_code != 0 => format!("refused {}", it.error_code),
            Reply::OffsetFetch(it) => {
                let offset = |topic: &str, it: &offset_fetch_response::OffsetFetchResponsePartitions| {
                    format!(" {topic}:{}={}", it.partition_index, it.committed_offset)
                };
                let topics = it.topics.iter();
                let all = topics.flat_map(|topic| topic.partitions.iter().map(|it| offset(&topic.name, it)));
                format!("offsets{}", all.collect::<String>())
            }
            Reply::ListGroups(groups) if groups.is_empty() => "none".to_owned(),
            Reply::ListGroups(groups) => {
                let line = |it: &list_groups_response::ListedGroup| {
                    format!("{} {} {} {}", it.group_id, it.group_type, it.group_state, it.protocol_type)
                };
                groups.iter().map(line).collect::<Vec<_>>().join("\n")
            }
            Reply::DescribeConsumerGroup(it) => self.described(it),
            Reply::DescribeGroup(it) => {
                let message = it.error_message.as_deref().unwrap_or_default();
                format!("{} {} {message}", it.error_code, it.group_state)
            }
            Reply::DeleteGroup(error) => format!("deleted {}", error.0),
            Reply::JoinGroup(it) if it.error_code != 0 => {
                format!("refused {} {}", it.error_code, it.member_id)
            }
            Reply::JoinGroup(it) => {
                let members: Vec<&str> = it.members.iter().map(|member| &*member.member_id).collect();
                format!(
                    "{} in {} by {} led by {:?} [{}]",
                    it.member_id,
                    it.generation_id,
                    it.protocol_name.as_deref().unwrap_or("nothing"),
                    it.leader,
                    members.join(",")
                )
            }
            Reply::SyncGroup(it) if it.error_code != 0 => format!("refused {}", it.error_code),
            Reply::SyncGroup(it) => {
                let assignment = parse_assignment(&it.assignment).unwrap_or_default();
                let part = |it: &Given| (self.id(&it.topic), it.partitions.clone());
                let parts: Vec<_> = assignment.assigned_partitions.iter().map(part).collect();
                format!("has {}", self.parts(parts.iter().map(|(id, list)| (*id, &list[..]))))
            }
            Reply::Heartbeat(it) => format!("heard {}", it.error_code),
            Reply::LeaveGroup(it) => {
                let errors: Vec<String> = it.members.iter().map(|it| it.error_code.to_string()).collect();
                format!("left {} {}", it.error_code, errors.join(" "))
            }
            other => format!("{other:?}"),
        };
        if answer.ticket.0 == self.asked { told } else { format!("to {}: {told}", answer.ticket.0) }
    }

    fn beaten(&self, it: &ConsumerGroupHeartbeatResponse) -> String {
        if it.error_code != 0 {
            return format!("refused {} {}", it.error_code, it.error_message.as_deref().unwrap_or("-"));
        }
        let interval = match it.heartbeat_interval_ms {
            5_000 => String::new(),
            ms => format!(" every {ms} ms"),
        };
        let has = it.assignment.as_ref().map_or_else(String::new, |it| {
            let parts = it.topic_partitions.iter().map(|it| (it.topic_id, &it.partitions[..]));
            format!(", has {}", self.parts(parts))
        });
        format!("{} in {}{interval}{has}", it.member_id.as_deref().unwrap_or("nobody"), it.member_epoch)
    }

    fn described(&self, it: &consumer_group_describe_response::DescribedGroup) -> String {
        if it.error_code != 0 {
            return format!("refused {} {}", it.error_code, it.error_message.as_deref().unwrap_or("-"));
        }
        let mut lines = vec![format!(
            "{} {} epoch={} target={} by {}",
            it.group_id, it.group_state, it.group_epoch, it.assignment_epoch, it.assignor_name
        )];
        let assigned = |it: &consumer_group_describe_response::Assignment| {
            self.parts(it.topic_partitions.iter().map(|it| (it.topic_id, &it.partitions[..])))
        };
        lines.extend(it.members.iter().map(|it| {
            format!(
                "  {} {} in {} has {} shall have {} subscribed {:?} {:?} instance={:?} rack={:?} {}@{}",
                if it.member_type == 1 { "consumer" } else { "classic" },
                it.member_id,
                it.member_epoch,
                assigned(&it.assignment),
                assigned(&it.target_assignment),
                it.subscribed_topic_names,
                it.subscribed_topic_regex,
                it.instance_id,
                it.rack_id,
                it.client_id,
                it.client_host,
            )
        }));
        lines.join("\n")
    }

    fn had(&self, it: &ConsumerGroupCurrentMemberAssignmentValue) -> String {
        let topic = |it: &Had| {
            let epochs = it.assignment_epochs.iter().flatten();
            let list = it.partitions.iter().zip(epochs).map(|(it, since)| format!("{it}@{since}"));
            format!("{}:{}", self.name(it.topic_id), list.collect::<Vec<_>>().join(","))
        };
        let state = ["stable", "unrevoked", "unreleased"].get(it.state as usize).unwrap_or(&"unknown");
        let mut text = format!("epoch={} before={} {state}", it.member_epoch, it.previous_member_epoch);
        for (name, list) in [("", &it.assigned_partitions), (" revoking", &it.partitions_pending_revocation)]
        {
            if !list.is_empty() {
                let list: Vec<String> = list.iter().map(topic).collect();
                text += &format!("{name} {}", list.join(";"));
            }
        }
        text
    }

    fn record(&self, record: &GroupRecord) -> String {
        use GroupRecord as R;
        match record {
            R::ConsumerGroupMetadata(it) => told("group", &[&it.key.group_id], it.value.as_ref(), |it| {
                let hash = if it.metadata_hash == 0 { "none" } else { "some" };
                format!("epoch={} hash={hash}", it.epoch)
            }),
            R::ConsumerGroupPartitionMetadata(it) => {
                told("partition-metadata", &[&it.key.group_id], it.value.as_ref(), |_| String::new())
            }
            R::ConsumerGroupMember(it) => {
                told("member", &[&it.key.group_id, &it.key.member_id], it.value.as_ref(), member)
            }
            R::TargetAssignmentEpoch(it) => told("target", &[&it.key.group_id], it.value.as_ref(), |it| {
                let at = if it.assignment_timestamp == 0 { 0 } else { it.assignment_timestamp - START };
                format!("epoch={} at={at}", it.assignment_epoch)
            }),
            R::TargetAssignment(it) => {
                told("target", &[&it.key.group_id, &it.key.member_id], it.value.as_ref(), |it| {
                    self.parts(it.topic_partitions.iter().map(|it| (it.topic_id, &it.partitions[..])))
                })
            }
            R::CurrentAssignment(it) => {
                told("has", &[&it.key.group_id, &it.key.member_id], it.value.as_ref(), |it| self.had(it))
            }
            R::RegularExpression(it) => {
                told("pattern", &[&it.key.group_id, &it.key.regular_expression], it.value.as_ref(), |it| {
                    format!("topics={} image={} at={}", it.topics.join(","), it.version, it.timestamp - START)
                })
            }
            R::OffsetCommit(it) => {
                let partition = it.key.partition.to_string();
                told("offset", &[&it.key.group, &it.key.topic, &partition], it.value.as_ref(), |it| {
                    it.offset.to_string()
                })
            }
            R::GroupMetadata(it) => told("classic", &[&it.key.group], it.value.as_ref(), |it| {
                format!(
                    "generation={} protocol={:?} leader={:?} members={}",
                    it.generation,
                    it.protocol,
                    it.leader,
                    it.members.len()
                )
            }),
        }
    }
}

fn member(it: &ConsumerGroupMemberMetadataValue) -> String {
    let mut text =
        format!("topics={} timeout={}", it.subscribed_topic_names.join(","), it.rebalance_timeout_ms);
    let named = [
        ("regex", it.subscribed_topic_regex.as_ref().filter(|it| !it.is_empty())),
        ("instance", it.instance_id.as_ref()),
        ("rack", it.rack_id.as_ref()),
        ("assignor", it.server_assignor.as_ref()),
    ];
    for (name, value) in named {
        text += &value.map_or_else(String::new, |value| format!(" {name}={value}"));
    }
    if let Some(classic) = &it.classic_member_metadata {
        let names: Vec<&str> = classic.supported_protocols.iter().map(|it| &*it.name).collect();
        text += &format!(" classic={} session={}", names.join(","), classic.session_timeout_ms);
    }
    text + &format!(" {}@{}", it.client_id, it.client_host)
}

fn told_id(reply: &Reply) -> Option<String> {
    match reply {
        Reply::JoinGroup(it) => Some(it.member_id.clone()).filter(|id| !id.is_empty()),
        Reply::ConsumerGroupHeartbeat(it) => it.member_id.clone(),
        _ => None,
    }
}

fn told<Value>(kind: &str, key: &[&str], value: Option<&Value>, tell: impl Fn(&Value) -> String) -> String {
    format!("{kind} {} {}", key.join("/"), value.map_or_else(|| "gone".to_owned(), tell))
        .trim_end()
        .to_owned()
}

fn commit(words: &Words<'_>) -> OffsetCommitRequest {
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for word in &words.offsets {
        let (partition, offset) = word.split_once('=').unwrap();
        let (topic, index) = partition.split_once(':').unwrap();
        topics.entry(topic).or_default().push(OffsetCommitRequestPartition {
            partition_index: index.parse().unwrap(),
            committed_offset: offset.parse().unwrap(),
            ..Default::default()
        });
    }
    let topic = |(name, partitions): (&str, Vec<_>)| OffsetCommitRequestTopic {
        name: name.to_owned(),
        partitions,
        ..Default::default()
    };
    OffsetCommitRequest {
        group_id: words.at(0).to_owned(),
        member_id: plain(words.at(1)),
        generation_id_or_member_epoch: words.at(2).parse().unwrap(),
        topics: topics.into_iter().map(topic).collect(),
        ..Default::default()
    }
}

/// The words of a line: plain ones, `name=value`, and `topic:partition=offset`.
struct Words<'a> {
    plain: Vec<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
    offsets: Vec<&'a str>,
}

impl<'a> Words<'a> {
    fn new(line: &'a str) -> Self {
        let mut words = Self { plain: Vec::new(), named: BTreeMap::new(), offsets: Vec::new() };
        for word in line.split_whitespace() {
            match word.split_once('=') {
                Some((name, _)) if name.contains(':') => words.offsets.push(word),
                Some((name, value)) => drop(words.named.insert(name, value)),
                None => words.plain.push(word),
            }
        }
        words
    }

    fn at(&self, place: usize) -> &'a str {
        self.plain
            .get(place)
            .copied()
            .unwrap_or_else(|| panic!("word {place} of {:?} is missing", self.plain))
    }
}

fn plain(word: &str) -> String {
    if word == "-" { String::new() } else { word.replace('_', " ") }
}

fn list(word: &str) -> Vec<String> {
    if word == "-" { Vec::new() } else { word.split(',').map(str::to_owned).collect() }
}

/// `t:0,1;u:2`
fn parts(word: &str) -> impl Iterator<Item = (&str, Vec<i32>)> {
    let word = if word == "-" { "" } else { word };
    word.split(';').filter(|it| !it.is_empty()).map(|part| {
        let (topic, list) = part.split_once(':').unwrap();
        (topic, list.split(',').map(|it| it.parse().unwrap()).collect())
    })
}

fn milliseconds(text: &str) -> i64 {
    match text.strip_suffix("ms") {
        Some(ms) => ms.parse().unwrap(),
        None => 1_000 * text.strip_suffix('s').unwrap().parse::<i64>().unwrap(),
    }
}
