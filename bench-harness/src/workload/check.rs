//! What a workload must keep to so that it can be run and means something.

use super::{Arrivals, Burst, Keys, Workload};
use crate::keyspace::KEYS_MAX;
use crate::payload::HEAD_BYTES;

/// A value that will not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The way to it through the file.
    pub(crate) keys: &'static [&'static str],
    pub(crate) message: String,
}

/// A value holds who sent it, its number, when it was due, and a checksum.
pub(crate) const VALUE_BYTES_MIN: u32 = HEAD_BYTES as u32;
const VALUE_BYTES_MAX: u32 = 256 << 20;
const CODECS: &[&str] = &["none", "gzip", "snappy", "lz4", "zstd"];
/// One run is watched by one person.
const DURATION_S_MAX: f64 = 30.0 * 24.0 * 3600.0;
const PARTITIONS_MAX: u64 = 1_000_000;
const CLIENTS_MAX: u32 = 100_000;
/// What brokers and clients keep a producer's sequence for.
const IDEMPOTENT_IN_FLIGHT_MAX: u32 = 5;

impl Workload {
    /// All that is wrong; also to be asked after the command line has changed something.
    pub(crate) fn check(&self) -> Vec<Wrong> {
        let mut found = Found(Vec::new());
        self.check_times(&mut found);
        self.check_topics(&mut found);
        self.check_records(&mut found);
        self.check_arrivals(&mut found);
        self.check_produce(&mut found);
        self.check_consume(&mut found);
        found.0
    }

    fn check_times(&self, found: &mut Found) {
        found.unless(!self.name.trim().is_empty(), &["name"], || "a workload has a name".into());
        let is_duration = self.duration_s >= 1.0 && self.duration_s <= DURATION_S_MAX;
        found.unless(is_duration, &["duration_s"], || {
            format!("{} s: what is measured lasts from 1 second to 30 days", self.duration_s)
        });
        let is_warm_up = self.warm_up_s >= 0.0 && self.warm_up_s <= DURATION_S_MAX;
        found.unless(is_warm_up, &["warm_up_s"], || {
            format!("{} s: a warm-up lasts from 0 seconds to 30 days", self.warm_up_s)
        });
    }

    fn check_topics(&self, found: &mut Found) {
        let topics = &self.topics;
        found.unless(topics.count >= 1, &["topics", "count"], || "at least one topic is written to".into());
        found.unless(topics.partitions >= 1, &["topics", "partitions"], || {
            "a topic has at least one partition".into()
        });
        let all = u64::from(topics.count) * u64::from(topics.partitions);
        found.unless(all <= PARTITIONS_MAX, &["topics", "partitions"], || {
            format!("{all} partitions over all topics; {PARTITIONS_MAX} at most")
        });
        let is_factor = topics.replication_factor >= 1 || topics.replication_factor == -1;
        found.unless(is_factor, &["topics", "replication_factor"], || {
            format!("{} copies: 1 or more, or -1 for the broker's default", topics.replication_factor)
        });
    }

    fn check_records(&self, found: &mut Found) {
        let records = &self.records;
        found.unless(records.bytes >= VALUE_BYTES_MIN, &["records", "bytes"], || {
            format!(
                "{} bytes is too small: a value holds its number, its time and a checksum, {VALUE_BYTES_MIN} bytes",
                records.bytes
            )
        });
        found.unless(records.bytes <= VALUE_BYTES_MAX, &["records", "bytes"], || {
            format!("{} bytes is more than {VALUE_BYTES_MAX}", records.bytes)
        });
        found.unless((0.0..=1.0).contains(&records.randomness), &["records", "randomness"], || {
            format!("{} is not a share: from 0 (all alike) to 1 (nothing to compress)", records.randomness)
        });
        if let Keys::Uniform { count } | Keys::Zipf { count, .. } = records.keys {
            found.unless((1..=KEYS_MAX).contains(&count), &["records", "keys", "count"], || {
                format!("{count} keys: 1 to {KEYS_MAX}")
            });
        }
        if let Keys::Zipf { exponent, .. } = records.keys {
            let is_exponent = exponent > 0.0 && exponent <= 10.0;
            found.unless(is_exponent, &["records", "keys", "exponent"], || {
                format!("{exponent} is no exponent: more than 0, 10 at most; 1 is usual")
            });
        }
    }

    fn check_arrivals(&self, found: &mut Found) {
        let produce = &self.produce;
        let has_schedule = matches!(produce.arrivals, Arrivals::Fixed | Arrivals::Poisson);
        let name = match produce.arrivals {
            Arrivals::Fixed => "fixed",
            Arrivals::Poisson => "poisson",
            Arrivals::Closed => "closed",
            Arrivals::Max => "max",
        };
        match produce.rate {
            None => found.unless(!has_schedule, &["produce", "rate"], || {
                format!("arrivals = \"{name}\" follow a schedule: `rate`, in records a second, is needed")
            }),
            Some(rate) if has_schedule => {
                found.unless(rate > 0.0 && rate <= 1e9, &["produce", "rate"], || {
                    format!("{rate} records a second: more than 0, 1e9 at most")
                });
            }
            Some(_) => found.unless(false, &["produce", "rate"], || {
                format!("arrivals = \"{name}\" have no rate; leave it out, or take \"fixed\" or \"poisson\"")
            }),
        }
        if let Some(Burst { every_s, lasts_s }) = produce.burst {
            found.unless(has_schedule, &["produce", "burst"], || {
                format!("arrivals = \"{name}\" have no schedule that could come in bursts")
            });
            let is_burst = lasts_s > 0.0 && lasts_s <= every_s && every_s <= DURATION_S_MAX;
            found.unless(is_burst, &["produce", "burst", "lasts_s"], || {
                format!(
                    "a burst of {lasts_s} s every {every_s} s: more than 0 s, and no longer than its period"
                )
            });
        }
    }

    fn check_produce(&self, found: &mut Found) {
        let produce = &self.produce;
        let is_count = (1..=CLIENTS_MAX).contains(&produce.producers);
        found.unless(is_count, &["produce", "producers"], || {
            format!("{} producers: 1 to {CLIENTS_MAX}", produce.producers)
        });
        found.unless(matches!(produce.acks, -1 | 1), &["produce", "acks"], || match produce.acks {
            0 => "acks = 0 lets the broker acknowledge nothing: there would be nothing to measure".into(),
            other => format!("acks = {other}: -1 (all) or 1"),
        });
        found.unless(CODECS.contains(&produce.codec.as_str()), &["produce", "codec"], || {
            let suggestion = crate::toml_file::did_you_mean(&produce.codec, CODECS.iter().copied());
            format!("unknown codec `{}`{suggestion} ({})", produce.codec, CODECS.join(", "))
        });
        let is_linger = (0.0..=60_000.0).contains(&produce.linger_ms);
        found.unless(is_linger, &["produce", "linger_ms"], || {
            format!("{} ms: from 0 to 60000", produce.linger_ms)
        });
        found.unless(produce.batch_bytes >= 1, &["produce", "batch_bytes"], || {
            "a batch holds at least one record: 1 or more".into()
        });
        found.unless(produce.in_flight >= 1, &["produce", "in_flight"], || {
            "at least one request is in flight".into()
        });
        if produce.idempotent {
            found.unless(produce.acks == -1, &["produce", "acks"], || {
                "an idempotent producer asks for acks = -1 (all)".into()
            });
            found.unless(produce.in_flight <= IDEMPOTENT_IN_FLIGHT_MAX, &["produce", "in_flight"], || {
                format!(
                    "{} in flight: an idempotent producer has {IDEMPOTENT_IN_FLIGHT_MAX} at most",
                    produce.in_flight
                )
            });
        }
    }

    fn check_consume(&self, found: &mut Found) {
        let consume = &self.consume;
        found.unless(consume.consumers <= CLIENTS_MAX, &["consume", "consumers"], || {
            format!("{} consumers: {CLIENTS_MAX} at most", consume.consumers)
        });
        let is_groups =
            consume.groups >= 1 && (consume.group.is_none() || consume.groups <= consume.consumers);
        found.unless(is_groups, &["consume", "groups"], || {
            format!("{} groups: 1 at least, and a consumer for each", consume.groups)
        });
        let is_interval = (1.0..=3_600_000.0).contains(&consume.commit_interval_ms);
        found.unless(is_interval, &["consume", "commit_interval_ms"], || {
            format!("{} ms: from 1 to 3600000", consume.commit_interval_ms)
        });
        found.unless(consume.min_bytes >= 0, &["consume", "min_bytes"], || {
            format!("{} bytes: 0 or more", consume.min_bytes)
        });
        found.unless(consume.max_wait_ms >= 0, &["consume", "max_wait_ms"], || {
            format!("{} ms: 0 or more", consume.max_wait_ms)
        });
        let reads_it = consume.consumers > 0 && consume.from == super::From::Beginning;
        found.unless(consume.backlog_records == 0 || reads_it, &["consume", "backlog_records"], || {
            "a backlog is for consumers from the beginning: from = \"beginning\", and at least one consumer".into()
        });
    }
}

struct Found(Vec<Wrong>);

impl Found {
    fn unless(&mut self, holds: bool, keys: &'static [&'static str], message: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Wrong { keys, message: message() });
        }
    }
}
