//! What this crate needs of a disk. The only way it touches files.
//!
//! Paths are relative to one data directory and use `/`. All futures are local to one core.

pub mod memory;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;

pub use crate::buffer::BLOCK_BYTES;
use crate::buffer::Buffer;

/// A boxed future that stays on its core.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An existing file, read and write, past the page cache: writes are block-aligned.
    Direct,
    /// As `Direct`, created if it is not there. Its folder must be synced by the caller.
    DirectCreate,
    /// An existing file read through the page cache, any position: small files and sealed indexes.
    Buffered,
    /// A new or truncated file written through the page cache, any position.
    BufferedCreate,
}

/// Which queue of the device a request waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Appends somebody waits for.
    Append,
    /// Consumers reading what is no longer in memory.
    Read,
    /// Recovery, prefilling, deleting.
    Background,
}

/// Whether a write is on stable storage when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Data and the metadata needed to read it back are flushed (RWF_DSYNC).
    Durable,
    /// Only handed to the device; a later [`File::sync`] makes it durable.
    Later,
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub is_dir: bool,
    pub bytes: u64,
    /// When it was last written to, in milliseconds since the epoch.
    pub modified_ms: i64,
}

/// Room on the filesystem that holds the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub total_bytes: u64,
    pub free_bytes: u64,
}

/// One data directory. Object-safe; one per core and directory.
pub trait Disk {
    /// An empty block-aligned buffer with room for at least `bytes`; from registered memory where
    /// there is some.
    fn buffer(&self, bytes: usize) -> Buffer;
    fn open(&self, path: &str, mode: Mode) -> LocalFuture<'_, io::Result<Rc<dyn File>>>;
    /// Entries of a folder, sorted by name. An empty path is the data directory itself.
    fn list(&self, path: &str) -> LocalFuture<'_, io::Result<Vec<Entry>>>;
    /// Creates a folder whose parent exists; fine if it is already there.
    fn create_dir(&self, path: &str) -> LocalFuture<'_, io::Result<()>>;
    /// Atomic; replaces `to` if it is a file.
    fn rename(&self, from: &str, to: &str) -> LocalFuture<'_, io::Result<()>>;
    /// Removes a file or an empty folder.
    fn remove(&self, path: &str) -> LocalFuture<'_, io::Result<()>>;
    /// Makes creations, renames and removals in this folder durable.
    fn sync_dir(&self, path: &str) -> LocalFuture<'_, io::Result<()>>;
    fn space(&self) -> io::Result<Space>;
}

/// An open file. Dropping the last handle closes it.
#[allow(clippy::len_without_is_empty, reason = "a length that costs a system call")]
pub trait File {
    /// Up to `bytes` bytes from any `position`; fewer only at the end of the file.
    fn read_at(&self, position: u64, bytes: usize, class: Class) -> LocalFuture<'_, io::Result<Bytes>>;
    /// Writes all of `data` or fails. On a direct file, position, length and memory are aligned
    /// (memory comes from [`Disk::buffer`]). The write goes on if the future is dropped.
    fn write_at(
        &self,
        position: u64,
        data: Bytes,
        sync: Sync,
        class: Class,
    ) -> LocalFuture<'_, io::Result<()>>;
    /// Everything written is on stable storage. After an error the file must not be trusted again.
    fn sync(&self) -> LocalFuture<'_, io::Result<()>>;
    /// Reserves space for `[position, position + bytes)` and grows the file to hold it; reads as zeros.
    fn allocate(&self, position: u64, bytes: u64) -> LocalFuture<'_, io::Result<()>>;
    /// Cuts (or grows with a hole) to `bytes`.
    fn truncate(&self, bytes: u64) -> LocalFuture<'_, io::Result<()>>;
    /// Physical length in bytes.
    fn len(&self) -> LocalFuture<'_, io::Result<u64>>;
}
