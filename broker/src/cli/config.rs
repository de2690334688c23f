//! `millstream config`: is what was written what was meant?

use std::path::PathBuf;

use super::failure::Failure;
use super::output::Output;
use super::start;
use crate::config::CommandLine;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Read a file as the broker would, and tell what is wrong with it
    Check(Check),
}

#[derive(clap::Args)]
#[command(
    after_help = "MILLSTREAM_ variables and --set count as they do for `millstream start`. Ends with 1 if a broker would \
not start with this.

Examples:
  millstream config check /etc/millstream/broker.toml
  millstream config check broker.toml --set num.partitions=8"
)]
struct Check {
    /// TOML, as for `millstream start --config`
    file: PathBuf,
    /// One setting, over file and environment; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Command::Check(check) = &arguments.command;
    let command_line = CommandLine { settings: check.settings.clone(), ..CommandLine::default() };
    let config = start::configured(Some(&check.file), &command_line).map_err(Failure::failed)?;
    let mut output = Output::stdout();
    for warning in &config.warnings {
        output.line(&format!("warning: {warning}"))?;
    }
    output.line(&format!("{} is fine", check.file.display()))?;
    output.flush()
}
