//! What can go wrong between the load and a broker.

use std::io;
use std::time::Duration;

use protocol::error_code::ErrorCode;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("cannot reach {address}: {source}")]
    Unreachable { address: String, source: io::Error },
    #[error("the connection to {address} broke: {source}")]
    Lost { address: String, source: io::Error },
    #[error("{address} did not answer within {} s", .timeout.as_secs_f64())]
    Silent { address: String, timeout: Duration },
    #[error("{address} does not serve {api} in any version known here")]
    Unserved { address: String, api: &'static str },
    #[error("{address} sent no proper answer to {api}: {why}")]
    Malformed { address: String, api: &'static str, why: String },
    #[error("{what}: {code}{}", .message.as_deref().map(|message| format!(" ({message})")).unwrap_or_default())]
    Refused { what: String, code: ErrorCode, message: Option<String> },
}

impl ClientError {
    pub(crate) fn check(
        code: i16,
        message: Option<String>,
        what: impl FnOnce() -> String,
    ) -> Result<(), Self> {
        match ErrorCode(code) {
            ErrorCode::NONE => Ok(()),
            code => Err(Self::Refused { what: what(), code, message }),
        }
    }

    /// Whether it may well work in a moment.
    pub(crate) fn is_retriable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } | Self::Silent { .. } => true,
            Self::Unserved { .. } | Self::Malformed { .. } => false,
            Self::Refused { code, .. } => code.is_retriable(),
        }
    }

    pub(crate) fn ends_the_connection(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Silent { .. } | Self::Malformed { .. })
    }
}
