//! A file as storage reads it, for commands that may block. Nothing is ever written.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use storage::disk::{Class, File, LocalFuture, Sync};

pub(super) struct PlainFile(fs::File);

impl PlainFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fs::File::open(path).map(Self)
    }

    fn read(&self, position: u64, bytes: usize) -> io::Result<Bytes> {
        let left = self.0.metadata()?.len().saturating_sub(position);
        let mut read = vec![0; bytes.min(usize::try_from(left).unwrap_or(usize::MAX))];
        self.0.read_exact_at(&mut read, position)?;
        Ok(read.into())
    }
}

impl File for PlainFile {
    fn read_at(&self, position: u64, bytes: usize, _: Class) -> LocalFuture<'_, io::Result<Bytes>> {
        Box::pin(async move { self.read(position, bytes) })
    }

    fn write_at(&self, _: u64, _: Bytes, _: Sync, _: Class) -> LocalFuture<'_, io::Result<()>> {
        refused()
    }

    fn sync(&self) -> LocalFuture<'_, io::Result<()>> {
        refused()
    }

    fn allocate(&self, _: u64, _: u64) -> LocalFuture<'_, io::Result<()>> {
        refused()
    }

    fn truncate(&self, _: u64) -> LocalFuture<'_, io::Result<()>> {
        refused()
    }

    fn len(&self) -> LocalFuture<'_, io::Result<u64>> {
        Box::pin(async move { Ok(self.0.metadata()?.len()) })
    }
}

fn refused() -> LocalFuture<'static, io::Result<()>> {
    Box::pin(async { Err(io::ErrorKind::ReadOnlyFilesystem.into()) })
}

/// Of what waits for plain files only, and so for nothing.
pub(super) fn finished<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("a plain file answers at once"),
    }
}
