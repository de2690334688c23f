//! OffsetFetch (9), versions 1-10.
//!
//! Where groups go on reading. 2: null asks for all that was committed; errors of the whole. 5: leader epochs. 7: only what no
//! transaction has pending. 8: several groups (KIP-709). 9: members of consumer groups with their epoch (KIP-848). 10:
//! topics by id.

use std::rc::Rc;

use cluster::groups::{Command, FetchOffsets, Reply as GroupReply};
use cluster::metadata::Image;
use protocol::error_code::ErrorCode;
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use storage::disk::LocalFuture;

use super::{Asker, Caller, GroupQuestion, Reply, Request};
use crate::shard::Shard;

const ERRORS_OF_THE_WHOLE_FROM: i16 = 2;
const SEVERAL_GROUPS_FROM: i16 = 8;
const TOPIC_IDS_FROM: i16 = 10;
const NOTHING_COMMITTED: i64 = -1;

type Fetched = Result<OffsetFetchResponseGroup, ErrorCode>;

const QUESTION: GroupQuestion<FetchOffsets, Fetched> = GroupQuestion {
    command: Command::OffsetFetch,
    answer: |reply| match reply {
        GroupReply::OffsetFetch(answer) => Some(Ok(answer)),
        _ => None,
    },
    refused: Err,
};

pub(crate) fn handle(shard: &Rc<Shard>, caller: &Caller, request: Request<OffsetFetchRequest>) -> Reply {
    let asker = Asker::of(caller, &request);
    let (header, asked) = (request.header, request.body);
    if let Some(refused) = super::too_many_groups(asked.groups.len()) {
        return refused;
    }
    let version = header.version;
    let require_stable = asked.require_stable;
    let groups = if version < SEVERAL_GROUPS_FROM { vec![only_group(asked)] } else { asked.groups };
    let topics = groups.iter().flat_map(|group| group.topics.iter().flatten());
    if let Some(refused) = super::too_many(topics.map(|topic| topic.partition_indexes.len())) {
        return refused;
    }
    let fetching: Vec<_> =
        groups.into_iter().map(|group| fetch(shard, asker.clone(), group, require_stable)).collect();
    let shard = shard.clone();
    Reply::Later(Box::pin(async move {
        let mut groups = Vec::with_capacity(fetching.len());
        for fetched in fetching {
            groups.push(fetched.await);
        }
        if version >= TOPIC_IDS_FROM {
            groups.iter_mut().for_each(|group| name_by_id(&shard.image.borrow(), group));
        }
        if version >= SEVERAL_GROUPS_FROM {
            return header.reply(&OffsetFetchResponse { groups, ..OffsetFetchResponse::default() });
        }
        header.reply(&flat(groups.remove(0)))
    }))
}

fn only_group(asked: OffsetFetchRequest) -> OffsetFetchRequestGroup {
    let topics = asked.topics.map(|topics| {
        let topic = |topic: protocol::messages::offset_fetch_request::OffsetFetchRequestTopic| {
            OffsetFetchRequestTopics {
                name: topic.name,
                partition_indexes: topic.partition_indexes,
                ..OffsetFetchRequestTopics::default()
            }
        };
        topics.into_iter().map(topic).collect()
    });
    OffsetFetchRequestGroup { group_id: asked.group_id, topics, ..OffsetFetchRequestGroup::default() }
}

/// One group's offsets. Topics asked by an id that nobody knows are answered here.
fn fetch(
    shard: &Rc<Shard>,
    asker: Asker,
    mut group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> LocalFuture<'static, OffsetFetchResponseGroup> {
    let version = asker.version;
    let mut unknown = Vec::new();
    if version >= TOPIC_IDS_FROM
        && let Some(topics) = group.topics.take()
    {
        let image = shard.image.borrow();
        let mut known = Vec::with_capacity(topics.len());
        for mut topic in topics {
            match image.topics.by_id(topic.topic_id) {
                Some(found) => {
                    topic.name = found.name.to_string();
                    known.push(topic);
                }
                None => unknown.push(refused_topic(topic, ErrorCode::UNKNOWN_TOPIC_ID)),
            }
        }
        group.topics = Some(known);
    }
    let id = group.group_id.clone();
    let failed = (version < ERRORS_OF_THE_WHOLE_FROM).then(|| group.topics.clone().unwrap_or_default());
    let asking = QUESTION.ask(shard, asker, &id, FetchOffsets { group, require_stable });
    Box::pin(async move {
        let mut fetched = match asking.await {
            Ok(fetched) => fetched,
            Err(error) => OffsetFetchResponseGroup {
                group_id: id,
                error_code: error.0,
                ..OffsetFetchResponseGroup::default()
            },
        };
        match failed {
            // Version 1 knows only errors of partitions.
            Some(topics) if fetched.error_code != 0 => {
                let error = ErrorCode(fetched.error_code);
                fetched.topics = topics.into_iter().map(|topic| refused_topic(topic, error)).collect();
            }
            _ if fetched.error_code == 0 => fetched.topics.extend(unknown),
            _ => {}
        }
        fetched
    })
}

fn refused_topic(topic: OffsetFetchRequestTopics, error: ErrorCode) -> OffsetFetchResponseTopics {
    let partition = |index: &i32| OffsetFetchResponsePartitions {
        partition_index: *index,
        committed_offset: NOTHING_COMMITTED,
        committed_leader_epoch: -1,
        metadata: Some(String::new()),
        error_code: error.0,
    };
    OffsetFetchResponseTopics {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(partition).collect(),
    }
}

/// Topics that are gone have no id, and are left out.
fn name_by_id(image: &Image, group: &mut OffsetFetchResponseGroup) {
    group.topics.retain_mut(|topic| {
        if topic.topic_id.is_zero() {
            topic.topic_id = image.topics.by_name(&topic.name).map(|topic| topic.id).unwrap_or_default();
        }
        !topic.topic_id.is_zero()
    });
}

/// The answer up to version 7.
fn flat(group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    let partition = |it: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: it.partition_index,
        committed_offset: it.committed_offset,
        committed_leader_epoch: it.committed_leader_epoch,
        metadata: it.metadata,
        error_code: it.error_code,
    };
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    });
    OffsetFetchResponse {
        topics: topics.collect(),
        error_code: group.error_code,
        ..OffsetFetchResponse::default()
    }
}
