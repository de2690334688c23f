//! One partition's folder: segments in order, and the files that speak about all of them.

use std::path::{Path, PathBuf};

use protocol::ids::Uuid;
use storage::checkpoint;
use storage::data_dir::parse_folder_name;
use storage::format::{self, Fate, SegmentFile, parse_segment_file_name};
use storage::leader_epochs::LeaderEpochs;
use storage::producers::decode_snapshot;

use super::segment::{Segment, Walk};
use super::{Findings, Severity, listed, name};
use crate::cli::failure::Failure;
use crate::cli::log::read;

pub(super) struct Partition {
    folder: PathBuf,
    /// Those in use, by name, and so by base offset.
    files: Vec<(i64, SegmentFile, PathBuf)>,
}

/// Below which offsets everything must be as it was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    /// The broker stopped in order: everything is settled.
    pub(super) is_clean: bool,
    pub(super) recovery_point: i64,
    pub(super) high_watermark: i64,
    /// Compaction may have taken records out below.
    pub(super) cleaned_before: i64,
    /// Only the folder is there, not the directory that would tell.
    pub(super) is_alone: bool,
}

impl Settled {
    /// Whether what ends before this offset was flushed and acknowledged.
    pub(super) fn covers(&self, end_offset: i64) -> bool {
        self.is_clean || end_offset <= self.recovery_point.max(self.high_watermark)
    }

    /// How bad it is if what ends before this offset is not as it should be.
    pub(super) fn severity(&self, end_offset: i64) -> Severity {
        if self.covers(end_offset) { Severity::Damage } else { Severity::Note }
    }
}

impl Partition {
    pub(super) fn open(folder: &Path) -> Result<Self, Failure> {
        let mut files = Vec::new();
        for path in listed(folder)? {
            // What compaction or retention set aside belongs to nobody any more.
            if let Some((base_offset, file, Fate::InUse)) = parse_segment_file_name(name(&path)) {
                files.push((base_offset, file, path));
            }
        }
        Ok(Self { folder: folder.to_owned(), files })
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &(i64, SegmentFile, PathBuf)> {
        self.files.iter()
    }

    pub(super) fn id(&self) -> Option<(String, i32)> {
        parse_folder_name(name(&self.folder)).map(|folder| (folder.topic, folder.partition))
    }

    pub(super) fn verify(
        &self,
        settled: &Settled,
        is_deep: bool,
        findings: &mut Findings<'_>,
    ) -> Result<(), Failure> {
        findings.partitions += 1;
        self.check_topic_id(findings)?;
        let epochs = self.leader_epochs(findings)?;
        let logs: Vec<(i64, &Path)> = self
            .files()
            .filter(|(_, file, _)| *file == SegmentFile::Log)
            .map(|(base_offset, _, path)| (*base_offset, path.as_path()))
            .collect();
        let mut walk = Walk::new(*settled, epochs, is_deep);
        for (at, (base_offset, path)) in logs.iter().enumerate() {
            findings.segments += 1;
            let segment = Segment {
                base_offset: *base_offset,
                log: path,
                offset_index: self.file(*base_offset, SegmentFile::OffsetIndex),
                time_index: self.file(*base_offset, SegmentFile::TimeIndex),
                aborted_index: self.file(*base_offset, SegmentFile::AbortedIndex),
                next_base_offset: logs.get(at + 1).map(|(next, _)| *next),
            };
            segment.verify(&mut walk, findings)?;
        }
        if let (Some((_, last)), Some(end)) = (logs.last(), walk.end_offset())
            && end < settled.recovery_point
        {
            let what =
                format!("ends at offset {end}, but {} was on stable storage", settled.recovery_point - 1);
            findings.damage(last, None, &what)?;
        }
        self.check_orphans(&logs, findings)?;
        self.check_snapshots(settled, findings)
    }

    fn file(&self, base_offset: i64, file: SegmentFile) -> Option<&Path> {
        let found = self.files().find(|(offset, kind, _)| (*offset, *kind) == (base_offset, file));
        found.map(|(_, _, path)| path.as_path())
    }

    pub(super) fn has_topic_id(&self, id: Uuid) -> bool {
        let text = read(&self.folder.join(format::PARTITION_METADATA));
        text.is_ok_and(|text| checkpoint::parse_partition_metadata(&text).is_ok_and(|found| found == id))
    }

    fn check_topic_id(&self, findings: &mut Findings<'_>) -> Result<(), Failure> {
        let path = self.folder.join(format::PARTITION_METADATA);
        if !path.exists() {
            return Ok(());
        }
        match checkpoint::parse_partition_metadata(&read(&path)?) {
            Ok(_) => Ok(()),
            Err(damage) => findings.damage(&path, Some(damage.position), &damage.found),
        }
    }

    /// `None` if the file is not there or says nothing that can be relied on.
    fn leader_epochs(&self, findings: &mut Findings<'_>) -> Result<Option<LeaderEpochs>, Failure> {
        let path = self.folder.join(format::LEADER_EPOCHS);
        if !path.exists() {
            return Ok(None);
        }
        match checkpoint::parse_epochs(&read(&path)?) {
            Ok(entries) => {
                let epochs = LeaderEpochs::new(entries.iter().copied());
                if epochs.entries() == entries {
                    return Ok(Some(epochs));
                }
                findings.damage(&path, None, "epochs and their first offsets do not rise")?;
                Ok(None)
            }
            Err(damage) => {
                findings.damage(&path, Some(damage.position), &damage.found)?;
                Ok(None)
            }
        }
    }

    fn check_orphans(&self, logs: &[(i64, &Path)], findings: &mut Findings<'_>) -> Result<(), Failure> {
        for (base_offset, file, path) in self.files() {
            let needs_log =
                matches!(file, SegmentFile::OffsetIndex | SegmentFile::TimeIndex | SegmentFile::AbortedIndex);
            if needs_log && !logs.iter().any(|(offset, _)| offset == base_offset) {
                findings.note(path, None, "an index without its segment")?;
            }
        }
        Ok(())
    }

    fn check_snapshots(&self, settled: &Settled, findings: &mut Findings<'_>) -> Result<(), Failure> {
        for (offset, _, path) in self.files().filter(|(_, file, _)| *file == SegmentFile::Snapshot) {
            if let Err(damage) = decode_snapshot(&read(path)?) {
                findings.found(settled.severity(*offset), path, Some(damage.position), &damage.found)?;
            }
        }
        Ok(())
    }
}
