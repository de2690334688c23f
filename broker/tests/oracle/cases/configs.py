"""DescribeConfigs of topics, brokers and groups, changing what they are set to, and ListConfigResources."""
import time

from batches import batch, record, records
from session import fetch_body, produce_body

TOPIC, BROKER, LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32
SET, DELETE, APPEND, SUBTRACT = range(4)


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
    for kind in (0, 1, 3, 5, 8, 16, 32, 33, 64, 127, -1):
        _describe(b, 4, kind, "x", note=f"type {kind}")
    topic = b.topic()
    resource = {"ResourceType": TOPIC, "ResourceName": topic, "ConfigurationKeys": ["retention.ms"]}
    b.ask("DescribeConfigs", 4, {"Resources": [resource, resource]}, "a resource twice")
    b.ask("DescribeConfigs", 4, {"Resources": []}, "none")


def _alter(b, version, name, *changes, kind=TOPIC, note="", **more):
    ops = [{"Name": key, "ConfigOperation": op, "Value": value} for key, op, value in changes]
    return b.ask("IncrementalAlterConfigs", version, {"Resources": [{"ResourceType": kind, "ResourceName": name, "Configs": ops}], **more}, note or str(changes))


def _replace(b, version, name, *configs, kind=TOPIC, note="", **more):
    pairs = [{"Name": key, "Value": value} for key, value in configs]
    return b.ask("AlterConfigs", version, {"Resources": [{"ResourceType": kind, "ResourceName": name, "Configs": pairs}], **more}, note or str(configs))


def _then(b, kind, name, keys, note="then"):
    """What is answered may be known a moment later."""
    time.sleep(0.2)
    _describe(b, 4, kind, name, keys, IncludeSynonyms=True, note=note)


def incremental(b):
    topic = b.topic("t", cleanup_policy="compact")
    for version in (0, 1):
        for change in (("retention.ms", SET, "77"), ("retention.ms", SET, "77"), ("retention.ms", DELETE, None), ("retention.ms", DELETE, "77"), ("retention.ms", APPEND, "5"),
                       ("retention.ms", SUBTRACT, "5"), ("retention.ms", SET, None), ("retention.ms", APPEND, None), ("retention.ms", SET, "abc"), ("retention.ms", SET, ""),
                       ("cleanup.policy", APPEND, "delete"), ("cleanup.policy", APPEND, "delete"), ("cleanup.policy", SUBTRACT, "compact"), ("cleanup.policy", SUBTRACT, "nothing"),
                       ("no.such.config", SET, "1"), ("no.such.config", DELETE, None), ("no.such.config", APPEND, "1"), ("", SET, "1"), ("", DELETE, None), ("min.insync.replicas", SET, "9")):
            _alter(b, version, topic, change)
        for operation in (9, 4, -1, 127):
            _alter(b, version, topic, ("retention.ms", operation, "5"), note=f"operation {operation}")
        _alter(b, version, topic, ("retention.ms", SET, "1"), ("retention.ms", DELETE, None), note="a key twice")
        _alter(b, version, topic, ("retention.ms", SET, "1"), ("retention.ms", SET, None), note="a key twice, once null")
        _alter(b, version, topic, note="no change")
        _alter(b, version, topic, ("retention.ms", SET, "99"), ValidateOnly=True, note="validate only")
        _alter(b, version, topic, ("retention.ms", SET, "x"), ValidateOnly=True, note="validate only, bad")
        _alter(b, version, topic, ("retention.ms", SET, "x"), ("no.such.config", SET, "1"), note="a bad value and an unknown name")
        _alter(b, version, topic, ("segment.bytes", SET, "x"), ("retention.bytes", SET, "x"), ("max.message.bytes", SET, "7"), note="two bad values")
        _alter(b, version, topic, ("segment.ms", SET, "9"), ("retention.bytes", SET, "9"), ("cleanup.policy", DELETE, None), note="three at once")
        _then(b, TOPIC, topic, ["retention.ms", "cleanup.policy", "min.insync.replicas", "segment.ms", "retention.bytes", "max.message.bytes"])


def incremental_names(b):
    names = [b.name("missing"), "", "a b", "x" * 249, "x" * 250, ".", "..", "a/b", "__cluster_metadata"]
    for name in names:
        for changes in ([], [("retention.ms", SET, "1")], [("retention.ms", SET, "x")], [("no.such.config", SET, "1")], [("retention.ms", APPEND, "1")], [("retention.ms", DELETE, None)]):
            _alter(b, 1, name, *changes, note=f"{name[:20]!r} {changes}")
        _alter(b, 1, name, ("retention.ms", SET, "1"), ValidateOnly=True, note=f"{name[:20]!r} validate only")
        _replace(b, 2, name, note=f"{name[:20]!r} nothing")
        _replace(b, 2, name, ("retention.ms", "1"), note=f"{name[:20]!r}")


def kinds(b):
    for kind in (0, 1, 3, 5, 33, 64, 99, 127, -1):
        for name in ("x", ""):
            _alter(b, 1, name, ("a", SET, "1"), kind=kind, note=f"type {kind} {name!r}")
            _alter(b, 1, name, kind=kind, note=f"type {kind} {name!r} no change")
            _alter(b, 1, name, ("a", SET, None), kind=kind, note=f"type {kind} {name!r} null")
            _replace(b, 2, name, ("a", "1"), kind=kind, note=f"type {kind} {name!r}")


def kinds_not_served(b):
    for name, key, value in ((str(b.broker.node_id), "org.apache.kafka", "INFO"), ("x", "org.apache.kafka", "INFO"), ("", "org.apache.kafka", "INFO")):
        _alter(b, 1, name, (key, SET, value), kind=LOGGER, note=f"logger of {name!r}")
        _replace(b, 2, name, (key, value), kind=LOGGER, note=f"loggers of {name!r}")
    for key, value in (("interval.ms", "1000"), ("no.such.config", "1")):
        _alter(b, 1, b.name("m"), (key, SET, value), kind=CLIENT_METRICS, note=f"client metrics {key}")
        _alter(b, 1, b.name("m"), (key, DELETE, None), kind=CLIENT_METRICS, note=f"client metrics, delete {key}")
    _alter(b, 1, "", ("interval.ms", SET, "1"), kind=CLIENT_METRICS, note="client metrics without a name")


def lists(b):
    topic = b.topic("t")
    policy, throttled = "cleanup.policy", "leader.replication.throttled.replicas"
    for key, start in ((policy, None), (policy, "compact"), (policy, "compact,delete"), (policy, ""), (throttled, None), (throttled, "0:1"), (throttled, "0:1,1:1,2:2"), (throttled, "*")):
        for op in (APPEND, SUBTRACT):
            values = ("compact", "delete", "compact,delete", " delete", "delete,delete", "nothing", "", ",", "compact,") if key == policy else ("0:1", "1:1,2:2", "0:1,0:1", "*", "x", "", ",", " 0:1", "3:3,,4:4")
            for value in values:
                _alter(b, 1, topic, (key, DELETE, None) if start is None else (key, SET, start), note=f"{key} starts as {start}")
                _alter(b, 1, topic, (key, op, value), note=f"{key} {start} {op} {value!r}")
                _then(b, TOPIC, topic, [key], note=f"then {key} {start} {op} {value!r}")


def whole(b):
    topic = b.topic("t", retention_ms=5)
    for version in range(3):
        for configs in ([("max.message.bytes", "4000")], [], [("retention.ms", None)], [("retention.ms", "abc")], [("no.such.config", "1")], [("retention.ms", "1"), ("retention.ms", "2")],
                        [("retention.ms", "1"), ("retention.ms", None)], [("no.such.config", None)], [("max.message.bytes", "4000"), ("segment.ms", "7"), ("cleanup.policy", "compact")],
                        [("segment.ms", "8")], [("min.compaction.lag.ms", "6"), ("max.compaction.lag.ms", "5")], [("", "1")]):
            _replace(b, version, topic, *configs)
            _replace(b, version, topic, *configs, ValidateOnly=True, note=f"{configs} validate only")
            _then(b, TOPIC, topic, ["retention.ms", "max.message.bytes", "segment.ms", "cleanup.policy"])


def several(b):
    one, other = b.topic("one"), b.topic("other")
    good, bad = {"Name": "retention.ms", "ConfigOperation": SET, "Value": "5"}, {"Name": "retention.ms", "ConfigOperation": SET, "Value": "x"}

    def ask(note, *resources, validate=False):
        body = [{"ResourceType": kind, "ResourceName": name, "Configs": changes} for kind, name, changes in resources]
        b.ask("IncrementalAlterConfigs", 1, {"Resources": body, "ValidateOnly": validate}, note, ordered=True)
        for resource in body:
            resource["Configs"] = [{"Name": change["Name"], "Value": change["Value"]} for change in resource["Configs"]]
        if len({(kind, name) for kind, name, _ in resources}) == len(resources):
            b.ask("AlterConfigs", 2, {"Resources": body, "ValidateOnly": validate}, note, ordered=True)

    ask("none")
    ask("two", (TOPIC, one, [good]), (TOPIC, other, [good]))
    ask("one of two", (TOPIC, one, [good]), (TOPIC, other, [bad]))
    ask("the other of two", (TOPIC, one, [bad]), (TOPIC, other, [good]))
    ask("of all kinds", (TOPIC, one, [good]), (99, "x", []), (TOPIC, b.name("missing"), [good]), (GROUP, b.name("g"), []), (BROKER, "abc", []), (TOPIC, other, []), validate=True)
    ask("one twice", (TOPIC, one, [good]), (TOPIC, other, [good]), (TOPIC, one, [bad]))
    ask("one three times", (TOPIC, one, [good]), (TOPIC, one, [good]), (TOPIC, one, [good]))
    ask("the same name of two kinds", (TOPIC, one, [good]), (GROUP, one, []))
    _then(b, TOPIC, one, ["retention.ms"])


def too_many(b):
    for count in (5000, 5001):
        groups = [{"ResourceType": GROUP, "ResourceName": b.name(f"g{at}"), "Configs": [
            {"Name": "consumer.session.timeout.ms", "ConfigOperation": SET, "Value": "50000"}, {"Name": "consumer.heartbeat.interval.ms", "ConfigOperation": SET, "Value": "6000"}]} for at in range(count)]
        groups.append({"ResourceType": 99, "ResourceName": "", "Configs": []})
        b.ask("IncrementalAlterConfigs", 1, {"Resources": groups, "ValidateOnly": True}, f"{count} groups", patience=30)


NUMBERS = ("abc", "", "-2", "-1", "0", "1", "5", "100", " 1048576 ", "2147483648", "9223372036854775808", "1.5")
WORDS = {"cleanup.policy": ("delete", "compact", "compact,delete", "", "delete,delete", "delete,,compact", "nothing", " delete , compact "),
         "compression.type": ("producer", "gzip", "uncompressed", "GZIP", "none", "", " lz4"), "message.timestamp.type": ("CreateTime", "LogAppendTime", "logappendtime", ""),
         "min.cleanable.dirty.ratio": ("0", "1", "1.5", "-0.1", "x", "1e-1", "NaN", ".5"), "leader.replication.throttled.replicas": ("*", "0:1", "0:1,1:x", "*,0:1", "", "x"),
         "follower.replication.throttled.replicas": ("*", "0:1", "", "x"), "preallocate": ("true", "TRUE", "yes", "", "0"), "unclean.leader.election.enable": ("true", "false", "no"),
         "compression.gzip.level": ("-1", "0", "1", "9", "10", "x"), "compression.lz4.level": ("0", "1", "17", "18"), "compression.zstd.level": ("-131073", "-131072", "22", "23")}
TOPIC_NUMBERS = ("segment.bytes segment.ms segment.jitter.ms segment.index.bytes flush.messages flush.ms retention.bytes retention.ms max.message.bytes index.interval.bytes delete.retention.ms "
                 "min.compaction.lag.ms max.compaction.lag.ms file.delete.delay.ms min.insync.replicas message.timestamp.before.max.ms message.timestamp.after.max.ms "
                 "local.retention.ms local.retention.bytes").split()


def topic_values(b):
    """Every setting of a topic with values that are good and bad, one after the other."""
    topic = b.topic()
    for key, values in [(key, NUMBERS) for key in TOPIC_NUMBERS] + list(WORDS.items()) + [("remote.storage.enable", ("false", "true", "x")), ("internal.segment.bytes", ("100", "x"))]:
        for value in values:
            _alter(b, 1, topic, (key, SET, value), note=f"{key}={value!r}")
        _then(b, TOPIC, topic, [key], note=f"then {key}")
        _alter(b, 1, topic, (key, DELETE, None), note=f"without {key}")
    _then(b, TOPIC, topic, None, note="in the end")


GROUP_NUMBERS = ("abc", "", "-1", "0", "1", "4999", "5000", "15000", "15001", "44999", "45000", "60000", "60001", " 50000 ", "2147483648")


def groups(b):
    group = b.name("g")
    _describe(b, 4, GROUP, group, IncludeSynonyms=True, note="before")
    for key in ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms", "consumer.assignment.interval.ms"):
        for value in GROUP_NUMBERS:
            _alter(b, 1, group, (key, SET, value), kind=GROUP, note=f"{key}={value!r}")
        _alter(b, 1, group, (key, APPEND, "50000"), kind=GROUP, note=f"append to {key}")
        _then(b, GROUP, group, None, note=f"then {key}")
    for changes in ([("no.such.config", SET, "1")], [("no.such.config", DELETE, None)], [("consumer.session.timeout.ms", SET, "x"), ("no.such.config", SET, "1")], [],
                    [("consumer.session.timeout.ms", SET, "1"), ("consumer.heartbeat.interval.ms", SET, "1")], [("consumer.session.timeout.ms", SET, None)],
                    [("consumer.session.timeout.ms", 7, "50000")], [("consumer.session.timeout.ms", SET, "50000"), ("consumer.session.timeout.ms", SET, "50000")],
                    [("consumer.session.timeout.ms", DELETE, None), ("consumer.heartbeat.interval.ms", SET, "6000")]):
        _alter(b, 1, group, *changes, kind=GROUP)
        _alter(b, 0, group, *changes, kind=GROUP, ValidateOnly=True, note=f"{changes} validate only")
    _then(b, GROUP, group, None)
    for version in range(1, 5):
        _describe(b, version, GROUP, group, IncludeSynonyms=True, IncludeDocumentation=True)
    _then(b, GROUP, group, ["consumer.heartbeat.interval.ms", "no.such.config"], note="some keys")
    _describe(b, 4, GROUP, "", note="no name")
    for name in ("a b/\u00fc", "x" * 300, "__g", "."):
        _alter(b, 1, name, ("consumer.session.timeout.ms", SET, "50000"), kind=GROUP, ValidateOnly=True, note=f"group {name[:9]!r}")
    _alter(b, 1, "", ("consumer.session.timeout.ms", SET, "50000"), kind=GROUP, note="no name")
    for configs in ([("consumer.session.timeout.ms", "55000")], [("consumer.session.timeout.ms", "1")], [("no.such.config", "1")], [("consumer.session.timeout.ms", None)], []):
        _replace(b, 2, group, *configs, kind=GROUP)
        _then(b, GROUP, group, None, note=f"then {configs}")


def groups_of_other_protocols(b):
    """What the settings of share and streams groups refuse; and their defaults, which are no change."""
    group = b.name("g")
    wrong = {"share.session.timeout.ms": ("x", "0", "44999", "60001"), "share.heartbeat.interval.ms": ("x", "0", "4999", "15001"), "share.record.lock.duration.ms": ("x", "999", "14999", "60001"),
             "share.delivery.count.limit": ("x", "1", "11"), "share.partition.max.record.locks": ("x", "99", "4001"), "share.auto.offset.reset": ("", "none", "Latest", "by_duration:x", "by_duration:-PT1H"),
             "share.isolation.level": ("", "READ_COMMITTED", "x"), "share.renew.acknowledge.enable": ("", "yes"), "share.assignment.interval.ms": ("x", "-1", "15001"),
             "streams.session.timeout.ms": ("x", "0", "44999", "60001"), "streams.heartbeat.interval.ms": ("x", "0", "4999", "15001"), "streams.num.standby.replicas": ("x", "-1", "3"),
             "streams.initial.rebalance.delay.ms": ("x", "-1"), "streams.assignment.interval.ms": ("x", "-1", "15001")}
    for key, values in wrong.items():
        for value in values:
            _alter(b, 1, group, (key, SET, value), kind=GROUP, note=f"{key}={value!r}")
        _alter(b, 1, group, (key, APPEND, "1"), kind=GROUP, note=f"append to {key}")
        _alter(b, 1, group, (key, DELETE, None), kind=GROUP, note=f"without {key}")
    everything = [(key, SET, "x") for key in wrong] + [("consumer.session.timeout.ms", SET, "x")]
    _alter(b, 1, group, *everything, kind=GROUP, note="all wrong")
    for key, value in (("share.session.timeout.ms", "45000"), ("share.auto.offset.reset", "latest"), ("streams.num.standby.replicas", "0")):
        _alter(b, 1, group, (key, SET, value), kind=GROUP, note=f"{key}={value!r}")
    _then(b, GROUP, group, None)


def groups_not_served(b):
    for key, value in (("share.session.timeout.ms", "50000"), ("share.auto.offset.reset", "by_duration:PT1H"), ("share.isolation.level", "read_committed"), ("streams.num.standby.replicas", "1"),
                       ("streams.heartbeat.interval.ms", "6000")):
        _alter(b, 1, b.name("g"), (key, SET, value), kind=GROUP, note=f"{key}={value!r}")
        _replace(b, 2, b.name("g"), (key, value), kind=GROUP, note=f"{key}={value!r}")


def brokers_changed(b):
    """Defaults of topics' settings, of one broker and of all; in the end it is as it was."""
    topic, me = b.topic("t"), str(b.broker.node_id)
    sets = (("message.max.bytes", "5000"), ("message.max.bytes", "5000"), ("message.max.bytes", "x"), ("message.max.bytes", "-1"), ("message.max.bytes", None), ("log.segment.bytes", "5"),
            ("log.segment.bytes", "2000000"), ("log.index.interval.bytes", "100"), ("log.message.timestamp.type", "LogAppendTime"), ("log.message.timestamp.type", "x"),
            ("compression.type", "gzip"), ("compression.type", "x"), ("log.roll.ms", "0"), ("log.roll.ms", "100000"), ("log.roll.jitter.ms", "-1"), ("log.roll.jitter.ms", "5"),
            ("log.retention.ms", "0"), ("log.retention.ms", "x"), ("log.retention.ms", "-1"), ("log.retention.ms", "5000000"), ("log.retention.bytes", "100000000"),
            ("num.partitions", "5"), ("log.retention.hours", "5"), ("log.roll.hours", "5"), ("node.id", "5"))
    for name, other in ((me, ""), ("", me)):
        for key, value in sets:
            _alter(b, 1, name, (key, SET, value), kind=BROKER, note=f"{name!r} {key}={value!r}")
        keys = sorted({key for key, _ in sets if key != "node.id"})
        _then(b, BROKER, name, keys, note=f"then {name!r}")
        _then(b, BROKER, other, keys, note=f"then {other!r}")
        _then(b, TOPIC, topic, None, note="then the topic")
        for change in (("message.max.bytes", APPEND, "5"), ("message.max.bytes", SUBTRACT, "5"), ("message.max.bytes", 7, "5"), ("num.partitions", DELETE, None), ("no.such.config", DELETE, None)):
            _alter(b, 1, name, change, kind=BROKER, note=f"{name!r} {change}")
        _alter(b, 1, name, ("message.max.bytes", SET, "1"), ("message.max.bytes", SET, "2"), kind=BROKER, note=f"{name!r} a key twice")
        _alter(b, 1, name, ("message.max.bytes", SET, "7000"), kind=BROKER, ValidateOnly=True, note=f"{name!r} validate only")
        _alter(b, 1, name, kind=BROKER, note=f"{name!r} no change")
        for key in keys:
            _alter(b, 1, name, (key, DELETE, None), kind=BROKER, note=f"{name!r} without {key}")
    for name in ("4711", "-1", "abc", " 1", "1.0", "2147483648"):
        _alter(b, 1, name, ("message.max.bytes", SET, "5"), kind=BROKER, note=f"broker {name!r}")
        _alter(b, 1, name, ("message.max.bytes", SET, None), kind=BROKER, note=f"broker {name!r} null")
        _replace(b, 2, name, ("message.max.bytes", "5"), kind=BROKER, note=f"broker {name!r}")
    _then(b, BROKER, "", None, note="in the end")
    _then(b, TOPIC, topic, None, note="in the end")


def brokers_replaced(b):
    me, replicas = str(b.broker.node_id), ("min.insync.replicas", "1")
    for name in (me, ""):
        for configs in ([("message.max.bytes", "5000")], [("message.max.bytes", "5000"), replicas], [replicas], [("message.max.bytes", "x")], [("num.partitions", "5")], [("message.max.bytes", None)],
                        [("message.max.bytes", "1"), ("message.max.bytes", "1")], []):
            _replace(b, 2, name, *configs, kind=BROKER, note=f"{name!r} {configs}")
            _replace(b, 0, name, *configs, kind=BROKER, ValidateOnly=True, note=f"{name!r} {configs} validate only")
        _then(b, BROKER, name, ["message.max.bytes", "min.insync.replicas"])
        for change in (("min.insync.replicas", SET, "2"), ("min.insync.replicas", SET, "x"), ("min.insync.replicas", SET, "0"), ("min.insync.replicas", DELETE, None), ("min.insync.replicas", SET, "1")):
            _alter(b, 1, name, change, kind=BROKER, note=f"{name!r} {change}")
        _alter(b, 1, name, ("message.max.bytes", DELETE, None), kind=BROKER, note=f"{name!r} without message.max.bytes")
    _then(b, BROKER, "", None, note="in the end")


CLEANER = {"log.cleaner.backoff.ms": ("5000", "-1", "x", "", "1.5", "9223372036854775808", " 20000 "), "log.cleaner.dedupe.buffer.size": ("67108864", "1048576", "0", "-5", "x", "1048577"),
           "log.cleaner.io.buffer.load.factor": ("0.5", "x", "", ".7"), "log.cleaner.io.max.bytes.per.second": ("x", "", "1e7", "50000000")}
INTERVAL = "group.consumer.assignment.interval.ms"


def brokers_live(b):
    """Settings of a broker's own that act at once, of one broker and of all; in the end it is as it was."""
    group, me = b.name("g"), str(b.broker.node_id)
    sets = {**CLEANER, INTERVAL: ("0", "500", "15001", "-1", "x", "2147483648", "15000")}
    for name, other in ((me, ""), ("", me)):
        for key, values in sets.items():
            for value in values:
                _alter(b, 1, name, (key, SET, value), kind=BROKER, note=f"{name!r} {key}={value!r}")
            _alter(b, 1, name, (key, APPEND, "5"), kind=BROKER, note=f"{name!r} append to {key}")
            _alter(b, 1, name, (key, SET, None), kind=BROKER, note=f"{name!r} {key} null")
        _then(b, BROKER, name, list(sets), note=f"then {name!r}")
        _then(b, BROKER, other, list(sets), note=f"then {other!r}")
        _then(b, GROUP, group, None, note="then the group")
        _alter(b, 1, name, ("log.cleaner.backoff.ms", SET, "x"), (INTERVAL, SET, "15001"), ("log.cleaner.dedupe.buffer.size", SET, "5"), kind=BROKER, note=f"{name!r} three bad values")
        _alter(b, 1, name, ("log.cleaner.backoff.ms", SET, "7000"), (INTERVAL, SET, "15001"), kind=BROKER, note=f"{name!r} a good and a bad value")
        for key in sets:
            _alter(b, 1, name, (key, DELETE, None), kind=BROKER, note=f"{name!r} without {key}")
    for key, values in (("log.cleaner.io.max.bytes.per.second", ("0", "-1", "NaN", "1e400")), ("log.cleaner.io.buffer.load.factor", ("0", "-1", "2", "NaN")),
                        ("log.cleaner.dedupe.buffer.size", ("9223372036854775807",)), ("log.cleaner.backoff.ms", ("9223372036854775807",))):
        for value in values:
            _alter(b, 1, "", (key, SET, value), kind=BROKER, ValidateOnly=True, note=f"validate {key}={value!r}")
    _then(b, BROKER, me, list(sets), note="in the end")


def brokers_live_replaced(b):
    group, me = b.name("g"), str(b.broker.node_id)
    replicas = ("min.insync.replicas", "1")
    for name in (me, ""):
        kept = [replicas] if name == "" else []
        for configs in ([("log.cleaner.backoff.ms", "5000")], [("log.cleaner.backoff.ms", "x")], [(INTERVAL, "700"), ("log.cleaner.backoff.ms", "6000")], [(INTERVAL, "15001")], [(INTERVAL, None)], []):
            _replace(b, 2, name, *configs, *kept, kind=BROKER, note=f"{name!r} {configs}")
            _replace(b, 0, name, *configs, *kept, kind=BROKER, ValidateOnly=True, note=f"{name!r} {configs} validate only")
            _then(b, BROKER, name, [INTERVAL, "log.cleaner.backoff.ms"])
    _alter(b, 1, "", (INTERVAL, SET, "700"), kind=BROKER)
    _alter(b, 1, me, (INTERVAL, SET, "800"), kind=BROKER)
    _alter(b, 1, group, ("consumer.assignment.interval.ms", SET, "900"), kind=GROUP)
    for kind, name, key in ((GROUP, group, "consumer.assignment.interval.ms"), (BROKER, me, INTERVAL), (BROKER, "", INTERVAL)):
        _then(b, GROUP, group, None, note=f"before {name!r}")
        _then(b, BROKER, me, [INTERVAL], note=f"broker before {name!r}")
        _alter(b, 1, name, (key, DELETE, None), kind=kind, note=f"{name!r} without it")
    # Of two layers only the nearer one holds, and it is judged what would hold. Kafka acts on a change a moment later.
    for name, op, value in ((me, SET, "800"), ("", SET, "20000"), (me, DELETE, None), (me, SET, "900"), ("", SET, "30000"), ("", DELETE, None), (me, DELETE, None)):
        _alter(b, 1, name, (INTERVAL, op, value), kind=BROKER, note=f"{name!r} {op} {value}")
        time.sleep(0.3)
        _then(b, BROKER, me, [INTERVAL], note=f"then {name!r} {op} {value}")


def brokers_not_changeable(b):
    """Kafka changes these while it runs."""
    for key, value in (("num.io.threads", "9"), ("max.connections", "1000"), ("log.cleaner.threads", "1"), ("log.cleaner.io.buffer.size", "600000"), ("no.such.config", "1")):
        _alter(b, 1, "", (key, SET, value), kind=BROKER, ValidateOnly=True, note=f"{key}={value}")
        _replace(b, 2, str(b.broker.node_id), (key, value), kind=BROKER, ValidateOnly=True, note=f"{key}={value}")
    for key in ("num.partitions", "no.such.config"):
        _alter(b, 1, "", (key, APPEND, "1"), kind=BROKER, ValidateOnly=True, note=f"append to {key}")


def taken_up(b):
    """A changed setting holds for the next request."""
    topic = b.topic("t")
    now = int(time.time() * 1000)                       # Records of other ages would begin a new segment, where Kafka's answers end.
    plain, keyless = batch(records((b"key", b"value")), base_timestamp=now), batch([record(key=None)], base_timestamp=now)
    big, older = batch(records((b"key", b"v" * 3000)), base_timestamp=now), batch(base_timestamp=now - 100_000)

    def produced(note):
        time.sleep(0.4)
        for name, raw in (("plain", plain), ("keyless", keyless), ("big", big), ("older", older)):
            b.ask("Produce", 8, produce_body(topic, raw), f"{name} {note}")

    produced("at first")
    for key, value in (("max.message.bytes", "1000"), ("max.message.bytes", None), ("cleanup.policy", "compact"), ("cleanup.policy", None), ("message.timestamp.type", "LogAppendTime"),
                       ("compression.type", "gzip"), ("message.timestamp.type", None), ("compression.type", None), ("message.timestamp.before.max.ms", "60000"), ("message.timestamp.before.max.ms", None)):
        _alter(b, 1, topic, (key, SET if value else DELETE, value))
        produced(f"{key}={value}")
    b.ask("Fetch", 11, fetch_body(topic), "what is stored")
    for name, key in ((str(b.broker.node_id), "message.max.bytes"), ("", "message.max.bytes")):
        _alter(b, 1, name, (key, SET, "1000"), kind=BROKER, note=f"{key} of {name!r}")
        produced(f"{key} of {name!r}")
        _alter(b, 1, name, (key, DELETE, None), kind=BROKER, note=f"{key} of {name!r} no more")
        produced(f"{key} of {name!r} no more")


def deleted_with_its_topic(b):
    topic = b.topic("t", retention_ms=5)
    _alter(b, 1, topic, ("segment.ms", SET, "5"))
    b.ask("DeleteTopics", 5, {"TopicNames": [topic], "TimeoutMs": 10000})
    b.gone(topic)
    b.topic("t", retention_ms=-1)
    _then(b, TOPIC, topic, None, note="made again")


def resources(b):
    b.topic("a")
    b.topic("b")
    _alter(b, 1, b.name("set"), ("consumer.session.timeout.ms", SET, "50000"), kind=GROUP)
    _alter(b, 1, b.name("unset"), ("consumer.session.timeout.ms", SET, "50000"), kind=GROUP)
    _alter(b, 1, b.name("unset"), ("consumer.session.timeout.ms", DELETE, None), kind=GROUP)
    time.sleep(0.2)

    def mine(answer):
        found = answer["ConfigResources"]
        return {**answer, "ConfigResources": [it for it in found if it["ResourceName"].startswith(b.prefix) or it["ResourceType"] == BROKER]}

    b.ask("ListConfigResources", 0, {}, "the first version", pick=mine)
    for kinds in ([TOPIC], [BROKER], [CLIENT_METRICS], [GROUP], [TOPIC, GROUP, TOPIC], [BROKER, TOPIC], [0], [64], [TOPIC, 64], [-1], []):
        b.ask("ListConfigResources", 1, {"ResourceTypes": kinds}, str(kinds), pick=mine)
