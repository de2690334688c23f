"""Fetch without sessions: versions, offsets, limits, waits, epochs, topic ids."""
import threading
import time

from batches import batch, records
from cases.metadata import UNKNOWN_ID
from codec import ZERO_ID
from session import fetch_body, produce_body

VERSIONS = range(4, 19)


def _filled(b, text="t", count=5, each=3, **configs):
    topic = b.topic(text, **configs)
    b.fill(topic, *[batch(records(*[(b"k%d" % at, b"v%d-%d" % (number, at)) for at in range(each)])) for number in range(count)])
    return topic


def _ask(b, version, topic, offset=0, note="", **more):
    """By name up to v12, by id above."""
    wire, patience = more.pop("wire", None), more.pop("patience", None)
    named = {"by_id": True} if version >= 13 else {}
    name = b.topic_id(topic) if version >= 13 and topic.startswith(b.prefix) else topic
    return b.ask("Fetch", version, fetch_body(name, offset, **named, **more), note or f"from {offset}", wire=wire, patience=patience)


def versions(b):
    topic = _filled(b)
    for version in VERSIONS:
        for offset in (0, 1, 3, 14, 15):
            _ask(b, version, topic, offset)


def offsets_out_of_range(b):
    topic = _filled(b)
    b.quietly("DeleteRecords", 1, {"Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": 0, "Offset": 4}]}], "TimeoutMs": 10000})
    for version in VERSIONS:
        for offset in (0, 3, 4, 5, 15, 16, 1 << 40, (1 << 63) - 1, -1, -2, -(1 << 63)):
            _ask(b, version, topic, offset)


def limits_of_a_partition(b):
    topic = _filled(b)
    for version in (4, 11, 12, 17):
        for limit in (0, 1, 60, 61, 90, 91, 92, 180, 200, 300, 2147483647, -1, -2147483648):
            _ask(b, version, topic, PartitionMaxBytes=limit, note=f"at most {limit} bytes a partition")
        _ask(b, version, topic, 4, PartitionMaxBytes=1, note="in the middle of a batch, at most 1 byte")


def limits_of_a_request(b):
    topics = [_filled(b, f"t{at}", count=3) for at in range(3)]
    for version in (4, 11):
        for limit in (0, 1, 90, 100, 200, 300, 500, 1000, 2147483647, -1):
            wanted = [{"Topic": topic, "Partitions": [{"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1 << 20}]} for topic in topics]
            b.ask("Fetch", version, {"MaxBytes": limit, "Topics": wanted}, f"at most {limit} bytes in all", ordered=True)
            b.ask("Fetch", version, {"MaxBytes": limit, "Topics": wanted[::-1]}, f"at most {limit} bytes in all, in reverse", ordered=True)


def a_large_batch(b):
    topic = b.topic()
    b.fill(topic, batch(records((b"k", bytes(200_000)))), batch())
    for limit in (0, 1, 100_000, 300_000):
        _ask(b, 11, topic, PartitionMaxBytes=limit, note=f"at most {limit} bytes a partition")
        _ask(b, 11, topic, MaxBytes=limit, note=f"at most {limit} bytes in all")


def several_partitions(b):
    topic = b.topic("t", partitions=4)
    for partition in (0, 2):
        b.fill(topic, batch(), batch(), partition=partition)
    for version in (4, 7, 11, 12):
        asked = [{"Partition": at, "FetchOffset": 1, "PartitionMaxBytes": 1000} for at in (3, 2, 1, 0, 7, -1)]
        b.ask("Fetch", version, {"MaxBytes": 1 << 20, "Topics": [{"Topic": topic, "Partitions": asked}]})
        twice = [{"Partition": 0, "FetchOffset": at, "PartitionMaxBytes": 1000} for at in (0, 1)]
        b.ask("Fetch", version, {"MaxBytes": 1 << 20, "Topics": [{"Topic": topic, "Partitions": twice}]}, "a partition twice")
        b.ask("Fetch", version, {"MaxBytes": 1 << 20, "Topics": [{"Topic": topic, "Partitions": [part]} for part in twice]}, "a topic twice")


def unknown_topics(b):
    topic = _filled(b)
    for version in (4, 7, 11, 12):
        _ask(b, version, b.name("missing"), note="unknown")
        _ask(b, version, "a b", note="a bad name")
        _ask(b, version, "", note="no name")
    for version in (13, 16, 17, 18):
        for unknown, note in ((UNKNOWN_ID, "unknown id"), (ZERO_ID, "zero id")):
            b.ask("Fetch", version, fetch_body(unknown, by_id=True), note)
        known = [{"Partition": 0, "PartitionMaxBytes": 1000}]
        b.ask("Fetch", version, {"MaxBytes": 1000, "Topics": [{"TopicId": UNKNOWN_ID, "Partitions": known}, {"TopicId": b.topic_id(topic), "Partitions": known}]}, "unknown and known")
    for version in (4, 7, 12, 17):
        b.ask("Fetch", version, {"MaxBytes": 1000, "Topics": []}, "nothing")
        b.ask("Fetch", version, {"MaxBytes": 1000, "MaxWaitMs": 300, "MinBytes": 1, "Topics": []}, "nothing, waiting")


def isolation(b):
    topic = _filled(b)
    for version in (4, 11, 17):
        for level in (0, 1, 2, 7, -1):
            _ask(b, version, topic, IsolationLevel=level, note=f"isolation level {level}")


def leader_epochs(b):
    topic = _filled(b)
    for version in (9, 11, 12, 16, 18):
        for epoch in (-1, 0, 1, 5, -2):
            _ask(b, version, topic, CurrentLeaderEpoch=epoch, note=f"current leader epoch {epoch}")
    for version in (12, 16, 18):
        for epoch in (-1, 0, 1, 5, -2):
            for offset in (0, 15, 16):
                _ask(b, version, topic, offset, LastFetchedEpoch=epoch, note=f"last fetched epoch {epoch} at {offset}")


def as_a_replica(b):
    topic = _filled(b)
    for version in (4, 11, 14):
        for replica in (0, b.broker.node_id, 4711, -2, -3):
            name = {"by_id": True} if version >= 13 else {}
            b.ask("Fetch", version, {**fetch_body(b.topic_id(topic) if version >= 13 else topic, **name), "ReplicaId": replica}, f"replica {'me' if replica == b.broker.node_id else replica}")
    for version in (15, 17):
        for replica in (4711, -2):
            state = {"ReplicaId": replica, "ReplicaEpoch": 1}
            b.ask("Fetch", version, {**fetch_body(b.topic_id(topic), by_id=True), "ReplicaState": state}, f"replica {replica}")


def other_fields(b):
    topic = _filled(b)
    _ask(b, 11, topic, RackId="somewhere", note="with a rack")
    _ask(b, 11, topic, LogStartOffset=3, note="with a log start offset")
    _ask(b, 12, topic, ClusterId="someone-else", note="with another cluster's id")
    for max_wait in (-1, -2147483648):
        _ask(b, 11, topic, 15, MaxWaitMs=max_wait, MinBytes=1, note=f"wait {max_wait}")
    _ask(b, 11, topic, MinBytes=-1, note="min bytes -1")


def waits(b):
    topic = _filled(b)
    for note, offset, least, wait in (("nothing new", 15, 1, 500), ("enough", 0, 1, 2000), ("not enough", 0, 100000, 500), ("no least", 15, 0, 500), ("no wait", 15, 1, 0),
                                      ("an error", 99, 1, 2000)):
        started = time.monotonic()
        _ask(b, 11, topic, offset, MaxWaitMs=wait, MinBytes=least, note=note)
        b.timed(started, max(wait, 50))


def woken_by_an_append(b):
    topic = _filled(b)
    for version in (4, 11, 17):
        name = b.topic_id(topic) if version >= 13 else topic
        end = b.quietly("ListOffsets", 1, {"ReplicaId": -1, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": 0, "Timestamp": -1}]}]})
        at = end["Topics"][0]["Partitions"][0]["Offset"]
        later = threading.Timer(0.3, lambda: b.ask_elsewhere("Produce", 8, produce_body(topic, batch())))
        later.start()
        started = time.monotonic()
        wire = b.connect(20)
        body = fetch_body(name, at, MaxWaitMs=8000, MinBytes=1, **({"by_id": True} if version >= 13 else {}))
        b.ask("Fetch", version, body, "woken by an append", wire=wire)
        b.timed(started, 8000)
        later.join()


def topic_made_again(b):
    topic = _filled(b)
    old = b.topic_id(topic)
    b.quietly("DeleteTopics", 5, {"TopicNames": [topic], "TimeoutMs": 10000})
    b.gone(topic)
    b.ask("Fetch", 11, fetch_body(topic), "deleted, by name")
    b.ask("Fetch", 17, fetch_body(old, by_id=True), "deleted, by id")
    _filled(b, count=1)
    b.names[old] = "(the old id)"
    b.ask("Fetch", 17, fetch_body(old, by_id=True), "made again, by the old id")
    _ask(b, 17, topic, note="made again, by the new id")
