//! `millstream start`: runs the broker in the foreground.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::exit;
use super::logging::{self, LogFormat};
use crate::config::{CommandLine, Config, Sources};
use crate::server;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millstream start --dev
  millstream start --config /etc/millstream/broker.toml
  millstream start --dev --listen 127.0.0.1:9192 --set num.partitions=8")]
pub(crate) struct Arguments {
    /// A broker to try things on: listens on 127.0.0.1:9092, data in ./millstream-data, no pinning
    #[arg(long)]
    dev: bool,
    /// Configuration file (TOML; Kafka's names for Kafka's settings)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the data is (log.dirs)
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address for clients (listeners=PLAINTEXT://HOST:PORT)
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Address for metrics and health over HTTP
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// Cores to use; all this process may use, if not said
    #[arg(long, value_name = "N")]
    shards: Option<usize>,
    /// One setting, over file and environment; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Form of the log lines on standard error
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    logging::start(arguments.log_format);
    let command_line = CommandLine {
        dev: arguments.dev,
        data_dir: arguments.data_dir.clone(),
        listen: arguments.listen.clone(),
        http: arguments.http.clone(),
        shards: arguments.shards,
        settings: arguments.settings.clone(),
    };
    let config = match configured(arguments.config.as_deref(), &command_line) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("millstream: {error}");
            return ExitCode::from(exit::USAGE);
        }
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    match server::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("millstream: {error}");
            ExitCode::from(exit::FAILED)
        }
    }
}

/// Defaults, the file, the environment, the command line: what comes later counts more.
#[allow(clippy::disallowed_methods, reason = "before the cores start there is no reactor")]
pub(crate) fn configured(file: Option<&Path>, command_line: &CommandLine) -> Result<Config, String> {
    let text = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            Some(text.map_err(|error| format!("cannot read {}: {error}", path.display()))?)
        }
        None => None,
    };
    let name = file.map(|path| path.display().to_string()).unwrap_or_default();
    let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let sources = Sources {
        file: text.as_deref().map(|text| (name.as_str(), text)),
        environment: std::env::vars().collect(),
        command_line,
        cpus: reactor::machine::allowed_cpus().map_or(1, |allowed| allowed.cores()),
        host_name: host_name.trim(),
    };
    Config::load(&sources).map_err(|error| error.to_string())
}
