//! Leader side of fetch: what a consumer may see, and waiting for more of it.

use std::rc::Rc;

use bytes::Bytes;
use protocol::error_code::ErrorCode;
use reactor::host;
use storage::disk::{Class, LocalFuture};
use storage::log::{Log, ReadOutcome};

use super::{Partition, error_code};

/// What one partition of a fetch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) offset: i64,
    /// -1: the caller does not check.
    pub(crate) leader_epoch: i32,
    /// -1: no check for diverging histories.
    pub(crate) last_fetched_epoch: i32,
    /// By a broker that holds a replica, or says so.
    pub(crate) as_follower: bool,
    /// Only records of no open or aborted transaction.
    pub(crate) committed: bool,
}

/// What one partition answers.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) error: ErrorCode,
    pub(crate) high_watermark: i64,
    pub(crate) log_start_offset: i64,
    pub(crate) diverging: Option<Diverging>,
    /// Aborted transactions are listed, if only to say that there are none.
    pub(crate) lists_aborted: bool,
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
        Self {
            error,
            high_watermark: -1,
            log_start_offset: -1,
            diverging: None,
            lists_aborted: false,
            parts: Vec::new(),
            bytes: 0,
        }
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
            -1 => Ok(()),
            older if older < self.leader_epoch.get() => Err(ErrorCode::FENCED_LEADER_EPOCH),
            newer if newer > self.leader_epoch.get() => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
            _ => Ok(()),
        }
    }

    /// Reads whole batches from an offset; the first batch whole, whatever its size, if `first`. No limit of
    /// bytes that makes sense is none to read by.
    pub(crate) async fn read(self: Rc<Self>, ask: Ask, bytes_max: Option<usize>, first: bool) -> Found {
        let log = match self.opened().await {
            Ok(log) => log,
            Err(error) => return Found::refused(error_code(&error)),
        };
        if let Err(error) = self.check_leader_epoch(ask.leader_epoch) {
            return Found::refused(error);
        }
        if ask.as_follower {
            // No other broker holds a replica of what is led here.
            return Found::refused(ErrorCode::NOT_LEADER_OR_FOLLOWER);
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
                found.lists_aborted = ask.committed;
                found
            }
            Err(error) => Found::refused(error),
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
    bytes_max: Option<usize>,
    first: bool,
) -> Result<(Vec<Bytes>, usize), ErrorCode> {
    if offset < log.start_offset() || offset > log.end_offset() {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    let visible = Partition::high_watermark(log);
    if offset >= visible {
        return Ok((Vec::new(), 0));
    }
    let bytes_max = bytes_max.ok_or(ErrorCode::UNKNOWN_SERVER_ERROR)?;
    if bytes_max == 0 && !first {
        return Ok((Vec::new(), 0));
    }
    let read = match log.read(offset, bytes_max, visible, first) {
        ReadOutcome::Now(read) => read,
        ReadOutcome::Later(read) => read.await,
    };
    if let Some(ahead) = log.read_ahead() {
        host().spawn(Class::Read, ahead);
    }
    let slices = read.map_err(|error| error_code(&error))?;
    Ok((slices.parts, slices.bytes))
}

/// Keeps the whole batches at the front that have no more bytes than that; how many bytes they have.
pub(crate) fn keep(parts: &mut Vec<Bytes>, bytes_max: usize) -> usize {
    let mut kept = 0;
    while let Some(bytes) = batch_bytes(parts, kept).filter(|bytes| kept + bytes <= bytes_max) {
        kept += bytes;
    }
    let mut left = kept;
    for part in parts.iter_mut() {
        part.truncate(left);
        left -= part.len();
    }
    parts.retain(|part| !part.is_empty());
    kept
}

/// The length of the batch at a place; parts may end anywhere, also within its header.
fn batch_bytes(parts: &[Bytes], at: usize) -> Option<usize> {
    let mut left = at + 8;
    let mut length = [0; 4];
    let mut found = 0;
    for part in parts {
        let rest = part.get(left..).unwrap_or_default();
        left = left.saturating_sub(part.len());
        let taken = rest.len().min(length.len() - found);
        length[found..found + taken].copy_from_slice(&rest[..taken]);
        found += taken;
    }
    (found == length.len()).then(|| 12 + u32::from_be_bytes(length) as usize)
}

/// Kafka: the caller's last epoch ends earlier here than where it wants to go on (KIP-595).
fn diverging(log: &Log, ask: Ask) -> Result<Option<Diverging>, ErrorCode> {
    let Some((epoch, end_offset)) = log.end_offset_for_epoch(ask.last_fetched_epoch) else {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    };
    let parts = epoch < ask.last_fetched_epoch || end_offset < ask.offset;
    Ok(parts.then_some(Diverging { epoch, end_offset }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_batches_are_kept_wherever_the_parts_end() {
        let batch = |bytes: usize| {
            let mut raw = vec![7; bytes];
            raw[8..12].copy_from_slice(&((bytes - 12) as u32).to_be_bytes());
            raw
        };
        let all = [batch(70), batch(90), batch(61)].concat();
        for step in [1, 10, 75, 221, 500] {
            for (bytes_max, kept) in
                [(0, 0), (69, 0), (70, 70), (159, 70), (160, 160), (220, 160), (221, 221)]
            {
                let mut parts: Vec<_> = all.chunks(step).map(Bytes::copy_from_slice).collect();
                assert_eq!(keep(&mut parts, bytes_max), kept, "{bytes_max} bytes of parts of {step}");
                assert_eq!(parts.concat(), all[..kept]);
            }
        }
    }
}
