//! The same load through librdkafka instead of our own client: same schedule, same payloads, same accounts, so that whoever
//! doubts our client can look whether results depend on it. A cargo feature, off by default: it takes a C compiler.
//!
//! What differs: librdkafka has threads of its own, so that its CPU is higher and its records wait in queues that ours does not
//! have. Latencies end when librdkafka's callback is called; how long records waited for their reader is not known.

use rdkafka::ClientConfig;

use super::plan::Plan;

pub(super) mod reader;
pub(super) mod sender;

/// Of one instance: nothing is to be refused that our own client would take.
const QUEUE_KIB: usize = 1 << 20;
const QUEUE_MESSAGES: usize = 10_000_000;
const BATCH_MESSAGES_MAX: usize = 1_000_000;
/// Of a request, beside its records.
const OVERHEAD_BYTES: usize = 64 << 10;

/// For the result.
pub(super) fn name() -> String {
    format!("librdkafka {}", rdkafka::util::get_rdkafka_version().1)
}

fn producer_config(plan: &Plan) -> ClientConfig {
    let produce = &plan.workload.produce;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &plan.bootstrap)
        .set("acks", produce.acks.to_string())
        .set("enable.idempotence", produce.idempotent.to_string())
        .set("compression.codec", &produce.codec)
        .set("linger.ms", produce.linger_ms.to_string())
        .set("batch.size", plan.batch_bytes().to_string())
        .set("batch.num.messages", BATCH_MESSAGES_MAX.to_string())
        .set("message.max.bytes", (plan.batch_bytes().max(plan.record_bytes()) + OVERHEAD_BYTES).to_string())
        .set("max.in.flight.requests.per.connection", produce.in_flight.to_string())
        .set("message.timeout.ms", plan.patience.as_millis().to_string())
        .set("queue.buffering.max.kbytes", QUEUE_KIB.to_string())
        .set("queue.buffering.max.messages", QUEUE_MESSAGES.to_string());
    config
}

fn consumer_config(plan: &Plan) -> ClientConfig {
    let consume = &plan.workload.consume;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &plan.bootstrap)
        .set("group.id", format!("bench-{:08x}", plan.run))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("check.crcs", "true")
        .set("fetch.min.bytes", consume.min_bytes.max(1).to_string())
        .set("fetch.wait.max.ms", consume.max_wait_ms.to_string());
    config
}
