//! Leader side of fetch: what a consumer may see, and waiting for more of it.

use std::rc::Rc;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use storage::Error;
use storage::disk::LocalFuture;
use storage::log::{Log, ReadOutcome};

use super::{Partition, error_code};

/// What one partition of a fetch asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) offset: i64,
    /// -1: the caller does not check.
    pub(crate) leader_epoch: i32,
    /// -1: no check for diverging histories.
    pub(crate) last_fetched_epoch: i32,
}

/// What one partition answers.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) error: ErrorCode,
    pub(crate) high_watermark: i64,
    pub(crate) log_start_offset: i64,
    pub(crate) diverging: Option<Diverging>,
    pub(crate) parts: Vec<Bytes>,
    pub(crate) bytes: usize,
}

/// Where the leader's history parts from the caller's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Diverging {
    pub(crate) epoch: i32,
    pub(crate) end_offset: i64,
}

impl Found {
    pub(crate) fn refused(error: ErrorCode) -> Self {
        Self { error, high_watermark: -1, log_start_offset: -1, diverging: None, parts: Vec::new(), bytes: 0 }
    }
}

impl Partition {
    /// The high watermark: with one replica, what is on stable storage here.
    pub(crate) fn high_watermark(log: &Log) -> i64 {
        log.durable_offset()
    }

    /// Fences callers that know another leader epoch. -1 skips the check.
    pub(crate) fn check_leader_epoch(&self, asked: i32) -> Result<(), ErrorCode> {
        match asked {
            negative if negative < 0 => Ok(()),
            older if older < self.leader_epoch.get() => Err(ErrorCode::FENCED_LEADER_EPOCH),
            newer if newer > self.leader_epoch.get() => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
            _ => Ok(()),
        }
    }

    /// Reads whole batches from an offset; the first batch whole, whatever its size, if `first`.
    pub(crate) async fn read(self: Rc<Self>, ask: Ask, bytes_max: usize, first: bool) -> Found {
        let log = match self.opened().await {
            Ok(log) => log,
            Err(error) => return Found::refused(error_code(&error)),
        };
        if let Err(error) = self.check_leader_epoch(ask.leader_epoch) {
            return Found::refused(error);
        }
        let mut found = Found {
            error: ErrorCode::NONE,
            high_watermark: Self::high_watermark(&log),
            log_start_offset: log.start_offset(),
            ..Found::refused(ErrorCode::NONE)
        };
        if ask.last_fetched_epoch >= 0 {
            match diverging(&log, ask) {
                Ok(None) => {}
                Ok(diverging) => return Found { diverging, ..found },
                Err(error) => return Found::refused(error),
            }
        }
        match read_log(&log, ask.offset, bytes_max, first).await {
            Ok((parts, bytes)) => {
                found.parts = parts;
                found.bytes = bytes;
                found
            }
            Err(error) => Found::refused(error_code(&error)),
        }
    }

    /// Resolves when the high watermark is past `offset`; never if the log fails first.
    pub(crate) fn grown_past(self: &Rc<Self>, offset: i64) -> LocalFuture<'static, ()> {
        let this = self.clone();
        Box::pin(async move {
            let grown = match this.opened().await {
                Ok(log) => log.durable(offset + 1).await,
                Err(error) => Err(error),
            };
            if grown.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

async fn read_log(
    log: &Rc<Log>,
    offset: i64,
    bytes_max: usize,
    first: bool,
) -> Result<(Vec<Bytes>, usize), Error> {
    let (start, end) = (log.start_offset(), log.end_offset());
    if offset < start || offset > end {
        return Err(Error::OutOfRange { offset, start, end });
    }
    let visible = Partition::high_watermark(log);
    if offset >= visible || (bytes_max == 0 && !first) {
        return Ok((Vec::new(), 0));
    }
    let slices = match log.read(offset, bytes_max, visible, first) {
        ReadOutcome::Now(read) => read?,
        ReadOutcome::Later(read) => read.await?,
    };
    Ok((slices.parts, slices.bytes))
}

/// Kafka: the caller's last epoch ends earlier here than where it wants to go on (KIP-595).
fn diverging(log: &Log, ask: Ask) -> Result<Option<Diverging>, ErrorCode> {
    let Some((epoch, end_offset)) = log.end_offset_for_epoch(ask.last_fetched_epoch) else {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    };
    let parts = epoch < ask.last_fetched_epoch || end_offset < ask.offset;
    Ok(parts.then_some(Diverging { epoch, end_offset }))
}
