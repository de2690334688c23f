//! `millstream topic list`.

use serde::Serialize;

use crate::cli::client::{Brokers, Client, Topic};
use crate::cli::failure::Failure;
use crate::cli::output::{JSON_VERSION, Output, Table};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millstream topic list
  millstream topic list --json | jq -r '.topics[].name'")]
pub(crate) struct Arguments {
    #[command(flatten)]
    brokers: Brokers,
    /// Show the broker's own topics, too
    #[arg(long)]
    internal: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listing<'a> {
    version: u32,
    topics: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    id: String,
    partitions: usize,
    replication_factor: usize,
    internal: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut client = Client::connect(&arguments.brokers)?;
    let topics = client.retry(Client::topics)?;
    let shown = topics.iter().filter(|topic| arguments.internal || !topic.is_internal);
    let rows: Vec<Row<'_>> = shown.map(row).collect();
    let mut output = Output::stdout();
    if arguments.json {
        output.json(&Listing { version: JSON_VERSION, topics: rows })?;
        return output.flush();
    }
    let mut table = Table::new(&["TOPIC", "PARTITIONS", "REPLICAS"]);
    for row in rows {
        let (partitions, replicas) = (row.partitions.to_string(), row.replication_factor.to_string());
        table.row(vec![row.name.to_owned(), partitions, replicas]);
    }
    output.table(&table)?;
    output.flush()
}

fn row(topic: &Topic) -> Row<'_> {
    Row {
        name: &topic.name,
        id: topic.id.to_string(),
        partitions: topic.partitions.len(),
        replication_factor: topic.partitions.first().map_or(0, |partition| partition.replicas.len()),
        internal: topic.is_internal,
    }
}
