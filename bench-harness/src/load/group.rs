//! A group of consumers that share the partitions: what those of all threads know of each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use crate::client::group::Terms;

#[derive(Debug)]
pub(crate) struct Group {
    /// Among the groups of the run.
    pub(crate) number: usize,
    pub(crate) terms: Arc<Terms>,
    /// Members that it will have.
    pub(crate) size: usize,
    /// How far each slot was read, whoever did it.
    read: Vec<AtomicI64>,
    /// How many slots members read from.
    held: AtomicUsize,
}

impl Group {
    pub(crate) fn new(number: usize, terms: Terms, size: usize) -> Self {
        let read = (0..terms.topics.slots()).map(|_| AtomicI64::new(0)).collect();
        Self { number, terms: Arc::new(terms), size, read, held: AtomicUsize::new(0) }
    }

    pub(crate) fn has_read(&self, slot: u32, next_offset: i64) {
        self.read[slot as usize].fetch_max(next_offset, Ordering::Relaxed);
    }

    pub(crate) fn has_read_up_to(&self, ends: &[i64]) -> bool {
        self.read.iter().zip(ends).all(|(read, end)| read.load(Ordering::Relaxed) >= *end)
    }

    /// A member reads from other slots than before.
    pub(crate) fn hold(&self, slots: usize, before: usize) {
        self.held.fetch_add(slots, Ordering::Relaxed);
        self.held.fetch_sub(before, Ordering::Relaxed);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed) == self.read.len()
    }
}
