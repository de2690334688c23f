//! What a test asks the disk to do wrong, and what it counted.

use std::io;

/// What a disk can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Open,
    List,
    CreateDir,
    Rename,
    Remove,
    SyncDir,
    Read,
    Write,
    Sync,
    Allocate,
    Truncate,
}

/// An error to answer with. Build with [`Fault::on`].
#[derive(Clone, Debug)]
pub struct Fault {
    operation: Operation,
    path_part: String,
    skip: u64,
    is_sticky: bool,
    errno: i32,
}

impl Fault {
    /// The next such operation fails with EIO, once.
    pub fn on(operation: Operation) -> Self {
        Self { operation, path_part: String::new(), skip: 0, is_sticky: false, errno: EIO }
    }

    /// Only for paths that contain this.
    pub fn path(self, part: &str) -> Self {
        Self { path_part: part.to_owned(), ..self }
    }

    /// So many go well first.
    pub fn after(self, operations: u64) -> Self {
        Self { skip: operations, ..self }
    }

    /// Never heals.
    pub fn sticky(self) -> Self {
        Self { is_sticky: true, ..self }
    }

    pub fn errno(self, errno: i32) -> Self {
        Self { errno, ..self }
    }
}

/// What was asked of the disk since it was made or the counters were reset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    operations: std::collections::BTreeMap<Operation, u64>,
    pub durable_writes: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
}

impl Counters {
    pub fn of(&self, operation: Operation) -> u64 {
        self.operations.get(&operation).copied().unwrap_or(0)
    }

    /// All operations of any kind.
    pub fn total(&self) -> u64 {
        self.operations.values().sum()
    }
}

#[derive(Default)]
pub(super) struct Faults {
    planned: Vec<Fault>,
    pub(super) counters: Counters,
}

impl Faults {
    pub(super) fn plan(&mut self, fault: Fault) {
        self.planned.push(fault);
    }

    pub(super) fn heal(&mut self) {
        self.planned.clear();
    }

    /// Counts an operation and says whether it goes well.
    pub(super) fn begin(&mut self, operation: Operation, path: &str) -> io::Result<()> {
        *self.counters.operations.entry(operation).or_default() += 1;
        let mut failure = None;
        self.planned.retain_mut(|fault| {
            if fault.operation != operation || !path.contains(&fault.path_part) {
                return true;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                return true;
            }
            if failure.is_some() {
                return true;
            }
            failure = Some(fault.errno);
            fault.is_sticky
        });
        failure.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }
}

pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;
