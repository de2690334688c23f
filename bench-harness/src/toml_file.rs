//! TOML files that people write: what is wrong with one is told with file, line and column.

use std::fmt;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::DeTable;

/// What is wrong in a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
}

/// Reads a file's text. `path` is for messages.
pub(crate) fn parse<T: DeserializeOwned>(path: &str, text: &str) -> Result<T, Problem> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        problem(path, text, at, with_suggestion(error.message().trim()))
    })
}

/// A problem of a value, found after the file was read: where the value is, or the innermost of the tables around it
/// if it was left out.
pub(crate) fn problem_of(path: &str, text: &str, keys: &[&str], message: String) -> Problem {
    let at = DeTable::parse(text).map_or(0, |table| place(&table, keys));
    problem(path, text, at, message)
}

/// How many keys the table has that `keys` lead to.
pub(crate) fn width(text: &str, keys: &[&str]) -> usize {
    let Ok(root) = DeTable::parse(text) else { return 0 };
    let mut table = root.get_ref();
    for key in keys {
        let found = table.iter().find(|(name, _)| name.get_ref() == key);
        match found.and_then(|(_, value)| value.get_ref().as_table()) {
            Some(inner) => table = inner,
            None => return 0,
        }
    }
    table.len()
}

/// The name that is nearest to a wrong one, if any is near.
pub(crate) fn did_you_mean<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> String {
    let far = 2 + wrong.len() / 6;
    match names.map(|name| (distance(wrong, name), name)).min() {
        Some((distance, name)) if distance <= far => format!("; did you mean `{name}`?"),
        _ => String::new(),
    }
}

fn place(root: &Spanned<DeTable<'_>>, keys: &[&str]) -> usize {
    let (mut table, mut at) = (root.get_ref(), 0);
    for key in keys {
        let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref() == key) else { break };
        let Some(inner) = value.get_ref().as_table() else { return value.span().start };
        (table, at) = (inner, name.span().start);
    }
    at
}

fn problem(path: &str, text: &str, at: usize, message: String) -> Problem {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Problem { path: path.to_owned(), line, column, message }
}

/// serde names the wrong word first and then those it knows, all in backticks.
fn with_suggestion(message: &str) -> String {
    if !message.starts_with("unknown ") {
        return message.to_owned();
    }
    let mut words = message.split('`').skip(1).step_by(2);
    let suggestion = words.next().map(|wrong| did_you_mean(wrong, words)).unwrap_or_default();
    format!("{message}{suggestion}")
}

/// How many characters have to be put in, taken out or replaced.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.path, self.line, self.column, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_value_is_told_where_its_table_is() {
        let text = "a = 1\n[b]\nc = { d = 2 }\n";
        let check = |keys: &[&str], expected: &str| {
            assert_eq!(problem_of("f", text, keys, "x".into()).to_string(), expected, "{keys:?}");
        };
        check(&["a"], "f:1:5: x");
        check(&["b", "c", "d"], "f:3:11: x");
        check(&["b", "c", "e"], "f:3:1: x");
        check(&["b", "none"], "f:2:2: x");
        check(&["none"], "f:1:1: x");
        assert_eq!((width(text, &[]), width(text, &["b", "c"]), width(text, &["a"])), (2, 1, 0));
    }

    #[test]
    fn the_nearest_name_is_offered_if_it_is_near() {
        let names = ["producers", "partitions"];
        assert_eq!(did_you_mean("partitons", names.into_iter()), "; did you mean `partitions`?");
        assert_eq!(did_you_mean("colour", names.into_iter()), "");
    }
}
