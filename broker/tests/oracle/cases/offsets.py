"""ListOffsets, OffsetForLeaderEpoch, DeleteRecords."""
import time

from batches import batch, record, records
from cases.fetch import _filled

SPECIAL = (-1, -2, -3, -4, -5, -6, -7, -100, -(1 << 63))


def _list(b, version, topic, timestamp, note="", partition=0, **more):
    part = {"PartitionIndex": partition, "Timestamp": timestamp}
    for field in ("CurrentLeaderEpoch",):
        if field in more:
            part[field] = more.pop(field)
    return b.ask("ListOffsets", version, {"ReplicaId": -1, "Topics": [{"Name": topic, "Partitions": [part]}], **more}, note or f"at {timestamp}")


def special_timestamps(b):
    topic, empty = _filled(b), b.topic("empty")
    b.quietly("DeleteRecords", 1, {"Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": 0, "Offset": 4}]}], "TimeoutMs": 10000})
    for version in range(1, 12):
        for timestamp in SPECIAL:
            _list(b, version, topic, timestamp)
            _list(b, version, empty, timestamp, f"at {timestamp}, empty")


def timestamps(b):
    topic = b.topic()
    b.fill(topic, batch([record(timestamp_delta=0), record(timestamp_delta=10, offset_delta=1)], base_timestamp=1000, max_timestamp=1010),
           batch([record(timestamp_delta=0), record(timestamp_delta=-50, offset_delta=1)], base_timestamp=2000, max_timestamp=2000),
           batch([record(timestamp_delta=0), record(timestamp_delta=700, offset_delta=1), record(timestamp_delta=5, offset_delta=2)], "gzip", base_timestamp=1500, max_timestamp=2200),
           batch([record()], base_timestamp=2200, max_timestamp=2200), batch([record()], base_timestamp=500, max_timestamp=500))
    for version in (1, 3, 5, 7, 10, 11):
        for timestamp in (0, 1, 999, 1000, 1001, 1010, 1011, 1500, 1949, 1950, 1951, 2000, 2001, 2199, 2200, 2201, 10**15, (1 << 63) - 1):
            _list(b, version, topic, timestamp)
    for version in (7, 11):
        _list(b, version, topic, -3, "the largest")


def timestamps_after_deletion(b):
    topic = b.topic()
    b.fill(topic, *[batch([record()], base_timestamp=1000 * at, max_timestamp=1000 * at) for at in (5, 9, 7, 8)])
    for before in (1, 2, 3, 4):
        b.quietly("DeleteRecords", 1, {"Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": 0, "Offset": before}]}], "TimeoutMs": 10000})
        for timestamp in (-3, -2, -1, 0, 5000, 7500, 9000, 9001):
            _list(b, 7, topic, timestamp, f"at {timestamp}, first kept {before}")


def timestamps_of_kinds(b):
    now = int(time.time() * 1000)
    none = b.topic("none")
    b.fill(none, batch(base_timestamp=-1, max_timestamp=-1))
    appended = b.topic("appended", message_timestamp_type="LogAppendTime")
    b.fill(appended, batch(records((b"a", b"1"), (b"b", b"2"))))
    time.sleep(0.01)  # or both could be given the same millisecond, and the first would be the largest
    b.fill(appended, batch())
    for topic, kind in ((none, "no timestamps"), (appended, "append time")):
        for timestamp in (-3, 0, 1_700_000_000_000, now + 3_600_000):
            _list(b, 7, topic, timestamp, f"at {timestamp if timestamp < now else 'later'}, {kind}")


def places(b):
    topic = b.topic("t", partitions=2)
    b.fill(topic, batch(), partition=1)
    for version in (1, 4, 5, 6, 11):
        for partition in (1, 2, -1):
            _list(b, version, topic, -1, f"partition {partition}", partition)
        _list(b, version, b.name("missing"), -1, "unknown topic")
        _list(b, version, "a b", -1, "a bad name")
        parts = [{"PartitionIndex": at, "Timestamp": stamp} for at, stamp in ((1, -1), (1, -2), (0, -1))]
        b.ask("ListOffsets", version, {"ReplicaId": -1, "Topics": [{"Name": topic, "Partitions": parts}]}, "a partition twice")
        b.ask("ListOffsets", version, {"ReplicaId": -1, "Topics": [{"Name": topic, "Partitions": parts[:1]}] * 2}, "a topic twice")
        b.ask("ListOffsets", version, {"ReplicaId": -1, "Topics": []}, "none")


def epochs_and_isolation(b):
    topic = _filled(b)
    for version in (4, 5, 7, 11):
        for epoch in (-1, 0, 1, 9, -2):
            _list(b, version, topic, -1, f"current leader epoch {epoch}", CurrentLeaderEpoch=epoch)
            _list(b, version, topic, 0, f"timestamp 0, current leader epoch {epoch}", CurrentLeaderEpoch=epoch)
    for version in (2, 7, 11):
        for level in (0, 1, 2, -1):
            for timestamp in (-1, -2, 0):
                _list(b, version, topic, timestamp, f"at {timestamp}, isolation level {level}", IsolationLevel=level)
    for replica in (-2, 0, 4711):
        _list(b, 5, topic, -1, f"as replica {replica}", ReplicaId=replica)
    for timeout in (0, -1, 1000):
        _list(b, 11, topic, -1, f"timeout {timeout}", TimeoutMs=timeout)


def leader_epochs(b):
    topic, empty = _filled(b), b.topic("empty")

    def ask(version, name, epoch, note="", partition=0, current=-1, **more):
        part = {"Partition": partition, "LeaderEpoch": epoch, "CurrentLeaderEpoch": current}
        b.ask("OffsetForLeaderEpoch", version, {"Topics": [{"Topic": name, "Partitions": [part]}], **more}, note or f"epoch {epoch}")

    for version in (2, 3, 4):
        for epoch in (0, 1, 5, -1, -2, 2147483647):
            ask(version, topic, epoch)
            ask(version, empty, epoch, f"epoch {epoch}, empty")
        for current in (0, 1, -1, -2):
            ask(version, topic, 0, f"current leader epoch {current}", current=current)
        ask(version, b.name("missing"), 0, "unknown topic")
        ask(version, "a b", 0, "a bad name")
        ask(version, topic, 0, "partition 3", partition=3)
        ask(version, topic, 0, "partition -1", partition=-1)
        twice = [{"Partition": 0, "LeaderEpoch": 0}, {"Partition": 0, "LeaderEpoch": 5}]
        b.ask("OffsetForLeaderEpoch", version, {"Topics": [{"Topic": topic, "Partitions": twice}]}, "a partition twice")
        b.ask("OffsetForLeaderEpoch", version, {"Topics": []}, "none")
    for replica in (-1, -2, 0, 4711):
        ask(4, topic, 0, f"as replica {replica}", ReplicaId=replica)


def delete_records(b):
    topic = _filled(b)

    def ask(version, name, offset, note="", partition=0, timeout=10000):
        b.ask("DeleteRecords", version, {"Topics": [{"Name": name, "Partitions": [{"PartitionIndex": partition, "Offset": offset}]}], "TimeoutMs": timeout}, note or f"before {offset}")

    for version, offset in ((0, 2), (1, 4), (2, 7)):
        ask(version, topic, offset)
        ask(version, topic, offset, f"before {offset} again")
        ask(version, topic, 1, "before 1")
        for bad in (16, 1 << 40, -2, -5):
            ask(version, topic, bad)
        b.ask("Fetch", 11, {"MaxBytes": 1 << 20, "Topics": [{"Topic": topic, "Partitions": [{"Partition": 0, "FetchOffset": offset, "PartitionMaxBytes": 1 << 20}]}]}, "what is left")
        ask(version, b.name("missing"), 1, "unknown topic")
        ask(version, "a b", 1, "a bad name")
        ask(version, topic, 1, "partition 9", partition=9)
        b.ask("DeleteRecords", version, {"Topics": [], "TimeoutMs": 1000}, "none")
    ask(2, topic, 8, "timeout 0", timeout=0)
    ask(2, topic, -1, "to the end")
    ask(2, topic, -1, "to the end again")
    _list(b, 7, topic, -2, "earliest")
    _list(b, 7, topic, -1, "latest")
    b.fill(topic, batch())
    b.ask("Fetch", 11, {"MaxBytes": 1 << 20, "Topics": [{"Topic": topic, "Partitions": [{"Partition": 0, "FetchOffset": 15, "PartitionMaxBytes": 1 << 20}]}]}, "what came after")
    for policy in ("compact", "compact,delete"):
        kept = b.topic(policy.replace(",", "-"), cleanup_policy=policy)
        b.fill(kept, batch())
        ask(2, kept, 1, policy)


def delete_records_several(b):
    topic, other = b.topic("t", partitions=2), b.topic("u")
    b.fill(topic, batch(), batch())
    parts = [{"PartitionIndex": 0, "Offset": 1}, {"PartitionIndex": 1, "Offset": 5}, {"PartitionIndex": 2, "Offset": 0}]
    b.ask("DeleteRecords", 1, {"Topics": [{"Name": topic, "Partitions": parts}, {"Name": other, "Partitions": parts[:1]}], "TimeoutMs": 10000})
    b.ask("DeleteRecords", 1, {"Topics": [{"Name": topic, "Partitions": [parts[0], {"PartitionIndex": 0, "Offset": 2}]}], "TimeoutMs": 10000}, "a partition twice")
