//! Names, versions and sizes of every file in a data directory: the one place where a format changes.
//!
//! All but the catalogue and the commit log are Apache Kafka's own, byte for byte.

use std::fmt;

use crate::Error;

/// Positions in a segment are 32-bit signed in Kafka's files, so no segment is larger.
pub const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;
/// Digits of an offset in a file name.
const OFFSET_DIGITS: usize = 20;

pub const OFFSET_INDEX_ENTRY_BYTES: usize = 8;
pub const TIME_INDEX_ENTRY_BYTES: usize = 12;
pub const ABORTED_INDEX_ENTRY_BYTES: usize = 34;
pub const ABORTED_INDEX_VERSION: i16 = 0;

pub const SNAPSHOT_VERSION: i16 = 1;
/// Version, CRC and count.
pub const SNAPSHOT_HEADER_BYTES: usize = 10;
pub const SNAPSHOT_ENTRY_BYTES: usize = 46;

/// Of all `*-checkpoint` files.
pub const CHECKPOINT_VERSION: u32 = 0;
pub const PARTITION_METADATA_VERSION: u32 = 0;
pub const META_PROPERTIES_VERSION: u32 = 1;
pub const CLEAN_SHUTDOWN_VERSION: u32 = 0;

pub const CATALOGUE_MAGIC: [u8; 8] = *b"MSTRMCAT";
/// Raise it whenever an archived type of `catalogue` changes. An older file is rebuilt, never converted.
pub const CATALOGUE_VERSION: u32 = 1;

pub const COMMIT_LOG_MAGIC: [u8; 8] = *b"MSTRMCMT";
pub const COMMIT_LOG_VERSION: u32 = 1;

/// In a partition's folder.
pub const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
pub const PARTITION_METADATA: &str = "partition.metadata";

/// Ours: which segments compaction has made, as they are.
pub const COMPACTED: &str = "millstream-compacted";
/// A line a segment.
pub(crate) const COMPACTED_BYTES_MAX: usize = 16 << 20;

/// In the data directory.
pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
pub const LOG_STARTS: &str = "log-start-offset-checkpoint";
pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
pub const CLEANER_OFFSETS: &str = "cleaner-offset-checkpoint";
pub const META_PROPERTIES: &str = "meta.properties";
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// There while the last run may have shown records that a power cut takes back.
pub const UNSYNCED: &str = ".millstream_unsynced";
pub const LOCK: &str = ".lock";
/// The metadata log's folder when Kafka itself keeps one here; not a partition of ours.
pub const METADATA_LOG: &str = "__cluster_metadata-0";

/// Where a file is written before it takes its real name.
pub const ASIDE: &str = ".tmp";

/// Where compaction writes a segment, and its name until the old ones have lost theirs.
pub(crate) const CLEANED: &str = ".cleaned";
pub(crate) const SWAP: &str = ".swap";
/// Of a file that belongs to nothing any more.
pub(crate) const DELETED: &str = ".deleted";

/// What a file of a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SegmentFile {
    Log,
    OffsetIndex,
    TimeIndex,
    AbortedIndex,
    Snapshot,
}

/// What is to become of a file: the last part of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    InUse,
    /// Marked; nobody refers to it any more.
    Deleted,
    /// Compaction was writing it; worthless after a crash.
    Cleaned,
    /// Compaction finished it; a crash came before the old ones were removed.
    Swap,
}

const SUFFIXES: [(SegmentFile, &str); 5] = [
    (SegmentFile::Log, "log"),
    (SegmentFile::OffsetIndex, "index"),
    (SegmentFile::TimeIndex, "timeindex"),
    (SegmentFile::AbortedIndex, "txnindex"),
    (SegmentFile::Snapshot, "snapshot"),
];

const FATES: [(Fate, &str); 4] =
    [(Fate::InUse, ""), (Fate::Deleted, DELETED), (Fate::Cleaned, CLEANED), (Fate::Swap, SWAP)];

/// `00000000000000000042.timeindex` and the like.
pub fn segment_file_name(base_offset: i64, file: SegmentFile) -> String {
    let suffix = SUFFIXES.iter().find(|(kind, _)| *kind == file).map_or("", |(_, suffix)| *suffix);
    format!("{base_offset:0OFFSET_DIGITS$}.{suffix}")
}

/// The opposite of [`segment_file_name`]; None for a name that belongs to no segment.
pub fn parse_segment_file_name(name: &str) -> Option<(i64, SegmentFile, Fate)> {
    let (digits, rest) = name.split_once('.')?;
    if digits.len() != OFFSET_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let offset = digits.parse().ok()?;
    let (suffix, fate) = rest.find('.').map_or((rest, ""), |dot| rest.split_at(dot));
    let (file, _) = SUFFIXES.iter().find(|(_, known)| *known == suffix)?;
    let (fate, _) = FATES.iter().find(|(_, known)| *known == fate)?;
    Some((offset, *file, *fate))
}

/// Why bytes are not what a file of this kind holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub position: u64,
    pub found: String,
}

impl Damage {
    pub fn new(position: usize, found: impl Into<String>) -> Self {
        Self { position: position as u64, found: found.into() }
    }

    /// The error to report, once the file is known.
    pub fn at(self, path: &str) -> Error {
        Error::Corrupt { path: path.to_owned(), position: self.position, found: self.found }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.position, self.found)
    }
}

impl std::error::Error for Damage {}

/// A big-endian number at a place whose bounds were checked.
pub(crate) fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of that length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_names_are_kafkas() {
        assert_eq!(segment_file_name(252, SegmentFile::TimeIndex), "00000000000000000252.timeindex");
        assert_eq!(segment_file_name(i64::MAX, SegmentFile::Log), "09223372036854775807.log");
        for (file, _) in SUFFIXES {
            let name = segment_file_name(7, file);
            assert_eq!(parse_segment_file_name(&name), Some((7, file, Fate::InUse)));
            assert_eq!(parse_segment_file_name(&format!("{name}.deleted")), Some((7, file, Fate::Deleted)));
        }
        let swap = parse_segment_file_name("00000000000000000000.log.swap");
        assert_eq!(swap, Some((0, SegmentFile::Log, Fate::Swap)));
        for name in [
            "0.log",
            "00000000000000000000",
            "00000000000000000000.checkpoint",
            "00000000000000000000-0000000000.checkpoint",
            "99999999999999999999.log",
            "+0000000000000000000.log",
            "00000000000000000000.log.other",
            LEADER_EPOCHS,
        ] {
            assert_eq!(parse_segment_file_name(name), None, "{name}");
        }
    }
}
