"""Produce: every version, right and wrong batches, acks, topic kinds, and what the log holds afterwards."""
import struct
import time

from batches import CODECS, HEADER, batch, idempotent, message_set, record, records
from cases.metadata import UNKNOWN_ID
from codec import ZERO_ID
from session import fetch_body, produce_body


def _send(b, version, topic, raw, note="", acks=-1, wire=None, **more):
    by_id = {"by_id": True} if version >= 13 and len(topic) == 22 else {}
    return b.ask("Produce", version, produce_body(topic, raw, acks=acks, **by_id, **more), note, wire=wire)


def _stored(b, topic, note="what is stored", partition=0):
    b.ask("Fetch", 11, fetch_body(topic, partition=partition), note)


def _in_each_version(b, topic):
    """(version, how that version names the topic)."""
    found = b.topic_id(topic)
    return [(version, found if version >= 13 else topic) for version in range(3, 14)]


def versions(b):
    topic = b.topic()
    for version, name in _in_each_version(b, topic):
        for acks in (-1, 1):
            _send(b, version, name, batch(), f"acks {acks}", acks)
    _stored(b, topic)


def codecs(b):
    for codec in CODECS:
        topic = b.topic(codec)
        for version, name in _in_each_version(b, topic):
            _send(b, version, name, batch(records((b"a", b"1"), (b"b", b"2")), codec), codec)
        _stored(b, topic)


def empty_requests(b):
    topic = b.topic()
    for version in (3, 8, 9, 12):
        b.ask("Produce", version, {"Acks": -1, "TimeoutMs": 1000, "TopicData": []}, "no topics")
        b.ask("Produce", version, {"Acks": -1, "TimeoutMs": 1000, "TopicData": [{"Name": topic, "PartitionData": []}]}, "no partitions")
        _send(b, version, topic, b"", "no bytes")


def null_records(b):
    topic = b.topic()
    for version in (8, 9):
        b.ask("Produce", version, produce_body(topic, None), "null records", wire=b.connect(2), patience=2)


def unknown_places(b):
    topic = b.topic()
    found = b.topic_id(topic)
    for version in (3, 8, 12):
        _send(b, version, b.name("missing"), batch(), "unknown topic")
        for partition in (1, -1, 2147483647):
            _send(b, version, topic, batch(), f"partition {partition}", partition=partition)
        for name in ("", "a b", "x" * 300):
            _send(b, version, name, batch(), f"topic {name[:5]!r}")
    for name, note in ((UNKNOWN_ID, "unknown id"), (ZERO_ID, "zero id")):
        _send(b, 13, name, batch(), note)
    _send(b, 13, found, batch(), "partition 1", partition=1)


def internal_topics(b):
    for name in ("__consumer_offsets", "__transaction_state"):
        b.ask("Produce", 8, produce_body(name, batch()), name, pick=lambda answer: answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"] in (3, 17))


def required_acks(b):
    topic = b.topic()
    for version in (3, 7, 8, 9, 12):
        for acks in (2, -2, 100, 32767):
            _send(b, version, topic, batch(), f"acks {acks}", acks)
    _stored(b, topic)


def without_an_answer(b):
    """With acks 0 nothing comes back, and an error closes the connection: the next request tells which."""
    topic = b.topic()
    found = b.topic_id(topic)
    for note, version, name, raw in (
        ("a good batch", 8, topic, batch()), ("a good batch", 13, found, batch()), ("a bad crc", 8, topic, batch(crc=1)),
        ("a bad base offset", 8, topic, batch(base_offset=5)), ("unknown topic", 8, b.name("missing"), batch()), ("unknown id", 13, UNKNOWN_ID, batch()),
        ("no bytes", 8, topic, b""),
    ):
        wire = b.connect(3)
        wire.request("Produce", version, produce_body(name, raw, acks=0, by_id=version >= 13) if version >= 13 else produce_body(name, raw, acks=0))
        b.ask("ApiVersions", 0, b"", f"after acks 0, {note} v{version}", wire=wire, pick=lambda answer: answer["ErrorCode"])
    _stored(b, topic)


def wrong_batches(b):
    good = batch(records((b"a", b"1"), (b"b", b"2")))
    wrongs = dict(
        bad_crc=batch(crc=123), base_offset=batch(base_offset=1), negative_base_offset=batch(base_offset=-1), leader_epoch=batch(leader_epoch=7),
        magic_3=batch(magic=3), magic_0=message_set(0), magic_1=message_set(1), magic_negative=batch(magic=-1), length_0=batch(length=0),
        length_negative=batch(length=-1), length_short=batch(length=40), length_long=batch(length=1000), truncated=good[:-3], header_only=good[:HEADER.size],
        half_a_header=good[:30], eleven_bytes=good[:11], one_byte=b"\0", zeros=bytes(100), two_batches=good + good, bytes_after=good + b"\0\0\0", count_0=batch([], count=0),
        count_high=batch(count=2), count_low=batch(records((b"a", b"1"), (b"b", b"2")), count=1), count_negative=batch(count=-1), count_max=batch(count=2147483647),
        delta_high=batch(last_offset_delta=5), delta_negative=batch(last_offset_delta=-1), delta_max=batch(last_offset_delta=2147483647),
        control=batch(flags=32), control_idempotent=batch(flags=32, producer_id=1, producer_epoch=0, base_sequence=0), transactional_no_producer=batch(flags=16),
        codec_5=batch(flags=5), codec_7=batch(flags=7), attribute_bits=batch(flags=0x7F80), delete_horizon=batch(flags=64),
        wrong_record_delta=batch([record(offset_delta=3)]), record_deltas_swapped=batch([record(offset_delta=1), record(offset_delta=0)]),
        record_attributes=batch([record(attributes=1)]), max_timestamp_wrong=batch(max_timestamp=1), max_timestamp_future=batch(max_timestamp=4_000_000_000_000),
        timestamp_none=batch(base_timestamp=-1, max_timestamp=-1), timestamp_future=batch(base_timestamp=int(time.time() * 1000) + 7_200_000),
        timestamp_negative=batch(base_timestamp=-5, max_timestamp=-5), log_append_time_bit=batch(flags=8), key_longer_than_record=batch(body=b"\x10\0\0\0\x7fk\0\0\0"),
        record_length_negative=batch(body=b"\1\0\0\0\2k\2v\0"), record_length_0=batch(body=b"\0\0\0\0\2k\2v\0"), body_cut=batch(body=record()[:-2]), body_extra=batch(body=record() + b"abc"),
        headers_negative=batch(body=b"\x0e\0\0\0\2k\2v\1"), header_key_null=batch([record(headers=[(None, b"x")])]), varint_endless=batch(body=b"\xff" * 12),
        producer_without_sequence=batch(producer_id=5, producer_epoch=0), sequence_without_producer=batch(base_sequence=5), epoch_without_producer=batch(producer_epoch=3),
        gzip_garbage=batch(body=b"garbage", flags=1), snappy_garbage=batch(body=b"garbage", flags=2), lz4_garbage=batch(body=b"garbage", flags=3), zstd_garbage=batch(body=b"garbage", flags=4),
        gzip_empty=batch([], "gzip", count=1, last_offset_delta=0), gzip_wrong_count=batch(records((b"a", b"1")), "gzip", count=2, last_offset_delta=1),
        gzip_wrong_delta=batch([record(offset_delta=3)], "gzip"), gzip_record_attributes=batch([record(attributes=1)], "gzip"),
    )
    for name, raw in wrongs.items():
        topic = b.topic(name)
        for version in (3, 7, 8, 9, 12):
            _send(b, version, topic, raw, name)
            _stored(b, topic, f"after {name}")


def zstd_in_old_versions(b):
    topic = b.topic()
    for version in (3, 4, 5, 6, 7):
        _send(b, version, topic, batch(codec="zstd"))
    _stored(b, topic)


def several_partitions(b):
    topic, other = b.topic("t", partitions=4), b.topic("u")
    parts = [{"Index": 0, "Records": batch()}, {"Index": 3, "Records": batch(crc=5)}, {"Index": 1, "Records": batch(base_offset=3)}, {"Index": 9, "Records": batch()}]
    body = {"Acks": -1, "TimeoutMs": 1000, "TopicData": [{"Name": topic, "PartitionData": parts}, {"Name": other, "PartitionData": parts[:1]}, {"Name": b.name("none"), "PartitionData": parts[:1]}]}
    for version in (3, 8, 9, 12):
        b.ask("Produce", version, body)
    twice = {"Acks": -1, "TimeoutMs": 1000, "TopicData": [{"Name": other, "PartitionData": parts[:1] * 2}]}
    b.ask("Produce", 9, twice, "a partition twice")
    b.ask("Produce", 9, {**twice, "TopicData": [{"Name": other, "PartitionData": parts[:1]}] * 2}, "a topic twice")
    for partition in range(4):
        _stored(b, topic, f"partition {partition}", partition)
    _stored(b, other)


def topic_kinds(b):
    now = int(time.time() * 1000)
    pair = records((b"a", b"1"), (None, b"2"), (b"c", None))
    for kind, configs in dict(
        append_time=dict(message_timestamp_type="LogAppendTime"), compacted=dict(cleanup_policy="compact"), both=dict(cleanup_policy="compact,delete"),
        gzip=dict(compression_type="gzip"), uncompressed=dict(compression_type="uncompressed"), old_refused=dict(message_timestamp_before_max_ms=3600000),
        new_refused=dict(message_timestamp_after_max_ms=1000),
    ).items():
        for codec in ("none", "gzip", "zstd"):
            # Kafka answers a fetch from one segment: times that lie years apart must not begin another.
            topic = b.topic(f"{kind}-{codec}", segment_ms=10**12, **configs)
            for note, raw in dict(keyed=batch(records((b"a", b"1"), (b"b", b"2")), codec), with_a_null_key=batch(pair, codec), first_key_null=batch(records((None, b"x")), codec),
                                  now=batch(codec=codec, base_timestamp=now), in_two_minutes=batch(codec=codec, base_timestamp=now + 120000),
                                  append_time_bit=batch(codec=codec, flags=8), no_timestamp=batch(codec=codec, base_timestamp=-1, max_timestamp=-1),
                                  empty_key=batch(records((b"", b"x")), codec)).items():
                for version in (7, 8, 9):
                    _send(b, version, topic, raw, f"{note} {codec} to {kind}")
            _stored(b, topic)


def sizes(b):
    topic = b.topic("small", max_message_bytes=500)
    for size in (430, 431, 432, 433, 434, 435, 500, 1000):
        raw = batch(records((b"", b"x" * size)))
        _send(b, 8, topic, raw, f"{len(raw)} bytes to at most 500")
        _send(b, 8, topic, batch(records((b"", b"x" * size * 3)), "gzip"), f"{size * 3} bytes compressed")
    _stored(b, topic)
    plain = b.topic("plain")
    for over in (0, 1):
        raw = batch(records((None, bytes(1048588 - HEADER.size - 15 + over))))
        b.ask("Produce", 8, produce_body(plain, raw), f"{len(raw)} bytes to at most 1048588")
    unpacked = b.topic("unpacked", max_message_bytes=500, compression_type="uncompressed")
    _send(b, 8, unpacked, batch(records((b"", b"x" * 2000)), "gzip"), "too big only when uncompressed")
    segment = b.topic("segment", segment_bytes=1048576, max_message_bytes=3000000)
    b.ask("Produce", 8, produce_body(segment, batch(records((None, bytes(1100000))))), "larger than a segment")


def content(b):
    topic = b.topic()
    for raw in (
        batch([record(b"k", b"v", [("a".encode(), b"1"), (b"a", b"2"), (b"", b""), (b"n", None), ("é€😀".encode(), b"\0\xff")])]),
        batch([record(None, None), record(b"", b"", offset_delta=1), record(b"k", None, offset_delta=2), record(None, b"v", offset_delta=3)]),
        batch([record(timestamp_delta=-5), record(timestamp_delta=100, offset_delta=1)], max_timestamp=1_700_000_000_100),
        batch(records(*[(b"%d" % at, b"x" * at) for at in range(100)])), batch(records((b"big", bytes(range(256)) * 200))),
    ):
        _send(b, 8, topic, raw)
    _stored(b, topic)


def transactional(b):
    topic = b.topic()
    raw = idempotent(99, 0, 0, flags=16)
    for version in (8, 11, 12):
        b.ask("Produce", version, {**produce_body(topic, batch()), "TransactionalId": "tx"}, "a plain batch with a transactional id", pick=_code)
        b.ask("Produce", version, produce_body(topic, raw), "a transactional batch without an id", pick=_code)


def _code(answer):
    return answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"]


def times_out(b):
    topic = b.topic("t", min_insync_replicas=2)
    _send(b, 8, topic, batch(), "more in-sync replicas asked than exist")
    body = produce_body(topic, batch())
    for timeout in (0, -1):
        b.ask("Produce", 8, {**body, "TimeoutMs": timeout}, f"timeout {timeout}", pick=lambda answer: _code(answer) in (0, 7))


def client_limits(b):
    topic = b.topic()
    body = struct.pack(">hhii", -1, -1, 1000, 1) + struct.pack(">h", len(topic)) + topic.encode() + struct.pack(">iii", 1, 0, 2147483647)
    b.ask("Produce", 8, body, "records longer than the frame", wire=b.connect(3), patience=3)
    b.ask("Produce", 8, body[:-4] + struct.pack(">i", -5), "records of negative length", wire=b.connect(3), patience=3)
