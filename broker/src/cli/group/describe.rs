//! `millstream group describe`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{no_such_group, place};
use crate::cli::client::groups::{Committed, Group};
use crate::cli::client::{Brokers, Client, Isolation, LATEST, Missing};
use crate::cli::failure::Failure;
use crate::cli::output::{JSON_VERSION, Output, Table};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millstream group describe billing
  millstream group describe billing --json | jq '[.groups[0].partitions[].lag] | add'")]
pub(crate) struct Arguments {
    /// One or more names
    #[arg(required = true, value_name = "GROUP")]
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
    groups: Vec<Description>,
}

#[derive(Serialize)]
struct Description {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    state: String,
    assignor: String,
    coordinator: i32,
    partitions: Vec<Partition>,
    members: Vec<Member>,
}

#[derive(Serialize)]
struct Partition {
    topic: String,
    index: i32,
    /// Null where nothing was committed.
    committed: Option<i64>,
    /// Null where nobody could tell.
    end: Option<i64>,
    lag: Option<i64>,
    /// Whose it is.
    member: Option<String>,
}

#[derive(Serialize)]
struct Member {
    id: String,
    instance: Option<String>,
    client_id: String,
    host: String,
    /// How many partitions it has; null where that is not what members share.
    partitions: Option<usize>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut client = Client::connect(&arguments.brokers)?;
    let mut groups = Vec::new();
    for name in &arguments.names {
        let group = client.retry(|client| client.group(name))?.ok_or_else(|| no_such_group(name))?;
        let committed = client.retry(|client| client.committed(name))?;
        groups.push(description(&mut client, name, group, &committed));
    }
    let mut output = Output::stdout();
    if arguments.json {
        output.json(&Listing { version: JSON_VERSION, groups })?;
        return output.flush();
    }
    for (count, group) in groups.iter().enumerate() {
        if count > 0 {
            output.line("")?;
        }
        print(&mut output, group)?;
    }
    output.flush()
}

fn description(client: &mut Client, name: &str, group: Group, committed: &Committed) -> Description {
    let mut owners: BTreeMap<(&str, i32), &str> = BTreeMap::new();
    for member in &group.members {
        for (topic, indexes) in member.partitions.iter().flatten() {
            owners.extend(indexes.iter().map(|index| ((topic.as_str(), *index), member.id.as_str())));
        }
    }
    let mut shown: BTreeMap<&str, BTreeMap<i32, Option<i64>>> = BTreeMap::new();
    for (topic, index) in owners.keys() {
        shown.entry(topic).or_default().insert(*index, None);
    }
    for (topic, offsets) in committed {
        let of_topic = shown.entry(topic).or_default();
        of_topic.extend(offsets.iter().map(|(index, offset)| (*index, (*offset >= 0).then_some(*offset))));
    }
    let mut partitions = Vec::new();
    for (topic, of_topic) in shown {
        let ends = ends(client, topic, &of_topic);
        partitions.extend(of_topic.into_iter().map(|(index, committed)| {
            let end = ends.get(&index).copied();
            Partition {
                topic: topic.to_owned(),
                index,
                committed,
                end,
                lag: committed.zip(end).map(|(committed, end)| (end - committed).max(0)),
                member: owners.get(&(topic, index)).map(|owner| (*owner).to_owned()),
            }
        }));
    }
    let members = group.members.iter().map(|member| Member {
        id: member.id.clone(),
        instance: member.instance.clone(),
        client_id: member.client_id.clone(),
        host: member.host.clone(),
        partitions: member.partitions.as_ref().map(|topics| topics.values().map(Vec::len).sum()),
    });
    let members = members.collect();
    let Group { kind, state, assignor, coordinator, .. } = group;
    Description { name: name.to_owned(), kind, state, assignor, coordinator, partitions, members }
}

/// Where partitions end now, of those whose leader tells.
fn ends(client: &mut Client, topic: &str, of_topic: &BTreeMap<i32, Option<i64>>) -> BTreeMap<i32, i64> {
    let Ok(topic) = client.topic(topic, Missing::Fails) else { return BTreeMap::new() };
    let asked: Vec<(i32, i64)> = of_topic.keys().map(|index| (*index, LATEST)).collect();
    let found = client.offsets(&topic, &asked, Isolation::ReadUncommitted);
    found.into_iter().filter_map(|(index, offset)| Some((index, offset.ok()?))).collect()
}

fn print(output: &mut Output<'_>, group: &Description) -> Result<(), Failure> {
    let mut facts = Table::new(&["GROUP", &group.name]);
    let lag: i64 = group.partitions.iter().filter_map(|partition| partition.lag).sum();
    for (fact, value) in [
        ("type", group.kind.to_owned()),
        ("state", group.state.clone()),
        ("assignor", group.assignor.clone()),
        ("coordinator", group.coordinator.to_string()),
        ("members", group.members.len().to_string()),
        ("lag", lag.to_string()),
    ] {
        facts.row(vec![fact.to_owned(), value]);
    }
    output.table(&facts)?;
    output.line("")?;
    if group.partitions.is_empty() {
        output.line("Nothing is committed and nothing assigned.")?;
    } else {
        let mut table = Table::new(&["PARTITION", "COMMITTED", "END", "LAG", "MEMBER"]);
        let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        for it in &group.partitions {
            table.row(vec![
                place(&it.topic, it.index),
                number(it.committed),
                number(it.end),
                number(it.lag),
                it.member.clone().unwrap_or_else(|| "-".to_owned()),
            ]);
        }
        output.table(&table)?;
    }
    if group.members.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let mut table = Table::new(&["MEMBER", "INSTANCE", "CLIENT", "HOST", "PARTITIONS"]);
    for member in &group.members {
        table.row(vec![
            member.id.clone(),
            member.instance.clone().unwrap_or_else(|| "-".to_owned()),
            member.client_id.clone(),
            member.host.clone(),
            member.partitions.map_or_else(|| "-".to_owned(), |count| count.to_string()),
        ]);
    }
    output.table(&table)
}
