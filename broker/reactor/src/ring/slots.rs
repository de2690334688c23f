//! Files registered with the ring, which spares the kernel a look-up per operation. Lives on one core.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use io_uring::Submitter;

pub(super) struct Slots {
    /// False if the kernel has no such table.
    exist: bool,
    free: RefCell<Vec<u32>>,
    /// Slots that were ever used.
    used: Cell<u32>,
    /// Closed files, the slot of which the kernel still has to be told about.
    leaving: RefCell<Vec<(u32, Arc<File>)>>,
    /// Files to close where closing may block.
    left: RefCell<Vec<Arc<File>>>,
}

impl Slots {
    pub(super) fn new(submitter: &Submitter<'_>) -> Self {
        let exist = submitter.register_files_sparse(SLOTS).is_ok();
        Self {
            exist,
            free: RefCell::default(),
            used: Cell::new(0),
            leaving: RefCell::default(),
            left: RefCell::default(),
        }
    }

    /// A slot for a file, if one is left.
    pub(super) fn enter(&self, submitter: &Submitter<'_>, fd: RawFd) -> Option<u32> {
        if !self.exist {
            return None;
        }
        let free = self.free.borrow_mut().pop();
        let slot = match free {
            Some(slot) => slot,
            None if self.used.get() < SLOTS => self.used.replace(self.used.get() + 1),
            None => return None,
        };
        if submitter.register_files_update(slot, &[fd]).is_ok() {
            return Some(slot);
        }
        self.free.borrow_mut().push(slot);
        None
    }

    /// A file that nothing uses any more.
    pub(super) fn leave(&self, slot: Option<u32>, file: Arc<File>) {
        match slot {
            Some(slot) => self.leaving.borrow_mut().push((slot, file)),
            None => self.left.borrow_mut().push(file),
        }
    }

    /// Tells the kernel of the files that left.
    pub(super) fn release(&self, submitter: &Submitter<'_>) {
        if self.leaving.borrow().is_empty() {
            return;
        }
        for (slot, file) in self.leaving.take() {
            // A slot that cannot be emptied keeps its file open; it is not used again.
            match submitter.register_files_update(slot, &[EMPTY]) {
                Ok(_) => self.free.borrow_mut().push(slot),
                Err(error) => {
                    tracing::warn!(%error, fd = file.as_raw_fd(), "a closed file stays in the ring's table");
                }
            }
            // Order: the descriptor goes last, so that the final close, which may free a deleted file's
            // blocks, does not happen in the table's update on this thread.
            self.left.borrow_mut().push(file);
        }
    }

    /// Files to close elsewhere.
    pub(super) fn take_left(&self) -> Vec<Arc<File>> {
        self.left.take()
    }
}

/// Files beyond these are used by their descriptor.
const SLOTS: u32 = 4096;
const EMPTY: RawFd = -1;
