//! The groups of a partition, taking commands as lines of text.
//!
//! ```text
//! WHO join GROUP PROTOCOL:METADATA ... [as=ID] [instance=I] [session=S] [rebalance=S] [type=T] [v=N]
//! WHO sync GROUP as=ID gen=N [instance=I] [type=T] [protocol=P] ID:ASSIGNMENT ...
//! WHO beat GROUP as=ID gen=N [instance=I]              WHO leave GROUP ID|@INSTANCE|ID@INSTANCE ... [v=N]
//!
//! WHO enter GROUP [topics=T,T] [regex=R] [instance=I] [rack=R] [assignor=A] [timeout=S] [owns=T:0,1;U:2] [as=ID] [v=N]
//! WHO stay GROUP EPOCH ...         WHO exit GROUP ...         WHO pause GROUP ...         (all four are ConsumerGroupHeartbeat)
//!
//! WHO commit GROUP TOPIC-P=OFFSET[/METADATA] ... [as=ID] [gen=N] [instance=I] [retention=S] [v=N]
//! WHO fetch GROUP [TOPIC-P ...] [stable] [as=ID] [gen=N]                        WHO forget GROUP TOPIC-P ...
//! WHO list [state=S] [type=T]      WHO describe GROUP [v=N]      WHO describe-consumer GROUP      WHO delete GROUP
//! topic NAME PARTITIONS (made, or grown)      gone TOPIC ...      config GROUP NAME=VALUE ...
//! +N (seconds pass)       clock N (the wall's is set forward by N seconds)       restart [SETTING=VALUE ...]       counts
//! pending PRODUCER GROUP TOPIC-P=OFFSET        commit-transaction PRODUCER       abort-transaction PRODUCER
//! ```
//! WHO is a client; what it is answered, now or later, comes under its name. A member of the consumer protocol has its
//! client's name, where `as` does not say otherwise; who enters says that it has nothing, and how long a rebalance may take
//! (not with `timeout=none`). Ids that are given out end in a number that counts those of one client or instance, and stands
//! for the whole id. `[a,b]` as metadata is a consumer's subscription to these topics, `[a,b|a:0,1;b:2]` with what it has;
//! `(a:0,1;b:2)` is an assignment of partitions. `TOPIC#N` has the topic id N. `-` is an empty text or list, `_` a space.
//! Times are in seconds and begin with 0. What is due at once comes with what made it due; a line with nothing but a time
//! says when what follows happened.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::groups::{
    Answer, Asked, Client, Command, GroupRecord, GroupSettings, Groups, MigrationPolicy, Moment, Reply, Said,
    Ticket, Uptime,
};
use cluster::machine::{Decision, Timestamp};
use cluster::metadata::{Image, MetadataRecord, ResourceKind};
use protocol::error_code::ErrorCode;
use protocol::ids::Uuid;
use protocol::messages::*;

#[path = "groups_under_test/line.rs"]
mod line;
#[path = "groups_under_test/shown.rs"]
mod shown;

use line::{Line, list, offsets, topic};

pub(crate) struct GroupsUnderTest {
    pub(crate) groups: Groups,
    settings: GroupSettings,
    pub(crate) image: Image,
    now_ms: i64,
    /// By how much the wall's clock was set forward.
    wall_ahead_ms: i64,
    /// By what they begin with.
    ids_given: BTreeMap<String, u64>,
    /// Those of the consumer protocol begin with nothing: the whole ids and their short forms.
    ids: BTreeMap<String, String>,
    tickets: u64,
    /// Who asked what in which version, and is not answered yet.
    pub(crate) asked: BTreeMap<Ticket, (String, i16)>,
    /// Every record so far.
    pub(crate) history: Vec<GroupRecord>,
}

/// 0 would be no time at all to an assignment.
const START: i64 = 1_000_000;

impl GroupsUnderTest {
    pub(crate) fn new() -> Self {
        let settings = GroupSettings::default();
        let mut it = Self {
            groups: Groups::new(Arc::new(settings.clone())),
            settings,
            image: Image::new("c"),
            now_ms: START,
            wall_ahead_ms: 0,
            ids_given: BTreeMap::new(),
            ids: BTreeMap::new(),
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
            "gone" => self.gone(&words[1..]),
            "topic" => self.topic(words[1], words[2].parse().unwrap()),
            "clock" => {
                self.wall_ahead_ms += words[1].parse::<i64>().unwrap() * 1_000;
                Vec::new()
            }
            "config" => self.config(words[1], &words[2..]),
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
                    let value = OffsetCommitValue {
                        offset: partition.committed_offset,
                        commit_timestamp: START,
                        ..Default::default()
                    };
                    let record = GroupRecord::from(Said::now(key, value));
                    self.groups.apply_pending(&record, producer_id);
                    line.push(format!("({})", shown::record(&record, &self.image)));
                }
                line
            }
            "commit-transaction" | "abort-transaction" => {
                self.groups.end_transaction(words[1].parse().unwrap(), words[0].starts_with('c'));
                Vec::new()
            }
            _ => {
                let mut lines = self.ask(line);
                while self.groups.deadline().is_some_and(|at| at <= self.moment().uptime) {
                    lines.extend(self.decide(Command::Tick));
                }
                lines
            }
        }
    }

    /// Runs a request, and nothing of what is due after it.
    pub(crate) fn ask(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let command = self.parse(words[0], words[1], &words[2..]);
        self.decide(command)
    }

    fn decide(&mut self, command: Command) -> Vec<String> {
        let decision = self.groups.decide(command, &self.image, self.moment());
        self.append(decision)
    }

    fn append(&mut self, decision: Decision<GroupRecord, Vec<Answer>>) -> Vec<String> {
        let mut lines = Vec::new();
        for record in decision.records {
            let bytes = record.to_bytes().unwrap();
            assert_eq!(GroupRecord::from_bytes(&bytes.key, bytes.value.as_deref()).unwrap(), record);
            self.groups.apply(&record);
            lines.push(format!("+ {}", shown::record(&record, &self.image)));
            self.history.push(record);
        }
        for answer in decision.reply {
            let (who, version) = self.asked.remove(&answer.ticket).expect("each request is answered once");
            self.learn_id(&answer.reply);
            let told = shown::reply(&answer.reply, version, &who, &self.image);
            lines.extend(told.into_iter().map(|line| format!("{who} {line}")));
        }
        let shortened =
            |line: String| self.ids.iter().fold(line, |line, (whole, short)| line.replace(whole, short));
        lines.into_iter().map(shortened).collect()
    }

    fn learn_id(&mut self, reply: &Reply) {
        let id = match reply {
            Reply::JoinGroup(it) => Some(&it.member_id),
            Reply::ConsumerGroupHeartbeat(it) => it.member_id.as_ref(),
            _ => None,
        };
        let Some(id) = id.filter(|id| id.len() == 22) else { return };
        let whose = |(prefix, count): (&String, &u64)| {
            let number = (1..=*count).find(|number| fresh_id(prefix, *number).to_string() == *id)?;
            Some(format!("{prefix}-{number}"))
        };
        if let Some(short) = self.ids_given.iter().find_map(whose) {
            self.ids.insert(id.clone(), short);
        }
    }

    fn topic(&mut self, name: &str, partitions: i32) -> Vec<String> {
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
        Vec::new()
    }

    fn gone(&mut self, words: &[&str]) -> Vec<String> {
        let topics: Vec<(String, Uuid)> = words.iter().map(|word| topic(word)).collect();
        for (name, _) in &topics {
            if let Some(topic_id) = self.image.topics.by_name(name).map(|topic| topic.id) {
                self.see(MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id }));
            }
        }
        self.decide(Command::TopicsDeleted(topics))
    }

    fn config(&mut self, group: &str, words: &[&str]) -> Vec<String> {
        for word in words {
            let (name, value) = word.split_once('=').unwrap();
            self.see(MetadataRecord::Config(ConfigRecord {
                resource_type: ResourceKind::Group.code(),
                resource_name: group.to_owned(),
                name: name.to_owned(),
                value: Some(value.to_owned()),
            }));
        }
        Vec::new()
    }

    fn see(&mut self, record: MetadataRecord) {
        self.image.apply(&record, self.image.offset + 1).unwrap();
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment { wall: Timestamp(self.now_ms + self.wall_ahead_ms), uptime: Uptime(self.now_ms) }
    }

    fn pass(&mut self, ms: i64) -> Vec<String> {
        let until = self.now_ms + ms;
        let mut lines = Vec::new();
        while let Some(Uptime(at)) = self.groups.deadline().filter(|at| at.0 <= until) {
            self.now_ms = at.max(self.now_ms);
            let happened = self.decide(Command::Tick);
            if !happened.is_empty() {
                lines.push(shown::at(self.now_ms));
                lines.extend(happened);
            }
        }
        self.now_ms = until;
        lines
    }

    fn restart(&mut self, settings: &[&str]) -> Vec<String> {
        for word in settings {
            let (name, value) = word.split_once('=').unwrap();
            self.set(name, value);
        }
        self.asked.clear();
        self.groups = Groups::new(Arc::new(self.settings.clone()));
        self.history.iter().for_each(|record| self.groups.apply(record));
        let loaded = self.groups.loaded(&self.image, self.moment());
        self.append(loaded)
    }

    fn set(&mut self, name: &str, value: &str) {
        let it = &mut self.settings;
        let small = || value.parse::<i32>().unwrap();
        match name {
            "initial-delay" => it.initial_rebalance_delay_ms = small() * 1_000,
            "max-size" => it.max_size = small(),
            "consumer-max-size" => it.consumer_max_size = small(),
            "retention" => it.offsets_retention_ms = i64::from(small()) * 1_000,
            "check" => it.offsets_retention_check_interval_ms = i64::from(small()) * 1_000,
            "metadata-max" => it.offset_metadata_max = small(),
            "assignors" => it.consumer_assignors = list(value),
            "migration" => {
                it.consumer_migration_policy = match value {
                    "disabled" => MigrationPolicy::Disabled,
                    "upgrade" => MigrationPolicy::Upgrade,
                    "downgrade" => MigrationPolicy::Downgrade,
                    _ => MigrationPolicy::Bidirectional,
                }
            }
            unknown => panic!("no setting {unknown}"),
        }
    }

    /// Who asks for an id gets the next one.
    fn give_id<Request>(&mut self, asked: &mut Asked<Request>, prefix: &str) {
        let number = self.ids_given.entry(prefix.to_owned()).or_default();
        *number += 1;
        asked.fresh_id = fresh_id(prefix, *number);
    }

    fn asked<Request>(&mut self, who: &str, version: i16, request: Request) -> Asked<Request> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.asked.insert(ticket, (who.to_owned(), version));
        let client = Client { id: who.to_owned(), host: "/h".to_owned() };
        Asked { ticket, version, client, fresh_id: Uuid::ZERO, request }
    }

    fn parse(&mut self, who: &str, verb: &str, words: &[&str]) -> Command {
        let ids = self.ids.clone();
        let line = Line::new(words, &ids);
        let version = |newest| line.option("v").map_or(newest, |version| version.parse().unwrap());
        match verb {
            "join" => {
                let mut asked = self.asked(who, version(9), line.join());
                if asked.request.member_id.is_empty() {
                    let prefix = asked.request.group_instance_id.clone().unwrap_or(who.to_owned());
                    self.give_id(&mut asked, &prefix);
                }
                Command::JoinGroup(asked)
            }
            "enter" | "stay" | "exit" | "pause" => {
                let epoch = match verb {
                    "enter" => 0,
                    "stay" => line.plain[1].parse().unwrap(),
                    "exit" => -1,
                    _ => -2,
                };
                let request = line.consumer_heartbeat(who, epoch, verb == "enter", &self.image);
                let mut asked = self.asked(who, version(1), request);
                if asked.request.member_id.is_empty() {
                    self.give_id(&mut asked, who);
                }
                Command::ConsumerGroupHeartbeat(asked)
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
            "describe-consumer" => Command::DescribeConsumerGroup(self.asked(who, version(1), line.group())),
            "delete" => Command::DeleteGroup(self.asked(who, version(2), line.group())),
            unknown => panic!("no command {unknown}"),
        }
    }
}

/// Tells what it begins with, as the ids of the consumer protocol do not.
fn fresh_id(prefix: &str, number: u64) -> Uuid {
    let sum = prefix.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    Uuid::from_u64_pair(u64::from(sum) << 32, number)
}

fn error_name(code: i16) -> &'static str {
    ErrorCode(code).name()
}
