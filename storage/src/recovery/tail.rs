//! Where the batches of the last segment end and other bytes follow: was a write cut short, or did bytes change
//! that were safe on disk? The rules are at the top of `recovery.rs`.

use std::io;
use std::rc::Rc;

use protocol::records::batch::{BatchError, BatchView, HEADER_BYTES, LENGTH_OVERHEAD_BYTES};

use crate::config::{Durability, LogConfig};
use crate::disk::{Class, File};
use crate::facts::Facts;
use crate::segment::reader::SCAN_BYTES;
use crate::segment::writer::{FLIGHT_BYTES_MAX, Place};

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A flight was under way. Nothing of it was acknowledged; it is cut.
    Torn,
    Damaged(String),
}

/// What a device writes in one piece, whatever happens.
const SECTOR_BYTES: u64 = 512;

/// Judges what lies at `end` in a file of `len` bytes, where `found` is instead of a whole batch. Changes nothing.
pub async fn judge(
    file: &Rc<dyn File>,
    end: Place,
    len: u32,
    found: &str,
    config: &LogConfig,
) -> io::Result<Verdict> {
    if !is_unwritten_in_part(&**file, end.position, len).await? {
        return Ok(Verdict::Damaged(found.to_owned()));
    }
    if config.durability == Durability::Synced
        && let Some(position) = later_flight(&**file, end, len, config).await?
    {
        return Ok(Verdict::Damaged(format!("{found}, but a later batch lies at byte {position}")));
    }
    Ok(Verdict::Torn)
}

/// Rule 1: whether some sector of the batch that should be here may never have been written.
async fn is_unwritten_in_part(file: &dyn File, position: u32, len: u32) -> io::Result<bool> {
    let header = file.read_at(u64::from(position), HEADER_BYTES, Class::Background).await?;
    if header.len() < HEADER_BYTES || has_blank_sector(position.into(), &header) {
        return Ok(true);
    }
    let bytes = match BatchView::parse(&header) {
        Ok(_) | Err(BatchError::TooShort) => claimed_bytes(&header),
        // Without a header to go by, this is all that can be asked.
        Err(_) => return Ok(false),
    };
    if u64::from(position) + bytes as u64 > u64::from(len) {
        return Ok(true);
    }
    // Reads end at sector borders, so that none is judged by its parts.
    let (mut from, end) = (u64::from(position), u64::from(position) + bytes as u64);
    while from < end {
        let stop = (from + SCAN_BYTES as u64).min(end);
        let stop = if stop < end { stop - stop % SECTOR_BYTES } else { stop };
        let wanted = usize::try_from(stop - from).expect("a part of a segment");
        let read = file.read_at(from, wanted, Class::Background).await?;
        if read.len() < wanted || has_blank_sector(from, &read) {
            return Ok(true);
        }
        from = stop;
    }
    Ok(false)
}

fn has_blank_sector(position: u64, bytes: &[u8]) -> bool {
    let head = usize::try_from(SECTOR_BYTES - position % SECTOR_BYTES).expect("a sector").min(bytes.len());
    let (head, rest) = bytes.split_at(head);
    let is_blank = |sector: &[u8]| !sector.is_empty() && sector.iter().all(|byte| *byte == 0);
    is_blank(head) || rest.chunks(SECTOR_BYTES as usize).any(is_blank)
}

/// Rule 2: a whole batch so far behind that it cannot be of the same flight.
async fn later_flight(file: &dyn File, end: Place, len: u32, config: &LogConfig) -> io::Result<Option<u32>> {
    let flight = FLIGHT_BYTES_MAX.max(config.segment_bytes.min(BATCH_BYTES_MAX) as usize);
    let mut from = u64::from(end.position) + flight as u64;
    while from + HEADER_BYTES as u64 <= u64::from(len) {
        let bytes = file.read_at(from, SCAN_BYTES, Class::Background).await?;
        for at in 0..bytes.len().saturating_sub(HEADER_BYTES - 1) {
            if may_be_batch(&bytes[at..], end.offset)
                && is_batch(file, from + at as u64, &bytes[at..]).await?
            {
                return Ok(u32::try_from(from + at as u64).ok());
            }
        }
        if bytes.len() < HEADER_BYTES {
            break;
        }
        from += (bytes.len() - (HEADER_BYTES - 1)) as u64;
    }
    Ok(None)
}

/// Magic, length and offset are those of a batch behind `offset`.
fn may_be_batch(bytes: &[u8], offset: i64) -> bool {
    let length = i32::from_be_bytes(bytes[8..12].try_into().expect("four bytes"));
    let base_offset = i64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"));
    bytes[16] == 2 && length > 0 && (offset..offset.saturating_add(1 << 31)).contains(&base_offset)
}

async fn is_batch(file: &dyn File, position: u64, header: &[u8]) -> io::Result<bool> {
    let bytes = claimed_bytes(header);
    if bytes > BATCH_BYTES_MAX as usize {
        return Ok(false);
    }
    let bytes = file.read_at(position, bytes, Class::Background).await?;
    let batch = BatchView::parse(&bytes).ok().filter(|batch| batch.verify_crc().is_ok());
    Ok(batch.is_some_and(|batch| Facts::of(&batch).is_some()))
}

fn claimed_bytes(header: &[u8]) -> usize {
    let length = i32::from_be_bytes(header[8..12].try_into().expect("four bytes"));
    LENGTH_OVERHEAD_BYTES + usize::try_from(length).unwrap_or(0)
}

/// Larger batches are not looked for.
const BATCH_BYTES_MAX: u32 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_sectors_are_those_of_the_device() {
        let mut bytes = vec![1; 1200];
        assert!(!has_blank_sector(100, &bytes));
        bytes[412..923].fill(0);
        assert!(!has_blank_sector(100, &bytes), "one byte of the sector is there");
        bytes[923] = 0;
        assert!(has_blank_sector(100, &bytes));
        assert!(has_blank_sector(511, &[0, 1, 1]));
    }
}
