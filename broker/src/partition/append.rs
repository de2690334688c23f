//! Leader side of produce: Kafka's checks, then the log. The synchronous part fixes the order.

use std::rc::Rc;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use protocol::records::produced::{Refusal, accept, only_batch};
use reactor::host;
use storage::Error;
use storage::disk::LocalFuture;
use storage::log::{AppendError, Appended, Log, Offsets, Stamp};

use super::{Partition, error_code};
use crate::promise::promise;

/// What became of one partition's records.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) error: ErrorCode,
    pub(crate) base_offset: i64,
    pub(crate) log_append_time_ms: i64,
    pub(crate) log_start_offset: i64,
    pub(crate) message: Option<String>,
    pub(crate) record_errors: Vec<(i32, String)>,
}

impl Outcome {
    pub(crate) fn refused(error: ErrorCode) -> Self {
        Self {
            error,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            message: None,
            record_errors: Vec::new(),
        }
    }
}

impl Outcome {
    /// Kafka: what the log refuses comes with its start, but for what is too large or broken.
    fn of(self, log: &Log) -> Self {
        let log_start_offset = match self.error {
            ErrorCode::CORRUPT_MESSAGE
            | ErrorCode::MESSAGE_TOO_LARGE
            | ErrorCode::RECORD_LIST_TOO_LARGE
            | ErrorCode::KAFKA_STORAGE_ERROR => -1,
            _ => log.start_offset(),
        };
        Self { log_start_offset, ..self }
    }
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        let record_errors = refusal.records().iter().map(|one| (one.index, one.reason.to_string())).collect();
        Self { message: Some(refusal.to_string()), record_errors, ..Self::refused(refusal.error_code()) }
    }
}

impl Partition {
    /// Appends one produce request's records. What happens before this returns is the ordered part;
    /// the future resolves when the records are on stable storage, or refused.
    pub(crate) fn append(self: &Rc<Self>, records: Bytes, version: i16) -> LocalFuture<'static, Outcome> {
        if let Some(log) = self.log() {
            return match self.append_to(&log, &records, version) {
                Ok(appended) => self.durable(&log, appended),
                Err(outcome) => Box::pin(std::future::ready(outcome)),
            };
        }
        let (promise, promised) = promise();
        let this = self.clone();
        self.when_open(move |opened| {
            promise.fulfil(match opened {
                Ok(log) => this.append_to(log, &records, version).map(|appended| this.durable(log, appended)),
                Err(error) => Err(Outcome::refused(error_code(error))),
            });
        });
        Box::pin(async move {
            match promised.await {
                Ok(durable) => durable.await,
                Err(outcome) => outcome,
            }
        })
    }

    fn append_to(self: &Rc<Self>, log: &Rc<Log>, records: &[u8], version: i16) -> Result<Appended, Outcome> {
        let now_ms = host().wall_ms();
        let settings = self.settings.borrow().clone();
        let batch = only_batch(records, version)?;
        let count = batch.count();
        let accepted = accept(batch, &settings.rules, now_ms, &mut self.home.decompressor.borrow_mut());
        let batch = accepted.map_err(|refusal| Outcome::from(refusal).of(log))?;
        let stamp = Stamp {
            leader_epoch: self.leader_epoch.get(),
            log_append_time: settings.rules.log_append_time.then_some(now_ms),
            offsets: Offsets::Assign,
        };
        let appended = log.append(&batch, stamp, now_ms).map_err(|error| refused(&error, log))?;
        if !appended.duplicate {
            self.home.metrics.produced_records.add(count.unsigned_abs().into());
        }
        if log.needs_flush() {
            self.flush(log);
        }
        Ok(appended)
    }

    /// Appends a batch that this broker made itself. It is durable when the log says so.
    pub(crate) fn append_own(self: &Rc<Self>, log: &Rc<Log>, batch: &[u8]) -> Result<Appended, AppendError> {
        let stamp =
            Stamp { leader_epoch: self.leader_epoch.get(), log_append_time: None, offsets: Offsets::Assign };
        let appended = log.append(batch, stamp, host().wall_ms())?;
        if log.needs_flush() {
            self.flush(log);
        }
        Ok(appended)
    }

    /// Waits until the records are on stable storage.
    fn durable(&self, log: &Rc<Log>, appended: Appended) -> LocalFuture<'static, Outcome> {
        // Order: asked in the turn of the append, or the offsets could be another batch's by then.
        let durable = log.durable(appended.last_offset + 1);
        let (metrics, began_ns) = (self.home.metrics.clone(), host().now_ns());
        Box::pin(async move {
            let durable = durable.await;
            metrics.became_durable(host().now_ns() - began_ns);
            outcome(durable, &appended)
        })
    }
}

/// What the log itself refuses, under Kafka's codes.
fn refused(error: &AppendError, log: &Log) -> Outcome {
    let code = match error {
        AppendError::OutOfOrderSequence => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        AppendError::InvalidProducerEpoch => ErrorCode::INVALID_PRODUCER_EPOCH,
        AppendError::InvalidTransactionState => ErrorCode::INVALID_TXN_STATE,
        AppendError::CoordinatorFenced => ErrorCode::TRANSACTION_COORDINATOR_FENCED,
        AppendError::TooLarge { .. } => ErrorCode::RECORD_LIST_TOO_LARGE,
        AppendError::NotNext { .. } | AppendError::NotABatch(_) => ErrorCode::INVALID_RECORD,
        AppendError::Storage(error) => error_code(error),
    };
    Outcome { message: Some(error.to_string()), ..Outcome::refused(code) }.of(log)
}

fn outcome(durable: Result<(), Error>, appended: &Appended) -> Outcome {
    match durable {
        Ok(()) => Outcome {
            error: ErrorCode::NONE,
            base_offset: appended.base_offset,
            log_append_time_ms: appended.log_append_time,
            log_start_offset: appended.log_start_offset,
            message: None,
            record_errors: Vec::new(),
        },
        Err(error) => Outcome::refused(error_code(&error)),
    }
}
