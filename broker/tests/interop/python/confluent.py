#!/usr/bin/env python3
"""librdkafka, by confluent-kafka.   confluent.py HOST:PORT"""
import sys

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

from scenario import Record, Scenario


class Confluent:
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")

    def __init__(self, address):
        self.address = {"bootstrap.servers": address}
        self.admin, self.producers = AdminClient(self.address), {}

    def fit(self, record):
        return record

    def create(self, topic, partitions, **configs):
        for future in self.admin.create_topics([NewTopic(topic, partitions, 1, config=configs)]).values():
            future.result(30)

    def delete(self, topic):
        self.admin.delete_topics([topic])[topic].result(30)

    def partitions(self, topic):
        found = self.admin.list_topics(timeout=10).topics.get(topic)
        return len(found.partitions) if found else 0

    def nodes(self):
        return len(self.admin.describe_cluster().result(10).nodes)

    def add_partitions(self, topic, count):
        self.admin.create_partitions([NewPartitions(topic, count)])[topic].result(30)

    def delete_records(self, topic, partition, offset):
        place = TopicPartition(topic, partition, offset)
        next(iter(self.admin.delete_records([place]).values())).result(30)

    def configs(self, topic):
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        return {name: entry.value for name, entry in self.admin.describe_configs([resource])[resource].result(30).items()}

    def produce(self, topic, records, codec="none", acks="all"):
        settings = {"compression.type": codec, "acks": acks, "linger.ms": 5, "message.max.bytes": 2_000_000, "enable.idempotence": acks == "all"}
        if (codec, acks) not in self.producers:
            self.producers[codec, acks] = Producer({**self.address, **settings})
        producer, places, errors = self.producers[codec, acks], [], []
        for record in records:
            producer.produce(topic, record.value, record.key, record.partition, timestamp=record.timestamp, headers=record.headers,
                             on_delivery=lambda error, message: errors.append(error) if error else places.append((message.partition(), message.offset())))
        left = producer.flush(30)
        if errors or left:
            raise RuntimeError(f"{errors[:1]}, {left} left")
        return places

    def is_too_large(self, topic, record):
        try:
            self.produce(topic, [record])
        except RuntimeError as error:
            return "MSG_SIZE_TOO_LARGE" in str(error)
        return False

    def consumer(self):
        return Consumer({**self.address, "group.id": "assigned-by-hand", "enable.auto.commit": False, "enable.partition.eof": True, "auto.offset.reset": "error"})

    def consume(self, topic, starts, count, once_there=None):
        consumer, found = self.consumer(), []
        special = {"start": OFFSET_BEGINNING, "end": OFFSET_END}
        consumer.assign([TopicPartition(topic, partition, special.get(start, start)) for partition, start in starts.items()])
        idle = 0
        while len(found) < count and idle < 200:
            message = consumer.poll(0.1)
            idle = idle + 1 if message is None else 0
            if message is None:
                continue
            if message.error():
                if message.error().code() != KafkaError._PARTITION_EOF:
                    raise RuntimeError(message.error())
                if once_there:
                    once_there()
                    once_there = None
                continue
            found.append((Record(message.partition(), message.key(), message.value(), message.headers() or [], message.timestamp()[1]), message.offset()))
        consumer.close()
        return found

    def watermarks(self, topic, partition):
        consumer = self.consumer()
        found = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        consumer.close()
        return found

    def offset_at(self, topic, partition, timestamp):
        consumer = self.consumer()
        found = consumer.offsets_for_times([TopicPartition(topic, partition, timestamp)], timeout=10)[0]
        consumer.close()
        # librdkafka says "end" for none.
        return found.offset if found.offset >= 0 else None


Scenario(Confluent(sys.argv[1]), "confluent-kafka").run()
