//! Reads the metadata log from its start: every record with its offset.

use std::rc::Rc;

use cluster::metadata::MetadataRecord;
use storage::log::Log;

use super::{ControllerError, Decided};
use crate::partition::records::{Found, each_record};

/// Everything decided so far.
pub(super) async fn replay(log: &Rc<Log>) -> Result<Decided, ControllerError> {
    let mut records = Vec::new();
    each_record(log, |found| {
        // Terms and snapshots are told by control records that concern the quorum.
        let Found::Record(placed) = found else { return Ok(()) };
        let decoded = MetadataRecord::from_bytes(placed.record.value.unwrap_or_default());
        let damaged = |why| ControllerError::Record { offset: placed.offset, why: format!("{why:?}") };
        records.push((placed.offset, decoded.map_err(damaged)?));
        Ok::<(), ControllerError>(())
    })
    .await?;
    Ok(Decided { records: records.into() })
}
