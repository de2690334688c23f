//! A data directory: its partitions, and how far each of them is known to be settled.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use protocol::ids::Uuid;
use storage::catalogue::{self, Known};
use storage::checkpoint;
use storage::data_dir::{FolderState, parse_folder_name};
use storage::format::{self, Damage, SegmentFile, parse_segment_file_name};

use super::partition::{Partition, Settled};
use super::{Findings, listed, locked, name, unreadable};
use crate::cli::failure::Failure;
use crate::cli::log::read;
use crate::server::dir_lock::DirLock;

pub(super) struct Directory {
    path: PathBuf,
    partitions: Vec<Partition>,
    /// False for the folder of a single partition, whose directory is somewhere else.
    is_whole: bool,
    _lock: Option<DirLock>,
}

type Offsets = BTreeMap<(String, i32), i64>;

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        if !path.is_dir() {
            let what = if path.exists() { "is no directory" } else { "does not exist" };
            return Err(Failure::failed(format!("{} {what}", path.display())));
        }
        let entries = listed(path)?;
        let has_segments = entries.iter().any(|entry| parse_segment_file_name(name(entry)).is_some());
        let folders: Vec<PathBuf> = if has_segments {
            vec![path.to_owned()]
        } else {
            entries.into_iter().filter(|entry| entry.is_dir() && is_partition(name(entry))).collect()
        };
        let is_whole = !has_segments;
        if folders.is_empty() && !path.join(format::META_PROPERTIES).exists() {
            let text = format!("{} holds neither partitions nor meta.properties", path.display());
            return Err(
                Failure::failed(text).next("name a data directory (log.dirs) or the folder of a partition")
            );
        }
        let lock = if is_whole {
            locked(path)?
        } else {
            let path = path.canonicalize().map_err(|error| unreadable(path, &error))?;
            path.parent().map(locked).transpose()?.flatten()
        };
        let partitions = folders.iter().map(|folder| Partition::open(folder)).collect::<Result<_, _>>()?;
        Ok(Self { path: path.to_owned(), partitions, is_whole, _lock: lock })
    }

    pub(super) fn log_bytes(&self) -> Result<u64, Failure> {
        let files = self
            .partitions
            .iter()
            .flat_map(Partition::files)
            .filter(|(_, file, _)| *file == SegmentFile::Log);
        let bytes = |path: &Path| {
            fs::metadata(path).map(|facts| facts.len()).map_err(|error| unreadable(path, &error))
        };
        files.map(|(_, _, path)| bytes(path)).sum()
    }

    pub(super) fn verify(&self, is_deep: bool, findings: &mut Findings<'_>) -> Result<(), Failure> {
        let is_clean = self.path.join(format::CLEAN_SHUTDOWN).exists();
        let recovered = self.offsets(format::RECOVERY_POINTS, findings)?;
        let replicated = self.offsets(format::HIGH_WATERMARKS, findings)?;
        let cleaned = self.offsets(format::CLEANER_OFFSETS, findings)?;
        self.offsets(format::LOG_STARTS, findings)?;
        let directory_id = self.identity(findings)?;
        let catalogue = self.catalogue(directory_id, findings)?;
        // A broker that keeps a catalogue writes Kafka's checkpoints when it stops. Later they may speak of a topic that was
        // deleted and made anew.
        let has_checkpoints = is_clean || catalogue.cores.is_empty();
        for partition in &self.partitions {
            let id = partition.id();
            let known = |offsets: &Offsets| id.as_ref().and_then(|id| offsets.get(id).copied());
            let current = |offsets| known(offsets).filter(|_| has_checkpoints);
            let entry = id.as_ref().and_then(|id| catalogue.entries.get(id));
            let listed = entry.filter(|entry| partition.has_topic_id(Uuid(entry.topic_id)));
            let settled = Settled {
                is_clean,
                recovery_point: current(&recovered)
                    .max(listed.map(|entry| entry.recovery.offset))
                    .unwrap_or(0),
                high_watermark: current(&replicated).unwrap_or(0),
                cleaned_before: known(&cleaned).unwrap_or(0),
                is_alone: !self.is_whole,
            };
            partition.verify(&settled, is_deep, findings)?;
        }
        Ok(())
    }

    fn identity(&self, findings: &mut Findings<'_>) -> Result<Uuid, Failure> {
        let path = self.path.join(format::META_PROPERTIES);
        if !self.is_whole {
            return Ok(Uuid::ZERO);
        }
        if !path.exists() {
            findings.note(&path, None, "is missing: the directory does not say whose it is")?;
            return Ok(Uuid::ZERO);
        }
        match checkpoint::parse_meta_properties(&read(&path)?) {
            Ok(facts) => Ok(facts.directory_id.unwrap_or(Uuid::ZERO)),
            Err(damage) => {
                findings.damage(&path, Some(damage.position), &damage.found)?;
                Ok(Uuid::ZERO)
            }
        }
    }

    /// What was on stable storage when the broker last took stock.
    fn catalogue(&self, directory_id: Uuid, findings: &mut Findings<'_>) -> Result<Known, Failure> {
        let mut files = Vec::new();
        for path in listed(&self.path)?.iter().filter(|path| catalogue::parse_file_name(name(path)).is_some())
        {
            files.push((name(path).to_owned(), catalogue::decode(&read(path)?, directory_id)));
        }
        let known = Known::merge(files);
        for (file, damage) in &known.unusable {
            let what = format!("{}; the next start makes it anew", damage.found);
            findings.note(&self.path.join(file), Some(damage.position), &what)?;
        }
        Ok(known)
    }

    /// A checkpoint file; empty if it is not there or damaged.
    fn offsets(&self, file: &str, findings: &mut Findings<'_>) -> Result<Offsets, Failure> {
        let path = self.path.join(file);
        if !self.is_whole || !path.exists() {
            return Ok(Offsets::new());
        }
        match checkpoint::parse_offsets(&read(&path)?) {
            Ok(entries) => {
                Ok(entries.into_iter().map(|entry| ((entry.topic, entry.partition), entry.offset)).collect())
            }
            Err(Damage { position, found }) => {
                findings.damage(&path, Some(position), &found)?;
                Ok(Offsets::new())
            }
        }
    }
}

fn is_partition(name: &str) -> bool {
    parse_folder_name(name).is_some_and(|folder| folder.state == FolderState::InUse)
}
