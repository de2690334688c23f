//! The code as text: layers, names, sizes, links. What the compiler cannot see and good will would not keep.
//!
//! Every check returns what it found, so that one run shows all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use source::{blanked, closing, imports, line_of, occurrences, without_tests};

#[path = "tidy/source.rs"]
mod source;

/// Inside broker/src, from the top: a layer uses the layers below it, never one above. Modules of one row may use
/// each other as long as no two of them do so in a circle.
const LAYERS: &[&[&str]] = &[
    &["main", "lib", "cli", "server"],
    &["net", "admin"],
    &["api"],
    &["shard"],
    &["partition", "coordinator", "controller"],
    &["peer", "metadata", "security", "quotas", "telemetry"],
    &["transport", "config", "metrics", "promise"],
];

/// Our crates: folder, package, which of ours it may depend on.
const CRATES: &[(&str, &str, &[&str])] = &[
    ("protocol", "protocol", &[]),
    ("protocol/generator", "protocol-generator", &[]),
    ("storage", "storage", &["protocol"]),
    ("broker/cluster", "cluster", &["protocol"]),
    ("broker/reactor", "reactor", &["storage"]),
    ("broker", "broker", &["protocol", "storage", "cluster", "reactor"]),
    ("broker/simulator", "simulator", &["broker", "protocol", "storage", "cluster", "reactor"]),
    ("bench-harness", "bench-harness", &["protocol"]),
];

/// Words that code (not comments, not strings) holds only under the named places; none named: nowhere.
const WORDS: &[(&str, &[&str])] = &[
    ("glommio::", &["broker/reactor/", "bench-harness/"]),
    ("io_uring::", &["broker/reactor/", "bench-harness/"]),
    ("dbg!", &[]),
    ("todo!", &[]),
    ("unimplemented!", &[]),
    ("println!", PRINTERS),
    ("eprintln!", PRINTERS),
    ("print!", PRINTERS),
    ("eprint!", PRINTERS),
];
const PRINTERS: &[&str] = &[
    "broker/src/cli",
    "broker/src/main.rs",
    "broker/src/server/banner.rs",
    "broker/simulator/",
    "bench-harness/",
    "protocol/generator/",
    "/tests/",
    "/benches/",
];

/// What a crate that only decides, or only knows bytes, has no business with: folder, words.
const PURE: &[(&str, &[&str])] = &[
    ("protocol/src/", &["async", ".await", "std::fs", "std::net", "std::thread", "Instant", "SystemTime"]),
    (
        "broker/cluster/src/",
        &["async", ".await", "std::fs", "std::net", "std::thread", "Instant", "SystemTime"],
    ),
    ("storage/src/", &["std::fs", "std::net", "std::thread", "Instant", "SystemTime"]),
];

const BANNED_NAMES: &[&str] = &[
    "util", "utils", "helper", "helpers", "common", "misc", "manager", "managers", "base", "types", "shared",
    "data", "mod",
];

/// Registries that a user's own download comes from: file, word.
const DOWNLOADS: &[(&str, &str)] = &[("bench-harness/src/target/jars.rs", concat!("repo1.ma", "ven"))];

/// Generated: only their being current is checked, elsewhere.
const GENERATED: &str = "protocol/src/messages/";
const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn the_tree_is_tidy() {
    let tree = Tree::read();
    type Check = fn(&Tree) -> Vec<String>;
    let checks: &[(&str, Check)] = &[
        ("layers", layers),
        ("crates", crates),
        ("words", words),
        ("names", names),
        ("sizes", sizes),
        ("api files", api_files),
        ("dead files", dead_files),
        ("links", links),
        ("speaks of itself", speaks_of_itself),
    ];
    let found: Vec<String> = checks
        .iter()
        .flat_map(|(name, check)| check(&tree).into_iter().map(move |line| format!("{name}: {line}")))
        .collect();
    assert!(found.is_empty(), "{} things to tidy:\n  {}\n", found.len(), found.join("\n  "));
    assert!(
        tree.code.len() > 10 && tree.code.contains_key("broker/src/main.rs"),
        "this test no longer sees the tree"
    );
}

struct Tree {
    root: PathBuf,
    /// Every text file: path from the root, content.
    text: BTreeMap<String, String>,
    /// Every .rs file with comments and strings blanked; `code` ends where its tests begin.
    code: BTreeMap<String, String>,
}

impl Tree {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("broker/ lies in the workspace")
            .to_path_buf();
        let mut text = BTreeMap::new();
        walk(&root, &root, &mut text);
        let rust = text.iter().filter(|(path, _)| path.ends_with(".rs"));
        let code =
            rust.map(|(path, text)| (path.clone(), without_tests(&blanked(text)).to_owned())).collect();
        Self { root, text, code }
    }

    fn hand_written(&self) -> impl Iterator<Item = (&str, &str)> {
        self.code
            .iter()
            .filter(|(path, _)| !path.starts_with(GENERATED))
            .map(|(path, code)| (path.as_str(), code.as_str()))
    }

    /// Files of a crate's own sources.
    fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.hand_written().filter(|(path, _)| path.starts_with("src/") || path.contains("/src/"))
    }
}

fn walk(root: &Path, folder: &Path, text: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("the tree can be listed") {
        let path = entry.expect("the tree can be listed").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if matches!(name, ".git" | "target" | "node_modules" | "millstream-data" | "__pycache__")
            || path.is_symlink()
        {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, text);
        } else if let Ok(content) = fs::read_to_string(&path) {
            let name = path.strip_prefix(root).expect("found under the root").to_string_lossy().into_owned();
            text.insert(name, content);
        }
    }
}

fn layers(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    let mut uses: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, code) in tree.sources().filter(|(path, _)| path.starts_with("broker/src/")) {
        let own: Vec<&str> = path["broker/src/".len()..].trim_end_matches(".rs").split('/').collect();
        if rank(own[0]).is_none() {
            found.push(format!("{path}: `{}` has no layer; name one in broker/tests/tidy.rs", own[0]));
        }
        for (at, used) in imports(code, &own) {
            if let Some(why) = misuse(tree, &own, &used) {
                found.push(format!("{path}:{}: {why}", line_of(code, at)));
            }
            uses.extend(used.first().map(|first| (own[0].to_owned(), first.clone())));
        }
    }
    // Layers keep arrows pointing down, so a circle of modules can only be one within a row.
    for a in LAYERS[1..].iter().copied().flatten() {
        for b in LAYERS[1..].iter().copied().flatten().filter(|b| a < *b) {
            if reaches(&uses, a, b) && reaches(&uses, b, a) && rank(a) == rank(b) {
                found.push(format!("`{a}` and `{b}` use each other"));
            }
        }
    }
    found
}

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn misuse(tree: &Tree, own: &[&str], used: &[String]) -> Option<String> {
    let module = used.first()?.as_str();
    if rank(module)? < rank(own[0])? {
        return Some(format!("`{}` lies below `{module}` and may not use it", own[0]));
    }
    if own[0] == "cli" && ["shard", "api", "net"].contains(&module) {
        return Some(format!("cli works offline and may not use `{module}`"));
    }
    let name = used.get(1).filter(|_| own[0] == "api" && module == "api" && own.len() > 1)?;
    let is_other = name != own[1] && tree.code.contains_key(&format!("broker/src/api/{name}.rs"));
    is_other.then(|| "an api file may not use another; what they share lies a layer lower".to_owned())
}

fn reaches(uses: &BTreeSet<(String, String)>, from: &str, to: &str) -> bool {
    let mut seen = vec![from];
    let mut next = 0;
    while next < seen.len() {
        let used = uses.iter().filter(|(user, used)| user == seen[next] && rank(used) == rank(from));
        let fresh: Vec<&str> =
            used.map(|(_, used)| used.as_str()).filter(|used| !seen.contains(used)).collect();
        seen.extend(fresh);
        next += 1;
    }
    seen.contains(&to)
}

fn crates(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, manifest) in
        tree.text.iter().filter(|(path, _)| path.ends_with("/Cargo.toml") && !path.contains("/fuzz/"))
    {
        let folder = path.trim_end_matches("/Cargo.toml");
        let Some((_, _, allowed)) = CRATES.iter().find(|(place, ..)| *place == folder) else {
            found.push(format!("{path}: a crate that broker/tests/tidy.rs does not know"));
            continue;
        };
        let mut section = "";
        for line in manifest.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line.trim_matches(['[', ']']);
            }
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            let ours =
                CRATES.iter().any(|(_, package, _)| *package == name) && section.ends_with("dependencies");
            if ours && !section.contains("dev-") && !allowed.contains(&name) {
                found.push(format!("{path}: may not depend on `{name}`"));
            }
            let machine = ["glommio", "io-uring"].contains(&name) && section.ends_with("dependencies");
            if machine && !["broker/reactor", "bench-harness"].contains(&folder) {
                found.push(format!("{path}: only broker/reactor names `{name}`"));
            }
        }
    }
    found
}

fn words(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, code) in tree.hand_written() {
        for (word, allowed) in WORDS {
            if !allowed.iter().any(|place| path.contains(place)) {
                found.extend(
                    occurrences(code, word).map(|at| format!("{path}:{}: `{word}`", line_of(code, at))),
                );
            }
        }
        for (_, words) in PURE.iter().filter(|(place, _)| path.starts_with(place)) {
            let hits = words.iter().flat_map(|word| occurrences(code, word).map(move |at| (at, word)));
            found.extend(hits.map(|(at, word)| {
                format!("{path}:{}: `{word}` in a crate that has none", line_of(code, at))
            }));
        }
    }
    found
}

fn names(tree: &Tree) -> Vec<String> {
    let rust = tree.code.keys().filter(|path| !path.starts_with(GENERATED));
    let bad =
        rust.filter(|path| path.trim_end_matches(".rs").split('/').any(|part| BANNED_NAMES.contains(&part)));
    bad.map(|path| format!("{path}: a name that says nothing; if only it fits, the thing is two things"))
        .collect()
}

fn sizes(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, code) in tree.sources() {
        let lines = code.lines().count();
        if lines > FILE_LINES_MAX {
            found.push(format!(
                "{path}: {lines} lines, {FILE_LINES_MAX} at most; split it by the noun inside"
            ));
        }
        for at in occurrences(code, "fn ") {
            let Some(open) =
                code[at..].find(['{', ';']).map(|n| at + n).filter(|open| code.as_bytes()[*open] == b'{')
            else {
                continue;
            };
            let lines =
                code[open..closing(code, open)].lines().filter(|line| !line.trim().is_empty()).count();
            if lines > FUNCTION_LINES_MAX + 2 {
                found.push(format!(
                    "{path}:{}: a function of {lines} lines, {FUNCTION_LINES_MAX} at most",
                    line_of(code, at)
                ));
            }
        }
    }
    found
}

fn api_files(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    let known = tree.code.get("protocol/src/api_key.rs").map_or("", String::as_str);
    for (path, code) in tree.sources() {
        let Some(api) = path.strip_prefix("broker/src/api/").filter(|rest| !rest.contains('/')) else {
            continue;
        };
        let camel: String = api
            .trim_end_matches(".rs")
            .split('_')
            .map(|word| word[..1].to_uppercase() + &word[1..])
            .collect();
        if occurrences(known, &camel).next().is_none() {
            found.push(format!("{path}: `{camel}` is no API of Kafka"));
        }
        let header: String = tree.text[path].lines().take_while(|line| line.starts_with("//!")).collect();
        if !header.contains("version") || !header.contains(|c: char| c.is_ascii_digit()) {
            found.push(format!("{path}: starts with a `//!` that names its key and versions"));
        }
        let handles = ["pub fn handle(", "pub(crate) fn handle("]
            .iter()
            .map(|face| code.matches(face).count())
            .sum::<usize>();
        if handles != 1 {
            found.push(format!("{path}: {handles} public `fn handle`, one is asked"));
        }
    }
    found
}

fn dead_files(tree: &Tree) -> Vec<String> {
    let is_root = |path: &str| {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let last = folder.rsplit('/').next().unwrap_or_default();
        path.contains("/fuzz/")
            || name == "build.rs"
            || ["bin", "tests", "benches", "examples"].contains(&last)
            || (last == "src" && ["lib.rs", "main.rs"].contains(&name))
    };
    let mut open: Vec<String> = tree.code.keys().filter(|path| is_root(path)).cloned().collect();
    let mut alive: BTreeSet<String> = open.iter().cloned().collect();
    while let Some(path) = open.pop() {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let below = if is_root(&path) { folder.to_owned() } else { path.trim_end_matches(".rs").to_owned() };
        // Tests live in the file, too, so the whole text counts here.
        let (text, code) = (&tree.text[&path], blanked(&tree.text[&path]));
        let named = occurrences(&code, "mod ").filter_map(|at| {
            let name = code[at + 4..].split_once(';')?.0;
            name.chars().all(|c| c == '_' || c.is_alphanumeric()).then(|| format!("{below}/{name}.rs"))
        });
        let by_path = text.split("#[path = \"").skip(1).filter_map(|rest| rest.split('"').next());
        for file in named.chain(by_path.map(|file| format!("{folder}/{file}"))) {
            if tree.code.contains_key(&file) && alive.insert(file.clone()) {
                open.push(file);
            }
        }
    }
    let dead = tree.code.keys().filter(|path| !alive.contains(*path));
    dead.map(|path| format!("{path}: no `mod` leads here")).collect()
}

fn links(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in tree.text.iter().filter(|(path, _)| path.ends_with(".md")) {
        let folder = tree.root.join(path).parent().map(Path::to_path_buf).unwrap_or_default();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', ' ', '\n', '#']).next().unwrap_or_default();
            if !target.is_empty()
                && !target.contains("://")
                && !target.starts_with("mailto:")
                && !folder.join(target).exists()
            {
                found.push(format!("{path}:{}: no file `{target}`", line_of(text, at)));
            }
        }
    }
    found
}

/// The project knows nothing of the machine or the place where it was written.
fn speaks_of_itself(tree: &Tree) -> Vec<String> {
    let foreign = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("registry.npm", "js"),
        concat!("repo1.ma", "ven"),
        concat!("repo.ma", "ven"),
        concat!("pypi", ".org"),
        concat!("pythonhosted", ".org"),
        concat!("proxy.go", "lang"),
        concat!("static.crates", ".io"),
    ];
    let mut found = Vec::new();
    for (path, text) in tree.text.iter().filter(|(path, _)| path.as_str() != "Cargo.lock") {
        let is_download = |word: &str| DOWNLOADS.contains(&(path.as_str(), word));
        let hits = foreign.iter().filter(|word| !is_download(word)).flat_map(|word| text.match_indices(word));
        found.extend(hits.map(|(at, word)| format!("{path}:{}: `{word}`", line_of(text, at))));
        let numbered = text.match_indices("ssue ").filter(|(at, word)| {
            let rest = &text.as_bytes()[at + word.len()..];
            rest.first().is_some_and(u8::is_ascii_digit)
                || (rest.first() == Some(&b'#') && rest.get(1).is_some_and(u8::is_ascii_digit))
        });
        found.extend(numbered.map(|(at, _)| format!("{path}:{}: a ticket's number", line_of(text, at))));
    }
    found
}
