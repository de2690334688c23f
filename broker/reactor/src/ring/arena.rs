//! Memory registered with the kernel, lent as [`Buffer`]s. Lives on one core; given back by any thread.
//!
//! One range of addresses is reserved at the start and taken in chunks as it is needed, and chunks that
//! nothing was lent from for a while go back to the kernel, so that an idle core holds one. Each chunk is
//! one registered buffer of the ring.

use std::io;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use crossbeam_queue::SegQueue;
use storage::buffer::{Buffer, Release};
use storage::disk::BLOCK_BYTES;

/// Memory is registered in pieces of this size, which is also the largest one lent.
pub(super) const CHUNK_BYTES: usize = 2 << 20;
/// As many as the kernel registers with one ring.
const CHUNKS_MAX: usize = 1 << 14;
const CHUNK_BLOCKS: usize = CHUNK_BYTES / BLOCK_BYTES;

/// The addresses themselves. Alive as long as any buffer lent from them.
struct Region {
    start: NonNull<u8>,
    bytes: usize,
    /// First block and count of what has come back, from whatever thread.
    returned: SegQueue<(usize, usize)>,
}

// SAFETY: `start` is only an address; who may use which part of the memory is settled by lending each
// block once until it is returned through the queue, which is itself Sync.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    fn reserve(bytes: usize) -> io::Result<Self> {
        // A chunk more than needed, to begin at a border that a huge page can start on.
        let mapped = bytes + CHUNK_BYTES;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping touches nothing that exists.
        let address =
            unsafe { libc::mmap(ptr::null_mut(), mapped, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let before = address.align_offset(CHUNK_BYTES);
        // SAFETY: both ends cut off belong to the mapping just made and nothing uses them; what stays is
        // `bytes` long, since less than a chunk was cut in front. The advice changes no content; where
        // huge pages are switched off it fails, which costs nothing.
        let start = unsafe {
            let start = address.byte_add(before);
            if before > 0 {
                libc::munmap(address, before);
            }
            libc::munmap(start.byte_add(bytes), CHUNK_BYTES - before);
            libc::madvise(start, bytes, libc::MADV_HUGEPAGE);
            start
        };
        let start = NonNull::new(start.cast()).expect("mmap never gives the null page");
        Ok(Self { start, bytes, returned: SegQueue::new() })
    }

    fn address(&self, block: usize) -> NonNull<u8> {
        assert!(block * BLOCK_BYTES < self.bytes, "outside the region");
        // SAFETY: inside the mapping, as just checked.
        unsafe { self.start.add(block * BLOCK_BYTES) }
    }

    /// How far into the region an address is, if it is in it.
    fn offset(&self, address: *const u8) -> Option<usize> {
        (address as usize).checked_sub(self.start.as_ptr() as usize).filter(|offset| *offset < self.bytes)
    }
}

impl Release for Region {
    fn release(&self, start: NonNull<u8>, capacity: usize) {
        let offset = self.offset(start.as_ptr()).expect("lent from here");
        self.returned.push((offset / BLOCK_BYTES, capacity / BLOCK_BYTES));
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the last owner is gone, so no buffer points here. The kernel holds its own reference
        // to pages of an operation in flight, and the driver outwaits those.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// A chunk about to be used for the first time: to be registered at this index of the ring.
pub(super) struct Fresh {
    pub(super) index: usize,
    pub(super) memory: libc::iovec,
}

pub(super) struct Arena {
    region: Arc<Region>,
    chunks: Vec<Chunk>,
    chunks_max: usize,
}

struct Chunk {
    free: FreeBlocks,
    memory: Memory,
    /// Looks in a row at which nothing of it was lent, nor had been in between.
    quiet_looks: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// Given back; nothing can be lent.
    Away,
    Held {
        registered: bool,
    },
}

/// After so many quiet looks a chunk goes back.
const QUIET_LOOKS: u32 = 10;

impl Arena {
    pub(super) fn new(bytes_max: usize) -> io::Result<Self> {
        let chunks_max = bytes_max.div_ceil(CHUNK_BYTES).clamp(1, CHUNKS_MAX);
        let region = Arc::new(Region::reserve(chunks_max * CHUNK_BYTES)?);
        Ok(Self { region, chunks: Vec::new(), chunks_max })
    }

    pub(super) fn chunks_max(&self) -> usize {
        self.chunks_max
    }

    /// Memory for at least `bytes`; heap memory if this is too much or all is lent. `register` is asked
    /// once for each chunk and says whether the kernel took it.
    pub(super) fn buffer(&mut self, bytes: usize, register: impl FnOnce(Fresh) -> bool) -> Buffer {
        if bytes > CHUNK_BYTES {
            return Buffer::heap(bytes);
        }
        self.take_back();
        let blocks = bytes.div_ceil(BLOCK_BYTES).max(1);
        let found = self.find(blocks).or_else(|| self.grow(register).then(|| self.find(blocks)).flatten());
        let Some(block) = found else { return Buffer::heap(bytes) };
        let start = self.region.address(block);
        // SAFETY: the blocks are aligned, initialised (fresh mappings read as zeros) and were just marked
        // as lent; they are lent again only after the region's `release` has been called for them.
        unsafe { Buffer::pooled(start, blocks * BLOCK_BYTES, self.region.clone()) }
    }

    /// The registered buffer that holds this memory, if any does.
    pub(super) fn registered(&self, memory: &[u8]) -> Option<u16> {
        let first = self.region.offset(memory.as_ptr())? / CHUNK_BYTES;
        let last = self.region.offset(memory.last()?)? / CHUNK_BYTES;
        let whole = first == last && self.chunks.get(first)?.memory == Memory::Held { registered: true };
        whole.then(|| u16::try_from(first).expect("bounded by CHUNKS_MAX"))
    }

    fn take_back(&mut self) {
        while let Some((block, blocks)) = self.region.returned.pop() {
            self.chunks[block / CHUNK_BLOCKS].free.give(block % CHUNK_BLOCKS, blocks);
        }
    }

    /// Looks for a chunk that nobody needs any more, once a second or so, and gives it back, unless it is the first.
    /// `unregister` is asked if the kernel has it registered, and says whether it let go.
    pub(super) fn look(&mut self, unregister: impl FnOnce(usize) -> bool) {
        self.take_back();
        for chunk in &mut self.chunks {
            chunk.quiet_looks = if chunk.free.is_whole() { chunk.quiet_looks + 1 } else { 0 };
        }
        let is_spare = |chunk: &Chunk| chunk.memory != Memory::Away && chunk.quiet_looks >= QUIET_LOOKS;
        let Some(index) = self.chunks.iter().skip(1).position(is_spare).map(|at| at + 1) else { return };
        let chunk = &mut self.chunks[index];
        if chunk.memory == (Memory::Held { registered: true }) && !unregister(index) {
            chunk.quiet_looks = 0;
            return;
        }
        chunk.memory = Memory::Away;
        let start = self.region.address(index * CHUNK_BLOCKS);
        // SAFETY: nothing of the chunk is lent, and nothing will be before it is held again; it then reads as zeros. If it
        // fails, the memory just stays.
        unsafe { libc::madvise(start.as_ptr().cast(), CHUNK_BYTES, libc::MADV_DONTNEED) };
    }

    fn find(&mut self, blocks: usize) -> Option<usize> {
        let found = |(index, chunk): (usize, &mut Chunk)| {
            if chunk.memory == Memory::Away {
                return None;
            }
            let block = chunk.free.take(blocks)?;
            chunk.quiet_looks = 0;
            Some(index * CHUNK_BLOCKS + block)
        };
        self.chunks.iter_mut().enumerate().find_map(found)
    }

    fn grow(&mut self, register: impl FnOnce(Fresh) -> bool) -> bool {
        let away = self.chunks.iter().position(|chunk| chunk.memory == Memory::Away);
        let index = away.unwrap_or(self.chunks.len());
        if index == self.chunks_max {
            return false;
        }
        let start = self.region.address(index * CHUNK_BLOCKS);
        let memory = libc::iovec { iov_base: start.as_ptr().cast(), iov_len: CHUNK_BYTES };
        let registered = register(Fresh { index, memory });
        let chunk = Chunk { free: FreeBlocks::new(), memory: Memory::Held { registered }, quiet_looks: 0 };
        match away {
            Some(at) => self.chunks[at] = chunk,
            None => self.chunks.push(chunk),
        }
        true
    }
}

/// The free blocks of one chunk, as a binary tree: each node knows the largest free run below it that
/// starts at a multiple of its own length (a buddy allocator). Lending and giving back cost its height.
struct FreeBlocks {
    /// Node 1 is the root, node n has children 2n and 2n + 1. The value is 1 + log2 of the run, or 0.
    tree: Box<[u8; 2 * CHUNK_BLOCKS]>,
}

const HEIGHT: u32 = CHUNK_BLOCKS.ilog2();

impl FreeBlocks {
    fn new() -> Self {
        let mut tree = Box::new([0; 2 * CHUNK_BLOCKS]);
        for (node, run) in tree.iter_mut().enumerate().skip(1) {
            *run = order_of(node) + 1;
        }
        Self { tree }
    }

    fn is_whole(&self) -> bool {
        self.tree[1] == order_of(1) + 1
    }

    /// Lends a run of blocks. Only as many as asked: the rest of the power of two stays free.
    fn take(&mut self, blocks: usize) -> Option<usize> {
        let order = blocks.next_power_of_two().ilog2() as u8;
        if self.tree[1] <= order {
            return None;
        }
        let mut node = 1;
        while order_of(node) > order {
            // A node that is free as a whole has children that say so too.
            node *= 2;
            if self.tree[node] <= order {
                node += 1;
            }
        }
        let first = (node << order) - CHUNK_BLOCKS;
        self.set(node, 0);
        self.give(first + blocks, (1 << order) - blocks);
        Some(first)
    }

    /// Frees a run, in pieces that are aligned powers of two.
    fn give(&mut self, mut first: usize, mut blocks: usize) {
        while blocks > 0 {
            let aligned = if first == 0 { HEIGHT } else { first.trailing_zeros() };
            let order = aligned.min(blocks.ilog2());
            let node = (first + CHUNK_BLOCKS) >> order;
            self.set(node, order as u8 + 1);
            first += 1 << order;
            blocks -= 1 << order;
        }
    }

    /// Marks all below a node as free or lent and tells its ancestors.
    fn set(&mut self, mut node: usize, run: u8) {
        self.mark(node, run);
        while node > 1 {
            node /= 2;
            let (left, right) = (self.tree[2 * node], self.tree[2 * node + 1]);
            let whole = order_of(node);
            self.tree[node] = if left == whole && right == whole { whole + 1 } else { left.max(right) };
        }
    }

    fn mark(&mut self, node: usize, run: u8) {
        let (mut first, mut count, mut run) = (node, 1, run);
        while first < self.tree.len() {
            self.tree[first..first + count].fill(run);
            first *= 2;
            count *= 2;
            run = run.saturating_sub(1);
        }
    }
}

/// log2 of the blocks below a node.
fn order_of(node: usize) -> u8 {
    (HEIGHT - node.ilog2()) as u8
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn free_blocks_are_lent_once_and_come_together_again() {
        let mut free = FreeBlocks::new();
        let mut lent = vec![false; CHUNK_BLOCKS];
        let mut runs = Vec::new();
        let mut state = 1_u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let blocks = 1 + (state >> 33) as usize % 40;
            if (state >> 60) < 8 {
                if let Some(first) = free.take(blocks) {
                    assert!(lent[first..first + blocks].iter().all(|lent| !lent), "lent twice");
                    lent[first..first + blocks].fill(true);
                    runs.push((first, blocks));
                }
            } else if !runs.is_empty() {
                let (first, blocks) = runs.swap_remove((state >> 40) as usize % runs.len());
                lent[first..first + blocks].fill(false);
                free.give(first, blocks);
            }
        }
        for (first, blocks) in runs {
            free.give(first, blocks);
        }
        assert_eq!(free.take(CHUNK_BLOCKS), Some(0));
        assert_eq!(free.take(1), None);
    }

    #[test]
    fn memory_beyond_the_arena_is_heap_memory() {
        let mut arena = Arena::new(2 * CHUNK_BYTES).unwrap();
        let mut fresh = Vec::new();
        let mut lent: Vec<Buffer> = Vec::new();
        for _ in 0..3 {
            lent.push(arena.buffer(CHUNK_BYTES, |chunk| {
                fresh.push(chunk.index);
                chunk.index == 0
            }));
        }
        assert_eq!(fresh, [0, 1]);
        let known: Vec<Option<u16>> =
            lent.iter_mut().map(|buffer| arena.registered(buffer.whole())).collect();
        assert_eq!(known, [Some(0), None, None], "the second was refused, the third is heap memory");
        let large = arena.buffer(CHUNK_BYTES + 1, |_| unreachable!("there is no room to grow"));
        assert_eq!(large.capacity(), CHUNK_BYTES + BLOCK_BYTES);
    }

    #[test]
    fn chunks_that_nothing_is_lent_from_go_back_and_come_again() {
        let mut arena = Arena::new(3 * CHUNK_BYTES).unwrap();
        let lend = |arena: &mut Arena| {
            let mut buffer = arena.buffer(CHUNK_BYTES, |_| true);
            buffer.whole().fill(7);
            buffer
        };
        let lent = [lend(&mut arena), lend(&mut arena), lend(&mut arena)];
        let [first, second, third] = lent;
        drop((first, second));
        let mut gone = Vec::new();
        for _ in 0..2 * QUIET_LOOKS {
            arena.look(|index| {
                gone.push(index);
                true
            });
        }
        assert_eq!(gone, [1], "the first stays, the third is lent");
        drop(third);
        for _ in 0..QUIET_LOOKS - 1 {
            arena.look(|_| unreachable!("not quiet for long enough"));
        }
        let mut fresh = Vec::new();
        let both: Vec<Buffer> = (0..3)
            .map(|_| {
                arena.buffer(CHUNK_BYTES, |chunk| {
                    fresh.push(chunk.index);
                    true
                })
            })
            .collect();
        assert_eq!(fresh, [1]);
        let mut of_second = both.into_iter().nth(1).unwrap();
        assert_eq!(arena.registered(of_second.whole()), Some(2), "what is held comes before what is away");
        arena.look(|_| unreachable!("all was lent since the last look"));
    }

    #[test]
    fn a_chunk_that_the_kernel_keeps_stays() {
        let mut arena = Arena::new(2 * CHUNK_BYTES).unwrap();
        let lent = [arena.buffer(CHUNK_BYTES, |_| true), arena.buffer(CHUNK_BYTES, |_| true)];
        drop(lent);
        let mut asked = 0;
        for _ in 0..3 * QUIET_LOOKS {
            arena.look(|_| {
                asked += 1;
                false
            });
        }
        assert_eq!(asked, 3);
        let mut again = [arena.buffer(CHUNK_BYTES, |_| false), arena.buffer(CHUNK_BYTES, |_| false)];
        assert_eq!(arena.registered(again[1].whole()), Some(1));
    }

    #[test]
    fn memory_given_back_by_another_thread_is_lent_again_and_outlives_the_arena() {
        let mut arena = Arena::new(CHUNK_BYTES).unwrap();
        let mut first = arena.buffer(CHUNK_BYTES, |_| true);
        let address = first.whole().as_ptr() as usize;
        thread::spawn(move || drop(first)).join().unwrap();
        let mut second = arena.buffer(CHUNK_BYTES, |_| unreachable!("one chunk is there"));
        assert_eq!(second.whole().as_ptr() as usize, address);
        drop(arena);
        second.whole().fill(1);
        let frozen = second.freeze();
        thread::spawn(move || drop(frozen)).join().unwrap();
    }
}
