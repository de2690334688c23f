//! A broker that is slow, forgetful or wrong exactly as it was told to be.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use protocol::api_key::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::frame::{RequestHead, response_frame};
use protocol::messages::api_versions_response::ApiVersion;
use protocol::messages::create_topics_response::CreatableTopicResult;
use protocol::messages::delete_topics_response::DeletableTopicResult;
use protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use protocol::messages::*;
use protocol::primitives::Reader;
use protocol::records::batch::{self, BatchView, LENGTH_OVERHEAD_BYTES};
use protocol::records::record::records;
use rustix::time::{ClockId, clock_gettime};

/// What it does to whom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Behaviour {
    /// How long answers to Produce take, by connection in the order of their first one; round and round.
    pub(crate) delays: Vec<Duration>,
    /// After so long since the first Produce it stands still for so long.
    pub(crate) pause: Option<(Duration, Duration)>,
    /// After so long it hangs up on everybody, once.
    pub(crate) hangs_up_after: Option<Duration>,
    /// When it hangs up it forgets so many of the last batches of each partition.
    pub(crate) forgets: usize,
    /// After so long it hangs up and never answers again.
    pub(crate) dies_after: Option<Duration>,
    /// Batches of a partition to damage, by their number; each may be named once in all.
    pub(crate) loses: Vec<u64>,
    pub(crate) doubles: Vec<u64>,
    /// They change places with the batch after them.
    pub(crate) swaps: Vec<u64>,
    pub(crate) corrupts: Vec<u64>,
    /// Refused with an error that passes.
    pub(crate) refuses: Vec<u64>,
    /// It deletes all but so many of the last batches of a partition.
    pub(crate) keeps: Option<usize>,
    /// It notes when records were due, as they say themselves, and when they were answered.
    pub(crate) notes: bool,
}

/// How many records it did wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Planted {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) corrupted: u64,
}

pub(crate) struct FakeBroker {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    address: SocketAddr,
    behaviour: Behaviour,
    topics: Mutex<BTreeMap<String, Vec<Partition>>>,
    changed: Condvar,
    producers: AtomicUsize,
    first_produce: Mutex<Option<Instant>>,
    connections: Mutex<Vec<TcpStream>>,
    is_dead: AtomicBool,
    planted: Mutex<Planted>,
    /// When a record was due, and when it was answered. CLOCK_MONOTONIC.
    noted: Mutex<Vec<(i64, i64)>>,
}

/// An answer on its way.
struct Answer {
    due: Instant,
    frame: Vec<u8>,
    /// Of the records that it is for.
    intended_ns: Vec<i64>,
}

#[derive(Default)]
struct Partition {
    /// Batches with the offset after each.
    log: Vec<(i64, Vec<u8>)>,
    start_offset: i64,
    next_offset: i64,
    batches: u64,
    held: Option<Vec<u8>>,
}

impl FakeBroker {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            address,
            behaviour,
            topics: Mutex::default(),
            changed: Condvar::new(),
            producers: AtomicUsize::new(0),
            first_produce: Mutex::new(None),
            connections: Mutex::default(),
            is_dead: AtomicBool::new(false),
            planted: Mutex::default(),
            noted: Mutex::default(),
        });
        let accepting = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), state) = (stream, Arc::clone(&accepting)) else { return };
                if state.is_dead.load(Ordering::Relaxed) {
                    // The listener goes, and with it whoever would connect.
                    return;
                }
                thread::spawn(move || serve(&state, stream));
            }
        });
        Self { address, state }
    }

    pub(crate) fn planted(&self) -> Planted {
        *self.state.planted.lock().unwrap()
    }

    /// Of the last so many records to be due: how long after that each was answered, in nanoseconds, rising.
    pub(crate) fn latencies(&self, last: usize) -> Vec<i64> {
        let mut noted = self.state.noted.lock().unwrap().clone();
        noted.sort_unstable();
        let first = noted.len().checked_sub(last).unwrap();
        let mut latencies: Vec<i64> =
            noted[first..].iter().map(|(intended, answered)| answered - intended).collect();
        latencies.sort_unstable();
        latencies
    }

    /// Until so many came, over all partitions.
    pub(crate) fn wait_for_batches(&self, batches: u64) {
        let mut topics = self.state.topics.lock().unwrap();
        while topics.values().flatten().map(|partition| partition.batches).sum::<u64>() < batches {
            topics = self.state.changed.wait(topics).unwrap();
        }
    }
}

fn serve(state: &Arc<State>, mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    state.connections.lock().unwrap().push(stream.try_clone().unwrap());
    let (answers, due) = channel();
    let out = stream.try_clone().unwrap();
    let noting = Arc::clone(state);
    thread::spawn(move || answer(out, &due, &noting));
    let mut delay = None;
    loop {
        let mut prefix = [0; 4];
        if stream.read_exact(&mut prefix).is_err() {
            return;
        }
        let mut frame = vec![0; i32::from_be_bytes(prefix) as usize];
        if stream.read_exact(&mut frame).is_err() {
            return;
        }
        let came = Instant::now();
        let mut r = Reader::new(&frame);
        let head = RequestHead::decode(&mut r).unwrap();
        let (mut due, mut intended_ns) = (came, Vec::new());
        if head.key == ApiKey::Produce {
            due = state.due(came, &mut delay);
            if state.behaviour.notes {
                intended_ns = intended(&frame);
            }
        }
        let Some(frame) = state.handle(&head, &mut r) else { continue };
        if answers.send(Answer { due, frame: frame.to_vec(), intended_ns }).is_err() {
            return;
        }
    }
}

/// When the records of a Produce request were due.
fn intended(frame: &[u8]) -> Vec<i64> {
    let mut r = Reader::new(frame);
    let version = RequestHead::decode(&mut r).unwrap().version;
    let request = ProduceRequest::decode(&mut r, version).unwrap();
    let mut all = Vec::new();
    for partition in request.topic_data.iter().flat_map(|topic| &topic.partition_data) {
        let batch = BatchView::parse(partition.records.as_deref().unwrap()).unwrap();
        for record in records(batch.records_bytes(), batch.count()) {
            let value = record.unwrap().value.unwrap();
            all.push(i64::from_be_bytes(value[24..32].try_into().unwrap()));
        }
    }
    all
}

/// Sends each answer when it is due; answers of a connection keep their order.
fn answer(mut out: TcpStream, answers: &Receiver<Answer>, state: &State) {
    for Answer { due, frame, intended_ns } in answers {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let now = clock_gettime(ClockId::Monotonic);
        let now_ns = now.tv_sec * 1_000_000_000 + now.tv_nsec;
        if out.write_all(&frame).is_err() {
            return;
        }
        state.noted.lock().unwrap().extend(intended_ns.into_iter().map(|intended| (intended, now_ns)));
    }
}

impl State {
    /// When a Produce is answered.
    fn due(self: &Arc<Self>, came: Instant, delay: &mut Option<Duration>) -> Instant {
        let delays = &self.behaviour.delays;
        let delay = *delay.get_or_insert_with(|| {
            let number = self.producers.fetch_add(1, Ordering::Relaxed);
            if delays.is_empty() { Duration::ZERO } else { delays[number % delays.len()] }
        });
        let first = *self.first_produce.lock().unwrap().get_or_insert_with(|| {
            self.plan_outages(came);
            came
        });
        let due = came + delay;
        match self.behaviour.pause {
            Some((after, lasts)) if due >= first + after && due < first + after + lasts => {
                first + after + lasts
            }
            _ => due,
        }
    }

    fn plan_outages(self: &Arc<Self>, first: Instant) {
        let outages = [(self.behaviour.hangs_up_after, false), (self.behaviour.dies_after, true)];
        for (after, dies) in outages {
            let Some(after) = after else { continue };
            let state = Arc::clone(self);
            thread::spawn(move || {
                thread::sleep((first + after).saturating_duration_since(Instant::now()));
                if dies {
                    state.is_dead.store(true, Ordering::Relaxed);
                    // Wakes the listener, which then ends.
                    drop(TcpStream::connect(state.address));
                }
                // Nothing is taken in between.
                let mut topics = state.topics.lock().unwrap();
                for stream in state.connections.lock().unwrap().drain(..) {
                    let _ = stream.shutdown(Shutdown::Both);
                }
                for partition in topics.values_mut().flatten() {
                    state.planted.lock().unwrap().lost += partition.forget(state.behaviour.forgets);
                }
            });
        }
    }

    fn handle(&self, head: &RequestHead<'_>, r: &mut Reader<'_>) -> Option<bytes::Bytes> {
        let version = head.version;
        macro_rules! reply {
            ($request:ty, $answer:expr) => {{
                let request = <$request>::decode(r, version).unwrap();
                let answer = $answer(self, request);
                Some(response_frame(head.key, version, head.correlation_id, &answer).unwrap())
            }};
        }
        match head.key {
            ApiKey::ApiVersions => reply!(ApiVersionsRequest, |_: &Self, _| versions()),
            ApiKey::Metadata => reply!(MetadataRequest, Self::metadata),
            ApiKey::CreateTopics => reply!(CreateTopicsRequest, Self::create),
            ApiKey::DeleteTopics => reply!(DeleteTopicsRequest, |_: &Self, request: DeleteTopicsRequest| {
                let result = |name| DeletableTopicResult { name: Some(name), ..Default::default() };
                let responses = request.topic_names.into_iter().map(result).collect();
                DeleteTopicsResponse { responses, ..Default::default() }
            }),
            ApiKey::InitProducerId => reply!(InitProducerIdRequest, |_: &Self, _| InitProducerIdResponse {
                producer_id: 1_000,
                ..Default::default()
            }),
            ApiKey::ListOffsets => reply!(ListOffsetsRequest, Self::list_offsets),
            ApiKey::Produce => reply!(ProduceRequest, Self::produce),
            ApiKey::Fetch => reply!(FetchRequest, Self::fetch),
            other => panic!("nobody said it would be asked for {other}"),
        }
    }

    fn metadata(&self, request: MetadataRequest) -> MetadataResponse {
        let (host, port) = (self.address.ip().to_string(), i32::from(self.address.port()));
        let topics = self.topics.lock().unwrap();
        let partition = |index: usize| MetadataResponsePartition {
            partition_index: index as i32,
            leader_id: 1,
            replica_nodes: vec![1],
            isr_nodes: vec![1],
            ..Default::default()
        };
        let named = request.topics.unwrap_or_default().into_iter().filter_map(|topic| topic.name);
        let found = named.map(|name| {
            let count = topics.get(&name).map_or(0, Vec::len);
            let error = if count > 0 { ErrorCode::NONE } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
            MetadataResponseTopic {
                error_code: error.0,
                name: Some(name),
                partitions: (0..count).map(partition).collect(),
                ..Default::default()
            }
        });
        MetadataResponse {
            brokers: vec![MetadataResponseBroker { node_id: 1, host, port, rack: None }],
            controller_id: 1,
            topics: found.collect(),
            ..Default::default()
        }
    }

    fn create(&self, request: CreateTopicsRequest) -> CreateTopicsResponse {
        let mut topics = self.topics.lock().unwrap();
        let mut create = |topic: create_topics_request::CreatableTopic| {
            let partitions = (0..topic.num_partitions).map(|_| Partition::default()).collect();
            topics.insert(topic.name.clone(), partitions);
            CreatableTopicResult { name: topic.name, ..Default::default() }
        };
        let topics = request.topics.into_iter().map(&mut create).collect();
        CreateTopicsResponse { topics, ..Default::default() }
    }

    fn list_offsets(&self, request: ListOffsetsRequest) -> ListOffsetsResponse {
        const LATEST: i64 = -1;
        let topics = self.topics.lock().unwrap();
        let answer = |topic: list_offsets_request::ListOffsetsTopic| {
            let log = &topics[&topic.name];
            let partitions = topic.partitions.iter().map(|asked| {
                let Partition { start_offset, next_offset, .. } = log[asked.partition_index as usize];
                ListOffsetsPartitionResponse {
                    partition_index: asked.partition_index,
                    timestamp: -1,
                    offset: if asked.timestamp == LATEST { next_offset } else { start_offset },
                    ..Default::default()
                }
            });
            ListOffsetsTopicResponse { name: topic.name.clone(), partitions: partitions.collect() }
        };
        ListOffsetsResponse { topics: request.topics.into_iter().map(answer).collect(), ..Default::default() }
    }

    fn produce(&self, request: ProduceRequest) -> ProduceResponse {
        let mut topics = self.topics.lock().unwrap();
        let mut responses = Vec::new();
        for topic in request.topic_data {
            let log = topics.get_mut(&topic.name).unwrap();
            let mut partition_responses = Vec::new();
            for partition in topic.partition_data {
                let base_offset = log[partition.index as usize].next_offset;
                let error = self.append(&mut log[partition.index as usize], &partition.records.unwrap());
                let (index, error_code) = (partition.index, error.0);
                let answer =
                    PartitionProduceResponse { index, base_offset, error_code, ..Default::default() };
                partition_responses.push(answer);
            }
            responses.push(TopicProduceResponse {
                name: topic.name,
                partition_responses,
                ..Default::default()
            });
        }
        self.changed.notify_all();
        ProduceResponse { responses, ..Default::default() }
    }

    fn append(&self, partition: &mut Partition, batch: &[u8]) -> ErrorCode {
        let view = BatchView::parse(batch).unwrap();
        view.verify_crc().unwrap();
        let (records, number) = (view.count() as u64, partition.batches);
        partition.batches += 1;
        let mut planted = self.planted.lock().unwrap();
        let behaviour = &self.behaviour;
        let mut batch = batch.to_vec();
        if behaviour.refuses.contains(&number) {
            return ErrorCode::NOT_LEADER_OR_FOLLOWER;
        }
        if behaviour.loses.contains(&number) {
            planted.lost += records;
            return ErrorCode::NONE;
        }
        if behaviour.swaps.contains(&number) {
            planted.reordered += records;
            partition.held = Some(batch);
            return ErrorCode::NONE;
        }
        if behaviour.corrupts.contains(&number) {
            // The last byte of the last value; after it comes the count of headers. The sum of the batch is right again.
            let at = batch.len() - 2;
            batch[at] ^= 1;
            let crc = batch::crc(&batch);
            batch[LENGTH_OVERHEAD_BYTES + 5..LENGTH_OVERHEAD_BYTES + 9].copy_from_slice(&crc.to_be_bytes());
            planted.corrupted += 1;
        }
        partition.store(batch.clone());
        if behaviour.doubles.contains(&number) {
            planted.duplicated += records;
            partition.store(batch);
        }
        if let Some(held) = partition.held.take() {
            partition.store(held);
        }
        if let Some(keeps) = behaviour.keeps {
            partition.delete_all_but(keeps);
        }
        ErrorCode::NONE
    }

    fn fetch(&self, request: FetchRequest) -> FetchResponse {
        let deadline = Instant::now() + Duration::from_millis(request.max_wait_ms as u64);
        let mut topics = self.topics.lock().unwrap();
        loop {
            let (responses, bytes) = gather(&topics, &request);
            let left = deadline.saturating_duration_since(Instant::now());
            if bytes > 0 || left.is_zero() {
                return FetchResponse { responses, ..Default::default() };
            }
            topics = self.changed.wait_timeout(topics, left).unwrap().0;
        }
    }
}

impl Partition {
    /// How many records are gone.
    fn forget(&mut self, batches: usize) -> u64 {
        let end = self.next_offset;
        self.log.truncate(self.log.len().saturating_sub(batches));
        self.next_offset = self.log.last().map_or(0, |(next, _)| *next);
        (end - self.next_offset) as u64
    }

    fn delete_all_but(&mut self, batches: usize) {
        let deleted = self.log.len().saturating_sub(batches);
        self.start_offset = self.log.drain(..deleted).last().map_or(self.start_offset, |(next, _)| next);
    }

    fn store(&mut self, mut batch: Vec<u8>) {
        batch::stamp(&mut batch, self.next_offset, 0, None);
        self.next_offset = BatchView::parse(&batch).unwrap().next_offset();
        self.log.push((self.next_offset, batch));
    }
}

fn gather(
    topics: &BTreeMap<String, Vec<Partition>>,
    request: &FetchRequest,
) -> (Vec<FetchableTopicResponse>, usize) {
    let mut bytes = 0;
    let mut responses = Vec::new();
    for topic in &request.topics {
        let mut partitions = Vec::new();
        for asked in &topic.partitions {
            let partition = &topics[&topic.topic][asked.partition as usize];
            if !(partition.start_offset..=partition.next_offset).contains(&asked.fetch_offset) {
                // Answered at once, as if there were something.
                bytes += 1;
                let error_code = ErrorCode::OFFSET_OUT_OF_RANGE.0;
                let partition_index = asked.partition;
                partitions.push(PartitionData { partition_index, error_code, ..Default::default() });
                continue;
            }
            let first = partition.log.partition_point(|(next, _)| *next <= asked.fetch_offset);
            let mut records = Vec::new();
            for (_, batch) in &partition.log[first..] {
                if !records.is_empty() && records.len() + batch.len() > asked.partition_max_bytes as usize {
                    break;
                }
                records.extend_from_slice(batch);
            }
            bytes += records.len();
            partitions.push(PartitionData {
                partition_index: asked.partition,
                high_watermark: partition.next_offset,
                last_stable_offset: partition.next_offset,
                aborted_transactions: None,
                records: Some(records.into()),
                ..Default::default()
            });
        }
        let topic = topic.topic.clone();
        responses.push(FetchableTopicResponse { topic, partitions, ..Default::default() });
    }
    (responses, bytes)
}

fn versions() -> ApiVersionsResponse {
    let rows = ApiKey::all().map(|key| {
        let (min_version, max_version) = key.versions();
        ApiVersion { api_key: key.as_i16(), min_version, max_version }
    });
    ApiVersionsResponse { api_keys: rows.collect(), ..Default::default() }
}
