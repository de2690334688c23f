"""Fetch sessions: opening, what an incremental answer leaves out, forgetting, wrong epochs, closing."""
from batches import batch
from cases.metadata import UNKNOWN_ID


def _part(partition, offset=0, **more):
    return {"Partition": partition, "FetchOffset": offset, "PartitionMaxBytes": 1 << 20, **more}


def _ask(b, version, session, epoch, topics=(), note="", forgotten=()):
    key = "TopicId" if version >= 13 else "Topic"

    def named(topic):
        return b.topic_id(topic) if version >= 13 and topic.startswith(b.prefix) else topic

    body = {"MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 1 << 24, "SessionId": session, "SessionEpoch": epoch,
            "Topics": [{key: named(topic), "Partitions": parts} for topic, parts in topics],
            "ForgottenTopicsData": [{key: named(topic), "Partitions": parts} for topic, parts in forgotten]}
    answer = b.ask("Fetch", version, body, note)
    return answer["SessionId"] if isinstance(answer, dict) else 0


def _two(b):
    return b.topic("a", partitions=2), b.topic("b")


def life(b):
    for version in (7, 11, 12, 13, 16, 18):
        one, two = b.topic(f"a{version}", partitions=2), b.topic(f"b{version}")
        b.fill(one, batch(), batch())
        me = _ask(b, version, 0, 0, [(one, [_part(0), _part(1)]), (two, [_part(0)])], "opened")
        _ask(b, version, me, 1, note="unread data comes again")
        _ask(b, version, me, 2, [(one, [_part(0, 2)])], "read on")
        _ask(b, version, me, 3, note="nothing new")
        b.fill(two, batch())
        b.fill(one, batch(), partition=1)
        _ask(b, version, me, 4, note="two have something new")
        _ask(b, version, me, 5, [(one, [_part(1, 1)]), (two, [_part(0, 1)])], "read on")
        _ask(b, version, me, 6, note="one forgotten", forgotten=[(one, [1])])
        b.fill(one, batch(), partition=1)
        _ask(b, version, me, 7, note="news of a forgotten one")
        _ask(b, version, me, 8, [(one, [_part(1, 1)])], "added again")
        _ask(b, version, me, -1, [(one, [_part(0)])], "closed by a full request")
        _ask(b, version, me, 9, note="after closing")


def wrong_epochs(b):
    one, _ = _two(b)
    b.fill(one, batch())
    for version in (7, 12, 17):
        me = _ask(b, version, 0, 0, [(one, [_part(0)])], "opened")
        for epoch in (0, 2, 3, 1, 1, 2, 7, 2147483647, -2):
            found = _ask(b, version, me, epoch, note=f"epoch {epoch}")
            me = found if epoch == 0 and found else me
        _ask(b, version, me, 3, note="goes on")
        for session in (12345, -1, 2147483639):
            _unknown(b, version, session, one)


def largest_id(b):
    one, _ = _two(b)
    for version in (7, 17):
        _unknown(b, version, 2147483647, one)


def _unknown(b, version, session, topic):
    _ask(b, version, session, 1, note="an unknown session")
    _ask(b, version, session, 0, [(topic, [_part(0)])], "an unknown session, epoch 0")
    _ask(b, version, session, -1, [(topic, [_part(0)])], "an unknown session, closed")


def none(b):
    one, _ = _two(b)
    b.fill(one, batch())
    for version in (7, 11, 17):
        _ask(b, version, 0, -1, [(one, [_part(0)])], "no session")
        _ask(b, version, 0, 0, note="opened with nothing")
        _ask(b, version, 0, 1, note="id 0, epoch 1")
        _ask(b, version, 0, 5, [(one, [_part(0)])], "id 0, epoch 5")
        _ask(b, version, 0, -2, [(one, [_part(0)])], "id 0, epoch -2")


def errors_repeat(b):
    one, _ = _two(b)
    b.fill(one, batch())
    for version in (7, 11, 12):
        me = _ask(b, version, 0, 0, [(one, [_part(0, 99), _part(5)]), (b.name("missing"), [_part(0)])], "opened with errors")
        _ask(b, version, me, 1, note="again")
        _ask(b, version, me, 2, [(one, [_part(0, 0)])], "one is mended")
        _ask(b, version, me, 3, [(one, [_part(0, 1)])], "and read")
        _ask(b, version, me, 4, note="again")
    for version in (13, 17):
        me = _ask(b, version, 0, 0, [(one, [_part(0, 99)]), (UNKNOWN_ID, [_part(0)])], "opened with errors")
        _ask(b, version, me, 1, note="again")


def topic_goes_away(b):
    for version in (7, 12, 13, 17):
        topic = b.topic(f"t{version}")
        b.fill(topic, batch())
        me = _ask(b, version, 0, 0, [(topic, [_part(0, 1)])], "opened")
        b.topic_id(topic)
        b.quietly("DeleteTopics", 5, {"TopicNames": [topic], "TimeoutMs": 10000})
        b.gone(topic)
        _ask(b, version, me, 1, note="its topic is gone")
        _ask(b, version, me, 2, note="and still is")


def names_and_ids_mixed(b):
    one, _ = _two(b)
    b.fill(one, batch())
    me = _ask(b, 12, 0, 0, [(one, [_part(0)])], "opened by name")
    _ask(b, 13, me, 1, [(one, [_part(0, 1)])], "goes on by id")
    me = _ask(b, 13, 0, 0, [(one, [_part(0)])], "opened by id")
    _ask(b, 12, me, 1, [(one, [_part(0, 1)])], "goes on by name")
    me = _ask(b, 12, 0, 0, [(one, [_part(0)])], "opened by name")
    _ask(b, 13, me, 1, note="goes on empty in v13")


def forgotten_strangely(b):
    one, two = _two(b)
    b.fill(one, batch())
    me = _ask(b, 11, 0, 0, [(one, [_part(0)])], "opened")
    _ask(b, 11, me, 1, note="one that it does not have", forgotten=[(two, [0]), (b.name("missing"), [3])])
    _ask(b, 11, me, 2, [(one, [_part(0)])], "forgotten and added at once", forgotten=[(one, [0])])
    _ask(b, 11, me, 3, note="all", forgotten=[(one, [0])])
    _ask(b, 11, me, 4, note="none is left")
    _ask(b, 11, 0, 0, [(one, [_part(0)])], "in a full request", forgotten=[(one, [0])])


def other_connection(b):
    one, _ = _two(b)
    b.fill(one, batch())
    me = _ask(b, 11, 0, 0, [(one, [_part(0)])], "opened")
    b.main = b.connect()
    _ask(b, 11, me, 1, note="goes on over another connection")


def changed_limits(b):
    one, _ = _two(b)
    b.fill(one, *[batch()] * 5)
    me = _ask(b, 11, 0, 0, [(one, [_part(0, PartitionMaxBytes=80)])], "at most 80 bytes")
    _ask(b, 11, me, 1, note="still")
    _ask(b, 11, me, 2, [(one, [_part(0, PartitionMaxBytes=1000)])], "at most 1000")
    b.quietly("DeleteRecords", 1, {"Topics": [{"Name": one, "Partitions": [{"PartitionIndex": 0, "Offset": 2}]}], "TimeoutMs": 10000})
    _ask(b, 11, me, 3, [(one, [_part(0, 5)])], "the log starts later now")
    _ask(b, 11, me, 4, note="told once")


def order_of_service(b):
    """Partitions that returned data go to the back."""
    topic = b.topic("t", partitions=3)
    for partition in range(3):
        b.fill(topic, batch(), batch(), partition=partition)
    body = {"MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 1, "SessionId": 0, "SessionEpoch": 0, "Topics": [{"Topic": topic, "Partitions": [_part(at) for at in range(3)]}]}
    me = b.ask("Fetch", 11, body, "opened, room for one", ordered=True)["SessionId"]
    for epoch in range(1, 7):
        b.ask("Fetch", 11, {**body, "SessionId": me, "SessionEpoch": epoch, "Topics": []}, f"round {epoch}", ordered=True)
