//! Development tool: message schemas in, Rust out. The output is checked in, and a test of `protocol` proves it current.
//!
//! `schema` reads the text form of Kafka's message definitions, `rust` prints one file per message.

mod rust;
mod schema;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

pub use rust::snake_case;

/// The list of generated modules.
const LIST: &str = "src/messages.rs";
/// One generated file per message.
const FOLDER: &str = "src/messages";
/// The same list for tests that go through every message.
const TEST_TABLE: &str = "tests/every_message/table.rs";

/// All generated files by their path inside the `protocol` crate, from the schemas in its `schemas` folder.
pub fn generate_from(protocol: &Path) -> Result<BTreeMap<String, String>, String> {
    let mut messages = Vec::new();
    for name in files_in(&protocol.join("schemas"))? {
        let path = protocol.join("schemas").join(&name);
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        messages.extend(schema::parse(&name, &text)?);
    }
    // Of the APIs that Kafka 4 removed, only the names are left.
    messages.retain(|message| !message.versions.is_empty());
    messages.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = messages.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(format!("{} is defined twice", pair[0].name));
    }
    let mut files = BTreeMap::new();
    files.insert(LIST.to_owned(), rust::list(&messages));
    files.insert(TEST_TABLE.to_owned(), rust::test_table(&messages));
    for message in &messages {
        files.insert(format!("{FOLDER}/{}.rs", snake_case(&message.name)), rust::message_file(message)?);
    }
    Ok(files)
}

/// The generated files that are there now.
pub fn checked_in(protocol: &Path) -> Result<BTreeMap<String, String>, String> {
    let mut names = vec![LIST.to_owned(), TEST_TABLE.to_owned()];
    names.retain(|name| protocol.join(name).exists());
    if protocol.join(FOLDER).exists() {
        names.extend(files_in(&protocol.join(FOLDER))?.iter().map(|name| format!("{FOLDER}/{name}")));
    }
    let read = |name: String| {
        let text = fs::read_to_string(protocol.join(&name)).map_err(|e| format!("{name}: {e}"))?;
        Ok((name, text))
    };
    names.into_iter().map(read).collect()
}

fn files_in(folder: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}
