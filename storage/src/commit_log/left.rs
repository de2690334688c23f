//! What commit logs of earlier runs hold.

use bytes::{Bytes, BytesMut};

use super::half_at;
use super::round::{Frame, Round, parse_file_head};
use crate::Error;
use crate::disk::{BLOCK_BYTES, Class, Disk, File, Mode};
use crate::format::Damage;

/// The frames of one file, in the order in which they were written.
#[derive(Debug, Default)]
pub struct Left {
    pub frames: Vec<Frame>,
}

/// `millstream-commit-3-17`: of core 3, the 17th.
pub fn file_name(core: u32, number: u64) -> String {
    format!("{NAME}{core}-{number}")
}

/// The core and the number.
pub fn parse_file_name(name: &str) -> Option<(u32, u64)> {
    let (core, number) = name.strip_prefix(NAME)?.split_once('-')?;
    let (core, number) = (core.parse().ok()?, number.parse().ok()?);
    (file_name(core, number) == name).then_some((core, number))
}

/// One half, as far as it goes.
struct Half {
    /// Of its first round; None if it has none.
    generation: Option<u64>,
    frames: Vec<Frame>,
    /// A round behind the first one that is not whole: written after it, if it is of this half's generation.
    stray: Option<Stray>,
}

#[derive(Clone, Copy)]
struct Stray {
    generation: u64,
    position: u64,
}

impl Left {
    /// Reads a file. Fails if the medium does, or if something in the middle of it is not what was written.
    pub async fn read(disk: &dyn Disk, name: &str) -> Result<Self, Error> {
        let failed = |error| Error::io(name, error);
        let file = disk.open(name, Mode::Direct).await.map_err(failed)?;
        let len = file.len().await.map_err(failed)?;
        let head = read(&*file, 0, len.min(BLOCK_BYTES as u64)).await.map_err(failed)?;
        let Some(salt) = parse_file_head(&head) else {
            // Its making was cut short: nothing was ever acknowledged by it.
            let is_blank = head.iter().all(|byte| *byte == 0);
            return if is_blank { Ok(Self::default()) } else { Err(damaged(name, 0, "no commit log")) };
        };
        let half_bytes = (len - BLOCK_BYTES as u64) / 2;
        let mut halves = Vec::new();
        for at in [0, 1] {
            let bytes = read(&*file, half_at(at, half_bytes), half_bytes).await.map_err(failed)?;
            halves.push(Half::read(salt, &bytes));
        }
        for (at, half) in halves.iter().enumerate() {
            // Of a half that was begun anew when the crash came, the first round may be torn; what lies behind it is of
            // the time before the other half was used.
            let other = halves[1 - at].generation;
            let is_lost = half.stray.filter(|stray| {
                half.generation == Some(stray.generation)
                    || (half.generation.is_none() && other.is_none_or(|other| other < stray.generation))
            });
            if let Some(stray) = is_lost {
                let position = half_at(at, half_bytes) + stray.position;
                return Err(damaged(
                    name,
                    position,
                    "an acknowledged write lies behind one that is not whole",
                ));
            }
        }
        halves.sort_by_key(|half| half.generation);
        Ok(Self { frames: halves.into_iter().flat_map(|half| half.frames).collect() })
    }
}

async fn read(file: &dyn File, from: u64, bytes: u64) -> std::io::Result<Bytes> {
    let mut all = BytesMut::new();
    while (all.len() as u64) < bytes {
        let wanted = (bytes - all.len() as u64).min(READ_BYTES) as usize;
        let read = file.read_at(from + all.len() as u64, wanted, Class::Background).await?;
        if read.is_empty() {
            break;
        }
        all.extend_from_slice(&read);
    }
    Ok(all.freeze())
}

fn damaged(name: &str, position: u64, found: &str) -> Error {
    Damage::new(usize::try_from(position).unwrap_or(usize::MAX), found.to_owned()).at(name)
}

impl Half {
    fn read(salt: u64, bytes: &Bytes) -> Self {
        let mut half = Self { generation: None, frames: Vec::new(), stray: None };
        let (mut position, mut sequence) = (0, 0);
        while let Some(round) = round_at(salt, bytes, position) {
            if round.sequence != sequence || half.generation.is_some_and(|first| first != round.generation) {
                break;
            }
            half.generation = Some(round.generation);
            half.frames.extend(round.frames());
            position += round.bytes;
            sequence += 1;
        }
        half.stray = half.stray_after(salt, bytes, position, sequence);
        half
    }

    /// The first round behind `position` that was written after the one that should be there.
    fn stray_after(&self, salt: u64, bytes: &Bytes, position: usize, sequence: u32) -> Option<Stray> {
        (position..bytes.len()).step_by(BLOCK_BYTES).skip(1).find_map(|at| {
            let round = round_at(salt, bytes, at)?;
            let is_later = round.sequence > sequence;
            let is_ours = self.generation.is_none_or(|generation| generation == round.generation);
            (is_later && is_ours).then_some(Stray { generation: round.generation, position: position as u64 })
        })
    }
}

fn round_at(salt: u64, bytes: &Bytes, position: usize) -> Option<Round> {
    (position < bytes.len()).then(|| Round::parse(salt, &bytes.slice(position..))).flatten()
}

const NAME: &str = "millstream-commit-";
const READ_BYTES: u64 = 1 << 20;
