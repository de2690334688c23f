//! `millstream-bench`: compares Kafka-compatible brokers.

#![allow(
    clippy::disallowed_methods,
    reason = "an ordinary program, which no simulator runs: it has files, threads, sockets and clocks of its own"
)]

mod accounts;
mod client;
mod clock;
mod compare;
mod cost;
mod doctor;
mod failure;
mod figure;
mod groups;
mod heading;
mod keyspace;
mod latency;
mod live;
mod load;
mod machine;
mod number;
mod omb;
mod payload;
mod quantity;
mod random;
mod raw;
mod recovery;
mod report;
mod result;
mod run;
mod schedule;
mod session;
mod stop;
mod sweep;
mod target;
mod toml_file;
mod trial;
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
    /// Run a workload on several targets in turns: medians, spreads, ratios
    Compare(compare::Args),
    /// Latency against rate, up to what a target can take
    Sweep(sweep::Args),
    /// Coordinators of groups: heartbeats, commits, and groups that form anew
    Groups(groups::Args),
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
    /// Run a workload on a broker and account for every record
    Run(run::Args),
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
    if matches!(command, Command::Compare(_) | Command::Sweep(_) | Command::Groups(_) | Command::Run(_)) {
        stop::listen().map_err(|error| Failure::failed(format!("no signals can be caught: {error}")))?;
    }
    match command {
        Command::Compare(args) => compare::main(&args),
        Command::Sweep(args) => sweep::main(&args),
        Command::Groups(args) => groups::main(args),
        Command::Recovery(args) => recovery::main(&args),
        Command::Raw(args) => raw::main(args),
        Command::Target(args) => target::main(args),
        Command::Workloads(args) => workload::list::main(args),
        Command::ImportOmb(args) => omb::main(args),
        Command::Report(args) => report::main(args),
        Command::Machine(args) => machine::main(args),
        Command::Doctor(args) => doctor::main(args),
        Command::Run(args) => run::main(args),
    }
}
