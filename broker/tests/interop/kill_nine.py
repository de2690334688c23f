#!/usr/bin/env python3
"""kill -9 under load, again and again: nothing acknowledged is lost, doubled or out of order.

usage: kill_nine.py DIR PORT ROUNDS COMMAND ...      COMMAND ... DIR PORT starts the broker on DIR and prints its pid (broker.sh start)

An idempotent producer writes numbered records to several partitions without pause. Each round the broker is killed at a random moment
and started again; then the log of each partition is read from the start. All that was acknowledged must be there, at the offset that
was acknowledged, and the numbers of a partition must rise by one."""
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

PARTITIONS = 6
# The clients would report each connection that a kill breaks.
QUIET = logging.getLogger("quiet")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False


class Broker:
    def __init__(self, command, folder, port):
        self.command, self.folder, self.port = command, folder, port
        self.pid = None

    def start(self):
        started = time.monotonic()
        self.pid = int(subprocess.run([*self.command, self.folder, str(self.port)], check=True, capture_output=True, text=True, timeout=120).stdout)
        return time.monotonic() - started

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        self.gone(10)

    def stop(self):
        os.kill(self.pid, signal.SIGTERM)
        self.gone(60)

    def gone(self, seconds):
        for _ in range(seconds * 20):
            try:
                os.kill(self.pid, 0)
                with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
                    if stat.read().rsplit(")", 1)[1].split()[0] == "Z":
                        return
            except (ProcessLookupError, FileNotFoundError):
                return
            time.sleep(0.05)
        raise RuntimeError(f"the broker is there {seconds} s after it was told to end")


class Writer(threading.Thread):
    """Numbers records per partition and remembers which were acknowledged, and where."""

    def __init__(self, address, topic):
        super().__init__(daemon=True)
        self.topic, self.stopping, self.failed = topic, False, []
        self.acknowledged = [{} for _ in range(PARTITIONS)]
        self.sent = [0] * PARTITIONS
        self.producer = Producer({"bootstrap.servers": address, "enable.idempotence": True, "linger.ms": 2, "message.timeout.ms": 300_000,
                                  "compression.type": "lz4", "reconnect.backoff.max.ms": 500, "queue.buffering.max.messages": 20000}, logger=QUIET)

    def run(self):
        while not self.stopping:
            partition = random.randrange(PARTITIONS)
            number = self.sent[partition]
            try:
                self.producer.produce(self.topic, content(partition, number), partition=partition, on_delivery=lambda error, message, at=(partition, number): self.done(error, message, at))
                self.sent[partition] += 1
            except BufferError:
                self.producer.poll(0.05)
            self.producer.poll(0)
            # Some thousands a second: enough to be caught in the middle of something, little enough to be read back each round.
            if random.random() < 0.05:
                time.sleep(0.004)

    def done(self, error, message, at):
        if error:
            self.failed.append(str(error))
        else:
            self.acknowledged[at[0]][at[1]] = message.offset()

    def finish(self):
        self.stopping = True
        self.join()
        return self.producer.flush(120)


def content(partition, number):
    return b"%d/%d/" % (partition, number) + b"x" * (number * 37 % 900)


def read(address, topic):
    """Every record of every partition as (offset, number), content checked."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "assigned-by-hand", "enable.auto.commit": False, "enable.partition.eof": True, "auto.offset.reset": "error", "check.crcs": True}, logger=QUIET)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    found, ended = [[] for _ in range(PARTITIONS)], set()
    deadline = time.monotonic() + 120
    while len(ended) < PARTITIONS and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error():
            if message.error().code() != KafkaError._PARTITION_EOF:
                raise RuntimeError(message.error())
            ended.add(message.partition())
            continue
        number = int(message.value().split(b"/")[1])
        if message.value() != content(message.partition(), number):
            raise AssertionError(f"partition {message.partition()} offset {message.offset()}: not what was sent")
        found[message.partition()].append((message.offset(), number))
    consumer.close()
    if len(ended) < PARTITIONS:
        raise AssertionError("the logs could not be read to their ends")
    return found


def judge(found, acknowledged):
    for partition, records in enumerate(found):
        for before, after in zip(records, records[1:]):
            if after[1] != before[1] + 1:
                raise AssertionError(f"partition {partition}: record {before[1]} at {before[0]} is followed by {after[1]} at {after[0]}")
            if after[0] != before[0] + 1:
                raise AssertionError(f"partition {partition}: offset {before[0]} is followed by {after[0]}")
        place = {number: offset for offset, number in records}
        for number, offset in acknowledged[partition].items():
            if place.get(number) != offset:
                raise AssertionError(f"partition {partition}: record {number} was acknowledged at {offset}, it is at {place.get(number)}")


def main():
    folder, port, rounds, command = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    address, topic, failed = f"127.0.0.1:{port}", f"kill-nine-{uuid.uuid4().hex[:8]}", 0
    random.seed(int(os.environ.get("SEED", "1")))
    broker = Broker(command, folder, port)
    broker.start()
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
    writer = Writer(address, topic)
    writer.start()
    try:
        for number in range(1, rounds + 1):
            time.sleep(random.uniform(0.5, 2.0))
            before = [dict(places) for places in writer.acknowledged]
            broker.kill()
            took = broker.start()
            try:
                judge(read(address, topic), before)
                print(f"ok   kill-nine: round {number}: {sum(map(len, before))} acknowledged are there; answered again after {took:.1f} s", flush=True)
            except (AssertionError, RuntimeError) as error:
                failed += 1
                print(f"FAIL kill-nine: round {number}: {error}", flush=True)
        left = writer.finish()
        try:
            judge(read(address, topic), writer.acknowledged)
            total = sum(map(len, writer.acknowledged))
            if left or writer.failed or total != sum(writer.sent):
                raise AssertionError(f"{left} left in the producer, {len(writer.failed)} failed ({writer.failed[:1]}), {total} of {sum(writer.sent)} acknowledged")
            print(f"ok   kill-nine: in the end all {total} records are there once, in order", flush=True)
        except (AssertionError, RuntimeError) as error:
            failed += 1
            print(f"FAIL kill-nine: in the end: {error}", flush=True)
    finally:
        broker.stop()
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
