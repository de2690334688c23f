//! Topics as the cluster's metadata shows them, and the offsets of their partitions.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use protocol::error_code::ErrorCode;
use protocol::ids::Uuid;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use protocol::messages::{ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse};

use super::{Client, ClientError, To, address_of};

/// Timestamps that ListOffsets takes for ends of the log.
pub(crate) const LATEST: i64 = -1;
pub(crate) const EARLIEST: i64 = -2;

/// A topic that was made a moment ago may not be known everywhere yet.
const PATIENCE_FOR_NEWS: Duration = Duration::from_millis(500);
const PATIENCE_FOR_CREATION: Duration = Duration::from_secs(5);

/// What to do about a topic that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Fails,
    /// The broker makes it, if it is configured so.
    IsCreated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

impl Isolation {
    pub(crate) fn level(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// By partition. Each succeeds or fails by itself.
pub(crate) type Offsets = BTreeMap<i32, Result<i64, ClientError>>;

#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    /// Zero where the broker is too old to have ids.
    pub(crate) id: Uuid,
    pub(crate) is_internal: bool,
    /// By index.
    pub(crate) partitions: Vec<Partition>,
}

#[derive(Clone, Debug)]
pub(crate) struct Partition {
    pub(crate) index: i32,
    pub(crate) leader: Option<i32>,
    pub(crate) leader_epoch: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) isr: Vec<i32>,
    pub(crate) offline: Vec<i32>,
}

impl Topic {
    pub(crate) fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.index == index)
    }

    /// Who leads a partition; an error that passes if nobody does.
    pub(crate) fn leader(&self, index: i32) -> Result<i32, ClientError> {
        let refused =
            |code| ClientError::Refused { what: format!("{} [{index}]", self.name), code, message: None };
        let partition =
            self.partition(index).ok_or_else(|| refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))?;
        partition.leader.ok_or_else(|| refused(ErrorCode::LEADER_NOT_AVAILABLE))
    }

    /// The newest version in which this topic can be named: ids took the place of names.
    pub(crate) fn version_max(&self, ids_from: i16) -> i16 {
        if self.id.is_zero() { ids_from - 1 } else { i16::MAX }
    }
}

impl Client {
    /// All topics, by name.
    pub(crate) fn topics(&mut self) -> Result<Vec<Topic>, ClientError> {
        let answer = self.metadata(None, Missing::Fails)?;
        // A topic that is deleted right now is listed with an error and no partitions.
        let whole = answer.topics.into_iter().filter(|topic| topic.error_code == 0);
        let mut topics: Vec<Topic> = whole.filter_map(Topic::of).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// One topic. Waits a little for one that the cluster does not know yet.
    pub(crate) fn topic(&mut self, name: &str, missing: Missing) -> Result<Topic, ClientError> {
        let started = Instant::now();
        let patience = match missing {
            Missing::Fails => PATIENCE_FOR_NEWS,
            Missing::IsCreated => PATIENCE_FOR_CREATION.min(self.timeout()),
        };
        self.retry(|client| match client.look_up(name, missing) {
            Err(error)
                if error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
                    && started.elapsed() >= patience =>
            {
                Err(ClientError::NoSuchTopic(name.to_owned()))
            }
            other => other,
        })
    }

    fn look_up(&mut self, name: &str, missing: Missing) -> Result<Topic, ClientError> {
        let answer = self.metadata(Some(name), missing)?;
        let found = answer.topics.into_iter().find(|topic| topic.name.as_deref() == Some(name));
        let unknown = || ClientError::NoSuchTopic(name.to_owned());
        let found = found.ok_or_else(unknown)?;
        ClientError::check(found.error_code, None, || format!("topic {name}"))?;
        Topic::of(found).ok_or_else(unknown)
    }

    /// Learns which brokers there are.
    pub(crate) fn meet_brokers(&mut self) -> Result<(), ClientError> {
        self.ask_metadata(Some(Vec::new()), Missing::Fails).map(|_| ())
    }

    fn metadata(&mut self, topic: Option<&str>, missing: Missing) -> Result<MetadataResponse, ClientError> {
        let named = |name: &str| MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() };
        self.ask_metadata(topic.map(|name| vec![named(name)]), missing)
    }

    fn ask_metadata(
        &mut self,
        topics: Option<Vec<MetadataRequestTopic>>,
        missing: Missing,
    ) -> Result<MetadataResponse, ClientError> {
        let request = MetadataRequest {
            topics,
            allow_auto_topic_creation: missing == Missing::IsCreated,
            ..Default::default()
        };
        let answer: MetadataResponse = self.ask(To::Any, &request, i16::MAX)?;
        ClientError::check(answer.error_code, None, || "cluster metadata".to_owned())?;
        let brokers = answer.brokers.iter();
        self.brokers =
            brokers.map(|broker| (broker.node_id, address_of(&broker.host, broker.port))).collect();
        Ok(answer)
    }

    /// The offset of the first record that is not older, or of an end of the log, for each partition with its own
    /// timestamp. -1 where no record is so young.
    pub(crate) fn offsets(
        &mut self,
        topic: &Topic,
        timestamps: &[(i32, i64)],
        isolation: Isolation,
    ) -> Offsets {
        let mut found = Offsets::new();
        let mut by_leader: BTreeMap<i32, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for (index, timestamp) in timestamps {
            match topic.leader(*index) {
                Ok(leader) => by_leader.entry(leader).or_default().push(ListOffsetsPartition {
                    partition_index: *index,
                    current_leader_epoch: -1,
                    timestamp: *timestamp,
                }),
                Err(error) => {
                    found.insert(*index, Err(error));
                }
            }
        }
        for (leader, partitions) in by_leader {
            let asked: Vec<i32> = partitions.iter().map(|partition| partition.partition_index).collect();
            match self.ask_offsets(topic, leader, partitions, isolation) {
                Ok(offsets) => found.extend(offsets),
                // Told once per leader; the other partitions wait for the same broker.
                Err(error) => found.extend(asked.first().map(|index| (*index, Err(error)))),
            }
        }
        for (index, _) in timestamps {
            found.entry(*index).or_insert_with(|| {
                let what = format!("{} [{index}]", topic.name);
                Err(ClientError::Refused { what, code: ErrorCode::NETWORK_EXCEPTION, message: None })
            });
        }
        found
    }

    fn ask_offsets(
        &mut self,
        topic: &Topic,
        leader: i32,
        partitions: Vec<ListOffsetsPartition>,
        isolation: Isolation,
    ) -> Result<Offsets, ClientError> {
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: isolation.level(),
            topics: vec![ListOffsetsTopic { name: topic.name.clone(), partitions }],
            timeout_ms: self.timeout().as_millis().try_into().unwrap_or(i32::MAX),
        };
        let answer: ListOffsetsResponse = self.ask(To::Node(leader), &request, i16::MAX)?;
        let partitions = answer.topics.into_iter().flat_map(|topic| topic.partitions);
        let offset = |partition: ListOffsetsPartitionResponse| {
            let index = partition.partition_index;
            let what = || format!("offsets of {} [{index}]", topic.name);
            (index, ClientError::check(partition.error_code, None, what).map(|()| partition.offset))
        };
        Ok(partitions.map(offset).collect())
    }
}

impl Topic {
    fn of(answer: MetadataResponseTopic) -> Option<Self> {
        let mut partitions: Vec<Partition> = answer.partitions.into_iter().map(Partition::of).collect();
        partitions.sort_by_key(|partition| partition.index);
        Some(Self { name: answer.name?, id: answer.topic_id, is_internal: answer.is_internal, partitions })
    }
}

impl Partition {
    fn of(answer: MetadataResponsePartition) -> Self {
        Self {
            index: answer.partition_index,
            leader: (answer.leader_id >= 0).then_some(answer.leader_id),
            leader_epoch: answer.leader_epoch,
            replicas: answer.replica_nodes,
            isr: answer.isr_nodes,
            offline: answer.offline_replicas,
        }
    }
}
