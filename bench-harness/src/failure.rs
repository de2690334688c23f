//! How a command fails: the exit code tells scripts whose fault it is.

use std::fmt;

/// Said on standard error as `millstream-bench: {failure}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Exit code 1: a run is invalid or incomplete, a check failed, a broker cannot be reached.
    Failed(String),
    /// Exit code 2: a wrong command line, or a file that cannot be used.
    Usage(String),
}

impl Failure {
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Failed(text) | Self::Usage(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for Failure {}
