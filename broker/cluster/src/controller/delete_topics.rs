//! DeleteTopics: by name, or (from version 6) by id.

use std::collections::BTreeSet;

use protocol::error_code::ErrorCode;
use protocol::ids::Uuid;
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::delete_topics_response::DeletableTopicResult;
use protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, RemoveTopicRecord};

use super::{Controller, Refused};
use crate::machine::Decision;
use crate::metadata::{MetadataRecord, Topic};

/// Topics to delete, some of which may be refused.
#[derive(Clone, Debug)]
pub struct DeleteTopics {
    pub request: DeleteTopicsRequest,
    /// The version of the request: old ones know no error for topics that must not be deleted.
    pub version: i16,
}

impl Controller {
    pub fn delete_topics(&self, command: &DeleteTopics) -> Decision<MetadataRecord, DeleteTopicsResponse> {
        let wanted = wanted(&command.request);
        let all = |code: ErrorCode| {
            let responses = wanted.iter().map(|it| refusal(it, Refused::plain(code))).collect();
            Decision::answer(DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() })
        };
        if !self.settings.delete_topic_enable {
            return all(if command.version < 3 {
                ErrorCode::INVALID_REQUEST
            } else {
                ErrorCode::TOPIC_DELETION_DISABLED
            });
        }
        if command.request.timeout_ms <= 0 {
            return all(ErrorCode::REQUEST_TIMED_OUT);
        }
        let mut records = Vec::new();
        let mut responses = Vec::with_capacity(wanted.len());
        let mut answered = BTreeSet::new();
        let odd = Odd::of(&wanted, |name| self.image.topics.by_name(name).map(|topic| topic.id));
        for state in &wanted {
            match self.delete(state, &odd) {
                Verdict::Delete(topic) => {
                    records.push(MetadataRecord::RemoveTopic(RemoveTopicRecord { topic_id: topic.id }));
                    let name = Some(topic.name.to_string());
                    responses.push(DeletableTopicResult {
                        name,
                        topic_id: topic.id,
                        ..DeletableTopicResult::default()
                    });
                }
                Verdict::Refuse(state, refused) => {
                    // Kafka: what is refused for being there twice is answered once.
                    if !is_set(&state) || answered.insert((state.name.clone(), state.topic_id)) {
                        responses.push(refusal(&state, refused));
                    }
                }
            }
        }
        Decision { records, reply: DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() } }
    }

    fn delete(&self, state: &DeleteTopicState, odd: &Odd) -> Verdict<'_> {
        let refuse = |code, message: &str| Verdict::Refuse(state.clone(), Refused::new(code, message));
        let invalid = |message: &str| refuse(ErrorCode::INVALID_REQUEST, message);
        let topics = &self.image.topics;
        match &state.name {
            Some(_) if !state.topic_id.is_zero() => {
                invalid("You may not specify both topic name and topic id.")
            }
            None if state.topic_id.is_zero() => invalid("Neither topic name nor id were specified."),
            Some(name) if odd.names_twice.contains(name) => invalid("Duplicate topic name."),
            None if odd.ids_twice.contains(&state.topic_id) => invalid("Duplicate topic id."),
            Some(name) => match topics.by_name(name) {
                Some(topic) if odd.by_both.contains(&topic.id) => by_both(topic),
                Some(topic) => Verdict::Delete(topic),
                None => refuse(
                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    "This server does not host this topic-partition.",
                ),
            },
            None => match topics.by_id(state.topic_id) {
                Some(topic) if odd.by_both.contains(&topic.id) => by_both(topic),
                Some(topic) => Verdict::Delete(topic),
                None => refuse(ErrorCode::UNKNOWN_TOPIC_ID, "This server does not host this topic ID."),
            },
        }
    }
}

enum Verdict<'a> {
    Delete(&'a Topic),
    Refuse(DeleteTopicState, Refused),
}

/// Names and ids that are given more than once, and ids given by name too.
struct Odd {
    names_twice: BTreeSet<String>,
    ids_twice: BTreeSet<Uuid>,
    by_both: BTreeSet<Uuid>,
}

impl Odd {
    fn of(wanted: &[DeleteTopicState], id_of: impl Fn(&str) -> Option<Uuid>) -> Self {
        let mut odd =
            Self { names_twice: BTreeSet::new(), ids_twice: BTreeSet::new(), by_both: BTreeSet::new() };
        let mut names = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for state in wanted {
            match &state.name {
                Some(name) if state.topic_id.is_zero() && !names.insert(name) => {
                    odd.names_twice.insert(name.clone());
                }
                None if !ids.insert(state.topic_id) => {
                    odd.ids_twice.insert(state.topic_id);
                }
                _ => (),
            }
        }
        odd.by_both = names.iter().filter_map(|name| id_of(name)).filter(|id| ids.contains(id)).collect();
        odd
    }
}

/// What is to be deleted, whatever the version of the request.
fn wanted(request: &DeleteTopicsRequest) -> Vec<DeleteTopicState> {
    let by_name = |name: &String| DeleteTopicState { name: Some(name.clone()), topic_id: Uuid::ZERO };
    request.topic_names.iter().map(by_name).chain(request.topics.iter().cloned()).collect()
}

fn is_set(state: &DeleteTopicState) -> bool {
    state.name.is_some() || !state.topic_id.is_zero()
}

fn by_both(topic: &Topic) -> Verdict<'_> {
    let state = DeleteTopicState { name: Some(topic.name.to_string()), topic_id: topic.id };
    let message = "The provided topic name maps to an ID that was already supplied.";
    Verdict::Refuse(state, Refused::new(ErrorCode::INVALID_REQUEST, message))
}

fn refusal(state: &DeleteTopicState, refused: Refused) -> DeletableTopicResult {
    DeletableTopicResult {
        name: state.name.clone(),
        topic_id: state.topic_id,
        error_code: refused.code.0,
        error_message: refused.message,
    }
}
