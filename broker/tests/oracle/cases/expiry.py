"""What groups committed goes away: a minute after the group needs it no more, or when the one who committed said.

All groups are there at once, for it takes more than a minute."""
import time

from cases.consumer_groups import _assigned, _knows, _subscription

SETTINGS = "offsets.retention.minutes=1 offsets.retention.check.interval.ms=1000"
RETENTION_S = 60
LONG = 300000
# What who commits may say, in ms.
SHORT, HOUR = (4000, 0, -5), 3600000


def _commit(b, group, topics, version=8, member="", at=-1, **more):
    parts = [{"PartitionIndex": 0, "CommittedOffset": 5, "CommittedMetadata": "m"}]
    answer = b.quietly("OffsetCommit", version, {"GroupId": group, "MemberId": member, "GenerationIdOrMemberEpoch": at, "RetentionTimeMs": -1, "Topics": [{"Name": name, "Partitions": parts} for name in topics], **more})
    for topic in answer["Topics"]:
        if topic["Partitions"][0]["ErrorCode"]:
            raise RuntimeError(f"{group}: {topic}")


def _classic(b, group, kind, subscription, assignment):
    """A member that need not be heard of while this lasts."""
    body = {"GroupId": group, "SessionTimeoutMs": LONG, "RebalanceTimeoutMs": LONG, "ProtocolType": kind, "Protocols": [{"Name": "range", "Metadata": subscription}]}
    asked = b.quietly("JoinGroup", 9, {**body, "MemberId": ""})["MemberId"]
    generation = b.quietly("JoinGroup", 9, {**body, "MemberId": asked})["GenerationId"]
    synced = b.quietly("SyncGroup", 5, {"GroupId": group, "GenerationId": generation, "MemberId": asked, "ProtocolType": kind, "ProtocolName": "range", "Assignments": [{"MemberId": asked, "Assignment": assignment}]})
    if synced["ErrorCode"]:
        raise RuntimeError(f"{group}: {synced}")
    return asked, generation


def _consumer(b, group, topic):
    said = {"RebalanceTimeoutMs": 60000, "TopicPartitions": [], "SubscribedTopicNames": [topic]}
    return b.quietly("ConsumerGroupHeartbeat", 1, {"GroupId": group, "MemberId": "one", "MemberEpoch": 0, **said})["MemberEpoch"]


def _offsets(b, group):
    groups = b.quietly("OffsetFetch", 8, {"Groups": [{"GroupId": group, "Topics": None}]})["Groups"]
    return {topic["Name"] for topic in groups[0]["Topics"]}


def offsets_and_groups(b):
    read, unread = b.topic("read"), b.topic("unread")
    names = ("simple", "again", "empty-classic", "classic", "connect", "consumer", "empty-consumer", "nothing")
    groups = {name: b.new_group(name) for name in names}
    asked = {f"v{version}, {said}": b.new_group(f"v{version}-{number}") for version in (2, 3, 4, 5, 9) for number, said in enumerate((*SHORT, HOUR, -1))}
    # From version 5 on nobody can say so.
    short = [asked[f"v{version}, {said}"] for version in (2, 3, 4) for said in SHORT]
    not_long = [group for note, group in asked.items() if note not in (f"v2, {HOUR}", f"v3, {HOUR}", f"v4, {HOUR}")]
    _knows(b, groups["consumer"], read, 1)
    _knows(b, groups["empty-consumer"], read, 1)
    began = time.monotonic()
    subscription, assignment = _subscription(read), _assigned((read, [0]))
    _commit(b, groups["simple"], (read, unread))
    _commit(b, groups["again"], (read, unread))
    for name, kind in (("empty-classic", "consumer"), ("classic", "consumer"), ("connect", "connect")):
        member, generation = _classic(b, groups[name], kind, subscription, assignment)
        _commit(b, groups[name], (read, unread), member=member, at=generation)
        if name == "empty-classic":
            b.quietly("LeaveGroup", 2, {"GroupId": groups[name], "MemberId": member})
    for name in ("empty-consumer", "consumer"):
        epoch = _consumer(b, groups[name], read)
        _commit(b, groups[name], (read, unread), 9, "one", epoch)
    b.quietly("ConsumerGroupHeartbeat", 1, {"GroupId": groups["empty-consumer"], "MemberId": "one", "MemberEpoch": -1})
    member, _ = _classic(b, groups["nothing"], "consumer", subscription, assignment)
    b.quietly("LeaveGroup", 2, {"GroupId": groups["nothing"], "MemberId": member})
    for note, group in asked.items():
        version, said = note.removeprefix("v").split(", ")
        _commit(b, group, (read,), int(version), RetentionTimeMs=int(said))
    _look(b, groups, "soon", without=("nothing",))
    b.until(lambda: not any(_offsets(b, group) for group in short), pause=0.2)
    b.until(lambda: b.quietly("DescribeGroups", 6, {"Groups": [groups["nothing"]]})["Groups"][0]["ErrorCode"] == 69, pause=0.2)
    for note, group in asked.items():
        b.ask("OffsetFetch", 8, {"Groups": [{"GroupId": group, "Topics": None}]}, f"committed {note} to keep, after seconds")
    _look(b, groups, "after seconds")

    def beat():
        b.quietly("ConsumerGroupHeartbeat", 1, {"GroupId": groups["consumer"], "MemberId": "one", "MemberEpoch": epoch})
        return True

    while time.monotonic() < began + RETENTION_S / 2:
        beat()
        time.sleep(1)
    _commit(b, groups["again"], (read,))
    b.record("before a minute", "", {name: sorted(_offsets(b, groups[name])) for name in names if _offsets(b, groups[name])})
    going = [*not_long, *(groups[name] for name in ("simple", "empty-classic", "empty-consumer"))]
    half = [groups[name] for name in ("again", "classic", "consumer")]
    over = lambda: beat() and not any(_offsets(b, group) for group in going) and all(len(_offsets(b, group)) < 2 for group in half)
    b.until(over, patience=RETENTION_S, pause=0.5)
    b.record("kept a minute", "", time.monotonic() - began >= RETENTION_S)
    _look(b, groups, "after a minute")
    for note, group in asked.items():
        b.ask("OffsetFetch", 8, {"Groups": [{"GroupId": group, "Topics": None}]}, f"committed {note} to keep, after a minute")
        b.ask("DescribeGroups", 6, {"Groups": [group]}, f"committed {note} to keep, after a minute")


def _look(b, groups, when, without=()):
    for name, group in groups.items():
        if name not in without:
            b.ask("OffsetFetch", 8, {"Groups": [{"GroupId": group, "Topics": None}]}, f"{name}, {when}")
            b.ask("DescribeGroups", 6, {"Groups": [group]}, f"{name}, {when}")
            b.ask("ConsumerGroupDescribe", 1, {"GroupIds": [group]}, f"{name}, {when}")
