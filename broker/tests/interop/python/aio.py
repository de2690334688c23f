#!/usr/bin/env python3
"""aiokafka.   aio.py HOST:PORT"""
import asyncio
import logging
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError

from scenario import Record, Scenario


class Aio:
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")

    def __init__(self, address):
        self.address, self.loop = address, asyncio.new_event_loop()

    def fit(self, record):
        return record._replace(value=b"") if record.key is None and record.value is None else record

    def with_admin(self, use):
        async def run():
            admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
            await admin.start()
            try:
                return await use(admin)
            finally:
                await admin.close()
        return self.loop.run_until_complete(run())

    def create(self, topic, partitions, **configs):
        answer = self.with_admin(lambda admin: admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)]))
        if any(error[1] for error in answer.topic_errors):
            raise RuntimeError(answer)

    def delete(self, topic):
        self.with_admin(lambda admin: admin.delete_topics([topic]))

    def partitions(self, topic):
        async def count(admin):
            if topic not in await admin.list_topics():
                return 0
            return len((await admin.describe_topics([topic]))[0]["partitions"])
        return self.with_admin(count)

    def nodes(self):
        return len(self.with_admin(lambda admin: admin.describe_cluster())["brokers"])

    def add_partitions(self, topic, count):
        self.with_admin(lambda admin: admin.create_partitions({topic: NewPartitions(count)}))

    def delete_records(self, topic, partition, offset):
        self.with_admin(lambda admin: admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=offset)}))

    def configs(self, topic):
        answer = self.with_admin(lambda admin: admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))
        return {entry[0]: entry[1] for entry in answer[0].resources[0][4]}

    def produce(self, topic, records, codec="none", acks="all"):
        async def run():
            producer = AIOKafkaProducer(bootstrap_servers=self.address, acks=acks, compression_type=None if codec == "none" else codec, linger_ms=5,
                                        enable_idempotence=acks == "all", max_request_size=2_000_000)
            await producer.start()
            try:
                sent = [await producer.send(topic, record.value, record.key, record.partition, record.timestamp, record.headers) for record in records]
                return [await asyncio.wait_for(future, 30) for future in sent]
            finally:
                await producer.stop()
        places = self.loop.run_until_complete(run())
        return [(place.partition, place.offset) for place in places] if acks != 0 else []

    def is_too_large(self, topic, record):
        try:
            self.produce(topic, [record])
        except MessageSizeTooLargeError:
            return True
        return False

    def with_consumer(self, use, *places):
        async def run():
            consumer = AIOKafkaConsumer(bootstrap_servers=self.address, group_id=None, enable_auto_commit=False, max_partition_fetch_bytes=4 << 20)
            await consumer.start()
            try:
                consumer.assign(list(places))
                return await use(consumer)
            finally:
                await consumer.stop()
        return self.loop.run_until_complete(run())

    def consume(self, topic, starts, count, once_there=None):
        places = [TopicPartition(topic, partition) for partition in starts]
        found = []

        async def run(consumer):
            for place in places:
                start = starts[place.partition]
                if start == "start":
                    await consumer.seek_to_beginning(place)
                elif start == "end":
                    await consumer.seek_to_end(place)
                    await consumer.position(place)
                else:
                    consumer.seek(place, start)
            if once_there:
                await asyncio.to_thread(self.beside, once_there)
            deadline = time.monotonic() + 20
            while len(found) < count and time.monotonic() < deadline:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        headers = [(name, value) for name, value in record.headers]
                        found.append((Record(record.partition, record.key, record.value, headers, record.timestamp), record.offset))

        self.with_consumer(run, *places)
        return found

    def beside(self, action):
        """Runs an action with a loop of its own while this client's is busy."""
        waiting, self.loop = self.loop, asyncio.new_event_loop()
        try:
            action()
        finally:
            self.loop = waiting

    def watermarks(self, topic, partition):
        place = TopicPartition(topic, partition)

        async def ask(consumer):
            return (await consumer.beginning_offsets([place]))[place], (await consumer.end_offsets([place]))[place]
        return self.with_consumer(ask, place)

    def offset_at(self, topic, partition, timestamp):
        place = TopicPartition(topic, partition)
        found = self.with_consumer(lambda consumer: consumer.offsets_for_times({place: timestamp}), place)[place]
        return found.offset if found else None


# It retries by itself what it complains of.
logging.disable()
Scenario(Aio(sys.argv[1]), "aiokafka").run()
