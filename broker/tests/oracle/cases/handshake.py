"""ApiVersions, what else a broker answers to strangers, and what makes it hang up."""
import struct

from codec import Raw, varint

SOFTWARE = {"ClientSoftwareName": "oracle", "ClientSoftwareVersion": "1.0"}


def api_versions(b):
    for version in range(5):
        b.ask("ApiVersions", version, SOFTWARE)


def api_versions_too_new(b):
    for version in (5, 6, 99, 32767):
        # A v0 body comes back, to be read as such; the request has a flexible header, as a newer client's would.
        wire = b.connect()
        wire.send_frame(wire.header(18, version, True) + varint(7) + b"oracle" + varint(2) + b"1" + b"\0")
        b.record(f"ApiVersions v{version}", "", _v0(b, wire))
        b.ask("Metadata", 1, {"Topics": []}, "on the same connection", wire=wire)
    wire = b.connect(3)
    wire.send_frame(wire.header(18, 99, False))
    b.record("ApiVersions v99 with an inflexible header", "", _v0(b, wire))
    wire = b.connect(3)
    wire.send_frame(wire.header(18, -1, False))
    b.record("ApiVersions v-1", "", _v0(b, wire))


def _v0(b, wire):
    answer = wire.receive()
    return answer if isinstance(answer, str) else b.broker.schemas["ApiVersionsResponse"].decode(answer[1], 0)


def client_software(b):
    for name in ("a", "a-b", "a.b", "A1", "a_b", "-x", "x-", ".x", "x.", "", "a b", "é", "a" * 300):
        b.ask("ApiVersions", 3, {"ClientSoftwareName": name, "ClientSoftwareVersion": "1"}, repr(name), wire=b.connect())
    for version in ("1.0-rc1", "", "-1", "1_0"):
        b.ask("ApiVersions", 4, {"ClientSoftwareName": "a", "ClientSoftwareVersion": version}, repr(version), wire=b.connect())


def client_ids(b):
    for client in (None, "", "x" * 1000, "ü"):
        b.ask("Metadata", 9, {"Topics": []}, f"client id {client and client[:5]!r}", wire=b.connect(), client=client)
        b.ask("Metadata", 1, {"Topics": []}, f"client id {client and client[:5]!r}", wire=b.connect(), client=client)


def unknown_apis(b):
    for key in (4, 5, 6, 7, 58, 52, 62, 93, 999, -1, 32767):
        for version in (0, 1):
            wire = b.connect(3)
            wire.send_frame(wire.header(key, version, False) + bytes(40))
            b.record(f"key {key} v{version}", "", wire.receive())


def versions_out_of_range(b):
    for name, versions in (("Produce", (0, 1, 2, 14)), ("Fetch", (0, 3, 19)), ("ListOffsets", (0, 12)), ("Metadata", (14, -1)),
                           ("CreateTopics", (0, 1, 8)), ("DeleteTopics", (0, 7)), ("DeleteRecords", (3,)), ("InitProducerId", (6, 7)),
                           ("OffsetForLeaderEpoch", (0, 1, 5)), ("DescribeConfigs", (0, 5)), ("CreatePartitions", (4,)),
                           ("DescribeCluster", (3,)), ("DescribeTopicPartitions", (1,))):
        for version in versions:
            message = b.broker.schemas[name + "Request"]
            written = min(max(version, message.versions[0]), message.versions[1])
            wire = b.connect(3)
            raw = message.encode({}, written)
            wire.send_frame(wire.header(message.key, version, message.is_flexible(version)) + raw)
            b.record(f"{name} v{version}", raw.hex(), _outcome(wire))


def _outcome(wire):
    answer = wire.receive(3)
    return answer if isinstance(answer, str) else "(an answer)"


def frames(b):
    for note, raw in (
        ("size 0", struct.pack(">i", 0)),
        ("size -1", struct.pack(">i", -1)),
        ("size min", struct.pack(">i", -2147483648)),
        ("size over 100 MiB", struct.pack(">i", 104857601)),
        ("size max", struct.pack(">i", 2147483647)),
        ("seven bytes", struct.pack(">i", 7) + bytes(7)),
        ("header cut in the client id", struct.pack(">i", 12) + struct.pack(">hhih", 3, 1, 1, 50) + b"ab"),
        ("client id length -2", struct.pack(">i", 14) + struct.pack(">hhih", 3, 1, 1, -2) + struct.pack(">i", 0)),
    ):
        wire = b.connect(3)
        wire.send(raw)
        b.record(note, raw.hex(), _outcome(wire))
        again = b.connect(3)
        b.ask("ApiVersions", 0, b"", f"elsewhere after {note}", wire=again, pick=lambda answer: answer["ErrorCode"])


def split_and_joined_frames(b):
    wire = b.connect()
    header = wire.header(18, 0, False)
    raw = struct.pack(">i", len(header)) + header
    for byte in raw:
        wire.send(bytes([byte]))
    b.record("a frame byte by byte", "", _outcome(wire))
    wire.send(raw * 5)
    b.record("five frames at once", "", [_outcome(wire) for _ in range(5)])


def order_of_answers(b):
    """A slow request, then quick ones: answers leave in the order of the requests."""
    topic = b.topic()
    wire = b.connect()
    slow = {"MaxWaitMs": 400, "MinBytes": 1, "MaxBytes": 1 << 20,
            "Topics": [{"Topic": topic, "Partitions": [{"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1 << 20}]}]}
    sent = [wire.request("Fetch", 11, slow), wire.request("ApiVersions", 0, b""), wire.request("Metadata", 1, {"Topics": []})]
    got = [wire.receive() for _ in sent]
    b.record("Fetch, ApiVersions, Metadata on one connection", "", [answer[0] - sent[0] if not isinstance(answer, str) else answer for answer in got])


def undecodable_bodies(b):
    topics = {"Topics": [{"Name": "x"}]}
    for note, name, version, body in (
        ("no body", "Metadata", 9, b""),
        ("cut", "Metadata", 9, b.broker.schemas["MetadataRequest"].encode(topics, 9)[:2]),
        ("array longer than the bytes", "Metadata", 1, struct.pack(">i", 1000) + b"\0"),
        ("array of two billion", "Metadata", 1, struct.pack(">i", 2147483647)),
        ("array length -2", "Metadata", 1, struct.pack(">i", -2)),
        ("string longer than the bytes", "Metadata", 1, struct.pack(">ih", 1, 30000) + b"x"),
        ("null where a name is due", "Metadata", 1, struct.pack(">ih", 1, -1)),
        ("varint of six bytes", "Metadata", 9, b"\xff\xff\xff\xff\xff\x7f"),
        ("varint length max", "Metadata", 9, b"\xff\xff\xff\xff\x0f"),
        ("invalid UTF-8", "Metadata", 1, struct.pack(">ih", 1, 2) + b"\xff\xfe"),
        ("huge array", "Fetch", 11, struct.pack(">iiiibiii", -1, 0, 0, 1, 0, 0, -1, 2000000000)),
        ("huge array", "Produce", 8, struct.pack(">hhii", -1, -1, 1000, 2000000000)),
        ("null topics", "CreateTopics", 5, b"\0" + struct.pack(">i?", 1000, False) + b"\0"),
    ):
        wire = b.connect(3)
        b.ask(name, version, body, note, wire=wire, patience=3, pick=lambda answer: {**answer, "Topics": "(all)" if len(answer["Topics"]) > 1 else answer["Topics"]})


def tolerated_bodies(b):
    encode = b.broker.schemas["MetadataRequest"].encode
    plain = encode({"Topics": []}, 9)
    b.ask("Metadata", 9, plain, "bytes after the body", extra=b"abc", wire=b.connect())
    b.ask("Metadata", 1, {"Topics": []}, "bytes after the body", extra=bytes(50), wire=b.connect())
    b.ask("Metadata", 9, encode({"Topics": [], "?": [(77, b"unknown"), (5000, b"")]}, 9), "unknown tags", wire=b.connect())
    b.ask("Metadata", 9, plain[:-1] + b"\2" + varint(9) + b"\1x" + varint(3) + b"\1y", "tags out of order", wire=b.connect())
    b.ask("Metadata", 9, plain[:-1] + b"\2" + varint(9) + b"\1x" + varint(9) + b"\1y", "a tag twice", wire=b.connect())
    b.ask("Metadata", 9, plain[:-1] + b"\1" + varint(9) + varint(500), "a tag longer than the bytes", wire=b.connect(3), patience=3)
    b.ask("ApiVersions", 3, {"ClientSoftwareName": Raw(varint(3) + b"\xff\xff"), "ClientSoftwareVersion": "1"}, "invalid UTF-8", wire=b.connect())
