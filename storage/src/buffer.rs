//! Block-aligned memory for direct I/O. One of the two places with `unsafe`.
//!
//! A [`Buffer`] is filled by one owner, then [`Buffer::freeze`] turns it into [`Bytes`] that can be
//! written, cached and sent without a copy, also from another core.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::Arc;

use bytes::Bytes;

/// Alignment of positions, lengths and memory for [`Mode::Direct`](crate::disk::Mode::Direct) files, in bytes.
pub const BLOCK_BYTES: usize = 4096;

/// Where pooled memory goes back to. Called from any thread.
pub trait Release: Send + Sync {
    fn release(&self, start: NonNull<u8>, capacity: usize);
}

/// Aligned, owned memory with a filled part `[0, len)`. All of it is always initialised.
pub struct Buffer {
    start: NonNull<u8>,
    capacity: usize,
    len: usize,
    pool: Option<Arc<dyn Release>>,
}

// SAFETY: the memory is owned exclusively by this value; pools are Send + Sync.
unsafe impl Send for Buffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Zeroed heap memory, at least `bytes` and a whole number of blocks.
    pub fn heap(bytes: usize) -> Self {
        let capacity = bytes.max(1).next_multiple_of(BLOCK_BYTES);
        let layout = Layout::from_size_align(capacity, BLOCK_BYTES).expect("a block-aligned size");
        // SAFETY: the layout has a non-zero size.
        let Some(start) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { handle_alloc_error(layout) };
        Self { start, capacity, len: 0, pool: None }
    }

    /// Memory lent by a pool.
    ///
    /// # Safety
    /// `start` is block-aligned, points to `capacity` initialised bytes that nobody else uses until
    /// `pool.release(start, capacity)` is called.
    pub unsafe fn pooled(start: NonNull<u8>, capacity: usize, pool: Arc<dyn Release>) -> Self {
        Self { start, capacity, len: 0, pool: Some(pool) }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn room(&self) -> usize {
        self.capacity - self.len
    }

    /// Appends `bytes`; the caller has checked that there is room.
    pub fn extend(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.room(), "buffer overrun");
        let end = self.len + bytes.len();
        self.whole()[end - bytes.len()..end].copy_from_slice(bytes);
        self.len = end;
    }

    /// Cuts or grows the filled part; bytes gained keep whatever they held.
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity, "buffer overrun");
        self.len = len;
    }

    /// Zeroes up to the next block border and counts it as filled.
    pub fn pad_to_block(&mut self) {
        let end = self.len.next_multiple_of(BLOCK_BYTES);
        let from = self.len;
        self.whole()[from..end].fill(0);
        self.len = end;
    }

    /// The whole memory, filled or not: for reads from a device into it.
    pub fn whole(&mut self) -> &mut [u8] {
        // SAFETY: the memory is initialised, owned, and borrowed mutably through self.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.capacity) }
    }

    /// The filled part as immutable, shareable bytes.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: as in `whole`, shared.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        &mut self.whole()[..len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        match &self.pool {
            Some(pool) => pool.release(self.start, self.capacity),
            // SAFETY: allocated in `heap` with this very layout.
            None => unsafe {
                dealloc(self.start.as_ptr(), Layout::from_size_align_unchecked(self.capacity, BLOCK_BYTES));
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_bytes_are_what_was_filled_in_and_aligned() {
        let mut buffer = Buffer::heap(5000);
        assert_eq!(buffer.capacity(), 2 * BLOCK_BYTES);
        buffer.extend(b"abc");
        buffer.pad_to_block();
        let bytes = buffer.freeze();
        assert_eq!(bytes.len(), BLOCK_BYTES);
        assert_eq!(&bytes[..4], b"abc\0");
        assert_eq!(bytes.as_ptr() as usize % BLOCK_BYTES, 0);
    }
}
