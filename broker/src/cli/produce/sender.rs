//! Collects records into batches and brings them to their leaders, each once if the producer is idempotent.
#![allow(clippy::disallowed_methods, reason = "commands run without a reactor and read the clock")]

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::produce_response::PartitionProduceResponse;
use protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse};
use protocol::partitioner::partition_of_key;
use protocol::records::batch::{BatchHeader, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, sequence_after};
use protocol::records::builder::BatchBuilder;
use protocol::records::compression::Codec;
use protocol::records::record::Header;

use crate::cli::client::{Client, ClientError, Missing, Patience, To, Topic};
use crate::cli::envelope::Parcel;
use crate::cli::failure::Failure;

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) codec: Codec,
    pub(super) acks: i16,
    pub(super) is_idempotent: bool,
    /// Of one batch before it is compressed.
    pub(super) batch_bytes: usize,
    pub(super) is_verbose: bool,
}

pub(super) struct Sender {
    client: Client,
    topic: Topic,
    settings: Settings,
    /// Id and epoch.
    producer: (i64, i16),
    /// By partition, of the next record.
    sequences: BTreeMap<i32, i32>,
    open: BTreeMap<i32, BatchBuilder>,
    open_bytes: usize,
    /// Where records without a key go until the next flush.
    sticky: i32,
    sent: u64,
}

/// A batch that is on its way.
struct Batch {
    partition: i32,
    count: i32,
    records: Bytes,
}

/// Over all partitions, before everything is sent.
const OPEN_BYTES_MAX: usize = 32 << 20;
/// What a record takes besides key, value and headers; more than it can be.
const RECORD_OVERHEAD_BYTES: usize = 32;
/// From this version on Produce names topics by id.
const PRODUCE_IDS_FROM: i16 = 13;

impl Sender {
    pub(super) fn open(mut client: Client, topic: &str, settings: Settings) -> Result<Self, Failure> {
        let topic = client.topic(topic, Missing::IsCreated)?;
        let producer = match settings.is_idempotent {
            true => introduce(&mut client).map_err(with_way_out)?,
            false => (NO_PRODUCER_ID, NO_PRODUCER_EPOCH),
        };
        let sticky = (now_ms() % topic.partitions.len().max(1) as i64) as i32;
        let (sequences, open) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { client, topic, settings, producer, sequences, open, open_bytes: 0, sticky, sent: 0 })
    }

    /// Records acknowledged so far; with `acks=0`, sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    pub(super) fn push(&mut self, parcel: &Parcel) -> Result<(), Failure> {
        let partition = self.partition_of(parcel)?;
        let headers: Vec<Header<'_>> =
            parcel.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
        let (key, payload) = (parcel.key.as_deref(), parcel.payload.as_deref());
        let in_headers =
            headers.iter().map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len) + 10);
        let bytes = key.map_or(0, <[u8]>::len)
            + payload.map_or(0, <[u8]>::len)
            + in_headers.sum::<usize>()
            + RECORD_OVERHEAD_BYTES;
        let in_batch = self.open.get(&partition).map_or(0, BatchBuilder::uncompressed_bytes);
        let is_full = in_batch > 0 && in_batch + bytes > self.settings.batch_bytes;
        if is_full || self.open_bytes + bytes > OPEN_BYTES_MAX {
            self.flush()?;
        }
        let builder = self.open.entry(partition).or_insert_with(|| {
            let base_sequence = self.sequences.get(&partition).copied().unwrap_or(0);
            BatchBuilder::new(BatchHeader {
                codec: self.settings.codec,
                producer_id: self.producer.0,
                producer_epoch: self.producer.1,
                base_sequence: if self.settings.is_idempotent { base_sequence } else { NO_SEQUENCE },
                ..BatchHeader::default()
            })
        });
        let timestamp = parcel.timestamp.unwrap_or_else(now_ms);
        let appended = builder.append(timestamp, key, payload, &headers);
        self.open_bytes += bytes;
        appended.map(|_| ()).map_err(|error| Failure::failed(format!("a record is too large: {error}")))
    }

    fn partition_of(&self, parcel: &Parcel) -> Result<i32, Failure> {
        let partitions = self.topic.partitions.len() as i32;
        match (parcel.partition, &parcel.key) {
            _ if partitions == 0 => {
                Err(Failure::failed(format!("topic {} has no partitions", self.topic.name)))
            }
            (Some(partition), _) if !(0..partitions).contains(&partition) => {
                let range = if partitions == 1 {
                    "partition 0".to_owned()
                } else {
                    format!("partitions 0 to {}", partitions - 1)
                };
                Err(Failure::failed(format!("topic {} has {range}, not {partition}", self.topic.name)))
            }
            (Some(partition), _) => Ok(partition),
            (None, Some(key)) => Ok(partition_of_key(key, partitions)),
            (None, None) => Ok(self.sticky % partitions),
        }
    }

    /// Sends what was collected and waits until it is acknowledged.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        let mut waiting = self.close_batches()?;
        self.sticky = self.sticky.wrapping_add(1) & i32::MAX;
        let mut patience = Patience::new(self.client.timeout());
        while !waiting.is_empty() {
            let failed = self.deliver(waiting);
            let Some((_, worst)) = failed.iter().find(|(_, error)| !error.is_retriable()).or(failed.first())
            else {
                break;
            };
            if !worst.is_retriable() || !patience.wait() {
                return Err(self.gave_up(failed));
            }
            match self.client.topic(&self.topic.name, Missing::Fails) {
                Ok(topic) => self.topic = topic,
                Err(error) if error.is_retriable() => {}
                Err(error) => return Err(error.into()),
            }
            waiting = failed.into_iter().map(|(batch, _)| batch).collect();
        }
        Ok(())
    }

    fn close_batches(&mut self) -> Result<Vec<Batch>, Failure> {
        self.open_bytes = 0;
        let mut batches = Vec::with_capacity(self.open.len());
        for (partition, builder) in std::mem::take(&mut self.open) {
            let count = builder.count();
            if self.settings.is_idempotent {
                let next = self.sequences.entry(partition).or_insert(0);
                *next = sequence_after(*next, count);
            }
            let records =
                builder.build().map_err(|error| Failure::failed(format!("a batch is too large: {error}")))?;
            batches.push(Batch { partition, count, records: records.into() });
        }
        Ok(batches)
    }

    /// One request to each leader, all before the first answer is read. Returns what has to be sent again, or cannot be.
    fn deliver(&mut self, batches: Vec<Batch>) -> Vec<(Batch, ClientError)> {
        let mut failed = Vec::new();
        let mut by_leader: BTreeMap<i32, Vec<Batch>> = BTreeMap::new();
        for batch in batches {
            match self.topic.leader(batch.partition) {
                Ok(leader) => by_leader.entry(leader).or_default().push(batch),
                Err(error) => failed.push((batch, error)),
            }
        }
        let mut asked = Vec::new();
        for (leader, batches) in by_leader {
            let request = self.request(&batches);
            match self.client.send(leader, &request, self.topic.version_max(PRODUCE_IDS_FROM)) {
                Ok(_) if self.settings.acks == 0 => batches.iter().for_each(|batch| self.count(batch)),
                Ok(pending) => asked.push((leader, batches, pending)),
                Err(error) => failed.extend(blamed(batches, error, &self.topic)),
            }
        }
        for (leader, batches, pending) in asked {
            match self.client.receive::<ProduceResponse>(leader, &pending) {
                Ok(answer) => self.settle(batches, &answer, &mut failed),
                Err(error) => failed.extend(blamed(batches, error, &self.topic)),
            }
        }
        failed
    }

    fn request(&self, batches: &[Batch]) -> ProduceRequest {
        let data = |batch: &Batch| PartitionProduceData {
            index: batch.partition,
            records: Some(batch.records.clone()),
        };
        ProduceRequest {
            transactional_id: None,
            acks: self.settings.acks,
            timeout_ms: self.client.timeout().as_millis().try_into().unwrap_or(i32::MAX),
            topic_data: vec![TopicProduceData {
                name: self.topic.name.clone(),
                topic_id: self.topic.id,
                partition_data: batches.iter().map(data).collect(),
            }],
        }
    }

    fn settle(
        &mut self,
        batches: Vec<Batch>,
        answer: &ProduceResponse,
        failed: &mut Vec<(Batch, ClientError)>,
    ) {
        let answers: BTreeMap<i32, &PartitionProduceResponse> = answer
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses)
            .map(|partition| (partition.index, partition))
            .collect();
        for batch in batches {
            let answer = answers.get(&batch.partition);
            match answer.map_or(ErrorCode::NETWORK_EXCEPTION, |answer| ErrorCode(answer.error_code)) {
                // The first attempt was written and only its answer was lost.
                ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER => {
                    self.count(&batch);
                    self.tell(&batch, answer.map_or(-1, |answer| answer.base_offset));
                }
                code => {
                    let what = place(&self.topic, &batch);
                    let message = answer.and_then(|answer| reason(answer));
                    failed.push((batch, ClientError::Refused { what, code, message }));
                }
            }
        }
    }

    fn count(&mut self, batch: &Batch) {
        self.sent += u64::from(batch.count.unsigned_abs());
    }

    fn tell(&self, batch: &Batch, base_offset: i64) {
        if self.settings.is_verbose {
            let last_offset = base_offset + i64::from(batch.count) - 1;
            let (topic, partition, bytes) = (&self.topic.name, batch.partition, batch.records.len());
            // Standard error is a comfort; the records are written whether or not it can be told.
            let _ =
                writeln!(io::stderr(), "{topic} [{partition}] {base_offset}..={last_offset}, {bytes} bytes");
        }
    }

    fn gave_up(&self, failed: Vec<(Batch, ClientError)>) -> Failure {
        let records: i64 = failed.iter().map(|(batch, _)| i64::from(batch.count)).sum();
        let is_final = |(_, error): &(Batch, ClientError)| !error.is_retriable();
        let at = failed.iter().position(is_final).unwrap_or(0);
        let failure = failed.into_iter().nth(at).map(|(_, error)| Failure::from(error));
        match failure.expect("something failed") {
            Failure::Told { code, text, next } => {
                let text =
                    format!("{text} ({records} records not acknowledged, {} before them were)", self.sent);
                Failure::Told { code, text, next }
            }
            other @ Failure::NobodyReads => other,
        }
    }
}

/// Asks for a producer id.
fn introduce(client: &mut Client) -> Result<(i64, i16), ClientError> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..Default::default()
    };
    client.retry(|client| {
        let answer: InitProducerIdResponse = client.ask(To::Any, &request, i16::MAX)?;
        ClientError::check(answer.error_code, None, || "no producer id".to_owned())?;
        Ok((answer.producer_id, answer.producer_epoch))
    })
}

fn with_way_out(error: ClientError) -> Failure {
    match error {
        error @ (ClientError::Refused { .. } | ClientError::Unserved { .. }) => Failure::from(error)
            .next("--no-idempotence does without a producer id; a retry may then write a record twice"),
        error => error.into(),
    }
}

/// The same fate for all that was in a request.
fn blamed(batches: Vec<Batch>, error: ClientError, topic: &Topic) -> Vec<(Batch, ClientError)> {
    let mut first = Some(error);
    let fate = |batch: Batch| {
        let what = place(topic, &batch);
        let same = ClientError::Refused { what, code: ErrorCode::NETWORK_EXCEPTION, message: None };
        (batch, first.take().unwrap_or(same))
    };
    batches.into_iter().map(fate).collect()
}

fn place(topic: &Topic, batch: &Batch) -> String {
    format!("cannot produce to {} [{}]", topic.name, batch.partition)
}

fn reason(answer: &PartitionProduceResponse) -> Option<String> {
    let of_record = answer.record_errors.first().and_then(|error| error.batch_index_error_message.clone());
    of_record.or_else(|| answer.error_message.clone())
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as i64
}
