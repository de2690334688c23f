//! `millstream config check`: is what was written what was meant?

use std::path::PathBuf;

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::start;
use crate::config::CommandLine;

#[derive(clap::Args)]
#[command(
    after_help = "MILLSTREAM_ variables and --set count as they do for `millstream start`. Ends with 1 if a broker would \
not start with this.

Examples:
  millstream config check /etc/millstream/broker.toml
  millstream config check broker.toml --set num.partitions=8"
)]
pub(crate) struct Arguments {
    /// TOML, as for `millstream start --config`
    file: PathBuf,
    /// One setting, over file and environment; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let command_line = CommandLine { settings: arguments.settings.clone(), ..CommandLine::default() };
    let config = start::configured(Some(&arguments.file), &command_line).map_err(Failure::failed)?;
    let mut output = Output::stdout();
    for warning in &config.warnings {
        output.line(&format!("warning: {warning}"))?;
    }
    output.line(&format!("{} is fine", arguments.file.display()))?;
    output.flush()
}
