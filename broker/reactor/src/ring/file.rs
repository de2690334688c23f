//! A directory and its direct files on the core's ring. What is not a direct read or write goes to the
//! helper threads.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use storage::buffer::Buffer;
use storage::disk::{BLOCK_BYTES, Class, Disk, Entry, File, LocalFuture, Mode, Space, Sync};

use super::driver::Driver;
use super::transfer::Transfer;
use crate::blocking::Directory;
use crate::folder::{self, Span};
use crate::seat::Seat;

pub(super) struct RingDisk {
    seat: Rc<Seat>,
    driver: Rc<Driver>,
    directory: Directory,
}

impl RingDisk {
    pub(super) fn new(seat: Rc<Seat>, driver: Rc<Driver>, directory: Directory) -> Self {
        Self { seat, driver, directory }
    }

    async fn open_direct(&self, path: &str, mode: Mode) -> io::Result<Rc<dyn File>> {
        let (folder, path) = (self.directory.folder().clone(), path.to_owned());
        let file = self.seat.blocking(move || folder.open(&path, mode, true)).await?;
        let slot = self.driver.enter(&file);
        let open = Open { file: Some(Arc::new(file)), slot, driver: self.driver.clone() };
        Ok(Rc::new(RingFile { seat: self.seat.clone(), open: Rc::new(open) }))
    }
}

impl Disk for RingDisk {
    fn buffer(&self, bytes: usize) -> Buffer {
        self.driver.buffer(bytes)
    }

    fn open(&self, path: &str, mode: Mode) -> LocalFuture<'_, io::Result<Rc<dyn File>>> {
        if !(self.directory.is_direct() && folder::is_direct(mode)) {
            return self.directory.open(path, mode);
        }
        let path = path.to_owned();
        Box::pin(async move { self.open_direct(&path, mode).await })
    }

    fn list(&self, path: &str) -> LocalFuture<'_, io::Result<Vec<Entry>>> {
        self.directory.list(path)
    }

    fn create_dir(&self, path: &str) -> LocalFuture<'_, io::Result<()>> {
        self.directory.create_dir(path)
    }

    fn rename(&self, from: &str, to: &str) -> LocalFuture<'_, io::Result<()>> {
        self.directory.rename(from, to)
    }

    fn remove(&self, path: &str) -> LocalFuture<'_, io::Result<()>> {
        self.directory.remove(path)
    }

    fn sync_dir(&self, path: &str) -> LocalFuture<'_, io::Result<()>> {
        self.directory.sync_dir(path)
    }

    fn space(&self) -> io::Result<Space> {
        self.directory.space()
    }
}

/// An open file and its place in the ring's table. Stays open while a transfer is under way.
pub(super) struct Open {
    /// None only while it is dropped.
    file: Option<Arc<fs::File>>,
    slot: Option<u32>,
    driver: Rc<Driver>,
}

impl Open {
    pub(super) fn slot(&self) -> Option<u32> {
        self.slot
    }

    pub(super) fn fd(&self) -> RawFd {
        self.file().as_raw_fd()
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.file().metadata()?.len())
    }

    fn file(&self) -> &Arc<fs::File> {
        self.file.as_ref().expect("taken only when dropped")
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            self.driver.leave(self.slot, file);
        }
    }
}

struct RingFile {
    seat: Rc<Seat>,
    open: Rc<Open>,
}

impl RingFile {
    async fn run(&self, transfer: Transfer) -> io::Result<Transfer> {
        let (result, transfer) = self.open.driver.transfer(transfer).await;
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        Ok(*transfer.expect("a transfer comes back from the driver"))
    }

    fn on_file<T: Send + 'static>(
        &self,
        work: impl FnOnce(&fs::File) -> io::Result<T> + Send + 'static,
    ) -> LocalFuture<'_, io::Result<T>> {
        let file = self.open.file().clone();
        Box::pin(self.seat.blocking(move || work(&file)))
    }
}

impl File for RingFile {
    fn read_at(&self, position: u64, bytes: usize, class: Class) -> LocalFuture<'_, io::Result<Bytes>> {
        Box::pin(async move {
            if bytes == 0 {
                return Ok(Bytes::new());
            }
            let span = Span::around(position, bytes);
            let buffer = self.open.driver.buffer(span.bytes);
            let open = self.open.clone();
            let transfer = Transfer::read(open, span.position, buffer, span.bytes, class);
            Ok(span.cut(self.run(transfer).await?.into_read()?, bytes))
        })
    }

    fn write_at(
        &self,
        position: u64,
        data: Bytes,
        sync: Sync,
        class: Class,
    ) -> LocalFuture<'_, io::Result<()>> {
        if let Some(error) = misaligned(position, &data) {
            return Box::pin(std::future::ready(Err(error)));
        }
        if data.is_empty() && sync == Sync::Later {
            return Box::pin(std::future::ready(Ok(())));
        }
        let open = self.open.clone();
        let transfer = match data.is_empty() {
            true => Transfer::flush(open),
            false => Transfer::write(open, position, data, sync, class),
        };
        Box::pin(async move { self.run(transfer).await.map(drop) })
    }

    fn sync(&self) -> LocalFuture<'_, io::Result<()>> {
        let transfer = Transfer::flush(self.open.clone());
        Box::pin(async move { self.run(transfer).await.map(drop) })
    }

    fn allocate(&self, position: u64, bytes: u64) -> LocalFuture<'_, io::Result<()>> {
        self.on_file(move |file| folder::allocate(file, position, bytes))
    }

    fn truncate(&self, bytes: u64) -> LocalFuture<'_, io::Result<()>> {
        self.on_file(move |file| file.set_len(bytes))
    }

    fn len(&self) -> LocalFuture<'_, io::Result<u64>> {
        // Answered from memory: not worth a helper thread.
        Box::pin(std::future::ready(self.open.len()))
    }
}

/// Said here rather than by the kernel: some filesystems would quietly fall back to the page cache.
fn misaligned(position: u64, data: &[u8]) -> Option<io::Error> {
    let aligned = position.is_multiple_of(BLOCK_BYTES as u64)
        && data.len().is_multiple_of(BLOCK_BYTES)
        && (data.is_empty() || data.as_ptr().addr().is_multiple_of(BLOCK_BYTES));
    let why = "a direct write needs position, length and memory in whole blocks";
    (!aligned).then(|| io::Error::new(io::ErrorKind::InvalidInput, why))
}
