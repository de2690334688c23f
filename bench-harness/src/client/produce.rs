//! Produce over a link: one request of many batches, and what became of each. Topics go by name, so versions end at 12.

use std::io::{self, IoSlice};

use protocol::api_key::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::frame::{self, RequestHead};
use protocol::primitives::{DecodeError, EncodeError, Reader, Writer};

use super::CLIENT_ID;
use super::admin::TopicSet;
use super::batch::Batch;
use super::link::Link;

pub(crate) const VERSION_MAX: i16 = 12;
const LOG_START_OFFSET_FROM: i16 = 5;
const RECORD_ERRORS_FROM: i16 = 8;

/// A batch on its way to a slot.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) slot: u32,
    pub(crate) batch: Batch,
}

/// How requests are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) version: i16,
    pub(crate) acks: i16,
    pub(crate) timeout_ms: i32,
}

/// Sends `parcels`, ordered by slot, as one request. `scratch` keeps its memory from call to call.
pub(crate) fn send(
    link: &mut Link,
    scratch: &mut Writer,
    form: Form,
    correlation_id: i32,
    topics: &TopicSet,
    parcels: &[Parcel],
) -> io::Result<()> {
    let mut cuts = Vec::with_capacity(parcels.len());
    compose(scratch, form, correlation_id, topics, parcels, &mut cuts)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
    let written = scratch.written();
    let mut parts = Vec::with_capacity(parcels.len() * 2 + 1);
    let mut from = 0;
    for (cut, parcel) in cuts.into_iter().zip(parcels) {
        parts.push(IoSlice::new(&written[from..cut]));
        parts.push(IoSlice::new(parcel.batch.wire()));
        from = cut;
    }
    parts.push(IoSlice::new(&written[from..]));
    link.send(&parts)
}

/// Everything but the batches, and where those belong.
fn compose(
    w: &mut Writer,
    form: Form,
    correlation_id: i32,
    topics: &TopicSet,
    parcels: &[Parcel],
    cuts: &mut Vec<usize>,
) -> Result<(), EncodeError> {
    let flexible = ApiKey::Produce.is_flexible(form.version);
    w.clear();
    let start = frame::begin_frame(w);
    let head = RequestHead {
        key: ApiKey::Produce,
        version: form.version,
        correlation_id,
        client_id: Some(CLIENT_ID.into()),
    };
    head.encode(w)?;
    w.nullable_string(None, flexible)?;
    w.i16(form.acks);
    w.i32(form.timeout_ms);
    let topic_of = |parcel: &Parcel| parcel.slot / topics.partitions;
    let groups = || parcels.chunk_by(|one, next| topic_of(one) == topic_of(next));
    w.array_len(Some(groups().count()), flexible)?;
    let mut elsewhere = 0;
    for group in groups() {
        w.string(topics.name(group[0].slot), flexible)?;
        w.array_len(Some(group.len()), flexible)?;
        for parcel in group {
            let bytes = parcel.batch.wire().len();
            w.i32(topics.partition(parcel.slot));
            w.array_len(Some(bytes), flexible)?;
            cuts.push(w.len());
            elsewhere += bytes;
            if flexible {
                w.no_tags();
            }
        }
        if flexible {
            w.no_tags();
        }
    }
    if flexible {
        w.no_tags();
    }
    frame::end_frame(w, start, elsewhere)
}

/// What became of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    pub(crate) topic: &'a [u8],
    pub(crate) partition: i32,
    pub(crate) error: ErrorCode,
}

/// Which request a frame answers; the reader goes on with the answer itself.
pub(crate) fn correlation(r: &mut Reader<'_>, version: i16) -> Result<i32, DecodeError> {
    frame::decode_response_head(r, ApiKey::Produce, version)
}

/// Hands over each answer of a response, without a copy.
pub(crate) fn answers<'a>(
    r: &mut Reader<'a>,
    version: i16,
    mut each: impl FnMut(Answer<'a>),
) -> Result<(), DecodeError> {
    let flexible = ApiKey::Produce.is_flexible(version);
    let topics = r.array_len(flexible, 3)?.ok_or(DecodeError::Null)?;
    for _ in 0..topics {
        let topic = r.string_bytes(flexible)?.ok_or(DecodeError::Null)?;
        let partitions = r.array_len(flexible, 20)?.ok_or(DecodeError::Null)?;
        for _ in 0..partitions {
            let (partition, error) = (r.i32()?, ErrorCode(r.i16()?));
            let _base_offset = r.i64()?;
            let _log_append_time = r.i64()?;
            if version >= LOG_START_OFFSET_FROM {
                r.i64()?;
            }
            if version >= RECORD_ERRORS_FROM {
                for _ in 0..r.array_len(flexible, 5)?.unwrap_or(0) {
                    r.i32()?;
                    r.string_bytes(flexible)?;
                    if flexible {
                        r.skip_tags()?;
                    }
                }
                r.string_bytes(flexible)?;
            }
            if flexible {
                r.skip_tags()?;
            }
            each(Answer { topic, partition, error });
        }
        if flexible {
            r.skip_tags()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use protocol::produce::{
        ProduceAnswer, ProduceRequestView, ProduceResponseWriter, RecordErrorAnswer, VERSIONS,
    };
    use protocol::topic_key::TopicKey;

    use super::*;
    use crate::client::batch::{BatchPool, Identity};
    use crate::payload::{Bodies, Stamp};
    use crate::random::Random;

    fn topics() -> TopicSet {
        TopicSet { names: vec!["one".into(), "two".into()], partitions: 3 }
    }

    #[test]
    fn a_request_is_what_a_broker_reads_in_every_version() {
        let mut bodies = Bodies::new(100, 1.0, false, Random::new(1));
        let mut pool = BatchPool::default();
        let parcels: Vec<Parcel> = [0, 2, 4]
            .map(|slot| {
                let mut batch = pool.open(0, 0, 0);
                let stamp = Stamp { run: 0, producer: 0, slot, sequence: 0, intended_ns: 0 };
                batch.push(&stamp, None, bodies.next(), 0);
                batch.seal(protocol::records::compression::Codec::None, Identity::NONE);
                Parcel { slot, batch }
            })
            .into();
        for version in *VERSIONS.start()..=VERSION_MAX {
            let form = Form { version, acks: -1, timeout_ms: 30_000 };
            let (mut w, mut cuts) = (Writer::new(), Vec::new());
            compose(&mut w, form, 77, &topics(), &parcels, &mut cuts).unwrap();
            let mut frame = Vec::new();
            let mut from = 0;
            for (cut, parcel) in cuts.into_iter().zip(&parcels) {
                frame.extend_from_slice(&w.written()[from..cut]);
                frame.extend_from_slice(parcel.batch.wire());
                from = cut;
            }
            frame.extend_from_slice(&w.written()[from..]);
            assert_eq!(i32::from_be_bytes(*frame.first_chunk().unwrap()) as usize, frame.len() - 4);
            let mut r = Reader::new(&frame[4..]);
            let head = RequestHead::decode(&mut r).unwrap();
            assert_eq!((head.key, head.version, head.correlation_id), (ApiKey::Produce, version, 77));
            let view = ProduceRequestView::parse(r.rest(), version).unwrap();
            assert_eq!((view.acks, view.timeout_ms, view.partition_count), (-1, 30_000, 3));
            let mut found = Vec::new();
            for topic in view.topics() {
                let name = topic.key.name().unwrap().into_owned();
                for partition in topic.partitions {
                    found.push((name.clone(), partition.index, partition.records.unwrap().to_vec()));
                }
            }
            let sent = [("one", 0), ("one", 2), ("two", 1)].iter().zip(&parcels);
            let sent: Vec<_> = sent
                .map(|((name, index), parcel)| ((*name).to_owned(), *index, parcel.batch.wire().to_vec()))
                .collect();
            assert_eq!(found, sent, "version {version}");
        }
    }

    #[test]
    fn answers_of_every_version_are_read() {
        let record_errors = [RecordErrorAnswer { batch_index: 1, message: Some("no") }];
        for version in *VERSIONS.start()..=VERSION_MAX {
            let mut w = Writer::new();
            let mut response = ProduceResponseWriter::begin(&mut w, version, 2).unwrap();
            response.topic(TopicKey::from("one"), 2).unwrap();
            response.partition(&ProduceAnswer::error(0, ErrorCode::NONE)).unwrap();
            let refused = ProduceAnswer {
                record_errors: &record_errors,
                error_message: Some("why"),
                current_leader: None,
                ..ProduceAnswer::error(2, ErrorCode::INVALID_RECORD)
            };
            response.partition(&refused).unwrap();
            response.topic(TopicKey::from("two"), 1).unwrap();
            response.partition(&ProduceAnswer::error(1, ErrorCode::NOT_LEADER_OR_FOLLOWER)).unwrap();
            response.finish(0, &[]).unwrap();
            let mut found = Vec::new();
            answers(&mut Reader::new(w.written()), version, |answer| found.push(answer)).unwrap();
            let expected = [
                (&b"one"[..], 0, ErrorCode::NONE),
                (b"one", 2, ErrorCode::INVALID_RECORD),
                (b"two", 1, ErrorCode::NOT_LEADER_OR_FOLLOWER),
            ]
            .map(|(topic, partition, error)| Answer { topic, partition, error });
            assert_eq!(found, expected, "version {version}");
        }
    }
}
