//! Layout of a data directory: which folders are partitions, and whose directory it is.
//!
//! The lock itself (a POSIX record lock on [`format::LOCK`], held as long as the process lives) is taken by
//! whoever opens the directory for real, before any of this; Kafka locks the same file the same way.

use protocol::ids::Uuid;

use crate::Error;
use crate::checkpoint::{
    MetaProperties, parse_meta_properties, print_meta_properties, read_whole, write_atomically,
};
use crate::disk::Disk;
use crate::format::{self, Damage};

/// A partition's folder, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Folder {
    pub topic: String,
    pub partition: i32,
    pub state: FolderState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FolderState {
    InUse,
    /// `-delete`: renamed away, to be removed.
    Deleted,
    /// `-future`: a copy that is to replace the one in another data directory.
    Future,
    /// `-stray`: a partition that was not meant to be on this broker.
    Stray,
}

/// What is in a data directory, each sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// In use, with the folder's name.
    pub partitions: Vec<(String, Folder)>,
    /// Renamed away in one way or another.
    pub set_aside: Vec<(String, Folder)>,
    /// Folders that belong to nobody we know. Left alone, and reported.
    pub unknown: Vec<String>,
}

/// `plain-0`
pub fn folder_name(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// `plain-0.fff1961972b1451dbbad90ad5fe762e0-delete`: what a folder is renamed to, with a fresh id
/// so that it never collides. The topic is cut if a file name cannot hold all of it.
pub fn folder_name_aside(topic: &str, partition: i32, state: FolderState, id: Uuid) -> String {
    let Some((_, suffix)) = SUFFIXES.iter().find(|(known, _)| *known == state) else {
        return folder_name(topic, partition);
    };
    let tail = format!("-{partition}.{:032x}{suffix}", u128::from_be_bytes(id.0));
    let room = FILE_NAME_BYTES_MAX - tail.len();
    // Topic names are ASCII, so a cut is never within a character; if not, the whole character goes.
    let cut = (0..=topic.len().min(room)).rev().find(|at| topic.is_char_boundary(*at)).unwrap_or(0);
    format!("{}{tail}", &topic[..cut])
}

/// None for a name that is not a partition's.
pub fn parse_folder_name(name: &str) -> Option<Folder> {
    let aside = SUFFIXES.iter().find_map(|(state, suffix)| {
        let (partition, id) = name.strip_suffix(suffix)?.rsplit_once('.')?;
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then_some((*state, partition))
    });
    let (state, plain) = aside.unwrap_or((FolderState::InUse, name));
    let (topic, digits) = plain.rsplit_once('-')?;
    let partition: i32 = digits.parse().ok()?;
    // One spelling only, or `a-0` and `a-00` would be the same partition.
    let is_canonical = partition >= 0 && partition.to_string() == digits;
    (is_canonical && is_topic_name(topic)).then(|| Folder { topic: topic.to_owned(), partition, state })
}

/// Finds the partitions of a data directory.
pub async fn list_partitions(disk: &dyn Disk) -> Result<Listing, Error> {
    let mut listing = Listing::default();
    for entry in disk.list("").await.map_err(|error| Error::io("", error))? {
        if !entry.is_dir {
            continue;
        }
        match parse_folder_name(&entry.name) {
            // Kafka's own metadata log is not ours to touch.
            _ if entry.name == format::METADATA_LOG => listing.unknown.push(entry.name),
            Some(folder) if folder.state == FolderState::InUse => {
                listing.partitions.push((entry.name, folder))
            }
            Some(folder) => listing.set_aside.push((entry.name, folder)),
            None => listing.unknown.push(entry.name),
        }
    }
    Ok(listing)
}

/// Makes the directory ours, or proves that it is. A directory without an identity gets one, with
/// `fresh_id` as its directory id; one of another cluster or node is refused.
pub async fn identify(
    disk: &dyn Disk,
    cluster_id: &str,
    node_id: i32,
    fresh_id: Uuid,
) -> Result<MetaProperties, Error> {
    let path = format::META_PROPERTIES;
    let found = read_identity(disk).await?;
    if let Some(found) = &found {
        let refused = |what: String| Err(Damage::new(0, what).at(path));
        if found.cluster_id != cluster_id {
            return refused(format!(
                "the directory belongs to cluster {}, not {cluster_id}",
                found.cluster_id
            ));
        }
        if found.node_id != node_id {
            return refused(format!("the directory belongs to node {}, not {node_id}", found.node_id));
        }
        if found.directory_id.is_some() {
            return Ok(found.clone());
        }
    }
    let facts = MetaProperties { cluster_id: cluster_id.to_owned(), node_id, directory_id: Some(fresh_id) };
    write_atomically(disk, path, print_meta_properties(&facts)).await?;
    Ok(facts)
}

/// Whose directory it is, if it has been said.
pub async fn read_identity(disk: &dyn Disk) -> Result<Option<MetaProperties>, Error> {
    let path = format::META_PROPERTIES;
    let Some(bytes) = read_whole(disk, path, META_PROPERTIES_BYTES_MAX).await? else { return Ok(None) };
    parse_meta_properties(&bytes).map(Some).map_err(|damage| damage.at(path))
}

fn is_topic_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=TOPIC_NAME_BYTES_MAX).contains(&name.len())
        && name != "."
        && name != ".."
        && name.bytes().all(is_allowed)
}

const SUFFIXES: [(FolderState, &str); 3] =
    [(FolderState::Deleted, "-delete"), (FolderState::Future, "-future"), (FolderState::Stray, "-stray")];
const TOPIC_NAME_BYTES_MAX: usize = 249;
const FILE_NAME_BYTES_MAX: usize = 255;
const META_PROPERTIES_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::{Executor, MemoryDisk};

    fn folder(topic: &str, partition: i32, state: FolderState) -> Option<Folder> {
        Some(Folder { topic: topic.to_owned(), partition, state })
    }

    #[test]
    fn folder_names_are_kafkas() {
        assert_eq!(parse_folder_name("two-parts-12"), folder("two-parts", 12, FolderState::InUse));
        assert_eq!(parse_folder_name("a.b-delete-0"), folder("a.b-delete", 0, FolderState::InUse));
        let kafkas = "to-be-deleted-0.fff1961972b1451dbbad90ad5fe762e0-delete";
        assert_eq!(parse_folder_name(kafkas), folder("to-be-deleted", 0, FolderState::Deleted));
        for name in [
            "plain",
            "-0",
            "plain-",
            "plain-00",
            "plain-+1",
            "plain--1",
            "pl ain-0",
            "plain-2147483648",
            "..-0",
        ] {
            let unsure = parse_folder_name(name);
            assert!(unsure.is_none() || name == "plain--1", "{name}: {unsure:?}");
        }
        assert_eq!(parse_folder_name("plain-0.1234-delete"), None);
    }

    #[test]
    fn name_aside_is_unique_parsed_back_and_never_too_long() {
        let id = Uuid([0xab; 16]);
        for state in [FolderState::Deleted, FolderState::Future, FolderState::Stray] {
            let name = folder_name_aside("plain", 3, state, id);
            assert_eq!(parse_folder_name(&name), folder("plain", 3, state));
        }
        let long = "t".repeat(TOPIC_NAME_BYTES_MAX);
        let name = folder_name_aside(&long, i32::MAX, FolderState::Deleted, id);
        assert_eq!(name.len(), FILE_NAME_BYTES_MAX);
        assert!(parse_folder_name(&name).is_some());
    }

    #[test]
    fn partitions_are_told_from_the_rest() {
        let disk = MemoryDisk::new(1);
        for path in
            ["b-1/x", "a-0/x", "gone-0.fff1961972b1451dbbad90ad5fe762e0-delete/x", "lost+found/x", "file-0"]
        {
            disk.put(path, b"");
        }
        disk.put("__cluster_metadata-0/x", b"");
        let listing = Executor::new(1).block_on(list_partitions(&disk)).unwrap();
        let names =
            |folders: &[(String, Folder)]| folders.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&listing.partitions), ["a-0", "b-1"]);
        assert_eq!(names(&listing.set_aside), ["gone-0.fff1961972b1451dbbad90ad5fe762e0-delete"]);
        assert_eq!(listing.unknown, ["__cluster_metadata-0", "lost+found"]);
    }

    #[test]
    fn directory_is_claimed_once_and_refused_to_others() {
        let disk = MemoryDisk::new(1);
        let claim = |cluster: &'static str, node, id| {
            let disk = disk.clone();
            Executor::new(1).block_on(async move { identify(&disk, cluster, node, Uuid([id; 16])).await })
        };
        let first = claim("c", 1, 7).unwrap();
        assert_eq!(first.directory_id, Some(Uuid([7; 16])));
        assert_eq!(claim("c", 1, 8).unwrap(), first);
        assert!(claim("other", 1, 8).unwrap_err().to_string().contains("belongs to cluster c"));
        assert!(claim("c", 2, 8).unwrap_err().to_string().contains("belongs to node 1"));
        assert!(disk.is_durable("meta.properties"));
    }

    #[test]
    fn directory_formatted_without_an_id_gets_one() {
        let disk = MemoryDisk::new(1);
        disk.put("meta.properties", b"version=1\nnode.id=1\ncluster.id=c\n");
        let facts = Executor::new(1).block_on(identify(&disk, "c", 1, Uuid([5; 16]))).unwrap();
        assert_eq!(facts.directory_id, Some(Uuid([5; 16])));
        assert_eq!(Executor::new(1).block_on(read_identity(&disk)).unwrap(), Some(facts));
    }
}
