//! What is asked before and after the load: topics, leaders, offsets, producer ids. Tries again until a deadline.

use std::collections::{BTreeMap, HashMap};
use std::thread;
use std::time::{Duration, Instant};

use protocol::error_code::ErrorCode;
use protocol::ids::Uuid;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, InitProducerIdRequest, InitProducerIdResponse,
    ListOffsetsRequest, ListOffsetsResponse, Message, MetadataRequest, MetadataResponse,
};

use super::connection::{Connection, Served};
use super::error::ClientError;

const KAFKA_PORT: u16 = 9092;
const PAUSE: Duration = Duration::from_millis(50);
const NEWEST: i16 = i16::MAX;
/// What coordinators are asked for.
const GROUPS: i8 = 0;
/// From 6 on topics may be named by id alone, and are named in another field.
const DELETE_TOPICS_MAX: i16 = 5;

#[derive(Debug)]
pub(crate) struct Admin {
    bootstrap: Vec<String>,
    timeout: Duration,
    /// Addresses by node id, as the last metadata said.
    nodes: BTreeMap<i32, String>,
    controller: i32,
    connections: BTreeMap<String, Connection>,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug)]
enum To {
    Any,
    Controller,
    Node(i32),
}

/// The topics of a run: all with as many partitions, counted through as slots.
#[derive(Clone, Debug)]
pub(crate) struct TopicSet {
    pub(crate) names: Vec<String>,
    pub(crate) partitions: u32,
}

impl TopicSet {
    pub(crate) fn slots(&self) -> u32 {
        self.names.len() as u32 * self.partitions
    }

    pub(crate) fn name(&self, slot: u32) -> &str {
        &self.names[(slot / self.partitions) as usize]
    }

    pub(crate) fn partition(&self, slot: u32) -> i32 {
        (slot % self.partitions) as i32
    }

    pub(crate) fn slot(&self, topic: usize, partition: i32) -> Option<usize> {
        let partition = u32::try_from(partition).ok().filter(|partition| *partition < self.partitions)?;
        Some(topic * self.partitions as usize + partition as usize)
    }

    fn places(&self) -> HashMap<&str, usize> {
        self.names.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect()
    }
}

/// Offsets of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Earliest,
    Latest,
}

impl Admin {
    pub(crate) fn new(bootstrap: &str, timeout: Duration) -> Self {
        let bootstrap = bootstrap.split(',').map(with_port).collect();
        Self { bootstrap, timeout, nodes: BTreeMap::new(), controller: -1, connections: BTreeMap::new() }
    }

    /// Tries until it works, cannot work, or the deadline is over.
    pub(crate) fn retry<T>(
        &mut self,
        patience: Duration,
        mut attempt: impl FnMut(&mut Self) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let deadline = Instant::now() + patience;
        loop {
            match attempt(self) {
                Err(error) if error.is_retriable() && Instant::now() + PAUSE < deadline => {
                    thread::sleep(PAUSE)
                }
                done => return done,
            }
        }
    }

    fn ask<Q: Message, A: Message>(
        &mut self,
        to: To,
        request: &Q,
        version_max: i16,
    ) -> Result<A, ClientError> {
        let address = self.reach(to)?;
        let connection = self.connections.get_mut(&address).expect("reached a moment ago");
        let answer = connection.ask(request, version_max);
        if answer.as_ref().is_err_and(ClientError::ends_the_connection) {
            self.connections.remove(&address);
        }
        answer
    }

    /// The address of an open connection.
    fn reach(&mut self, to: To) -> Result<String, ClientError> {
        let node = match to {
            To::Any => None,
            To::Controller => self.nodes.get(&self.controller),
            To::Node(node) => self.nodes.get(&node),
        };
        let candidates: Vec<String> = match (node, to) {
            (Some(address), _) => vec![address.clone()],
            (None, To::Node(_)) => Vec::new(),
            (None, _) => {
                let open = self.connections.keys().next();
                open.into_iter().chain(&self.bootstrap).chain(self.nodes.values()).cloned().collect()
            }
        };
        let mut failed = None;
        for address in candidates {
            if self.connections.contains_key(&address) {
                return Ok(address);
            }
            match Connection::open(&address, self.timeout) {
                Ok(connection) => {
                    self.connections.insert(address.clone(), connection);
                    return Ok(address);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(|| ClientError::Unreachable {
            address: format!("{to:?}"),
            source: std::io::Error::other("the metadata names no such broker"),
        }))
    }

    /// Where a node listens and which versions it serves.
    pub(crate) fn node(&mut self, node: i32) -> Result<(String, Served), ClientError> {
        let address = self.reach(To::Node(node))?;
        let served = self.connections[&address].served().clone();
        Ok((address, served))
    }

    /// Forgets an address that answers no more.
    pub(crate) fn hang_up(&mut self, address: &str) {
        self.connections.remove(address);
    }

    pub(crate) fn create(
        &mut self,
        topics: &TopicSet,
        replication_factor: i16,
        config: &BTreeMap<String, String>,
    ) -> Result<(), ClientError> {
        self.metadata(&[])?;
        let configs = config
            .iter()
            .map(|(name, value)| CreatableTopicConfig { name: name.clone(), value: Some(value.clone()) })
            .collect::<Vec<_>>();
        let topic = |name: &String| CreatableTopic {
            name: name.clone(),
            num_partitions: topics.partitions as i32,
            replication_factor,
            assignments: Vec::new(),
            configs: configs.clone(),
        };
        let request = CreateTopicsRequest {
            topics: topics.names.iter().map(topic).collect(),
            timeout_ms: self.timeout.as_millis() as i32,
            validate_only: false,
        };
        let answer: CreateTopicsResponse = self.ask(To::Controller, &request, NEWEST)?;
        for topic in answer.topics {
            // From an attempt before whose answer was lost: nobody else has a name of this run.
            if ErrorCode(topic.error_code) != ErrorCode::TOPIC_ALREADY_EXISTS {
                let what = || format!("cannot create topic {}", topic.name);
                ClientError::check(topic.error_code, topic.error_message, what)?;
            }
        }
        Ok(())
    }

    pub(crate) fn delete(&mut self, topics: &TopicSet) -> Result<(), ClientError> {
        let by_name = DeleteTopicsRequest {
            topics: Vec::new(),
            topic_names: topics.names.clone(),
            timeout_ms: self.timeout.as_millis() as i32,
        };
        let answer: DeleteTopicsResponse = match self.ask(To::Controller, &by_name, DELETE_TOPICS_MAX) {
            Err(ClientError::Unserved { .. }) => {
                let named =
                    |name: &String| DeleteTopicState { name: Some(name.clone()), ..Default::default() };
                let topics = topics.names.iter().map(named).collect();
                let request = DeleteTopicsRequest { topics, topic_names: Vec::new(), ..by_name };
                self.ask(To::Controller, &request, NEWEST)?
            }
            answer => answer?,
        };
        for topic in answer.responses {
            if ErrorCode(topic.error_code) != ErrorCode::UNKNOWN_TOPIC_OR_PARTITION {
                let what = || format!("cannot delete topic {}", topic.name.unwrap_or_default());
                ClientError::check(topic.error_code, topic.error_message, what)?;
            }
        }
        Ok(())
    }

    fn metadata(&mut self, names: &[String]) -> Result<MetadataResponse, ClientError> {
        let topic = |name: &String| MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(names.iter().map(topic).collect()),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let answer: MetadataResponse = self.ask(To::Any, &request, NEWEST)?;
        let nodes = answer.brokers.iter();
        self.nodes = nodes.map(|node| (node.node_id, address_of(&node.host, node.port))).collect();
        self.controller = answer.controller_id;
        Ok(answer)
    }

    /// Who leads each slot; None where nobody does right now.
    pub(crate) fn leaders(&mut self, topics: &TopicSet) -> Result<Vec<Option<i32>>, ClientError> {
        let answer = self.metadata(&topics.names)?;
        let places = topics.places();
        let mut leaders = vec![None; topics.slots() as usize];
        for topic in answer.topics {
            let Some(&place) = topic.name.as_deref().and_then(|name| places.get(name)) else { continue };
            for partition in topic.partitions {
                if let Some(slot) = topics.slot(place, partition.partition_index)
                    && partition.leader_id >= 0
                {
                    leaders[slot] = Some(partition.leader_id);
                }
            }
        }
        Ok(leaders)
    }

    /// Beside the topics' names.
    pub(crate) fn topic_ids(&mut self, topics: &TopicSet) -> Result<Vec<Uuid>, ClientError> {
        let answer = self.metadata(&topics.names)?;
        let places = topics.places();
        let mut ids = vec![Uuid::ZERO; topics.names.len()];
        for topic in answer.topics {
            if let Some(&place) = topic.name.as_deref().and_then(|name| places.get(name)) {
                ids[place] = topic.topic_id;
            }
        }
        Ok(ids)
    }

    /// The nodes that coordinate these groups, in their order.
    pub(crate) fn coordinators(&mut self, groups: &[String]) -> Result<Vec<i32>, ClientError> {
        let request = FindCoordinatorRequest {
            key_type: GROUPS,
            coordinator_keys: groups.to_vec(),
            ..Default::default()
        };
        let answer: FindCoordinatorResponse = self.ask(To::Any, &request, NEWEST)?;
        let mut nodes = HashMap::new();
        for row in answer.coordinators {
            let what = || format!("nobody coordinates group {}", row.key);
            ClientError::check(row.error_code, row.error_message, what)?;
            self.nodes.insert(row.node_id, address_of(&row.host, row.port));
            nodes.insert(row.key, row.node_id);
        }
        let node_of = |group: &String| {
            nodes.get(group).copied().ok_or_else(|| ClientError::Refused {
                what: format!("nobody coordinates group {group}"),
                code: ErrorCode::COORDINATOR_NOT_AVAILABLE,
                message: None,
            })
        };
        groups.iter().map(node_of).collect()
    }

    pub(crate) fn wait_for_leaders(
        &mut self,
        topics: &TopicSet,
        patience: Duration,
    ) -> Result<Vec<i32>, ClientError> {
        self.retry(patience, |admin| {
            let leaders = admin.leaders(topics)?;
            leaders.iter().copied().collect::<Option<Vec<i32>>>().ok_or_else(|| ClientError::Refused {
                what: "not every partition has a leader yet".to_owned(),
                code: ErrorCode::LEADER_NOT_AVAILABLE,
                message: None,
            })
        })
    }

    /// The bound of every slot.
    pub(crate) fn offsets(&mut self, topics: &TopicSet, bound: Bound) -> Result<Vec<i64>, ClientError> {
        let leaders = self.leaders(topics)?;
        let places: HashMap<&str, usize> = topics.places();
        let mut offsets = vec![0; topics.slots() as usize];
        let mut by_node: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for (slot, leader) in leaders.into_iter().enumerate() {
            let nobody = ClientError::Refused {
                what: format!(
                    "nobody leads {} [{}]",
                    topics.name(slot as u32),
                    topics.partition(slot as u32)
                ),
                code: ErrorCode::LEADER_NOT_AVAILABLE,
                message: None,
            };
            by_node.entry(leader.ok_or(nobody)?).or_default().push(slot);
        }
        for (node, slots) in by_node {
            let request = ListOffsetsRequest {
                replica_id: -1,
                topics: questions(topics, &slots, bound),
                ..Default::default()
            };
            let answer: ListOffsetsResponse = self.ask(To::Node(node), &request, NEWEST)?;
            for topic in answer.topics {
                let Some(&place) = places.get(topic.name.as_str()) else { continue };
                for partition in topic.partitions {
                    let what = || format!("no offsets of {} [{}]", topic.name, partition.partition_index);
                    ClientError::check(partition.error_code, None, what)?;
                    if let Some(slot) = topics.slot(place, partition.partition_index) {
                        offsets[slot] = partition.offset;
                    }
                }
            }
        }
        Ok(offsets)
    }

    /// An id and epoch for one idempotent producer.
    pub(crate) fn producer_id(&mut self) -> Result<(i64, i16), ClientError> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            ..Default::default()
        };
        let answer: InitProducerIdResponse = self.ask(To::Any, &request, NEWEST)?;
        ClientError::check(answer.error_code, None, || "no producer id".to_owned())?;
        Ok((answer.producer_id, answer.producer_epoch))
    }
}

fn questions(topics: &TopicSet, slots: &[usize], bound: Bound) -> Vec<ListOffsetsTopic> {
    let timestamp = match bound {
        Bound::Latest => -1,
        Bound::Earliest => -2,
    };
    let mut asked: Vec<ListOffsetsTopic> = Vec::new();
    for slot in slots {
        let (name, partition_index) = (topics.name(*slot as u32), topics.partition(*slot as u32));
        // Slots rise, so that those of a topic come together.
        if asked.last().is_none_or(|topic| topic.name != name) {
            asked.push(ListOffsetsTopic { name: name.to_owned(), partitions: Vec::new() });
        }
        let partition = ListOffsetsPartition { partition_index, timestamp, current_leader_epoch: -1 };
        asked.last_mut().expect("pushed a moment ago").partitions.push(partition);
    }
    asked
}

/// `HOST:PORT`; Kafka's port if none is said.
fn with_port(address: &str) -> String {
    let address = address.trim();
    let after_host = address.rfind(']').map_or(address, |end| &address[end..]);
    if after_host.contains(':') { address.to_owned() } else { format!("{address}:{KAFKA_PORT}") }
}

/// As brokers advertise themselves.
fn address_of(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
