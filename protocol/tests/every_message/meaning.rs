//! Compares a decoded message with Kafka's JSON form of it, by way of its `Debug` form, which names every field.

#![allow(clippy::unwrap_used, reason = "part of tests")]

use serde_json::Value as Json;

/// A value as `{:?}` shows it.
#[derive(Debug, PartialEq)]
pub(crate) enum Shown {
    /// Numbers, booleans, uuids, `None`.
    Word(String),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Struct(Vec<(String, Self)>),
}

impl Shown {
    pub(crate) fn parse(text: &str) -> Self {
        let mut parser = Parser { rest: text };
        let shown = parser.value();
        assert_eq!(parser.rest, "", "left over of {text}");
        shown
    }

    /// Says where this and Kafka's view part. Fields that the JSON form leaves out are not compared.
    pub(crate) fn compare(&self, json: &Json, place: &str) -> Result<(), String> {
        let differ = || Err(format!("{place}: {self:?} is not {json}"));
        match (self, json) {
            (Self::Word(word), Json::Null) if word == "None" => Ok(()),
            (Self::Word(word), Json::Bool(wanted)) if *word == wanted.to_string() => Ok(()),
            (Self::Word(word), Json::Number(wanted)) if same_number(word, wanted) => Ok(()),
            (Self::Word(word) | Self::Text(word), Json::String(wanted)) if word == wanted => Ok(()),
            (Self::Bytes(bytes), Json::String(wanted)) if base64(bytes) == *wanted => Ok(()),
            (Self::List(list), Json::Array(wanted)) if list.len() == wanted.len() => {
                let mut pairs = list.iter().zip(wanted).enumerate();
                pairs.try_for_each(|(at, (value, wanted))| value.compare(wanted, &format!("{place}[{at}]")))
            }
            (Self::Struct(fields), Json::Object(wanted)) => {
                wanted.iter().try_for_each(|(key, json)| compare_field(fields, key, json, place))
            }
            (Self::Word(_), Json::Object(wanted)) if wanted.is_empty() => Ok(()),
            _ => differ(),
        }
    }
}

fn compare_field(fields: &[(String, Shown)], key: &str, json: &Json, place: &str) -> Result<(), String> {
    let find = |key: &str| {
        let name = protocol_generator::snake_case(&format!("{}{}", key[..1].to_uppercase(), &key[1..]));
        fields.iter().find(|field| field.0 == name).map(|field| &field.1)
    };
    let place = format!("{place}.{key}");
    match (find(key), key.strip_suffix("SizeInBytes").and_then(find)) {
        (Some(field), _) => field.compare(json, &place),
        // Records appear as their size.
        (None, Some(Shown::Bytes(bytes))) if json.as_u64() == Some(bytes.len() as u64) => Ok(()),
        _ => Err(format!("{place}: no such field")),
    }
}

fn same_number(word: &str, wanted: &serde_json::Number) -> bool {
    if wanted.is_f64() { word.parse().ok() == wanted.as_f64() } else { word == wanted.to_string() }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let char = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= chunk.len() { char.into() } else { '=' });
        }
    }
    out
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self) -> Shown {
        if self.eat("Some(") {
            let inner = self.value();
            assert!(self.eat(")"), "{}", self.rest);
            return inner;
        }
        if self.eat("[") {
            return Shown::List(self.until("]", Self::value));
        }
        if self.eat("b\"") {
            return Shown::Bytes(self.quoted());
        }
        if self.eat("\"") {
            return Shown::Text(String::from_utf8(self.quoted()).unwrap());
        }
        let end = self.rest.find([' ', ',', ')', ']']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if !self.eat(" { ") {
            return Shown::Word(word.to_owned());
        }
        Shown::Struct(self.until(" }", |parser| {
            let (name, rest) = parser.rest.split_once(": ").unwrap();
            parser.rest = rest;
            (name.to_owned(), parser.value())
        }))
    }

    fn until<T>(&mut self, end: &str, mut element: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let mut elements = Vec::new();
        while !self.eat(end) {
            assert!(elements.is_empty() || self.eat(", "), "{}", self.rest);
            elements.push(element(self));
        }
        elements
    }

    /// The inside of a string or byte string, up to the quote that ends it.
    fn quoted(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            let mut chars = self.rest.chars();
            let char = chars.next().unwrap();
            let escaped = if char == '\\' { chars.next() } else { None };
            self.rest = chars.as_str();
            match (char, escaped) {
                ('"', _) => return out,
                (_, None) => out.extend(char.to_string().bytes()),
                (_, Some('n')) => out.push(b'\n'),
                (_, Some('r')) => out.push(b'\r'),
                (_, Some('t')) => out.push(b'\t'),
                (_, Some('0')) => out.push(0),
                (_, Some('x')) => {
                    let (hex, rest) = self.rest.split_at(2);
                    out.push(u8::from_str_radix(hex, 16).unwrap());
                    self.rest = rest;
                }
                (_, Some('u')) => {
                    let (hex, rest) = self.rest[1..].split_once('}').unwrap();
                    let char = char::from_u32(u32::from_str_radix(hex, 16).unwrap()).unwrap();
                    out.extend(char.to_string().bytes());
                    self.rest = rest;
                }
                (_, Some(other)) => out.extend(other.to_string().bytes()),
            }
        }
    }
}
