//! What a core keeps of its logs in memory: the page cache that was given up with O_DIRECT.
//!
//! Two kinds that never push each other out: *tails* are the buffers appends were written from, *windows*
//! are what readers of older data fetched last. Each has a budget for all logs of a core; beyond it the
//! oldest go first, whichever log they belong to.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use bytes::Bytes;

/// Shared by all logs of one core.
pub struct TailCache {
    tails: Budget,
    windows: Budget,
    /// Of windows that are being read ahead, or were and nobody has come for them.
    ahead_bytes: Cell<usize>,
}

impl TailCache {
    /// A cache of at most so many bytes. Windows get their quarter of it.
    pub fn new(bytes: usize) -> Self {
        let windows = bytes / 4;
        Self { tails: Budget::new(bytes - windows), windows: Budget::new(windows), ahead_bytes: Cell::new(0) }
    }

    /// Counts a window that is read ahead. False if with it such windows would fill more than half of the room
    /// for windows: the other half is for those that are read from now.
    pub(crate) fn begin_ahead(&self, bytes: usize) -> bool {
        let with_it = self.ahead_bytes.get() + bytes;
        let has_room = with_it <= self.windows.limit_bytes / 2;
        if has_room {
            self.ahead_bytes.set(with_it);
        }
        has_room
    }

    pub(crate) fn end_ahead(&self, bytes: usize) {
        self.ahead_bytes.set(self.ahead_bytes.get() - bytes);
    }

    /// Memory held now.
    pub fn held_bytes(&self) -> usize {
        self.tails.held_bytes.get() + self.windows.held_bytes.get()
    }

    /// Gives everything back: when memory runs short.
    pub fn keep_nothing(&self) {
        self.tails.evict_all();
        self.windows.evict_all();
    }

    pub(crate) fn keep_tail(&self, shelf: &Rc<Shelf>, chunk: Chunk) {
        self.tails.put(shelf, chunk);
    }

    pub(crate) fn keep_window(&self, shelf: &Rc<Shelf>, chunk: Chunk) {
        while shelf.len() >= WINDOWS_PER_LOG {
            self.windows.take_oldest(shelf);
        }
        self.windows.put(shelf, chunk);
    }

    /// What is kept of offsets before this one is no longer what the log holds.
    pub(crate) fn forget_before(&self, tails: &Shelf, windows: &Shelf, offset: i64) {
        while tails.chunks.borrow().front().is_some_and(|(_, chunk)| chunk.next_offset <= offset) {
            self.tails.remove(tails, 0);
        }
        self.windows.clear(windows);
    }

    /// Gives back all memory of a log that goes away.
    pub(crate) fn forget(&self, tails: &Shelf, windows: &Shelf) {
        self.tails.clear(tails);
        self.windows.clear(windows);
    }
}

/// Consecutive bytes of one segment, from some block border to a batch's end.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    /// Base offset of the segment.
    pub(crate) segment: i64,
    /// Position in the segment of the first byte.
    pub(crate) start: u32,
    /// Position of the first batch that begins in here. What lies before it is the end of another.
    pub(crate) first_position: u32,
    pub(crate) first_offset: i64,
    /// What follows the last batch.
    pub(crate) next_offset: i64,
    pub(crate) data: Bytes,
    /// What it keeps alive, which may be more than `data`.
    pub(crate) memory_bytes: usize,
}

impl Chunk {
    pub(crate) fn end(&self) -> u32 {
        self.start + u32::try_from(self.data.len()).expect("positions are 32-bit")
    }

    /// It has all that `other`, which is older, has.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.segment == self.segment
            && (self.start..=self.end()).contains(&other.start)
            && self.first_offset <= other.first_offset
            && other.next_offset <= self.next_offset
    }

    pub(crate) fn holds(&self, offset: i64) -> bool {
        (self.first_offset..self.next_offset).contains(&offset)
    }
}

/// One log's chunks, oldest first.
#[derive(Default)]
pub(crate) struct Shelf {
    /// Ids grow from front to back.
    chunks: RefCell<VecDeque<(u64, Chunk)>>,
}

impl Shelf {
    /// The chunk with the batch that holds `offset`. Chunks lie in the order of their offsets.
    pub(crate) fn find(&self, offset: i64) -> Option<Chunk> {
        let chunks = self.chunks.borrow();
        // Later chunks begin with what an earlier one ended with; the latest has it whole as well.
        let after = chunks.partition_point(|(_, chunk)| chunk.first_offset <= offset);
        let (_, chunk) = chunks.get(after.checked_sub(1)?)?;
        chunk.holds(offset).then(|| chunk.clone())
    }

    /// As [`Self::find`], for chunks in any order.
    pub(crate) fn find_any(&self, offset: i64) -> Option<Chunk> {
        let chunks = self.chunks.borrow();
        chunks.iter().rev().find(|(_, chunk)| chunk.holds(offset)).map(|(_, chunk)| chunk.clone())
    }

    fn len(&self) -> usize {
        self.chunks.borrow().len()
    }

    fn position(&self, id: u64) -> Option<usize> {
        self.chunks.borrow().binary_search_by_key(&id, |(id, _)| *id).ok()
    }
}

/// One budget and the order in which its chunks came.
struct Budget {
    limit_bytes: usize,
    held_bytes: Cell<usize>,
    held_chunks: Cell<usize>,
    next_id: Cell<u64>,
    /// Oldest first. May name chunks that are gone.
    queue: RefCell<VecDeque<(Weak<Shelf>, u64)>>,
}

impl Budget {
    fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            held_bytes: Cell::new(0),
            held_chunks: Cell::new(0),
            next_id: Cell::new(0),
            queue: RefCell::default(),
        }
    }

    fn put(&self, shelf: &Rc<Shelf>, chunk: Chunk) {
        self.count(chunk.memory_bytes, 1);
        if !self.supersede(shelf, &chunk) {
            let id = self.next_id.get();
            self.next_id.set(id + 1);
            shelf.chunks.borrow_mut().push_back((id, chunk));
            self.queue.borrow_mut().push_back((Rc::downgrade(shelf), id));
        }
        while self.held_bytes.get() > self.limit_bytes && self.evict_oldest() {}
        self.sweep();
    }

    /// A log that grows in small steps writes the same block again and again: the newer chunk holds all
    /// that the last one held, and takes its place.
    fn supersede(&self, shelf: &Shelf, chunk: &Chunk) -> bool {
        let mut chunks = shelf.chunks.borrow_mut();
        let Some((_, last)) = chunks.back_mut() else { return false };
        let covers = chunk.covers(last);
        if covers {
            self.uncount(last.memory_bytes);
            *last = chunk.clone();
        }
        covers
    }

    fn evict_oldest(&self) -> bool {
        let Some((shelf, id)) = self.queue.borrow_mut().pop_front() else { return false };
        if let Some(shelf) = shelf.upgrade()
            && let Some(at) = shelf.position(id)
        {
            self.remove(&shelf, at);
        }
        true
    }

    fn evict_all(&self) {
        while self.evict_oldest() {}
    }

    fn take_oldest(&self, shelf: &Shelf) {
        if shelf.len() > 0 {
            self.remove(shelf, 0);
        }
    }

    fn clear(&self, shelf: &Shelf) {
        while shelf.len() > 0 {
            self.remove(shelf, 0);
        }
    }

    fn remove(&self, shelf: &Shelf, at: usize) {
        if let Some((_, chunk)) = shelf.chunks.borrow_mut().remove(at) {
            self.uncount(chunk.memory_bytes);
        }
    }

    /// Keeps the queue in proportion to what is held, at a cost that its growth has paid for.
    fn sweep(&self) {
        let mut queue = self.queue.borrow_mut();
        if queue.len() > 2 * self.held_chunks.get() + 64 {
            queue.retain(|(shelf, id)| shelf.upgrade().is_some_and(|shelf| shelf.position(*id).is_some()));
        }
    }

    fn count(&self, bytes: usize, chunks: usize) {
        self.held_bytes.set(self.held_bytes.get() + bytes);
        self.held_chunks.set(self.held_chunks.get() + chunks);
    }

    fn uncount(&self, bytes: usize) {
        self.held_bytes.set(self.held_bytes.get() - bytes);
        self.held_chunks.set(self.held_chunks.get() - 1);
    }
}

/// Readers of old data that one log serves at full speed at the same time.
const WINDOWS_PER_LOG: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(first_offset: i64, next_offset: i64, start: u32, bytes: usize) -> Chunk {
        Chunk {
            segment: 0,
            start,
            first_position: start,
            first_offset,
            next_offset,
            data: Bytes::from(vec![0; bytes]),
            memory_bytes: bytes,
        }
    }

    #[test]
    fn oldest_goes_first_whichever_log_it_belongs_to() {
        let cache = TailCache::new(800);
        let (a, b) = (Rc::new(Shelf::default()), Rc::new(Shelf::default()));
        cache.keep_tail(&a, chunk(0, 10, 0, 300));
        cache.keep_tail(&b, chunk(0, 10, 0, 300));
        cache.keep_tail(&a, chunk(10, 20, 300, 300));
        assert!(a.find(5).is_none() && a.find(15).is_some() && b.find(5).is_some());
        cache.keep_tail(&b, chunk(10, 20, 300, 300));
        assert!(b.find(5).is_none() && b.find(19).is_some() && b.find(20).is_none());
        assert_eq!(cache.held_bytes(), 600);
        cache.forget(&a, &Shelf::default());
        cache.forget(&b, &Shelf::default());
        assert_eq!(cache.held_bytes(), 0);
    }

    #[test]
    fn rewritten_block_is_held_once() {
        let cache = TailCache::new(1 << 20);
        let shelf = Rc::new(Shelf::default());
        for next in 1..1000 {
            cache.keep_tail(&shelf, chunk(0, next, 0, 4096));
        }
        assert_eq!((shelf.len(), cache.held_bytes()), (1, 4096));
        assert!(shelf.find(998).is_some());
        cache.keep_tail(&shelf, chunk(998, 1003, 4096, 4096));
        assert_eq!(shelf.find(998).unwrap().first_offset, 998);
        assert_eq!(shelf.find(997).unwrap().first_offset, 0);
    }

    #[test]
    fn queue_stays_in_proportion_to_what_is_held() {
        let cache = TailCache::new(1 << 20);
        for _ in 0..1000 {
            let shelf = Rc::new(Shelf::default());
            cache.keep_tail(&shelf, chunk(0, 1, 0, 10));
            cache.forget(&shelf, &Shelf::default());
        }
        assert!(cache.tails.queue.borrow().len() <= 70);
        assert_eq!(cache.held_bytes(), 0);
    }

    #[test]
    fn windows_do_not_push_out_tails() {
        let cache = TailCache::new(8000);
        let (tails, windows) = (Rc::new(Shelf::default()), Rc::new(Shelf::default()));
        cache.keep_tail(&tails, chunk(90, 100, 0, 5000));
        for at in 0..20 {
            cache.keep_window(&windows, chunk(at, at + 1, 0, 100));
        }
        assert!(tails.find(95).is_some());
        assert!(windows.find_any(19).is_some() && windows.find_any(16).is_some());
        assert!(windows.find_any(15).is_none());
    }
}
