//! `millstream config get`.

use serde::Serialize;

use super::{Whose, connect};
use crate::cli::client::{Brokers, Setting};
use crate::cli::failure::Failure;
use crate::cli::output::{JSON_VERSION, Output, Table};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millstream config get topic orders
  millstream config get topic orders retention.ms cleanup.policy
  millstream config get group billing --all
  millstream config get broker all --json | jq '.settings[] | {name, value}'")]
pub(crate) struct Arguments {
    #[command(flatten)]
    whose: Whose,
    /// Only these, whatever they are set to
    #[arg(value_name = "SETTING")]
    names: Vec<String>,
    #[command(flatten)]
    brokers: Brokers,
    /// Show what has its default, too
    #[arg(long)]
    all: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listing<'a> {
    version: u32,
    settings: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    /// Null where there is none, or where it must not be shown.
    value: Option<&'a str>,
    source: &'static str,
    sensitive: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let whose = &arguments.whose;
    let resource = whose.resource()?;
    let mut client = connect(&arguments.brokers, &resource)?;
    let described = client.describe_configs(&resource, &arguments.names);
    let settings = described.map_err(|error| whose.failed(error))?;
    if let Some(unknown) = arguments.names.iter().find(|name| settings.iter().all(|it| it.name != **name)) {
        let text = format!("{whose} has no setting {unknown}");
        let next = "`millstream config get` with --all lists those that there are";
        return Err(Failure::failed(text).next(next));
    }
    let is_shown = |setting: &&Setting| arguments.all || !arguments.names.is_empty() || !setting.is_default();
    let shown: Vec<&Setting> = settings.iter().filter(is_shown).collect();
    let mut output = Output::stdout();
    if arguments.json {
        let settings = shown.into_iter().map(row).collect();
        output.json(&Listing { version: JSON_VERSION, settings })?;
        return output.flush();
    }
    if shown.is_empty() {
        output.line("Every setting has its default.")?;
        return output.flush();
    }
    let mut table = Table::new(&["CONFIG", "VALUE", "SET BY"]);
    for setting in shown {
        table.row(vec![setting.name.clone(), setting.shown_value().to_owned(), setting.set_by().to_owned()]);
    }
    output.table(&table)?;
    output.flush()
}

fn row(setting: &Setting) -> Row<'_> {
    Row {
        name: &setting.name,
        value: setting.value.as_deref(),
        source: setting.set_by(),
        sensitive: setting.is_sensitive,
    }
}
