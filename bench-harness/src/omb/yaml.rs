//! The YAML that the OpenMessaging Benchmark's files are written in: one flat mapping of scalars and block texts.
//!
//! Anything beyond that is refused with its line: a reader that guesses would make another workload of it.

use crate::toml_file::Problem;

/// One `key: value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) line: usize,
}

pub(super) fn parse(path: &str, text: &str) -> Result<Vec<Entry>, Problem> {
    let problem = |line: usize, message: String| Problem { path: path.to_owned(), line, column: 1, message };
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().collect();
    let mut entries: Vec<Entry> = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let (line, number) = (lines[at].trim_end(), at + 1);
        at += 1;
        if line.trim_start().is_empty() || line.trim_start().starts_with('#') || line == "---" {
            continue;
        }
        if line == "..." {
            break;
        }
        if line.starts_with([' ', '\t']) {
            return Err(problem(number, "indented lines belong to a block text (`key: |`) only".into()));
        }
        if line.starts_with(['-', '[', '{', '%', '&', '*', '!']) {
            return Err(problem(number, "only lines of `key: value` are read".into()));
        }
        let Some((key, rest)) = split(line) else {
            return Err(problem(number, format!("`{line}` is not `key: value`")));
        };
        if entries.iter().any(|entry| entry.key == key) {
            return Err(problem(number, format!("`{key}` is given twice")));
        }
        let value = if rest.starts_with(['|', '>']) {
            let (value, used) = block(rest, &lines[at..]).map_err(|message| problem(number, message))?;
            at += used;
            value
        } else {
            scalar(rest).map_err(|message| problem(number, message))?
        };
        entries.push(Entry { key: key.to_owned(), value, line: number });
    }
    Ok(entries)
}

/// A colon ends a key if a space or nothing follows.
fn split(line: &str) -> Option<(&str, &str)> {
    let at = line.match_indices(':').map(|(at, _)| at).find(|at| {
        let rest = &line[at + 1..];
        rest.is_empty() || rest.starts_with([' ', '\t'])
    })?;
    let key = line[..at].trim().trim_matches(['"', '\'']);
    (!key.is_empty()).then(|| (key, line[at + 1..].trim()))
}

fn scalar(text: &str) -> Result<String, String> {
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let inner = &text[1..];
            let Some(end) = inner.find(quote) else { return Err("a quotation mark is not closed".into()) };
            let after = inner[end + 1..].trim_start();
            let is_end = after.is_empty() || after.starts_with('#');
            if !is_end || inner[..end].contains('\\') {
                return Err("quotation marks or backslashes inside a quoted text are not read".into());
            }
            Ok(inner[..end].to_owned())
        }
        Some('[' | '{' | '&' | '*' | '!') => Err("lists, mappings, anchors and tags are not read".into()),
        _ => {
            let end = text.find(" #").unwrap_or(text.len());
            let plain = if text.starts_with('#') { "" } else { text[..end].trim_end() };
            Ok(if matches!(plain, "null" | "~") { String::new() } else { plain.to_owned() })
        }
    }
}

/// The lines that are further in, without what they are further in by; and how many they are.
fn block(indicator: &str, lines: &[&str]) -> Result<(String, usize), String> {
    let indicator = indicator.split(" #").next().unwrap_or_default().trim_end();
    if !matches!(indicator, "|" | "|-" | "|+" | ">" | ">-" | ">+") {
        return Err(format!("`{indicator}` is not a block text's beginning that is read"));
    }
    let used = lines
        .iter()
        .position(|line| !line.trim().is_empty() && !line.starts_with([' ', '\t']))
        .unwrap_or(lines.len());
    let inside = &lines[..used];
    let depth_of = |line: &&&str| line.len() - line.trim_start().len();
    let depth = inside.iter().filter(|line| !line.trim().is_empty()).map(|line| depth_of(&line)).min();
    let texts = inside.iter().map(|line| line.get(depth.unwrap_or(0)..).unwrap_or_default().trim_end());
    let joint = if indicator.starts_with('|') { "\n" } else { " " };
    Ok((texts.collect::<Vec<_>>().join(joint).trim_end().to_owned(), used))
}
