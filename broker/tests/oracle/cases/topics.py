"""CreateTopics, DeleteTopics, CreatePartitions."""
import time

from cases.metadata import BAD_NAMES, UNKNOWN_ID
from codec import ZERO_ID


def _create(b, version, *topics, note="", **more):
    return b.ask("CreateTopics", version, {"Topics": list(topics), "timeoutMs": 30000, **more}, note)


def _topic(name, partitions=1, replicas=1, assigned=(), **configs):
    return {"Name": name, "NumPartitions": partitions, "ReplicationFactor": replicas,
            "Assignments": [{"PartitionIndex": at, "BrokerIds": list(ids)} for at, ids in assigned],
            "Configs": [{"Name": key.replace("_", "."), "Value": value} for key, value in configs.items()]}


def _node(b):
    return b.broker.node_id


def created(b):
    for version in range(2, 8):
        _create(b, version, _topic(b.name(f"plain-{version}"), 3))
        _create(b, version, _topic(b.name(f"default-{version}"), -1, -1), note="broker's defaults")
        _create(b, version, _topic(b.name(f"plain-{version}")), note="once more")


def created_with_configs(b):
    for version in (2, 4, 5, 7):
        _create(b, version, _topic(b.name(f"conf-{version}"), cleanup_policy="compact", retention_ms="1000", max_message_bytes="2000",
                                   min_insync_replicas="1", compression_type="zstd", segment_bytes="1048576"))


def validated_only(b):
    for version in range(2, 8):
        name = b.name(f"v{version}")
        _create(b, version, _topic(name, 2), note="validate only", validateOnly=True)
        _create(b, version, _topic(name, 0), note="validate only, bad", validateOnly=True)
        b.ask("Metadata", 9, {"Topics": [{"Name": name}], "AllowAutoTopicCreation": False}, "not there")


def names(b):
    for version in (2, 5, 7):
        for name in BAD_NAMES:
            _create(b, version, _topic(name), note=repr(name[:10]))
    _create(b, 7, _topic(b.name("n" * 249)[:249]), note="249 letters")
    _create(b, 7, _topic("__consumer_offsets"), note="internal", validateOnly=True)


def colliding_names(b):
    _create(b, 7, _topic(b.name("a.b")))
    _create(b, 7, _topic(b.name("a_b")), note="collides")
    _create(b, 7, _topic(b.name("c.d")), _topic(b.name("c_d")), note="two that collide in one request")


def counts(b):
    for version in (2, 4, 7):
        for partitions in (0, -2, -1, 1, 2147483647, 10001):
            _create(b, version, _topic(b.name(f"p{partitions}-{version}"), partitions), note=f"{partitions} partitions", validateOnly=partitions > 1)
        for replicas in (0, -2, 2, 32767):
            _create(b, version, _topic(b.name(f"r{replicas}-{version}"), 1, replicas), note=f"{replicas} replicas")
        _create(b, version, _topic(b.name(f"both-{version}"), 0, 0), note="neither")


def assignments(b):
    me, stranger = _node(b), 4711
    for number, (note, topic) in enumerate((
        ("by hand", dict(partitions=-1, replicas=-1, assigned=[(0, [me]), (1, [me])])),
        ("with counts", dict(partitions=2, replicas=1, assigned=[(0, [me]), (1, [me])])),
        ("with one count", dict(partitions=-1, replicas=1, assigned=[(0, [me])])),
        ("not from 0", dict(partitions=-1, replicas=-1, assigned=[(1, [me])])),
        ("a hole", dict(partitions=-1, replicas=-1, assigned=[(0, [me]), (2, [me])])),
        ("no replicas", dict(partitions=-1, replicas=-1, assigned=[(0, [])])),
        ("a replica twice", dict(partitions=-1, replicas=-1, assigned=[(0, [me, me])])),
        ("an unknown broker", dict(partitions=-1, replicas=-1, assigned=[(0, [stranger])])),
        ("uneven", dict(partitions=-1, replicas=-1, assigned=[(0, [me]), (1, [me, stranger])])),
        ("a negative broker", dict(partitions=-1, replicas=-1, assigned=[(0, [-5])])),
        ("a partition twice", dict(partitions=-1, replicas=-1, assigned=[(0, [me]), (0, [me])])),
        ("a negative partition", dict(partitions=-1, replicas=-1, assigned=[(-1, [me]), (0, [me])])),
    )):
        for version in (2, 7):
            _create(b, version, _topic(b.name(f"a{number}-{version}"), **topic), note=note)


def configs(b):
    for number, (name, value) in enumerate((
        ("no_such_config", "1"), ("retention_ms", None), ("retention_ms", ""), ("retention_ms", "abc"), ("retention_ms", "-2"), ("retention_ms", "-1"),
        ("retention_ms", " 5 "), ("retention_ms", "9223372036854775808"), ("cleanup_policy", "compact,delete"), ("cleanup_policy", "bogus"), ("cleanup_policy", ""),
        ("cleanup_policy", "delete,delete"), ("cleanup_policy", "COMPACT"), ("compression_type", "brotli"), ("compression_type", "producer"),
        ("compression_type", "ZSTD"), ("compression_gzip_level", "10"), ("compression_gzip_level", "9"), ("compression_lz4_level", "0"), ("compression_zstd_level", "-7"),
        ("max_message_bytes", "-1"), ("max_message_bytes", "0"), ("segment_bytes", "1"), ("segment_bytes", "1048576"), ("min_insync_replicas", "0"),
        ("min_insync_replicas", "5"), ("message_timestamp_type", "LogAppendTime"), ("message_timestamp_type", "logappendtime"), ("preallocate", "maybe"), ("preallocate", "TRUE"),
        ("unclean_leader_election_enable", "true"), ("min_cleanable_dirty_ratio", "1.5"), ("min_cleanable_dirty_ratio", "0.25"), ("flush_messages", "0"), ("flush_messages", "1"),
        ("index_interval_bytes", "-1"), ("segment_index_bytes", "3"), ("segment_ms", "0"), ("file_delete_delay_ms", "0"), ("delete_retention_ms", "-1"),
        ("message_timestamp_before_max_ms", "-1"), ("message_timestamp_after_max_ms", "0"), ("min_compaction_lag_ms", "10"), ("max_compaction_lag_ms", "0"),
        ("retention_bytes", "-2"), ("local_retention_ms", "-3"), ("local_retention_ms", "-2"), ("remote_storage_enable", "true"), ("message_format_version", "2.0"),
        ("message_downconversion_enable", "true"), ("leader_replication_throttled_replicas", "*"), ("leader_replication_throttled_replicas", "0:1,1:x"),
    )):
        for version in (4, 7):
            _create(b, version, _topic(b.name(f"{number}-{version}"), **{name: value}), note=f"{name}={value!r}")


def configs_against_each_other(b):
    pairs = (dict(min_compaction_lag_ms="10", max_compaction_lag_ms="5"), dict(retention_ms="100", local_retention_ms="200"),
             dict(retention_bytes="100", local_retention_bytes="200"), dict(segment_bytes="1048576", max_message_bytes="2097152"))
    for number, pair in enumerate(pairs):
        _create(b, 7, _topic(b.name(f"{number}"), **pair), note=str(pair))
    twice = _topic(b.name("twice"))
    twice["Configs"] = [{"Name": "retention.ms", "Value": "1"}, {"Name": "retention.ms", "Value": "2"}]
    _create(b, 7, twice, note="a config twice")


def several(b):
    _create(b, 7, _topic(b.name("a")), _topic(b.name("b"), 0), _topic(b.name("c")), note="one of three is bad")
    for version in (2, 7):
        same = b.name(f"same-{version}")
        _create(b, version, _topic(same), _topic(same), _topic(b.name(f"other-{version}")), note="one name twice")
    _create(b, 7, note="none")


def timeouts(b):
    for validate in (False, True):
        for timeout in (0, -1):
            b.ask("CreateTopics", 7, {"Topics": [_topic(b.name(f"t{timeout}{validate}"))], "timeoutMs": timeout, "validateOnly": validate}, f"timeout {timeout} {validate}")


def deleted(b):
    for version in range(1, 6):
        topic = b.topic(f"d{version}")
        body = {"TopicNames": [topic], "TimeoutMs": 10000}
        b.ask("DeleteTopics", version, body)
        b.gone(topic)
        b.ask("DeleteTopics", version, body, "once more")


def deleted_by_id_and_name(b):
    topics = [b.topic(f"d{at}") for at in range(4)]
    ids = [b.topic_id(topic) for topic in topics]

    def ask(note, *which):
        b.ask("DeleteTopics", 6, {"Topics": list(which), "TimeoutMs": 10000}, note)

    ask("by name", {"Name": topics[0]})
    ask("by id", {"TopicId": ids[1]})
    ask("unknown id", {"TopicId": UNKNOWN_ID})
    ask("zero id", {"TopicId": ZERO_ID})
    ask("id and name", {"Name": topics[2], "TopicId": ids[2]})
    ask("unknown name", {"Name": b.name("missing")})
    ask("a name twice", {"Name": topics[2]}, {"Name": topics[2]})
    ask("a name twice and another", {"Name": topics[2]}, {"Name": topics[2]}, {"Name": topics[3]})
    ask("an id twice", {"TopicId": ids[3]}, {"TopicId": ids[3]})
    ask("by id and by name", {"TopicId": ids[2]}, {"Name": topics[2]})
    ask("none")
    time.sleep(0.5)                                     # Metadata may know of a topic for a while after it is deleted.
    for topic in topics[2:]:
        b.ask("Metadata", 9, {"Topics": [{"Name": topic}], "AllowAutoTopicCreation": False}, "what is left")


def deleted_strangely(b):
    for name in BAD_NAMES:
        b.ask("DeleteTopics", 5, {"TopicNames": [name], "TimeoutMs": 10000}, repr(name[:10]))
    topic = b.topic("twice")
    b.ask("DeleteTopics", 5, {"TopicNames": [topic, topic], "TimeoutMs": 10000}, "a name twice")
    b.ask("DeleteTopics", 5, {"TopicNames": [b.topic("good"), b.name("missing")], "TimeoutMs": 10000}, "one of two")
    b.ask("DeleteTopics", 5, {"TopicNames": [b.topic("now")], "TimeoutMs": 0}, "timeout 0")


def partitions_added(b):
    topic = b.topic("p", partitions=2)
    for number, version in enumerate(range(4)):
        b.ask("CreatePartitions", version, _more(topic, 3 + number))
        b.leaders(topic, 3 + number)
        for count in (3 + number, 1, 0, -1):
            b.ask("CreatePartitions", version, _more(topic, count), f"to {count}")
    b.ask("Metadata", 9, {"Topics": [{"Name": topic}]}, "in the end", pick=lambda answer: len(answer["Topics"][0]["Partitions"]))


def _more(name, count, assigned=None, **more):
    ids = None if assigned is None else [{"BrokerIds": list(ids)} for ids in assigned]
    return {"Topics": [{"Name": name, "Count": count, "Assignments": ids}], "TimeoutMs": 10000, **more}


def partitions_refused(b):
    me, topic = _node(b), b.topic("p", partitions=2)
    for version in (0, 3):
        b.ask("CreatePartitions", version, _more(b.name("missing"), 3), "unknown topic")
        b.ask("CreatePartitions", version, _more(topic, 5, ValidateOnly=True), "validate only")
        b.ask("CreatePartitions", version, _more(topic, 2147483647, ValidateOnly=True), "two billion")
        b.ask("CreatePartitions", version, _more(topic, 4, [[me]]), "too few assignments")
        b.ask("CreatePartitions", version, _more(topic, 3, [[me], [me]]), "too many assignments")
        b.ask("CreatePartitions", version, _more(topic, 3, [[]]), "no replicas")
        b.ask("CreatePartitions", version, _more(topic, 3, [[4711]]), "an unknown broker")
        b.ask("CreatePartitions", version, _more(topic, 3, [[me, me]]), "a replica twice")
        b.ask("CreatePartitions", version, _more(topic, 4, [[me], [me, 4711]]), "uneven")
        b.ask("CreatePartitions", version, _more(topic, 3, []), "an empty assignment")
        twice = _more(topic, 3)
        b.ask("CreatePartitions", version, {**twice, "Topics": twice["Topics"] * 2}, "a topic twice")
        b.ask("CreatePartitions", version, {**twice, "Topics": []}, "none")
        b.ask("CreatePartitions", version, _more("a b", 3), "a bad name")
        b.ask("CreatePartitions", version, {**_more(topic, 9), "TimeoutMs": 0}, "timeout 0")
    b.ask("CreatePartitions", 3, _more(topic, _count(b, topic) + 1, [[me]]), "with an assignment")


def _count(b, topic):
    return len(b.describe(topic)["Partitions"])
