//! What can go wrong between a command and a broker.

use std::io;
use std::time::Duration;

use protocol::error_code::ErrorCode;

use crate::cli::failure::Failure;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("cannot reach a broker at {address}: {source}")]
    Unreachable { address: String, source: io::Error },
    #[error("the connection to {address} broke: {source}")]
    Lost { address: String, source: io::Error },
    #[error("{address} did not answer within {} s", .timeout.as_secs_f64())]
    Silent { address: String, timeout: Duration },
    #[error("the broker at {address} does not serve {api} in a version known here")]
    Unserved { address: String, api: &'static str },
    #[error("{address}, {api}: {why}")]
    Malformed { address: String, api: &'static str, why: String },
    #[error("there is no topic {0}")]
    NoSuchTopic(String),
    #[error("{what}: {code}{}", .message.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused { what: String, code: ErrorCode, message: Option<String> },
}

impl ClientError {
    /// `Ok` if the code says so.
    pub(crate) fn check(code: i16, message: Option<&str>, what: impl FnOnce() -> String) -> Result<(), Self> {
        match ErrorCode(code) {
            ErrorCode::NONE => Ok(()),
            code => Err(Self::Refused { what: what(), code, message: message.map(str::to_owned) }),
        }
    }

    pub(crate) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the same may work a moment later, with fresh metadata.
    pub(crate) fn is_retriable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } | Self::Silent { .. } => true,
            Self::Refused { code, .. } => code.is_retriable(),
            Self::Unserved { .. } | Self::Malformed { .. } | Self::NoSuchTopic(_) => false,
        }
    }

    /// Whether nothing more can be said over that connection.
    pub(crate) fn ends_the_connection(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Silent { .. } | Self::Malformed { .. })
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let text = error.to_string();
        let (failure, next) = match error {
            ClientError::Unreachable { .. } => (
                Self::unreachable(text),
                "start a broker with `millstream start --dev`, or name one with --bootstrap HOST:PORT"
                    .to_owned(),
            ),
            ClientError::Lost { .. } => (
                Self::unreachable(text),
                "check that this is a Kafka listener without TLS and passwords, and the broker's log"
                    .to_owned(),
            ),
            ClientError::Silent { .. } => (
                Self::unreachable(text),
                "check the broker's log, or give it longer with --timeout SECONDS".to_owned(),
            ),
            ClientError::NoSuchTopic(name) => (
                Self::failed(text),
                format!(
                    "`millstream topic list` shows what there is; `millstream topic create {name}` makes it"
                ),
            ),
            ClientError::Refused { code, .. } => match next_step(code) {
                Some(next) => (Self::failed(text), next.to_owned()),
                None => return Self::failed(text),
            },
            ClientError::Unserved { .. } | ClientError::Malformed { .. } => return Self::failed(text),
        };
        failure.next(next)
    }
}

/// For what people meet most.
fn next_step(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::TOPIC_ALREADY_EXISTS => "`millstream topic describe` shows it; --if-not-exists accepts it",
        ErrorCode::INVALID_REPLICATION_FACTOR => {
            "a topic cannot have more replicas than there are brokers; leave --replication-factor out for the default"
        }
        ErrorCode::INVALID_CONFIG => "`millstream config get` with --all shows what can be set",
        ErrorCode::INVALID_TOPIC_EXCEPTION => "use up to 249 of the characters a-z A-Z 0-9 . _ -",
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => {
            "send less at once with --batch-bytes, or raise the topic's max.message.bytes"
        }
        ErrorCode::NOT_ENOUGH_REPLICAS | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => {
            "too few replicas are in sync for acks=all; bring brokers back or see the topic's min.insync.replicas"
        }
        ErrorCode::TOPIC_AUTHORIZATION_FAILED | ErrorCode::CLUSTER_AUTHORIZATION_FAILED => {
            "ask for an ACL that allows this"
        }
        ErrorCode::KAFKA_STORAGE_ERROR => "the disk failed or is full; see the broker's log",
        ErrorCode::LEADER_NOT_AVAILABLE => {
            "`millstream topic describe` shows which partitions have no leader"
        }
        _ => return None,
    })
}
