//! `millstream topic`: what topics there are; makes and removes them.

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
