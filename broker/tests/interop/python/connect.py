#!/usr/bin/env python3
"""Kafka Connect, distributed, with the file source and the file sink.   connect.py HOST:PORT JARS SCRATCH

Workers are processes, spoken to by their REST interface. Lines go from a file through a topic to another file: each at least once, and
just once as long as nobody is killed."""
import collections
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec
from kafka import KafkaAdminClient

from scenario import Report, same

PATIENCE = 120


class Worker:
    def __init__(self, address, jars, scratch, name, group):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = f"{scratch}/{name}.log"
        settings = {
            "bootstrap.servers": address, "group.id": group, "listeners": f"HTTP://127.0.0.1:{self.port}", "plugin.path": f"{scratch}/plugins", "plugin.discovery": "service_load",
            "key.converter": "org.apache.kafka.connect.storage.StringConverter", "value.converter": "org.apache.kafka.connect.storage.StringConverter",
            "config.storage.topic": f"{group}-configs", "offset.storage.topic": f"{group}-offsets", "status.storage.topic": f"{group}-status", "offset.storage.partitions": 5, "status.storage.partitions": 3,
            "config.storage.replication.factor": 1, "offset.storage.replication.factor": 1, "status.storage.replication.factor": 1,
            "offset.flush.interval.ms": 500, "session.timeout.ms": 10000, "heartbeat.interval.ms": 1000, "scheduled.rebalance.max.delay.ms": 0,
            "consumer.session.timeout.ms": 10000, "consumer.heartbeat.interval.ms": 1000, "consumer.auto.offset.reset": "earliest", "connector.client.config.override.policy": "All",
        }
        with open(f"{scratch}/{name}.properties", "w", encoding="ascii") as file:
            file.writelines(f"{key}={value}\n" for key, value in settings.items())
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(["java", "-Xmx160m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*", "org.apache.kafka.connect.cli.ConnectDistributed", f"{scratch}/{name}.properties"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ask(self, method, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            text = answer.read()
            return json.loads(text) if text else None

    def change(self, method, path, body=None):
        """A worker that is in a rebalance asks to be asked again."""
        def done():
            self.ask(method, path, body)
            return True
        until(f"{method} {path}", done, True)

    def state(self, connector):
        found = self.ask("GET", f"/connectors/{connector}/status")
        return [found["connector"]["state"], *(task["state"] for task in found["tasks"])]

    def where(self, connector):
        return [task["worker_id"] for task in self.ask("GET", f"/connectors/{connector}/status")["tasks"]]

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(PATIENCE)


def until(what, found, wanted):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            now = found()
        except urllib.error.HTTPError as error:
            now = f"{error.code} {error.read()[:300]!r}"
        except (urllib.error.URLError, ConnectionError, FileNotFoundError) as error:
            now = error
        if now == wanted:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"after {PATIENCE} s, {what}: {now!r:.500} for {wanted!r:.300}")
        time.sleep(0.1)


class Connect:
    def __init__(self, address, jars, scratch):
        self.address, self.jars, self.scratch, self.report = address, jars, scratch, Report("connect")
        self.admin = AdminClient({"bootstrap.servers": address})
        self.name = f"connect-{os.getpid()}-{int(time.time()) % 100000}"
        self.source, self.sink, self.topic = f"{self.name}-source", f"{self.name}-sink", f"{self.name}-lines"
        self.written, self.workers = 0, []
        os.makedirs(f"{scratch}/plugins/file")
        for jar in glob.glob(f"{jars}/connect-file-*.jar"):
            shutil.copy(jar, f"{scratch}/plugins/file")
        open(f"{scratch}/in", "w", encoding="ascii").close()

    def run(self):
        try:
            for what, check in (("a worker starts and makes its topics", self.starts), ("lines go from file to file", self.through), ("a stop and a restart: nothing lost, nothing twice", self.restarted),
                                ("two workers share, and one is killed", self.shared), ("offsets of source and sink, read and reset", self.offsets), ("connectors deleted", self.deleted)):
                self.report.check(what, check)
                if self.report.failed:
                    for worker in self.workers:
                        subprocess.run(["tail", "-3", worker.log], check=False, stdout=sys.stderr)
                    break
        finally:
            for worker in self.workers:
                worker.process.kill()
        sys.exit(self.report.failed != 0)

    def worker(self):
        worker = Worker(self.address, self.jars, self.scratch, f"worker-{len(self.workers)}", self.name)
        self.workers.append(worker)
        until("version of the worker", lambda: worker.ask("GET", "/")["version"][0], "4")
        return worker

    def starts(self):
        worker = self.worker()
        until("the file connectors", lambda: {"FileStreamSinkConnector", "FileStreamSourceConnector"} <= {plugin["class"].rsplit(".", 1)[1] for plugin in worker.ask("GET", "/connector-plugins")}, True)
        until("connectors", lambda: worker.ask("GET", "/connectors"), [])
        for topic, partitions in (("configs", 1), ("offsets", 5), ("status", 3)):
            resource = ConfigResource(ConfigResource.Type.TOPIC, f"{self.name}-{topic}")
            same(self.admin.describe_configs([resource])[resource].result(30)["cleanup.policy"].value, "compact", f"policy of {topic}")
            same(len(self.admin.list_topics(f"{self.name}-{topic}", timeout=30).topics[f"{self.name}-{topic}"].partitions), partitions, f"partitions of {topic}")

    def write(self, count):
        with open(f"{self.scratch}/in", "a", encoding="ascii") as file:
            file.writelines(f"line {self.written + at}\n" for at in range(count))
        self.written += count

    def found(self):
        with open(f"{self.scratch}/out", encoding="ascii") as file:
            return collections.Counter(file.read().splitlines())

    def all_once(self, times=1):
        until("lines in the sink's file", self.found, {f"line {at}": times for at in range(self.written)})

    def through(self):
        worker = self.workers[0]
        worker.change("PUT", f"/connectors/{self.source}/config", {"connector.class": "FileStreamSource", "file": f"{self.scratch}/in", "topic": self.topic, "tasks.max": 1})
        self.write(200)
        until("state of the source", lambda: worker.state(self.source), ["RUNNING", "RUNNING"])
        worker.change("PUT", f"/connectors/{self.sink}/config", {"connector.class": "FileStreamSink", "file": f"{self.scratch}/out", "topics": self.topic, "tasks.max": 1})
        until("state of the sink", lambda: worker.state(self.sink), ["RUNNING", "RUNNING"])
        self.all_once()
        self.write(200)
        self.all_once()
        # The workers' own group is not one of consumers.
        admin = KafkaAdminClient(bootstrap_servers=self.address)
        kinds = {listed["group_id"]: listed["protocol_type"] for listed in admin.list_groups()}
        admin.close()
        same((kinds.get(self.name), kinds.get(f"connect-{self.sink}")), ("connect", "consumer"), "kinds of the groups")

    def restarted(self):
        self.workers.pop().stop()
        self.write(100)
        worker = self.worker()
        until("state of both", lambda: worker.state(self.source) + worker.state(self.sink), ["RUNNING"] * 4)
        self.all_once()

    def shared(self):
        first, second = self.workers[0], self.worker()
        until("workers with tasks", lambda: len(set(second.where(self.source) + second.where(self.sink))), 2)
        until("state of both", lambda: second.state(self.source) + second.state(self.sink), ["RUNNING"] * 4)
        self.write(100)
        until("lines", lambda: set(self.found()), {f"line {at}" for at in range(self.written)})
        first.stop(signal.SIGKILL)
        self.workers.remove(first)
        self.write(100)
        until("where the tasks are", lambda: second.where(self.source) + second.where(self.sink), [f"127.0.0.1:{second.port}"] * 2)
        until("state of both", lambda: second.state(self.source) + second.state(self.sink), ["RUNNING"] * 4)
        until("lines", lambda: set(self.found()), {f"line {at}" for at in range(self.written)})

    def offsets(self):
        worker = self.workers[0]
        places = lambda connector: [place["offset"] for place in worker.ask("GET", f"/connectors/{connector}/offsets")["offsets"]]
        until("offset of the source", lambda: places(self.source), [{"position": os.path.getsize(f"{self.scratch}/in")}])
        place = TopicPartition(self.topic, 0)
        read = self.admin.list_offsets({place: OffsetSpec.latest()})[place].result(30).offset
        same(read >= self.written, True, "records of the topic")
        until("offset of the sink", lambda: [place["kafka_offset"] for place in places(self.sink)], [read])
        worker.change("PUT", f"/connectors/{self.sink}/stop")
        until("state of the sink", lambda: worker.state(self.sink), ["STOPPED"])
        os.remove(f"{self.scratch}/out")
        worker.change("DELETE", f"/connectors/{self.sink}/offsets")
        same(places(self.sink), [], "offsets of the sink after their reset")
        worker.change("PUT", f"/connectors/{self.sink}/resume")
        until("lines read anew", lambda: (set(self.found()), sum(self.found().values())), ({f"line {at}" for at in range(self.written)}, read))
        worker.change("PUT", f"/connectors/{self.source}/stop")
        until("state of the source", lambda: worker.state(self.source), ["STOPPED"])
        worker.change("DELETE", f"/connectors/{self.source}/offsets")
        worker.change("PUT", f"/connectors/{self.source}/resume")
        until("lines written anew", lambda: sum(self.found().values()), read + self.written)

    def deleted(self):
        worker = self.workers[0]
        for connector in (self.source, self.sink):
            worker.change("DELETE", f"/connectors/{connector}")
        until("connectors", lambda: worker.ask("GET", "/connectors"), [])
        group = f"connect-{self.sink}"
        until("members of the sink's group", lambda: len(self.admin.describe_consumer_groups([group])[group].result(30).members), 0)
        same(sum(place.offset for place in self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(30).topic_partitions) > 0, True, "its offsets are left")
        self.admin.delete_consumer_groups([group])[group].result(30)
        worker.stop()
        same(worker.process.returncode, 143, "exit")


Connect(*sys.argv[1:4]).run()
