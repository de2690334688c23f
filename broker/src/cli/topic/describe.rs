//! `millstream topic describe`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::client::{
    Brokers, Client, ClientError, EARLIEST, Isolation, LATEST, Missing, Resource, ResourceKind, Setting,
    Topic,
};
use crate::cli::failure::Failure;
use crate::cli::output::{JSON_VERSION, Output, Table};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millstream topic describe orders
  millstream topic describe orders --json | jq '.topics[0].partitions[] | {index, end}'

`millstream config get topic orders --all` shows every setting; `millstream config set topic orders` changes them.")]
pub(crate) struct Arguments {
    /// One or more names
    #[arg(required = true, value_name = "TOPIC")]
    names: Vec<String>,
    #[command(flatten)]
    brokers: Brokers,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listing {
    version: u32,
    topics: Vec<Description>,
}

#[derive(Serialize)]
struct Description {
    name: String,
    id: String,
    internal: bool,
    replication_factor: usize,
    partitions: Vec<Partition>,
    /// What is not the default; null where the broker does not tell.
    configs: Option<Vec<Config>>,
}

#[derive(Serialize)]
struct Partition {
    index: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    offline: Vec<i32>,
    /// Null where nobody could tell.
    start: Option<i64>,
    end: Option<i64>,
}

#[derive(Serialize)]
struct Config {
    name: String,
    value: Option<String>,
    source: &'static str,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut client = Client::connect(&arguments.brokers)?;
    let mut topics = Vec::new();
    for name in &arguments.names {
        let topic = client.topic(name, Missing::Fails)?;
        let configs = configs(&mut client, name)?;
        let start = ends(&mut client, &topic, EARLIEST);
        let end = ends(&mut client, &topic, LATEST);
        topics.push(description(&topic, &start, &end, configs));
    }
    let mut output = Output::stdout();
    if arguments.json {
        output.json(&Listing { version: JSON_VERSION, topics })?;
        return output.flush();
    }
    for (count, topic) in topics.iter().enumerate() {
        if count > 0 {
            output.line("")?;
        }
        print(&mut output, topic)?;
    }
    output.flush()
}

/// One end of every partition, of those whose leader tells.
fn ends(client: &mut Client, topic: &Topic, end: i64) -> BTreeMap<i32, i64> {
    let asked: Vec<(i32, i64)> = topic.partitions.iter().map(|partition| (partition.index, end)).collect();
    let found = client.offsets(topic, &asked, Isolation::ReadUncommitted);
    found.into_iter().filter_map(|(index, offset)| Some((index, offset.ok()?))).collect()
}

/// What is not the default.
fn configs(client: &mut Client, name: &str) -> Result<Option<Vec<Config>>, ClientError> {
    let resource = Resource { kind: ResourceKind::Topic, name: name.to_owned() };
    let settings = match client.describe_configs(&resource, &[]) {
        Ok(settings) => settings,
        Err(ClientError::Unserved { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let set = settings.into_iter().filter(|setting| !setting.is_default());
    let config = |setting: Setting| {
        let source = setting.set_by();
        Config { name: setting.name, value: setting.value, source }
    };
    Ok(Some(set.map(config).collect()))
}

fn description(
    topic: &Topic,
    start: &BTreeMap<i32, i64>,
    end: &BTreeMap<i32, i64>,
    configs: Option<Vec<Config>>,
) -> Description {
    let partitions = topic.partitions.iter().map(|partition| Partition {
        index: partition.index,
        leader: partition.leader,
        leader_epoch: partition.leader_epoch,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        offline: partition.offline.clone(),
        start: start.get(&partition.index).copied(),
        end: end.get(&partition.index).copied(),
    });
    Description {
        name: topic.name.clone(),
        id: topic.id.to_string(),
        internal: topic.is_internal,
        replication_factor: topic.partitions.first().map_or(0, |partition| partition.replicas.len()),
        partitions: partitions.collect(),
        configs,
    }
}

fn print(output: &mut Output<'_>, topic: &Description) -> Result<(), Failure> {
    let mut facts = Table::new(&["TOPIC", &topic.name]);
    facts.row(vec!["id".to_owned(), topic.id.clone()]);
    facts.row(vec!["partitions".to_owned(), topic.partitions.len().to_string()]);
    facts.row(vec!["replicas".to_owned(), topic.replication_factor.to_string()]);
    output.table(&facts)?;
    output.line("")?;
    let mut table = Table::new(&["PARTITION", "LEADER", "EPOCH", "REPLICAS", "IN SYNC", "START", "END"]);
    for partition in &topic.partitions {
        table.row(vec![
            partition.index.to_string(),
            partition.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string()),
            partition.leader_epoch.to_string(),
            ids(&partition.replicas),
            ids(&partition.isr),
            offset(partition.start),
            offset(partition.end),
        ]);
    }
    output.table(&table)?;
    output.line("")?;
    let Some(configs) = &topic.configs else {
        return output.line("The broker does not tell its configuration.");
    };
    if configs.is_empty() {
        return output.line("Every setting has its default.");
    }
    let mut table = Table::new(&["CONFIG", "VALUE", "SET BY"]);
    for config in configs {
        let value = config.value.as_deref().unwrap_or("(hidden)").to_owned();
        table.row(vec![config.name.clone(), value, config.source.to_owned()]);
    }
    output.table(&table)
}

fn ids(ids: &[i32]) -> String {
    ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

fn offset(offset: Option<i64>) -> String {
    offset.map_or_else(|| "?".to_owned(), |offset| offset.to_string())
}
