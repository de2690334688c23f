//! A target as its file says it.
//!
//! `{word}` in arguments, environment and written files stands for what is only known at the start; see [`WORDS`].

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::limits::Limits;
use crate::failure::Failure;
use crate::toml_file;

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetFile {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) about: String,
    /// As it is, or else what the command prints when called with `version_arguments`.
    #[serde(default)]
    pub(crate) version: Option<String>,
    #[serde(default)]
    pub(crate) version_arguments: Vec<String>,
    pub(crate) fsync: Fsync,
    #[serde(default)]
    pub(crate) durability: Durability,
    /// None: it runs already, and is neither started nor stopped nor wiped.
    #[serde(default)]
    pub(crate) start: Option<Start>,
    #[serde(default)]
    pub(crate) stop: Stop,
    #[serde(default)]
    pub(crate) limits: Limits,
    /// Written into its folder before the first start.
    #[serde(default)]
    pub(crate) file: Vec<Written>,
}

/// What an acknowledgement of acks=all is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fsync {
    /// The device was told to flush its cache first.
    EveryAck,
    /// Whenever the operating system or the device sees fit.
    Os,
    Unknown,
}

/// What stands for `{durability}`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Durability {
    pub(crate) every_ack: Option<String>,
    pub(crate) os: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    /// Without a slash: looked for beside this program, then in PATH.
    pub(crate) command: String,
    /// Environment variable that names another command. The broker does not get to see it.
    #[serde(default)]
    pub(crate) command_variable: Option<String>,
    #[serde(default)]
    pub(crate) arguments: Vec<String>,
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// Commands that make a fresh folder ready, in turn.
    #[serde(default)]
    pub(crate) prepare: Vec<Vec<String>>,
    /// The command is a Java of this version or a later one.
    #[serde(default)]
    pub(crate) java_at_least: Option<u32>,
    /// A list of jars that `target get` fetches; their folder stands for `{jars}`.
    #[serde(default)]
    pub(crate) jars: Option<String>,
    /// Environment variable that names another folder of jars.
    #[serde(default)]
    pub(crate) jars_variable: Option<String>,
    #[serde(default = "seconds_60")]
    pub(crate) ready_patience_s: f64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Stop {
    /// From SIGTERM on; then it is killed.
    pub(crate) patience_s: f64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    /// Below the target's folder.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl TargetFile {
    /// One of those that come with this program, by its name, or a file by its path.
    pub(crate) fn load(name_or_path: &str) -> Result<Self, Failure> {
        let shipped = SHIPPED.iter().find(|(name, _)| *name == name_or_path);
        let text = match shipped {
            Some((_, text)) => (*text).to_owned(),
            None if name_or_path.contains('/') || name_or_path.ends_with(".toml") => {
                let text = fs::read_to_string(name_or_path);
                text.map_err(|error| Failure::usage(format!("cannot read {name_or_path}: {error}")))?
            }
            None => {
                let names = SHIPPED.iter().map(|(name, _)| *name);
                let suggestion = toml_file::did_you_mean(name_or_path, names.clone());
                let names = names.collect::<Vec<_>>().join(", ");
                return Err(Failure::usage(format!(
                    "there is no target `{name_or_path}`{suggestion}\nshipped: {names}\na file's path ends in .toml or has a / in it"
                )));
            }
        };
        Self::parse(name_or_path, &text).map_err(Failure::Usage)
    }

    fn parse(path: &str, text: &str) -> Result<Self, String> {
        let file: Self = toml_file::parse(path, text).map_err(|problem| problem.to_string())?;
        file.check().map_err(|why| format!("{path}: {why}"))?;
        Ok(file)
    }

    fn check(&self) -> Result<(), String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.name.is_empty() || !self.name.chars().all(is_plain) || self.name.starts_with('.') {
            return Err(format!("name = {:?}: letters, digits, `-`, `_` and `.` make a name", self.name));
        }
        for text in self.texts() {
            if let Some(word) = unknown_word(text) {
                let known = WORDS.join("}, {");
                return Err(format!("{text:?}: `{{{word}}}` stands for nothing; known are {{{known}}}"));
            }
        }
        for file in &self.file {
            let is_below = file.path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
            if !is_below || file.path.as_os_str().is_empty() {
                return Err(format!(
                    "file.path = {:?}: a path below the target's folder is asked",
                    file.path
                ));
            }
        }
        if self.start.as_ref().is_some_and(|start| start.prepare.iter().any(Vec::is_empty)) {
            return Err("start.prepare has an empty command".into());
        }
        for (key, value) in [
            ("start.ready_patience_s", self.start.as_ref().map_or(1.0, |start| start.ready_patience_s)),
            ("stop.patience_s", self.stop.patience_s),
        ] {
            if !(0.0..=86_400.0).contains(&value) {
                return Err(format!("{key} = {value}: seconds, a day at most"));
            }
        }
        self.limits.check()?;
        self.stands_for_durability(self.fsync).map(|_| ())
    }

    /// Everything that words are replaced in.
    fn texts(&self) -> impl Iterator<Item = &String> {
        let start = self.start.iter().flat_map(|start| {
            let prepare = start.prepare.iter().flatten();
            start.arguments.iter().chain(start.environment.values()).chain(prepare)
        });
        start.chain(self.file.iter().map(|file| &file.text))
    }

    /// What `{durability}` stands for.
    pub(crate) fn stands_for_durability(&self, fsync: Fsync) -> Result<&str, String> {
        let stands = match fsync {
            Fsync::EveryAck => self.durability.every_ack.as_deref(),
            Fsync::Os => self.durability.os.as_deref(),
            Fsync::Unknown => None,
        };
        let is_used = self.texts().any(|text| text.contains("{durability}"));
        match stands {
            Some(stands) => Ok(stands),
            None if !is_used => Ok(""),
            None => Err(format!("[durability] does not say what fsync = \"{}\" needs", fsync.name())),
        }
    }
}

impl Fsync {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EveryAck => "every-ack",
            Self::Os => "os",
            Self::Unknown => "unknown",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::EveryAck, Self::Os, Self::Unknown].into_iter().find(|fsync| fsync.name() == name)
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self { patience_s: 30.0 }
    }
}

fn seconds_60() -> f64 {
    60.0
}

/// Replaces `{word}`s. Braces around anything but a word stay.
pub(crate) fn filled(text: &str, values: &BTreeMap<&'static str, String>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, word, after)) = next_word(rest) {
        filled.push_str(before);
        match values.get(word) {
            Some(value) => filled.push_str(value),
            None => filled.extend(["{", word, "}"]),
        }
        rest = after;
    }
    filled + rest
}

fn unknown_word(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some((_, word, after)) = next_word(rest) {
        if !WORDS.contains(&word) {
            return Some(word);
        }
        rest = after;
    }
    None
}

/// What is before the next `{word}`, the word, and what is after it.
fn next_word(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(open) = text[from..].find('{').map(|at| from + at) {
        let inside = &text[open + 1..];
        let len = inside.find(|c: char| c != '_' && !c.is_ascii_lowercase()).unwrap_or(inside.len());
        if len > 0 && inside[len..].starts_with('}') {
            return Some((&text[..open], &inside[..len], &inside[len + 1..]));
        }
        from = open + 1;
    }
    None
}

/// What may stand between braces: the target's folder, where to listen, the command's own path, a folder of jars,
/// a random id as Kafka writes it, what `[durability]` says.
pub(crate) const WORDS: &[&str] =
    &["dir", "address", "host", "port", "next_port", "command", "jars", "uuid", "durability"];

/// Name and text of the targets that come with this program.
pub(crate) const SHIPPED: &[(&str, &str)] = &[
    ("millstream", include_str!("../../targets/millstream.toml")),
    ("kafka", include_str!("../../targets/kafka.toml")),
    ("external", include_str!("../../targets/external.toml")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shipped_can_be_loaded_by_its_name() {
        for (name, _) in SHIPPED {
            let file = TargetFile::load(name).unwrap();
            assert_eq!(file.name, *name);
            assert!(!file.about.is_empty());
            let is_external = *name == "external";
            assert_eq!(file.start.is_none(), is_external);
            assert_eq!(file.fsync == Fsync::Unknown, is_external);
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let why = TargetFile::parse(
            "x.toml",
            "name = \"x\"\nfsync = \"os\"\n[start]\ncommand = \"y\"\nargs = []\n",
        );
        let why = why.unwrap_err();
        assert!(why.contains("x.toml:5:") && why.contains("args"), "{why}");
    }

    #[test]
    fn mistakes_are_told() {
        for (text, said) in [
            ("name = \"x\"\n", "fsync"),
            ("name = \"a b\"\nfsync = \"os\"\n", "make a name"),
            ("name = \"x\"\nfsync = \"sometimes\"\n", "sometimes"),
            (
                "name = \"x\"\nfsync = \"os\"\n[start]\ncommand = \"y\"\narguments = [\"{folder}\"]\n",
                "{folder}",
            ),
            (
                "name = \"x\"\nfsync = \"os\"\n[start]\ncommand = \"y\"\narguments = [\"{durability}\"]\n",
                "[durability]",
            ),
            ("name = \"x\"\nfsync = \"os\"\n[[file]]\npath = \"../x\"\ntext = \"\"\n", "below"),
            ("name = \"x\"\nfsync = \"os\"\n[[file]]\npath = \"/x\"\ntext = \"\"\n", "below"),
            ("name = \"x\"\nfsync = \"os\"\n[stop]\npatience_s = -1.0\n", "seconds"),
            ("name = \"x\"\nfsync = \"os\"\n[limits]\ncpus = \"3-1\"\n", "cpus"),
        ] {
            let why = TargetFile::parse("x.toml", text).unwrap_err();
            assert!(why.contains(said), "{text}: {why}");
        }
        let Err(Failure::Usage(why)) = TargetFile::load("kafak") else { panic!("no such target") };
        assert!(
            why.contains("did you mean `kafka`?") && why.contains("millstream, kafka, external"),
            "{why}"
        );
    }

    #[test]
    fn only_known_words_are_replaced() {
        let values = BTreeMap::from([("port", "9092".to_owned()), ("dir", "/x".to_owned())]);
        assert_eq!(
            filled("{dir}/a:{port} {\"json\": {}} {Dir} {", &values),
            "/x/a:9092 {\"json\": {}} {Dir} {"
        );
    }
}
