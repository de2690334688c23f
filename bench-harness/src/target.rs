//! Brokers under test: what their files say, and one of them running.

use std::path::PathBuf;
use std::process::Command;

use file::{Fsync, SHIPPED, TargetFile};
pub(crate) use limits::Limits;
pub(crate) use process::Running;

use crate::failure::Failure;

mod file;
pub(crate) mod folder;
mod jars;
mod limits;
mod process;
pub(crate) mod wire;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  millstream-bench target list
  millstream-bench target show kafka > my-kafka.toml
  millstream-bench target get kafka")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Name the targets that come with this program
    List,
    /// Print a target's file, to change a copy of it
    Show { name: String },
    /// Fetch what a target needs: the jars of Apache Kafka, checked against pinned SHA-256 sums
    #[command(
        after_help = "They come from the local Maven repository, by Maven, or by curl from MAVEN_URL, from the \
                            mirror in ~/.m2/settings.xml or from Maven Central, and stay in the user's cache.

Examples:
  millstream-bench target get kafka
  MAVEN_URL=https://mirror.example/maven2 millstream-bench target get kafka"
    )]
    Get { name: String },
}

pub(crate) fn main(args: Args) -> Result<(), Failure> {
    match args.command {
        Action::List => {
            for (name, _) in SHIPPED {
                println!("{name:<12} {}", TargetFile::load(name)?.about);
            }
            Ok(())
        }
        Action::Show { name } => {
            let shipped = SHIPPED.iter().find(|(shipped, _)| *shipped == name);
            let text = shipped.map(|(_, text)| *text);
            print!("{}", text.ok_or_else(|| Failure::usage(format!("there is no target `{name}`")))?);
            Ok(())
        }
        Action::Get { name } => {
            let file = TargetFile::load(&name)?;
            let list = file.start.and_then(|start| start.jars);
            let list =
                list.ok_or_else(|| Failure::usage(format!("there is nothing to fetch for `{name}`")))?;
            println!("{}", jars::get(&list)?.display());
            Ok(())
        }
    }
}

/// A target as a command line asks for it: `NAME-OR-PATH[,fsync=...][,label=...]`, and for one that runs already
/// `bootstrap=HOST:PORT`, `pid=N`, `data=DIR`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) label: String,
    pub(crate) file: TargetFile,
    pub(crate) fsync: Fsync,
    pub(crate) version: Option<String>,
    bootstrap: Option<String>,
    pid: Option<u32>,
    data: Option<PathBuf>,
}

/// Where a broker that is started has its files.
pub(crate) struct Place {
    /// Its folder is made inside.
    pub(crate) scratch: PathBuf,
    /// What it says is added here.
    pub(crate) log: PathBuf,
}

impl Target {
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let mut parts = text.split(',');
        let file = TargetFile::load(parts.next().unwrap_or_default())?;
        let mut target = Self {
            label: file.name.clone(),
            fsync: file.fsync,
            version: None,
            bootstrap: None,
            pid: None,
            data: None,
            file,
        };
        for part in parts {
            let wrong = |why: &str| Failure::usage(format!("target `{text}`: `{part}`: {why}"));
            let (key, value) = part.split_once('=').ok_or_else(|| wrong("KEY=VALUE is asked"))?;
            let is_started = target.file.start.is_some();
            match key {
                "fsync" => {
                    target.fsync = Fsync::parse(value).ok_or_else(|| wrong("every-ack, os or unknown"))?
                }
                "label" if is_name(value) => value.clone_into(&mut target.label),
                "label" => return Err(wrong("letters, digits, `-`, `_` and `.` make a label")),
                "bootstrap" | "pid" | "data" if is_started => {
                    return Err(wrong("only of a target that is not started here"));
                }
                "bootstrap" => target.bootstrap = Some(value.to_owned()),
                "pid" => target.pid = Some(value.parse().map_err(|_| wrong("a process's number is asked"))?),
                "data" => target.data = Some(PathBuf::from(value)),
                _ => return Err(wrong("known keys are fsync, label, bootstrap, pid and data")),
            }
        }
        let durability = target.file.stands_for_durability(target.fsync);
        durability.map_err(|why| Failure::usage(format!("target `{text}`: {why}")))?;
        target.version = target.ask_version()?;
        Ok(target)
    }

    /// Several at once, with labels that tell them apart. Comparing a target with itself shows the noise.
    pub(crate) fn parse_all(texts: &[String]) -> Result<Vec<Self>, Failure> {
        let mut targets = texts.iter().map(|text| Self::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let labels: Vec<String> = targets.iter().map(|target| target.label.clone()).collect();
        for target in &mut targets {
            if labels.iter().filter(|label| **label == target.label).count() > 1 {
                target.label = format!("{}-{}", target.label, target.fsync.name());
            }
        }
        for at in 1..targets.len() {
            let plain = targets[at].label.clone();
            let mut number = 2;
            while targets[..at].iter().any(|other| other.label == targets[at].label) {
                targets[at].label = format!("{plain}-{number}");
                number += 1;
            }
        }
        Ok(targets)
    }

    /// Before anything is measured: whether everything is there to start it with.
    pub(crate) fn check_installed(&self) -> Result<(), Failure> {
        let Some(start) = &self.file.start else { return Ok(()) };
        process::find_command(start)?;
        if let Some(list) = &start.jars {
            jars::find(list, start.jars_variable.as_deref())?;
        }
        Ok(())
    }

    /// Those of the command line, or else its file's.
    pub(crate) fn limits(&self, said: &Limits) -> Limits {
        said.over(&self.file.limits)
    }

    /// As it says itself, if its file does not.
    fn ask_version(&self) -> Result<Option<String>, Failure> {
        let Some(start) = self.file.start.as_ref().filter(|_| !self.file.version_arguments.is_empty()) else {
            return Ok(self.file.version.clone());
        };
        let command = process::find_command(start)?;
        let mut asked = Command::new(&command);
        asked.args(&self.file.version_arguments);
        for variable in start.command_variable.iter().chain(&start.jars_variable) {
            asked.env_remove(variable);
        }
        let said = asked.output();
        let said =
            said.map_err(|error| Failure::failed(format!("cannot start {}: {error}", command.display())))?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        // `name 1.2.3` or `1.2.3`
        Ok(said
            .split_whitespace()
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
            .map(str::to_owned))
    }
}

fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && !text.starts_with('.') && text.chars().all(is_plain)
}

#[cfg(test)]
pub(crate) mod tests;
