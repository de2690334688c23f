"""One case against one broker: makes what the case needs, asks, and keeps the answers in a form that can be compared."""
import re
import time

import batches
from codec import ZERO_ID, printable
from wire import CLOSED, SILENT, Wire

# Where these stand, only whether there is one counts.
MESSAGES = {"ErrorMessage", "BatchIndexErrorMessage"}
TEXTS = {"ClusterId", "Host", "Port", "Documentation"}
NODES = {"NodeId", "BrokerId", "LeaderId", "ControllerId", "ReplicaNodes", "IsrNodes", "PreferredReadReplica"}
# Whose ids brokers make up, and what that looks like.
MEMBERS = {"MemberId", "Leader"}
MADE_UP = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$|^[A-Za-z0-9_-]{22}$")
TIMES = {"LogAppendTimeMs", "Timestamp", "base_timestamp", "max_timestamp"}
# Broker configs that tell where a broker lives, or that the oracle's own properties set.
OF_THIS_RUN = {"log.dir", "log.dirs", "metadata.log.dir", "listeners", "advertised.listeners", "listener.security.protocol.map", "process.roles", "node.id", "broker.id",
               "controller.listener.names", "controller.quorum.bootstrap.servers", "group.initial.rebalance.delay.ms", "group.consumer.assignment.interval.ms", "offsets.topic.replication.factor",
               "transaction.state.log.replication.factor", "transaction.state.log.min.isr", "share.coordinator.state.topic.replication.factor", "share.coordinator.state.topic.min.isr"}
# Sets of texts, which Kafka tells in no order.
SETS = {"SubscribedTopicNames"}
# Lists that mean the same in any order, and what orders them here.
ORDERED_BY = ("GroupId", "MemberId", "TopicName", "Topic", "Name", "ResourceName", "TopicId", "ApiKey", "Partition", "PartitionIndex", "Index", "NodeId", "BrokerId")


class Session:
    """`ask` is one checked step. Whatever else a case does is only preparation and is not compared."""

    def __init__(self, broker, prefix):
        self.broker, self.prefix, self.steps = broker, prefix, []
        self.names, self.symbols, self.open = {ZERO_ID: "(no id)"}, {}, []
        self.main = None
        # Whether the words of messages are compared; ids in them have names.
        self.words_count = False

    # What a case asks.

    def ask(self, name, version, body=b"", note="", wire=None, pick=None, ordered=False, patience=None, **how):
        """Sends a request and records the answer; returns it as it came. `pick` narrows what is compared."""
        wire = wire or self.wire()
        wire.request(name, version, body, **how)
        answer = wire.answer(name, version, patience)
        kept = pick(answer) if pick and isinstance(answer, dict) else answer
        asked = body.hex()[:400] if isinstance(body, bytes) else printable(body)
        self.record(f"{name} v{version} {note}".strip(), asked, kept, ordered)
        if isinstance(answer, str) and wire is self.main:
            self.main = None
        return answer

    def record(self, label, asked, answer, ordered=False):
        self.steps.append((label, asked, self._plain(answer, ordered)))

    def timed(self, started, wait_ms):
        """Whether an answer came at once or only after the wait it was allowed."""
        self.record(f"waited {wait_ms} ms?", "", "yes" if time.monotonic() - started >= wait_ms / 1000 * 0.9 else "no")

    # What a case needs.

    def wire(self):
        if self.main is None:
            self.main = self.connect()
        return self.main

    def connect(self, patience=10.0):
        wire = Wire(self.broker.address, self.broker.schemas, patience)
        self.open.append(wire)
        return wire

    def quietly(self, name, version, body):
        """An answer that is no part of the comparison."""
        wire = self.wire()
        wire.request(name, version, body)
        answer = wire.answer(name, version)
        if isinstance(answer, str):
            self.main = None
            raise RuntimeError(f"{name} v{version}: {answer}")
        return answer

    def ask_elsewhere(self, name, version, body):
        """An unchecked request over a connection of its own, for use beside one that waits."""
        wire = Wire(self.broker.address, self.broker.schemas)
        wire.request(name, version, body)
        wire.answer(name, version)
        wire.close()

    def name(self, text):
        return f"{self.prefix}{text}"

    def topic(self, text="t", partitions=1, **configs):
        """A new topic with leaders for all its partitions; underscores in config names stand for dots."""
        name = self.name(text)
        # The oldest records here would otherwise go away while they are looked at.
        configs.setdefault("retention_ms", -1)
        wanted = [{"Name": key.replace("_", "."), "Value": str(value)} for key, value in configs.items()]
        topic = {"Name": name, "NumPartitions": partitions, "ReplicationFactor": 1, "Configs": wanted}
        made = self.quietly("CreateTopics", 5, {"Topics": [topic], "timeoutMs": 30000})
        if made["Topics"][0]["ErrorCode"]:
            raise RuntimeError(f"{name}: {made['Topics'][0]}")
        self.leaders(name, partitions)
        return name

    def leaders(self, name, partitions):
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            found = self.describe(name)
            parts = found["Partitions"]
            known = not found["ErrorCode"] and len(parts) == partitions and all(p["LeaderId"] >= 0 and not p["ErrorCode"] for p in parts)
            if known and self.leads(name, partitions):
                return
            time.sleep(0.02)
        raise RuntimeError(f"{name} has no leaders")

    def leads(self, name, partitions):
        """Metadata may know of a leader before that leader does."""
        asked = [{"PartitionIndex": at, "Timestamp": -1} for at in range(partitions)]
        answer = self.quietly("ListOffsets", 5, {"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": asked}]})
        return not any(part["ErrorCode"] for part in answer["Topics"][0]["Partitions"])

    def gone(self, name):
        deadline = time.monotonic() + 15
        while self.describe(name)["ErrorCode"] != 3 and time.monotonic() < deadline:
            time.sleep(0.02)

    def describe(self, name):
        answer = self.quietly("Metadata", 12, {"Topics": [{"Name": name}], "AllowAutoTopicCreation": False})
        return answer["Topics"][0]

    def topic_id(self, name):
        found = self.describe(name)["TopicId"]
        self.names[found] = f"(id of {name})"
        return found

    def fill(self, topic, *raw_batches, partition=0):
        """Appends one batch a request, as clients do."""
        for raw in raw_batches:
            answer = self.quietly("Produce", 8, produce_body(topic, raw, partition))
            error = answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"]
            if error:
                raise RuntimeError(f"{topic}-{partition}: error {error}")

    def new_group(self, text="g"):
        """A name for a group whose coordinator is there."""
        group = self.name(text)
        self.group_is_there(group)
        return group

    def group_is_there(self, group):
        """Kafka makes the topic of groups, and reads it, when it is first asked."""
        ready = lambda: self.quietly("FindCoordinator", 3, {"Key": group, "KeyType": 0})["ErrorCode"] == 0 and self.quietly("DescribeGroups", 0, {"Groups": [group]})["Groups"][0]["ErrorCode"] == 0
        self.until(ready)

    def until(self, condition, patience=15, pause=0.02):
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError("waited in vain")
            time.sleep(pause)

    def producer_id(self):
        return self.quietly("InitProducerId", 4, {"TransactionTimeoutMs": 60000})["ProducerId"]

    def symbol(self, kind, value):
        known = self.symbols.setdefault(kind, {})
        return known.setdefault(value, f"({kind} {len(known) + 1})")

    def finish(self):
        for wire in self.open:
            wire.close()

    # How an answer is made comparable.

    def _plain(self, value, ordered, key=None):
        if isinstance(value, dict):
            if value.get("Name") in OF_THIS_RUN and "ConfigSource" in value:
                value = {**value, "Value": "(of this run)", "ConfigSource": 0, "Synonyms": []}
            return {name: self._plain(inner, ordered, name) for name, inner in value.items()}
        if isinstance(value, list):
            value = sorted(value) if key in SETS else value
            out = [self._plain(inner, ordered, key) for inner in value]
            return out if ordered or not all(isinstance(inner, dict) for inner in out) else sorted(out, key=rank)
        if isinstance(value, bytes):
            return [self._plain(found, True) for found in batches.view(value)] if key == "Records" else value.hex()
        if key == "FinalizedFeaturesEpoch" and value >= 0:
            return "(some)"
        if key in TEXTS and value not in (None, ""):
            return "(some)"
        if key in MESSAGES and value not in (None, ""):
            return self._named(value) if self.words_count else "(a message)"
        if key in NODES and value == self.broker.node_id:
            return "(this node)"
        if key == "TopicId":
            return self.names.get(value, "(an id)")
        if key == "SessionId" and value:
            return self.symbol("session", value)
        if key in ("ProducerId", "producer_id") and value not in (-1, None):
            return self.symbol("producer", value)
        if key in MEMBERS and isinstance(value, str) and MADE_UP.search(value):
            return self.symbol("member", value)
        if key in TIMES and abs(value - time.time() * 1000) < 3_600_000:
            return "(now)"
        return value

    def _named(self, text):
        for known in (self.names, *self.symbols.values()):
            for value, name in known.items():
                text = text.replace(str(value), name)
        return text


def rank(item):
    return [str(item.get(name, "")).rjust(20) for name in ORDERED_BY]


def produce_body(topic, raw, partition=0, acks=-1, **more):
    name = "TopicId" if len(topic) == 22 and more.pop("by_id", False) else "Name"
    part = {"Index": partition, "Records": raw}
    return {"Acks": acks, "TimeoutMs": 10000, "TopicData": [{name: topic, "PartitionData": [part]}], **more}


def fetch_body(topic, offset=0, partition=0, **more):
    part = {"Partition": partition, "FetchOffset": offset, "PartitionMaxBytes": 1 << 20}
    for field in ("PartitionMaxBytes", "CurrentLeaderEpoch", "LastFetchedEpoch", "LogStartOffset"):
        if field in more:
            part[field] = more.pop(field)
    name = "TopicId" if more.pop("by_id", False) else "Topic"
    return {"MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 1 << 24, "Topics": [{name: topic, "Partitions": [part]}], **more}


def is_gone(answer):
    return answer in (CLOSED, SILENT)
