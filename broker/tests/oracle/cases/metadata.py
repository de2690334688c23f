"""Metadata, DescribeTopicPartitions, DescribeCluster."""
import time

from codec import ZERO_ID

UNKNOWN_ID = "AAAAAAAAAAAAAAAAAAAABw"
BAD_NAMES = ("", ".", "..", "a b", "a/b", "a\u00e9", "x" * 250, "a:b", "a\0b", "a,b")


def _only(*names):
    """Topics of this case: others come and go on a broker that lives on."""
    return lambda answer: {**answer, "Topics": [topic for topic in answer["Topics"] if topic["Name"] in names]}


def named(b):
    one, many = b.topic("one"), b.topic("many", partitions=5)
    for topic in (one, many):
        b.topic_id(topic)
    for version in range(14):
        b.ask("Metadata", version, {"Topics": [{"Name": one}, {"Name": many}]})


def twice_in_a_request(b):
    topic = b.topic()
    b.topic_id(topic)
    for version in (1, 8, 12):
        b.ask("Metadata", version, {"Topics": [{"Name": topic}, {"Name": topic}]})


def all_and_none(b):
    topic = b.topic()
    b.topic_id(topic)
    for version in range(14):
        b.ask("Metadata", version, {"Topics": [] if version == 0 else None}, "all", pick=_only(topic))
        if version:
            b.ask("Metadata", version, {"Topics": []}, "none")


def unknown(b):
    for version in range(4, 14):
        b.ask("Metadata", version, {"Topics": [{"Name": b.name("missing")}], "AllowAutoTopicCreation": False})


def auto_created(b):
    for version in (0, 1, 3, 4, 8, 9, 12, 13):
        name = b.name(f"made-{version}")
        b.ask("Metadata", version, {"Topics": [{"Name": name}]}, "first time")
        b.leaders(name, 1)
        b.topic_id(name)
        b.ask("Metadata", version, {"Topics": [{"Name": name}]}, "then")


def invalid_names(b):
    for version in (1, 8, 12, 13):
        for name in BAD_NAMES:
            for create in (True, False) if version >= 4 else (True,):
                b.ask("Metadata", version, {"Topics": [{"Name": name}], "AllowAutoTopicCreation": create}, f"{name[:10]!r} create={create}")


def colliding_name_auto_created(b):
    b.topic("a.b")
    b.ask("Metadata", 9, {"Topics": [{"Name": b.name("a_b")}]})
    time.sleep(0.3)
    b.ask("Metadata", 9, {"Topics": [{"Name": b.name("a_b")}], "AllowAutoTopicCreation": False}, "then")


def by_id(b):
    topic = b.topic()
    found = b.topic_id(topic)
    for version in (10, 11, 12, 13):
        b.ask("Metadata", version, {"Topics": [{"TopicId": found, "Name": None}]}, "by id")
        b.ask("Metadata", version, {"Topics": [{"TopicId": found, "Name": topic}]}, "by id and name")
        b.ask("Metadata", version, {"Topics": [{"TopicId": UNKNOWN_ID, "Name": None}]}, "unknown id")
        b.ask("Metadata", version, {"Topics": [{"TopicId": ZERO_ID, "Name": None}]}, "zero id, no name")
        b.ask("Metadata", version, {"Topics": [{"TopicId": found, "Name": None}, {"TopicId": UNKNOWN_ID, "Name": None}, {"Name": topic}]}, "mixed")


def authorized_operations(b):
    topic = b.topic()
    b.topic_id(topic)
    for version in (8, 9, 10, 11, 12, 13):
        b.ask("Metadata", version, {"Topics": [{"Name": topic}, {"Name": b.name("none")}], "AllowAutoTopicCreation": False,
                                    "IncludeClusterAuthorizedOperations": True, "IncludeTopicAuthorizedOperations": True})


def deleted(b):
    topic = b.topic()
    found = b.topic_id(topic)
    b.quietly("DeleteTopics", 5, {"TopicNames": [topic], "TimeoutMs": 10000})
    b.gone(topic)
    b.ask("Metadata", 12, {"Topics": [{"TopicId": found, "Name": None}]}, "by id")
    b.ask("Metadata", 12, {"Topics": [{"Name": topic}], "AllowAutoTopicCreation": False}, "by name")


def describe_cluster(b):
    for version in range(3):
        b.ask("DescribeCluster", version, {})
        b.ask("DescribeCluster", version, {"IncludeClusterAuthorizedOperations": True}, "with operations")
    for version in (1, 2):
        for kind in (0, 1, 2, 3):
            b.ask("DescribeCluster", version, {"EndpointType": kind}, f"endpoint type {kind}")
    b.ask("DescribeCluster", 2, {"IncludeFencedBrokers": True}, "with fenced brokers")
    b.ask("DescribeCluster", 2, {"IncludeFencedBrokers": True, "EndpointType": 2}, "fenced controllers")


def describe_topic_partitions(b):
    topics = [b.topic(f"t{at}", partitions=3) for at in range(3)]
    for topic in topics:
        b.topic_id(topic)
    asked = [{"Name": topic} for topic in topics]
    b.ask("DescribeTopicPartitions", 0, {"Topics": asked}, ordered=True)
    b.ask("DescribeTopicPartitions", 0, {"Topics": asked[::-1]}, "in reverse", ordered=True)
    b.ask("DescribeTopicPartitions", 0, {"Topics": asked + asked[:1]}, "one twice", ordered=True)
    for limit in (-1, 0, 1, 2, 3, 4, 9, 100, 5000):
        b.ask("DescribeTopicPartitions", 0, {"Topics": asked, "ResponsePartitionLimit": limit}, f"limit {limit}", ordered=True)
    for topic, part in ((topics[0], 0), (topics[0], 2), (topics[0], 3), (topics[1], 1), (topics[2], 5), (topics[0], -1), (b.name("t1x"), 0), (b.name("zz"), 0)):
        cursor = {"TopicName": topic, "PartitionIndex": part}
        b.ask("DescribeTopicPartitions", 0, {"Topics": asked, "ResponsePartitionLimit": 2, "Cursor": cursor}, f"from {topic[-2:]} {part}", ordered=True)


def describe_topic_partitions_strange(b):
    topic = b.topic("known")
    b.topic_id(topic)
    b.ask("DescribeTopicPartitions", 0, {"Topics": [{"Name": b.name("missing")}]}, "unknown")
    b.ask("DescribeTopicPartitions", 0, {"Topics": [{"Name": b.name("missing")}, {"Name": topic}]}, "unknown and known", ordered=True)
    for name in BAD_NAMES:
        b.ask("DescribeTopicPartitions", 0, {"Topics": [{"Name": name}]}, repr(name[:10]))
    found = b.ask("DescribeTopicPartitions", 0, {"Topics": []}, "all", pick=lambda answer: {
        **answer, "NextCursor": None, "Topics": [item for item in answer["Topics"] if item["Name"] == topic]})
    assert found["ThrottleTimeMs"] == 0
