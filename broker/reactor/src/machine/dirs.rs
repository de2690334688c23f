//! What a data directory's filesystem and device can do, tried before anything is written there.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};
use rustix::io::{ReadWriteFlags, pwritev2};
use storage::buffer::Buffer;
use storage::disk::BLOCK_BYTES;

/// What was found of one data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirFacts {
    pub path: PathBuf,
    /// The filesystem's name, such as `ext4`.
    pub filesystem: Option<String>,
    /// The device or whatever else is mounted.
    pub device: Option<String>,
    pub direct: Direct,
    pub write_cache: WriteCache,
}

/// Whether files can bypass the page cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Direct {
    Yes,
    /// The reason; writes then go through the page cache, with fdatasync.
    No(String),
    /// There was no room to try.
    Untested,
}

impl Direct {
    pub(crate) fn is_used(&self) -> bool {
        !matches!(self, Self::No(_))
    }
}

/// What the device does with a write before it is on stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteCache {
    /// A volatile cache: every durable write costs a flush.
    Volatile,
    /// As `Volatile`, but a single write can be forced through (FUA).
    Forced,
    /// None that could be lost.
    None,
    Unknown,
}

impl fmt::Display for DirFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filesystem = self.filesystem.as_deref().unwrap_or("unknown filesystem");
        let device = self.device.as_deref().unwrap_or("unknown device");
        write!(f, "{}: {filesystem} on {device}, ", self.path.display())?;
        match &self.direct {
            Direct::Yes => f.write_str("direct I/O, ")?,
            Direct::No(why) => write!(f, "NO DIRECT I/O ({why}): slower, through the page cache, ")?,
            Direct::Untested => f.write_str("no room left to test direct I/O, ")?,
        }
        f.write_str(match self.write_cache {
            WriteCache::Volatile => "volatile write cache",
            WriteCache::Forced => "volatile write cache with forced writes",
            WriteCache::None => "no volatile write cache",
            WriteCache::Unknown => "write cache unknown",
        })
    }
}

/// Looks at a data directory and writes, reads back and removes a file in it.
pub(super) fn inspect(path: &Path) -> io::Result<DirFacts> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let facts = fs::metadata(path).map_err(named)?;
    if !facts.is_dir() {
        return Err(named(io::ErrorKind::NotADirectory.into()));
    }
    let (major, minor) = (major(facts.dev()), minor(facts.dev()));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let (filesystem, device) = mount_of(&mounts, major, minor).unzip();
    let queue = Path::new("/sys/dev/block").join(format!("{major}:{minor}"));
    Ok(DirFacts {
        path: path.to_path_buf(),
        filesystem,
        device,
        direct: try_direct(path).map_err(named)?,
        write_cache: write_cache(&queue),
    })
}

/// Filesystem and source of the mount of a device.
fn mount_of(mounts: &str, major: u32, minor: u32) -> Option<(String, String)> {
    let device = format!("{major}:{minor}");
    let line = mounts.lines().rfind(|line| line.split(' ').nth(2) == Some(&device))?;
    let mut after = line.split_once(" - ")?.1.split(' ');
    Some((after.next()?.to_owned(), after.next()?.to_owned()))
}

/// `block` is the device's folder in sysfs; a partition has its queue one level up.
fn write_cache(block: &Path) -> WriteCache {
    let read = |name: &str| {
        let own = fs::read_to_string(block.join("queue").join(name));
        own.or_else(|_| fs::read_to_string(fs::canonicalize(block)?.join("../queue").join(name)))
    };
    match (read("write_cache").as_deref().map(str::trim), read("fua").as_deref().map(str::trim)) {
        (Ok("write back"), Ok("1")) => WriteCache::Forced,
        (Ok("write back"), _) => WriteCache::Volatile,
        (Ok("write through"), _) => WriteCache::None,
        _ => WriteCache::Unknown,
    }
}

fn try_direct(folder: &Path) -> io::Result<Direct> {
    let path = folder.join(format!(".probe-{}", std::process::id()));
    let result = probe(&path);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => result,
    }
}

/// The way every append goes: past the page cache, durable in one call, and read back.
fn probe(path: &Path) -> io::Result<Direct> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    // First without, so that a folder that cannot be written is told from one that cannot be direct.
    drop(options.open(path)?);
    let file = match options.custom_flags(libc::O_DIRECT).open(path) {
        Ok(file) => file,
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            return Ok(Direct::No("the filesystem does not know O_DIRECT".into()));
        }
        Err(error) => return Err(error),
    };
    match write_and_read_back(&file) {
        Ok(()) => Ok(Direct::Yes),
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(Direct::Untested),
        Err(error) if is_incapable(&error) => {
            Ok(Direct::No(format!("writing whole blocks of {BLOCK_BYTES} bytes: {error}")))
        }
        Err(error) => Err(error),
    }
}

fn write_and_read_back(file: &File) -> io::Result<()> {
    let mut written = Buffer::heap(2 * BLOCK_BYTES);
    written.whole().fill(0xa5);
    let slices = [io::IoSlice::new(written.whole())];
    let n = pwritev2(file, &slices, 0, ReadWriteFlags::DSYNC)?;
    let mut read = Buffer::heap(2 * BLOCK_BYTES);
    file.read_exact_at(read.whole(), 0)?;
    if n != written.capacity() || read.whole() != written.whole() {
        return Err(io::Error::other("what was written did not read back"));
    }
    Ok(())
}

fn is_incapable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_a_device_is_found() {
        let mounts = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
                      40 22 0:35 /x /data rw - tmpfs data rw,size=1g\n";
        assert_eq!(mount_of(mounts, 254, 0), Some(("ext4".into(), "/dev/vda".into())));
        assert_eq!(mount_of(mounts, 0, 35), Some(("tmpfs".into(), "data".into())));
        assert_eq!(mount_of(mounts, 9, 9), None);
    }

    #[test]
    fn the_queue_of_a_partition_is_its_disks() {
        let root = std::env::temp_dir().join(format!("sysfs-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("disk/queue/write_cache", "write back\n");
        write("disk/queue/fua", "1\n");
        write("disk/part1/size", "8\n");
        write("plain/queue/write_cache", "write back\n");
        write("plain/queue/fua", "0\n");
        write("safe/queue/write_cache", "write through\n");
        assert_eq!(write_cache(&root.join("disk/part1")), WriteCache::Forced);
        assert_eq!(write_cache(&root.join("plain")), WriteCache::Volatile);
        assert_eq!(write_cache(&root.join("safe")), WriteCache::None);
        assert_eq!(write_cache(&root.join("gone")), WriteCache::Unknown);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_folder_that_is_not_there_or_none_is_named() {
        let gone = inspect(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(gone.to_string().contains("/nowhere/at/all"), "{gone}");
        assert!(inspect(Path::new("/proc/self/status")).is_err());
        let refused = inspect(Path::new("/proc")).unwrap_err();
        assert!(refused.to_string().starts_with("/proc: "), "{refused}");
    }

    #[test]
    fn the_probe_leaves_nothing_behind() {
        let folder = std::env::temp_dir().join(format!("probe-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let facts = inspect(&folder).unwrap();
        assert_eq!(facts.path, folder);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir_all(folder).unwrap();
    }
}
