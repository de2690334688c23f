//! What a crash in the middle of deleting a topic leaves: folders set aside and not yet emptied, and
//! folders of a topic that is gone, in the place of a new one with its name.

use std::collections::HashMap;
use std::rc::Rc;

use protocol::ids::Uuid;
use reactor::host;
use storage::Error;
use storage::checkpoint::{parse_partition_metadata, read_whole};
use storage::data_dir::{FolderState, folder_name_aside, list_partitions};
use storage::disk::{Class, Disk};
use storage::format::PARTITION_METADATA;
use storage::log::{LogDir, Removal};

const IDENTITY_BYTES_MAX: usize = 4096;

/// At start, before anything is opened: sets aside the folders of topics that the metadata has removed, then goes on
/// with removals that an earlier run began. `removed` has the ids by the topics' names.
pub(crate) async fn clear(disk: Rc<dyn Disk>, removed: &HashMap<String, Vec<Uuid>>) -> Result<(), Error> {
    let in_use = if removed.is_empty() { Vec::new() } else { list_partitions(&*disk).await?.partitions };
    for (_, folder) in in_use {
        let Some(ids) = removed.get(&folder.topic) else { continue };
        let mut dir = LogDir { topic: folder.topic, partition: folder.partition, topic_id: Uuid::ZERO };
        let cleared = match owner(&*disk, &dir).await {
            Ok(Some(owner)) if ids.contains(&owner) => {
                dir.topic_id = owner;
                let id = Uuid::from_u64_pair(host().random(), host().random());
                set_deleted_aside(&disk, &dir, id).await.map(drop)
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = cleared {
            tracing::warn!(partition = %dir, %error, "folder of a deleted topic cannot be set aside");
        }
    }
    host().spawn(Class::Background, Box::pin(resume_removals(disk)));
    Ok(())
}

/// Goes on with removals that an earlier run began.
async fn resume_removals(disk: Rc<dyn Disk>) {
    let set_aside = match list_partitions(&*disk).await {
        Ok(listing) => listing.set_aside,
        Err(error) => return tracing::warn!(%error, "data directory cannot be listed"),
    };
    for (name, folder) in set_aside {
        if folder.state == FolderState::Deleted {
            remove(Removal::of(disk.clone(), name)).await;
        }
    }
}

/// Empties a folder in small steps. What cannot be removed now is tried again at the next start.
pub(super) async fn remove(mut removal: Removal) {
    loop {
        match removal.step().await {
            Ok(true) => return,
            Ok(false) => host().breathe().await,
            Err(error) => return tracing::warn!(%error, "folder of a deleted topic cannot be removed"),
        }
    }
}

/// Renames the folder of a deleted topic, durably, if there is one and it is this topic's. What is left to do then.
pub(super) async fn set_deleted_aside(
    disk: &Rc<dyn Disk>,
    dir: &LogDir,
    id: Uuid,
) -> Result<Option<Removal>, Error> {
    if owner(&**disk, dir).await? != Some(dir.topic_id) {
        return Ok(None);
    }
    let aside = folder_name_aside(&dir.topic, dir.partition, FolderState::Deleted, id);
    rename(&**disk, dir, &aside).await?;
    Ok(Some(Removal::of(disk.clone(), aside)))
}

/// If the folder belongs to another topic of this name, which the metadata no longer has, renames it as
/// Kafka does with strays: out of the way, and kept for whoever knows better.
pub(super) async fn set_stale_aside(disk: &dyn Disk, dir: &LogDir) -> Result<(), Error> {
    let Some(owner) = owner(disk, dir).await?.filter(|owner| *owner != dir.topic_id) else { return Ok(()) };
    let id = Uuid::from_u64_pair(host().random(), host().random());
    let aside = folder_name_aside(&dir.topic, dir.partition, FolderState::Stray, id);
    tracing::warn!(folder = dir.folder(), %owner, aside, "folder of a topic that is gone is set aside");
    rename(disk, dir, &aside).await
}

/// Whose folder is in a partition's place; none if there is none, or it does not say.
async fn owner(disk: &dyn Disk, dir: &LogDir) -> Result<Option<Uuid>, Error> {
    let path = format!("{}/{PARTITION_METADATA}", dir.folder());
    let Some(bytes) = read_whole(disk, &path, IDENTITY_BYTES_MAX).await? else { return Ok(None) };
    parse_partition_metadata(&bytes).map(Some).map_err(|damage| damage.at(&path))
}

async fn rename(disk: &dyn Disk, dir: &LogDir, aside: &str) -> Result<(), Error> {
    let folder = dir.folder();
    let failed = |error| Error::io(&folder, error);
    disk.rename(&folder, aside).await.map_err(failed)?;
    disk.sync_dir("").await.map_err(failed)
}
