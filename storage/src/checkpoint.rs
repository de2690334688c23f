//! Small facts that must survive, in Kafka's small text files: written aside, synced, renamed, folder synced.
//!
//! Parsers take any bytes and say which line is wrong.

use std::io;

use bytes::Bytes;
use protocol::ids::Uuid;

use crate::Error;
use crate::disk::{Class, Disk, Mode, Sync};
use crate::format::{
    ASIDE, CHECKPOINT_VERSION, CLEAN_SHUTDOWN_VERSION, Damage, META_PROPERTIES_VERSION,
    PARTITION_METADATA_VERSION,
};

/// A line of `recovery-point-`, `log-start-`, `replication-` and `cleaner-offset-checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionOffset {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

/// A line of `leader-epoch-checkpoint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    pub epoch: i32,
    pub start_offset: i64,
}

/// A line of `millstream-compacted`: a segment that compaction has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactedSegment {
    pub base_offset: i64,
    /// Where the segment behind it begins. Others that began before are replaced by it.
    pub next_offset: i64,
    pub bytes: u32,
    pub max_timestamp: i64,
    pub offset_of_max_timestamp: i64,
    /// Its files may not have their final names yet.
    pub is_pending: bool,
}

/// `meta.properties`: whose data directory this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    pub cluster_id: String,
    pub node_id: i32,
    /// Missing in directories formatted before directories had ids.
    pub directory_id: Option<Uuid>,
}

/// Replaces a file as a whole: after a crash it is the old or the new one. Its folder must exist.
pub async fn write_atomically(disk: &dyn Disk, path: &str, bytes: Vec<u8>) -> Result<(), Error> {
    let aside = format!("{path}{ASIDE}");
    let failed = |error| Error::io(path, error);
    let file = disk.open(&aside, Mode::BufferedCreate).await.map_err(failed)?;
    file.write_at(0, Bytes::from(bytes), Sync::Later, Class::Background).await.map_err(failed)?;
    // Order: content before name, or a crash leaves the name on an empty file.
    file.sync().await.map_err(failed)?;
    disk.rename(&aside, path).await.map_err(failed)?;
    disk.sync_dir(parent(path)).await.map_err(failed)
}

/// A small file, or None if there is none. One that is larger than `bytes_max` is not what it claims to be.
pub async fn read_whole(disk: &dyn Disk, path: &str, bytes_max: usize) -> Result<Option<Bytes>, Error> {
    let failed = |error| Error::io(path, error);
    let file = match disk.open(path, Mode::Buffered).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let len = file.len().await.map_err(failed)?;
    let Some(len) = usize::try_from(len).ok().filter(|len| *len <= bytes_max) else {
        return Err(
            Damage::new(bytes_max, format!("{len} bytes where at most {bytes_max} make sense")).at(path)
        );
    };
    let bytes = file.read_at(0, len, Class::Background).await.map_err(failed)?;
    if bytes.len() < len {
        return Err(Damage::new(bytes.len(), "the file ended while it was read").at(path));
    }
    Ok(Some(bytes))
}

pub fn parse_offsets(bytes: &[u8]) -> Result<Vec<PartitionOffset>, Damage> {
    parse_checkpoint(bytes, |line| {
        let [topic, partition, offset] = words(line)?;
        let partition = partition.parse().ok().filter(|partition: &i32| *partition >= 0)?;
        Some(PartitionOffset { topic: topic.to_owned(), partition, offset: offset.parse().ok()? })
    })
}

pub fn print_offsets(entries: &[PartitionOffset]) -> Vec<u8> {
    print_checkpoint(
        entries.iter().map(|entry| format!("{} {} {}\n", entry.topic, entry.partition, entry.offset)),
    )
}

pub fn parse_epochs(bytes: &[u8]) -> Result<Vec<EpochStart>, Damage> {
    parse_checkpoint(bytes, |line| {
        let [epoch, start_offset] = words(line)?;
        Some(EpochStart { epoch: epoch.parse().ok()?, start_offset: start_offset.parse().ok()? })
    })
}

pub fn print_epochs(entries: &[EpochStart]) -> Vec<u8> {
    print_checkpoint(entries.iter().map(|entry| format!("{} {}\n", entry.epoch, entry.start_offset)))
}

pub fn parse_compacted(bytes: &[u8]) -> Result<Vec<CompactedSegment>, Damage> {
    parse_checkpoint(bytes, |line| {
        let [base_offset, next_offset, bytes, max_timestamp, offset_of_max_timestamp, state] = words(line)?;
        let found = CompactedSegment {
            base_offset: base_offset.parse().ok().filter(|offset| *offset >= 0)?,
            next_offset: next_offset.parse().ok()?,
            bytes: bytes.parse().ok()?,
            max_timestamp: max_timestamp.parse().ok()?,
            offset_of_max_timestamp: offset_of_max_timestamp.parse().ok()?,
            is_pending: match state {
                PENDING => true,
                IN_PLACE => false,
                _ => return None,
            },
        };
        (found.base_offset < found.next_offset).then_some(found)
    })
}

pub fn print_compacted(entries: &[CompactedSegment]) -> Vec<u8> {
    print_checkpoint(entries.iter().map(|entry| {
        let CompactedSegment { base_offset, next_offset, bytes, max_timestamp, .. } = entry;
        let state = if entry.is_pending { PENDING } else { IN_PLACE };
        let offset_of_max = entry.offset_of_max_timestamp;
        format!("{base_offset} {next_offset} {bytes} {max_timestamp} {offset_of_max} {state}\n")
    }))
}

const PENDING: &str = "pending";
const IN_PLACE: &str = "in-place";

/// `partition.metadata`: the topic's id.
pub fn parse_partition_metadata(bytes: &[u8]) -> Result<Uuid, Damage> {
    let mut lines = Lines::of(bytes)?;
    let version = lines.next_with(|line| line.strip_prefix("version:")?.trim().parse::<u32>().ok())?;
    lines.check_version(version, PARTITION_METADATA_VERSION)?;
    let id = lines.next_with(|line| line.strip_prefix("topic_id:")?.trim().parse::<Uuid>().ok())?;
    if id.is_zero() {
        return Err(lines.wrong("a topic id that stands for none"));
    }
    Ok(id)
}

pub fn print_partition_metadata(topic_id: Uuid) -> Vec<u8> {
    format!("version: {PARTITION_METADATA_VERSION}\ntopic_id: {topic_id}").into_bytes()
}

/// Java properties, as far as Kafka uses them here. Unknown keys are skipped.
pub fn parse_meta_properties(bytes: &[u8]) -> Result<MetaProperties, Damage> {
    let mut lines = Lines::of(bytes)?;
    let (mut version, mut cluster_id, mut node_id, mut directory_id) = (None, None, None, None);
    while let Some(line) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { return Err(lines.wrong("not key=value")) };
        let value = value.trim().replace('\\', "");
        match key.trim_end() {
            "version" => version = Some(lines.number(&value)?),
            "node.id" => node_id = Some(lines.number(&value)?),
            "cluster.id" => cluster_id = Some(value),
            "directory.id" => {
                directory_id = Some(value.parse().map_err(|_| lines.wrong("not a directory id"))?)
            }
            _ => {}
        }
    }
    let missing = |name: &str| lines.wrong(&format!("{name} is missing"));
    lines.check_version(version.ok_or_else(|| missing("version"))?, META_PROPERTIES_VERSION)?;
    Ok(MetaProperties {
        cluster_id: cluster_id.ok_or_else(|| missing("cluster.id"))?,
        node_id: node_id.ok_or_else(|| missing("node.id"))?,
        directory_id,
    })
}

pub fn print_meta_properties(facts: &MetaProperties) -> Vec<u8> {
    let mut text = format!("cluster.id={}\n", facts.cluster_id);
    if let Some(directory_id) = facts.directory_id {
        text += &format!("directory.id={directory_id}\n");
    }
    text += &format!("node.id={}\nversion={META_PROPERTIES_VERSION}\n", facts.node_id);
    text.into_bytes()
}

/// `.kafka_cleanshutdown`: that the file is there says that the shutdown was clean. Its content is
/// the broker's epoch, if it is readable at all.
pub fn parse_clean_shutdown(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let fields = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let field = |name: &str| {
        let of_that_name = |field: &str| field.split_once(':').is_some_and(|(key, _)| key.trim() == name);
        let value = fields.split(',').find(|field| of_that_name(field))?.split_once(':')?.1;
        value.trim().parse::<i64>().ok()
    };
    (field("\"version\"")? == i64::from(CLEAN_SHUTDOWN_VERSION)).then(|| field("\"brokerEpoch\""))?
}

pub fn print_clean_shutdown(broker_epoch: i64) -> Vec<u8> {
    format!("{{\"version\":{CLEAN_SHUTDOWN_VERSION},\"brokerEpoch\":{broker_epoch}}}").into_bytes()
}

/// Version, count, and so many lines.
fn parse_checkpoint<T>(bytes: &[u8], entry: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Damage> {
    let mut lines = Lines::of(bytes)?;
    let version = lines.next_with(|line| line.trim().parse::<u32>().ok())?;
    lines.check_version(version, CHECKPOINT_VERSION)?;
    let count = lines.next_with(|line| line.trim().parse::<u32>().ok())?;
    // Collected as they come: the count is only compared, never trusted.
    let mut entries = Vec::new();
    while let Some(line) = lines.next() {
        entries.push(entry(line).ok_or_else(|| lines.wrong("not an entry"))?);
    }
    if entries.len() as u64 != u64::from(count) {
        return Err(lines.wrong(&format!("{} entries where {count} were announced", entries.len())));
    }
    Ok(entries)
}

fn print_checkpoint(lines: impl ExactSizeIterator<Item = String>) -> Vec<u8> {
    let head = format!("{CHECKPOINT_VERSION}\n{}\n", lines.len());
    lines.fold(head, |text, line| text + &line).into_bytes()
}

/// Exactly `N` words.
fn words<const N: usize>(line: &str) -> Option<[&str; N]> {
    let mut words = line.split_ascii_whitespace();
    let mut found = [""; N];
    for slot in &mut found {
        *slot = words.next()?;
    }
    words.next().is_none().then_some(found)
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Goes through lines and knows where it is.
struct Lines<'a> {
    rest: &'a str,
    number: u32,
    position: usize,
    next_position: usize,
}

impl<'a> Lines<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, Damage> {
        let rest =
            std::str::from_utf8(bytes).map_err(|error| Damage::new(error.valid_up_to(), "not text"))?;
        Ok(Self { rest, number: 0, position: 0, next_position: 0 })
    }

    fn next(&mut self) -> Option<&'a str> {
        self.position = self.next_position;
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.next_position += self.rest.len() - rest.len();
        self.rest = rest;
        self.number += 1;
        Some(line.strip_suffix('\r').unwrap_or(line))
    }

    fn next_with<T>(&mut self, parse: impl Fn(&'a str) -> Option<T>) -> Result<T, Damage> {
        let line = self.next().ok_or_else(|| self.wrong("the end where a line is missing"))?;
        parse(line).ok_or_else(|| self.wrong("not what this line holds"))
    }

    fn number<T: std::str::FromStr>(&self, text: &str) -> Result<T, Damage> {
        text.parse().map_err(|_| self.wrong("not a number"))
    }

    fn check_version(&self, found: u32, known: u32) -> Result<(), Damage> {
        if found == known { Ok(()) } else { Err(self.wrong(&format!("version {found}, known is {known}"))) }
    }

    fn wrong(&self, what: &str) -> Damage {
        Damage::new(self.position, format!("line {}: {what}", self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::{Executor, Fault, MemoryDisk, Operation};

    fn offset(topic: &str, partition: i32, offset: i64) -> PartitionOffset {
        PartitionOffset { topic: topic.to_owned(), partition, offset }
    }

    #[test]
    fn offsets_are_printed_as_kafka_does_and_read_back() {
        let entries = [offset("plain", 0, 300), offset("__consumer_offsets", 12, 0)];
        let text = print_offsets(&entries);
        assert_eq!(text, b"0\n2\nplain 0 300\n__consumer_offsets 12 0\n");
        assert_eq!(parse_offsets(&text).unwrap(), entries);
        assert_eq!(print_epochs(&[]), b"0\n0\n");
    }

    #[test]
    fn wrong_line_is_named() {
        let check = |text: &str, position, found: &str| {
            let damage = parse_offsets(text.as_bytes()).expect_err(text);
            assert_eq!((damage.position, damage.found.as_str()), (position, found), "{text:?}");
        };
        check("", 0, "line 0: the end where a line is missing");
        check("1\n0\n", 0, "line 1: version 1, known is 0");
        check("0\nx\n", 2, "line 2: not what this line holds");
        check("0\n2\na 0 1\nb 0\n", 10, "line 4: not an entry");
        check("0\n2\na 0 1\nb 0 1 9\n", 10, "line 4: not an entry");
        check("0\n2\na 0 1\nb -1 1\n", 10, "line 4: not an entry");
        check("0\n4294967295\na 0 1\n", 19, "line 3: 1 entries where 4294967295 were announced");
        check("0\n1\na 0 1\n\n", 10, "line 4: not an entry");
    }

    #[test]
    fn partition_metadata_holds_a_real_topic_id() {
        let id = Uuid([7; 16]);
        assert_eq!(parse_partition_metadata(&print_partition_metadata(id)), Ok(id));
        let zero = print_partition_metadata(Uuid::ZERO);
        assert_eq!(
            parse_partition_metadata(&zero).unwrap_err().found,
            "line 2: a topic id that stands for none"
        );
    }

    #[test]
    fn meta_properties_are_read_whatever_else_is_in_them() {
        let facts =
            MetaProperties { cluster_id: "a:b".to_owned(), node_id: 4, directory_id: Some(Uuid([9; 16])) };
        assert_eq!(parse_meta_properties(&print_meta_properties(&facts)).unwrap(), facts);
        let text = "#\r\n!x\n\nother=1\nversion=1\n cluster.id = a\\:b\nnode.id=4\n";
        let found = parse_meta_properties(text.as_bytes()).unwrap();
        assert_eq!(found, MetaProperties { directory_id: None, ..facts });
        let error = parse_meta_properties(b"version=1\nnode.id=4\n").unwrap_err();
        assert!(error.found.contains("cluster.id is missing"), "{error}");
        assert!(parse_meta_properties(b"version=0\nbroker.id=4\ncluster.id=x\nnode.id=1").is_err());
    }

    #[test]
    fn clean_shutdown_tells_the_broker_epoch_if_it_can() {
        assert_eq!(parse_clean_shutdown(&print_clean_shutdown(14)), Some(14));
        assert_eq!(parse_clean_shutdown(b" { \"brokerEpoch\" : -1, \"version\" : 0 } "), Some(-1));
        for text in ["", "{}", "{\"version\":1,\"brokerEpoch\":14}", "{\"version\":0}", "{:,:}"] {
            assert_eq!(parse_clean_shutdown(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn file_is_the_old_or_the_new_one_whenever_the_power_fails() {
        for seed in 0..300 {
            let disk = MemoryDisk::new(seed);
            disk.put("t-0/facts", b"old");
            let executor = Executor::new(seed);
            let theirs = disk.clone();
            executor.spawn(async move {
                write_atomically(&theirs, "t-0/facts", b"new".to_vec()).await.unwrap();
            });
            let is_done = !executor.run_for(seed % 40);
            let found = disk.crash(seed).contents("t-0/facts").expect("never gone");
            assert!(found == b"new" || (found == b"old" && !is_done), "seed {seed}: {found:?}");
        }
    }

    #[test]
    fn failed_step_leaves_the_old_file() {
        for operation in [Operation::Open, Operation::Write, Operation::Sync, Operation::Rename] {
            let disk = MemoryDisk::new(1);
            disk.put("facts", b"old");
            disk.fail(Fault::on(operation));
            let result = Executor::new(1).block_on(write_atomically(&disk, "facts", b"new".to_vec()));
            assert!(matches!(result, Err(Error::Io { .. })), "{operation:?}");
            assert_eq!(disk.contents("facts").unwrap(), b"old");
        }
    }

    #[test]
    fn whole_file_is_read_up_to_the_limit_only() {
        let disk = MemoryDisk::new(1);
        disk.put("facts", b"12345");
        let read = |path: &'static str, limit| {
            let disk = disk.clone();
            Executor::new(1).block_on(async move { read_whole(&disk, path, limit).await })
        };
        assert_eq!(read("facts", 5).unwrap().unwrap(), "12345");
        assert!(matches!(read("facts", 4), Err(Error::Corrupt { .. })));
        assert_eq!(read("none", 4).unwrap(), None);
    }
}
