//! `millstream config set` and `unset`.

use super::{Whose, connect};
use crate::cli::client::{Alteration, Brokers, Operation};
use crate::cli::failure::Failure;
use crate::cli::output::Output;

#[derive(clap::Args)]
#[command(after_help = "All changes are made together, or none is. Other settings stay as they are.

Examples:
  millstream config set topic orders retention.ms=86400000
  millstream config set topic users cleanup.policy+=compact
  millstream config set group billing consumer.session.timeout.ms=50000
  millstream config set broker all message.max.bytes=2097152 --dry-run")]
pub(crate) struct Set {
    #[command(flatten)]
    whose: Whose,
    /// KEY=VALUE; KEY+=VALUE adds to a list, KEY-=VALUE takes out of it
    #[arg(required = true, value_name = "KEY=VALUE", value_parser = alteration)]
    changes: Vec<Alteration>,
    #[command(flatten)]
    brokers: Brokers,
    /// Only check whether it would work
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millstream config unset topic orders retention.ms
  millstream config unset broker 1 message.max.bytes log.segment.bytes")]
pub(crate) struct Unset {
    #[command(flatten)]
    whose: Whose,
    /// One or more settings
    #[arg(required = true, value_name = "KEY")]
    names: Vec<String>,
    #[command(flatten)]
    brokers: Brokers,
    /// Only check whether it would work
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn set(arguments: &Set) -> Result<(), Failure> {
    alter(&arguments.whose, &arguments.changes, &arguments.brokers, arguments.dry_run)
}

pub(crate) fn unset(arguments: &Unset) -> Result<(), Failure> {
    let delete = |name: &String| Alteration { name: name.clone(), operation: Operation::Delete, value: None };
    let changes: Vec<Alteration> = arguments.names.iter().map(delete).collect();
    alter(&arguments.whose, &changes, &arguments.brokers, arguments.dry_run)
}

fn alter(whose: &Whose, changes: &[Alteration], brokers: &Brokers, dry_run: bool) -> Result<(), Failure> {
    let resource = whose.resource()?;
    let mut client = connect(brokers, &resource)?;
    client.alter_configs(&resource, changes, dry_run).map_err(|error| whose.failed(error))?;
    let mut output = Output::stdout();
    for change in changes {
        output.line(&told(whose, change, dry_run))?;
    }
    output.flush()
}

fn told(whose: &Whose, change: &Alteration, dry_run: bool) -> String {
    let (name, value) = (&change.name, change.value.as_deref().unwrap_or_default());
    let what = match change.operation {
        Operation::Set => format!("{name}={value}"),
        Operation::Append => format!("{name}+={value}"),
        Operation::Subtract => format!("{name}-={value}"),
        Operation::Delete => format!("{name} back to its default"),
    };
    let done = if dry_run { "could be changed" } else { "changed" };
    format!("{whose} {done}: {what}")
}

/// The value may be empty and may hold another `=`.
fn alteration(text: &str) -> Result<Alteration, String> {
    let expected = || "expected KEY=VALUE, such as retention.ms=86400000".to_owned();
    let (name, value) = text.split_once('=').ok_or_else(expected)?;
    let (name, operation) = match (name.strip_suffix('+'), name.strip_suffix('-')) {
        (Some(name), _) => (name, Operation::Append),
        (_, Some(name)) => (name, Operation::Subtract),
        _ => (name, Operation::Set),
    };
    match name.trim() {
        "" => Err(expected()),
        name => Ok(Alteration { name: name.to_owned(), operation, value: Some(value.to_owned()) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_by_their_sign() {
        let is = |text, name: &str, operation, value: &str| {
            let value = Some(value.to_owned());
            assert_eq!(alteration(text), Ok(Alteration { name: name.to_owned(), operation, value }));
        };
        is("retention.ms=1000", "retention.ms", Operation::Set, "1000");
        is(" a = b=c", "a", Operation::Set, " b=c");
        is("a=", "a", Operation::Set, "");
        is("cleanup.policy+=compact", "cleanup.policy", Operation::Append, "compact");
        is("cleanup.policy-=compact", "cleanup.policy", Operation::Subtract, "compact");
        for bad in ["retention.ms", "=1", "+=1", "-=1", " =1"] {
            assert!(alteration(bad).is_err(), "{bad}");
        }
    }
}
