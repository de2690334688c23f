//! `millstream-bench`: compares Kafka-compatible brokers.

mod failure;
mod result;
mod workload;

fn main() {}
