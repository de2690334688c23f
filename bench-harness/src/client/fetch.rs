//! Fetch over a link, in sessions: what did not change since the last request is not said again. Topics go by name, so
//! versions end at 12.

use std::io::{self, IoSlice};

use protocol::api_key::ApiKey;
use protocol::frame::{self, RequestHead};
use protocol::primitives::{DecodeError, EncodeError, Reader, Writer};

use super::CLIENT_ID;
use super::admin::TopicSet;
use super::link::Link;

pub(crate) const VERSION_MAX: i16 = 12;
const LOG_START_OFFSET_FROM: i16 = 5;
const SESSIONS_FROM: i16 = 7;
const LEADER_EPOCH_FROM: i16 = 9;
const RACKS_FROM: i16 = 11;
const FLEXIBLE_FROM: i16 = 12;

/// Kafka: epoch 0 asks for a new session, -1 for none.
const EPOCH_NEW: i32 = 0;
const EPOCH_NONE: i32 = -1;

/// What the broker remembers of earlier requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    id: i32,
    epoch: i32,
}

impl Session {
    /// The next request names everything.
    pub(crate) const NEW: Self = Self { id: 0, epoch: EPOCH_NEW };

    pub(crate) fn is_full(self) -> bool {
        self.id == 0
    }

    /// After an answer that came with this id.
    pub(crate) fn after(self, id: i32) -> Self {
        match id {
            // Kafka: no session was granted, there are too many.
            0 => Self { id: 0, epoch: EPOCH_NONE },
            _ if self.epoch == i32::MAX => Self { id, epoch: 1 },
            _ if self.id == id => Self { id, epoch: self.epoch + 1 },
            _ => Self { id, epoch: 1 },
        }
    }
}

/// How requests are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) version: i16,
    pub(crate) session: Session,
    pub(crate) max_wait_ms: i32,
    pub(crate) min_bytes: i32,
    pub(crate) max_bytes: i32,
    pub(crate) partition_max_bytes: i32,
}

/// Sends one request for `slots`, which rise, from where `offsets` says.
pub(crate) fn send(
    link: &mut Link,
    scratch: &mut Writer,
    form: Form,
    correlation_id: i32,
    topics: &TopicSet,
    slots: &[u32],
    offsets: &[i64],
) -> io::Result<()> {
    compose(scratch, form, correlation_id, topics, slots, offsets)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
    link.send(&[IoSlice::new(scratch.written())])
}

fn compose(
    w: &mut Writer,
    form: Form,
    correlation_id: i32,
    topics: &TopicSet,
    slots: &[u32],
    offsets: &[i64],
) -> Result<(), EncodeError> {
    const CONSUMER: i32 = -1;
    const READ_UNCOMMITTED: i8 = 0;
    const UNKNOWN: i32 = -1;
    let version = form.version;
    let flexible = version >= FLEXIBLE_FROM;
    w.clear();
    let start = frame::begin_frame(w);
    let client_id = Some(CLIENT_ID.into());
    RequestHead { key: ApiKey::Fetch, version, correlation_id, client_id }.encode(w)?;
    w.i32(CONSUMER);
    w.i32(form.max_wait_ms);
    w.i32(form.min_bytes);
    w.i32(form.max_bytes);
    w.i8(READ_UNCOMMITTED);
    if version >= SESSIONS_FROM {
        w.i32(form.session.id);
        w.i32(form.session.epoch);
    }
    let groups = || slots.chunk_by(|one, next| one / topics.partitions == next / topics.partitions);
    w.array_len(Some(groups().count()), flexible)?;
    for group in groups() {
        w.string(topics.name(group[0]), flexible)?;
        w.array_len(Some(group.len()), flexible)?;
        for slot in group {
            w.i32(topics.partition(*slot));
            if version >= LEADER_EPOCH_FROM {
                w.i32(UNKNOWN);
            }
            w.i64(offsets[*slot as usize]);
            if version >= FLEXIBLE_FROM {
                w.i32(UNKNOWN);
            }
            if version >= LOG_START_OFFSET_FROM {
                w.i64(-1);
            }
            w.i32(form.partition_max_bytes);
            if flexible {
                w.no_tags();
            }
        }
        if flexible {
            w.no_tags();
        }
    }
    if version >= SESSIONS_FROM {
        w.array_len(Some(0), flexible)?;
    }
    if version >= RACKS_FROM {
        w.string("", flexible)?;
    }
    if flexible {
        w.no_tags();
    }
    frame::end_frame(w, start, 0)
}

/// Which request a frame answers; the reader goes on with the answer itself.
pub(crate) fn correlation(r: &mut Reader<'_>, version: i16) -> Result<i32, DecodeError> {
    frame::decode_response_head(r, ApiKey::Fetch, version)
}

#[cfg(test)]
mod tests {
    use protocol::messages::{FetchRequest, Message};

    use super::*;

    #[test]
    fn a_request_is_what_a_broker_reads_in_every_version() {
        let topics = TopicSet { names: vec!["one".into(), "two".into()], partitions: 2 };
        let offsets = [10, 11, 12, 13];
        let session = Session::NEW.after(5).after(5);
        for version in 4..=VERSION_MAX {
            let form = Form {
                version,
                session,
                max_wait_ms: 500,
                min_bytes: 1,
                max_bytes: 1 << 20,
                partition_max_bytes: 999,
            };
            let mut w = Writer::new();
            compose(&mut w, form, 3, &topics, &[1, 2, 3], &offsets).unwrap();
            let frame = w.written();
            assert_eq!(i32::from_be_bytes(*frame.first_chunk().unwrap()) as usize, frame.len() - 4);
            let mut r = Reader::new(&frame[4..]);
            assert_eq!(RequestHead::decode(&mut r).unwrap().correlation_id, 3);
            let request = FetchRequest::decode(&mut r, version).unwrap();
            assert_eq!(r.remaining(), 0);
            assert_eq!(
                (request.max_wait_ms, request.min_bytes, request.max_bytes, request.replica_id),
                (500, 1, 1 << 20, -1)
            );
            if version >= SESSIONS_FROM {
                assert_eq!((request.session_id, request.session_epoch), (5, 2));
            }
            let asked: Vec<_> = request
                .topics
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(|row| (topic.topic.as_str(), row)))
                .map(|(topic, row)| (topic, row.partition, row.fetch_offset, row.partition_max_bytes))
                .collect();
            assert_eq!(asked, [("one", 1, 11, 999), ("two", 0, 12, 999), ("two", 1, 13, 999)]);
        }
    }

    #[test]
    fn sessions_count_and_end() {
        let granted = Session::NEW.after(9);
        assert!(Session::NEW.is_full() && !granted.is_full());
        assert_eq!(granted, Session { id: 9, epoch: 1 });
        assert_eq!(granted.after(9), Session { id: 9, epoch: 2 });
        assert_eq!(Session { id: 9, epoch: i32::MAX }.after(9), Session { id: 9, epoch: 1 });
        assert_eq!(Session::NEW.after(0), Session { id: 0, epoch: EPOCH_NONE });
        assert!(granted.after(0).is_full());
    }
}
