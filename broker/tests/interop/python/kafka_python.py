#!/usr/bin/env python3
"""kafka-python.   kafka_python.py HOST:PORT"""
import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.errors import MessageSizeTooLargeError

from scenario import Record, Scenario


class KafkaPython:
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")

    def __init__(self, address):
        self.address = address
        self.admin = KafkaAdminClient(bootstrap_servers=address)

    def fit(self, record):
        record = record._replace(headers=[(name, value or b"") for name, value in record.headers])
        return record._replace(value=b"") if record.key is None and record.value is None else record

    def create(self, topic, partitions, **configs):
        self.admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)])

    def delete(self, topic):
        self.admin.delete_topics([topic])

    def partitions(self, topic):
        if topic not in self.admin.list_topics():
            return 0
        return len(self.admin.describe_topics([topic])[0]["partitions"])

    def nodes(self):
        return len(self.admin.describe_cluster()["brokers"])

    def add_partitions(self, topic, count):
        self.admin.create_partitions({topic: NewPartitions(count)})

    def configs(self, topic):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=None)
        found = self.admin.describe_configs([resource], config_filter="all")
        return {name: entry["value"] for name, entry in found["topic"][topic].items()}

    def delete_records(self, topic, partition, offset):
        self.admin.delete_records({TopicPartition(topic, partition): offset})

    def produce(self, topic, records, codec="none", acks="all"):
        producer = KafkaProducer(bootstrap_servers=self.address, acks=acks, compression_type=None if codec == "none" else codec, linger_ms=5,
                                 enable_idempotence=acks == "all", max_request_size=2_000_000)
        sent = [producer.send(topic, record.value, record.key, record.headers, record.partition, record.timestamp) for record in records]
        producer.flush(30)
        places = [future.get(30) for future in sent]
        producer.close()
        return [(place.partition, place.offset) for place in places]

    def is_too_large(self, topic, record):
        try:
            self.produce(topic, [record])
        except MessageSizeTooLargeError:
            return True
        return False

    def consumer(self):
        return KafkaConsumer(bootstrap_servers=self.address, group_id=None, enable_auto_commit=False, max_partition_fetch_bytes=4 << 20)

    def consume(self, topic, starts, count, once_there=None):
        consumer, found = self.consumer(), []
        places = [TopicPartition(topic, partition) for partition in starts]
        consumer.assign(places)
        for place in places:
            start = starts[place.partition]
            if start == "start":
                consumer.seek_to_beginning(place)
            elif start == "end":
                consumer.seek_to_end(place)
                consumer.position(place)
            else:
                consumer.seek(place, start)
        if once_there:
            once_there()
        deadline = time.monotonic() + 20
        while len(found) < count and time.monotonic() < deadline:
            for records in consumer.poll(200).values():
                for record in records:
                    found.append((Record(record.partition, record.key, record.value, list(record.headers), record.timestamp), record.offset))
        consumer.close()
        return found

    def watermarks(self, topic, partition):
        consumer, place = self.consumer(), TopicPartition(topic, partition)
        found = (consumer.beginning_offsets([place])[place], consumer.end_offsets([place])[place])
        consumer.close()
        return found

    def offset_at(self, topic, partition, timestamp):
        consumer, place = self.consumer(), TopicPartition(topic, partition)
        found = consumer.offsets_for_times({place: timestamp})[place]
        consumer.close()
        return found.offset if found else None


Scenario(KafkaPython(sys.argv[1]), "kafka-python").run()
