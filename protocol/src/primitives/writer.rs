//! Puts a message together.

use bytes::Bytes;

use super::{EncodeError, STRING_BYTES_MAX};
use crate::ids::Uuid;

type Result<T> = std::result::Result<T, EncodeError>;

#[derive(Clone, Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
    }

    /// Goes on where `out` ends.
    pub fn append_to(out: Vec<u8>) -> Self {
        Self { out }
    }

    pub fn len(&self) -> usize {
        self.out.len()
    }

    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    pub fn written(&self) -> &[u8] {
        &self.out
    }

    /// What was written, to be patched.
    pub fn written_mut(&mut self) -> &mut [u8] {
        &mut self.out
    }

    /// Forgets all that was written and keeps the room for it.
    pub fn clear(&mut self) {
        self.out.clear();
    }

    pub fn into_vec(self) -> Vec<u8> {
        self.out
    }

    pub fn into_bytes(self) -> Bytes {
        self.out.into()
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub fn bool(&mut self, value: bool) {
        self.out.push(value.into());
    }

    pub fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    pub fn i8(&mut self, value: i8) {
        self.raw(&value.to_be_bytes());
    }

    pub fn i16(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    pub fn i32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    pub fn u32(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    pub fn i64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    pub fn f64(&mut self, value: f64) {
        self.raw(&value.to_be_bytes());
    }

    pub fn uuid(&mut self, value: Uuid) {
        self.raw(&value.0);
    }

    pub fn unsigned_varint(&mut self, value: u32) {
        self.unsigned_varlong(value.into());
    }

    pub fn varint(&mut self, value: i32) {
        self.unsigned_varint((value << 1 ^ value >> 31) as u32);
    }

    pub fn unsigned_varlong(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    pub fn varlong(&mut self, value: i64) {
        self.unsigned_varlong((value << 1 ^ value >> 63) as u64);
    }

    /// The length of a byte field or array; `None` is null.
    pub fn array_len(&mut self, len: Option<usize>, flexible: bool) -> Result<()> {
        let len = match len {
            // The largest length must still fit after one is added to it.
            Some(len) => i32::try_from(len).ok().filter(|len| *len < i32::MAX).ok_or(EncodeError::TooLong)?,
            None => -1,
        };
        if flexible {
            self.unsigned_varint((len + 1) as u32);
        } else {
            self.i32(len);
        }
        Ok(())
    }

    pub fn nullable_string(&mut self, text: Option<&str>, flexible: bool) -> Result<()> {
        let text_bytes = text.unwrap_or_default().as_bytes();
        if text_bytes.len() > STRING_BYTES_MAX {
            return Err(EncodeError::TooLong);
        }
        let len = if text.is_some() { text_bytes.len() as i16 } else { -1 };
        if flexible {
            self.unsigned_varint((i32::from(len) + 1) as u32);
        } else {
            self.i16(len);
        }
        self.raw(text_bytes);
        Ok(())
    }

    pub fn string(&mut self, text: &str, flexible: bool) -> Result<()> {
        self.nullable_string(Some(text), flexible)
    }

    pub fn nullable_bytes(&mut self, bytes: Option<&[u8]>, flexible: bool) -> Result<()> {
        self.array_len(bytes.map(<[u8]>::len), flexible)?;
        self.raw(bytes.unwrap_or_default());
        Ok(())
    }

    pub fn bytes(&mut self, bytes: &[u8], flexible: bool) -> Result<()> {
        self.nullable_bytes(Some(bytes), flexible)
    }

    /// Begins a tagged field. What is written up to `end_tag` is its value.
    pub fn begin_tag(&mut self, tag: u32) -> TagStart {
        self.unsigned_varint(tag);
        self.out.push(0);
        TagStart(self.out.len())
    }

    /// The size goes before the value, and most values are short: one byte is kept free for it, and a longer one moves the value.
    pub fn end_tag(&mut self, start: TagStart) -> Result<()> {
        let TagStart(value_at) = start;
        let mut size = i32::try_from(self.out.len() - value_at).map_err(|_| EncodeError::TooLong)? as u32;
        let mut at = value_at - 1;
        while size >= 0x80 {
            self.out[at] = size as u8 | 0x80;
            size >>= 7;
            at += 1;
            self.out.insert(at, 0);
        }
        self.out[at] = size as u8;
        Ok(())
    }

    /// Closes a struct of a flexible version that has no tagged fields to say.
    pub fn no_tags(&mut self) {
        self.out.push(0);
    }

    /// Whether a nullable struct follows.
    pub fn presence(&mut self, present: bool) {
        self.i8(if present { 1 } else { -1 });
    }

    /// Whether a nullable struct follows, where it is the value of a tagged field.
    pub fn presence_tagged(&mut self, present: bool) {
        self.u8(present.into());
    }
}

/// Where the value of a tagged field begins.
#[must_use = "the field is complete with end_tag"]
#[derive(Debug)]
pub struct TagStart(usize);

#[cfg(test)]
mod tests {
    use super::super::Reader;
    use super::*;

    #[test]
    fn numbers_read_back() {
        for value in [0, 1, -1, 63, -64, 64, 127, 128, 16_383, 16_384, i32::MIN, i32::MAX] {
            let mut w = Writer::new();
            w.varint(value);
            w.unsigned_varint(value as u32);
            w.varlong(i64::from(value) << 31);
            w.unsigned_varlong((i64::from(value) << 31) as u64);
            let mut r = Reader::new(w.written());
            assert_eq!(r.varint(), Ok(value));
            assert_eq!(r.unsigned_varint(), Ok(value as u32));
            assert_eq!(r.varlong(), Ok(i64::from(value) << 31));
            assert_eq!(r.unsigned_varlong(), Ok((i64::from(value) << 31) as u64));
            assert_eq!(r.remaining(), 0);
        }
    }

    #[test]
    fn strings_and_bytes_read_back() {
        let long = "x".repeat(STRING_BYTES_MAX);
        for flexible in [false, true] {
            for text in [None, Some(""), Some("a"), Some(long.as_str())] {
                let mut w = Writer::new();
                w.nullable_string(text, flexible).unwrap();
                w.nullable_bytes(text.map(str::as_bytes), flexible).unwrap();
                let mut r = Reader::new(w.written());
                assert_eq!(r.nullable_string(flexible).unwrap().as_deref(), text);
                assert_eq!(r.nullable_bytes(flexible).unwrap().as_deref(), text.map(str::as_bytes));
                assert_eq!(r.remaining(), 0);
            }
            assert_eq!(Writer::new().string(&format!("{long}x"), flexible), Err(EncodeError::TooLong));
        }
    }

    #[test]
    fn tagged_fields_of_any_size_carry_it() {
        for size in [0, 1, 127, 128, 16_383, 16_384, 3_000_000] {
            let mut w = Writer::new();
            w.unsigned_varint(1);
            let outer = w.begin_tag(300);
            w.u8(7);
            let inner = w.begin_tag(0);
            w.raw(&vec![1; size]);
            w.end_tag(inner).unwrap();
            w.u8(9);
            w.end_tag(outer).unwrap();
            let mut r = Reader::new(w.written());
            assert_eq!(r.tag_count(), Ok(1));
            let (tag, outer_size) = r.tag().unwrap();
            assert_eq!((tag, outer_size), (300, r.remaining()));
            assert_eq!(r.u8(), Ok(7));
            assert_eq!(r.tag(), Ok((0, size)));
            assert_eq!(r.take(size).unwrap(), vec![1; size]);
            assert_eq!(r.rest(), [9]);
        }
    }
}
