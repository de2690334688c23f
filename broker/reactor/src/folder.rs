//! A data directory through plain, blocking system calls. Runs on helper threads: the portable machine
//! does all of its file work here, the ring everything that is not a direct read or write.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use rustix::fs::FallocateFlags;
use storage::buffer::Buffer;
use storage::disk::{BLOCK_BYTES, Entry, Mode, Space, Sync};

#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The real path. Whoever names a file, it stays inside the data directory.
    pub(crate) fn path(&self, relative: &str) -> io::Result<PathBuf> {
        let plain = Path::new(relative).components().all(|part| matches!(part, Component::Normal(_)));
        if !plain {
            let why = format!("{relative:?} is not a path inside a data directory");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        Ok(self.root.join(relative))
    }

    /// Opens a file; `direct` says whether this filesystem can bypass the page cache.
    pub(crate) fn open(&self, relative: &str, mode: Mode, direct: bool) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        match mode {
            Mode::Direct | Mode::Buffered => {}
            Mode::DirectCreate => {
                options.create(true).truncate(false);
            }
            Mode::BufferedCreate => {
                options.create(true).truncate(true);
            }
        }
        if direct && is_direct(mode) {
            options.custom_flags(libc::O_DIRECT);
        }
        options.open(self.path(relative)?)
    }

    pub(crate) fn list(&self, relative: &str) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.path(relative)?)? {
            let entry = entry?;
            let facts = match entry.metadata() {
                Ok(facts) => facts,
                // Removed between being listed and being looked at.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let name = entry.file_name().to_string_lossy().into_owned();
            let since_epoch = facts.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            let modified_ms = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
            entries.push(Entry { name, is_dir: facts.is_dir(), bytes: facts.len(), modified_ms });
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    pub(crate) fn create_dir(&self, relative: &str) -> io::Result<()> {
        let path = self.path(relative)?;
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            result => result,
        }
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from)?, self.path(to)?)
    }

    pub(crate) fn remove(&self, relative: &str) -> io::Result<()> {
        let path = self.path(relative)?;
        if fs::symlink_metadata(&path)?.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) }
    }

    pub(crate) fn sync_dir(&self, relative: &str) -> io::Result<()> {
        File::open(self.path(relative)?)?.sync_all()
    }

    pub(crate) fn space(&self) -> io::Result<Space> {
        let facts = rustix::fs::statvfs(&self.root)?;
        let block_bytes = facts.f_frsize;
        Ok(Space { total_bytes: facts.f_blocks * block_bytes, free_bytes: facts.f_bavail * block_bytes })
    }
}

pub(crate) fn is_direct(mode: Mode) -> bool {
    matches!(mode, Mode::Direct | Mode::DirectCreate)
}

/// Reads up to `bytes` bytes; fewer only at the end of the file. For a direct file, the blocks around
/// them are read and cut.
pub(crate) fn read_at(file: &File, position: u64, bytes: usize, direct: bool) -> io::Result<Bytes> {
    if bytes == 0 {
        return Ok(Bytes::new());
    }
    let span = if direct { Span::around(position, bytes) } else { Span { position, skip: 0, bytes } };
    let mut buffer = Buffer::heap(span.bytes);
    let filled = fill(file, span.position, &mut buffer.whole()[..span.bytes])?;
    buffer.set_len(filled);
    Ok(span.cut(buffer.freeze(), bytes))
}

fn fill(file: &File, position: u64, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read_at(&mut into[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A direct read that ended inside a block has met the end of the file; asking again from
            // there is refused.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput && filled > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

pub(crate) fn write_at(file: &File, position: u64, data: &[u8], sync: Sync) -> io::Result<()> {
    file.write_all_at(data, position)?;
    match sync {
        Sync::Durable => file.sync_data(),
        Sync::Later => Ok(()),
    }
}

/// Reserves and grows. Where the filesystem cannot reserve, the file at least gets its length.
pub(crate) fn allocate(file: &File, position: u64, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), position, bytes) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP) => {
            let end = position + bytes;
            if file.metadata()?.len() < end { file.set_len(end) } else { Ok(()) }
        }
        Err(error) => Err(error.into()),
    }
}

/// The whole blocks that hold a range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) position: u64,
    pub(crate) skip: usize,
    pub(crate) bytes: usize,
}

impl Span {
    pub(crate) fn around(position: u64, bytes: usize) -> Self {
        let start = position - position % BLOCK_BYTES as u64;
        let skip = usize::try_from(position - start).expect("less than a block");
        Self { position: start, skip, bytes: (skip + bytes).next_multiple_of(BLOCK_BYTES) }
    }

    /// The bytes asked for, of those that were read.
    pub(crate) fn cut(self, read: Bytes, bytes: usize) -> Bytes {
        let from = self.skip.min(read.len());
        let to = (self.skip + bytes).min(read.len());
        read.slice(from..to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_covers_what_was_asked_and_is_cut_back() {
        let span = Span::around(5000, 100);
        assert_eq!(span, Span { position: 4096, skip: 904, bytes: 4096 });
        assert_eq!(Span::around(4090, 10), Span { position: 0, skip: 4090, bytes: 8192 });
        let read = Bytes::from(vec![7; 950]);
        assert_eq!(span.cut(read.clone(), 100).len(), 46, "the file ended there");
        assert_eq!(Span::around(8191, 1).cut(read, 1).len(), 0, "behind the end");
    }

    #[test]
    fn no_path_leaves_the_data_directory() {
        let folder = Folder::new("/data".into());
        assert!(folder.path("../etc").is_err());
        assert!(folder.path("/etc").is_err());
        assert!(folder.path("a/../../b").is_err());
        assert_eq!(folder.path("t-0/0.log").unwrap(), Path::new("/data/t-0/0.log"));
        assert_eq!(folder.path("").unwrap(), Path::new("/data"));
    }
}
