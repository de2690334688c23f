//! Transactions and where their state is kept.

use super::*;

#[rustfmt::skip]
pub(super) const SETTINGS: &[BrokerSetting] = &[
    row("transaction.state.log.num.partitions", Int, Text("50"), AtLeast(1), High, ReadOnly, NotYet,
        "Partitions of the topic that keeps transactions."),
    row("transaction.state.log.replication.factor", Short, Text("3"), AtLeast(1), High, ReadOnly, NotYet,
        "Replicas of the topic that keeps transactions; 1 on a single node."),
    row("transaction.state.log.min.isr", Int, Text("2"), AtLeast(1), High, ReadOnly, NotYet,
        "min.insync.replicas of the topic that keeps transactions; 1 on a single node."),
    row("transaction.state.log.segment.bytes", Int, Text("104857600"), AtLeast(1), High, ReadOnly, NotYet,
        "Segment size of the topic that keeps transactions."),
    row("transaction.state.log.load.buffer.size", Int, Text("5242880"), AtLeast(1), High, ReadOnly, Accepted(DIRECT),
        "Buffer for reading transactions at a start."),
    row("transaction.max.timeout.ms", Int, Text("900000"), AtLeast(1), High, ReadOnly, NotYet,
        "Longest transaction timeout a producer may ask for."),
    row("transactional.id.expiration.ms", Int, Text("604800000"), AtLeast(1), High, ReadOnly, NotYet,
        "How long an unused transactional id is remembered."),
    row("transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, Text("10000"), AtLeast(1), Low, ReadOnly, NotYet,
        "How often transactions are looked at for some that took too long."),
    row("transaction.remove.expired.transaction.cleanup.interval.ms", Int, Text("3600000"), AtLeast(1), Low, ReadOnly, NotYet,
        "How often transactional ids are looked at for some that may go."),
    row("transaction.partition.verification.enable", Boolean, Text("true"), Any, Low, ClusterWide, NotYet,
        "Whether a produce of an old client is checked to belong to a transaction."),
    row("transaction.two.phase.commit.enable", Boolean, Text("false"), Any, Low, ReadOnly, NotYet,
        "Whether producers may prepare transactions for a coordinator outside."),
    row("add.partitions.to.txn.retry.backoff.ms", Int, Text("20"), AtLeast(1), High, ReadOnly, NotYet,
        "First pause before adding a partition to a transaction is tried again."),
    row("add.partitions.to.txn.retry.backoff.max.ms", Int, Text("100"), AtLeast(0), High, ReadOnly, NotYet,
        "Longest such pause."),
];
