//! `millstream topic`: what topics there are; makes and removes them.

use super::client::ClientError;
use super::failure::Failure;

mod create;
mod delete;
mod describe;
mod list;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List topics
    List(list::Arguments),
    /// Create topics
    Create(create::Arguments),
    /// Show a topic's partitions, leaders, offsets and what is configured unlike the default
    Describe(describe::Arguments),
    /// Delete topics and all their records
    Delete(delete::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::List(arguments) => list::run(arguments),
        Command::Create(arguments) => create::run(arguments),
        Command::Describe(arguments) => describe::run(arguments),
        Command::Delete(arguments) => delete::run(arguments),
    }
}

/// Several topics, each with a fate of its own: every failure is told.
fn all_told(failures: Vec<ClientError>) -> Result<(), Failure> {
    let mut failures = failures.into_iter().map(Failure::from);
    let Some(last) = failures.next_back() else { return Ok(()) };
    for failure in failures {
        failure.report();
    }
    Err(last)
}
