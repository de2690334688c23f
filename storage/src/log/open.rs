//! Open: at once where the catalogue says that all is well, by way of `recovery.rs` where it does not.

use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::ahead::Ahead;
use super::remove::Doomed;
use super::waiting::Waiting;
use super::{Log, LogConfig, LogDir, State, files};
use crate::Error;
use crate::cache::{Shelf, TailCache};
use crate::catalogue::{self, Entry};
use crate::disk::{Disk, LocalFuture};
use crate::leader_epochs::LeaderEpochs;
use crate::producers::Producers;
use crate::recovery::{Recovered, recover};
use crate::segment::writer::{Place, Tail};
use crate::segment::{Latest, Mark, OnDisk, Segment};

impl Log {
    /// Opens the log, or begins one. `known` is what the catalogue says of it. A clean entry is taken at its
    /// word and no disk is touched; vouch for it only if nothing was appended since it was made. Any other
    /// entry spares the reading of what lies below its recovery point. An entry without segments but with a
    /// recovery offset, a log start, or both, stands for Kafka's checkpoint files.
    ///
    /// A log that never had an append has no file and no folder.
    pub fn open(
        disk: Rc<dyn Disk>,
        dir: LogDir,
        config: impl Into<Rc<LogConfig>>,
        known: Option<Entry>,
        cache: Rc<TailCache>,
        now_ms: i64,
    ) -> LocalFuture<'static, Result<Rc<Self>, Error>> {
        let config = config.into();
        Box::pin(async move {
            // An entry of a topic that was deleted, and created again under its name.
            let is_ours = |known: &Entry| dir.topic_id.is_zero() || known.topic_id == dir.topic_id.0;
            let known = known.filter(is_ours);
            let state = match &known {
                Some(known) if known.is_clean => State::from_clean(known, &config, now_ms),
                known => {
                    let recovered = recover(&*disk, &dir, &config, known.as_ref(), now_ms).await?;
                    match recovered {
                        Some(recovered) => State::from_recovered(recovered),
                        None => State::begin(known.as_ref().map_or(0, first_offset), &config, now_ms),
                    }
                }
            };
            Ok(Rc::new(Self {
                disk,
                ahead: Ahead::new(cache.clone()),
                cache,
                tails: Rc::new(Shelf::default()),
                windows: Rc::new(Shelf::default()),
                dir,
                config: RefCell::new(config),
                is_full: RefCell::new(None),
                state: RefCell::new(state),
                waiting: Waiting::default(),
                berth: OnceCell::new(),
            }))
        })
    }
}

fn first_offset(known: &Entry) -> i64 {
    known.recovery.offset.max(known.log_start_offset)
}

impl State {
    /// A log without a batch.
    fn begin(offset: i64, config: &LogConfig, now_ms: i64) -> Self {
        Self {
            segments: vec![Segment::fresh(offset, config, now_ms)],
            first_open: 0,
            start_offset: offset,
            end_offset: offset,
            durable_offset: offset,
            producers: Producers::default(),
            epochs: LeaderEpochs::default(),
            epochs_changed: false,
            undo: VecDeque::new(),
            fence: None,
            has_folder: false,
            is_flushing: false,
            is_in_upkeep: false,
            is_preparing: false,
            is_syncing: false,
            is_compacting: false,
            is_replacing: false,
            is_swapping: false,
            swaps: 0,
            is_ending: false,
            doomed: VecDeque::new(),
            doomed_unsynced: Vec::new(),
            aside: VecDeque::new(),
            upkeep_refused: false,
            removal_refused: false,
            readers: files::Readers::default(),
            stray_snapshot: None,
        }
    }

    fn from_clean(known: &Entry, config: &LogConfig, now_ms: i64) -> Self {
        let Some((active, sealed)) = known.segments.split_last() else {
            return Self {
                epochs: LeaderEpochs::new(known.epochs()),
                ..Self::begin(first_offset(known), config, now_ms)
            };
        };
        let mut segments = Vec::with_capacity(known.segments.len());
        segments.extend(
            sealed.iter().map(|segment| Segment::sealed(segment.base_offset, segment.bytes, latest(segment))),
        );
        segments.push(untouched(active, config, now_ms));
        Self {
            first_open: segments.len() - 1,
            segments,
            start_offset: known.log_start_offset,
            end_offset: active.next_offset,
            durable_offset: active.next_offset,
            producers: known.producers(),
            epochs: LeaderEpochs::new(known.epochs()),
            has_folder: true,
            stray_snapshot: Some(active.next_offset).filter(|offset| *offset != active.base_offset),
            ..Self::begin(0, config, now_ms)
        }
    }

    fn from_recovered(recovered: Recovered) -> Self {
        let mut state = Self {
            segments: recovered.segments,
            start_offset: recovered.start_offset,
            end_offset: recovered.end_offset,
            durable_offset: recovered.end_offset,
            producers: recovered.producers,
            epochs: recovered.epochs,
            epochs_changed: true,
            has_folder: true,
            doomed: recovered.doomed.into_iter().map(Doomed::long_since).collect(),
            ..Self::begin(0, &LogConfig::default(), 0)
        };
        state.skip_sealed();
        state
    }
}

/// The active segment of a log that was closed in order. Its file is opened with its first use.
fn untouched(active: &catalogue::Segment, config: &LogConfig, now_ms: i64) -> Segment {
    let end = Place { position: active.bytes, offset: active.next_offset };
    let mut segment = Segment::fresh(active.base_offset, config, now_ms);
    segment.bytes = active.bytes;
    segment.latest = latest(active);
    if let Some(open) = &mut segment.open {
        open.tail = Tail::new(active.base_offset, end);
        open.durable = Mark { end, latest: segment.latest };
        open.synced = open.durable;
        open.first_timestamp = active.first_timestamp;
        open.on_disk = OnDisk::Untouched;
        open.indexed_bytes = active.bytes;
    }
    segment
}

fn latest(segment: &catalogue::Segment) -> Latest {
    Latest { timestamp: segment.max_timestamp, offset: segment.offset_of_max_timestamp }
}
