//! One question at a time over a blocking connection: for what is asked beside the load.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use protocol::api_key::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::frame::{LENGTH_BYTES, RequestHead, decode_response_head, frame_len};
use protocol::messages::create_topics_request::CreatableTopic;
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse, Message,
    ProduceRequest, ProduceResponse,
};
use protocol::primitives::Reader;

/// A connection to one broker.
pub(crate) struct Wire {
    stream: TcpStream,
    correlation_id: i32,
}

impl Wire {
    /// `patience` is that of each step from now on.
    pub(crate) fn connect(address: &str, patience: Duration) -> io::Result<Self> {
        let mut last = io::Error::other(format!("{address} names no address"));
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, patience) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(patience))?;
                    stream.set_write_timeout(Some(patience))?;
                    return Ok(Self { stream, correlation_id: 0 });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub(crate) fn ask<Q: Message, A: Message>(&mut self, version: i16, request: &Q) -> io::Result<A> {
        self.send(version, request)?;
        self.hear(version)
    }

    /// What the answer is to is for the caller to remember: they come in order.
    pub(crate) fn send<Q: Message>(&mut self, version: i16, request: &Q) -> io::Result<()> {
        let key = Q::KEY.and_then(ApiKey::from_i16).expect("only requests are sent");
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let client_id = Some("millstream-bench".into());
        let head = RequestHead { key, version, correlation_id: self.correlation_id, client_id };
        let frame = head.frame(request).map_err(io::Error::other)?;
        self.stream.write_all(&frame)
    }

    pub(crate) fn hear<A: Message>(&mut self, version: i16) -> io::Result<A> {
        let key = A::KEY.and_then(ApiKey::from_i16).expect("only responses are heard");
        let mut prefix = [0; LENGTH_BYTES];
        self.stream.read_exact(&mut prefix)?;
        let len = frame_len(prefix, ANSWER_BYTES_MAX).map_err(io::Error::other)?;
        let mut frame = vec![0; len];
        self.stream.read_exact(&mut frame)?;
        let mut reader = Reader::new(&frame);
        let malformed = |error| io::Error::other(format!("{}: {error}", A::NAME));
        decode_response_head(&mut reader, key, version).map_err(malformed)?;
        A::decode(&mut reader, version).map_err(malformed)
    }

    /// Whether it is a broker that serves.
    pub(crate) fn api_versions(&mut self) -> io::Result<()> {
        let answer: ApiVersionsResponse = self.ask(0, &ApiVersionsRequest::default())?;
        checked("ApiVersions", answer.error_code)
    }

    pub(crate) fn create_topic(&mut self, name: &str, partitions: i32) -> io::Result<()> {
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
        let answer: CreateTopicsResponse = self.ask(5, &request)?;
        checked("CreateTopics", only(answer.topics)?.error_code)
    }

    /// Sends a batch for acks=all; [`Self::acknowledged`] is to be called for it.
    pub(crate) fn produce(&mut self, topic: &str, partition: i32, batch: bytes::Bytes) -> io::Result<()> {
        let partition_data = vec![PartitionProduceData { index: partition, records: Some(batch) }];
        let topic = TopicProduceData { name: topic.to_owned(), partition_data, ..Default::default() };
        let request =
            ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
        self.send(PRODUCE_VERSION, &request)
    }

    /// Waits for the answer to the first batch that was not answered: its partition and base offset.
    pub(crate) fn acknowledged(&mut self) -> io::Result<(i32, i64)> {
        let answer: ProduceResponse = self.hear(PRODUCE_VERSION)?;
        let answer = only(only(answer.responses)?.partition_responses)?;
        checked("Produce", answer.error_code)?;
        Ok((answer.index, answer.base_offset))
    }
}

fn checked(what: &str, error_code: i16) -> io::Result<()> {
    match ErrorCode(error_code) {
        ErrorCode::NONE => Ok(()),
        code => Err(io::Error::other(format!("{what} is answered with {}", code.name()))),
    }
}

fn only<T>(mut answers: Vec<T>) -> io::Result<T> {
    match answers.len() {
        1 => Ok(answers.remove(0)),
        count => Err(io::Error::other(format!("{count} answers to one question"))),
    }
}

/// Topics by name, headers flexible, and known to every broker of the last years.
const PRODUCE_VERSION: i16 = 9;
const ANSWER_BYTES_MAX: usize = 16 << 20;
