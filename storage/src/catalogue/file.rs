//! The file: a header, then one frame per partition, each with a checksum of its own.
//!
//! ```text
//! header   magic 8, version 4, checksum 4 (of the 64 bytes that follow), core 4, flags 4, sequence 8, directory id 16,
//!          broker epoch 8, recovery points' checksum 4, frames 4, bytes of all frames 8, unused 8
//! frame    bytes 4 (of what follows, without padding), checksum 4 (of length and payload), 8 unused, payload (rkyv), padding to 16
//! ```
//! All numbers are little-endian.

use protocol::crc32c::crc32c;
use protocol::ids::Uuid;
use rkyv::rancor;
use rkyv::util::AlignedVec;

use super::entry::{ArchivedEntry, Entry};
use crate::format::{CATALOGUE_MAGIC, CATALOGUE_VERSION, Damage, number};

/// Proof that nobody, Apache Kafka included, has written to the directory since: what the
/// clean-shutdown marker and the recovery points looked like when the logs were closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    pub broker_epoch: i64,
    pub recovery_points_crc: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub core: u32,
    /// Larger than that of any file read at start, and growing.
    pub sequence: u64,
    pub directory_id: Uuid,
    /// None while running.
    pub seal: Option<Seal>,
}

/// One partition's entry as the file holds it.
#[derive(Clone, Debug)]
pub struct Frame(Vec<u8>);

/// What could be read.
#[derive(Debug)]
pub struct Decoded {
    pub header: Header,
    pub entries: Vec<Entry>,
    /// Where the rest became unusable, if it did.
    pub damage: Option<Damage>,
}

/// `millstream-catalogue-3`
pub fn file_name(core: u32) -> String {
    format!("{NAME}{core}")
}

pub fn parse_file_name(name: &str) -> Option<u32> {
    let core = name.strip_prefix(NAME)?.parse().ok()?;
    (file_name(core) == name).then_some(core)
}

impl Frame {
    pub fn new(entry: &Entry) -> Self {
        let payload = rkyv::to_bytes::<rancor::Panic>(entry).expect("memory is all it takes");
        let mut frame = Vec::with_capacity((FRAME_HEADER_BYTES + payload.len()).next_multiple_of(ALIGNMENT));
        let len = u32::try_from(payload.len()).expect("an entry is far smaller");
        frame.extend(len.to_le_bytes());
        frame.extend([0; FRAME_HEADER_BYTES - 4]);
        frame.extend_from_slice(&payload);
        let crc = frame_crc(&frame);
        frame[4..8].copy_from_slice(&crc.to_le_bytes());
        frame.resize(frame.len().next_multiple_of(ALIGNMENT), 0);
        Self(frame)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The header for these frames, which follow it in the file.
pub fn encode(header: &Header, frames: &[Frame]) -> Vec<u8> {
    let bytes: usize = frames.iter().map(|frame| frame.0.len()).sum();
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend(CATALOGUE_MAGIC);
    out.extend(CATALOGUE_VERSION.to_le_bytes());
    out.extend([0; 4]);
    out.extend(header.core.to_le_bytes());
    out.extend(u32::from(header.seal.is_some()).to_le_bytes());
    out.extend(header.sequence.to_le_bytes());
    out.extend(header.directory_id.0);
    let seal = header.seal.unwrap_or(Seal { broker_epoch: -1, recovery_points_crc: 0 });
    out.extend(seal.broker_epoch.to_le_bytes());
    out.extend(seal.recovery_points_crc.to_le_bytes());
    out.extend(u32::try_from(frames.len()).expect("fewer partitions").to_le_bytes());
    out.extend((bytes as u64).to_le_bytes());
    out.resize(HEADER_BYTES, 0);
    let crc = crc32c(&out[HEADER_CHECKED_FROM..]);
    out[12..HEADER_CHECKED_FROM].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Reads a file. An error: nothing of it can be used. Entries before a damaged one are good.
pub fn decode(bytes: &[u8], directory_id: Uuid) -> Result<Decoded, Damage> {
    let (header, count, frame_bytes) = decode_header(bytes)?;
    if header.directory_id != directory_id {
        return Err(Damage::new(32, format!("of directory {}, not {directory_id}", header.directory_id)));
    }
    let mut decoded = Decoded { header, entries: Vec::new(), damage: None };
    let mut at = HEADER_BYTES;
    while at < bytes.len() {
        match decode_frame(&bytes[at..]) {
            Ok((entry, length)) => {
                decoded.entries.push(entry);
                at += length;
            }
            Err(found) => {
                decoded.damage = Some(Damage::new(at, found));
                return Ok(decoded);
            }
        }
    }
    if decoded.entries.len() as u64 != u64::from(count) || (at - HEADER_BYTES) as u64 != frame_bytes {
        let found = format!("{} partitions where {count} were announced", decoded.entries.len());
        decoded.damage = Some(Damage::new(at, found));
    }
    Ok(decoded)
}

fn decode_header(bytes: &[u8]) -> Result<(Header, u32, u64), Damage> {
    if bytes.len() < HEADER_BYTES {
        return Err(Damage::new(bytes.len(), "a catalogue cut short"));
    }
    let int = |at| u32::from_le_bytes(number(bytes, at));
    let long = |at| u64::from_le_bytes(number(bytes, at));
    if bytes[..8] != CATALOGUE_MAGIC {
        return Err(Damage::new(0, "not a catalogue"));
    }
    if int(8) != CATALOGUE_VERSION {
        return Err(Damage::new(8, format!("catalogue version {}, known is {CATALOGUE_VERSION}", int(8))));
    }
    if int(12) != crc32c(&bytes[HEADER_CHECKED_FROM..HEADER_BYTES]) {
        return Err(Damage::new(12, "a header that does not match its checksum"));
    }
    let seal = Seal { broker_epoch: i64::from_le_bytes(number(bytes, 48)), recovery_points_crc: int(56) };
    let header = Header {
        core: int(16),
        sequence: long(24),
        directory_id: Uuid(number(bytes, 32)),
        seal: (int(20) == 1).then_some(seal),
    };
    Ok((header, int(60), long(64)))
}

/// One entry and the bytes it takes.
fn decode_frame(bytes: &[u8]) -> Result<(Entry, usize), String> {
    if bytes.len() < FRAME_HEADER_BYTES {
        return Err("a frame cut short".to_owned());
    }
    let len = u32::from_le_bytes(number(bytes, 0)) as usize;
    let end = FRAME_HEADER_BYTES + len;
    let Some(frame) = bytes.get(..end) else {
        return Err(format!("a frame of {len} bytes where {} are left", bytes.len() - FRAME_HEADER_BYTES));
    };
    if u32::from_le_bytes(number(bytes, 4)) != frame_crc(frame) {
        return Err("a frame that does not match its checksum".to_owned());
    }
    // Every reference inside is checked before it is followed.
    let mut aligned = AlignedVec::<ALIGNMENT>::with_capacity(len);
    aligned.extend_from_slice(&frame[FRAME_HEADER_BYTES..]);
    let archived =
        rkyv::access::<ArchivedEntry, rancor::Error>(&aligned).map_err(|error| error.to_string())?;
    let entry = rkyv::deserialize::<Entry, rancor::Error>(archived).map_err(|error| error.to_string())?;
    match entry.contradiction() {
        None => Ok((entry, end.next_multiple_of(ALIGNMENT).min(bytes.len()))),
        Some(found) => Err(format!("{}-{}: {found}", entry.topic, entry.partition)),
    }
}

/// Of the length and the payload; what lies between is the checksum's own place.
fn frame_crc(frame: &[u8]) -> u32 {
    crc32c(&frame[FRAME_HEADER_BYTES..]) ^ crc32c(&frame[..4])
}

const NAME: &str = "millstream-catalogue-";
const HEADER_BYTES: usize = 80;
const HEADER_CHECKED_FROM: usize = 16;
const FRAME_HEADER_BYTES: usize = 16;
const ALIGNMENT: usize = 16;
