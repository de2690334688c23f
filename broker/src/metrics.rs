//! What a core counts. Plain numbers owned by the core; a scrape asks each core for a copy and adds up.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use protocol::api_key::ApiKey;
use storage::log::Flushed;

pub(crate) mod groups;
pub(crate) mod histogram;

use groups::GroupMetrics;
use histogram::Histogram;

/// Where requests of an API that does not exist are counted.
const UNKNOWN_API: i16 = -1;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(Cell<u64>);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.set(self.0.get() + count);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }
}

/// Requests of one API.
#[derive(Clone, Debug, Default)]
pub(crate) struct ApiMetrics {
    pub(crate) requests: u64,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    /// From the whole request read to its answer written.
    pub(crate) latency_ns: Histogram,
}

/// One core's metrics.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    apis: RefCell<BTreeMap<i16, ApiMetrics>>,
    pub(crate) connections_refused: Counter,
    /// To another core, for whose partitions they are.
    pub(crate) connections_moved: Counter,
    /// Work sent to another core.
    pub(crate) hops: Counter,
    pub(crate) produced_batches: Counter,
    pub(crate) produced_bytes: Counter,
    pub(crate) produced_records: Counter,
    pub(crate) fetched_bytes: Counter,
    /// By retention.
    pub(crate) deleted_segments: Counter,
    pub(crate) deleted_bytes: Counter,
    pub(crate) cleaner_runs: Counter,
    pub(crate) cleaner_read_bytes: Counter,
    pub(crate) cleaner_written_bytes: Counter,
    /// By which logs became shorter.
    pub(crate) cleaner_removed_bytes: Counter,
    /// Of all connections, whatever they said.
    pub(crate) received_bytes: Counter,
    pub(crate) sent_bytes: Counter,
    /// From a batch's append until it is on stable storage.
    durable_ns: RefCell<Histogram>,
    flushes: RefCell<Flushes>,
}

/// Group commits: one write to a log, of all that had gathered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flushes {
    pub(crate) batches: Histogram,
    pub(crate) bytes: Histogram,
    pub(crate) took_ns: Histogram,
}

/// One request on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    api: i16,
    request_bytes: u32,
    began_ns: u64,
}

impl Metrics {
    /// `frame` starts with the API's key. All that are unknown count as one, or a client could make up series.
    pub(crate) fn request_began(&self, frame: &[u8], now_ns: u64) -> Timing {
        let key = frame.first_chunk::<2>().map_or(UNKNOWN_API, |key| i16::from_be_bytes(*key));
        let api = if ApiKey::from_i16(key).is_some() { key } else { UNKNOWN_API };
        Timing { api, request_bytes: frame.len() as u32, began_ns: now_ns }
    }

    pub(crate) fn request_ended(&self, timing: &Timing, response_bytes: usize, now_ns: u64) {
        let mut apis = self.apis.borrow_mut();
        let api = apis.entry(timing.api).or_default();
        api.requests += 1;
        api.request_bytes += u64::from(timing.request_bytes);
        api.response_bytes += response_bytes as u64;
        api.latency_ns.record(now_ns.saturating_sub(timing.began_ns));
    }

    pub(crate) fn became_durable(&self, took_ns: u64) {
        self.durable_ns.borrow_mut().record(took_ns);
    }

    /// A write to a log is on stable storage. One that failed carried nothing and does not count.
    pub(crate) fn flushed(&self, flushed: Flushed, took_ns: u64) {
        if flushed.batches > 0 {
            let mut flushes = self.flushes.borrow_mut();
            flushes.batches.record(flushed.batches.into());
            flushes.bytes.record(flushed.bytes);
            flushes.took_ns.record(took_ns);
        }
    }

    /// A copy for the control thread.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            apis: self.apis.borrow().clone(),
            values: vec![
                Value::counter("connections_refused", "Connections over a limit", &self.connections_refused),
                Value::counter(
                    "connections_moved",
                    "Connections that went to the core they work for",
                    &self.connections_moved,
                ),
                Value::counter("core_hops", "Requests' work sent to another core", &self.hops),
                Value::counter("produced_batches", "Batches appended for clients", &self.produced_batches),
                Value::counter("produced_records", "Records appended for clients", &self.produced_records),
                Value::counter("produced_bytes", "Bytes appended for clients", &self.produced_bytes),
                Value::counter("fetched_bytes", "Record bytes given to clients", &self.fetched_bytes),
                Value::counter("deleted_segments", "Segments deleted by retention", &self.deleted_segments),
                Value::counter(
                    "deleted_bytes",
                    "Bytes of segments deleted by retention",
                    &self.deleted_bytes,
                ),
                Value::counter("cleaner_runs", "Compactions of a log", &self.cleaner_runs),
                Value::counter("cleaner_read_bytes", "Bytes read by compaction", &self.cleaner_read_bytes),
                Value::counter(
                    "cleaner_written_bytes",
                    "Bytes written by compaction",
                    &self.cleaner_written_bytes,
                ),
                Value::counter(
                    "cleaner_removed_bytes",
                    "Bytes that compaction made of no use",
                    &self.cleaner_removed_bytes,
                ),
                Value::counter("received_bytes", "Bytes that came from clients", &self.received_bytes),
                Value::counter("sent_bytes", "Bytes that went to clients", &self.sent_bytes),
            ],
            durable_ns: self.durable_ns.borrow().clone(),
            flushes: self.flushes.borrow().clone(),
            groups: GroupMetrics::default(),
        }
    }
}

/// One core's metrics at a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) apis: BTreeMap<i16, ApiMetrics>,
    pub(crate) values: Vec<Value>,
    pub(crate) durable_ns: Histogram,
    pub(crate) flushes: Flushes,
    pub(crate) groups: GroupMetrics,
}

/// One named number of a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    /// A counter, not a gauge.
    pub(crate) grows: bool,
    pub(crate) value: u64,
}

impl Value {
    fn counter(name: &'static str, help: &'static str, counter: &Counter) -> Self {
        Self::count(name, help, counter.get())
    }

    pub(crate) fn count(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, grows: true, value }
    }

    pub(crate) fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, grows: false, value }
    }
}
