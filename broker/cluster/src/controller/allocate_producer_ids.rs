//! AllocateProducerIds: a broker gets a block of producer ids that no other broker ever gets.

use std::ops::Range;

use protocol::error_code::ErrorCode;
use protocol::messages::ProducerIdsRecord;

use super::{Controller, Refused, refuse};
use crate::machine::Decision;
use crate::metadata::MetadataRecord;

/// Kafka's size of a block.
pub const PRODUCER_IDS_PER_BLOCK: i64 = 1000;

/// A broker asks for ids.
#[derive(Clone, Copy, Debug)]
pub struct AllocateProducerIds {
    pub broker_id: i32,
    pub broker_epoch: i64,
}

impl Controller {
    pub fn allocate_producer_ids(
        &self,
        command: &AllocateProducerIds,
    ) -> Decision<MetadataRecord, Result<Range<i64>, Refused>> {
        let AllocateProducerIds { broker_id, broker_epoch } = *command;
        if let Err(refused) = self.check_broker_epoch(broker_id, broker_epoch) {
            return refuse(refused);
        }
        let first = self.image.next_producer_id;
        let Some(next_producer_id) = first.checked_add(PRODUCER_IDS_PER_BLOCK) else {
            let message = "Exhausted all producerIds as the next block's end producerId has exceeded the int64 type limit";
            return refuse(Refused::new(ErrorCode::UNKNOWN_SERVER_ERROR, message));
        };
        let record = ProducerIdsRecord { broker_id, broker_epoch, next_producer_id };
        Decision { records: vec![MetadataRecord::ProducerIds(record)], reply: Ok(first..next_producer_id) }
    }

    /// Whether a broker is the incarnation that is registered.
    pub(super) fn check_broker_epoch(&self, id: i32, epoch: i64) -> Result<(), Refused> {
        let message = match self.image.brokers.get(&id) {
            Some(broker) if broker.epoch == epoch => return Ok(()),
            Some(broker) => format!("Expected broker epoch {}, but got broker epoch {epoch}", broker.epoch),
            None => format!("No broker registration found for broker id {id}"),
        };
        Err(Refused::new(ErrorCode::STALE_BROKER_EPOCH, message))
    }
}
