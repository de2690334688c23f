//! The command line: one binary is server and client.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

mod logging;
mod start;

/// Exit codes scripts may rely on.
pub(crate) mod exit {
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
}

#[derive(Parser)]
#[command(
    name = "millstream",
    version,
    about = "A Kafka broker for the shape of one real machine",
    propagate_version = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the broker
    Start(start::Arguments),
    /// Print a shell's completion script
    Completions { shell: clap_complete::Shell },
}

pub(crate) fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Start(arguments) => start::run(&arguments),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "millstream", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
    }
}
