//! `millstream group list`.

use serde::Serialize;

use crate::cli::client::{Brokers, Client};
use crate::cli::failure::Failure;
use crate::cli::output::{JSON_VERSION, Output, Table};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millstream group list
  millstream group list --state empty
  millstream group list --json | jq -r '.groups[].name'")]
pub(crate) struct Arguments {
    #[command(flatten)]
    brokers: Brokers,
    /// Only groups in this state: stable, empty, preparingrebalance, assigning ...
    #[arg(long)]
    state: Option<String>,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listing<'a> {
    version: u32,
    groups: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    protocol_type: &'a str,
    state: &'a str,
    coordinator: i32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut client = Client::connect(&arguments.brokers)?;
    let groups = client.retry(Client::groups)?;
    let is_wanted =
        |state: &str| arguments.state.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(state));
    let rows: Vec<Row<'_>> = groups
        .iter()
        .filter(|group| is_wanted(&group.state))
        .map(|group| Row {
            name: &group.name,
            kind: &group.kind,
            protocol_type: &group.protocol_type,
            state: &group.state,
            coordinator: group.coordinator,
        })
        .collect();
    let mut output = Output::stdout();
    if arguments.json {
        output.json(&Listing { version: JSON_VERSION, groups: rows })?;
        return output.flush();
    }
    let mut table = Table::new(&["GROUP", "TYPE", "PROTOCOL", "STATE", "COORDINATOR"]);
    for row in rows {
        let cells = [row.name, row.kind, row.protocol_type, row.state];
        let mut cells: Vec<String> = cells.into_iter().map(str::to_owned).collect();
        cells.push(row.coordinator.to_string());
        table.row(cells);
    }
    output.table(&table)?;
    output.flush()
}
