//! The configuration file: TOML, with Kafka's names for Kafka's settings.
//!
//! A dotted name makes tables inside tables; they are flattened again, so that `log.segment.bytes = 5`,
//! `[log.segment]` with `bytes = 5`, and `"log.segment.bytes" = 5` say the same.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::values::{Origin, Problem};

/// What a file says, in no particular order.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) entries: Vec<Entry>,
    /// One `[[core]]` each.
    pub(super) cores: Vec<Vec<Entry>>,
}

/// One setting in a file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// As Kafka would write the value.
    pub(super) text: String,
    /// Where its name is, and where its value.
    pub(super) name_at: Origin,
    pub(super) value_at: Origin,
}

/// The table of a core's own settings.
const CORE: &str = "core";

/// Reads a file. `path` is for messages.
pub(super) fn read(path: &str, text: &str) -> Result<File, Vec<Problem>> {
    let places = Places { path, text };
    let table = DeTable::parse(text).map_err(|error| vec![places.syntax(&error)])?;
    let mut file = File::default();
    let mut problems = Vec::new();
    for (name, value) in table.get_ref() {
        if name.get_ref() == CORE && is_core(value.get_ref()) {
            for core in value.get_ref().as_array().expect("looked at above").iter() {
                let mut entries = Vec::new();
                let table = core.get_ref().as_table().expect("looked at above");
                places.flatten("", table, &mut entries, &mut problems);
                file.cores.push(entries);
            }
        } else {
            places.entry("", name, value, &mut file.entries, &mut problems);
        }
    }
    if problems.is_empty() { Ok(file) } else { Err(problems) }
}

fn is_core(value: &DeValue<'_>) -> bool {
    value.as_array().is_some_and(|array| array.iter().all(|one| one.get_ref().is_table()))
}

struct Places<'a> {
    path: &'a str,
    text: &'a str,
}

type Key<'i> = Spanned<std::borrow::Cow<'i, str>>;

impl Places<'_> {
    fn flatten(
        &self,
        prefix: &str,
        table: &DeTable<'_>,
        entries: &mut Vec<Entry>,
        problems: &mut Vec<Problem>,
    ) {
        for (name, value) in table {
            self.entry(prefix, name, value, entries, problems);
        }
    }

    fn entry(
        &self,
        prefix: &str,
        key: &Key<'_>,
        value: &Spanned<DeValue<'_>>,
        entries: &mut Vec<Entry>,
        problems: &mut Vec<Problem>,
    ) {
        let name =
            if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        if let Some(table) = value.get_ref().as_table() {
            return self.flatten(&name, table, entries, problems);
        }
        let value_at = self.origin(value.span().start);
        match text_of(value.get_ref()) {
            Ok(text) => {
                let name_at = self.origin(self.start_of_name(key.span().start));
                entries.push(Entry { name, text, name_at, value_at });
            }
            Err(reason) => problems.push(Problem { origin: value_at, message: format!("`{name}` {reason}") }),
        }
    }

    /// A dotted name starts where its line does.
    fn start_of_name(&self, leaf: usize) -> usize {
        let line = self.text[..leaf].rfind('\n').map_or(0, |at| at + 1);
        let before = &self.text[line..leaf];
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b" ._-\"'\t".contains(&b);
        if before.bytes().all(is_name) { line + before.len() - before.trim_start().len() } else { leaf }
    }

    fn origin(&self, at: usize) -> Origin {
        let before = &self.text[..at.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Origin::File { path: self.path.to_owned(), line, column }
    }

    fn syntax(&self, error: &toml::de::Error) -> Problem {
        let origin = self.origin(error.span().map_or(0, |span| span.start));
        let mut message = error.message().trim().to_owned();
        // `max.connections` and `max.connections.per.ip` cannot both be plain dotted names.
        if message.contains("dotted key") {
            message.push_str("; put quotation marks around the shorter of the two names");
        }
        Problem { origin, message }
    }
}

/// A value as Kafka would write it.
fn text_of(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|_| "is a number beyond 64 bits".to_owned()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Array(array) => {
            let texts = array.iter().map(|one| match one.get_ref() {
                DeValue::Array(_) | DeValue::Table(_) => Err("is a list of lists or tables".to_owned()),
                DeValue::String(text) if text.contains(',') => {
                    Err("has a comma inside an element".to_owned())
                }
                one => text_of(one),
            });
            Ok(texts.collect::<Result<Vec<_>, _>>()?.join(","))
        }
        DeValue::Datetime(_) => Err("is a date".to_owned()),
        DeValue::Table(_) => Err("is a table".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let line = |it: &Entry| format!("{}={} {} {}", it.name, it.text, it.name_at, it.value_at);
        match read("f", text) {
            Ok(file) => {
                let mut lines: Vec<String> = file.entries.iter().map(line).collect();
                lines.sort();
                for core in &file.cores {
                    lines.push(format!("core: {}", core.iter().map(line).collect::<Vec<_>>().join(", ")));
                }
                lines.join("\n")
            }
            Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        }
    }

    #[test]
    fn names_are_flattened_and_keep_their_places() {
        assert_eq!(shown("log.segment.bytes = 5"), "log.segment.bytes=5 f:1:1 f:1:21");
        assert_eq!(shown("\n  log . dirs = 'a'"), "log.dirs=a f:2:3 f:2:16");
        assert_eq!(shown("[log.segment]\nbytes = 5"), "log.segment.bytes=5 f:2:1 f:2:9");
        assert_eq!(shown("\"log.segment.bytes\" = 5"), "log.segment.bytes=5 f:1:1 f:1:23");
        assert_eq!(shown("log = { dirs = \"a\" }"), "log.dirs=a f:1:9 f:1:16");
        assert_eq!(shown("[kafka]\nnum.partitions = 3"), "kafka.num.partitions=3 f:2:1 f:2:18");
    }

    #[test]
    fn values_are_written_as_kafka_writes_them() {
        assert_eq!(shown("a = [\"x\", \"y\"]"), "a=x,y f:1:1 f:1:5");
        assert_eq!(shown("a = 0x10"), "a=16 f:1:1 f:1:5");
        assert_eq!(shown("a = 1_000"), "a=1000 f:1:1 f:1:5");
        assert_eq!(shown("a = -0.5"), "a=-0.5 f:1:1 f:1:5");
        assert_eq!(shown("a = true"), "a=true f:1:1 f:1:5");
        assert_eq!(shown("a = 1979-05-27"), "f:1:5: `a` is a date");
        assert_eq!(shown("a = [[1]]"), "f:1:5: `a` is a list of lists or tables");
        assert_eq!(shown("a = ['x,y']"), "f:1:5: `a` has a comma inside an element");
    }

    #[test]
    fn cores_are_kept_apart() {
        let text = "[[core]]\ncpu = 2\n[[core]]\ncpu = 3\ntail_cache_bytes = '1 MiB'\n";
        assert_eq!(
            shown(text),
            "core: cpu=2 f:2:1 f:2:7\ncore: cpu=3 f:4:1 f:4:7, tail_cache_bytes=1 MiB f:5:1 f:5:20"
        );
    }

    #[test]
    fn syntax_errors_have_a_place() {
        assert!(shown("a = \nb = 1").starts_with("f:1:"), "{}", shown("a = \nb = 1"));
        let both = shown("max.connections = 5\nmax.connections.per.ip = 6");
        assert!(both.starts_with("f:2:") && both.ends_with("the shorter of the two names"), "{both}");
        assert_eq!(
            shown("\"max.connections\" = 5\nmax.connections.per.ip = 6"),
            "max.connections.per.ip=6 f:2:1 f:2:26\nmax.connections=5 f:1:1 f:1:21"
        );
    }
}
