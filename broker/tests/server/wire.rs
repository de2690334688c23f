//! A client made of bytes: says what it is told to, well-formed or not, and tells what came back.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::disallowed_methods, reason = "real sockets")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use protocol::api_key::ApiKey;
use protocol::frame::{RequestHead, decode_response_head};
use protocol::messages::create_topics_request::CreatableTopic;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use protocol::messages::fetch_response::PartitionData;
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::produce_response::PartitionProduceResponse;
use protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse, Message, ProduceRequest,
    ProduceResponse,
};
use protocol::primitives::Reader;
use protocol::records::batch::BatchHeader;
use protocol::records::builder::BatchBuilder;
use protocol::records::compression::Codec;

/// Time for an answer that must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// No answer of a test is larger.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// What comes back on a connection.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A whole frame without its length.
    Frame(Vec<u8>),
    Closed,
    Silence,
}

/// One connection.
pub(crate) struct Wire {
    stream: TcpStream,
    correlation_id: i32,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("the broker accepts connections")
    }

    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, correlation_id: 0 })
    }

    /// Bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// A body with its length before it.
    pub(crate) fn send_frame(&mut self, body: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(body.len() + 4);
        bytes.extend_from_slice(&(body.len() as i32).to_be_bytes());
        bytes.extend_from_slice(body);
        self.send(&bytes)
    }

    /// Nothing more will be said, but answers are still heard.
    pub(crate) fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Goes away in the rudest way: what is under way is lost, and the broker hears so when it writes.
    pub(crate) fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).expect("an open socket");
    }

    pub(crate) fn set_write_patience(&self, patience: Duration) {
        self.stream.set_write_timeout(Some(patience)).expect("a timeout that is not zero");
    }

    /// The next thing that comes. A reset counts as closed.
    pub(crate) fn hear(&mut self, patience: Duration) -> Heard {
        self.stream.set_read_timeout(Some(patience)).expect("a timeout that is not zero");
        match self.read_frame() {
            Ok(Some(frame)) => Heard::Frame(frame),
            Ok(None) => Heard::Closed,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Heard::Silence,
                _ => Heard::Closed,
            },
        }
    }

    fn read_frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut length = [0; 4];
        if self.stream.read(&mut length[..1])? == 0 {
            return Ok(None);
        }
        self.stream.read_exact(&mut length[1..])?;
        let length = usize::try_from(i32::from_be_bytes(length)).expect("the broker's lengths are positive");
        assert!(length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame)?;
        Ok(Some(frame))
    }

    /// Asks and waits for the answer.
    ///
    /// # Panics
    /// If no answer comes, or one that cannot be read.
    pub(crate) fn ask<Q: Message, A: Message>(&mut self, version: i16, request: &Q) -> A {
        match self.try_ask(version, request) {
            Ok(answer) => answer,
            Err(heard) => panic!("{} {version} is not answered: {heard:?}", Q::NAME),
        }
    }

    pub(crate) fn try_ask<Q: Message, A: Message>(&mut self, version: i16, request: &Q) -> Result<A, Heard> {
        self.correlation_id += 1;
        self.send(&frame(version, self.correlation_id, request)).map_err(|_| Heard::Closed)?;
        let body = match self.hear(PATIENCE) {
            Heard::Frame(body) => body,
            other => return Err(other),
        };
        let (correlation_id, answer) = answer::<A>(&body, version);
        assert_eq!(correlation_id, self.correlation_id, "answers come in the order of the requests");
        Ok(answer)
    }

    pub(crate) fn create_topic(&mut self, name: &str, partitions: i32) {
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
        let answer: CreateTopicsResponse = self.ask(5, &request);
        assert_eq!(answer.topics[0].error_code, 0, "{name} is created: {:?}", answer.topics[0].error_message);
    }

    /// One partition's answer to one partition's batch, with acks=all.
    pub(crate) fn produce(&mut self, topic: &str, index: i32, batch: &[u8]) -> PartitionProduceResponse {
        let mut answer: ProduceResponse = self.ask(9, &produce_request(topic, index, Some(batch), -1));
        answer.responses.remove(0).partition_responses.remove(0)
    }

    /// What one partition has from an offset on, without waiting for more.
    pub(crate) fn fetch(&mut self, topic: &str, index: i32, offset: i64, bytes_max: i32) -> PartitionData {
        let mut answer: FetchResponse = self.ask(12, &fetch_request(topic, index, offset, bytes_max));
        assert_eq!(answer.error_code, 0);
        answer.responses.remove(0).partitions.remove(0)
    }
}

/// A request's whole frame, as client `hostile`.
pub(crate) fn frame<Q: Message>(version: i16, correlation_id: i32, request: &Q) -> Vec<u8> {
    let key = ApiKey::from_i16(Q::KEY.expect("a request")).expect("an API");
    let head = RequestHead { key, version, correlation_id, client_id: Some("hostile".into()) };
    head.frame(request).expect("a request that can be said").to_vec()
}

/// Correlation id and body of an answer.
pub(crate) fn answer<A: Message>(frame: &[u8], version: i16) -> (i32, A) {
    let key = ApiKey::from_i16(A::KEY.expect("a response")).expect("an API");
    // Honest answers may be heavy: the tests ask for much.
    let mut reader = Reader::with_budget(frame, 1 << 30);
    let correlation_id = decode_response_head(&mut reader, key, version).expect("a response header");
    (correlation_id, A::decode(&mut reader, version).expect("a response that can be read"))
}

pub(crate) fn produce_request(topic: &str, index: i32, batch: Option<&[u8]>, acks: i16) -> ProduceRequest {
    let records = batch.map(|batch| batch.to_vec().into());
    let partition_data = vec![PartitionProduceData { index, records }];
    let topic = TopicProduceData { name: topic.to_owned(), partition_data, ..TopicProduceData::default() };
    ProduceRequest { acks, timeout_ms: 30_000, topic_data: vec![topic], ..ProduceRequest::default() }
}

pub(crate) fn fetch_request(topic: &str, index: i32, offset: i64, bytes_max: i32) -> FetchRequest {
    let partition = FetchPartition {
        partition: index,
        fetch_offset: offset,
        partition_max_bytes: bytes_max,
        ..FetchPartition::default()
    };
    let topic = FetchTopic { topic: topic.to_owned(), partitions: vec![partition], ..FetchTopic::default() };
    FetchRequest { max_bytes: bytes_max, topics: vec![topic], ..FetchRequest::default() }
}

/// A batch of one value.
pub(crate) fn batch_of(codec: Codec, value: &[u8]) -> Vec<u8> {
    let mut batch = BatchBuilder::new(BatchHeader { codec, ..BatchHeader::default() });
    batch.append(-1, None, Some(value), &[]).expect("one record fits");
    batch.build().expect("one record fits")
}
