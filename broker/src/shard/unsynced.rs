//! Whether the last run may have shown records that are gone now: it ran with `durability=written` and did not
//! end well. Then leader epochs rise, and clients that read such records learn that history is another.
//!
//! A marker file in the first data directory says so, whatever the setting is by the next start.

use storage::Error;
use storage::checkpoint::{read_whole, write_atomically};
use storage::disk::Disk;
use storage::format::UNSYNCED;
use storage::log::Durability;

/// The file is empty.
const BYTES_MAX: usize = 4096;

/// At start: whether a run left its marker behind.
pub(crate) async fn left_behind(disk: &dyn Disk) -> Result<bool, Error> {
    Ok(read_whole(disk, UNSYNCED, BYTES_MAX).await?.is_some())
}

/// Once leader epochs have risen for what was left behind, and before anything is shown: this run's own marker.
pub(crate) async fn begin(disk: &dyn Disk, durability: Durability, left_behind: bool) -> Result<(), Error> {
    match (durability, left_behind) {
        (Durability::Written, false) => write_atomically(disk, UNSYNCED, Vec::new()).await,
        (Durability::Synced, true) => remove(disk).await,
        (Durability::Written, true) | (Durability::Synced, false) => Ok(()),
    }
}

/// At a clean stop: every log is closed, and so synced.
pub(crate) async fn end(disk: &dyn Disk) -> Result<(), Error> {
    if left_behind(disk).await? { remove(disk).await } else { Ok(()) }
}

async fn remove(disk: &dyn Disk) -> Result<(), Error> {
    disk.remove(UNSYNCED).await.map_err(|error| Error::io(UNSYNCED, error))?;
    disk.sync_dir("").await.map_err(|error| Error::io("", error))
}

#[cfg(test)]
mod tests {
    use storage::disk::memory::{Executor, MemoryDisk};

    use super::*;

    #[test]
    fn the_marker_is_there_from_a_start_that_may_lose_to_a_stop_that_did_not() {
        let disk = MemoryDisk::new(1);
        let run = |durability, expected: bool| {
            let disk = disk.clone();
            Executor::new(1).block_on(async move {
                let left = left_behind(&disk).await.unwrap();
                assert_eq!(left, expected);
                begin(&disk, durability, left).await.unwrap();
            });
        };
        run(Durability::Synced, false);
        run(Durability::Written, false);
        assert!(disk.is_durable(UNSYNCED));
        run(Durability::Written, true);
        run(Durability::Synced, true);
        run(Durability::Synced, false);
        run(Durability::Written, false);
        let stopping = disk.clone();
        Executor::new(1).block_on(async move { end(&stopping).await.unwrap() });
        run(Durability::Synced, false);
    }
}
