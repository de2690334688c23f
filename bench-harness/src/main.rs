//! `millstream-bench`: compares Kafka-compatible brokers.

mod result;
mod workload;

fn main() {}
