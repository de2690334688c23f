//! The lock on a data directory: POSIX record locks, which Apache Kafka takes on the same file, so that of all
//! brokers of either kind one runs on it.
//!
//! Such a lock is the process's, and it is gone as soon as the process closes any descriptor of the file: nothing else
//! here may open it.
#![allow(clippy::disallowed_methods, reason = "before the cores start, or without any, there is no reactor")]

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, fcntl_getlk};

/// A data directory that nobody else takes while this lives.
#[derive(Debug)]
pub(crate) struct DirLock {
    pub(crate) file: File,
}

/// Why a directory cannot be locked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// By that process, if the kernel can tell.
    #[error("{}", held(*.0))]
    Held(Option<i32>),
    #[error("cannot open {}: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot lock {}: {source}", path.display())]
    Lock { path: PathBuf, source: io::Error },
}

fn held(by: Option<i32>) -> String {
    match by {
        Some(pid) => format!("another broker runs on it, as process {pid}"),
        None => "another broker runs on it".to_owned(),
    }
}

impl DirLock {
    /// For a broker, which is to be alone.
    pub(crate) fn exclusive(dir: &Path) -> Result<Self, LockError> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        take(dir, &options, FlockOperation::NonBlockingLockExclusive)
    }

    /// For whoever only reads: keeps brokers away. The file must be there.
    pub(crate) fn shared(dir: &Path) -> Result<Self, LockError> {
        take(dir, OpenOptions::new().read(true), FlockOperation::NonBlockingLockShared)
    }
}

fn take(dir: &Path, options: &OpenOptions, operation: FlockOperation) -> Result<DirLock, LockError> {
    let path = dir.join(storage::format::LOCK);
    let file = match options.open(&path) {
        Ok(file) => file,
        Err(source) => return Err(LockError::Open { path, source }),
    };
    match fcntl_lock(&file, operation) {
        Ok(()) => Ok(DirLock { file }),
        Err(Errno::AGAIN | Errno::ACCESS) => Err(LockError::Held(holder(&file))),
        Err(errno) => Err(LockError::Lock { path, source: errno.into() }),
    }
}

/// None too for a process that this one cannot see.
fn holder(file: &File) -> Option<i32> {
    let lock = fcntl_getlk(file, &Flock::from(FlockType::WriteLock)).ok()??;
    lock.pid.map(|pid| pid.as_raw_pid()).filter(|pid| *pid > 0)
}

impl LockError {
    /// There is no such file, so no broker has ever run there.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Open { source, .. } if source.kind() == ErrorKind::NotFound)
    }
}
