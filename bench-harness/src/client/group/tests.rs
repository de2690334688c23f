//! Members among themselves, with a coordinator that says what the test wants.

use protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use protocol::messages::join_group_response::JoinGroupResponseMember;
use protocol::messages::{
    ConsumerGroupHeartbeatResponse, HeartbeatResponse, JoinGroupResponse, SyncGroupResponse,
};

use super::*;

const MS: i64 = NS_PER_MS;

fn terms(protocol: Protocol) -> Arc<Terms> {
    let topics = TopicSet { names: vec!["one".into(), "two".into()], partitions: 3 };
    let topic_ids = vec![Uuid::from_u64_pair(7, 1), Uuid::from_u64_pair(7, 2)];
    Arc::new(Terms { group: "g".into(), protocol, topics, topic_ids, session_timeout_ms: 45_000 })
}

fn answer<M: Message>(member: &mut Member, api: ApiKey, now_ns: i64, answer: &M) -> Heard {
    let version = *M::VERSIONS.end();
    member.hear(api, version, &answer.to_bytes(version).unwrap(), now_ns).unwrap()
}

fn joined(members: &[&str], id: &str, generation_id: i32) -> JoinGroupResponse {
    let member = |id: &&str| JoinGroupResponseMember { member_id: (*id).to_owned(), ..Default::default() };
    JoinGroupResponse {
        generation_id,
        protocol_name: Some("range".into()),
        leader: members[0].to_owned(),
        member_id: id.to_owned(),
        members: if members[0] == id { members.iter().map(member).collect() } else { Vec::new() },
        ..Default::default()
    }
}

#[test]
fn a_classic_leader_shares_out_what_followers_are_then_given() {
    let (mut leader, mut follower) =
        (Member::new(terms(Protocol::Classic)), Member::new(terms(Protocol::Classic)));
    assert!(leader.ask(i64::MAX - 1).is_none(), "nobody told it to join");
    for (member, id) in [(&mut leader, "b"), (&mut follower, "a")] {
        member.join(0);
        let Some(Ask::Join(join)) = member.ask(0) else { panic!("it joins") };
        assert_eq!((join.member_id.as_str(), join.protocols[0].name.as_str()), ("", "range"));
        assert!(member.ask(0).is_none(), "one question at a time");
        let refused = JoinGroupResponse {
            error_code: ErrorCode::MEMBER_ID_REQUIRED.0,
            member_id: id.into(),
            ..Default::default()
        };
        answer(member, ApiKey::JoinGroup, 0, &refused);
        let Some(Ask::Join(join)) = member.ask(0) else { panic!("it joins with the id it was given") };
        assert_eq!(join.member_id, id);
        answer(member, ApiKey::JoinGroup, 0, &joined(&["b", "a"], id, 5));
    }
    let Some(Ask::Sync(sync)) = leader.ask(0) else { panic!("it has the group's members") };
    let Some(Ask::Sync(nothing)) = follower.ask(0) else { panic!("it waits for its share") };
    assert_eq!((sync.generation_id, nothing.assignments.len()), (5, 0));
    for (member, id) in [(&mut leader, "b"), (&mut follower, "a")] {
        let assigned = sync.assignments.iter().find(|it| it.member_id == id).unwrap();
        let synced = SyncGroupResponse { assignment: assigned.assignment.clone(), ..Default::default() };
        assert_eq!(answer(member, ApiKey::SyncGroup, 10 * MS, &synced), Heard::Assigned);
    }
    // Members are sorted by id, and the first has the larger half of each topic.
    assert_eq!((follower.slots(), leader.slots()), (&[0, 1, 3, 4][..], &[2, 5][..]));
    assert_eq!(leader.due_ns(), 3_010 * MS);
    let Some(Ask::Heartbeat(_)) = leader.ask(3_020 * MS) else { panic!("it is heard of") };
    let rebalance =
        HeartbeatResponse { error_code: ErrorCode::REBALANCE_IN_PROGRESS.0, ..Default::default() };
    let heard = answer(&mut leader, ApiKey::Heartbeat, 3_030 * MS, &rebalance);
    assert_eq!(heard, Heard::Again(ErrorCode::REBALANCE_IN_PROGRESS));
    assert!(!leader.is_settled() && leader.slots().is_empty());
    let Some(Ask::Join(join)) = leader.ask(3_030 * MS) else { panic!("it joins again") };
    assert_eq!(join.member_id, "b");
}

#[test]
fn heartbeats_are_due_at_equal_distances_however_late_answers_are() {
    let mut member = Member::new(terms(Protocol::Classic));
    member.join(0);
    member.ask(0);
    answer(&mut member, ApiKey::JoinGroup, 0, &joined(&["x"], "y", 1));
    member.ask(0);
    answer(&mut member, ApiKey::SyncGroup, 0, &SyncGroupResponse::default());
    member.beat_at(500 * MS);
    assert!(member.ask(499 * MS).is_none());
    assert!(member.ask(520 * MS).is_some());
    assert_eq!(member.due_ns(), i64::MAX, "an answer is waited for");
    answer(&mut member, ApiKey::Heartbeat, 5_000 * MS, &HeartbeatResponse::default());
    assert_eq!(member.due_ns(), 3_500 * MS, "one is late already");
    let lost = HeartbeatResponse { error_code: ErrorCode::UNKNOWN_MEMBER_ID.0, ..Default::default() };
    member.ask(5_000 * MS);
    answer(&mut member, ApiKey::Heartbeat, 5_000 * MS, &lost);
    let Some(Ask::Join(join)) = member.ask(5_000 * MS) else { panic!("it begins anew") };
    assert_eq!(join.member_id, "");
}

#[test]
fn a_modern_member_takes_gives_up_and_tells() {
    let mut member = Member::new(terms(Protocol::Consumer));
    member.join(0);
    let Some(Ask::ConsumerHeartbeat(first)) = member.ask(0) else { panic!("it joins") };
    assert_eq!((first.member_epoch, first.topic_partitions.as_deref()), (0, Some(&[][..])));
    assert_eq!(first.subscribed_topic_names.unwrap(), ["one", "two"]);
    let given = |epoch: i32, partitions: Vec<i32>| ConsumerGroupHeartbeatResponse {
        member_id: Some(first.member_id.clone()),
        member_epoch: epoch,
        heartbeat_interval_ms: 5_000,
        assignment: Some(Assignment {
            topic_partitions: vec![TopicPartitions { topic_id: Uuid::from_u64_pair(7, 2), partitions }],
        }),
        ..Default::default()
    };
    assert_eq!(
        answer(&mut member, ApiKey::ConsumerGroupHeartbeat, MS, &given(3, vec![2, 0])),
        Heard::Assigned
    );
    assert_eq!(member.slots(), [3, 5]);
    let Some(Ask::ConsumerHeartbeat(told)) = member.ask(MS) else { panic!("it tells at once what it has") };
    assert_eq!((told.member_epoch, told.subscribed_topic_names), (3, None));
    assert_eq!(told.topic_partitions.unwrap()[0].partitions, [0, 2]);
    let fine = ConsumerGroupHeartbeatResponse { assignment: None, ..given(3, vec![]) };
    answer(&mut member, ApiKey::ConsumerGroupHeartbeat, 2 * MS, &fine);
    assert_eq!(member.due_ns(), 5_001 * MS);
    let Some(Ask::ConsumerHeartbeat(beat)) = member.ask(5_001 * MS) else { panic!("it is heard of") };
    assert_eq!(beat.topic_partitions, None, "nothing is new");
    let heard = answer(&mut member, ApiKey::ConsumerGroupHeartbeat, 5_002 * MS, &given(4, vec![2]));
    assert_eq!((heard, member.slots()), (Heard::Assigned, &[5][..]));
    member.ask(5_002 * MS);
    let fenced =
        ConsumerGroupHeartbeatResponse { error_code: ErrorCode::FENCED_MEMBER_EPOCH.0, ..Default::default() };
    answer(&mut member, ApiKey::ConsumerGroupHeartbeat, 5_003 * MS, &fenced);
    let Some(Ask::ConsumerHeartbeat(again)) = member.ask(5_003 * MS) else { panic!("it joins again") };
    assert_eq!((again.member_epoch, again.member_id), (0, first.member_id));
    member.leave(6_000 * MS);
    member.hang_up();
    let Some(Ask::ConsumerHeartbeat(bye)) = member.ask(6_000 * MS) else { panic!("it leaves") };
    assert_eq!((bye.member_epoch, bye.topic_partitions), (-1, None));
    assert_eq!(answer(&mut member, ApiKey::ConsumerGroupHeartbeat, 6_000 * MS, &fine), Heard::Left);
    assert_eq!((member.due_ns(), member.is_settled()), (i64::MAX, false));
}

#[test]
fn commits_and_what_is_found_of_them_go_by_topic_and_partition() {
    let member = Member::new(terms(Protocol::Classic));
    let Ask::Commit(commit) = member.commit(&[0, 2, 4], &[10, 11, 12, 13, 14, 15]) else {
        panic!("a commit")
    };
    let rows: Vec<_> = commit
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|row| (topic.name.as_str(), row)))
        .map(|(name, row)| (name, row.partition_index, row.committed_offset))
        .collect();
    assert_eq!(rows, [("one", 0, 10), ("one", 2, 12), ("two", 1, 14)]);
    let Ask::Find(find) = member.find(&[4]) else { panic!("a question") };
    let topic = &find.groups[0].topics.as_ref().unwrap()[0];
    assert_eq!((topic.name.as_str(), &topic.partition_indexes[..]), ("two", &[1][..]));
}
