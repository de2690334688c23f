//! One segment: every batch in order, and its indexes beside it.

use std::path::Path;
use std::rc::Rc;

use protocol::records::batch::BatchView;
use protocol::records::compression::Decompressor;
use storage::disk::File;
use storage::leader_epochs::LeaderEpochs;
use storage::log::LogConfig;
use storage::recovery::{Place, Verdict, judge};

use super::indexes::Indexes;
use super::partition::Settled;
use super::{Findings, Severity, unreadable};
use crate::cli::UNPACKED_BYTES_MAX;
use crate::cli::failure::Failure;
use crate::cli::log::batches::{BatchFile, Next, Stopped};
use crate::cli::log::plain_file::{PlainFile, finished};

pub(super) struct Segment<'a> {
    pub(super) base_offset: i64,
    pub(super) log: &'a Path,
    pub(super) offset_index: Option<&'a Path>,
    pub(super) time_index: Option<&'a Path>,
    pub(super) aborted_index: Option<&'a Path>,
    /// `None` for the last segment, which is still written to.
    pub(super) next_base_offset: Option<i64>,
}

/// What is known of a partition while its segments are walked.
pub(super) struct Walk {
    pub(super) settled: Settled,
    epochs: Option<LeaderEpochs>,
    is_deep: bool,
    decompressor: Decompressor,
    /// The offset that comes next; `None` before the first batch and behind a place where reading stopped.
    next_offset: Option<i64>,
    epoch: i32,
}

const UNFINISHED: &str = "an append that was never finished; the next start removes it";

impl Walk {
    pub(super) fn new(settled: Settled, epochs: Option<LeaderEpochs>, is_deep: bool) -> Self {
        Self { settled, epochs, is_deep, decompressor: Decompressor::new(), next_offset: None, epoch: -1 }
    }

    /// Behind the last batch, if all could be read.
    pub(super) fn end_offset(&self) -> Option<i64> {
        self.next_offset
    }
}

impl Segment<'_> {
    pub(super) fn verify(&self, walk: &mut Walk, findings: &mut Findings<'_>) -> Result<(), Failure> {
        let failed = |error| unreadable(self.log, &error);
        let mut indexes = Indexes::open(self, walk, findings)?;
        let mut file = BatchFile::open(self.log).map_err(failed)?;
        if walk.next_offset.is_some_and(|next| next > self.base_offset) {
            let what =
                format!("begins at offset {} although the segment before it goes on", self.base_offset);
            findings.damage(self.log, None, &what)?;
        }
        walk.next_offset = walk.next_offset.or(Some(self.base_offset));
        loop {
            match file.next().map_err(failed)? {
                Next::Batch(position, batch) => {
                    findings.progress.advance(batch.batch_len() as u64);
                    if let Err(error) = batch.verify_crc() {
                        match self.verdict(position, &error.to_string(), walk)? {
                            Verdict::Damaged(what) => findings.damage(self.log, Some(position), &what)?,
                            Verdict::Torn => {
                                findings.note(self.log, Some(position), &format!("{error}: {UNFINISHED}"))?;
                                break;
                            }
                        }
                        // Nothing that it says can be relied on, but its length leads to the next one.
                        walk.next_offset = None;
                    } else {
                        self.check_batch(position, &batch, walk, findings)?;
                        walk.next_offset = Some(batch.next_offset());
                    }
                    indexes.pass(position, &batch, findings)?;
                }
                Next::End => break,
                Next::Stopped(stopped) => {
                    findings.progress.advance(stopped.bytes_left);
                    self.stop(&stopped, walk, findings)?;
                    break;
                }
            }
        }
        indexes.finish(file.position(), findings)
    }

    fn check_batch(
        &self,
        position: u64,
        batch: &BatchView<'_>,
        walk: &mut Walk,
        findings: &mut Findings<'_>,
    ) -> Result<(), Failure> {
        let damage =
            |what: &str, findings: &mut Findings<'_>| findings.damage(self.log, Some(position), what);
        let base_offset = batch.base_offset();
        if let Some(next) = walk.next_offset {
            if base_offset < next {
                damage(&format!("offset {base_offset} where {next} comes next"), findings)?;
            } else if base_offset > next && base_offset > walk.settled.cleaned_before {
                let last = base_offset - 1;
                let what =
                    format!("offsets {next} to {last} are missing; normal only where compaction once ran");
                let severity = if walk.settled.is_alone { Severity::Note } else { Severity::Damage };
                findings.found(severity, self.log, Some(position), &what)?;
            }
        }
        if batch.last_offset() < base_offset {
            damage("the last offset lies before the first", findings)?;
        }
        self.check_epoch(position, batch, walk, findings)?;
        match check_records(batch, walk) {
            Ok(()) => Ok(()),
            Err(what) => damage(&what, findings),
        }
    }

    fn check_epoch(
        &self,
        position: u64,
        batch: &BatchView<'_>,
        walk: &mut Walk,
        findings: &mut Findings<'_>,
    ) -> Result<(), Failure> {
        let epoch = batch.leader_epoch();
        if epoch < walk.epoch {
            let what = format!("leader epoch {epoch} after {}", walk.epoch);
            findings.damage(self.log, Some(position), &what)?;
        }
        walk.epoch = walk.epoch.max(epoch);
        let noted = walk.epochs.as_ref().and_then(|epochs| epochs.epoch_at(batch.base_offset()));
        match noted {
            Some(noted) if noted != epoch && epoch >= 0 => {
                let what = format!("leader epoch {epoch} where the checkpoint says {noted}");
                let severity = walk.settled.severity(batch.next_offset());
                findings.found(severity, self.log, Some(position), &what)
            }
            _ => Ok(()),
        }
    }

    /// The file goes on, but not with a batch.
    fn stop(&self, stopped: &Stopped, walk: &mut Walk, findings: &mut Findings<'_>) -> Result<(), Failure> {
        let (bytes, at) = (stopped.bytes_left, Some(stopped.position));
        let next = walk.next_offset.unwrap_or(self.base_offset);
        // Whether what is here should have been readable.
        let goes_on = self.next_base_offset.is_some_and(|base| base > next)
            || (walk.settled.covers(next + 1) && !walk.settled.is_clean);
        if stopped.is_zero && !goes_on {
            // Room that was made ahead. A clean stop takes it back, though not every broker does.
            return match walk.settled.is_clean {
                true => findings.note(self.log, at, &format!("{bytes} zero bytes of room")),
                false => Ok(()),
            };
        }
        let why = format!("{}; {bytes} bytes cannot be read", stopped.why);
        match self.verdict(stopped.position, &why, walk)? {
            Verdict::Torn => findings.note(self.log, at, &format!("{why}: {UNFINISHED}")),
            Verdict::Damaged(what) => {
                walk.next_offset = None;
                findings.damage(self.log, at, &what)
            }
        }
    }

    /// What the broker would make of it: only behind what was flushed, and at the very end, can an append be torn.
    fn verdict(&self, position: u64, why: &str, walk: &Walk) -> Result<Verdict, Failure> {
        let failed = |error| unreadable(self.log, &error);
        let offset = walk.next_offset.unwrap_or(self.base_offset);
        if self.next_base_offset.is_some() || walk.settled.covers(offset + 1) {
            return Ok(Verdict::Damaged(why.to_owned()));
        }
        let bytes = self.log.metadata().map_err(failed)?.len();
        let (Ok(position), Ok(bytes)) = (u32::try_from(position), u32::try_from(bytes)) else {
            return Ok(Verdict::Damaged(format!("{why}; the file is larger than a segment can be")));
        };
        let file: Rc<dyn File> = Rc::new(PlainFile::open(self.log).map_err(failed)?);
        let end = Place { position, offset };
        finished(judge(&file, end, bytes, why, &LogConfig::default())).map_err(failed)
    }
}

fn check_records(batch: &BatchView<'_>, walk: &mut Walk) -> Result<(), String> {
    let mut next_delta = 0;
    if !walk.is_deep {
        return Ok(());
    }
    for record in
        batch.records(&mut walk.decompressor, UNPACKED_BYTES_MAX).map_err(|error| error.to_string())?
    {
        let record = record.map_err(|error| error.to_string())?;
        if record.offset_delta < next_delta || record.offset_delta > batch.last_offset_delta() {
            return Err(format!("offset {} of a record does not fit its batch", batch.offset_of(&record)));
        }
        next_delta = record.offset_delta.saturating_add(1);
    }
    Ok(())
}
