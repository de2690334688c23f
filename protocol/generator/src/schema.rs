//! Kafka's message definitions, from their text form. Blocks are separated by a blank line, two spaces are one level:
//!
//! ```text
//! message NAME type=T [key=N] versions=V flexible=V [listeners=a,b] [latestVersionUnstable] [deprecated=V]
//!   FIELD TYPE versions=V [nullable=V] [tag=N tagged=V] [flexible=V] [default=D] [mapKey] [ignorable] [zeroCopy] [entity=E]
//!     NESTED_FIELD ...
//!   struct NAME versions=V          a structure that several fields of the message share
//!     FIELD ...
//! ```
//!
//! `[]T` is an array. A version range is `3-13`, `9+`, `0` or `none`; `9+` ends at the message's newest version. A default
//! holding white space or quotes, or the empty one, is a JSON string.
//!
//! `default=null` stands for the word "null" in Kafka's definition. Where that has JSON's null instead, Kafka takes it for no
//! default at all: the field starts empty, and being null is something that has to be said on the wire.

use std::collections::BTreeMap;

/// Versions from the first to the last, both included; empty if the last is before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) first: i16,
    pub(crate) last: i16,
}

impl Versions {
    pub(crate) const NONE: Self = Self { first: 0, last: -1 };

    pub(crate) fn is_empty(self) -> bool {
        self.last < self.first
    }

    pub(crate) fn and(self, other: Self) -> Self {
        let both = Self { first: self.first.max(other.first), last: self.last.min(other.last) };
        if both.is_empty() { Self::NONE } else { both }
    }

    /// The shortest range that holds both.
    fn hull(self, other: Self) -> Self {
        match (self.is_empty(), other.is_empty()) {
            (true, _) => other,
            (_, true) => self,
            _ => Self { first: self.first.min(other.first), last: self.last.max(other.last) },
        }
    }

    pub(crate) fn contains(self, version: i16) -> bool {
        (self.first..=self.last).contains(&version)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<i16>().map_err(|_| format!("not a version: {text}"));
        if text == "none" {
            return Ok(Self::NONE);
        }
        if let Some(first) = text.strip_suffix('+') {
            return Ok(Self { first: number(first)?, last: i16::MAX });
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Ok(Self { first: number(first)?, last: number(last)? })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    Bool,
    /// An integer or float, by its Rust name, which is also its name in Reader and Writer.
    Number(&'static str),
    Uuid,
    String,
    /// Also record batches: bytes that others take apart.
    Bytes,
    Struct(String),
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) base: Base,
    pub(crate) is_array: bool,
    pub(crate) versions: Versions,
    pub(crate) nullable: Versions,
    pub(crate) tag: Option<u32>,
    /// The field's own idea of which versions are flexible, where it differs from the message's.
    pub(crate) flexible: Option<Versions>,
    pub(crate) default: Option<String>,
    pub(crate) ignorable: bool,
}

#[derive(Debug)]
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
    /// The versions in which any field reaches this struct.
    pub(crate) versions: Versions,
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) key: Option<i16>,
    pub(crate) versions: Versions,
    pub(crate) flexible: Versions,
    /// The message itself first.
    pub(crate) structs: Vec<Struct>,
}

impl Message {
    pub(crate) fn find(&self, name: &str) -> &Struct {
        self.structs
            .iter()
            .find(|s| s.name == name)
            .expect("every reference was resolved when the schema was read")
    }
}

pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Message>, String> {
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    blocks.map(|block| message(file, block).map_err(|e| format!("{file}: {e} in\n{block}"))).collect()
}

fn message(file: &str, block: &str) -> Result<Message, String> {
    let mut lines = block.trim_end().lines();
    let words: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let ["message", name, attributes @ ..] = words.as_slice() else {
        return Err("no message line".to_owned());
    };
    let attributes = attributes_of(attributes);
    let versions = |key: &str| Versions::parse(attributes.get(key).ok_or(format!("{name} has no {key}"))?);
    let mut message = Message {
        name: (*name).to_owned(),
        file: file.to_owned(),
        key: attributes.get("key").map(|key| key.parse()).transpose().map_err(|_| "bad key")?,
        versions: versions("versions")?,
        flexible: versions("flexible")?,
        structs: vec![Struct { name: (*name).to_owned(), fields: Vec::new(), versions: Versions::NONE }],
    };
    read_fields(&mut message, lines)?;
    if !message.flexible.is_empty() && message.flexible.last != i16::MAX {
        return Err("flexible versions end before the newest version".to_owned());
    }
    message.structs[0].versions = message.versions;
    reach(&mut message, 0, 0)?;
    message.structs.retain(|s| !s.versions.is_empty());
    for s in &mut message.structs {
        s.fields.iter_mut().for_each(|field| field.versions = field.versions.and(s.versions));
        s.fields.retain(|field| !field.versions.is_empty());
    }
    Ok(message)
}

fn read_fields<'a>(message: &mut Message, lines: impl Iterator<Item = &'a str>) -> Result<(), String> {
    // The struct that fields of each depth go to.
    let mut open: Vec<usize> = vec![0];
    for line in lines {
        let depth = (line.len() - line.trim_start().len()) / 2;
        if depth == 0 || depth > open.len() {
            return Err(format!("wrong indentation: {line}"));
        }
        open.truncate(depth);
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["struct", name, ..] = words.as_slice() {
            open.push(define(message, name)?);
            continue;
        }
        let field = field(line)?;
        if let Base::Struct(name) = &field.base {
            // Fields may follow on deeper lines; if none do, the struct is defined elsewhere.
            let existing = message.structs.iter().position(|s| s.name == *name);
            let at = existing.map_or_else(|| define(message, name), Ok)?;
            open.push(at);
        }
        message.structs[open[depth - 1]].fields.push(field);
    }
    match message.structs[1..].iter().find(|s| s.fields.is_empty()) {
        Some(empty) => Err(format!("struct {} has no fields", empty.name)),
        None => Ok(()),
    }
}

fn define(message: &mut Message, name: &str) -> Result<usize, String> {
    let at = message.structs.iter().position(|s| s.name == name);
    match at {
        Some(at) if !message.structs[at].fields.is_empty() => Err(format!("struct {name} is defined twice")),
        Some(at) => Ok(at),
        None => {
            message.structs.push(Struct {
                name: name.to_owned(),
                fields: Vec::new(),
                versions: Versions::NONE,
            });
            Ok(message.structs.len() - 1)
        }
    }
}

/// Finds the versions in which each struct is in use, from those of the fields that lead there.
fn reach(message: &mut Message, at: usize, depth: usize) -> Result<(), String> {
    // Decoding recurses as deep as the schema does, so the schema must end.
    if depth > 16 {
        return Err(format!("struct {} contains itself", message.structs[at].name));
    }
    let within = message.structs[at].versions;
    let inner = message.structs[at].fields.iter().filter_map(|field| match &field.base {
        Base::Struct(name) => Some((name.clone(), field.versions.and(within))),
        _ => None,
    });
    for (name, versions) in inner.collect::<Vec<_>>() {
        let found = message.structs.iter().position(|s| s.name == name);
        let found = found.ok_or(format!("no struct {name}"))?;
        message.structs[found].versions = message.structs[found].versions.hull(versions);
        reach(message, found, depth + 1)?;
    }
    Ok(())
}

fn field(line: &str) -> Result<Field, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, kind, attributes @ ..] = words.as_slice() else { return Err(format!("not a field: {line}")) };
    let attributes = attributes_of(attributes);
    let versions = |key: &str| attributes.get(key).map(|text| Versions::parse(text)).transpose();
    let present = versions("versions")?.ok_or(format!("{name} has no versions"))?;
    let tag =
        attributes.get("tag").map(|tag| tag.parse()).transpose().map_err(|_| format!("bad tag: {line}"))?;
    if tag.is_some() && versions("tagged")? != Some(present) {
        return Err(format!("{name} is tagged in some of its versions only"));
    }
    let element = kind.strip_prefix("[]").unwrap_or(kind);
    Ok(Field {
        name: (*name).to_owned(),
        base: base(element)?,
        is_array: element.len() < kind.len(),
        versions: present,
        nullable: versions("nullable")?.unwrap_or(Versions::NONE),
        tag,
        flexible: versions("flexible")?,
        default: attributes.get("default").map(|text| unquoted(text)).transpose()?,
        ignorable: attributes.contains_key("ignorable"),
    })
}

fn base(name: &str) -> Result<Base, String> {
    Ok(match name {
        "bool" => Base::Bool,
        "int8" => Base::Number("i8"),
        "int16" => Base::Number("i16"),
        "uint16" => Base::Number("u16"),
        "int32" => Base::Number("i32"),
        "uint32" => Base::Number("u32"),
        "int64" => Base::Number("i64"),
        "float64" => Base::Number("f64"),
        "uuid" => Base::Uuid,
        "string" => Base::String,
        "bytes" | "records" => Base::Bytes,
        name if name.starts_with(char::is_uppercase) => Base::Struct(name.to_owned()),
        name => return Err(format!("no type {name}")),
    })
}

fn attributes_of<'a>(words: &[&'a str]) -> BTreeMap<&'a str, &'a str> {
    words.iter().map(|word| word.split_once('=').unwrap_or((*word, ""))).collect()
}

fn unquoted(text: &str) -> Result<String, String> {
    match text.strip_prefix('"').map(|rest| rest.strip_suffix('"')) {
        None => Ok(text.to_owned()),
        Some(Some(inner)) if !inner.contains(['\\', '"']) => Ok(inner.to_owned()),
        Some(_) => Err(format!("a default that needs a JSON parser: {text}")),
    }
}
