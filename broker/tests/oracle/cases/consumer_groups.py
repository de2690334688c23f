"""Groups of the consumer protocol (KIP-848), as their members and those who look at them see them.

Members name themselves, so that both brokers share partitions out among the same names. Words count here: members show them to people."""
import itertools
import struct

ALL = {"RebalanceTimeoutMs": 60000, "TopicPartitions": []}
NEVER_MADE = "AAAAAAAAAAAAAAAAAAAAAQ"


def _place(group):
    """The partition of __consumer_offsets that a group's coordinator leads: Java's hash of the name, of 50."""
    number = 0
    for char in group:
        number = (31 * number + ord(char)) & 0xFFFFFFFF
    return abs(number - (number >> 31 << 32)) % 50


def _group(b, text="g", **topics):
    """A group that is new, and topics by name with their number of partitions; its coordinator knows of them. Their real names come after it."""
    b.words_count = True
    group = b.new_group(text)
    names = [b.topic(name, partitions) for name, partitions in topics.items()]
    for name, partitions in zip(names, topics.values()):
        b.topic_id(name)
        _knows(b, group, name, partitions)
    return (group, *names)


def _knows(b, group, topic, partitions):
    """A coordinator of Kafka's hears of topics later than others do. When, that is told by another group of the same coordinator."""
    probe = next(name for at in itertools.count() if _place(name := f"{group}-probe{at}") == _place(group))
    b.group_is_there(probe)
    body = {"GroupId": probe, "MemberId": "p", "MemberEpoch": 0, **ALL, "SubscribedTopicNames": [topic]}
    b.until(lambda: _count(b.quietly("ConsumerGroupHeartbeat", 1, body)) == partitions)
    b.quietly("ConsumerGroupHeartbeat", 1, {"GroupId": probe, "MemberId": "p", "MemberEpoch": -1})


def _count(answer):
    return sum(len(topic["Partitions"]) for topic in _has(answer))


def _has(answer):
    return (answer["Assignment"] or {"TopicPartitions": []})["TopicPartitions"]


def _beat(b, group, member, epoch, note="", version=1, **said):
    return b.ask("ConsumerGroupHeartbeat", version, {"GroupId": group, "MemberId": member, "MemberEpoch": epoch, **said}, note)


def _join(b, group, member, *topics, note="", version=1, **said):
    return _beat(b, group, member, 0, f"{member or 'somebody'} joins {note}".strip(), version, **{**ALL, "SubscribedTopicNames": list(topics), **said})


def _whole(b, group, member, epoch, topics, owns, note="", **said):
    """A heartbeat that says all is told all."""
    return _beat(b, group, member, epoch, note, RebalanceTimeoutMs=60000, SubscribedTopicNames=list(topics), TopicPartitions=owns, **said)


def _described(b, group, note="", version=1):
    return b.ask("ConsumerGroupDescribe", version, {"GroupIds": [group]}, note)


def _settled(b, group, member, epoch, owns, version=1):
    """The member goes on until it is told of another epoch; that answer is not compared, for who asks when decides what it says."""
    def moved():
        answer = b.quietly("ConsumerGroupHeartbeat", version, {"GroupId": group, "MemberId": member, "MemberEpoch": epoch, "TopicPartitions": owns})
        seen.append(answer)
        return answer["ErrorCode"] or answer["MemberEpoch"] > epoch
    seen = []
    b.until(moved)
    return seen[-1]["MemberEpoch"]


def lives(b):
    group, topic = _group(b, t=3)
    for version in (0, 1):
        joined = _join(b, group, "" if version == 0 else "me", topic, version=version)
        member, epoch, owns = joined["MemberId"], joined["MemberEpoch"], _has(joined)
        _described(b, group, "after joining", version)
        _beat(b, group, member, epoch, "it is alive", version)
        _beat(b, group, member, epoch, "and has this", version, TopicPartitions=owns)
        _beat(b, group, member, epoch, "says all", version, RebalanceTimeoutMs=60000, SubscribedTopicNames=[topic], TopicPartitions=owns)
        _beat(b, group, member, epoch, "says nearly all", version, SubscribedTopicNames=[topic], TopicPartitions=owns)
        _beat(b, group, member, epoch, "another timeout", version, RebalanceTimeoutMs=30000)
        _beat(b, group, member, epoch, "a rack", version, RackId="r")
        _beat(b, group, member, epoch, "another assignor", version, ServerAssignor="range")
        _described(b, group, "after that", version)
        again = _join(b, group, member, topic, note="again", version=version)
        _beat(b, group, member, -1, "leaves", version)
        _described(b, group, "empty", version)
        _beat(b, group, member, again["MemberEpoch"], "after leaving", version)
        _beat(b, group, member, -1, "leaves once more", version)
    b.ask("ConsumerGroupDescribe", 1, {"GroupIds": [group, "", b.name("missing"), group], "IncludeAuthorizedOperations": True}, "several")
    for version in (0, 1):
        b.ask("ConsumerGroupDescribe", version, {"GroupIds": []}, "none")


# What a request says instead, or besides.
SAID = {
    "nothing odd": {},
    "no group": {"GroupId": ""},
    "a blank group": {"GroupId": " \t"},
    "no member id": {"MemberId": ""},
    "a blank member id": {"MemberId": " "},
    "an empty instance": {"InstanceId": ""},
    "a blank instance": {"InstanceId": " "},
    "an instance": {"InstanceId": "i"},
    "an empty rack": {"RackId": ""},
    "a blank rack": {"RackId": "\n"},
    "no timeout": {"RebalanceTimeoutMs": -1},
    "a timeout of 0": {"RebalanceTimeoutMs": 0},
    "a negative timeout": {"RebalanceTimeoutMs": -5},
    "nothing about what it has": {"TopicPartitions": None},
    "it has something": {"TopicPartitions": [{"TopicId": NEVER_MADE, "Partitions": [0]}]},
    "it has nothing of something": {"TopicPartitions": [{"TopicId": NEVER_MADE, "Partitions": []}]},
    "no subscription": {"SubscribedTopicNames": None},
    "subscribed to nothing": {"SubscribedTopicNames": []},
    "subscribed to no name": {"SubscribedTopicNames": [""]},
    "subscribed to a bad name": {"SubscribedTopicNames": ["a b", "."]},
    "subscribed to a long name": {"SubscribedTopicNames": ["x" * 250]},
    "subscribed twice": {"SubscribedTopicNames": ["x", "x"]},
    "an empty pattern": {"SubscribedTopicNames": None, "SubscribedTopicRegex": ""},
    "names and a pattern": {"SubscribedTopicRegex": "no-such-.*"},
    "an unknown assignor": {"ServerAssignor": "sticky"},
    "an assignor in capitals": {"ServerAssignor": "UNIFORM"},
    "no assignor's name": {"ServerAssignor": ""},
    "all wrong": {"MemberId": "", "InstanceId": "", "RackId": "", "RebalanceTimeoutMs": -1, "TopicPartitions": None, "SubscribedTopicNames": None, "ServerAssignor": "x"},
}


def joining_refused(b):
    _asked_of_new_groups(b, 0, {**ALL, "SubscribedTopicNames": []})


def staying_refused(b):
    for epoch in (1, -3, -2147483648):
        _asked_of_new_groups(b, epoch, {})


def leaving_refused(b):
    for epoch in (-1, -2):
        _asked_of_new_groups(b, epoch, {})


def _asked_of_new_groups(b, epoch, usual):
    b.words_count = True
    for version in (0, 1):
        for number, (note, said) in enumerate(SAID.items()):
            group = said.get("GroupId", b.new_group(f"v{version}-{number}"))
            if "SubscribedTopicRegex" in said and version == 0:
                continue
            _beat(b, group, said.get("MemberId", "m"), epoch, f"epoch {epoch}, {note}", version, **{**usual, **{key: said[key] for key in said if key not in ("GroupId", "MemberId")}})


def _known_member(b, group, *topics, member="one", **said):
    joined = _join(b, group, member, *topics, **said)
    return joined["MemberEpoch"], _has(joined)


def unknown_members(b):
    group, topic = _group(b, t=2)
    epoch, owns = _known_member(b, group, topic)
    for version in (0, 1):
        for asked in (epoch, epoch + 1, -1):
            _beat(b, group, "nobody", asked, f"a stranger, epoch {asked}", version)
            _beat(b, group, "nobody", asked, f"a stranger's instance, epoch {asked}", version, InstanceId="i")
        _beat(b, group, "nobody", -2, "a stranger's instance leaves for a while", version, InstanceId="i")
        _beat(b, group, "one", epoch, "no static member", version, InstanceId="i")
        _beat(b, group, "one", -2, "no static member leaves for a while", version)
        _beat(b, group, "one", -2, "no static member leaves for a while, with an instance", version, InstanceId="i")
    _described(b, group)


def epochs(b):
    group, topic, other = _group(b, t=3, u=1)
    first, owns = _known_member(b, group, topic)
    for epoch in (first + 1, first - 1, 2147483647):
        if epoch > 0:
            _beat(b, group, "one", epoch, f"epoch {epoch} of {first}", TopicPartitions=owns)
    second = _beat(b, group, "one", first, "another subscription", SubscribedTopicNames=[topic, other])["MemberEpoch"]
    topic_id = owns[0]["TopicId"] if owns else NEVER_MADE
    for note, has in (("does not say what it has", None), ("a part", [{"TopicId": topic_id, "Partitions": [1]}]), ("nothing", []), ("nothing of it", [{"TopicId": topic_id, "Partitions": []}]),
                      ("more", [{"TopicId": topic_id, "Partitions": [0, 3]}]), ("another topic's", [{"TopicId": NEVER_MADE, "Partitions": [0]}]), ("none of another topic's", [{"TopicId": NEVER_MADE, "Partitions": []}]),
                      ("a part twice", [{"TopicId": topic_id, "Partitions": [1, 1]}]), ("all", owns)):
        _beat(b, group, "one", first, f"the epoch before, {note}", TopicPartitions=has)
        _beat(b, group, "one", second, f"the epoch, {note}", TopicPartitions=has)
        _described(b, group, f"then, {note}")
    third = _beat(b, group, "one", second, "and another", SubscribedTopicNames=[other], TopicPartitions=owns)["MemberEpoch"]
    for epoch in (first, second, third, third + 1, -1):
        _beat(b, group, "one", epoch, f"epoch {epoch} of {third}", TopicPartitions=[])
    _described(b, group, "gone")


def static_members(b):
    group, topic = _group(b, t=4)
    epoch, owns = _known_member(b, group, topic, member="one", InstanceId="i")
    _join(b, group, "two", topic, note="as the same instance", InstanceId="i")
    _join(b, group, "one", topic, note="again", InstanceId="i")
    _join(b, group, "one", topic, note="without its instance")
    _described(b, group, "the first")
    for epoch_asked in (epoch, -1, -2):
        _beat(b, group, "two", epoch_asked, f"another member, epoch {epoch_asked}", InstanceId="i")
        _beat(b, group, "one", epoch_asked, f"another instance, epoch {epoch_asked}", InstanceId="j")
    _beat(b, group, "one", epoch, "does not say which", TopicPartitions=owns)
    _join(b, group, "three", topic, note="as another instance", InstanceId="j")
    _described(b, group, "two instances")
    _beat(b, group, "one", -2, "leaves for a while", InstanceId="i")
    _described(b, group, "one is away")
    _beat(b, group, "one", epoch, "the one that is away", InstanceId="i")
    _beat(b, group, "one", -2, "leaves for a while once more", InstanceId="i")
    _join(b, group, "two", topic, note="as the one that is away", InstanceId="i")
    _described(b, group, "somebody in its place")
    _beat(b, group, "one", epoch, "the replaced one", InstanceId="i")
    _beat(b, group, "one", epoch, "the replaced one, without its instance")
    _beat(b, group, "one", -1, "the replaced one leaves", InstanceId="i")
    _beat(b, group, "two", -2, "leaves for a while", InstanceId="i")
    _join(b, group, "two", note="subscribed to nothing", InstanceId="i")
    _described(b, group, "another subscription")
    _beat(b, group, "two", -1, "leaves for good", InstanceId="i")
    _described(b, group, "the last but one")
    _beat(b, group, "three", -1, "leaves for good, without its instance")
    _described(b, group, "nobody")


def subscriptions(b):
    group, topic, other = _group(b, t=2, u=3)
    epoch, owns = _known_member(b, group, topic)
    for note, names in (("two", [topic, other]), ("the same in another order", [other, topic]), ("one twice", [topic, topic, other]), ("the other", [other]), ("nothing", []), ("a missing one", [b.name("missing")]),
                        ("a missing one too", [b.name("missing"), topic]), ("both again", [topic, other])):
        answer = _beat(b, group, "one", epoch, f"subscribed to {note}", SubscribedTopicNames=names)
        _described(b, group, f"subscribed to {note}")
        answer = _whole(b, group, "one", answer["MemberEpoch"], names, owns, f"has what it had before {note}")
        _described(b, group, f"has what it had before {note}")
        answer = _whole(b, group, "one", answer["MemberEpoch"], names, _has(answer), f"has all of {note}")
        epoch, owns = answer["MemberEpoch"], _has(answer)
        _described(b, group, f"has all of {note}")


def _moves(b, group, first, second, names, **said):
    """What the first has to give up reaches the second."""
    one, owned = first
    told = _whole(b, group, "one", one, names, owned, "one is told", **said)
    _described(b, group, "one is told")
    _beat(b, group, "two", second, "two waits")
    _whole(b, group, "one", told["MemberEpoch"], names, owned, "one still has all", **said)
    done = _whole(b, group, "one", told["MemberEpoch"], names, _has(told), "one gave it up", **said)
    _described(b, group, "one gave it up")
    got = _beat(b, group, "two", second, "two is told")
    _described(b, group, "two is told")
    _whole(b, group, "two", got["MemberEpoch"], names, _has(got), "two has it", **said)
    return (done["MemberEpoch"], _has(done)), (got["MemberEpoch"], _has(got))


def assignors(b):
    for assignor in ("uniform", "range", None):
        group, topic = _group(b, f"g-{assignor}", **{f"t-{assignor}": 5})
        named = {"ServerAssignor": assignor} if assignor else {}
        one = _known_member(b, group, topic, **named)
        second = _join(b, group, "two", topic, **named)["MemberEpoch"]
        _described(b, group, "two members")
        one, two = _moves(b, group, one, second, [topic], **named)
        _join(b, group, "three", topic, ServerAssignor="range")
        _described(b, group, "three members")
        _join(b, group, "four", topic, ServerAssignor="range")
        _described(b, group, "four members")
        for member in ("two", "one", "three", "four"):
            _beat(b, group, member, -1, f"{member} leaves")
            _described(b, group, f"{member} left")


def range_of_two_topics(b):
    group, topic, other = _group(b, t=3, u=2)
    named = {"ServerAssignor": "range"}
    one = _known_member(b, group, topic, other, **named)
    second = _join(b, group, "two", topic, other, **named)["MemberEpoch"]
    _described(b, group, "two members")
    _moves(b, group, one, second, [topic, other], **named)
    _join(b, group, "three", other, **named)
    _described(b, group, "three members, one topic is not for all")


def more_members_than_partitions(b):
    for assignor in ("uniform", "range"):
        group, topic = _group(b, f"g-{assignor}", **{f"t-{assignor}": 1})
        for member in ("one", "two", "three"):
            _join(b, group, member, topic, ServerAssignor=assignor)
            _described(b, group, f"with {member}")
        _beat(b, group, "one", -1, "the first leaves")
        _described(b, group, "without the first")


def given_up_too_late(b):
    group, topic = _group(b, t=2)
    one = _known_member(b, group, topic, RebalanceTimeoutMs=2000)
    second = _join(b, group, "two", topic, RebalanceTimeoutMs=2000)["MemberEpoch"]
    _beat(b, group, "one", one[0], "one is told", TopicPartitions=one[1])
    _beat(b, group, "two", second, "two waits")
    b.until(lambda: len(b.quietly("ConsumerGroupDescribe", 1, {"GroupIds": [group]})["Groups"][0]["Members"]) == 1)
    _beat(b, group, "one", one[0], "one was too slow", TopicPartitions=one[1])
    _described(b, group, "one was too slow")
    _beat(b, group, "two", second, "two is told")
    _described(b, group, "two is told")


def topic_ids(b):
    group, topic, other = _group(b, t=2, u=1)
    epoch, owns = _known_member(b, group, topic)
    known, foreign = b.topic_id(topic), b.topic_id(other)
    for note, has in (("of no topic", [("AAAAAAAAAAAAAAAAAAAAAA", [0])]), ("of an unknown topic", [(NEVER_MADE, [0])]), ("of another topic", [(foreign, [0])]), ("that there is not", [(known, [7, -1])]),
                      ("twice", [(known, [0, 0])]), ("of a topic twice", [(known, [0]), (known, [1])])):
        topics = [{"TopicId": id, "Partitions": partitions} for id, partitions in has]
        _beat(b, group, "one", epoch, f"has a partition {note}", TopicPartitions=topics)
        _whole(b, group, "one", epoch, [topic], topics, f"has a partition {note}, says all")
    _described(b, group)


def topics_come_and_go(b):
    group, kept = _group(b, t=2)
    late = b.name("late")
    epoch, owns = _known_member(b, group, kept, late)
    _described(b, group, "a topic is missing")
    b.topic("late", 3)
    late_id = b.topic_id(late)
    epoch = _settled(b, group, "one", epoch, owns)
    owns = _has(_whole(b, group, "one", epoch, [kept, late], owns, "it is there"))
    _described(b, group, "it is there")
    b.quietly("CreatePartitions", 3, {"Topics": [{"Name": late, "Count": 5, "Assignments": None}], "TimeoutMs": 10000})
    b.leaders(late, 5)
    epoch = _settled(b, group, "one", epoch, owns)
    owns = _has(_whole(b, group, "one", epoch, [kept, late], owns, "it grew"))
    _described(b, group, "it grew")
    b.quietly("DeleteTopics", 6, {"Topics": [{"Name": late}], "TimeoutMs": 10000})
    b.gone(late)
    left = [part for part in owns if part["TopicId"] != late_id]
    epoch = _settled(b, group, "one", epoch, left)
    owns = _has(_whole(b, group, "one", epoch, [kept, late], left, "it is gone"))
    _described(b, group, "it is gone")
    b.topic("late", 1)
    b.topic_id(late)
    epoch = _settled(b, group, "one", epoch, owns)
    _whole(b, group, "one", epoch, [kept, late], owns, "it is there anew")
    _described(b, group, "it is there anew")


def patterns(b):
    # One topic: the ids of several would decide who gets what.
    group, topic, other = _group(b, ta=4, ub=1)
    prefix = b.name("t")
    joined = _join(b, group, "one", SubscribedTopicRegex=f"{prefix}.*", SubscribedTopicNames=None)
    epoch = _settled(b, group, "one", joined["MemberEpoch"], [])
    _described(b, group, "a pattern")
    owns = _has(_beat(b, group, "one", epoch, "says all", RebalanceTimeoutMs=60000, SubscribedTopicRegex=f"{prefix}.*", TopicPartitions=[]))
    _beat(b, group, "one", epoch, "the same pattern", SubscribedTopicRegex=f"{prefix}.*", TopicPartitions=owns)
    _join(b, group, "two", SubscribedTopicRegex=f"{prefix}.*", SubscribedTopicNames=None, note="with the same pattern")
    _described(b, group, "two with a pattern")
    _beat(b, group, "two", -1, "two leaves")
    epoch = _settled(b, group, "one", epoch, owns)
    owns = _has(_beat(b, group, "one", epoch, "two left", RebalanceTimeoutMs=60000, SubscribedTopicRegex=f"{prefix}.*", TopicPartitions=owns))
    _beat(b, group, "one", epoch, "no pattern any more", SubscribedTopicRegex="", TopicPartitions=owns)
    _described(b, group, "no pattern any more")
    _beat(b, group, "one", -1, "leaves")
    _described(b, group, "left")


def patterns_and_names(b):
    group, topic, other = _group(b, ta=2, ub=3)
    joined = _join(b, group, "one", other, SubscribedTopicRegex=b.name("ta"))
    epoch = _settled(b, group, "one", joined["MemberEpoch"], _has(joined))
    _described(b, group, "a pattern and a name")
    _beat(b, group, "one", epoch, "says all", RebalanceTimeoutMs=60000, SubscribedTopicNames=[other], SubscribedTopicRegex=b.name("ta"), TopicPartitions=[])
    _beat(b, group, "one", epoch, "no name any more", SubscribedTopicNames=[])
    _described(b, group, "a pattern")


def patterns_see_new_topics(b):
    """Kafka looks up patterns no more often than every ten seconds."""
    group, topic = _group(b, ta=2)
    pattern = f"{b.name('t')}[a-c]"
    joined = _join(b, group, "one", SubscribedTopicRegex=pattern, SubscribedTopicNames=None)
    epoch = _settled(b, group, "one", joined["MemberEpoch"], [])
    owns = _has(_beat(b, group, "one", epoch, "before", RebalanceTimeoutMs=60000, SubscribedTopicRegex=pattern, TopicPartitions=[]))
    for name in ("tb", "td"):
        b.topic_id(b.topic(name, 1))
    epoch = _settled(b, group, "one", epoch, owns)
    _beat(b, group, "one", epoch, "after", RebalanceTimeoutMs=60000, SubscribedTopicRegex=pattern, TopicPartitions=owns)
    _described(b, group, "after")


WRONG_PATTERNS = ["[", "(", ")", "a{2,1}", "a{1001}", "\\1", "(?=a)", "(?<!a)", "*a", "+", "a**", "(?P<n>a", "(?<n>a)", "[b-a]", "\\", "\\z\\", "[[:no:]]", "(?z)a", "a{,2}", "\\pX", "x" * 100 + "["]


def patterns_refused(b):
    group, topic = _group(b, t=1)
    for pattern in WRONG_PATTERNS:
        _join(b, group, "one", SubscribedTopicRegex=pattern, SubscribedTopicNames=None, note=f"with {pattern[-20:]}")
    epoch, _ = _known_member(b, group, topic)
    for pattern in WRONG_PATTERNS:
        _beat(b, group, "one", epoch, f"changes to {pattern[-20:]}", SubscribedTopicRegex=pattern)
    _described(b, group)


def own_settings(b):
    group, topic = _group(b, t=2)
    changes = [{"Name": name, "ConfigOperation": 0, "Value": value} for name, value in (("consumer.heartbeat.interval.ms", "7000"), ("consumer.session.timeout.ms", "50000"), ("consumer.assignment.interval.ms", "15000"))]
    b.quietly("IncrementalAlterConfigs", 1, {"Resources": [{"ResourceType": 32, "ResourceName": group, "Configs": changes}]})
    heard = lambda: b.quietly("ConsumerGroupHeartbeat", 1, {"GroupId": group, "MemberId": "one", "MemberEpoch": 0, **ALL, "SubscribedTopicNames": []})["HeartbeatIntervalMs"] == 7000
    b.until(heard)
    b.quietly("ConsumerGroupHeartbeat", 1, {"GroupId": group, "MemberId": "one", "MemberEpoch": -1})
    b.quietly("DeleteGroups", 2, {"GroupsNames": [group]})
    _known_member(b, group, topic)
    _join(b, group, "two", topic)
    _described(b, group, "the next assignment has to wait")
    _beat(b, group, "one", -1, "leaves")
    _described(b, group, "one left, the next assignment has to wait")


def described_and_listed(b):
    group, topic, other = _group(b, t=1, u=1)
    _known_member(b, group, topic)

    def mine(answer):
        return {**answer, "Groups": [listed for listed in answer["Groups"] if listed["GroupId"] == group]}

    for version in range(6):
        b.ask("ListGroups", version, {}, pick=mine)
    for states in (["Stable"], ["stable"], ["Assigning", "Reconciling"], ["Empty"]):
        b.ask("ListGroups", 5, {"StatesFilter": states}, f"states {states}", pick=mine)
    for types in (["consumer"], ["Consumer"], ["classic"]):
        b.ask("ListGroups", 5, {"TypesFilter": types}, f"types {types}", pick=mine)
    for version in range(7):
        b.ask("DescribeGroups", version, {"Groups": [group]}, "a consumer group")
    b.ask("DeleteGroups", 2, {"GroupsNames": [group]}, "with a member")
    parts = [{"PartitionIndex": 0, "CommittedOffset": 1}]
    b.ask("OffsetCommit", 9, {"GroupId": group, "Topics": [{"Name": other, "Partitions": parts}]}, "from outside")
    b.ask("OffsetDelete", 0, {"GroupId": group, "Topics": [{"Name": name, "Partitions": [{"PartitionIndex": 0}]} for name in (topic, other)]})
    _beat(b, group, "one", -1, "leaves")
    b.ask("ListGroups", 5, {"StatesFilter": ["Empty"]}, "nobody in it", pick=mine)
    b.ask("OffsetCommit", 9, {"GroupId": group, "Topics": [{"Name": other, "Partitions": parts}]}, "from outside, nobody in it")
    b.ask("OffsetDelete", 0, {"GroupId": group, "Topics": [{"Name": name, "Partitions": [{"PartitionIndex": 0}]} for name in (topic, other)]}, "nobody in it")
    b.ask("DeleteGroups", 2, {"GroupsNames": [group]}, "nobody in it")
    _described(b, group, "deleted")
    _beat(b, group, "one", 1, "of a deleted group")


def offsets_of_members(b):
    group, topic = _group(b, t=2)
    known = b.topic_id(topic)
    epoch, owns = _known_member(b, group, topic)
    second = _beat(b, group, "one", epoch, "another subscription", SubscribedTopicNames=[topic, b.name("missing")])["MemberEpoch"]
    body = {"GroupId": group, "RetentionTimeMs": -1}
    for version in range(2, 11):
        named = {"TopicId": known} if version >= 10 else {"Name": topic}
        topics = [{**named, "Partitions": [{"PartitionIndex": 0, "CommittedOffset": version}]}]
        for note, member, at in (("in its epoch", "one", second), ("in the epoch before", "one", epoch), ("in an epoch to come", "one", second + 1), ("in no epoch", "one", -1), ("in epoch 0", "one", 0),
                                 ("a stranger", "nobody", second), ("nobody", "", -1), ("nobody, in an epoch", "", second)):
            b.ask("OffsetCommit", version, {**body, "MemberId": member, "GenerationIdOrMemberEpoch": at, "Topics": topics}, note)
            b.ask("OffsetCommit", version, {**body, "MemberId": member, "GenerationIdOrMemberEpoch": at, "Topics": []}, f"{note}, nothing")
        b.ask("OffsetCommit", version, {**body, "MemberId": "one", "GroupInstanceId": "i", "GenerationIdOrMemberEpoch": second, "Topics": topics}, "as an instance")
    for version in (8, 9, 10):
        named = {"TopicId": known} if version >= 10 else {"Name": topic}
        asked = {"GroupId": group, "Topics": [{**named, "PartitionIndexes": [0, 1]}]}
        for note, member, at in (("in its epoch", "one", second), ("in the epoch before", "one", epoch), ("in an epoch to come", "one", second + 1), ("in no epoch", "one", -1), ("a stranger", "nobody", second),
                                 ("nobody", None, -1), ("nobody, in an epoch", None, second), ("an empty id", "", -1)):
            b.ask("OffsetFetch", version, {"Groups": [{**asked, "MemberId": member, "MemberEpoch": at}]}, note)


# Groups whose members speak both protocols.

def _text(text):
    return struct.pack(">h", len(text)) + text.encode()


def _parts(topics):
    return struct.pack(">i", len(topics)) + b"".join(_text(name) + struct.pack(f">i{len(parts)}i", len(parts), *parts) for name, parts in topics)


def _subscription(*topics, owns=None):
    """What a member of the classic protocol says to its group's leader; `owns` makes it a cooperative one."""
    named = struct.pack(">i", len(topics)) + b"".join(_text(name) for name in topics)
    return struct.pack(">h", 0 if owns is None else 1) + named + struct.pack(">i", -1) + (b"" if owns is None else _parts(owns))


def _assigned(*topics, said=None):
    return struct.pack(">h", 0) + _parts(topics) + (struct.pack(">i", -1) if said is None else struct.pack(">i", len(said)) + said)


def _classic_join(b, group, member, metadata, note="", name="range", version=9, **more):
    protocols = [{"Name": each, "Metadata": metadata} for each in name.split()]
    return b.ask("JoinGroup", version, {"GroupId": group, "SessionTimeoutMs": 10000, "RebalanceTimeoutMs": 20000, "MemberId": member, "ProtocolType": "consumer", "Protocols": protocols, **more}, note)


def _classic_sync(b, group, member, generation, note="", assignments=(), **more):
    body = {"GroupId": group, "GenerationId": generation, "MemberId": member, "ProtocolType": "consumer", "ProtocolName": "range", "Assignments": [{"MemberId": who, "Assignment": raw} for who, raw in assignments]}
    return b.ask("SyncGroup", 5, {**body, **more}, note)


def _classic_beat(b, group, member, generation, note="", **more):
    return b.ask("Heartbeat", 4, {"GroupId": group, "GenerationId": generation, "MemberId": member, **more}, note)


def _classic_leave(b, group, member, note="", instance=None):
    return b.ask("LeaveGroup", 5, {"GroupId": group, "Members": [{"MemberId": member, "GroupInstanceId": instance}]}, note)


def _looked_at(b, group, note):
    _described(b, group, note)
    b.ask("ConsumerGroupDescribe", 0, {"GroupIds": [group]}, note)
    b.ask("DescribeGroups", 6, {"Groups": [group]}, note)


def _classic_member(b, group, subscription, assignment, **more):
    """Alone in a classic group, with its generation."""
    asked = _classic_join(b, group, "", subscription, "a member of the classic protocol", **more)
    joined = _classic_join(b, group, asked["MemberId"], subscription, "with the id given", **more) if asked["ErrorCode"] else asked
    _classic_sync(b, group, joined["MemberId"], joined["GenerationId"], "its own assignment", [(joined["MemberId"], assignment)])
    return joined["MemberId"], joined["GenerationId"]


def classic_member_joins(b):
    group, topic = _group(b, t=4)
    one = _known_member(b, group, topic)
    has_nothing = _subscription(topic, owns=[])
    _classic_join(b, group, "nobody", has_nothing, "an id that it chose", version=9)
    told = _beat(b, group, "one", one[0], "one is told", TopicPartitions=one[1])
    _classic_leave(b, group, "nobody", "leaves")
    epoch = _settled(b, group, "one", one[0], _has(told))
    one = epoch, _has(_whole(b, group, "one", epoch, [topic], _has(told), "one is alone again"))
    asked = _classic_join(b, group, "", has_nothing, "a member of the classic protocol")
    member = asked["MemberId"]
    for note, more in (("another protocol type", {"ProtocolType": "connect"}), ("no protocol type", {"ProtocolType": ""}), ("a short session", {"SessionTimeoutMs": 5999}), ("no protocols", {"Protocols": []})):
        _classic_join(b, group, member, has_nothing, note, **more)
    joined = _classic_join(b, group, member, has_nothing, "with the id given", name="range cooperative-sticky")
    generation = joined["GenerationId"]
    _looked_at(b, group, "with a member of each protocol")
    _classic_beat(b, group, member, generation, "before the assignment")
    _classic_sync(b, group, member, generation, "nothing yet")
    _classic_sync(b, group, member, generation, "another protocol", ProtocolName="cooperative-sticky")
    _classic_sync(b, group, member, generation, "another protocol type", ProtocolType="connect")
    _classic_sync(b, group, member, generation + 1, "another generation")
    _classic_sync(b, group, "nobody", generation, "a stranger")
    _classic_sync(b, group, "one", one[0], "of the consumer protocol")
    _classic_beat(b, group, member, generation + 1, "another generation")
    _classic_beat(b, group, "one", one[0], "of the consumer protocol")
    _classic_join(b, group, member, has_nothing, "no protocol that the others have", name="other")
    told = _beat(b, group, "one", one[0], "one is told", TopicPartitions=one[1])
    _beat(b, group, "one", told["MemberEpoch"], "one gave it up", TopicPartitions=_has(told))
    _classic_beat(b, group, member, generation, "it is free")
    joined = _classic_join(b, group, member, has_nothing, "joins again", name="range cooperative-sticky")
    generation = joined["GenerationId"]
    _classic_sync(b, group, member, generation, "its part")
    _classic_beat(b, group, member, generation, "settled")
    _looked_at(b, group, "settled")
    for version in (8, 9):
        for at in (generation, generation - 1, generation + 1):
            b.ask("OffsetCommit", version, {"GroupId": group, "MemberId": member, "GenerationIdOrMemberEpoch": at, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 1}]}]}, f"generation {at} of {generation}")
    _join(b, group, member, topic, note="changes its protocol")
    _looked_at(b, group, "both of the consumer protocol")
    _classic_beat(b, group, member, generation, "of the protocol that it had")
    _classic_leave(b, group, member, "leaves as it came")
    _looked_at(b, group, "it left")


def classic_group_upgraded(b):
    for kind, owns in (("eager", None), ("cooperative", [])):
        group, topic = _group(b, f"g-{kind}", **{f"t-{kind}": 4})
        every = [(topic, [0, 1, 2, 3])]
        member, generation = _classic_member(b, group, _subscription(topic, owns=owns), _assigned(*every))
        b.ask("OffsetCommit", 8, {"GroupId": group, "GenerationIdOrMemberEpoch": generation, "MemberId": member, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 7}]}]})
        _beat(b, group, member, generation, "a heartbeat of the other protocol")
        _beat(b, group, member, -1, "leaves by the other protocol")
        two = _join(b, group, "two", topic, note="by the consumer protocol")
        _looked_at(b, group, "upgraded")
        b.ask("OffsetFetch", 7, {"GroupId": group, "Topics": None}, "kept")
        _beat(b, group, "two", two["MemberEpoch"], "two waits")
        _classic_beat(b, group, member, generation, "is told to join again")
        _classic_sync(b, group, member, generation, "is told to join again")
        again = _classic_join(b, group, member, _subscription(topic, owns=None if owns is None else every), "joins again")
        _classic_sync(b, group, member, again["GenerationId"], "what is left to it")
        _looked_at(b, group, "it was told")
        if owns is not None:
            _classic_beat(b, group, member, again["GenerationId"], "has given up nothing yet")
            again = _classic_join(b, group, member, _subscription(topic, owns=[(topic, [0, 1])]), "gave it up")
            _classic_sync(b, group, member, again["GenerationId"], "gave it up")
        _classic_beat(b, group, member, again["GenerationId"], "settled")
        _beat(b, group, "two", two["MemberEpoch"], "two is told")
        _looked_at(b, group, "both are settled")
        _beat(b, group, "two", -1, "two leaves")
        _looked_at(b, group, "a classic group again")
        _classic_beat(b, group, member, again["GenerationId"], "after two left")
        last = _classic_join(b, group, member, _subscription(topic, owns=owns), "joins again, alone")
        _classic_sync(b, group, member, last["GenerationId"], "alone", [(member, _assigned(*every))])
        _looked_at(b, group, "alone")
        b.ask("OffsetFetch", 7, {"GroupId": group, "Topics": None}, "kept by the classic group")
        _classic_leave(b, group, member, "leaves")
        _join(b, group, "three", topic, note="a group that nobody is in")
        _looked_at(b, group, "a consumer group once more")
        _beat(b, group, "three", -1, "leaves")
        _classic_join(b, group, "nobody", _subscription(topic), "an unknown member of an empty consumer group")
        asked = _classic_join(b, group, "", _subscription(topic), "an empty consumer group")
        _classic_join(b, group, asked["MemberId"], _subscription(topic), "an empty consumer group, with the id given")
        _looked_at(b, group, "a classic group once more")


def upgrade_refused(b):
    group, topic = _group(b, t=2)
    ways = (("another protocol type", {"ProtocolType": "connect"}, b"any", _assigned()), ("what its leader says", {}, _subscription(topic), _assigned((topic, [0]), said=b"x")),
            ("an assignment that cannot be read", {}, _subscription(topic), b"\0\0yours"), ("an unknown topic", {}, _subscription(topic), _assigned((b.name("missing"), [0]), (topic, [0]))),
            ("an unknown partition", {}, _subscription(topic), _assigned((topic, [0, 9]))), ("nothing for a missing topic", {}, _subscription(topic, b.name("missing")), _assigned((topic, [1]))))
    for number, (note, more, subscription, assignment) in enumerate(ways):
        group = b.new_group(f"g{number}")
        asked = _classic_join(b, group, "", subscription, note, **more)
        joined = _classic_join(b, group, asked["MemberId"], subscription, f"{note}, with the id given", **more)
        named = {"ProtocolType": more["ProtocolType"]} if more else {}
        _classic_sync(b, group, asked["MemberId"], joined["GenerationId"], note, [(asked["MemberId"], assignment)], **named)
        _join(b, group, "two", topic, note=note)
        _looked_at(b, group, note)


def static_members_change_protocol(b):
    group, topic = _group(b, t=2)
    member, generation = _classic_member(b, group, _subscription(topic, owns=[]), _assigned((topic, [0, 1])), GroupInstanceId="i")
    two = _join(b, group, "two", topic, note="as the instance", InstanceId="i")
    _looked_at(b, group, "upgraded in its place")
    _classic_beat(b, group, member, generation, "the replaced one", GroupInstanceId="i")
    back = _classic_join(b, group, "", _subscription(topic, owns=[]), "the instance is back", GroupInstanceId="i")
    _looked_at(b, group, "downgraded in its place")
    _beat(b, group, "two", two["MemberEpoch"], "the one in its place", InstanceId="i")
    _classic_beat(b, group, back["MemberId"], back["GenerationId"], "is back", GroupInstanceId="i")
    _classic_sync(b, group, back["MemberId"], back["GenerationId"], "is back", GroupInstanceId="i")
    _classic_leave(b, group, "", "by its instance", "i")
    _looked_at(b, group, "nobody")
