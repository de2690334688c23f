//! `millstream format`: gives data directories their identity before the first start, where it must not be left to chance.
#![allow(clippy::disallowed_methods, reason = "offline tools run without a reactor and write plain files")]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use protocol::ids::Uuid;
use storage::checkpoint::{MetaProperties, parse_meta_properties, print_meta_properties};
use storage::format::{ASIDE, META_PROPERTIES};

use super::failure::Failure;
use super::output::Output;

#[derive(clap::Args)]
#[command(
    after_help = "A broker formats new directories by itself. Do it beforehand to choose the cluster's id.

Examples:
  millstream format /var/lib/millstream
  millstream format /disk1/data /disk2/data --cluster-id MkU3OEVBNTcwNTJENDM2Qg --node-id 2"
)]
pub(crate) struct Arguments {
    /// All data directories of one broker
    #[arg(required = true, value_name = "DATA_DIR")]
    dirs: Vec<PathBuf>,
    /// The cluster they belong to; a new one, if not said
    #[arg(long, value_name = "ID", value_parser = cluster_id)]
    cluster_id: Option<Uuid>,
    /// The broker's node.id
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(0..))]
    node_id: i32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut output = Output::stdout();
    format(arguments, &mut output)?;
    output.flush()
}

fn format(arguments: &Arguments, output: &mut Output<'_>) -> Result<(), Failure> {
    for dir in &arguments.dirs {
        check_unformatted(dir)?;
    }
    let cluster_id = match arguments.cluster_id {
        Some(id) => id,
        None => random_id()?,
    };
    for dir in &arguments.dirs {
        let directory_id = random_id()?;
        let facts = MetaProperties {
            cluster_id: cluster_id.to_string(),
            node_id: arguments.node_id,
            directory_id: Some(directory_id),
        };
        write(dir, &print_meta_properties(&facts))
            .map_err(|error| Failure::failed(format!("cannot format {}: {error}", dir.display())))?;
        let node_id = arguments.node_id;
        output.line(&format!(
            "{}: cluster {cluster_id}, node {node_id}, directory {directory_id}",
            dir.display()
        ))?;
    }
    Ok(())
}

/// All are looked at before the first is written.
fn check_unformatted(dir: &Path) -> Result<(), Failure> {
    let path = dir.join(META_PROPERTIES);
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::failed(format!("cannot read {}: {error}", path.display()))),
        Ok(bytes) => {
            let whose = parse_meta_properties(&bytes).map_or_else(
                |damage| format!("{} is damaged {damage}", path.display()),
                |facts| format!("it belongs to node {} of cluster {}", facts.node_id, facts.cluster_id),
            );
            let text = format!("{} is formatted already: {whose}", dir.display());
            Err(Failure::failed(text)
                .next("start the broker on it as it is, or remove the directory if nobody needs its data"))
        }
    }
}

/// Durable when it returns, and never half there.
fn write(dir: &Path, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let path = dir.join(META_PROPERTIES);
    let aside = dir.join(format!("{META_PROPERTIES}{ASIDE}"));
    let mut file = File::create(&aside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&aside, &path)?;
    File::open(dir)?.sync_all()
}

fn random_id() -> Result<Uuid, Failure> {
    let mut bytes = [0; 16];
    let drawn = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    drawn.map_err(|error| Failure::failed(format!("cannot draw a random id: {error}")))?;
    Ok(Uuid::from_random(bytes))
}

fn cluster_id(text: &str) -> Result<Uuid, String> {
    match text.parse::<Uuid>() {
        Ok(id) if !id.is_zero() => Ok(id),
        Ok(_) => Err("this id stands for no cluster".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::scratch::Folder;

    fn arguments(dirs: &[&Path], cluster_id: Option<&str>) -> Arguments {
        let dirs = dirs.iter().map(|dir| dir.to_path_buf()).collect();
        Arguments { dirs, cluster_id: cluster_id.map(|id| id.parse().unwrap()), node_id: 7 }
    }

    fn formatted(arguments: &Arguments) -> Result<String, Failure> {
        let mut bytes = Vec::new();
        let mut output = Output::to(&mut bytes, false);
        format(arguments, &mut output)?;
        output.flush()?;
        drop(output);
        Ok(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn directories_of_a_broker_share_a_cluster_and_have_their_own_ids() {
        let folder = Folder::new("format");
        let dirs = [folder.path().join("a/b"), folder.path().join("c")];
        let id = "MkU3OEVBNTcwNTJENDM2Qg";
        formatted(&arguments(&[&dirs[0], &dirs[1]], Some(id))).unwrap();
        let facts =
            dirs.map(|dir| parse_meta_properties(&fs::read(dir.join(META_PROPERTIES)).unwrap()).unwrap());
        for facts in &facts {
            assert_eq!((facts.cluster_id.as_str(), facts.node_id), (id, 7));
        }
        assert_ne!(facts[0].directory_id, facts[1].directory_id);
    }

    #[test]
    fn formatted_directory_is_refused_and_nothing_else_is_touched() {
        let folder = Folder::new("format");
        let (new, old) = (folder.path().join("new"), folder.path().join("old"));
        formatted(&arguments(&[&old], None)).unwrap();
        let before = fs::read(old.join(META_PROPERTIES)).unwrap();
        let Err(Failure::Told { text, next, .. }) = formatted(&arguments(&[&new, &old], None)) else {
            panic!("formatted twice");
        };
        assert!(text.contains("formatted already: it belongs to node 7") && next.is_some(), "{text}");
        assert_eq!(fs::read(old.join(META_PROPERTIES)).unwrap(), before);
        assert!(!new.exists());
    }

    #[test]
    fn cluster_ids_are_uuids() {
        assert!(cluster_id("MkU3OEVBNTcwNTJENDM2Qg").is_ok());
        assert!(cluster_id("my-cluster").is_err() && cluster_id("AAAAAAAAAAAAAAAAAAAAAA").is_err());
    }
}
