//! A controller that takes commands as lines of text.
//!
//! ```text
//! broker ID [rack=R] [fenced] [epoch=E] [cluster=C] [live] [dir=N,N..] [without=FEATURE]   unfence ID [new-epochs]
//! create[?] TOPIC | TOPIC ...     TOPIC: NAME [p=N] [r=N] [a=0:1,2;1:2] [SETTING=VALUE ...], `_` stands for a space, `~` for null
//! grow[?] NAME=COUNT[:1,2;2,1] ...          delete[@VERSION] NAME|#NAME(by id)|NAME#NAME(both)|- ...
//! ids BROKER EPOCH                          describe TOPIC (if it were created)    overrides NAME
//! alter[?] KIND NAME CHANGE .. | KIND NAME ...        CHANGE: S=V (set) -S (delete) S+=V (append) S-=V (subtract) S@9=V (9)
//! replace[?] KIND NAME S=V .. | ...         KIND: topic, group, broker or a number
//! describe-group NAME                       start SETTING=VALUE ... (with these in its file)
//! ```
//! `?` is "validate only". A first word `timeout=N` sets the timeout of the request.

use cluster::controller::{
    AllocateProducerIds, AlterConfigs, Altered, Change, Command, Controller, CreatePartitions, CreateTopics,
    DeleteTopics, Refused, RegisterBroker, Reply, Settings, UnfenceBroker,
};
use cluster::machine::{Machine, Timestamp};
use cluster::metadata::configs::DescribedSynonym;
use cluster::metadata::features::FEATURES;
use cluster::metadata::topics::directory;
use cluster::metadata::{MetadataRecord, Overrides, ResourceKind, Source, bootstrap};
use protocol::ids::Uuid;
use protocol::messages::broker_registration_request::{Feature, Listener};
use protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::{
    BrokerRegistrationRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
};

pub(crate) struct ClusterUnderTest {
    pub(crate) controller: Controller,
    offset: i64,
    topics_seen: u64,
    /// Every record so far, from offset 0.
    #[allow(dead_code, reason = "used by one of the test binaries")]
    pub(crate) history: Vec<MetadataRecord>,
}

const CLUSTER: &str = "zmE1gFuzQd-CdiCFOypd2w";

pub(crate) fn settings() -> Settings {
    Settings {
        node_id: 1,
        num_partitions: 1,
        default_replication_factor: 1,
        delete_topic_enable: true,
        statics: Overrides::default(),
    }
}

impl ClusterUnderTest {
    pub(crate) fn new() -> Self {
        let controller = Controller::new(CLUSTER, settings());
        let mut cluster = Self { controller, offset: 0, topics_seen: 0, history: Vec::new() };
        cluster.append(&bootstrap::records(FEATURES));
        cluster
    }

    fn append(&mut self, records: &[MetadataRecord]) {
        for record in records {
            self.controller.apply(record, self.offset);
            self.history.push(record.clone());
            self.offset += 1;
        }
    }

    /// Runs a command and says what came of it.
    pub(crate) fn command(&mut self, line: &str) -> Vec<String> {
        if let Some(name) = line.strip_prefix("overrides ") {
            let overrides = self.controller.image().configs.of(ResourceKind::Topic, name);
            return vec![format!("{overrides:?}")];
        }
        if let Some(name) = line.strip_prefix("describe ") {
            return self.describe(name);
        }
        if let Some(name) = line.strip_prefix("describe-group ") {
            return self.describe_group(name);
        }
        if let Some(given) = line.strip_prefix("start ") {
            let statics = given.split(' ').map(|pair| pair.split_once('=').unwrap()).collect();
            self.controller = Controller::new(CLUSTER, Settings { statics, ..settings() });
            self.append(&bootstrap::records(FEATURES));
            return Vec::new();
        }
        if let Some(disabled) = line.strip_prefix("restart delete.topic.enable=") {
            let delete_topic_enable = disabled == "true";
            let records = self.controller.image().records();
            self.controller = Controller::new(CLUSTER, Settings { delete_topic_enable, ..settings() });
            self.append(&records);
            return Vec::new();
        }
        let (command, shown_names) = self.parse(line);
        let decision = self.controller.decide(command, Timestamp(0));
        let mut lines: Vec<String> =
            decision.records.iter().map(|record| self.shown(record, &shown_names)).collect();
        self.append(&decision.records);
        lines.extend(answers(&decision.reply));
        lines
    }

    fn parse(&mut self, line: &str) -> (Command, Vec<(Uuid, String)>) {
        let mut words: Vec<&str> = line.split(' ').collect();
        let timeout = words.iter().position(|word| word.starts_with("timeout="));
        let timeout_ms = timeout.map_or(60_000, |at| words.remove(at)["timeout=".len()..].parse().unwrap());
        let verb = words.remove(0);
        let validate_only = verb.ends_with('?');
        match verb.trim_end_matches('?') {
            "broker" => (self.register(&words), Vec::new()),
            "unfence" => {
                let broker_id = words[0].parse().unwrap();
                let broker_epoch =
                    self.controller.image().brokers.get(&broker_id).map_or(-1, |broker| broker.epoch);
                let new_leader_epochs = words.contains(&"new-epochs");
                let unfence = UnfenceBroker { broker_id, broker_epoch, new_leader_epochs };
                (Command::UnfenceBroker(unfence), Vec::new())
            }
            "create" => {
                let topics: Vec<CreatableTopic> = words.join(" ").split(" | ").map(topic).collect();
                let ids: Vec<Uuid> = topics.iter().map(|_| self.fresh_id()).collect();
                let names = ids.iter().copied().zip(topics.iter().map(|topic| topic.name.clone())).collect();
                let request = CreateTopicsRequest { topics, timeout_ms, validate_only };
                (Command::CreateTopics(CreateTopics { request, topic_ids: ids, random: 1 }), names)
            }
            "grow" => {
                let topics = words.iter().map(|word| growth(word)).collect();
                let request = CreatePartitionsRequest { topics, timeout_ms, validate_only };
                (Command::CreatePartitions(CreatePartitions { request, random: 1 }), Vec::new())
            }
            "ids" => {
                let (broker_id, broker_epoch) = (words[0].parse().unwrap(), words[1].parse().unwrap());
                (Command::AllocateProducerIds(AllocateProducerIds { broker_id, broker_epoch }), Vec::new())
            }
            "alter" | "replace" => {
                let replaces_all = verb.starts_with("replace");
                let resources = words.join(" ");
                let resources = resources.split(" | ").filter(|it| !it.is_empty());
                let resources = resources.map(|it| altered(it, replaces_all)).collect();
                (Command::AlterConfigs(AlterConfigs { resources, validate_only }), Vec::new())
            }
            delete => {
                let version = delete.strip_prefix("delete").expect("a command");
                let version = version.strip_prefix('@').map_or(6, |version| version.parse().unwrap());
                (self.delete(version, &words, timeout_ms), Vec::new())
            }
        }
    }

    fn fresh_id(&mut self) -> Uuid {
        self.topics_seen += 1;
        Uuid::from_u64_pair(7, self.topics_seen)
    }

    fn register(&self, words: &[&str]) -> Command {
        let option = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let broker_id: i32 = words[0].parse().unwrap();
        let dirs = option("dir").map_or(vec![broker_id as u64], |dirs| {
            dirs.split(',').filter(|dir| !dir.is_empty()).map(|dir| dir.parse().unwrap()).collect()
        });
        let high = if words.contains(&"reserved") { 0 } else { 9 };
        let feature = |it: &cluster::metadata::features::Feature| Feature {
            name: it.name.to_owned(),
            min_supported_version: it.min,
            max_supported_version: it.max,
        };
        let request = BrokerRegistrationRequest {
            broker_id,
            cluster_id: option("cluster").unwrap_or(CLUSTER).to_owned(),
            incarnation_id: Uuid::from_u64_pair(8, option("incarnation").unwrap_or("1").parse().unwrap()),
            listeners: vec![Listener {
                name: "PLAINTEXT".into(),
                host: "h".into(),
                port: 9092,
                security_protocol: option("protocol").unwrap_or("0").parse().unwrap(),
            }],
            features: FEATURES.iter().filter(|it| option("without") != Some(it.name)).map(feature).collect(),
            rack: option("rack").map(str::to_owned),
            log_dirs: dirs.iter().map(|&dir| Uuid::from_u64_pair(high, dir)).collect(),
            ..BrokerRegistrationRequest::default()
        };
        let session_is_valid = words.contains(&"live");
        Command::RegisterBroker(RegisterBroker { request, epoch: self.offset, session_is_valid })
    }

    fn delete(&self, version: i16, words: &[&str], timeout_ms: i32) -> Command {
        let id = |name: &str| {
            let topic = self.controller.image().topics.by_name(name);
            topic.map_or(Uuid::from_u64_pair(6, 6), |topic| topic.id)
        };
        let state = |word: &&str| match word.split_once('#') {
            None if *word == "-" => DeleteTopicState { name: None, topic_id: Uuid::ZERO },
            None => DeleteTopicState { name: Some((*word).to_owned()), topic_id: Uuid::ZERO },
            Some(("", name)) => DeleteTopicState { name: None, topic_id: id(name) },
            Some((name, other)) => DeleteTopicState { name: Some(name.to_owned()), topic_id: id(other) },
        };
        let states: Vec<DeleteTopicState> = words.iter().map(state).collect();
        let request = if version >= 6 {
            DeleteTopicsRequest { topics: states, timeout_ms, ..DeleteTopicsRequest::default() }
        } else {
            let topic_names = states.into_iter().map(|state| state.name.unwrap()).collect();
            DeleteTopicsRequest { topic_names, timeout_ms, ..DeleteTopicsRequest::default() }
        };
        Command::DeleteTopics(DeleteTopics { request, version })
    }

    fn describe(&mut self, line: &str) -> Vec<String> {
        let topics = vec![topic(line)];
        let request = CreateTopicsRequest { topics, timeout_ms: 1, validate_only: true };
        let topic_ids = vec![self.fresh_id()];
        let decision = self.controller.create_topics(&CreateTopics { request, topic_ids, random: 1 });
        let created = &decision.reply.topics[0];
        let interesting = created.configs.iter().flatten().filter(|config| config.config_source != 5);
        let mut lines = vec![format!("{} settings", created.configs.as_ref().map_or(0, Vec::len))];
        lines.extend(interesting.map(|config| {
            format!(
                "{}={:?} from {}",
                config.name,
                config.value.as_deref().unwrap_or("null"),
                config.config_source
            )
        }));
        lines
    }

    fn describe_group(&self, name: &str) -> Vec<String> {
        let statics = Overrides::default();
        let lines = self.controller.image().group_layers(name, 1, &statics).describe_group();
        let mut said = vec![format!("{} settings", lines.len())];
        let interesting = lines.into_iter().filter(|line| line.source != Source::Default);
        said.extend(interesting.map(|line| {
            let synonym = |it: &DescribedSynonym| {
                format!(" {}:{}={}", it.source.code(), it.name, it.value.as_deref().unwrap_or("null"))
            };
            let synonyms: String = line.synonyms.iter().map(synonym).collect();
            format!("{}={}{synonyms}", line.name, line.value.as_deref().unwrap_or("null"))
        }));
        said
    }

    fn shown(&self, record: &MetadataRecord, new: &[(Uuid, String)]) -> String {
        let name = |id: Uuid| match self.controller.image().topics.by_id(id) {
            Some(topic) => topic.name.to_string(),
            None => new.iter().find(|(new, _)| *new == id).map_or("?".to_owned(), |(_, name)| name.clone()),
        };
        match record {
            MetadataRecord::Topic(it) => format!("+ topic {}", it.name),
            MetadataRecord::Config(it) => {
                let value = it.value.as_deref().unwrap_or("null");
                let resource = shortened(&it.resource_name);
                format!("+ config {} {resource} {}={value}", it.resource_type, it.name)
            }
            MetadataRecord::Partition(it) => format!(
                "+ partition {}-{} replicas={:?} isr={:?} leader={} directories={}",
                name(it.topic_id),
                it.partition_id,
                it.replicas,
                it.isr,
                it.leader,
                it.directories.iter().map(place).collect::<Vec<_>>().join(",")
            ),
            MetadataRecord::PartitionChange(it) => format!(
                "+ change {}-{} leader={} isr={:?} elr={:?} last-known-elr={:?}",
                name(it.topic_id),
                it.partition_id,
                it.leader,
                it.isr,
                it.eligible_leader_replicas,
                it.last_known_elr
            ),
            MetadataRecord::RemoveTopic(it) => format!("+ remove {}", name(it.topic_id)),
            MetadataRecord::ClearElr(it) => format!("+ clear-elr {}", it.topic_name),
            MetadataRecord::RegisterBroker(it) => {
                format!(
                    "+ register {} epoch={} fenced={} rack={:?}",
                    it.broker_id, it.broker_epoch, it.fenced, it.rack
                )
            }
            MetadataRecord::BrokerRegistrationChange(it) => {
                format!(
                    "+ registration-change {} epoch={} fenced={}",
                    it.broker_id, it.broker_epoch, it.fenced
                )
            }
            MetadataRecord::ProducerIds(it) => {
                format!(
                    "+ producer-ids broker={} epoch={} next={}",
                    it.broker_id, it.broker_epoch, it.next_producer_id
                )
            }
            other => panic!("scripts do not know {other:?}"),
        }
    }
}

fn short(id: Uuid) -> String {
    (u128::from_be_bytes(id.0) as u64).to_string()
}

fn place(id: &Uuid) -> String {
    match *id {
        directory::UNASSIGNED => "unassigned".to_owned(),
        id => short(id),
    }
}

fn ids(list: &str) -> Vec<i32> {
    list.split(',').filter(|id| !id.is_empty()).map(|id| id.parse().unwrap()).collect()
}

fn topic(text: &str) -> CreatableTopic {
    let mut words = text.split(' ');
    let name = words.next().unwrap();
    let name = if let Some(length) = name.strip_prefix("x*") {
        "x".repeat(length.parse().unwrap())
    } else {
        name.into()
    };
    let name = if name == "\"\"" { String::new() } else { name.replace('%', " ") };
    let mut topic =
        CreatableTopic { name, num_partitions: -1, replication_factor: -1, ..CreatableTopic::default() };
    for word in words {
        let (key, value) = word.split_once('=').expect("key=value");
        match key {
            "p" => topic.num_partitions = value.parse().unwrap(),
            "r" => topic.replication_factor = value.parse().unwrap(),
            "a" => {
                let assignment = |one: &str| {
                    let (index, brokers) = one.split_once(':').unwrap();
                    CreatableReplicaAssignment {
                        partition_index: index.parse().unwrap(),
                        broker_ids: ids(brokers),
                    }
                };
                topic.assignments = value.split(';').map(assignment).collect();
            }
            key => topic.configs.push(CreatableTopicConfig {
                name: key.to_owned(),
                value: (value != "~").then(|| value.replace('%', " ")),
            }),
        }
    }
    topic
}

fn altered(text: &str, replaces_all: bool) -> Altered {
    let mut words = text.split(' ');
    let kind = match words.next().unwrap() {
        "topic" => 2,
        "broker" => 4,
        "group" => 32,
        number => number.parse().unwrap(),
    };
    let name = match words.next().unwrap() {
        "\"\"" => String::new(),
        name => repeated(name).replace('%', " "),
    };
    Altered { kind, name, changes: words.flat_map(changes).collect(), replaces_all }
}

fn changes(word: &str) -> Vec<Change> {
    let change = |name: &str, operation: i8, value: Option<&str>| Change {
        name: name.replace('%', " "),
        operation,
        value: value.filter(|value| *value != "~").map(|value| repeated(value).replace('%', " ")),
    };
    if let Some(count) = word.strip_prefix("unknown*") {
        let count: usize = count.parse().unwrap();
        return (0..count).map(|at| change(&format!("unknown-{at}"), 1, None)).collect();
    }
    let Some((name, value)) = word.split_once('=') else {
        return vec![change(word.strip_prefix('-').expect("-S"), 1, None)];
    };
    let (name, operation) = match name.split_once('@') {
        Some((name, operation)) => (name, operation.parse().unwrap()),
        None => match (name.strip_suffix('+'), name.strip_suffix('-')) {
            (Some(name), _) => (name, 2),
            (_, Some(name)) => (name, 3),
            _ => (name, 0),
        },
    };
    vec![change(name, operation, Some(value))]
}

/// `x*5` is five of them.
fn repeated(text: &str) -> String {
    match text.rsplit_once('*') {
        Some((text, count)) if !text.is_empty() => text.repeat(count.parse().unwrap()),
        _ => text.to_owned(),
    }
}

fn growth(word: &str) -> CreatePartitionsTopic {
    let (name, rest) = word.split_once('=').expect("name=count");
    let (count, assignments) = match rest.split_once(':') {
        None => (rest, None),
        Some((count, list)) => {
            let one = |brokers: &str| CreatePartitionsAssignment { broker_ids: ids(brokers) };
            (
                count,
                Some(
                    list.split(';')
                        .filter(|one| !one.is_empty())
                        .map(|it| one(it.trim_matches('.')))
                        .collect(),
                ),
            )
        }
    };
    CreatePartitionsTopic { name: name.to_owned(), count: count.parse().unwrap(), assignments }
}

/// One line for each part of an answer: what it is about, error code, message.
fn answers(reply: &Reply) -> Vec<String> {
    let line = |about: &str, code: i16, message: Option<&str>| match message {
        Some(message) => format!("{about} {code} {message}"),
        None => format!("{about} {code}"),
    };
    match reply {
        Reply::CreateTopics(it) => it
            .topics
            .iter()
            .map(|topic| match topic.error_code {
                0 => format!("{} ok {}x{}", topic.name, topic.num_partitions, topic.replication_factor),
                code => line(&topic.name, code, topic.error_message.as_deref()),
            })
            .collect(),
        Reply::DeleteTopics(it) => it
            .responses
            .iter()
            .map(|topic| {
                let about = format!("{}#{}", topic.name.as_deref().unwrap_or("~"), short(topic.topic_id));
                line(&about, topic.error_code, topic.error_message.as_deref())
            })
            .collect(),
        Reply::CreatePartitions(it) => it
            .results
            .iter()
            .map(|topic| line(&topic.name, topic.error_code, topic.error_message.as_deref()))
            .collect(),
        Reply::RegisterBroker(done) => vec![match done {
            Ok(epoch) => format!("epoch {epoch}"),
            Err(refused) => line("refused", refused.code.0, refused.message.as_deref()),
        }],
        Reply::UnfenceBroker(done) => vec![match done {
            Ok(()) => "ok".to_owned(),
            Err(refused) => line("refused", refused.code.0, refused.message.as_deref()),
        }],
        Reply::AlterConfigs(outcomes) => {
            let outcome = |done: &Result<(), Refused>| match done {
                Ok(()) => "ok".to_owned(),
                Err(refused) => {
                    let message = refused.message.as_deref().map(shortened);
                    line("refused", refused.code.0, message.as_deref())
                }
            };
            outcomes.iter().map(outcome).collect()
        }
        Reply::AllocateProducerIds(done) => vec![match done {
            Ok(block) => format!("ids {block:?}"),
            Err(refused) => line("refused", refused.code.0, refused.message.as_deref()),
        }],
    }
}

fn shortened(text: &str) -> String {
    if text.len() <= 300 { text.to_owned() } else { format!("{}... ({} bytes)", &text[..60], text.len()) }
}
