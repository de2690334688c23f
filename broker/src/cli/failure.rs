//! How a command fails: what, why, what to do next, and the exit code for scripts.

use std::io::{self, Write};
use std::process::ExitCode;

use super::client::ClientError;
use super::exit;

#[derive(Debug)]
pub(crate) enum Failure {
    /// Whoever read our output has seen enough (`millstream consume orders | head`). Not worth a word.
    NobodyReads,
    Told {
        code: u8,
        text: String,
        next: Option<String>,
    },
}

impl Failure {
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Told { code: exit::FAILED, text: text.into(), next: None }
    }

    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Told { code: exit::USAGE, text: text.into(), next: None }
    }

    pub(crate) fn unreachable(text: impl Into<String>) -> Self {
        Self::Told { code: exit::UNREACHABLE, text: text.into(), next: None }
    }

    /// Adds the next step.
    pub(crate) fn next(self, step: impl Into<String>) -> Self {
        match self {
            Self::NobodyReads => Self::NobodyReads,
            Self::Told { code, text, .. } => Self::Told { code, text, next: Some(step.into()) },
        }
    }

    /// Of a write to standard output.
    pub(crate) fn of_output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::failed(format!("cannot write the output: {error}")),
        }
    }

    /// Says it on standard error.
    pub(crate) fn report(self) -> ExitCode {
        let Self::Told { code, text, next } = self else { return ExitCode::SUCCESS };
        let next = next.map_or_else(String::new, |step| format!("  next: {step}\n"));
        // Nobody is left to be told that standard error is gone.
        let _ = write!(io::stderr().lock(), "millstream: {text}\n{next}");
        ExitCode::from(code)
    }
}

/// Several things were to be done, each with a fate of its own: every failure is told.
pub(crate) fn all_told(failures: Vec<ClientError>) -> Result<(), Failure> {
    let mut failures = failures.into_iter().map(Failure::from);
    let Some(last) = failures.next_back() else { return Ok(()) };
    for failure in failures {
        failure.report();
    }
    Err(last)
}
