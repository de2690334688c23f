//! CreateTopics: names, configurations, counts and manual assignments are checked, replicas are placed.

use std::collections::BTreeSet;

use protocol::error_code::ErrorCode;
use protocol::ids::Uuid;
use protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use protocol::messages::{
    ClearElrRecord, ConfigRecord, CreateTopicsRequest, CreateTopicsResponse, TopicRecord,
};

use super::topic_name::{CLUSTER_METADATA, unified};
use super::{Controller, RECORDS_MAX, Refused, TOO_MANY_RECORDS, invalid_topic_name, placement};
use crate::machine::Decision;
use crate::metadata::features::ELIGIBLE_LEADER_REPLICAS;
use crate::metadata::{Layers, MetadataRecord, Overrides, ResourceKind};
use crate::setting::Value;
use crate::topic_settings::{self, TOPIC_SETTINGS};

/// New topics, some of which may be refused.
#[derive(Clone, Debug)]
pub struct CreateTopics {
    pub request: CreateTopicsRequest,
    /// Fresh random ids, one for each topic of the request.
    pub topic_ids: Vec<Uuid>,
    /// Any number; it decides which brokers get which partitions.
    pub random: u64,
}

/// A topic that can be created.
struct Created {
    records: Vec<MetadataRecord>,
    result: CreatableTopicResult,
}

/// Replicas by partition index.
type Assignments = Vec<Vec<i32>>;

impl CreateTopics {
    /// Topics with the defaults of the cluster: what asking for unknown topics creates.
    pub fn with_defaults(names: Vec<String>, topic_ids: Vec<Uuid>, random: u64) -> Self {
        let topic = |name| CreatableTopic {
            name,
            num_partitions: -1,
            replication_factor: -1,
            ..CreatableTopic::default()
        };
        let topics = names.into_iter().map(topic).collect();
        Self { request: CreateTopicsRequest { topics, ..CreateTopicsRequest::default() }, topic_ids, random }
    }
}

impl Controller {
    pub fn create_topics(&self, command: &CreateTopics) -> Decision<MetadataRecord, CreateTopicsResponse> {
        let CreateTopics { request, topic_ids, random } = command;
        assert!(topic_ids.len() >= request.topics.len(), "an id for each topic");
        // Kafka: a deadline that has passed is one before anything is looked at.
        if request.timeout_ms <= 0 {
            return all_refused(request, &Refused::plain(ErrorCode::REQUEST_TIMED_OUT));
        }
        let (once, odd) = split(request);
        if self.partitions_asked_for(&once) > RECORDS_MAX as i64 {
            let message = "Excessively large number of partitions per request.";
            return all_refused(request, &Refused::new(ErrorCode::POLICY_VIOLATION, message));
        }
        let mut records = Vec::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for (at, topic) in once {
            match self.create_topic(topic, topic_ids[at], random.wrapping_add(at as u64)) {
                Ok(created) => {
                    records.extend(created.records);
                    topics.push(created.result);
                }
                Err(refused) => topics.push(refusal(&topic.name, refused)),
            }
        }
        if records.len() > RECORDS_MAX {
            return all_refused(request, &Refused::new(ErrorCode::POLICY_VIOLATION, TOO_MANY_RECORDS));
        }
        topics.extend(odd);
        if request.validate_only {
            records.clear();
        }
        Decision { records, reply: CreateTopicsResponse { topics, ..CreateTopicsResponse::default() } }
    }

    fn partitions_asked_for(&self, topics: &[(usize, &CreatableTopic)]) -> i64 {
        let count =
            |(_, topic): &(usize, &CreatableTopic)| match (topic.assignments.len(), topic.num_partitions) {
                (0, -1) => i64::from(self.settings.num_partitions),
                (0, count) => i64::from(count.max(0)),
                (assigned, _) => assigned as i64,
            };
        topics.iter().map(count).sum()
    }

    fn create_topic(&self, topic: &CreatableTopic, id: Uuid, random: u64) -> Result<Created, Refused> {
        self.check_name(&topic.name)?;
        let overrides = self.check_configs(topic)?;
        let assignments = self.assign(topic, random)?;
        let name = topic.name.clone();
        let mut records = vec![MetadataRecord::Topic(TopicRecord { name, topic_id: id })];
        records.extend(config_records(topic));
        if overrides.get("min.insync.replicas").is_some() && self.image.feature(ELIGIBLE_LEADER_REPLICAS) > 0
        {
            let topic_name = topic.name.clone();
            records.push(MetadataRecord::ClearElr(ClearElrRecord { topic_name }));
        }
        for (index, replicas) in (0..).zip(&assignments) {
            records.push(self.new_partition(index, id, replicas).expect("an active replica was assigned"));
        }
        let result = CreatableTopicResult {
            name: topic.name.clone(),
            topic_id: id,
            num_partitions: assignments.len() as i32,
            replication_factor: assignments[0].len() as i16,
            error_message: None,
            configs: Some(self.effective_configs(&overrides)),
            ..CreatableTopicResult::default()
        };
        Ok(Created { records, result })
    }

    fn check_name(&self, name: &str) -> Result<(), Refused> {
        if self.image.topics.by_name(name).is_some() {
            let message = format!("Topic '{name}' already exists.");
            return Err(Refused::new(ErrorCode::TOPIC_ALREADY_EXISTS, message));
        }
        if let Some(reason) = invalid_topic_name(name) {
            return Err(Refused::new(ErrorCode::INVALID_TOPIC_EXCEPTION, reason));
        }
        if let Some(unified) = unified(name)
            && let Some(existing) = self.look_alikes.get(&*unified).and_then(|names| names.first())
        {
            let message = format!("Topic '{name}' collides with existing topic: {existing}");
            return Err(Refused::new(ErrorCode::INVALID_TOPIC_EXCEPTION, message));
        }
        Ok(())
    }

    /// What the topic sets, once all of it is known to be good.
    fn check_configs(&self, topic: &CreatableTopic) -> Result<Overrides, Refused> {
        let refused = |message: String| Err(Refused::new(ErrorCode::INVALID_CONFIG, message));
        let nulls: Vec<&str> =
            topic.configs.iter().filter(|it| it.value.is_none()).map(|it| it.name.as_str()).collect();
        if !nulls.is_empty() {
            return refused(format!("Null value not supported for topic configs: {}", nulls.join(",")));
        }
        // Order: before anything is collected, so that only settings that there are take room.
        if let Some(unknown) = topic.configs.iter().find(|it| topic_settings::find(&it.name).is_none()) {
            return refused(format!("Unknown topic config name: {}", unknown.name));
        }
        // Kafka: of a setting given twice the last counts.
        let mut overrides = Overrides::default();
        for config in &topic.configs {
            overrides.set(&config.name, config.value.as_deref().expect("nulls were refused"));
        }
        self.check_overrides(&overrides)?;
        Ok(overrides)
    }

    /// Whether a topic may have these settings.
    pub(super) fn check_overrides(&self, overrides: &Overrides) -> Result<(), Refused> {
        let refused = |message: String| Err(Refused::new(ErrorCode::INVALID_CONFIG, message));
        if let Some((unknown, _)) = overrides.iter().find(|(name, _)| topic_settings::find(name).is_none()) {
            return refused(format!("Unknown topic config name: {unknown}"));
        }
        for topic in TOPIC_SETTINGS {
            if let Some(Err(invalid)) =
                overrides.get(topic.setting.name).map(|text| topic.setting.parse(text))
            {
                return refused(invalid.0);
            }
        }
        self.check_together(overrides)
    }

    /// What no setting alone can get wrong.
    fn check_together(&self, overrides: &Overrides) -> Result<(), Refused> {
        let layers = self.layers(overrides);
        let value = |name: &str| -> Option<Value> {
            let topic = topic_settings::find(name).expect("in the table");
            topic.setting.parse(&layers.resolve(topic).0?).ok()
        };
        let lag = |name: &str| value(name).and_then(|value| value.as_i64());
        if let (Some(min), Some(max)) = (lag("min.compaction.lag.ms"), lag("max.compaction.lag.ms"))
            && min > max
        {
            let message = format!(
                "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
            );
            return Err(Refused::new(ErrorCode::INVALID_CONFIG, message));
        }
        if value("remote.storage.enable") == Some(Value::Boolean(true)) {
            let message = "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with \
                           remote log storage.";
            return Err(Refused::new(ErrorCode::INVALID_CONFIG, message));
        }
        Ok(())
    }

    fn layers<'a>(&'a self, overrides: &'a Overrides) -> Layers<'a> {
        Layers {
            own: Some(overrides),
            ..self.image.topic_layers("", self.settings.node_id, &self.settings.statics)
        }
    }

    fn assign(&self, topic: &CreatableTopic, random: u64) -> Result<Assignments, Refused> {
        if !topic.assignments.is_empty() {
            return self.assign_by_hand(topic);
        }
        if topic.replication_factor < -1 || topic.replication_factor == 0 {
            let message = "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err(Refused::new(ErrorCode::INVALID_REPLICATION_FACTOR, message));
        }
        if topic.num_partitions < -1 || topic.num_partitions == 0 {
            let message = "Number of partitions was set to an invalid non-positive value.";
            return Err(Refused::new(ErrorCode::INVALID_PARTITIONS, message));
        }
        let or_default = |asked: i32, default: i32| if asked == -1 { default } else { asked };
        let count = or_default(topic.num_partitions, self.settings.num_partitions);
        let factor = match topic.replication_factor {
            -1 => self.settings.default_replication_factor,
            asked => asked,
        };
        self.place(count as usize, factor, random).map_err(|reason| {
            let message = format!("Unable to replicate the partition {factor} time(s): {reason}");
            Refused::new(ErrorCode::INVALID_REPLICATION_FACTOR, message)
        })
    }

    /// Replicas of new partitions, each with one that can lead.
    pub(super) fn place(&self, count: usize, factor: i16, random: u64) -> Result<Assignments, String> {
        placement::place(self.image.brokers.values(), count, factor, random)
    }

    fn assign_by_hand(&self, topic: &CreatableTopic) -> Result<Assignments, Refused> {
        let both = |what: &str| {
            let message =
                format!("A manual partition assignment was specified, but {what} was not set to -1.");
            Err(Refused::new(ErrorCode::INVALID_REQUEST, message))
        };
        if topic.replication_factor != -1 {
            return both("replication factor");
        }
        if topic.num_partitions != -1 {
            return both("numPartitions");
        }
        let refused = |message: String| Err(Refused::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
        let mut factor = None;
        let mut seen = BTreeSet::new();
        for CreatableReplicaAssignment { partition_index, broker_ids } in &topic.assignments {
            if !seen.insert(*partition_index) {
                return refused(format!(
                    "Found multiple manual partition assignments for partition {partition_index}"
                ));
            }
            self.check_replicas(*partition_index, broker_ids, factor)?;
            factor = Some(broker_ids.len());
        }
        if !seen.iter().copied().eq(0..seen.len() as i32) {
            return refused("partitions should be a consecutive 0-based integer sequence".to_owned());
        }
        let mut assignments = topic.assignments.clone();
        assignments.sort_by_key(|it| it.partition_index);
        Ok(assignments.into_iter().map(|it| it.broker_ids).collect())
    }

    /// Checks replicas that a client chose for a partition. `factor`: how many the partitions before it have.
    pub(super) fn check_replicas(
        &self,
        partition: i32,
        replicas: &[i32],
        factor: Option<usize>,
    ) -> Result<(), Refused> {
        let refused = |message: String| Err(Refused::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
        if replicas.is_empty() {
            return refused("The manual partition assignment includes an empty replica list.".to_owned());
        }
        let mut sorted = replicas.to_vec();
        sorted.sort_unstable();
        for (at, id) in sorted.iter().enumerate() {
            if !self.image.brokers.contains_key(id) {
                return refused(format!(
                    "The manual partition assignment includes broker {id}, but no such broker is registered."
                ));
            }
            if at > 0 && sorted[at - 1] == *id {
                return refused(format!(
                    "The manual partition assignment includes the broker {id} more than once."
                ));
            }
        }
        if let Some(factor) = factor.filter(|&factor| factor != replicas.len()) {
            return refused(format!(
                "The manual partition assignment includes a partition with {} replica(s), but this is not consistent \
                 with previous partitions, which have {factor} replica(s).",
                replicas.len()
            ));
        }
        if !replicas.iter().any(|id| self.image.brokers[id].is_active()) {
            return refused(format!(
                "All brokers specified in the manual partition assignment for partition {partition} are fenced or in \
                 controlled shutdown."
            ));
        }
        Ok(())
    }

    /// Every setting of a new topic and where it comes from, by name.
    fn effective_configs(&self, overrides: &Overrides) -> Vec<CreatableTopicConfigs> {
        let layers = self.layers(overrides);
        let mut configs: Vec<CreatableTopicConfigs> = TOPIC_SETTINGS
            .iter()
            .filter_map(|topic| {
                let (value, source) = layers.resolve(topic);
                // Kafka: the text as it was given.
                let value = value.map(std::borrow::Cow::into_owned);
                (!topic.is_internal || value.is_some()).then(|| CreatableTopicConfigs {
                    name: topic.setting.name.to_owned(),
                    value,
                    read_only: false,
                    config_source: source.code(),
                    is_sensitive: false,
                })
            })
            .collect();
        configs.sort_by(|a, b| a.name.cmp(&b.name));
        configs
    }
}

/// The topics to create with their places in the request, and answers for those that are named twice or are not for
/// clients.
fn split(request: &CreateTopicsRequest) -> (Vec<(usize, &CreatableTopic)>, Vec<CreatableTopicResult>) {
    let mut names = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for topic in &request.topics {
        if !names.insert(topic.name.as_str()) {
            twice.insert(topic.name.as_str());
        }
    }
    let is_good = |(_, topic): &(usize, &CreatableTopic)| {
        topic.name != CLUSTER_METADATA && !twice.contains(topic.name.as_str())
    };
    let once = request.topics.iter().enumerate().filter(is_good).collect();
    let refused = |message: &str| Refused::new(ErrorCode::INVALID_REQUEST, message);
    let mut odd: Vec<_> = twice.iter().map(|name| refusal(name, refused("Duplicate topic name."))).collect();
    if names.contains(CLUSTER_METADATA) && !twice.contains(CLUSTER_METADATA) {
        let message = format!("Creation of internal topic {CLUSTER_METADATA} is prohibited.");
        odd.push(refusal(CLUSTER_METADATA, refused(&message)));
    }
    (once, odd)
}

/// One record for each setting, with what was said of it last.
fn config_records(topic: &CreatableTopic) -> Vec<MetadataRecord> {
    let mut seen = BTreeSet::new();
    let last = topic.configs.iter().rev().filter(|config| seen.insert(config.name.as_str()));
    let mut records: Vec<MetadataRecord> = last
        .map(|config| {
            MetadataRecord::Config(ConfigRecord {
                resource_type: ResourceKind::Topic.code(),
                resource_name: topic.name.clone(),
                name: config.name.clone(),
                value: config.value.clone(),
            })
        })
        .collect();
    records.reverse();
    records
}

fn all_refused(
    request: &CreateTopicsRequest,
    refused: &Refused,
) -> Decision<MetadataRecord, CreateTopicsResponse> {
    let topics = request.topics.iter().map(|topic| refusal(&topic.name, refused.clone())).collect();
    Decision::answer(CreateTopicsResponse { topics, ..CreateTopicsResponse::default() })
}

fn refusal(name: &str, refused: Refused) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.to_owned(),
        error_code: refused.code.0,
        error_message: refused.message,
        ..CreatableTopicResult::default()
    }
}
