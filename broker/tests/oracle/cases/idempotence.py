"""InitProducerId and what a log makes of producers' sequences."""
from batches import batch, idempotent
from session import fetch_body, produce_body


def _send(b, topic, raw, note, version=8):
    return b.ask("Produce", version, produce_body(topic, raw), note)


def producer_ids(b):
    for version in range(6):
        first = b.ask("InitProducerId", version, {"TransactionTimeoutMs": 60000})
        again = b.ask("InitProducerId", version, {"TransactionTimeoutMs": 60000}, "again")
        b.record("the next id", "", again["ProducerId"] - first["ProducerId"] > 0)
    for timeout in (0, -1, 2147483647):
        b.ask("InitProducerId", 4, {"TransactionTimeoutMs": timeout}, f"timeout {timeout}, no transactional id")
    for version in (3, 4, 5):
        known = b.producer_id()
        b.ask("InitProducerId", version, {"TransactionTimeoutMs": 1, "ProducerId": known, "ProducerEpoch": 0}, "with an id and epoch")
        b.ask("InitProducerId", version, {"TransactionTimeoutMs": 1, "ProducerId": known, "ProducerEpoch": -1}, "with an id only")
        b.ask("InitProducerId", version, {"TransactionTimeoutMs": 1, "ProducerId": -1, "ProducerEpoch": 3}, "with an epoch only")
    for version in (0, 4):
        b.ask("InitProducerId", version, {"TransactionalId": "", "TransactionTimeoutMs": 1000}, "an empty transactional id")


def in_sequence(b):
    topic, me = b.topic(), b.producer_id()
    for at in (0, 3, 6):
        _send(b, topic, idempotent(me, 0, at, 3), f"{at} to {at + 2}")
    b.ask("Fetch", 11, fetch_body(topic), "what is stored")


def duplicates(b):
    topic, me = b.topic(), b.producer_id()
    for at in range(8):
        _send(b, topic, idempotent(me, 0, at), f"{at}")
    for at in range(8):
        for version in (3, 8, 9):
            _send(b, topic, idempotent(me, 0, at), f"{at} again", version)
    for at, count in ((6, 2), (7, 2), (3, 3), (7, 1)):
        _send(b, topic, idempotent(me, 0, at, count), f"{at} to {at + count - 1}, which overlaps")
    b.ask("Fetch", 11, fetch_body(topic), "what is stored")


def duplicates_differ(b):
    """The same sequence with other content, under append time too."""
    for kind, configs in (("create", {}), ("append", {"message_timestamp_type": "LogAppendTime"})):
        topic, me = b.topic(kind, **configs), b.producer_id()
        _send(b, topic, idempotent(me, 0, 0, 2), "first")
        _send(b, topic, idempotent(me, 0, 0, 2, base_timestamp=1_700_000_999_000), "another content")
        b.ask("Fetch", 11, fetch_body(topic), "what is stored")


def gaps(b):
    topic, me = b.topic(), b.producer_id()
    _send(b, topic, idempotent(me, 0, 0), "0")
    for at in (2, 5, 2147483647):
        _send(b, topic, idempotent(me, 0, at), f"{at} after 0")
    _send(b, topic, idempotent(me, 0, 1), "1 after all")
    _send(b, topic, batch(), "a plain batch between")
    _send(b, topic, idempotent(me, 0, 2), "2")


def first_sequences(b):
    for number, at in enumerate((0, 1, 100, 2147483647)):
        for version in (3, 8, 11, 12):
            _send(b, b.topic(f"t{number}-{version}"), idempotent(b.producer_id(), 0, at), f"an unknown producer starts at {at}", version)
    topic = b.topic("epochs")
    for epoch in (0, 5, 32767):
        _send(b, topic, idempotent(b.producer_id(), epoch, 7), f"an unknown producer starts at 7 in epoch {epoch}")
    _send(b, topic, idempotent(b.producer_id(), -1, 0), "epoch -1")
    _send(b, topic, idempotent(b.producer_id(), 0, -2), "sequence -2")
    _send(b, topic, idempotent(-2, 0, 0), "producer id -2")


def epochs(b):
    topic, me = b.topic(), b.producer_id()
    for epoch, at in ((3, 0), (3, 1), (2, 0), (2, 2), (4, 5), (4, 0), (3, 2), (4, 1), (32767, 0), (32767, 1), (-1, 0)):
        for version in (3, 8, 12):
            _send(b, topic, idempotent(me, epoch, at), f"epoch {epoch} sequence {at}", version)


def wrap(b):
    topic, me = b.topic(), b.producer_id()
    for at, count in ((2147483645, 2), (2147483647, 1), (0, 1), (1, 2), (2147483647, 1)):
        _send(b, topic, idempotent(me, 0, at, count), f"{count} from {at}")
    topic, me = b.topic("across"), b.producer_id()
    _send(b, topic, idempotent(me, 0, 2147483646, 4), "four across the end")
    _send(b, topic, idempotent(me, 0, 2), "2")
    _send(b, topic, idempotent(me, 0, 2147483646, 4), "the four again")


def two_producers_and_partitions(b):
    topic, one, two = b.topic("t", partitions=2), b.producer_id(), b.producer_id()
    for at in range(3):
        for me in (one, two):
            for partition in (0, 1):
                body = produce_body(topic, idempotent(me, 0, at), partition)
                b.ask("Produce", 9, body, f"{at} to {partition}")
    for partition in (0, 1):
        b.ask("Fetch", 11, fetch_body(topic, partition=partition), f"partition {partition}")


def after_delete_records(b):
    topic, me = b.topic(), b.producer_id()
    for at in range(3):
        _send(b, topic, idempotent(me, 0, at), f"{at}")
    b.ask("DeleteRecords", 1, {"Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": 0, "Offset": -1}]}], "TimeoutMs": 10000}, "all deleted")
    _send(b, topic, idempotent(me, 0, 2), "2 again")
    _send(b, topic, idempotent(me, 0, 5), "5")
    _send(b, topic, idempotent(me, 0, 3), "3")


def after_topic_deletion(b):
    topic, me = b.topic(), b.producer_id()
    _send(b, topic, idempotent(me, 0, 0), "0")
    b.quietly("DeleteTopics", 5, {"TopicNames": [topic], "TimeoutMs": 10000})
    b.gone(topic)
    again = b.topic()
    _send(b, again, idempotent(me, 0, 1), "1 to the new topic")
    b.ask("Fetch", 11, fetch_body(again), "what is stored")
