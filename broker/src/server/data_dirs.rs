//! Data directories at start: created, locked against a second broker, and known by `meta.properties`.
//! Runs before the cores, hence with plain blocking files.
#![allow(clippy::disallowed_methods, reason = "before the cores start there is no reactor")]

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use protocol::ids::Uuid;
use storage::checkpoint::{MetaProperties, parse_meta_properties, print_meta_properties};

use super::ServerError;
use crate::config::Config;

const META_PROPERTIES: &str = "meta.properties";
const LOCK: &str = ".lock";

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
    _locks: Vec<File>,
}

/// Creates, locks and identifies every data directory.
pub(crate) fn prepare(config: &Config) -> Result<DataDirs, ServerError> {
    let dirs = &config.log_dirs;
    let locks = dirs.iter().map(|dir| lock(dir)).collect::<Result<Vec<_>, _>>()?;
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

fn lock(dir: &Path) -> Result<File, ServerError> {
    fs::create_dir_all(dir).map_err(|error| trouble(dir, "cannot create data directory", &error))?;
    let path = dir.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| trouble(&path, "cannot open", &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let text = format!("another broker runs on data directory {}", dir.display());
            Err(ServerError::DataDir(text))
        }
        Err(TryLockError::Error(error)) => Err(trouble(&path, "cannot lock", &error)),
    }
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
