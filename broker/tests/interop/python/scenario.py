"""What every Python client is put through. A client is an object with the methods used here; see confluent.py.

One line a check: `ok   CLIENT: what` or `FAIL CLIENT: what: why`. No consumer groups: partitions are assigned."""
import collections
import os
import random
import sys
import time
import traceback

Record = collections.namedtuple("Record", "partition key value headers timestamp")
# Young enough for retention to leave it alone.
START = int(time.time() * 1000) - 3_600_000


def samples(count, partitions, fit):
    """Records of every awkward shape, spread over the partitions. Some clients refuse some of them: `fit` makes those acceptable."""
    noise = random.Random(7)
    shapes = [
        (b"key", b"value", []), (None, b"no key", []), (b"tombstone", None, []), (b"empty", b"", []), (b"", b"empty key", []), (None, None, []),
        (b"h", b"headers", [("a", b"1"), ("a", b"2"), ("b", b""), ("a", b"1")]), (b"\x00\xff", bytes(range(256)), [("bin", b"\x00\xff")]),
        ("schl\u00fcssel".encode(), "wert \U0001f600".encode(), [("k\u00f6pf", "\u20ac".encode())]), (b"long", b"x" * 5000, []),
        (b"noise", noise.randbytes(700), []), (b"n", b"null header", [("n", None)]),
    ]
    return [fit(Record(at % partitions, *shapes[at % len(shapes)], START + at)) for at in range(count)]


class Report:
    def __init__(self, client):
        self.client, self.failed = client, 0

    def check(self, what, function):
        started = time.monotonic()
        try:
            function()
            print(f"ok   {self.client}: {what} ({time.monotonic() - started:.1f} s)", flush=True)
        except Exception as error:
            self.failed += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(f"FAIL {self.client}: {what}: {type(error).__name__} {str(error)[:500]} ({os.path.basename(where.filename)}:{where.lineno})", flush=True)


def same(found, wanted, what="content"):
    if found != wanted:
        if isinstance(found, list) and isinstance(wanted, list):
            at = next((at for at, pair in enumerate(zip(found, wanted)) if pair[0] != pair[1]), min(len(found), len(wanted)))
            raise AssertionError(f"{what}: {len(found)} of {len(wanted)}, first difference at {at}: {found[at:at + 1]!r:.300} for {wanted[at:at + 1]!r:.300}")
        raise AssertionError(f"{what}: {found!r:.300} for {wanted!r:.300}")


class Scenario:
    def __init__(self, client, label):
        self.client, self.report = client, Report(label)
        self.prefix = f"{label}-{os.getpid()}-{int(time.time()) % 100000}-"

    def run(self):
        for codec in self.client.codecs:
            self.report.check(f"records of every shape, {codec}", lambda codec=codec: self.round_trip(codec))
        for acks in (1, 0):
            self.report.check(f"acks={acks}", lambda acks=acks: self.acks(acks))
        self.report.check("many small batches, idempotent", self.many_batches)
        self.report.check("records of 1 MiB", self.large)
        self.report.check("100 partitions", self.many_partitions)
        self.report.check("read from the end", self.from_the_end)
        self.report.check("read from an offset", self.from_an_offset)
        self.report.check("read from a timestamp", self.from_a_timestamp)
        self.report.check("a topic deleted and made again", self.deleted)
        self.report.check("records deleted", self.records_deleted)
        self.report.check("partitions added", self.partitions_added)
        self.report.check("configs", self.configs)
        self.report.check("a record too large", self.too_large)
        self.report.check("nodes of the cluster", self.cluster)
        sys.exit(self.report.failed != 0)

    def topic(self, name, partitions=1, **configs):
        topic = self.prefix + name
        self.client.create(topic, partitions, **configs)
        self.wait(topic, partitions)
        return topic

    def wait(self, topic, partitions):
        deadline = time.monotonic() + 20
        while self.client.partitions(topic) != partitions and time.monotonic() < deadline:
            time.sleep(0.05)
        same(self.client.partitions(topic), partitions, "partitions")

    def round_trip(self, codec):
        topic, sent = self.topic(codec, 3), samples(300, 3, self.client.fit)
        places = self.client.produce(topic, sent, codec=codec)
        found = self.client.consume(topic, dict.fromkeys(range(3), 0), len(sent))
        for partition in range(3):
            same([record for record, _ in found if record.partition == partition], [record for record in sent if record.partition == partition], f"partition {partition}")
            same([offset for record, offset in found if record.partition == partition], list(range(100)), "offsets")
        same(sorted(places), sorted((partition, offset) for partition in range(3) for offset in range(100)), "acknowledged places")

    def acks(self, acks):
        topic, sent = self.topic(f"acks-{acks}"), samples(60, 1, self.client.fit)
        self.client.produce(topic, sent, acks=acks)
        found = self.client.consume(topic, {0: 0}, len(sent))
        same([record for record, _ in found], sent)

    def many_batches(self):
        topic, sent = self.topic("batches", 2), samples(600, 2, self.client.fit)
        for at in range(0, len(sent), 12):
            self.client.produce(topic, sent[at:at + 12])
        found = self.client.consume(topic, {0: 0, 1: 0}, len(sent))
        for partition in (0, 1):
            same([record for record, _ in found if record.partition == partition], [record for record in sent if record.partition == partition])

    def large(self):
        topic, noise = self.topic("large"), random.Random(3)
        sent = [Record(0, b"%d" % at, noise.randbytes(1_000_000 + at), [], START + at) for at in range(8)]
        self.client.produce(topic, sent)
        found = self.client.consume(topic, {0: 0}, len(sent))
        same([record for record, _ in found], sent)

    def many_partitions(self):
        topic, sent = self.topic("hundred", 100), samples(1000, 100, self.client.fit)
        self.client.produce(topic, sent)
        found = self.client.consume(topic, dict.fromkeys(range(100), 0), len(sent))
        same(sorted((record for record, _ in found), key=lambda record: record.timestamp), sent)
        same([self.client.watermarks(topic, partition) for partition in range(0, 100, 9)], [(0, 10)] * 12, "watermarks")

    def from_the_end(self):
        topic, sent = self.topic("end"), samples(20, 1, self.client.fit)
        self.client.produce(topic, sent[:10])
        found = self.client.consume(topic, {0: "end"}, 10, once_there=lambda: self.client.produce(topic, sent[10:]))
        same([record for record, _ in found], sent[10:])

    def from_an_offset(self):
        topic, sent = self.topic("offset"), samples(50, 1, self.client.fit)
        self.client.produce(topic, sent)
        for start in (0, 1, 17, 49):
            found = self.client.consume(topic, {0: start}, len(sent) - start)
            same([record for record, _ in found], sent[start:], f"from {start}")

    def from_a_timestamp(self):
        topic, sent = self.topic("time"), samples(50, 1, self.client.fit)
        for at in range(0, 50, 5):
            self.client.produce(topic, sent[at:at + 5])
        for at in (0, 4, 5, 31, 49):
            same(self.client.offset_at(topic, 0, START + at), at, f"offset at +{at}")
        same(self.client.offset_at(topic, 0, START - 1000), 0, "offset before all")
        same(self.client.offset_at(topic, 0, START + 1000), None, "offset after all")

    def deleted(self):
        topic = self.topic("gone", 2)
        self.client.produce(topic, samples(20, 2, self.client.fit))
        self.client.delete(topic)
        self.wait(topic, 0)
        same(self.topic("gone"), topic)
        same(self.client.watermarks(topic, 0), (0, 0), "watermarks of the new one")
        sent = samples(20, 1, self.client.fit)
        self.client.produce(topic, sent)
        same([record for record, _ in self.client.consume(topic, {0: 0}, len(sent))], sent)

    def records_deleted(self):
        topic, sent = self.topic("trimmed"), samples(30, 1, self.client.fit)
        self.client.produce(topic, sent)
        self.client.delete_records(topic, 0, 12)
        same(self.client.watermarks(topic, 0), (12, 30), "watermarks")
        found = self.client.consume(topic, {0: "start"}, 18)
        same([record for record, _ in found], sent[12:])

    def partitions_added(self):
        topic = self.topic("grown", 2)
        self.client.add_partitions(topic, 7)
        self.wait(topic, 7)
        sent = samples(70, 7, self.client.fit)
        self.client.produce(topic, sent)
        found = self.client.consume(topic, dict.fromkeys(range(7), 0), len(sent))
        same(sorted((record for record, _ in found), key=lambda record: record.timestamp), sent)

    def configs(self):
        topic = self.topic("configured", **{"cleanup.policy": "compact", "max.message.bytes": "2000"})
        found = self.client.configs(topic)
        same((found["cleanup.policy"], found["max.message.bytes"]), ("compact", "2000"), "configs")
        same("retention.ms" in found and "segment.bytes" in found, True, "defaults are listed")

    def too_large(self):
        topic = self.topic("small", **{"max.message.bytes": "1000"})
        same(self.client.is_too_large(topic, Record(0, None, b"x" * 3000, [], START)), True, "refused as too large")

    def cluster(self):
        same(self.client.nodes() >= 1, True, "has nodes")
