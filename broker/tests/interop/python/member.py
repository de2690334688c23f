#!/usr/bin/env python3
"""A member of a group, a process of its own; groups.py says what it prints.   member.py CLIENT name=value ..."""
import asyncio
import logging
import os
import sys
import threading


def main():
    client, options = sys.argv[1], dict(option.split("=", 1) for option in sys.argv[2:])
    logging.disable()
    if "admin" in options:
        print({"confluent": confluent_admin, "kafka-python": kafka_python_admin, "aiokafka": aiokafka_admin}[client](options))
        return
    {"confluent": confluent, "kafka-python": kafka_python, "aiokafka": aiokafka}[client](Teller(options["name"]), options)


class Teller:
    """Tells what the member does. One write a line, so that the lines of many members on one pipe stay whole and in order."""

    def __init__(self, name):
        self.name, self.owned, self.stopped = name, None, threading.Event()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        """A line, or the end of whoever started this, ends it."""
        sys.stdin.readline()
        self.stopped.set()

    def say(self, words):
        os.write(1, f"{self.name} {words}\n".encode())

    def assigned(self, partitions):
        owned = ",".join(map(str, sorted(partitions)))
        if owned != self.owned:
            self.owned = owned
            self.say(f"assigned {owned}")

    def read(self, partition, offset, value):
        self.say(f"read {partition} {offset} {value.decode()}")


def confluent(teller, options):
    from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

    settings = {"bootstrap.servers": options["address"], "group.id": options["group"], "auto.offset.reset": "earliest", "fetch.wait.max.ms": 100, "enable.auto.commit": options["commits"] == "auto",
                "enable.auto.offset.store": False, "auto.commit.interval.ms": 100, "reconnect.backoff.max.ms": 500}
    if options["kind"].startswith("consumer"):
        settings["group.protocol"] = "consumer"
        if "-" in options["kind"]:
            settings["group.remote.assignor"] = options["kind"].split("-")[1]
    else:
        settings |= {"partition.assignment.strategy": options["kind"], "session.timeout.ms": int(options["session"]), "heartbeat.interval.ms": 300}
    if "instance" in options:
        settings["group.instance.id"] = options["instance"]
    late = {KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS, KafkaError._ASSIGNMENT_LOST, KafkaError._STATE, KafkaError.STALE_MEMBER_EPOCH,
            KafkaError.FENCED_MEMBER_EPOCH, KafkaError._NO_OFFSET}
    # Those come and go with the broker; the client goes on by itself.
    passing = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE, KafkaError._WAIT_COORD, KafkaError.COORDINATOR_NOT_AVAILABLE,
               KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.NOT_COORDINATOR, KafkaError.REQUEST_TIMED_OUT, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE,
               KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._RESOLVE, KafkaError._DESTROY}

    def told(error):
        if error.code() not in late | passing:
            raise KafkaException(error)

    quiet = logging.getLogger("quiet")
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    consumer = Consumer(settings, logger=quiet)
    consumer.subscribe([options["topic"]])
    # A commit that a rebalance refuses is made again, even if nothing more comes: who keeps a partition does not read it again.
    uncommitted = {}
    while not teller.stopped.is_set():
        nexts = {}
        try:
            for message in consumer.consume(100, 0.1):
                if message.error():
                    told(message.error())
                    continue
                teller.read(message.partition(), message.offset(), message.value())
                nexts[message.partition()] = message.offset() + 1
            # No callback: what is owned may change only in between.
            owned = {place.partition for place in consumer.assignment()}
            teller.assigned(owned)
            if options["commits"] == "sync":
                uncommitted = {partition: offset for partition, offset in (uncommitted | nexts).items() if partition in owned or partition in nexts}
                nexts = uncommitted
            offsets = [TopicPartition(options["topic"], partition, offset) for partition, offset in nexts.items()]
            if offsets and options["commits"] == "auto":
                consumer.store_offsets(offsets=offsets)
            elif offsets and options["commits"] == "async":
                consumer.commit(offsets=offsets)
            elif offsets:
                for place in consumer.commit(offsets=offsets, asynchronous=False):
                    if place.error:
                        told(place.error)
                    else:
                        del uncommitted[place.partition]
                        teller.say(f"committed {place.partition} {place.offset}")
        except KafkaException as error:
            told(error.args[0])
    consumer.close()
    teller.say("end")


def confluent_admin(options):
    from confluent_kafka import ConsumerGroupTopicPartitions
    from confluent_kafka.admin import AdminClient

    admin, group = AdminClient({"bootstrap.servers": options["address"]}), options["group"]
    if options["admin"] == "delete":
        admin.delete_consumer_groups([group])[group].result(30)
    if not any(listed.group_id == group for listed in admin.list_consumer_groups().result(30).valid):
        return "absent"
    found = admin.describe_consumer_groups([group])[group].result(30)
    offsets = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(30).topic_partitions
    owned = sum(len(member.assignment.topic_partitions) for member in found.members)
    return f"{found.state.name.capitalize()} members={len(found.members)} owned={owned} offsets={sum(place.offset for place in offsets)}"


def kafka_python(teller, options):
    from kafka import KafkaConsumer
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
    from kafka.coordinator.assignors.range import RangePartitionAssignor
    from kafka.errors import CommitFailedError, RebalanceInProgressError

    assignor = {"range": RangePartitionAssignor, "cooperative-sticky": CooperativeStickyAssignor}[options["kind"]]
    consumer = KafkaConsumer(bootstrap_servers=options["address"], group_id=options["group"], group_instance_id=options.get("instance"), auto_offset_reset="earliest", fetch_max_wait_ms=100,
                             enable_auto_commit=options["commits"] == "auto", auto_commit_interval_ms=100, session_timeout_ms=int(options["session"]), heartbeat_interval_ms=300,
                             partition_assignment_strategy=[assignor], metrics_enabled=False)
    consumer.subscribe([options["topic"]])
    # Let in before it knows the partitions of what it has subscribed to, it joins once more when it does; and if the answers to that take
    # longer than a poll it waits for ever, without heartbeats, in the belief that it is a member.
    consumer.partitions_for_topic(options["topic"])
    while not teller.stopped.is_set():
        batches = consumer.poll(100, max_records=100)
        for place, records in batches.items():
            for record in records:
                teller.read(place.partition, record.offset, record.value)
        try:
            if batches and options["commits"] == "sync":
                consumer.commit()
            elif batches and options["commits"] == "async":
                consumer.commit_async()
        except (CommitFailedError, RebalanceInProgressError):
            pass
        teller.assigned(place.partition for place in consumer.assignment())
    consumer.close()
    teller.say("end")


def kafka_python_admin(options):
    from kafka import KafkaAdminClient

    admin, group = KafkaAdminClient(bootstrap_servers=options["address"]), options["group"]
    if options["admin"] == "delete":
        answer = admin.delete_groups([group])
        if answer[group] != "OK":
            raise RuntimeError(answer)
    if not any(listed["group_id"] == group for listed in admin.list_groups()):
        return "absent"
    found = admin.describe_groups([group])[group]
    offsets = admin.list_group_offsets(group)[group]
    owned = sum(len(partitions) for member in found["members"] for _, partitions in topics(member["member_assignment"]))
    return f"{found['group_state']} members={len(found['members'])} owned={owned} offsets={sum(place.offset for place in offsets.values())}"


def topics(assignment):
    return [(topic["topic"], topic["partitions"]) for topic in assignment["assigned_partitions"]] if assignment else []


def aiokafka(teller, options):
    asyncio.run(aiokafka_member(teller, options))


async def aiokafka_member(teller, options):
    from aiokafka import AIOKafkaConsumer
    from aiokafka.coordinator.assignors.range import RangePartitionAssignor
    from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
    from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
    from aiokafka.errors import CommitFailedError, IllegalStateError

    assignor = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor, "sticky": StickyPartitionAssignor}[options["kind"]]
    consumer = AIOKafkaConsumer(options["topic"], bootstrap_servers=options["address"], group_id=options["group"], group_instance_id=options.get("instance"), auto_offset_reset="earliest", fetch_max_wait_ms=100,
                                enable_auto_commit=options["commits"] == "auto", auto_commit_interval_ms=100, session_timeout_ms=int(options["session"]), heartbeat_interval_ms=300,
                                partition_assignment_strategy=[assignor])
    await consumer.start()
    while not teller.stopped.is_set():
        batches = await consumer.getmany(timeout_ms=100, max_records=100)
        for place, records in batches.items():
            for record in records:
                teller.read(place.partition, record.offset, record.value)
        try:
            if batches and options["commits"] != "auto":
                # What was read, not the position, which is behind when partitions have just come.
                await consumer.commit({place: records[-1].offset + 1 for place, records in batches.items()})
        except (CommitFailedError, IllegalStateError):
            pass
        teller.assigned(place.partition for place in consumer.assignment())
    await consumer.stop()
    teller.say("end")


def aiokafka_admin(options):
    async def run():
        from aiokafka.admin import AIOKafkaAdminClient

        admin, group = AIOKafkaAdminClient(bootstrap_servers=options["address"]), options["group"]
        await admin.start()
        try:
            if options["admin"] == "delete":
                return "cannot"
            if not any(listed[0] == group for listed in await admin.list_consumer_groups()):
                return "absent"
            described = (await admin.describe_consumer_groups([group]))[0].to_object()["groups"][0]
            offsets = await admin.list_consumer_group_offsets(group)
            return f"{described['state']} members={len(described['members'])} owned=? offsets={sum(place.offset for place in offsets.values())}"
        finally:
            await admin.close()
    return asyncio.run(run())


main()
