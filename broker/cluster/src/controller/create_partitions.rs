//! CreatePartitions: topics grow, and never shrink.

use std::collections::BTreeSet;

use protocol::error_code::ErrorCode;
use protocol::messages::create_partitions_request::CreatePartitionsTopic;
use protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use super::{Controller, RECORDS_MAX, Refused, TOO_MANY_RECORDS};
use crate::machine::Decision;
use crate::metadata::{MetadataRecord, Topic};

/// Topics that are to grow, some of which may be refused.
#[derive(Clone, Debug)]
pub struct CreatePartitions {
    pub request: CreatePartitionsRequest,
    /// Any number; it decides which brokers get which partitions.
    pub random: u64,
}

impl Controller {
    pub fn create_partitions(
        &self,
        command: &CreatePartitions,
    ) -> Decision<MetadataRecord, CreatePartitionsResponse> {
        let CreatePartitions { request, random } = command;
        if request.timeout_ms <= 0 {
            let timed_out = Refused::plain(ErrorCode::REQUEST_TIMED_OUT);
            let results = request.topics.iter().map(|topic| result(&topic.name, Err(timed_out.clone())));
            let results = results.collect();
            return Decision::answer(CreatePartitionsResponse {
                results,
                ..CreatePartitionsResponse::default()
            });
        }
        let twice = named_twice(request);
        let duplicate = || Err(Refused::new(ErrorCode::INVALID_REQUEST, "Duplicate topic name."));
        let mut results: Vec<_> = twice.iter().map(|name| result(name, duplicate())).collect();
        let mut records = Vec::new();
        for (at, topic) in request.topics.iter().enumerate() {
            if twice.contains(topic.name.as_str()) {
                continue;
            }
            let room = RECORDS_MAX - records.len();
            let grown = self.grow(topic, room, random.wrapping_add(at as u64));
            results.push(result(&topic.name, grown.map(|new| records.extend(new))));
        }
        if request.validate_only {
            records.clear();
        }
        Decision {
            records,
            reply: CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() },
        }
    }

    fn grow(
        &self,
        wanted: &CreatePartitionsTopic,
        room: usize,
        random: u64,
    ) -> Result<Vec<MetadataRecord>, Refused> {
        let unknown = || Refused::plain(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        let topic = self.image.topics.by_name(&wanted.name).ok_or_else(unknown)?;
        let now = topic.partitions().len();
        let invalid = |message: String| Err(Refused::new(ErrorCode::INVALID_PARTITIONS, message));
        let additional = match usize::try_from(wanted.count) {
            Ok(count) if count == now => return invalid(format!("Topic already has {now} partition(s).")),
            Ok(count) if count > now => count - now,
            _ => {
                return invalid(format!(
                    "The topic {} currently has {now} partition(s); {} would not be an increase.",
                    wanted.name, wanted.count
                ));
            }
        };
        // Kafka answers an unknown server error here, and without a word.
        if additional > room {
            return Err(Refused::new(ErrorCode::POLICY_VIOLATION, TOO_MANY_RECORDS));
        }
        let replicas = self.replicas_of_new(topic, wanted, additional, random)?;
        let index = |at: usize| (now + at) as i32;
        let record = |(at, replicas): (usize, &Vec<i32>)| {
            self.new_partition(index(at), topic.id, replicas).expect("an active replica was assigned")
        };
        Ok(replicas.iter().enumerate().map(record).collect())
    }

    fn replicas_of_new(
        &self,
        topic: &Topic,
        wanted: &CreatePartitionsTopic,
        additional: usize,
        random: u64,
    ) -> Result<Vec<Vec<i32>>, Refused> {
        let now = topic.partitions().len();
        let factor = topic.partitions().first().map_or(0, |partition| partition.replicas.len());
        let Some(assignments) = &wanted.assignments else {
            return self
                .place(additional, factor as i16, random)
                .map_err(|reason| Refused::new(ErrorCode::INVALID_REPLICATION_FACTOR, reason));
        };
        if assignments.len() != additional {
            let message = format!(
                "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            );
            return Err(Refused::new(ErrorCode::INVALID_REPLICA_ASSIGNMENT, message));
        }
        for (at, assignment) in assignments.iter().enumerate() {
            self.check_replicas((now + at) as i32, &assignment.broker_ids, Some(factor))?;
        }
        Ok(assignments.iter().map(|assignment| assignment.broker_ids.clone()).collect())
    }
}

fn named_twice(request: &CreatePartitionsRequest) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    request.topics.iter().map(|topic| topic.name.as_str()).filter(|name| !names.insert(*name)).collect()
}

fn result(name: &str, done: Result<(), Refused>) -> CreatePartitionsTopicResult {
    let refused = done.err().unwrap_or(Refused::plain(ErrorCode::NONE));
    CreatePartitionsTopicResult {
        name: name.to_owned(),
        error_code: refused.code.0,
        error_message: refused.message,
    }
}
