//! Reads a segment batch by batch, verifies each, and makes its indexes anew.

use std::io;
use std::rc::Rc;

use protocol::records::batch::{BatchView, HEADER_BYTES, NO_TIMESTAMP};

use crate::Error;
use crate::config::LogConfig;
use crate::disk::{Class, File};
use crate::facts::Facts;
use crate::format::Damage;
use crate::segment::aborted_index::AbortedIndex;
use crate::segment::reader::{Step, Walk};
use crate::segment::writer::Place;
use crate::segment::{Indexes, Latest};

/// From where a scan goes, and what is known of what lies before.
pub(crate) struct Start {
    pub(crate) position: u32,
    pub(crate) expected: Expected,
    pub(crate) latest: Latest,
    pub(crate) indexes: Indexes,
}

/// Which batch should come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// One that begins with this offset.
    Next(i64),
    /// One that begins there or later: compaction took what was between.
    NextAfter(i64),
    /// One that ends with this offset: so says the index.
    Ending(i64),
}

/// What a scan found.
pub(crate) struct Scanned {
    /// Everything before it is whole batches in order.
    pub(crate) end: Place,
    pub(crate) latest: Latest,
    pub(crate) indexes: Indexes,
    /// Why it stopped there, if not because the bytes end.
    pub(crate) stop: Option<String>,
}

impl Start {
    pub(crate) fn at_the_beginning(base_offset: i64, config: &LogConfig) -> Self {
        let expected = Expected::next(base_offset, config);
        Self { position: 0, expected, latest: Latest::NONE, indexes: Indexes::new(base_offset, config) }
    }

    /// At the last batch below `offset` that the indexes know. What they say beyond is forgotten.
    pub(crate) fn in_the_index(mut indexes: Indexes, offset: i64) -> Option<Self> {
        indexes.offsets.truncate(offset);
        let (last_offset, position) = indexes.offsets.last()?;
        indexes.times.truncate(last_offset + 1);
        let latest = indexes.times.last();
        let latest = latest.map_or(Latest::NONE, |(timestamp, offset)| Latest { timestamp, offset });
        indexes.unindexed = 0;
        Some(Self { position, expected: Expected::Ending(last_offset), latest, indexes })
    }
}

impl Expected {
    pub(crate) fn next(offset: i64, config: &LogConfig) -> Self {
        if config.is_compacted { Self::NextAfter(offset) } else { Self::Next(offset) }
    }

    fn mismatch(self, batch: &Facts) -> Option<String> {
        let (first, last) = (batch.base_offset, batch.last_offset);
        match self {
            Self::Next(offset) if first != offset => Some(format!("offset {first} where {offset} belongs")),
            Self::NextAfter(offset) if first < offset => Some(format!("offset {first} after {offset}")),
            Self::Ending(offset) if last != offset => {
                Some(format!("last offset {last} where {offset} was indexed"))
            }
            _ => None,
        }
    }

    /// The offset that is surely passed when the scan stops before any batch.
    fn offset(self, base_offset: i64) -> i64 {
        match self {
            Self::Next(offset) | Self::NextAfter(offset) => offset,
            Self::Ending(_) => base_offset,
        }
    }
}

/// Scans from `start` to `stop`; `each` sees every good batch.
pub(crate) async fn scan(
    file: Rc<dyn File>,
    base_offset: i64,
    start: Start,
    stop: u32,
    config: &LogConfig,
    mut each: impl FnMut(&Facts, &mut AbortedIndex),
) -> io::Result<Scanned> {
    let Start { position, mut expected, latest, indexes } = start;
    let end = Place { position, offset: expected.offset(base_offset) };
    let mut scanned = Scanned { end, latest, indexes, stop: None };
    let mut walk = Walk::scan(file, position, stop);
    loop {
        let (position, bytes) = match walk.next().await? {
            Step::Batch { position, bytes } => (position, bytes),
            Step::End => return Ok(scanned),
            Step::Bad { found, .. } => {
                scanned.stop = Some(found);
                return Ok(scanned);
            }
        };
        let batch = match judge(&bytes, base_offset, expected) {
            Ok(batch) => batch,
            Err(stop) => {
                scanned.stop = Some(stop);
                return Ok(scanned);
            }
        };
        scanned.latest.see(&batch);
        scanned.indexes.see(&batch, position, scanned.latest);
        scanned.end = Place { position: position + batch.bytes, offset: batch.last_offset + 1 };
        expected = Expected::next(scanned.end.offset, config);
        each(&batch, &mut scanned.indexes.aborted);
    }
}

/// Whether this is the batch that belongs here.
fn judge(bytes: &[u8], base_offset: i64, expected: Expected) -> Result<Facts, String> {
    let batch = BatchView::parse(bytes).map_err(|error| error.to_string())?;
    batch.verify_crc().map_err(|error| error.to_string())?;
    let facts = Facts::of(&batch).ok_or("offsets out of range")?;
    if let Some(mismatch) = expected.mismatch(&facts) {
        return Err(mismatch);
    }
    if facts.last_offset - base_offset > i64::from(i32::MAX) {
        return Err(format!("offset {} in the segment of {base_offset}", facts.last_offset));
    }
    Ok(facts)
}

/// The indexes of a segment whose `bytes` are known to be good, apart from aborted transactions.
pub(crate) async fn index_segment(
    file: &Rc<dyn File>,
    path: &str,
    base_offset: i64,
    bytes: u32,
    config: &LogConfig,
) -> Result<Indexes, Error> {
    // Whether offsets are missing between batches is not asked here: they may once have been compacted.
    let expected = Expected::NextAfter(base_offset);
    let start = Start { expected, ..Start::at_the_beginning(base_offset, config) };
    let lenient = LogConfig { is_compacted: true, ..config.clone() };
    let scanned = scan(Rc::clone(file), base_offset, start, bytes, &lenient, |_, _| {}).await;
    let scanned = scanned.map_err(|error| Error::io(path, error))?;
    match scanned.stop {
        None => Ok(scanned.indexes),
        Some(found) => Err(Damage::new(scanned.end.position as usize, found).at(path)),
    }
}

/// Indexes up to `gap`, from those that may lack the last part of it.
pub(crate) async fn complete_indexes(
    file: &Rc<dyn File>,
    path: &str,
    base_offset: i64,
    gap: Place,
    indexes: Indexes,
    config: &LogConfig,
) -> Result<Indexes, Error> {
    let lenient = LogConfig { is_compacted: true, ..config.clone() };
    if let Some(start) =
        Start::in_the_index(indexes, gap.offset).filter(|start| start.position < gap.position)
    {
        let scanned = scan(Rc::clone(file), base_offset, start, gap.position, &lenient, |_, _| {}).await;
        let scanned = scanned.map_err(|error| Error::io(path, error))?;
        if scanned.stop.is_none() {
            return Ok(scanned.indexes);
        }
    }
    index_segment(file, path, base_offset, gap.position, config).await
}

/// The largest timestamp of a segment's first batch; -1 if there is none.
pub(crate) async fn first_timestamp(file: &dyn File, path: &str) -> Result<i64, Error> {
    let bytes =
        file.read_at(0, HEADER_BYTES, Class::Background).await.map_err(|error| Error::io(path, error))?;
    // Only a hint for when to roll: a damaged header is found by whoever reads the batch.
    const MAX_TIMESTAMP_AT: usize = 35;
    let field = bytes.get(MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8);
    Ok(field.map_or(NO_TIMESTAMP, |field| i64::from_be_bytes(field.try_into().expect("eight bytes"))))
}
