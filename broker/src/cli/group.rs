//! `millstream group`: who reads what, how far they are, and where they go on.

use super::failure::Failure;

mod delete;
mod describe;
mod list;
mod reset_offsets;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List groups
    List(list::Arguments),
    /// Show a group's offsets, how far it is behind, and its members
    Describe(describe::Arguments),
    /// Set where a group goes on reading; nobody may be in it
    ResetOffsets(reset_offsets::Arguments),
    /// Delete groups that nobody is in, with their offsets
    Delete(delete::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::List(arguments) => list::run(arguments),
        Command::Describe(arguments) => describe::run(arguments),
        Command::ResetOffsets(arguments) => reset_offsets::run(arguments),
        Command::Delete(arguments) => delete::run(arguments),
    }
}

fn no_such_group(name: &str) -> Failure {
    Failure::failed(format!("there is no group {name}")).next("`millstream group list` shows what there is")
}

/// The name of a partition as people write it.
fn place(topic: &str, index: i32) -> String {
    format!("{topic} [{index}]")
}
