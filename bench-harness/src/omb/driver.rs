//! A Kafka driver's file: client settings by Kafka's names, in block texts of `key=value` lines.

use std::str::FromStr;

use super::{Converted, yaml};
use crate::toml_file::Problem;
use yaml::Entry;

/// What the benchmark's Java client does if the driver does not say.
const LINGER_MS: f64 = 0.0;
const BATCH_BYTES: u32 = 16_384;
const IN_FLIGHT: u32 = 5;

/// Settings of clients that say how they reach a broker or what classes they are made of: nothing of the load.
const SILENT: &[&str] =
    &["key.serializer", "value.serializer", "key.deserializer", "value.deserializer", "client.id"];

pub(super) fn apply(path: &str, text: &str, converted: &mut Converted) -> Result<(), Problem> {
    let entries = yaml::parse(path, text)?;
    let mut file = File { path, converted };
    file.set_java_defaults();
    for entry in &entries {
        file.entry(entry)?;
    }
    file.settle_idempotence();
    Ok(())
}

struct File<'a> {
    path: &'a str,
    converted: &'a mut Converted,
}

impl File<'_> {
    fn set_java_defaults(&mut self) {
        let produce = &mut self.converted.workload.produce;
        (produce.linger_ms, produce.batch_bytes, produce.in_flight) = (LINGER_MS, BATCH_BYTES, IN_FLIGHT);
        produce.idempotent = true;
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), Problem> {
        match entry.key.as_str() {
            "name" | "reset" => {}
            "driverClass" => {
                if !entry.value.to_ascii_lowercase().contains("kafka") {
                    return Err(self.problem(entry, format!("`{}` is not a Kafka driver", entry.value)));
                }
            }
            "replicationFactor" => {
                self.converted.workload.topics.replication_factor = self.read(entry, "", &entry.value)?;
            }
            "topicConfig" => {
                let config = &mut self.converted.workload.topics.config;
                config
                    .extend(properties(&entry.value).map(|(key, value)| (key.to_owned(), value.to_owned())));
            }
            "commonConfig" | "producerConfig" | "consumerConfig" => {
                for (key, value) in properties(&entry.value) {
                    self.client_setting(entry, key, value)?;
                }
            }
            other => self.converted.notes.push(format!("the driver's `{other}` is left out")),
        }
        Ok(())
    }

    fn client_setting(&mut self, entry: &Entry, key: &str, value: &str) -> Result<(), Problem> {
        let is_producer = entry.key != "consumerConfig";
        let is_consumer = entry.key != "producerConfig";
        match key {
            "acks" if is_producer => {
                let acks = if value == "all" { -1 } else { self.read(entry, key, value)? };
                self.converted.workload.produce.acks = acks;
            }
            "linger.ms" if is_producer => {
                self.converted.workload.produce.linger_ms = self.read(entry, key, value)?;
            }
            "batch.size" if is_producer => {
                let bytes: u32 = self.read(entry, key, value)?;
                // Kafka: a batch size of 0 turns batching off.
                self.converted.workload.produce.batch_bytes = bytes.max(1);
            }
            "compression.type" if is_producer => value.clone_into(&mut self.converted.workload.produce.codec),
            "max.in.flight.requests.per.connection" if is_producer => {
                self.converted.workload.produce.in_flight = self.read(entry, key, value)?;
            }
            "enable.idempotence" if is_producer => {
                self.converted.workload.produce.idempotent = self.read(entry, key, value)?;
            }
            "fetch.min.bytes" if is_consumer => {
                self.converted.workload.consume.min_bytes = self.read(entry, key, value)?;
            }
            "fetch.max.wait.ms" if is_consumer => {
                self.converted.workload.consume.max_wait_ms = self.read(entry, key, value)?;
            }
            "bootstrap.servers" => {
                self.converted.notes.push(format!("bootstrap.servers {value}: give it with --bootstrap"));
            }
            _ if SILENT.contains(&key) => {}
            _ => self.converted.notes.push(format!("{}: `{key}={value}` is left out", entry.key)),
        }
        Ok(())
    }

    /// Kafka: idempotence is on unless said otherwise, and falls away where acks or requests in flight forbid it.
    fn settle_idempotence(&mut self) {
        let produce = &mut self.converted.workload.produce;
        produce.idempotent &= produce.acks == -1 && produce.in_flight <= IN_FLIGHT;
    }

    fn read<N: FromStr>(&self, entry: &Entry, key: &str, value: &str) -> Result<N, Problem> {
        let name = if key.is_empty() { entry.key.as_str() } else { key };
        value.parse().map_err(|_| self.problem(entry, format!("`{name}`: `{value}` is not understood")))
    }

    fn problem(&self, entry: &Entry, message: String) -> Problem {
        Problem { path: self.path.to_owned(), line: entry.line, column: 1, message }
    }
}

fn properties(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let (key, value) = line.split_once(['=', ':']).unwrap_or((line, ""));
        (key.trim(), value.trim())
    })
}
