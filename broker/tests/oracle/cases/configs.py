"""DescribeConfigs of topics and brokers, and changing a topic's configs."""
TOPIC, BROKER = 2, 4


def _describe(b, version, kind, name, keys=None, note="", **more):
    body = {"Resources": [{"ResourceType": kind, "ResourceName": name, "ConfigurationKeys": keys}], **more}
    return b.ask("DescribeConfigs", version, body, note)


def topics(b):
    topic = b.topic("t", cleanup_policy="compact,delete", retention_ms=1234, max_message_bytes=5000)
    for version in range(1, 5):
        _describe(b, version, TOPIC, topic)
        _describe(b, version, TOPIC, topic, IncludeSynonyms=True, note="with synonyms")
        _describe(b, version, TOPIC, topic, IncludeSynonyms=True, IncludeDocumentation=True, note="with documentation")
        _describe(b, version, TOPIC, topic, ["retention.ms", "no.such.config", "retention.ms"], note="some keys")
        _describe(b, version, TOPIC, topic, [], note="no keys")
        _describe(b, version, TOPIC, b.name("missing"), note="unknown")
        _describe(b, version, TOPIC, "a b", note="a bad name")
        _describe(b, version, TOPIC, "", note="no name")


def brokers(b):
    keys = ["num.partitions", "log.retention.ms", "log.retention.minutes", "log.retention.hours", "auto.create.topics.enable", "message.max.bytes", "log.segment.bytes",
            "min.insync.replicas", "compression.type", "log.cleanup.policy", "default.replication.factor", "num.io.threads", "ssl.keystore.password", "no.such.config"]
    for version in (1, 3, 4):
        _describe(b, version, BROKER, str(b.broker.node_id), keys, note="some keys")
        _describe(b, version, BROKER, str(b.broker.node_id), keys, note="with synonyms", IncludeSynonyms=True)
        _describe(b, version, BROKER, "", note="cluster defaults")
        for name in ("4711", "abc", "-1"):
            _describe(b, version, BROKER, name, note=f"broker {name}")


def brokers_whole(b):
    _describe(b, 4, BROKER, str(b.broker.node_id))


def resource_types(b):
    for kind in (0, 1, 3, 5, 8, 16, 32, 64, 127, -1):
        _describe(b, 4, kind, "x", note=f"type {kind}")
    topic = b.topic()
    resource = {"ResourceType": TOPIC, "ResourceName": topic, "ConfigurationKeys": ["retention.ms"]}
    b.ask("DescribeConfigs", 4, {"Resources": [resource, resource]}, "a resource twice")
    b.ask("DescribeConfigs", 4, {"Resources": []}, "none")


def _alter(b, version, name, *changes, kind=TOPIC, note="", **more):
    ops = [{"Name": key, "ConfigOperation": op, "Value": value} for key, op, value in changes]
    return b.ask("IncrementalAlterConfigs", version, {"Resources": [{"ResourceType": kind, "ResourceName": name, "Configs": ops}], **more}, note or str(changes))


def incremental(b):
    topic = b.topic("t", cleanup_policy="compact")
    for version in (0, 1):
        for change in (("retention.ms", 0, "77"), ("retention.ms", 1, None), ("retention.ms", 1, "77"), ("retention.ms", 2, "5"), ("retention.ms", 3, "5"), ("retention.ms", 9, "5"),
                       ("retention.ms", 0, None), ("retention.ms", 0, "abc"), ("cleanup.policy", 2, "delete"), ("cleanup.policy", 2, "delete"), ("cleanup.policy", 3, "compact"),
                       ("cleanup.policy", 3, "nothing"), ("no.such.config", 0, "1"), ("no.such.config", 1, None), ("min.insync.replicas", 0, "9")):
            _alter(b, version, topic, change)
        _alter(b, version, topic, ("retention.ms", 0, "1"), ("retention.ms", 1, None), note="a key twice")
        _alter(b, version, topic, note="no change")
        _alter(b, version, topic, ("retention.ms", 0, "99"), ValidateOnly=True, note="validate only")
        _alter(b, version, topic, ("retention.ms", 0, "x"), ValidateOnly=True, note="validate only, bad")
        _alter(b, version, b.name("missing"), ("retention.ms", 0, "1"), note="unknown topic")
        _alter(b, version, "", ("retention.ms", 0, "1"), note="no name")
        _alter(b, version, topic, ("retention.ms", 0, "1"), kind=99, note="type 99")
        _describe(b, 4, TOPIC, topic, ["retention.ms", "cleanup.policy", "min.insync.replicas"], IncludeSynonyms=True, note="then")


def whole(b):
    topic = b.topic("t", retention_ms=5)
    for version in range(3):
        for configs in ([("max.message.bytes", "4000")], [], [("retention.ms", None)], [("retention.ms", "abc")], [("no.such.config", "1")], [("retention.ms", "1"), ("retention.ms", "2")]):
            body = {"Resources": [{"ResourceType": TOPIC, "ResourceName": topic, "Configs": [{"Name": key, "Value": value} for key, value in configs]}]}
            b.ask("AlterConfigs", version, body, str(configs))
            _describe(b, 4, TOPIC, topic, ["retention.ms", "max.message.bytes"], note="then")
