//! kcat's format strings: `%p/%o %k = %s\n`.

use super::reader::Consumed;
use crate::cli::escapes::escape;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Bytes(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Headers,
    Key,
    KeyLength,
    Payload,
    PayloadLength,
    /// Four bytes, big-endian; -1 for null.
    PayloadLengthBinary,
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut template = Self { parts: Vec::new() };
        let mut rest = text.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            match first {
                b'\\' => {
                    let (byte, taken) = escape(rest)?;
                    template.byte(byte);
                    rest = &rest[taken..];
                }
                b'%' => {
                    let (name, after) =
                        rest.split_first().ok_or("a lone % at the end; %% is a percent sign")?;
                    template.token(*name)?;
                    rest = after;
                }
                byte => template.byte(*byte),
            }
        }
        Ok(template)
    }

    /// A line for each payload; with a delimiter the key comes before it.
    pub(crate) fn lines(key_delimiter: Option<Vec<u8>>) -> Self {
        let key = key_delimiter.map(|delimiter| [Part::Key, Part::Bytes(delimiter)]);
        let parts = key.into_iter().flatten().chain([Part::Payload, Part::Bytes(b"\n".to_vec())]);
        Self { parts: parts.collect() }
    }

    fn byte(&mut self, byte: u8) {
        match self.parts.last_mut() {
            Some(Part::Bytes(bytes)) => bytes.push(byte),
            _ => self.parts.push(Part::Bytes(vec![byte])),
        }
    }

    fn token(&mut self, name: u8) -> Result<(), String> {
        self.parts.push(match name {
            b't' => Part::Topic,
            b'p' => Part::Partition,
            b'o' => Part::Offset,
            b'T' => Part::Timestamp,
            b'h' => Part::Headers,
            b'k' => Part::Key,
            b'K' => Part::KeyLength,
            b's' => Part::Payload,
            b'S' => Part::PayloadLength,
            b'R' => Part::PayloadLengthBinary,
            b'%' => {
                self.byte(b'%');
                return Ok(());
            }
            other => {
                let known = "%t %p %o %T %h %k %K %s %S %R %%";
                return Err(format!("%{} is unknown; there are {known}", char::from(other)));
            }
        });
        Ok(())
    }

    pub(crate) fn fill(&self, topic: &str, consumed: &Consumed<'_>, shows_null: bool, out: &mut Vec<u8>) {
        let null: &[u8] = if shows_null { b"NULL" } else { b"" };
        let record = consumed.record;
        for part in &self.parts {
            match part {
                Part::Bytes(bytes) => out.extend_from_slice(bytes),
                Part::Topic => out.extend_from_slice(topic.as_bytes()),
                Part::Partition => out.extend_from_slice(consumed.partition.to_string().as_bytes()),
                Part::Offset => out.extend_from_slice(consumed.offset.to_string().as_bytes()),
                Part::Timestamp => out.extend_from_slice(consumed.timestamp.to_string().as_bytes()),
                Part::Headers => headers(consumed, out),
                Part::Key => out.extend_from_slice(record.key.unwrap_or(null)),
                Part::KeyLength => out.extend_from_slice(length(record.key).to_string().as_bytes()),
                Part::Payload => out.extend_from_slice(record.value.unwrap_or(null)),
                Part::PayloadLength => out.extend_from_slice(length(record.value).to_string().as_bytes()),
                Part::PayloadLengthBinary => out.extend_from_slice(&length(record.value).to_be_bytes()),
            }
        }
    }
}

fn length(bytes: Option<&[u8]>) -> i32 {
    bytes.map_or(-1, |bytes| bytes.len() as i32)
}

fn headers(consumed: &Consumed<'_>, out: &mut Vec<u8>) {
    for (count, header) in consumed.record.headers().enumerate() {
        if count > 0 {
            out.push(b',');
        }
        out.extend_from_slice(header.key);
        out.push(b'=');
        out.extend_from_slice(header.value.unwrap_or(b"NULL"));
    }
}

#[cfg(test)]
mod tests {
    use protocol::records::batch::{BatchHeader, BatchView};
    use protocol::records::builder::BatchBuilder;
    use protocol::records::compression::Decompressor;
    use protocol::records::record::Header;

    use super::*;

    /// Of a record at offset 7 of partition 3.
    fn filled(template: &Template, key: Option<&[u8]>, value: Option<&[u8]>, shows_null: bool) -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchHeader { base_offset: 7, ..BatchHeader::default() });
        let headers = [Header { key: b"a", value: Some(b"1") }, Header { key: b"b", value: None }];
        builder.append(1_000, key, value, &headers).unwrap();
        let bytes = builder.build().unwrap();
        let batch = BatchView::parse(&bytes).unwrap();
        let mut decompressor = Decompressor::new();
        let record = batch.records(&mut decompressor, 0).unwrap().next().unwrap().unwrap();
        let consumed = Consumed {
            partition: 3,
            leader: 1,
            offset: batch.offset_of(&record),
            timestamp: batch.timestamp_of(&record),
            is_log_append_time: false,
            record: &record,
        };
        let mut out = Vec::new();
        template.fill("orders", &consumed, shows_null, &mut out);
        out
    }

    #[test]
    fn every_token_stands_for_its_part_of_the_record() {
        let is = |format: &str, expected: &str| {
            let out = filled(&Template::parse(format).unwrap(), Some(b"key"), Some(b"value"), false);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{format}");
        };
        is(
            r"%t %p/%o at %T: %k (%K) = %s (%S) %h 100%%\n",
            "orders 3/7 at 1000: key (3) = value (5) a=1,b=NULL 100%\n",
        );
        is("%R%s", "\0\0\0\u{5}value");
        is(r"\x41\t", "A\t");
        is("", "");
    }

    #[test]
    fn null_is_nothing_or_named() {
        let template = Template::parse("[%k|%s|%K|%S]").unwrap();
        assert_eq!(filled(&template, None, None, false), b"[||-1|-1]");
        assert_eq!(filled(&template, None, None, true), b"[NULL|NULL|-1|-1]");
        assert_eq!(filled(&Template::parse("%R").unwrap(), None, None, true), [0xff; 4]);
    }

    #[test]
    fn without_a_format_payloads_are_lines() {
        assert_eq!(filled(&Template::lines(None), Some(b"k"), Some(b"v"), false), b"v\n");
        assert_eq!(filled(&Template::lines(Some(b": ".to_vec())), Some(b"k"), Some(b"v"), false), b"k: v\n");
    }

    #[test]
    fn unknown_tokens_are_named() {
        assert!(Template::parse("%q").unwrap_err().contains("%q is unknown"));
        assert!(Template::parse("100%").is_err() && Template::parse("\\").is_err());
    }
}
