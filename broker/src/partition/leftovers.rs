//! What a crash in the middle of deleting a topic leaves: folders set aside and not yet emptied, and
//! folders of a topic that is gone, in the place of a new one with its name.

use std::rc::Rc;

use protocol::ids::Uuid;
use reactor::host;
use storage::Error;
use storage::checkpoint::{parse_partition_metadata, read_whole};
use storage::data_dir::{FolderState, folder_name_aside, list_partitions};
use storage::disk::Disk;
use storage::format::PARTITION_METADATA;
use storage::log::{LogDir, Removal};

const IDENTITY_BYTES_MAX: usize = 4096;

/// Goes on with removals that an earlier run began.
pub(crate) async fn resume_removals(disk: Rc<dyn Disk>) {
    let set_aside = match list_partitions(&*disk).await {
        Ok(listing) => listing.set_aside,
        Err(error) => return tracing::warn!(%error, "data directory cannot be listed"),
    };
    for (name, folder) in set_aside {
        if folder.state == FolderState::Deleted
            && let Err(error) = remove(Removal::of(disk.clone(), name)).await
        {
            tracing::warn!(%error, "folder of a deleted topic cannot be removed");
        }
    }
}

/// Empties a folder in small steps.
pub(super) async fn remove(mut removal: Removal) -> Result<(), Error> {
    while !removal.step().await? {
        host().breathe().await;
    }
    Ok(())
}

/// If the folder belongs to another topic of this name, which the metadata no longer has, renames it as
/// Kafka does with strays: out of the way, and kept for whoever knows better.
pub(super) async fn set_stale_aside(disk: &dyn Disk, dir: &LogDir) -> Result<(), Error> {
    let folder = dir.folder();
    let path = format!("{folder}/{PARTITION_METADATA}");
    let Some(bytes) = read_whole(disk, &path, IDENTITY_BYTES_MAX).await? else { return Ok(()) };
    let owner = parse_partition_metadata(&bytes).map_err(|damage| damage.at(&path))?;
    if owner == dir.topic_id {
        return Ok(());
    }
    let id = Uuid::from_u64_pair(host().random(), host().random());
    let aside = folder_name_aside(&dir.topic, dir.partition, FolderState::Stray, id);
    tracing::warn!(folder, %owner, aside, "folder of a topic that is gone is set aside");
    let failed = |error| Error::io(&folder, error);
    disk.rename(&folder, &aside).await.map_err(failed)?;
    disk.sync_dir("").await.map_err(failed)
}
