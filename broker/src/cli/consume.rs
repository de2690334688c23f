//! `millstream consume`: records out, without a group.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;

use super::bounds::{Bound, Bounds};
use super::client::{Brokers, Client, Isolation, Missing};
use super::envelope::{Envelope, Headers, Text};
use super::escapes::unescape;
use super::failure::Failure;
use super::output::Output;
use super::progress::{Progress, Unit};
use reader::{Consumed, Reader};
use template::Template;

mod reader;
mod template;
mod transactions;

#[derive(clap::Args)]
#[command(
    after_help = "Without -f or -J each payload is a line. The format knows %t topic, %p partition, %o offset, %k key, \
%s payload, %T timestamp in ms, %h headers, %K and %S lengths of key and payload (-1 for null), %R the payload's length in \
4 bytes, %% and \\n \\t \\x1f.

Examples:
  millstream consume orders -e                          # all there is, then stop
  millstream consume orders -o end                      # what comes from now on
  millstream consume orders -o -10 -e                   # the last ten of each partition
  millstream consume orders -o s@1700000000000 -c 100   # since a moment, a hundred records
  millstream consume orders -e -f '%p/%o %k = %s\\n'
  millstream consume orders -e -J | jq .payload"
)]
pub(crate) struct Arguments {
    /// Where the records are
    topic: String,
    #[command(flatten)]
    brokers: Brokers,
    /// Where to begin: beginning, end, OFFSET, -N (that many before the end) or s@MS (since a timestamp); e@MS says where to
    /// stop; may be given twice
    #[arg(short, long = "offset", value_name = "OFFSET", allow_hyphen_values = true, value_parser = Bound::parse)]
    offsets: Vec<Bound>,
    /// Stop where the end of the topic was at the start
    #[arg(short = 'e', long)]
    exit_at_end: bool,
    /// Stop after so many records
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Only this partition; may be repeated
    #[arg(short, long = "partition", value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partitions: Vec<i32>,
    /// How a record is printed
    #[arg(short, long, value_name = "FORMAT", value_parser = Template::parse, conflicts_with_all = ["json", "key_delimiter"])]
    format: Option<Template>,
    /// A line of JSON for each record, as kcat writes it
    #[arg(short = 'J', long)]
    json: bool,
    /// Print keys, too, and this between key and payload
    #[arg(short = 'K', long, value_name = "TEXT", conflicts_with = "json")]
    key_delimiter: Option<String>,
    /// Print null as NULL
    #[arg(short = 'Z', long)]
    null: bool,
    /// Whether to leave out records of open and aborted transactions
    #[arg(long, value_enum, default_value = "read_committed")]
    isolation: Isolation,
}

/// How records are printed.
enum Form {
    Text(Template),
    Json,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let bounds = Bounds::of(&arguments.offsets, arguments.exit_at_end).map_err(Failure::usage)?;
    let form = form(arguments).map_err(Failure::usage)?;
    let mut client = Client::connect(&arguments.brokers)?;
    let topic = client.topic(&arguments.topic, Missing::Fails)?;
    let partitions = chosen(arguments, topic.partitions.iter().map(|partition| partition.index).collect())?;
    let mut reader = Reader::open(client, topic, &partitions, &bounds, arguments.isolation)?;
    let mut output = Output::stdout();
    let mut left = arguments.count.unwrap_or(u64::MAX);
    let mut progress = Progress::beside_output(Unit::Records);
    let mut is_new = io::stderr().is_terminal();
    if let Some(all) = reader.offsets_left() {
        progress.expect(all.min(left));
    } else {
        progress = Progress::hidden();
    }
    while reader.is_open() && left > 0 {
        let before = left;
        reader.round(&mut |consumed| {
            print(&mut output, &form, &arguments.topic, arguments.null, consumed)?;
            left -= 1;
            Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        progress.aside(|| output.flush())?;
        progress.advance(before - left);
        if is_new && before == left && reader.is_open() {
            // For people only, who might wonder.
            let _ = writeln!(io::stderr(), "(at the end, waiting for more; Ctrl-C stops)");
            is_new = false;
        }
    }
    progress.finish();
    output.flush()
}

fn form(arguments: &Arguments) -> Result<Form, String> {
    if arguments.json {
        return Ok(Form::Json);
    }
    if let Some(format) = &arguments.format {
        return Ok(Form::Text(format.clone()));
    }
    let delimiter = arguments.key_delimiter.as_deref().map(unescape).transpose()?;
    Ok(Form::Text(Template::lines(delimiter)))
}

fn chosen(arguments: &Arguments, all: Vec<i32>) -> Result<Vec<i32>, Failure> {
    if let Some(missing) = arguments.partitions.iter().find(|partition| !all.contains(partition)) {
        let text = format!("topic {} has no partition {missing}", arguments.topic);
        return Err(
            Failure::failed(text).next(format!("`millstream topic describe {}` shows them", arguments.topic))
        );
    }
    if arguments.partitions.is_empty() {
        return Ok(all);
    }
    let mut chosen = arguments.partitions.clone();
    chosen.sort_unstable();
    chosen.dedup();
    Ok(chosen)
}

fn print(
    output: &mut Output<'_>,
    form: &Form,
    topic: &str,
    shows_null: bool,
    consumed: &Consumed<'_>,
) -> Result<(), Failure> {
    match form {
        Form::Text(template) => {
            let mut line = Vec::new();
            template.fill(topic, consumed, shows_null, &mut line);
            output.bytes(&line)
        }
        Form::Json => output.json(&Envelope {
            topic,
            partition: consumed.partition,
            offset: consumed.offset,
            tstype: if consumed.is_log_append_time { "logappend" } else { "create" },
            ts: consumed.timestamp,
            broker: consumed.leader,
            headers: Headers(consumed.record.headers().map(|header| (header.key, header.value)).collect()),
            key: Text(consumed.record.key),
            payload: Text(consumed.record.value),
        }),
    }
}
