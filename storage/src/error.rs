//! What can go wrong with a log. Turned into Kafka's error codes in one place of the broker.

use std::io;
use std::sync::Arc;

/// Medium and state errors of one log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The device or filesystem refused. After a failed write or flush the log is fenced.
    #[error("{path}: {source}")]
    Io { path: String, source: Arc<io::Error> },
    /// Bytes below what was flushed are not what was written.
    #[error("{path} at byte {position}: {found}")]
    Corrupt { path: String, position: u64, found: String },
    /// The offset asked for is not in the log.
    #[error("offset {offset} is outside [{start}, {end}]")]
    OutOfRange { offset: i64, start: i64, end: i64 },
    /// No room beyond the reserve; retriable.
    #[error("no space left beyond the reserve")]
    Full,
    /// An earlier write or flush failed; nothing more is accepted until restart.
    #[error("fenced after an earlier failure: {0}")]
    Fenced(String),
}

impl Error {
    pub fn io(path: &str, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source: Arc::new(source) }
    }

    /// There is no room: not a fault of the medium.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full => true,
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }
}
