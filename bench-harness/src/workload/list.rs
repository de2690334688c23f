//! `workloads`: which are shipped, and what one of them says.

use super::file::{SHIPPED, WorkloadError};
use super::load;
use crate::failure::Failure;

/// List the shipped workloads, or print one as a file to start from.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The one to print.
    name: Option<String>,
}

pub(crate) fn main(args: Args) -> Result<(), Failure> {
    let wrong = |error: WorkloadError| Failure::usage(error.to_string());
    if let Some(name) = &args.name {
        load(name).map_err(wrong)?;
        let text = SHIPPED.iter().find(|(shipped, _)| shipped == name).map(|(_, text)| *text);
        print!(
            "{}",
            text.ok_or_else(|| Failure::usage(format!("{name} is a file, not a shipped workload")))?
        );
        return Ok(());
    }
    for (name, _) in SHIPPED {
        let workload = load(name).map_err(wrong)?;
        println!("{name}\n    {}", workload.about);
    }
    Ok(())
}
