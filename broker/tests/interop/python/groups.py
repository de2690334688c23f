#!/usr/bin/env python3
"""Groups whose members are processes, of any client.   groups.py CLIENT HOST:PORT MEMBER-COMMAND ...

MEMBER-COMMAND name=value ... is a member, or does one thing as an admin:
    name, address, group, topic, kind (assignor or protocol), commits (sync, async or auto), session (ms), instance (static members)
    admin=describe, admin=delete
A member prints, one write a line: `NAME assigned P,P,..` when that changes, `NAME read PARTITION OFFSET VALUE` before the offset may be
committed, `NAME committed PARTITION OFFSET` if it knows, `NAME end` when it has left the group, which a line on its standard input asks for. All print to one pipe, and so what one
says before it commits comes before what others say who read that commit. An admin prints the group in words; see `described`."""
import collections
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from scenario import Report, same

PARTITIONS = 6
PATIENCE = 90
# The client would report each connection that a kill of the broker breaks.
QUIET = logging.getLogger("quiet")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False


class Member:
    def __init__(self, name, process):
        self.name, self.process, self.owned, self.ended = name, process, None, False
        self.changes = 0


class Group:
    """A group, its topic, its members, and what they read: each record at least once, and nobody goes past one that nobody has read."""

    def __init__(self, command, address, topic, group, kind, partitions=PARTITIONS):
        self.command, self.address, self.topic, self.group, self.kind = command, address, topic, group, kind
        self.members, self.started = {}, 0
        self.next, self.acknowledged, self.read, self.first, self.wrong = [0] * partitions, [0] * partitions, 0, {}, []
        self.commits, self.session = "sync", 6000
        # It never joins. (librdkafka's admin may crash when it asks for offsets while a coordinator moves.)
        self.observer = Consumer({"bootstrap.servers": address, "group.id": group, "reconnect.backoff.max.ms": 500}, logger=QUIET)
        reading, self.writing = os.pipe()
        self.lines = queue.Queue()
        threading.Thread(target=self.listen, args=(os.fdopen(reading, encoding="utf-8"),), daemon=True).start()

    def listen(self, lines):
        for line in lines:
            self.lines.put(line.split())

    def join(self, **options):
        self.started += 1
        name = f"m{self.started}"
        options = {"name": name, "address": self.address, "group": self.group, "topic": self.topic, "kind": self.kind, "commits": self.commits, "session": self.session} | options
        process = subprocess.Popen([*self.command, *(f"{key}={value}" for key, value in options.items())], stdin=subprocess.PIPE, stdout=self.writing, stderr=subprocess.PIPE)
        self.members[name] = Member(name, process)
        return self.members[name]

    def hear(self):
        """Takes in what the members said until now."""
        while True:
            try:
                name, what, *words = self.lines.get(timeout=0.02)
            except queue.Empty:
                break
            # One that was killed may still be heard.
            member = self.members.get(name) or Member(name, None)
            if what == "assigned":
                member.owned = [int(partition) for partition in words[0].split(",")] if words else []
                member.changes += 1
            elif what == "end":
                member.ended = True
            elif what == "read":
                self.take(name, int(words[0]), int(words[1]), words[2])
            elif what == "committed":
                self.acknowledged[int(words[0])] = max(self.acknowledged[int(words[0])], int(words[1]))
        self.watch()

    def watch(self):
        for member in list(self.members.values()):
            # One that ends well says so; that may be under way still.
            if member.process.poll():
                raise AssertionError(f"a member ended by itself with {member.process.returncode}: {member.process.stderr.read().decode()[-300:]}")

    def take(self, name, partition, offset, value):
        if value != f"{partition}/{offset}":
            self.wrong.append(f"{name}: {value} at {partition}/{offset}")
        if offset > self.next[partition]:
            self.wrong.append(f"{name}: partition {partition}: {self.next[partition]} skipped, {offset} read")
        self.next[partition] = max(self.next[partition], offset + 1)
        self.first.setdefault(name, {}).setdefault(partition, offset)
        self.read += 1

    def committed(self):
        """The next offset of each partition; those without one begin at 0."""
        places = self.observer.committed([TopicPartition(self.topic, partition) for partition in range(len(self.next))], timeout=20)
        for place in places:
            if place.error:
                raise KafkaException(place.error)
        return [max(place.offset, 0) for place in places]

    def until(self, what, found, wanted):
        deadline = time.monotonic() + PATIENCE
        while True:
            self.hear()
            now = found()
            if now == wanted:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"after {PATIENCE} s, {what}: {now!r:.300} for {wanted!r:.300}")

    def spread(self, *sizes):
        """Everything is owned once, by so many each."""
        owned = lambda: (sorted(len(member.owned or []) for member in self.members.values()), sorted(partition for member in self.members.values() for partition in member.owned or []))
        self.until("partitions of the members", owned, (list(sizes), list(range(PARTITIONS))))

    def goes_on(self):
        before = self.read
        self.until("more is read", lambda: self.read > before + 50, True)

    def leave(self, name):
        member = self.members[name]
        member.process.stdin.write(b"stop\n")
        member.process.stdin.close()
        self.until(f"{name} has ended", lambda: member.ended, True)
        same(member.process.wait(PATIENCE), 0, "exit")
        del self.members[name]

    def kill(self, name):
        process = self.members.pop(name).process
        process.send_signal(signal.SIGKILL)
        process.wait()

    def end(self):
        for member in self.members.values():
            member.process.kill()
            member.process.wait()
        self.observer.close()
        os.close(self.writing)


class Feed(threading.Thread):
    """Writes numbered records until it is stopped."""

    def __init__(self, address, topic, partitions=PARTITIONS):
        super().__init__(daemon=True)
        self.topic, self.partitions, self.sent, self.errors, self.stopping = topic, partitions, [0] * partitions, [], False
        self.producer = Producer({"bootstrap.servers": address, "linger.ms": 2, "enable.idempotence": True, "reconnect.backoff.max.ms": 500}, logger=QUIET)
        self.start()

    def run(self):
        while not self.stopping:
            self.some(self.partitions)
            time.sleep(0.03)
        self.producer.flush(PATIENCE)

    def some(self, count):
        for at in range(count):
            partition = at % self.partitions
            self.producer.produce(self.topic, f"{partition}/{self.sent[partition]}", partition=partition, on_delivery=lambda error, _: self.errors.append(error) if error else None)
            self.sent[partition] += 1
        self.producer.poll(0)

    def stop(self):
        self.stopping = True
        self.join()
        same(self.errors, [], "errors of the producer")


class Scenario:
    def __init__(self, client, address, command):
        self.address, self.command, self.report = address, command, Report(f"{client}-groups")
        self.admin = AdminClient({"bootstrap.servers": address})
        self.prefix = f"{client}-groups-{os.getpid()}-{int(time.time()) % 100000}-"
        self.kinds, self.static, self.deletes = {
            "confluent": (("range", "cooperative-sticky", "consumer", "consumer-range"), ("range", "consumer"), True),
            "kafka-python": (("range", "cooperative-sticky"), ("range",), True),
            "aiokafka": (("range", "roundrobin", "sticky"), ("roundrobin",), False),
            "kafkajs": (("roundrobin",), (), True),
            "franz-go": (("cooperative-sticky", "range", "consumer"), ("cooperative-sticky",), True),
        }[client]

    def run(self):
        checks = [(f"members join, leave and are killed; {kind}", self.coming_and_going, kind) for kind in self.kinds]
        checks += [(f"a static member goes and comes back; {kind}", self.static_member, kind) for kind in self.static]
        # One kind of each protocol will do.
        kinds = [self.kinds[0]] + [kind for kind in self.kinds if kind == "consumer"]
        checks += [(f"commits and resumption, {commits}; {kind}", lambda kind, commits=commits: self.resumption(kind, commits), kind) for kind in kinds for commits in ("sync", "async", "auto")]
        waiting = collections.deque(checks)

        def work():
            while True:
                try:
                    what, check, kind = waiting.popleft()
                except IndexError:
                    return
                self.report.check(what, lambda: check(kind))
        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        sys.exit(self.report.failed != 0)

    def new(self, name, kind):
        topic = f"{self.prefix}{name}-{kind}"
        self.admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
        return Group(self.command, self.address, topic, topic, kind)

    def described(self, group, verb="describe"):
        answer = subprocess.run([*self.command, f"address={self.address}", f"group={group.group}", f"topic={group.topic}", f"kind={group.kind}", f"admin={verb}"], capture_output=True, text=True, timeout=PATIENCE, check=False)
        if answer.returncode:
            raise AssertionError(f"admin: {answer.stderr[-300:]}")
        return answer.stdout.strip()

    def settle(self, group, feed):
        feed.stop()
        group.until("read", lambda: group.next, feed.sent)
        group.until("committed", lambda: group.committed(), feed.sent)
        same(group.wrong, [], "skipped or altered")

    def coming_and_going(self, kind):
        group = self.new("coming", kind)
        feed = Feed(self.address, group.topic)
        try:
            for sizes in ([6], [3, 3], [2, 2, 2]):
                group.join()
                group.spread(*sizes)
            group.goes_on()
            group.leave("m2")
            group.spread(3, 3)
            group.goes_on()
            group.kill("m1")
            group.spread(6)
            group.goes_on()
            group.join()
            group.spread(3, 3)
            group.goes_on()
            self.settle(group, feed)
            words = self.described(group).split()
            same((words[0], words[1], words[3]), ("Stable", "members=2", f"offsets={sum(feed.sent)}"), "described")
            same(words[2] in ("owned=6", "owned=?"), True, words[2])
            group.leave("m3")
            group.leave("m4")
            if self.deletes:
                same(self.described(group), f"Empty members=0 owned=0 offsets={sum(feed.sent)}", "described when all are gone")
                same(self.described(group, "delete"), "absent", "described when it was deleted")
        finally:
            feed.stopping = True
            group.end()

    def static_member(self, kind):
        group = self.new("static", kind)
        group.session = 30_000
        feed = Feed(self.address, group.topic)
        try:
            group.join(instance="one")
            group.join(instance="two")
            group.spread(3, 3)
            group.goes_on()
            first, second = group.members["m1"], group.members["m2"]
            changes, held = first.changes, second.owned
            # The new protocol lets no second one in while the first may live, so there it stops: a static member's place is kept then.
            (group.leave if kind.startswith("consumer") else group.kill)("m2")
            back = group.join(instance="two")
            group.until("partitions of the one that came back", lambda: back.owned, held)
            group.goes_on()
            same(first.changes, changes, "changes for the other one")
            self.settle(group, feed)
        finally:
            feed.stopping = True
            group.end()

    def resumption(self, kind, commits):
        group = self.new(f"resume-{commits}", kind)
        group.commits = commits
        feed = Feed(self.address, group.topic)
        feed.stop()
        try:
            for stop in range(1, 4):
                before = group.committed()
                feed.some(PARTITIONS * 20)
                feed.producer.flush(PATIENCE)
                member = group.join()
                group.until("read", lambda: group.next, feed.sent)
                # Nothing is read a second time, since all was committed when it left.
                same(group.first[member.name], dict(enumerate(before)), f"first offsets after {stop - 1} restarts")
                group.until("partitions", lambda member=member: member.owned, list(range(PARTITIONS)))
                if commits == "sync":
                    group.until("committed", lambda: group.committed(), feed.sent)
                group.leave(member.name)
                same(group.committed(), feed.sent, "committed when it has left")
            same(group.wrong, [], "skipped or altered")
        finally:
            group.end()


if __name__ == "__main__":
    Scenario(sys.argv[1], sys.argv[2], sys.argv[3:]).run()
