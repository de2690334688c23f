//! `millstream produce`: lines in, records out.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use protocol::records::compression::Codec;

use self::form::Form;
use self::input::Input;
use self::sender::{Sender, Settings};
use super::client::{Brokers, Client};
use super::escapes::unescape;
use super::failure::Failure;
use super::progress::{Progress, Unit};

mod form;
mod input;
mod sender;

#[derive(clap::Args)]
#[command(
    after_help = "Each line is a record. Without --partition records with equal keys share a partition, chosen as \
Kafka's clients choose it. The command returns when the broker has acknowledged everything.

Examples:
  echo hello | millstream produce greetings
  millstream produce users -K : <<< 'alice:{\"age\": 30}'
  echo 'alice:' | millstream produce users -K : -Z                  # a tombstone
  millstream produce logs --file access.log -z zstd -H source=web
  millstream consume orders -e -J | millstream produce copy --json  # with keys, headers and times"
)]
pub(crate) struct Arguments {
    /// Where the records go; made if the broker may make topics (auto.create.topics.enable)
    topic: String,
    #[command(flatten)]
    brokers: Brokers,
    /// Read from a file instead of standard input; may be repeated
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Split each line into key and payload where this first stands; \t and \x1f are understood
    #[arg(short = 'K', long, value_name = "TEXT", value_parser = bytes, conflicts_with = "json")]
    key_delimiter: Option<Bytes>,
    /// The key of records that bring none
    #[arg(short, long, value_name = "TEXT")]
    key: Option<String>,
    /// A header for every record; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<Header>,
    /// Send everything to this partition
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(short = 'z', long, value_name = "CODEC", default_value = "none", value_parser = codec)]
    compression: Codec,
    /// When a record counts as written: all (replicas in sync have it), 1 (the leader has it) or 0 (nobody is asked)
    #[arg(long, default_value = "all", value_parser = acks, allow_hyphen_values = true)]
    acks: i16,
    /// Lines are JSON as `consume -J` writes it: key, payload, headers, partition, ts
    #[arg(long)]
    json: bool,
    /// Send empty payloads, and empty keys, as null
    #[arg(short = 'Z', long)]
    null: bool,
    /// Without a producer id: a retry may write a record twice
    #[arg(long)]
    no_idempotence: bool,
    /// How much to collect for one partition before it is sent
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 10)]
    batch_bytes: usize,
    /// Tell where each batch went
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Clone, Debug)]
struct Bytes(Vec<u8>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Header(Vec<u8>, Option<Vec<u8>>);

const ALL: i16 = -1;

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let form = Form {
        is_json: arguments.json,
        key_delimiter: arguments.key_delimiter.as_ref().map(|Bytes(bytes)| bytes.clone()),
        key: arguments.key.as_ref().map(|key| key.clone().into_bytes()),
        headers: arguments.headers.iter().map(|Header(name, value)| (name.clone(), value.clone())).collect(),
        partition: arguments.partition,
        is_empty_null: arguments.null,
    };
    let client = Client::connect(&arguments.brokers)?;
    let settings = Settings {
        codec: arguments.compression,
        acks: arguments.acks,
        is_idempotent: arguments.acks == ALL && !arguments.no_idempotence,
        batch_bytes: arguments.batch_bytes,
        is_verbose: arguments.verbose,
    };
    let mut sender = Sender::open(client, &arguments.topic, settings)?;
    let inputs = Input::all(&arguments.files)?;
    let is_quiet = arguments.verbose || arguments.files.is_empty();
    let mut progress = if is_quiet { Progress::hidden() } else { Progress::new(Unit::Bytes) };
    progress.expect(inputs.iter().map(Input::bytes).sum());
    for mut input in inputs {
        while let Some(line) = input.next_line()? {
            progress.advance(line.len() as u64 + 1);
            let parcel =
                form.parcel(line).map_err(|why| Failure::failed(format!("{}: {why}", input.place())))?;
            sender.push(&parcel)?;
            if input.would_wait() {
                sender.flush()?;
            }
        }
    }
    sender.flush()?;
    progress.finish();
    if arguments.verbose || io::stderr().is_terminal() {
        let (records, s) = (sender.sent(), if sender.sent() == 1 { "" } else { "s" });
        // Said for comfort only: the exit code says the same.
        let _ = writeln!(io::stderr(), "{records} record{s} to {}", arguments.topic);
    }
    Ok(())
}

fn bytes(text: &str) -> Result<Bytes, String> {
    match unescape(text)? {
        bytes if bytes.is_empty() => Err("an empty delimiter splits nothing".to_owned()),
        bytes => Ok(Bytes(bytes)),
    }
}

/// `NAME=VALUE`; without the sign the value is null.
fn header(text: &str) -> Result<Header, String> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    if name.is_empty() {
        return Err("expected NAME=VALUE".to_owned());
    }
    Ok(Header(name.as_bytes().to_vec(), value.map(|value| value.as_bytes().to_vec())))
}

fn codec(name: &str) -> Result<Codec, String> {
    Codec::from_name(name).ok_or_else(|| "expected none, gzip, snappy, lz4 or zstd".to_owned())
}

fn acks(text: &str) -> Result<i16, String> {
    match text {
        "all" | "-1" => Ok(ALL),
        "1" => Ok(1),
        "0" => Ok(0),
        _ => Err("expected all, 1 or 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_split_at_the_first_equals_sign() {
        let some = |value: &str| Some(value.as_bytes().to_vec());
        assert_eq!(header("a=b=c"), Ok(Header(b"a".to_vec(), some("b=c"))));
        assert_eq!(header("a="), Ok(Header(b"a".to_vec(), some(""))));
        assert_eq!(header("a"), Ok(Header(b"a".to_vec(), None)));
        assert!(header("=b").is_err());
    }

    #[test]
    fn acks_and_codecs_have_kafkas_names() {
        assert_eq!((acks("all"), acks("-1"), acks("1"), acks("0")), (Ok(-1), Ok(-1), Ok(1), Ok(0)));
        assert!(acks("2").is_err());
        assert_eq!(codec("zstd"), Ok(Codec::Zstd));
        assert!(codec("brotli").is_err());
    }
}
