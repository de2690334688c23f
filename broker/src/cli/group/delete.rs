//! `millstream group delete`.

use crate::cli::client::{Brokers, Client};
use crate::cli::failure::{Failure, all_told};
use crate::cli::output::Output;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millstream group delete billing
  millstream group delete billing old-billing")]
pub(crate) struct Arguments {
    /// One or more names
    #[arg(required = true, value_name = "GROUP")]
    names: Vec<String>,
    #[command(flatten)]
    brokers: Brokers,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut client = Client::connect(&arguments.brokers)?;
    let mut output = Output::stdout();
    let mut failures = Vec::new();
    for name in &arguments.names {
        match client.retry(|client| client.delete_group(name)) {
            Ok(()) => output.line(&format!("{name} deleted"))?,
            Err(error) => failures.push(error),
        }
    }
    output.flush()?;
    all_told(failures)
}
