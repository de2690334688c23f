//! Data directories at start: created, locked against a second broker, and known by `meta.properties`.
//! Runs before the cores, hence with plain blocking files.
#![allow(clippy::disallowed_methods, reason = "before the cores start there is no reactor")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use protocol::ids::Uuid;
use storage::checkpoint::{MetaProperties, parse_meta_properties, print_meta_properties};

use super::ServerError;
use super::dir_lock::DirLock;
use crate::config::Config;

const META_PROPERTIES: &str = "meta.properties";

/// Who this broker is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) cluster_id: String,
    /// One per data directory, in configured order.
    pub(crate) directory_ids: Vec<Uuid>,
}

/// The directories, locked while this lives.
pub(crate) struct DataDirs {
    pub(crate) identity: Identity,
    _locks: Vec<DirLock>,
}

/// Creates, locks and identifies every data directory.
pub(crate) fn prepare(config: &Config) -> Result<DataDirs, ServerError> {
    let dirs = &config.log_dirs;
    let locks = dirs.iter().map(|dir| lock(dir)).collect::<Result<Vec<_>, _>>()?;
    check_distinct(dirs, &locks)?;
    let found = dirs.iter().map(|dir| read(dir)).collect::<Result<Vec<_>, _>>()?;
    let known = found.iter().flatten().next();
    let cluster_id = match (known, &config.cluster_id) {
        (Some(known), Some(wanted)) if known.cluster_id != *wanted => {
            let text = format!("the data directory belongs to cluster {}, not {wanted}", known.cluster_id);
            return Err(ServerError::DataDir(text));
        }
        (Some(known), _) => known.cluster_id.clone(),
        (None, Some(wanted)) => wanted.clone(),
        (None, None) => random_id()?.to_string(),
    };
    let mut directory_ids = Vec::new();
    for (dir, found) in dirs.iter().zip(found) {
        directory_ids.push(match found {
            Some(found) => {
                check(dir, &found, &cluster_id, config.node_id)?;
                match found.directory_id {
                    Some(id) => id,
                    // Formatted before directories had ids.
                    None => write(dir, &cluster_id, config.node_id)?,
                }
            }
            None => write(dir, &cluster_id, config.node_id)?,
        });
    }
    Ok(DataDirs { identity: Identity { cluster_id, directory_ids }, _locks: locks })
}

fn trouble(path: &Path, what: &str, error: &dyn std::fmt::Display) -> ServerError {
    ServerError::DataDir(format!("{what} {}: {error}", path.display()))
}

fn lock(dir: &Path) -> Result<DirLock, ServerError> {
    fs::create_dir_all(dir).map_err(|error| trouble(dir, "cannot create data directory", &error))?;
    DirLock::exclusive(dir).map_err(|error| trouble(dir, "data directory", &error))
}

/// The kernel does not refuse a process a lock that it has: the same directory under two names would go unnoticed.
fn check_distinct(dirs: &[PathBuf], locks: &[DirLock]) -> Result<(), ServerError> {
    let mut seen = BTreeMap::new();
    for (dir, lock) in dirs.iter().zip(locks) {
        let facts =
            lock.file.metadata().map_err(|error| trouble(dir, "cannot look at the lock of", &error))?;
        if let Some(other) = seen.insert((facts.dev(), facts.ino()), dir) {
            let text = format!("data directories {} and {} are the same", other.display(), dir.display());
            return Err(ServerError::DataDir(text));
        }
    }
    Ok(())
}

fn read(dir: &Path) -> Result<Option<MetaProperties>, ServerError> {
    let path = dir.join(META_PROPERTIES);
    match fs::read(&path) {
        Ok(bytes) => match parse_meta_properties(&bytes) {
            Ok(found) => Ok(Some(found)),
            Err(error) => Err(trouble(&path, "cannot understand", &error)),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(trouble(&path, "cannot read", &error)),
    }
}

fn check(dir: &Path, found: &MetaProperties, cluster_id: &str, node_id: i32) -> Result<(), ServerError> {
    if found.cluster_id != cluster_id {
        let text = format!(
            "data directory {} belongs to cluster {}, others to {cluster_id}",
            dir.display(),
            found.cluster_id
        );
        return Err(ServerError::DataDir(text));
    }
    if found.node_id != node_id {
        let text = format!(
            "data directory {} belongs to node {}, node.id is {node_id}",
            dir.display(),
            found.node_id
        );
        return Err(ServerError::DataDir(text));
    }
    Ok(())
}

fn write(dir: &Path, cluster_id: &str, node_id: i32) -> Result<Uuid, ServerError> {
    let directory_id = random_id()?;
    let properties =
        MetaProperties { cluster_id: cluster_id.to_owned(), node_id, directory_id: Some(directory_id) };
    let path = dir.join(META_PROPERTIES);
    let aside: PathBuf = dir.join("meta.properties.tmp");
    let written = File::create(&aside)
        .and_then(|mut file| {
            file.write_all(&print_meta_properties(&properties)).and_then(|()| file.sync_all())
        })
        .and_then(|()| fs::rename(&aside, &path))
        .and_then(|()| File::open(dir)?.sync_all());
    written.map_err(|error| trouble(&path, "cannot write", &error))?;
    Ok(directory_id)
}

fn random_id() -> Result<Uuid, ServerError> {
    let mut bytes = [0; 16];
    let read =
        File::open("/dev/urandom").and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes));
    read.map_err(|error| ServerError::DataDir(format!("cannot draw a random id: {error}")))?;
    Ok(Uuid::from_random(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_under_two_names_is_refused() {
        let root = std::env::temp_dir().join(format!("data-dirs-{}", std::process::id()));
        let names = [root.join("a"), root.join("b"), root.join("same")];
        fs::create_dir_all(&names[0]).unwrap();
        std::os::unix::fs::symlink(&names[0], &names[2]).unwrap();
        let locks: Vec<_> = names.iter().map(|dir| lock(dir).unwrap()).collect();
        check_distinct(&names[..2], &locks[..2]).unwrap();
        let refused = check_distinct(&names, &locks).unwrap_err().to_string();
        assert!(refused.ends_with("same are the same") && refused.contains("/a and "), "{refused}");
        fs::remove_dir_all(root).unwrap();
    }
}
