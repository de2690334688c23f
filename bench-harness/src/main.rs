//! `millstream-bench`: compares Kafka-compatible brokers.

#![allow(
    clippy::disallowed_methods,
    reason = "an ordinary program, which no simulator runs: it has files, threads, sockets and clocks of its own"
)]

mod doctor;
mod failure;
#[allow(dead_code, reason = "watches a load; loads come with the commands that run them")]
mod live;
#[allow(dead_code, reason = "what runs loads puts the facts into results; it comes next")]
mod machine;
mod number;
mod omb;
mod report;
mod result;
mod toml_file;
mod workload;

use std::process::ExitCode;

use clap::Parser;

use failure::Failure;

/// Measures Kafka-compatible brokers so that a rival would accept the figures.
#[derive(Debug, Parser)]
#[command(name = "millstream-bench", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Workloads(workload::list::Args),
    ImportOmb(omb::Args),
    Report(report::Args),
    Machine(machine::Args),
    Doctor(doctor::Args),
}

fn main() -> ExitCode {
    match run(CommandLine::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("millstream-bench: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Workloads(args) => workload::list::main(args),
        Command::ImportOmb(args) => omb::main(args),
        Command::Report(args) => report::main(args),
        Command::Machine(args) => machine::main(args),
        Command::Doctor(args) => doctor::main(args),
    }
}
