//! `millstream-bench`: compares Kafka-compatible brokers.

#![allow(
    clippy::disallowed_methods,
    reason = "an ordinary program, which no simulator runs: it has files, threads, sockets and clocks of its own"
)]

#[allow(dead_code, reason = "watches what a load costs; loads come with the commands that run them")]
mod cost;
mod doctor;
mod failure;
mod figure;
#[allow(dead_code, reason = "watches a load; loads come with the commands that run them")]
mod live;
mod machine;
mod number;
mod omb;
mod raw;
mod recovery;
mod report;
mod result;
#[allow(dead_code, reason = "part of it is for the commands that put a load on brokers; they come next")]
mod session;
#[allow(dead_code, reason = "as above")]
mod target;
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
    /// Time to serve: when empty, and after a kill with much on disk
    Recovery(recovery::Args),
    /// The physical limit: bare io_uring on disk and network
    Raw(raw::Args),
    /// Targets: list, show, fetch what they need
    Target(target::Args),
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
        Command::Recovery(args) => recovery::main(&args),
        Command::Raw(args) => raw::main(args),
        Command::Target(args) => target::main(args),
        Command::Workloads(args) => workload::list::main(args),
        Command::ImportOmb(args) => omb::main(args),
        Command::Report(args) => report::main(args),
        Command::Machine(args) => machine::main(args),
        Command::Doctor(args) => doctor::main(args),
    }
}
