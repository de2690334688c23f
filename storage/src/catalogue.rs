//! What there is in a data directory, so that opening 100,000 segments reads one file per core.
//!
//! `millstream-catalogue-<core>` holds one frame per partition: segments, epochs, producers, recovery point. It only
//! saves time: a missing, torn or foreign one is rebuilt from the logs.
//!
//! What its users keep to, so that an entry is never wrong:
//! - The log writes a new entry before it cuts itself below the recovery point or swaps segments.
//! - An entry counts as clean only under the [`Seal`] that the clean-shutdown marker confirms; the
//!   marker is removed, durably, before the first append.
//! - Partitions change cores only across a restart: all files of the new layout are written and those of
//!   cores that are gone removed before anything is served. Until then two files may name a
//!   partition, and both are right.

mod entry;
mod file;

pub use self::entry::{Entry, Epoch, ProducerState, RecoveryPoint, SavedBatch, Segment};
pub use self::file::{Decoded, Frame, Header, Seal, decode, encode, file_name, parse_file_name};

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::ids::Uuid;

use crate::Error;
use crate::checkpoint::read_whole;
use crate::disk::{Class, Disk, Mode, Sync};
use crate::format::{ASIDE, Damage};

/// What the catalogues of all cores say together.
#[derive(Debug, Default)]
pub struct Known {
    /// By topic and partition.
    pub entries: BTreeMap<(String, i32), Entry>,
    /// What all files that were read agree on, if they do.
    pub seal: Option<Seal>,
    /// The cores that left a file.
    pub cores: Vec<u32>,
    /// Above that of any file: the first of this run.
    pub next_sequence: u64,
    /// Files, or parts of them, that could not be used. Their partitions are opened the long way.
    pub unusable: Vec<(String, Damage)>,
}

impl Known {
    /// Joins the files of several cores. Of two entries of one partition the one written later counts.
    pub fn merge(files: impl IntoIterator<Item = (String, Result<Decoded, Damage>)>) -> Self {
        let mut known = Self::default();
        let mut sequences = BTreeMap::new();
        let mut seals = Vec::new();
        for (name, decoded) in files {
            known.cores.extend(parse_file_name(&name));
            let decoded = match decoded {
                Ok(decoded) => decoded,
                Err(damage) => {
                    known.unusable.push((name, damage));
                    continue;
                }
            };
            let sequence = decoded.header.sequence;
            known.next_sequence = known.next_sequence.max(sequence.saturating_add(1));
            seals.push(decoded.header.seal);
            known.unusable.extend(decoded.damage.map(|damage| (name, damage)));
            for entry in decoded.entries {
                let key = (entry.topic.clone(), entry.partition);
                if sequences.get(&key).is_none_or(|held| *held < sequence) {
                    sequences.insert(key.clone(), sequence);
                    known.entries.insert(key, entry);
                }
            }
        }
        known.cores.sort_unstable();
        let first = seals.first().copied().flatten();
        known.seal = first.filter(|first| seals.iter().all(|seal| *seal == Some(*first)));
        known
    }
}

/// Reads what all cores left in this directory. Fails only if the medium does.
pub async fn read_all(disk: &dyn Disk, directory_id: Uuid) -> Result<Known, Error> {
    let mut files = Vec::new();
    for entry in disk.list("").await.map_err(|error| Error::io("", error))? {
        if entry.is_dir || parse_file_name(&entry.name).is_none() {
            continue;
        }
        let decoded = match read_whole(disk, &entry.name, FILE_BYTES_MAX).await {
            Ok(bytes) => decode(&bytes.unwrap_or_default(), directory_id),
            Err(Error::Corrupt { position, found, .. }) => Err(Damage { position, found }),
            Err(error) => return Err(error),
        };
        files.push((entry.name, decoded));
    }
    Ok(Known::merge(files))
}

/// Replaces one core's file. Goes in pieces, so that other work gets its turn between them; frames of
/// partitions that did not change can be kept and given again.
pub async fn write(disk: &dyn Disk, header: &Header, frames: &[Frame]) -> Result<(), Error> {
    let path = file_name(header.core);
    let aside = format!("{path}{ASIDE}");
    let failed = |error| Error::io(&path, error);
    let file = disk.open(&aside, Mode::BufferedCreate).await.map_err(failed)?;
    let mut position = 0;
    let mut piece = encode(header, frames);
    let mut frames = frames.iter();
    loop {
        let next = frames.next();
        let is_full = piece.len() >= PIECE_BYTES;
        if is_full || (next.is_none() && !piece.is_empty()) {
            let bytes = Bytes::from(std::mem::take(&mut piece));
            let written = bytes.len() as u64;
            file.write_at(position, bytes, Sync::Later, Class::Background).await.map_err(failed)?;
            position += written;
        }
        let Some(frame) = next else { break };
        piece.extend_from_slice(frame.as_bytes());
    }
    // Order: content before name, or a crash leaves the name on half a file.
    file.sync().await.map_err(failed)?;
    disk.rename(&aside, &path).await.map_err(failed)?;
    disk.sync_dir("").await.map_err(failed)
}

/// Far above what 100,000 partitions need; more is not a catalogue.
const FILE_BYTES_MAX: usize = 1 << 30;
const PIECE_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests;
