//! `millstream group reset-offsets`. Shows what it would do, and does it when told so.

use std::collections::BTreeMap;

use serde::Serialize;

use super::place;
use crate::cli::bounds::{Bound, Bounds};
use crate::cli::client::groups::Committed;
use crate::cli::client::{Brokers, Client, EARLIEST, Isolation, LATEST, Missing, Topic};
use crate::cli::failure::Failure;
use crate::cli::output::{JSON_VERSION, Output, Table};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millstream group reset-offsets billing --topic orders --to beginning
  millstream group reset-offsets billing --topic orders --to s@1767225600000 --execute
  millstream group reset-offsets billing --shift -100 --execute
  millstream group reset-offsets billing --topic orders --partitions 0,3 --to 4711 --execute")]
pub(crate) struct Arguments {
    /// The group
    group: String,
    /// Of these topics; of all that the group has committed offsets for if none is named
    #[arg(long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
    /// Only these partitions
    #[arg(short, long, value_delimiter = ',')]
    partitions: Vec<i32>,
    /// beginning, end, OFFSET, -N (so many before the end) or s@MS (the first record of that time or later)
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true, required_unless_present = "shift")]
    to: Option<String>,
    /// So many records on from what is committed; back if negative
    #[arg(long, value_name = "N", allow_hyphen_values = true, conflicts_with = "to")]
    shift: Option<i64>,
    /// Do it; without this only shown
    #[arg(long)]
    execute: bool,
    #[command(flatten)]
    brokers: Brokers,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listing<'a> {
    version: u32,
    group: &'a str,
    executed: bool,
    partitions: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    topic: &'a str,
    index: i32,
    /// Null where nothing was committed.
    before: Option<i64>,
    after: i64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let bounds = match &arguments.to {
        Some(text) => Some(bounds(text).map_err(|why| Failure::usage(format!("--to {text}: {why}")))?),
        None => None,
    };
    let mut client = Client::connect(&arguments.brokers)?;
    let before = client.retry(|client| client.committed(&arguments.group))?;
    let names =
        if arguments.topics.is_empty() { before.keys().cloned().collect() } else { arguments.topics.clone() };
    let nothing = BTreeMap::new();
    let mut after = Committed::new();
    for name in names {
        let topic = client.topic(&name, Missing::Fails)?;
        let committed = before.get(&name).unwrap_or(&nothing);
        let partitions = wanted(arguments, &topic, committed)?;
        let offsets = match bounds {
            Some(bounds) => {
                let found = bounds.resolve(&mut client, &topic, &partitions, Isolation::ReadUncommitted)?;
                found.into_iter().map(|(index, range)| (index, range.next)).collect()
            }
            None => shifted(&mut client, &topic, &partitions, committed, arguments.shift.unwrap_or(0))?,
        };
        after.insert(name, offsets);
    }
    if arguments.execute {
        client.retry(|client| client.commit(&arguments.group, &after))?;
    }
    print(arguments, &before, &after)
}

fn bounds(text: &str) -> Result<Bounds, String> {
    match Bound::parse(text)? {
        bound @ Bound::Start(_) => Bounds::of(&[bound], false),
        Bound::Until(_) => Err("expected beginning, end, OFFSET, -N or s@MS".to_owned()),
    }
}

/// The partitions named; else those of a topic that was named, or those that have a committed offset.
fn wanted(arguments: &Arguments, topic: &Topic, committed: &BTreeMap<i32, i64>) -> Result<Vec<i32>, Failure> {
    let all = topic.partitions.iter().map(|partition| partition.index);
    if !arguments.partitions.is_empty() {
        let missing = arguments.partitions.iter().find(|index| topic.partition(**index).is_none());
        return match missing {
            Some(index) => Err(Failure::failed(format!("topic {} has no partition {index}", topic.name))),
            None => Ok(arguments.partitions.clone()),
        };
    }
    let is_named = !arguments.topics.is_empty() && arguments.shift.is_none();
    Ok(all.filter(|index| is_named || committed.contains_key(index)).collect())
}

/// Within what the log holds.
fn shifted(
    client: &mut Client,
    topic: &Topic,
    partitions: &[i32],
    committed: &BTreeMap<i32, i64>,
    shift: i64,
) -> Result<BTreeMap<i32, i64>, Failure> {
    let mut end = |which: i64| {
        let asked: Vec<(i32, i64)> = partitions.iter().map(|index| (*index, which)).collect();
        client.offsets(topic, &asked, Isolation::ReadUncommitted)
    };
    let (mut earliest, mut latest) = (end(EARLIEST), end(LATEST));
    let mut offsets = BTreeMap::new();
    for index in partitions {
        let Some(offset) = committed.get(index) else {
            let text = format!("nothing is committed for {}", place(&topic.name, *index));
            return Err(Failure::failed(text));
        };
        let low = earliest.remove(index).expect("asked for")?;
        let high = latest.remove(index).expect("asked for")?;
        offsets.insert(*index, offset.saturating_add(shift).clamp(low, high.max(low)));
    }
    Ok(offsets)
}

fn print(arguments: &Arguments, before: &Committed, after: &Committed) -> Result<(), Failure> {
    let rows: Vec<Row<'_>> = after
        .iter()
        .flat_map(|(topic, offsets)| {
            offsets.iter().map(move |(index, after)| Row {
                topic,
                index: *index,
                before: before.get(topic).and_then(|offsets| offsets.get(index)).copied(),
                after: *after,
            })
        })
        .collect();
    let mut output = Output::stdout();
    if arguments.json {
        let (group, executed) = (arguments.group.as_str(), arguments.execute);
        output.json(&Listing { version: JSON_VERSION, group, executed, partitions: rows })?;
        return output.flush();
    }
    let mut table = Table::new(&["PARTITION", "BEFORE", "AFTER"]);
    for row in rows {
        let before = row.before.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
        table.row(vec![place(row.topic, row.index), before, row.after.to_string()]);
    }
    output.table(&table)?;
    if !arguments.execute {
        output.line("")?;
        output.line("Nothing was changed; add --execute to do it.")?;
    }
    output.flush()
}
