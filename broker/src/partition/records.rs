//! Reads a log of ours from its start, record by record: what an internal topic keeps.

use std::rc::Rc;

use protocol::records::batch::{BatchView, batches};
use protocol::records::compression::Decompressor;
use protocol::records::control::ControlRecord;
use protocol::records::record::Record;
use reactor::host;
use storage::Error;
use storage::log::{Log, ReadOutcome};

const READ_BYTES: usize = 256 << 10;
/// A batch unfolds to no more than this.
const BATCH_BYTES_MAX: usize = 64 << 20;
/// After so much work whatever else this core has to do comes first.
const STEP_NS: u64 = 50_000;

/// Why a log of ours cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{0}")]
    Log(#[from] Error),
    #[error("batch at offset {offset}: {why}")]
    Batch { offset: i64, why: String },
}

/// What a log of ours is made of.
pub(crate) enum Found<'a> {
    Record(Placed<'a>),
    /// The end of a producer's transaction.
    Marker {
        producer_id: i64,
        is_commit: bool,
    },
}

/// A record where it lies.
pub(crate) struct Placed<'a> {
    pub(crate) offset: i64,
    pub(crate) record: Record<'a>,
    /// Whose transaction it belongs to.
    pub(crate) in_transaction_of: Option<i64>,
}

/// Gives everything durable to `each`, in order, until it says no.
pub(crate) async fn each_record<E: From<ReadError>>(
    log: &Rc<Log>,
    mut each: impl FnMut(Found<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut offset = log.start_offset();
    let mut decompressor = Decompressor::new();
    let mut began_ns = host().now_ns();
    while offset < log.durable_offset() {
        let read = match log.read(offset, READ_BYTES, log.durable_offset(), true) {
            ReadOutcome::Now(slices) => slices,
            ReadOutcome::Later(slices) => slices.await,
        };
        let bytes = read.map_err(ReadError::from)?.parts.concat();
        let before = offset;
        for batch in batches(&bytes) {
            let batch = batch.map_err(|error| ReadError::Batch { offset: before, why: error.to_string() })?;
            offset = batch.next_offset();
            each_of_batch(&batch, &mut decompressor, &mut each)?;
            if host().now_ns() - began_ns > STEP_NS {
                host().breathe().await;
                began_ns = host().now_ns();
            }
        }
        if offset == before {
            return Err(ReadError::Batch { offset, why: "the log ends early".to_owned() }.into());
        }
    }
    Ok(())
}

fn each_of_batch<E: From<ReadError>>(
    batch: &BatchView<'_>,
    decompressor: &mut Decompressor,
    each: &mut impl FnMut(Found<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let damaged = |why: String| ReadError::Batch { offset: batch.base_offset(), why };
    let records = batch.records(decompressor, BATCH_BYTES_MAX);
    for record in records.map_err(|error| damaged(error.to_string()))? {
        let record = record.map_err(|error| damaged(error.to_string()))?;
        if batch.is_control() {
            let control = ControlRecord::decode(&record).map_err(|error| damaged(error.to_string()))?;
            let is_commit = match control {
                ControlRecord::Commit { .. } => true,
                ControlRecord::Abort { .. } => false,
                _ => continue,
            };
            each(Found::Marker { producer_id: batch.producer_id(), is_commit })?;
            continue;
        }
        each(Found::Record(Placed {
            offset: batch.offset_of(&record),
            record,
            in_transaction_of: batch.is_transactional().then(|| batch.producer_id()),
        }))?;
    }
    Ok(())
}
