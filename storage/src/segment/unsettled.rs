//! What a segment's file does not hold yet, and a commit log does: the segment's end, in memory.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::cache::Chunk;

/// Consecutive flights, oldest first.
#[derive(Default)]
pub(crate) struct Unsettled {
    held: VecDeque<Held>,
}

struct Held {
    chunk: Chunk,
    /// From the same place on, whole blocks.
    blocks: Bytes,
}

impl Unsettled {
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// What one flight has, in its order. A log that grows in small steps has the same block in flight after flight: the
    /// newest has all that the last one had, and takes its place.
    pub(crate) fn push(&mut self, chunk: Chunk, blocks: Bytes) {
        if self.held.back().is_some_and(|last| chunk.covers(&last.chunk)) {
            self.held.pop_back();
        }
        self.held.push_back(Held { chunk, blocks });
    }

    /// The chunk with the batch that holds `offset`.
    pub(crate) fn find(&self, offset: i64) -> Option<Chunk> {
        // Of two that have it, the later one has it whole as well.
        let found = self.held.iter().rev().find(|held| held.chunk.holds(offset))?;
        Some(found.chunk.clone())
    }

    /// Disjoint whole blocks with their positions.
    pub(crate) fn writes(&self) -> Vec<(u64, Bytes)> {
        let nexts = self.held.iter().skip(1).map(|next| Some(next.chunk.start)).chain([None]);
        let write = |(held, next): (&Held, Option<u32>)| {
            let start = held.chunk.start;
            // The block in which the next one begins is written from there.
            let bytes = next.map_or(held.blocks.len(), |next| (next - start) as usize);
            (u64::from(start), held.blocks.slice(..bytes))
        };
        self.held.iter().zip(nexts).map(write).filter(|(_, bytes)| !bytes.is_empty()).collect()
    }

    /// The file holds everything before `offset`.
    pub(crate) fn settled(&mut self, offset: i64) {
        while self.held.front().is_some_and(|held| held.chunk.next_offset <= offset) {
            self.held.pop_front();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::BLOCK_BYTES;
    use crate::disk::memory::MemoryDisk;
    use crate::segment::writer::{Place, Tail};

    /// What a file would hold after such flights, settled after some of them.
    #[test]
    fn file_is_what_was_appended_however_often_it_is_settled() {
        let disk = MemoryDisk::new(1);
        for every in [1, 3, 1000] {
            let (mut tail, mut unsettled) =
                (Tail::new(0, Place { position: 0, offset: 0 }), Unsettled::default());
            let (mut file, mut expected) = (vec![0; 64 * BLOCK_BYTES], Vec::new());
            for at in 0..300_usize {
                let batch = vec![at as u8 | 1; 1 + at * 37 % 900];
                tail.push(&disk, &batch, at as i64 + 1);
                expected.extend(batch);
                let flight = tail.take_off().expect("something was pushed");
                for (chunk, (_, blocks)) in flight.chunks.into_iter().zip(flight.writes) {
                    unsettled.push(chunk, blocks);
                }
                let found = unsettled.find(at as i64).expect("it is held");
                assert_eq!(found.end() as usize, expected.len());
                if at % every == 0 {
                    settle(&mut unsettled, &mut file, at as i64 + 1);
                }
            }
            settle(&mut unsettled, &mut file, 300);
            assert!(unsettled.is_empty());
            assert_eq!(file[..expected.len()], expected);
        }
    }

    fn settle(unsettled: &mut Unsettled, file: &mut [u8], offset: i64) {
        let mut written_to = 0;
        for (position, bytes) in unsettled.writes() {
            let from = position as usize;
            assert!(
                from >= written_to
                    && from.is_multiple_of(BLOCK_BYTES)
                    && bytes.len().is_multiple_of(BLOCK_BYTES)
            );
            written_to = from + bytes.len();
            file[from..written_to].copy_from_slice(&bytes);
        }
        unsettled.settled(offset);
    }
}
