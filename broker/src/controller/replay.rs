//! Reads the metadata log from its start: every record with its offset. Control batches are skipped.

use std::rc::Rc;

use cluster::metadata::MetadataRecord;
use protocol::records::batch::batches;
use protocol::records::compression::Decompressor;
use storage::log::{Log, ReadOutcome};

use super::{ControllerError, Decided};

const READ_BYTES: usize = 1 << 20;
/// A batch of metadata records unfolds to no more than this.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// Everything decided so far.
pub(super) async fn replay(log: &Rc<Log>) -> Result<Decided, ControllerError> {
    let mut records = Vec::new();
    let mut offset = log.start_offset();
    let mut decompressor = Decompressor::new();
    while offset < log.durable_offset() {
        let slices = match log.read(offset, READ_BYTES, log.durable_offset(), true) {
            ReadOutcome::Now(slices) => slices?,
            ReadOutcome::Later(slices) => slices.await?,
        };
        let bytes = slices.parts.concat();
        let before = offset;
        for batch in batches(&bytes) {
            let damaged = |offset: i64, why: String| ControllerError::Record { offset, why };
            let batch = batch.map_err(|error| damaged(before, error.to_string()))?;
            offset = batch.next_offset();
            if batch.is_control() {
                continue;
            }
            let walk = batch.records(&mut decompressor, BATCH_BYTES_MAX);
            for record in walk.map_err(|error| damaged(batch.base_offset(), error.to_string()))? {
                let record = record.map_err(|error| damaged(batch.base_offset(), error.to_string()))?;
                let at = batch.offset_of(&record);
                let decoded = MetadataRecord::from_bytes(record.value.unwrap_or_default());
                records.push((at, decoded.map_err(|error| damaged(at, format!("{error:?}")))?));
            }
        }
        if offset == before {
            return Err(ControllerError::Record { offset, why: "the log ends early".to_owned() });
        }
    }
    Ok(Decided { records: records.into() })
}
