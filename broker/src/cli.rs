//! The command line: one binary is server and client.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use failure::Failure;
use output::Output;

mod bounds;
mod client;
mod config;
mod consume;
mod envelope;
mod escapes;
mod failure;
mod format;
mod group;
mod log;
mod logging;
mod output;
mod produce;
mod progress;
#[cfg(test)]
mod scratch;
mod start;
mod topic;

/// Exit codes scripts may rely on.
pub(crate) mod exit {
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const UNREACHABLE: u8 = 4;
}

/// What a batch may unpack to.
const UNPACKED_BYTES_MAX: usize = 1 << 30;

#[derive(Parser)]
#[command(
    name = "millstream",
    version,
    about = "A Kafka broker for the shape of one real machine",
    propagate_version = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 4 no broker could be reached."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the broker
    Start(start::Arguments),
    /// List, create, describe and delete topics
    Topic(topic::Arguments),
    /// List and describe consumer groups, reset their offsets, delete them
    Group(group::Arguments),
    /// Send records, one for each line of standard input or a file
    Produce(produce::Arguments),
    /// Print the records of a topic
    Consume(consume::Arguments),
    /// Look at log files offline
    Log(log::Arguments),
    /// Check configuration files; show and change settings of topics, groups and brokers
    Config(config::Arguments),
    /// Give data directories an identity before the first start
    Format(format::Arguments),
    /// Print a shell's completion script
    #[command(after_help = "Examples:
  millstream completions bash > /etc/bash_completion.d/millstream
  millstream completions fish > ~/.config/fish/completions/millstream.fish")]
    Completions {
        /// Whose script
        shell: clap_complete::Shell,
    },
}

pub(crate) fn run() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Start(arguments) => return start::run(&arguments),
        Command::Topic(arguments) => topic::run(&arguments),
        Command::Group(arguments) => group::run(&arguments),
        Command::Produce(arguments) => produce::run(&arguments),
        Command::Consume(arguments) => consume::run(&arguments),
        Command::Log(arguments) => log::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Format(arguments) => format::run(&arguments),
        Command::Completions { shell } => completions(shell),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    // Into memory first: the generator does not survive a reader that goes away.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "millstream", &mut script);
    let mut output = Output::stdout();
    output.bytes(&script)?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_commands_contradicts_itself_nowhere() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_that_takes_something_shows_examples() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let is_leaf = command.get_subcommands().next().is_none();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(!is_leaf || help.contains("Examples:"), "{path}");
            for command in command.get_subcommands() {
                check(command, &path);
            }
        }
        check(&Arguments::command(), "");
    }

    #[test]
    fn what_begins_with_a_dash_can_be_an_offset() {
        let parsed = Arguments::try_parse_from(["millstream", "consume", "orders", "-o", "-5", "-e"]);
        assert!(parsed.is_ok());
        let parsed = Arguments::try_parse_from(["millstream", "produce", "orders", "--acks", "-1"]);
        assert!(parsed.is_ok());
    }
}
