//! Logs: for people on a terminal, JSON where asked for. Never from a core's hot path.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// `MILLSTREAM_LOG` sets levels, e.g. `info,broker::net=debug`.
pub(crate) fn start(format: LogFormat) {
    let filter =
        EnvFilter::try_from_env("MILLSTREAM_LOG").unwrap_or_else(|_| EnvFilter::new("info,glommio=warn"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => lines.json().init(),
    }
}
