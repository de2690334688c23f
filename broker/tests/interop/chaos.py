#!/usr/bin/env python3
"""Groups of eight whose members join, leave and are killed at random, while the broker is killed and started again.

usage: chaos.py DIR PORT ROUNDS MEMBER-COMMAND -- COMMAND ...      COMMAND ... DIR PORT starts the broker on DIR and prints its pid

One group of each protocol. Every offset whose commit was acknowledged must be kept, every record be read at least once, and nobody may
go past one that nobody has read. SEED makes the same choices again; the moments are still the machine's."""
import concurrent.futures
import os
import pathlib
import random
import sys
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).parent / "python"))

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from groups import Feed, Group
from kill_nine import Broker
from scenario import same

PARTITIONS, MEMBERS = 12, 8
# Long enough for members to find a broker that was away, and for sessions of dead ones to end.
PATIENCE = 180


class Crowd:
    """A group in which something happens to somebody every second or so."""

    def __init__(self, command, address, topic, kind, choices):
        self.group, self.kind, self.random = Group(command, address, topic, f"{topic}-group", kind, PARTITIONS), kind, random.Random(choices)
        self.leaving, self.due, self.events = [], 0, {"joined": 0, "left": 0, "killed": 0}

    def turn(self):
        """Hears what is said, and lets the next thing happen when it is time."""
        self.group.hear()
        self.leaving = [member for member in self.leaving if member.process.poll() is None]
        if time.monotonic() < self.due:
            return
        self.due = time.monotonic() + self.random.uniform(0.2, 1.8)
        members = list(self.group.members)
        if len(members) < MEMBERS and (len(members) < 3 or self.random.random() < 0.5):
            self.group.join()
            self.events["joined"] += 1
            return
        name = self.random.choice(members)
        if self.random.random() < 0.5:
            self.group.kill(name)
            self.events["killed"] += 1
        else:
            # It may take long, the broker being away; nobody waits for it.
            member = self.group.members.pop(name)
            member.process.stdin.write(b"stop\n")
            member.process.stdin.close()
            self.leaving.append(member)
            self.events["left"] += 1

    def kept(self):
        """What was acknowledged before is what is found now, or more; and what is found was read."""
        acknowledged = list(self.group.acknowledged)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                found = self.group.committed()
                break
            except KafkaException:
                # It may be reading its log still.
                if time.monotonic() > deadline:
                    raise
        self.group.hear()
        for partition in range(PARTITIONS):
            if found[partition] < acknowledged[partition]:
                raise AssertionError(f"{self.kind}: partition {partition}: {acknowledged[partition]} was acknowledged, {found[partition]} is found")
            if found[partition] > self.group.next[partition]:
                raise AssertionError(f"{self.kind}: partition {partition}: {found[partition]} is committed, {self.group.next[partition]} was read")
        same(self.group.wrong, [], f"{self.kind}: skipped or altered")
        return sum(acknowledged)

    def settle(self, feed):
        """Those that are there read everything; all who left are gone."""
        self.group.until(f"{self.kind}: read", lambda: self.group.next, feed.sent)
        self.group.until(f"{self.kind}: committed", self.group.committed, feed.sent)
        same(self.group.wrong, [], f"{self.kind}: skipped or altered")
        self.group.until(f"{self.kind}: who leave", lambda: [member.name for member in self.leaving if member.process.poll() is None], [])
        for name in list(self.group.members):
            self.group.leave(name)

    def end(self):
        for member in self.leaving:
            member.process.kill()
        self.group.end()


def turns(crowds, seconds, under_way=None):
    until = time.monotonic() + seconds
    while time.monotonic() < until or under_way and not under_way.done():
        for crowd in crowds:
            crowd.turn()


def main():
    folder, port, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    split = sys.argv.index("--")
    member, broker = sys.argv[4:split], Broker(sys.argv[split + 1:], folder, port)
    address, failed = f"127.0.0.1:{port}", 0
    seed = int(os.environ.get("SEED", random.randrange(1_000_000)))
    choices = random.Random(seed)
    broker.start()
    starts = concurrent.futures.ThreadPoolExecutor(1)
    admin = AdminClient({"bootstrap.servers": address, "reconnect.backoff.max.ms": 500, "log_level": 0})
    feeds, crowds = [], []
    for kind in ("cooperative-sticky", "consumer"):
        topic = f"chaos-{kind}-{uuid.uuid4().hex[:8]}"
        admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
        feeds.append(Feed(address, topic, PARTITIONS))
        crowds.append(Crowd(member, address, topic, kind, choices.random()))
    try:
        for number in range(1, rounds + 1):
            # Something is to be committed in each.
            before = [sum(crowd.group.acknowledged) for crowd in crowds]
            turns(crowds, choices.uniform(1, 6))
            deadline = time.monotonic() + PATIENCE
            while any(sum(crowd.group.acknowledged) == count for crowd, count in zip(crowds, before)):
                turns(crowds, 0.1)
                same(time.monotonic() < deadline, True, "offsets are committed in time")
            broker.kill()
            # Life goes on while it is away.
            restart = starts.submit(broker.start)
            turns(crowds, 0, restart)
            took = restart.result()
            kept = [crowd.kept() for crowd in crowds]
            print(f"ok   chaos: round {number}, seed {seed}: {' and '.join(map(str, kept))} acknowledged offsets are kept, {' and '.join(str(crowd.group.read) for crowd in crowds)} records read; answered again after {took:.1f} s", flush=True)
        for feed in feeds:
            feed.stop()
        for crowd in crowds:
            while len(crowd.group.members) < 2:
                crowd.group.join()
        for crowd, feed in zip(crowds, feeds):
            crowd.settle(feed)
            events = ", ".join(f"{count} {what}" for what, count in crowd.events.items())
            print(f"ok   chaos: {crowd.kind}: all of {sum(feed.sent)} records read, none skipped ({events})", flush=True)
    except Exception as error:
        failed += 1
        print(f"FAIL chaos: seed {seed}: {type(error).__name__} {str(error)[:500]}".replace("\n", " "), flush=True)
    finally:
        for crowd in crowds:
            crowd.end()
        starts.shutdown()
        broker.stop()
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
