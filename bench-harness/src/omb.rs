//! `import-omb`: a workload of the OpenMessaging Benchmark, and its Kafka driver, as a workload file of ours.
//!
//! What has no counterpart is said, in the file and on standard error; nothing is dropped in silence.

mod driver;
mod yaml;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::toml_file::{self, Problem};
use crate::workload::check::VALUE_BYTES_MIN;
use crate::workload::{Arrivals, Consume, From, Keys, Produce, Records, Topics, Workload};
use yaml::Entry;

/// Turn an OpenMessaging Benchmark workload into a workload file.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The workload's YAML file.
    file: PathBuf,
    /// The Kafka driver's YAML file: acks, linger, batch size, codec, topic settings.
    #[arg(long)]
    driver: Option<PathBuf>,
    /// Where to write; standard output if not given.
    #[arg(long, short)]
    output: Option<PathBuf>,
}

/// What came of a conversion.
#[derive(Clone, Debug, PartialEq)]
struct Converted {
    workload: Workload,
    /// What could not be carried over, for the person who asked.
    notes: Vec<String>,
}

/// Keys that change nothing of what a run means here, or that our harness does in another way: key and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("randomizedPayloadPoolSize", "each value is made anew"),
    ("messageRateReceivedForSubscription", "consumers read everything"),
    ("producerStartRate", "the rate is not searched in a run; `sweep` does that"),
    ("acceptableBacklog", "the rate is not searched in a run; `sweep` does that"),
    ("producerIncrementRate", "the rate does not rise in a run; `sweep` measures several rates"),
    ("producerIncrementSeconds", "the rate does not rise in a run; `sweep` measures several rates"),
    ("producerPauseBeforeDrain", "producers do not pause"),
    ("producerPauseDuringDrain", "producers do not pause"),
    ("backlogDrainRatio", "the run lasts as long as it says"),
    ("logHistograms", "histograms are always kept"),
];

/// How many keys the original makes.
const KEYS: u64 = 10_000;
const WARM_UP_MINUTES: f64 = 1.0;

pub(crate) fn main(args: Args) -> Result<(), Failure> {
    let read = |path: &PathBuf| {
        fs::read_to_string(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
    };
    let wrong = |problem: Problem| Failure::usage(problem.to_string());
    let path = args.file.display().to_string();
    let mut converted = convert(&path, &read(&args.file)?).map_err(wrong)?;
    if let Some(driver) = &args.driver {
        driver::apply(&driver.display().to_string(), &read(driver)?, &mut converted).map_err(wrong)?;
    } else {
        converted
            .notes
            .push("no --driver: acks, linger, batch size and topic settings are our defaults".into());
    }
    let wrongs = converted.workload.check();
    if !wrongs.is_empty() {
        let lines = wrongs.iter().map(|wrong| format!("{path}: {}: {}", wrong.keys.join("."), wrong.message));
        return Err(Failure::usage(lines.collect::<Vec<_>>().join("\n")));
    }
    for note in &converted.notes {
        eprintln!("note: {note}");
    }
    let text = to_toml(&converted)?;
    match &args.output {
        None => print!("{text}"),
        Some(output) => fs::write(output, text)
            .map_err(|error| Failure::failed(format!("{}: {error}", output.display())))?,
    }
    Ok(())
}

fn to_toml(converted: &Converted) -> Result<String, Failure> {
    let mut text = String::new();
    for note in &converted.notes {
        let _ = writeln!(text, "# {}", note.replace('\n', " "));
    }
    let body = toml::to_string(&converted.workload)
        .map_err(|error| Failure::failed(format!("the workload cannot be written as TOML: {error}")))?;
    Ok(text + &body)
}

fn convert(path: &str, text: &str) -> Result<Converted, Problem> {
    let fields = Fields { path, entries: yaml::parse(path, text)? };
    fields.refuse_unknown()?;
    let mut notes = Vec::new();
    for (key, why) in LEFT_OUT {
        if fields.find(key).is_some() {
            notes.push(format!("`{key}` is left out: {why}"));
        }
    }
    let name = fields.needed("name")?.value.clone();
    let topics = Topics {
        count: fields.number("topics")?.unwrap_or(1),
        partitions: fields.number("partitionsPerTopic")?.unwrap_or(1),
        ..Topics::default()
    };
    let records = records(&fields, &mut notes)?;
    let produce = produce(&fields, topics.count, &mut notes)?;
    let consume = consume(&fields, records.bytes, &mut notes)?;
    let workload = Workload {
        about: format!("Made from the OpenMessaging Benchmark workload {}.", file_name(path)),
        name,
        duration_s: 60.0 * fields.number_needed::<f64>("testDurationMinutes")?,
        warm_up_s: 60.0 * fields.number("warmupDurationMinutes")?.unwrap_or(WARM_UP_MINUTES),
        seed: 0,
        topics,
        records,
        produce,
        consume,
    };
    Ok(Converted { workload, notes })
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn records(fields: &Fields<'_>, notes: &mut Vec<String>) -> Result<Records, Problem> {
    let mut bytes: u32 = fields.number_needed("messageSize")?;
    if bytes < VALUE_BYTES_MIN {
        notes.push(format!(
            "messageSize {bytes} became {VALUE_BYTES_MIN}: a value holds its number, its time and a checksum"
        ));
        bytes = VALUE_BYTES_MIN;
    }
    let mut randomness = 1.0;
    if fields.boolean("useRandomizedPayloads")? {
        randomness = fields.number("randomBytesRatio")?.unwrap_or(1.0);
    } else if let Some(file) = fields.find("payloadFile") {
        notes.push(format!("payloadFile {} is not read: values are random bytes", file.value));
    }
    let keys = match fields.find("keyDistributor") {
        None => Keys::None,
        Some(entry) => match entry.value.as_str() {
            "NO_KEY" => Keys::None,
            "KEY_ROUND_ROBIN" | "RANDOM_NANO" => {
                notes.push(format!("keyDistributor {}: {KEYS} keys, all as often", entry.value));
                Keys::Uniform { count: KEYS }
            }
            other => return Err(fields.problem(entry, format!("unknown keyDistributor `{other}`"))),
        },
    };
    Ok(Records { bytes, keys, randomness })
}

fn produce(fields: &Fields<'_>, topics: u32, notes: &mut Vec<String>) -> Result<Produce, Problem> {
    let each: u32 = fields.number("producersPerTopic")?.unwrap_or(1);
    let rate: f64 = fields.number_needed("producerRate")?;
    let arrivals = if rate > 0.0 { Arrivals::Fixed } else { Arrivals::Max };
    if arrivals == Arrivals::Max {
        notes.push(
            "producerRate 0 became arrivals = \"max\": as fast as records are taken, whose latency says how deep \
             queues are; `sweep` finds the highest rate that holds"
                .into(),
        );
    }
    Ok(Produce {
        producers: topics.saturating_mul(each),
        arrivals,
        rate: (arrivals == Arrivals::Fixed).then_some(rate),
        ..Produce::default()
    })
}

fn consume(fields: &Fields<'_>, record_bytes: u32, notes: &mut Vec<String>) -> Result<Consume, Problem> {
    let consumers = fields.number("subscriptionsPerTopic")?.unwrap_or(1);
    let members: u32 = fields.number("consumerPerSubscription")?.unwrap_or(1);
    if members > 1 && consumers > 0 {
        notes.push(format!(
            "consumerPerSubscription {members}: each subscription is one consumer here, which reads all partitions"
        ));
    }
    let backlog_gib: u64 = fields.number("consumerBacklogSizeGB")?.unwrap_or(0);
    let backlog_records = backlog_gib.saturating_mul(1 << 30) / u64::from(record_bytes.max(1));
    if backlog_records > 0 {
        notes.push(format!(
            "consumerBacklogSizeGB {backlog_gib}: {backlog_records} records are written before; the run ends when \
             its time is over, not when they are read"
        ));
    }
    let from = if backlog_records > 0 { From::Beginning } else { From::End };
    Ok(Consume { consumers, from, backlog_records, ..Consume::default() })
}

/// A file's settings.
struct Fields<'a> {
    path: &'a str,
    entries: Vec<Entry>,
}

const KNOWN: &[&str] = &[
    "name",
    "topics",
    "partitionsPerTopic",
    "messageSize",
    "useRandomizedPayloads",
    "randomBytesRatio",
    "payloadFile",
    "keyDistributor",
    "subscriptionsPerTopic",
    "consumerPerSubscription",
    "producersPerTopic",
    "producerRate",
    "consumerBacklogSizeGB",
    "testDurationMinutes",
    "warmupDurationMinutes",
];

impl Fields<'_> {
    fn refuse_unknown(&self) -> Result<(), Problem> {
        let names = || KNOWN.iter().copied().chain(LEFT_OUT.iter().map(|(key, _)| *key));
        match self.entries.iter().find(|entry| !names().any(|name| name == entry.key)) {
            None => Ok(()),
            Some(entry) if entry.key == "driverClass" => {
                Err(self.problem(entry, "this is a driver's file: give it with --driver".into()))
            }
            Some(entry) => {
                let suggestion = toml_file::did_you_mean(&entry.key, names());
                Err(self.problem(entry, format!("unknown setting `{}`{suggestion}", entry.key)))
            }
        }
    }

    fn find(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    fn needed(&self, key: &str) -> Result<&Entry, Problem> {
        self.find(key).ok_or_else(|| Problem {
            path: self.path.to_owned(),
            line: 1,
            column: 1,
            message: format!("`{key}` is missing"),
        })
    }

    fn number_needed<N: std::str::FromStr>(&self, key: &str) -> Result<N, Problem> {
        self.needed(key).and_then(|entry| self.read(entry))
    }

    fn number<N: std::str::FromStr>(&self, key: &str) -> Result<Option<N>, Problem> {
        self.find(key).map(|entry| self.read(entry)).transpose()
    }

    fn read<N: std::str::FromStr>(&self, entry: &Entry) -> Result<N, Problem> {
        // YAML of Java's making may write 1_000_000.
        entry.value.replace('_', "").parse().map_err(|_| {
            self.problem(entry, format!("`{}`: `{}` is not a number that fits", entry.key, entry.value))
        })
    }

    fn boolean(&self, key: &str) -> Result<bool, Problem> {
        let Some(entry) = self.find(key) else { return Ok(false) };
        match entry.value.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(self.problem(entry, format!("`{key}`: `{other}` is neither true nor false"))),
        }
    }

    fn problem(&self, entry: &Entry, message: String) -> Problem {
        Problem { path: self.path.to_owned(), line: entry.line, column: 1, message }
    }
}

#[cfg(test)]
mod tests;
