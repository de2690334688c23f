//! A data directory and its files on helper threads: positional writes, direct where the filesystem can, and fdatasync.

use std::fs;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use storage::buffer::Buffer;
use storage::disk::{Class, Disk, Entry, File, LocalFuture, Mode, Space, Sync};

use crate::folder::{self, Folder};
use crate::machine::DataDir;
use crate::seat::Seat;

pub(crate) struct Directory {
    seat: Rc<Seat>,
    folder: Folder,
    direct: bool,
}

impl Directory {
    pub(crate) fn new(seat: Rc<Seat>, dir: &DataDir) -> Self {
        Self { seat, folder: Folder::new(dir.path.clone()), direct: dir.direct }
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Whether files can bypass the page cache here.
    pub(crate) fn is_direct(&self) -> bool {
        self.direct
    }

    fn on_folder<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> io::Result<T> + Send + 'static,
    ) -> LocalFuture<'_, io::Result<T>> {
        let folder = self.folder.clone();
        Box::pin(self.seat.blocking(move || work(&folder)))
    }
}

impl Disk for Directory {
    fn buffer(&self, bytes: usize) -> Buffer {
        Buffer::heap(bytes)
    }

    fn open(&self, path: &str, mode: Mode) -> LocalFuture<'_, io::Result<Rc<dyn File>>> {
        let (folder, path, direct) = (self.folder.clone(), path.to_owned(), self.direct);
        let opening = self.seat.blocking(move || folder.open(&path, mode, direct));
        Box::pin(async move {
            let direct = self.direct && folder::is_direct(mode);
            let file: Rc<dyn File> = Rc::new(Blocking::new(self.seat.clone(), opening.await?, direct));
            Ok(file)
        })
    }

    fn list(&self, path: &str) -> LocalFuture<'_, io::Result<Vec<Entry>>> {
        let path = path.to_owned();
        self.on_folder(move |folder| folder.list(&path))
    }

    fn create_dir(&self, path: &str) -> LocalFuture<'_, io::Result<()>> {
        let path = path.to_owned();
        self.on_folder(move |folder| folder.create_dir(&path))
    }

    fn rename(&self, from: &str, to: &str) -> LocalFuture<'_, io::Result<()>> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.on_folder(move |folder| folder.rename(&from, &to))
    }

    fn remove(&self, path: &str) -> LocalFuture<'_, io::Result<()>> {
        let path = path.to_owned();
        self.on_folder(move |folder| folder.remove(&path))
    }

    fn sync_dir(&self, path: &str) -> LocalFuture<'_, io::Result<()>> {
        let path = path.to_owned();
        self.on_folder(move |folder| folder.sync_dir(&path))
    }

    fn space(&self) -> io::Result<Space> {
        self.folder.space()
    }
}

/// A file every operation of which blocks a helper thread.
pub(crate) struct Blocking {
    seat: Rc<Seat>,
    file: Arc<fs::File>,
    direct: bool,
}

impl Blocking {
    pub(crate) fn new(seat: Rc<Seat>, file: fs::File, direct: bool) -> Self {
        Self { seat, file: Arc::new(file), direct }
    }

    fn on_file<T: Send + 'static>(
        &self,
        work: impl FnOnce(&fs::File) -> io::Result<T> + Send + 'static,
    ) -> LocalFuture<'_, io::Result<T>> {
        let file = self.file.clone();
        Box::pin(self.seat.blocking(move || work(&file)))
    }
}

impl File for Blocking {
    fn read_at(&self, position: u64, bytes: usize, _class: Class) -> LocalFuture<'_, io::Result<Bytes>> {
        let direct = self.direct;
        self.on_file(move |file| folder::read_at(file, position, bytes, direct))
    }

    fn write_at(
        &self,
        position: u64,
        data: Bytes,
        sync: Sync,
        _class: Class,
    ) -> LocalFuture<'_, io::Result<()>> {
        self.on_file(move |file| folder::write_at(file, position, &data, sync))
    }

    fn sync(&self) -> LocalFuture<'_, io::Result<()>> {
        self.on_file(fs::File::sync_data)
    }

    fn allocate(&self, position: u64, bytes: u64) -> LocalFuture<'_, io::Result<()>> {
        self.on_file(move |file| folder::allocate(file, position, bytes))
    }

    fn truncate(&self, bytes: u64) -> LocalFuture<'_, io::Result<()>> {
        self.on_file(move |file| file.set_len(bytes))
    }

    fn len(&self) -> LocalFuture<'_, io::Result<u64>> {
        // Answered from memory: not worth a helper thread.
        let len = self.file.metadata().map(|facts| facts.len());
        Box::pin(std::future::ready(len))
    }
}
