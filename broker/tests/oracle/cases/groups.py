"""Groups of the classic protocol, as their members and those who look at them see them."""
from batches import batch, record
from session import produce_body

RANGE = {"Name": "range", "Metadata": b"\0\1one"}
OTHER = {"Name": "other", "Metadata": b"two"}
ASSIGNED = b"\0\0yours"


def coordinators(b):
    group = b.name("g")
    b.quietly("FindCoordinator", 3, {"Key": group, "KeyType": 0})
    b.group_is_there(group)
    for version in range(7):
        keys = {"Key": group} if version < 4 else {"CoordinatorKeys": [group, "", b.name("other"), group]}
        b.ask("FindCoordinator", version, keys, ordered=True)
    for version in (4, 6):
        b.ask("FindCoordinator", version, {"CoordinatorKeys": []}, "no keys")
    for version in (1, 4, 6):
        b.ask("FindCoordinator", version, {"Key": group, "KeyType": 7} if version < 4 else {"KeyType": 7, "CoordinatorKeys": [group]}, "an unknown kind of key")


def _join(b, version, group, member="", note="", protocols=(RANGE,), wire=None, **more):
    body = {"GroupId": group, "SessionTimeoutMs": 10000, "RebalanceTimeoutMs": 20000, "MemberId": member, "ProtocolType": "consumer", "Protocols": list(protocols), **more}
    return b.ask("JoinGroup", version, body, note, wire)


def _member(b, version, group, **more):
    """Alone in the group, with its generation."""
    joined = _join(b, version, group, **more)
    if joined["ErrorCode"] == 79:
        joined = _join(b, version, group, joined["MemberId"], "with the id given", **more)
    return joined["MemberId"], joined["GenerationId"]


def _sync(b, version, group, member, generation, note="", assign=True, **more):
    assignments = [{"MemberId": member, "Assignment": ASSIGNED}] if assign else []
    return b.ask("SyncGroup", version, {"GroupId": group, "GenerationId": generation, "MemberId": member, "Assignments": assignments, **more}, note)


def _heartbeat(b, version, group, member, generation, note="", **more):
    return b.ask("Heartbeat", version, {"GroupId": group, "GenerationId": generation, "MemberId": member, **more}, note)


def _leave(b, version, group, member, note="", instance=None):
    body = {"GroupId": group, "MemberId": member} if version < 3 else {"GroupId": group, "Members": [{"MemberId": member, "GroupInstanceId": instance}]}
    return b.ask("LeaveGroup", version, body, note)


def lives(b):
    for version in range(10):
        group = b.new_group(f"v{version}")
        member, generation = _member(b, version, group)
        sync = min(version, 5)
        _heartbeat(b, min(version, 4), group, member, generation, "before the assignment")
        _sync(b, sync, group, member, generation, **({"ProtocolType": "consumer", "ProtocolName": "range"} if sync >= 5 else {}))
        _heartbeat(b, min(version, 4), group, member, generation)
        _sync(b, sync, group, member, generation, "once more", False, **({"ProtocolType": "consumer", "ProtocolName": "range"} if sync >= 5 else {}))
        _join(b, version, group, member, "again, a leader")
        _leave(b, min(version, 5), group, member)
        _heartbeat(b, min(version, 4), group, member, generation, "after leaving")
        _leave(b, min(version, 5), group, member, "once more")


def join_refused(b):
    group = b.new_group()
    for version in (0, 3, 4, 6, 9):
        _join(b, version, "", note="no group")
        _join(b, version, group, "nobody", "an unknown member")
        _join(b, version, group, note="a short session", SessionTimeoutMs=5999)
        _join(b, version, group, note="a long session", SessionTimeoutMs=1800001)
        _join(b, version, group, note="no protocol type", ProtocolType="")
        _join(b, version, group, note="no protocols", protocols=())
    member, generation = _member(b, 9, group)
    _sync(b, 5, group, member, generation, ProtocolType="consumer", ProtocolName="range")
    for version in (0, 4, 9):
        _join(b, version, group, note="another protocol type", ProtocolType="connect")
        _join(b, version, group, note="no protocol in common", protocols=(OTHER,))
        _join(b, version, group, member, "another protocol type, a member", ProtocolType="connect")
        _join(b, version, group, "nobody", "an unknown member of a live group")
    _leave(b, 5, group, member)


def sync_refused(b):
    group = b.new_group()
    for version in range(6):
        _sync(b, version, "", "m", 1, "no group", **({"ProtocolType": "consumer", "ProtocolName": "range"} if version >= 5 else {}))
        _sync(b, version, group, "m", 1, "an unknown group", **({"ProtocolType": "consumer", "ProtocolName": "range"} if version >= 5 else {}))
    member, generation = _member(b, 9, group)
    for version in (0, 3, 5):
        named = {"ProtocolType": "consumer", "ProtocolName": "range"} if version >= 5 else {}
        _sync(b, version, group, member, generation + 1, "another generation", **named)
        _sync(b, version, group, "nobody", generation, "an unknown member", **named)
    _sync(b, 5, group, member, generation, "another protocol type", ProtocolType="connect", ProtocolName="range")
    _sync(b, 5, group, member, generation, "another protocol", ProtocolType="consumer", ProtocolName="other")
    _sync(b, 5, group, member, generation, "no protocol named")
    _leave(b, 5, group, member)


def heartbeats_refused(b):
    group = b.new_group()
    for version in range(5):
        _heartbeat(b, version, "", "m", 1, "no group")
        _heartbeat(b, version, group, "m", 1, "an unknown group")
    member, generation = _member(b, 9, group)
    _sync(b, 5, group, member, generation, ProtocolType="consumer", ProtocolName="range")
    for version in (0, 4):
        _heartbeat(b, version, group, member, generation + 1, "another generation")
        _heartbeat(b, version, group, "nobody", generation, "an unknown member")
        _heartbeat(b, version, group, member, -1, "generation -1")
    _leave(b, 5, group, member)


def leaving_refused(b):
    group = b.new_group()
    for version in range(6):
        _leave(b, version, "", "m", "no group")
        _leave(b, version, group, "m", "an unknown group")
    b.ask("LeaveGroup", 5, {"GroupId": group, "Members": []}, "nobody")
    member, _ = _member(b, 9, group)
    _leave(b, 5, group, "nobody", "an unknown member")
    _leave(b, 5, group, "", "an unknown instance", "i")
    b.ask("LeaveGroup", 5, {"GroupId": group, "Members": [{"MemberId": "nobody"}, {"MemberId": member}, {"MemberId": member}]}, "several", ordered=True)


def two_members(b):
    group = b.new_group()
    first, second = b.connect(), b.connect()
    one, generation = _member(b, 9, group)
    _sync(b, 5, group, one, generation, ProtocolType="consumer", ProtocolName="range")
    asked = _join(b, 9, group, note="the second", wire=second)
    second.request("JoinGroup", 9, {"GroupId": group, "SessionTimeoutMs": 10000, "RebalanceTimeoutMs": 20000, "MemberId": asked["MemberId"], "ProtocolType": "consumer", "Protocols": [OTHER, RANGE]})
    b.until(lambda: b.quietly("Heartbeat", 4, {"GroupId": group, "GenerationId": generation, "MemberId": one})["ErrorCode"] == 27)
    _heartbeat(b, 4, group, one, generation, "while rebalancing")
    b.ask("SyncGroup", 5, {"GroupId": group, "GenerationId": generation, "MemberId": one, "ProtocolType": "consumer", "ProtocolName": "range"}, "while rebalancing")
    first.request("JoinGroup", 9, {"GroupId": group, "SessionTimeoutMs": 10000, "RebalanceTimeoutMs": 20000, "MemberId": one, "ProtocolType": "consumer", "Protocols": [RANGE]})
    leader, follower = first.answer("JoinGroup", 9), second.answer("JoinGroup", 9)
    b.record("the leader's join", "", leader)
    b.record("the follower's join", "", follower)
    generation, two = leader["GenerationId"], follower["MemberId"]
    second.request("SyncGroup", 5, {"GroupId": group, "GenerationId": generation, "MemberId": two, "ProtocolType": "consumer", "ProtocolName": "range"})
    both = [{"MemberId": one, "Assignment": b"\0\0one"}, {"MemberId": two, "Assignment": b"\0\0two"}]
    b.ask("SyncGroup", 5, {"GroupId": group, "GenerationId": generation, "MemberId": one, "ProtocolType": "consumer", "ProtocolName": "range", "Assignments": both}, "the leader's")
    b.record("the follower's sync", "", second.answer("SyncGroup", 5))
    for version in range(7):
        b.ask("DescribeGroups", version, {"Groups": [group], "IncludeAuthorizedOperations": version >= 3}, "two members")
    _join(b, 9, group, two, "a follower, the same again", (OTHER, RANGE))
    b.ask("LeaveGroup", 5, {"GroupId": group, "Members": [{"MemberId": one}, {"MemberId": two}]}, "both", ordered=True)
    b.ask("DescribeGroups", 5, {"Groups": [group]}, "empty")


def static_members(b):
    group = b.new_group()
    for version in (5, 6, 7, 8, 9):
        instance = f"i{version}"
        member, generation = _member(b, version, group, GroupInstanceId=instance)
        named = {"ProtocolType": "consumer", "ProtocolName": "range"}
        _sync(b, 5, group, member, generation, GroupInstanceId=instance, **named)
        again = _join(b, version, group, note="the instance again", GroupInstanceId=instance)
        _heartbeat(b, 4, group, member, generation, "the replaced one", GroupInstanceId=instance)
        _sync(b, 5, group, member, generation, "the replaced one", GroupInstanceId=instance, **named)
        _join(b, version, group, member, "the replaced one", GroupInstanceId=instance)
        _heartbeat(b, 4, group, again["MemberId"], again["GenerationId"], "the new one", GroupInstanceId=instance)
        _heartbeat(b, 4, group, again["MemberId"], again["GenerationId"], "the new one, another instance", GroupInstanceId="nobody")
        _leave(b, 5, group, member, "the replaced one", instance)
        _leave(b, 5, group, "", "by instance", instance)


def committed(b):
    topic = b.topic("t", 3)
    known = b.topic_id(topic)
    for version in range(2, 11):
        group = b.new_group(f"c{version}")
        name = {"TopicId": known} if version >= 10 else {"Name": topic}
        parts = [{"PartitionIndex": at, "CommittedOffset": 10 + at, "CommittedLeaderEpoch": -1, "CommittedMetadata": meta} for at, meta in ((0, "m"), (1, None), (2, ""))]
        body = {"GroupId": group, "GenerationIdOrMemberEpoch": -1, "RetentionTimeMs": -1, "Topics": [{**name, "Partitions": parts}]}
        b.ask("OffsetCommit", version, body)
        _fetched(b, group, topic, known)
        b.ask("OffsetCommit", version, {**body, "Topics": [{**name, "Partitions": [{"PartitionIndex": 9, "CommittedOffset": 1}, {"PartitionIndex": 0, "CommittedOffset": 4, "CommittedMetadata": "x" * 4097}]}]}, "a missing partition, long metadata")
        b.ask("OffsetCommit", version, {**body, "Topics": [{**({"TopicId": "AAAAAAAAAAAAAAAAAAAAAQ"} if version >= 10 else {"Name": b.name("missing")}), "Partitions": parts}]}, "a missing topic")
        b.ask("OffsetCommit", version, {**body, "Topics": []}, "nothing")
        b.ask("OffsetCommit", version, {**body, "GenerationIdOrMemberEpoch": 3}, "a generation, no member")
        b.ask("OffsetCommit", version, {**body, "MemberId": "nobody"}, "a member that is not there")
        b.ask("OffsetCommit", version, {**body, "GroupId": b.name("fresh"), "GenerationIdOrMemberEpoch": 1, "MemberId": "nobody"}, "a group that is not there")
        b.ask("OffsetCommit", version, {**body, "Topics": [{**name, "Partitions": [{"PartitionIndex": 0, "CommittedOffset": -5}]}]}, "a negative offset")
        b.ask("OffsetCommit", version, {**body, "GroupId": ""}, "no group's name")


def _fetched(b, group, topic, known):
    for version in range(1, 11):
        named = {"TopicId": known} if version >= 10 else {"Name": topic}
        asked = [{**named, "PartitionIndexes": [0, 1, 2, 7]}]
        for note, topics in (("all", None), ("some", asked), ("nothing", [])):
            if topics is None and version < 2:
                continue
            body = {"GroupId": group, "Topics": topics} if version < 8 else {"Groups": [{"GroupId": group, "MemberEpoch": -1, "Topics": topics}]}
            b.ask("OffsetFetch", version, body, note)


def fetched_of_nobody(b):
    topic = b.topic()
    known = b.topic_id(topic)
    for version in range(1, 11):
        named = {"TopicId": known} if version >= 10 else {"Name": topic}
        missing = {"TopicId": "AAAAAAAAAAAAAAAAAAAAAQ"} if version >= 10 else {"Name": b.name("missing")}
        topics = [{**named, "PartitionIndexes": [0]}, {**missing, "PartitionIndexes": [0]}]
        group = b.new_group("nobody")
        body = {"GroupId": group, "Topics": topics} if version < 8 else {"Groups": [{"GroupId": group, "MemberEpoch": -1, "Topics": topics}, {"GroupId": b.name("other"), "MemberEpoch": -1, "Topics": None}]}
        b.ask("OffsetFetch", version, body)
        if version >= 9:
            b.ask("OffsetFetch", version, {"Groups": [{"GroupId": group, "MemberId": "m", "MemberEpoch": 1, "Topics": topics}]}, "as a member")


def committed_by_members(b):
    topic = b.topic()
    for version in range(2, 10):
        group = b.new_group(f"m{version}")
        body = {"GroupId": group, "RetentionTimeMs": -1, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 3}]}]}
        member, generation = _member(b, 9, group)
        b.ask("OffsetCommit", version, {**body, "GenerationIdOrMemberEpoch": generation, "MemberId": member}, "before the assignment")
        _sync(b, 5, group, member, generation, ProtocolType="consumer", ProtocolName="range")
        b.ask("OffsetCommit", version, {**body, "GenerationIdOrMemberEpoch": generation, "MemberId": member})
        b.ask("OffsetCommit", version, {**body, "GenerationIdOrMemberEpoch": generation + 1, "MemberId": member}, "another generation")
        b.ask("OffsetCommit", version, {**body, "GenerationIdOrMemberEpoch": generation, "MemberId": "nobody"}, "an unknown member")
        b.ask("OffsetCommit", version, {**body, "GenerationIdOrMemberEpoch": -1, "MemberId": ""}, "from outside")
        _leave(b, 5, group, member)
        b.ask("OffsetCommit", version, {**body, "GenerationIdOrMemberEpoch": -1, "MemberId": ""}, "from outside, empty")


def offsets_deleted(b):
    topic, other = b.topic("t", 2), b.topic("u")
    group = b.new_group()

    def delete(note, *topics, group=group):
        b.ask("OffsetDelete", 0, {"GroupId": group, "Topics": [{"Name": name, "Partitions": [{"PartitionIndex": at} for at in parts]} for name, parts in topics]}, note)

    delete("an unknown group", (topic, [0]))
    parts = [{"PartitionIndex": at, "CommittedOffset": 1} for at in (0, 1)]
    b.quietly("OffsetCommit", 8, {"GroupId": group, "GenerationIdOrMemberEpoch": -1, "Topics": [{"Name": topic, "Partitions": parts}, {"Name": other, "Partitions": parts[:1]}]})
    delete("one, one without an offset", (topic, [0, 1, 7]))
    delete("a missing topic", (b.name("missing"), [0]))
    delete("a missing topic and one that is there", (b.name("missing"), [0]), (other, [0]))
    delete("nothing")
    delete("no group's name", (topic, [0]), group="")
    _fetched(b, group, topic, b.topic_id(topic))


def described_and_listed(b):
    missing, simple = b.new_group("missing"), b.new_group("simple")
    topic = b.topic()
    b.quietly("OffsetCommit", 8, {"GroupId": simple, "GenerationIdOrMemberEpoch": -1, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 1}]}]})
    connect = b.new_group("connect")
    joined = b.quietly("JoinGroup", 3, {"GroupId": connect, "SessionTimeoutMs": 10000, "RebalanceTimeoutMs": 10000, "MemberId": "", "ProtocolType": "connect", "Protocols": [OTHER]})
    for version in range(7):
        b.ask("DescribeGroups", version, {"Groups": [missing, simple, connect, ""], "IncludeAuthorizedOperations": version >= 3})

    def mine(answer):
        return {**answer, "Groups": [group for group in answer["Groups"] if group["GroupId"] in (missing, simple, connect)]}

    for version in range(6):
        b.ask("ListGroups", version, {}, pick=mine)
    for states in ([], ["Empty"], ["empty"], ["CompletingRebalance", "Dead"], ["NoSuchState"], ["Stable"]):
        b.ask("ListGroups", 5, {"StatesFilter": states}, f"states {states}", pick=mine)
    for types in ([], ["classic"], ["Classic"], ["consumer"], ["share"], ["nothing"]):
        b.ask("ListGroups", 5, {"TypesFilter": types}, f"types {types}", pick=mine)
    b.ask("ConsumerGroupDescribe", 1, {"GroupIds": [missing, simple, connect]}, "classic groups")
    b.ask("LeaveGroup", 2, {"GroupId": connect, "MemberId": joined["MemberId"]}, "the member")


def deleted(b):
    topic = b.topic()
    commit = {"GenerationIdOrMemberEpoch": -1, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 1}]}]}
    for version in range(3):
        simple, live, missing = b.new_group("s"), b.new_group("l"), b.new_group("m")
        b.quietly("OffsetCommit", 8, {"GroupId": simple, **commit})
        member, _ = _member(b, 9, live)
        b.ask("DeleteGroups", version, {"GroupsNames": [simple, live, missing, ""]}, pick=_by_group)
        b.ask("DeleteGroups", version, {"GroupsNames": [simple, simple]}, "again, twice", pick=_by_group)
        _leave(b, 5, live, member)
        b.ask("DeleteGroups", version, {"GroupsNames": [live]}, "nobody is in it any more")
        b.ask("OffsetFetch", 7, {"GroupId": simple, "Topics": None}, "of a deleted group")


def _by_group(answer):
    """Kafka answers partition by partition."""
    return {**answer, "Results": sorted(answer["Results"], key=lambda result: result["GroupId"])}


def written_by_clients(b):
    """Nobody but brokers writes to the topic of groups."""
    b.new_group()
    for version in (3, 8, 12):
        b.ask("Produce", version, produce_body("__consumer_offsets", batch([record(key=b"k")])))
