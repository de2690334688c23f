//! Takes a message apart, from bytes nobody vouches for.
//!
//! Two rules keep a hostile message from costing more than it weighs: a length is compared with the bytes left before anything
//! is allocated, and all that is allocated is taken from a budget in proportion to the message.

use bytes::Bytes;

use super::{DecodeError, STRING_BYTES_MAX};
use crate::ids::Uuid;

type Result<T> = std::result::Result<T, DecodeError>;

/// What any message may allocate, however short it is.
const BUDGET_BASE_BYTES: usize = 64 * 1024;
/// What each byte of a message may allocate on top. The in-memory form of small wire elements is large: an empty
/// compact string is one byte there and 24 here.
const BUDGET_PER_BYTE: usize = 16;

#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    budget: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::with_budget(
            bytes,
            BUDGET_BASE_BYTES.saturating_add(bytes.len().saturating_mul(BUDGET_PER_BYTE)),
        )
    }

    /// A reader whose values may allocate at most `budget` bytes together.
    pub fn with_budget(bytes: &'a [u8], budget: usize) -> Self {
        Self { rest: bytes, budget }
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn budget_left(&self) -> usize {
        self.budget
    }

    /// Takes `bytes` from the budget. Called before they are allocated.
    pub fn charge(&mut self, bytes: usize) -> Result<()> {
        self.budget = self.budget.checked_sub(bytes).ok_or(DecodeError::TooHeavy)?;
        Ok(())
    }

    #[inline]
    pub fn take(&mut self, bytes: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    pub fn bool(&mut self) -> Result<bool> {
        Ok(self.u8()? != 0)
    }

    #[inline]
    pub fn u8(&mut self) -> Result<u8> {
        let [byte] = self.fixed()?;
        Ok(byte)
    }

    #[inline]
    pub fn i8(&mut self) -> Result<i8> {
        self.fixed().map(i8::from_be_bytes)
    }

    #[inline]
    pub fn i16(&mut self) -> Result<i16> {
        self.fixed().map(i16::from_be_bytes)
    }

    #[inline]
    pub fn u16(&mut self) -> Result<u16> {
        self.fixed().map(u16::from_be_bytes)
    }

    #[inline]
    pub fn i32(&mut self) -> Result<i32> {
        self.fixed().map(i32::from_be_bytes)
    }

    #[inline]
    pub fn u32(&mut self) -> Result<u32> {
        self.fixed().map(u32::from_be_bytes)
    }

    #[inline]
    pub fn i64(&mut self) -> Result<i64> {
        self.fixed().map(i64::from_be_bytes)
    }

    pub fn f64(&mut self) -> Result<f64> {
        self.fixed().map(f64::from_be_bytes)
    }

    #[inline]
    pub fn uuid(&mut self) -> Result<Uuid> {
        self.fixed().map(Uuid)
    }

    /// Seven bits a byte, lowest first, five bytes at most.
    /// Kafka: bits of the fifth byte that do not fit are dropped without a word.
    #[inline]
    pub fn unsigned_varint(&mut self) -> Result<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint)
    }

    /// Zigzag: small numbers of either sign are short.
    #[inline]
    pub fn varint(&mut self) -> Result<i32> {
        let value = self.unsigned_varint()?;
        Ok((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    #[inline]
    pub fn unsigned_varlong(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..=63).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint)
    }

    #[inline]
    pub fn varlong(&mut self) -> Result<i64> {
        let value = self.unsigned_varlong()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A compact length.
    /// Kafka: the subtraction is done in 32 bits with a sign, and every negative length means null.
    #[inline]
    fn compact_len(&mut self) -> Result<Option<usize>> {
        let len = (self.unsigned_varint()? as i32).wrapping_sub(1);
        Ok(usize::try_from(len).ok())
    }

    /// The length of a byte field or array; `None` is null.
    #[inline]
    fn long_len(&mut self, flexible: bool) -> Result<Option<usize>> {
        if flexible { self.compact_len() } else { Ok(usize::try_from(self.i32()?).ok()) }
    }

    /// The bytes of a string where they lie. They need not be UTF-8.
    #[inline]
    pub fn string_bytes(&mut self, flexible: bool) -> Result<Option<&'a [u8]>> {
        let len = if flexible { self.compact_len()? } else { usize::try_from(self.i16()?).ok() };
        match len {
            Some(len) if len > STRING_BYTES_MAX => Err(DecodeError::TooLong),
            Some(len) => self.take(len).map(Some),
            None => Ok(None),
        }
    }

    /// Kafka: what is not UTF-8 reads as U+FFFD.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<String>> {
        let Some(bytes) = self.string_bytes(flexible)? else { return Ok(None) };
        if let Ok(text) = std::str::from_utf8(bytes) {
            self.charge(text.len())?;
            return Ok(Some(text.to_owned()));
        }
        let replaced = |invalid: &[u8]| if invalid.is_empty() { "" } else { "\u{fffd}" };
        let chunks = || bytes.utf8_chunks().flat_map(|chunk| [chunk.valid(), replaced(chunk.invalid())]);
        let len = chunks().map(str::len).sum();
        self.charge(len)?;
        let mut text = String::with_capacity(len);
        text.extend(chunks());
        Ok(Some(text))
    }

    pub fn string(&mut self, flexible: bool) -> Result<String> {
        self.nullable_string(flexible)?.ok_or(DecodeError::Null)
    }

    /// The bytes of a byte or records field where they lie.
    #[inline]
    pub fn bytes_in_place(&mut self, flexible: bool) -> Result<Option<&'a [u8]>> {
        match self.long_len(flexible)? {
            Some(len) => self.take(len).map(Some),
            None => Ok(None),
        }
    }

    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>> {
        let Some(bytes) = self.bytes_in_place(flexible)? else { return Ok(None) };
        self.charge(bytes.len())?;
        Ok(Some(Bytes::copy_from_slice(bytes)))
    }

    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes> {
        self.nullable_bytes(flexible)?.ok_or(DecodeError::Null)
    }

    /// The length of an array whose elements take at least `element_bytes_min` bytes here; `None` is null. Once this has
    /// answered, the elements are known to fit into the bytes left.
    #[inline]
    pub fn array_len(&mut self, flexible: bool, element_bytes_min: usize) -> Result<Option<usize>> {
        let Some(len) = self.long_len(flexible)? else { return Ok(None) };
        match len.checked_mul(element_bytes_min.max(1)) {
            Some(bytes) if bytes <= self.rest.len() => Ok(Some(len)),
            _ => Err(DecodeError::Short),
        }
    }

    /// An empty vector with room for an array of `len` elements, paid for from the budget.
    pub fn vec<T>(&mut self, len: usize) -> Result<Vec<T>> {
        self.charge(len.saturating_mul(size_of::<T>()))?;
        Ok(Vec::with_capacity(len))
    }

    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        mut element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(len) = self.array_len(flexible, element_bytes_min)? else { return Ok(None) };
        let mut elements = self.vec(len)?;
        for _ in 0..len {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    pub fn array<T>(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.nullable_array(flexible, element_bytes_min, element)?.ok_or(DecodeError::Null)
    }

    /// How many tagged fields follow.
    /// Kafka: the count has a sign, and a negative one means none.
    #[inline]
    pub fn tag_count(&mut self) -> Result<u32> {
        let count = self.unsigned_varint()?;
        Ok(if count > i32::MAX as u32 { 0 } else { count })
    }

    /// The next tagged field: its tag and how long its value says it is.
    #[inline]
    pub fn tag(&mut self) -> Result<(u32, usize)> {
        Ok((self.unsigned_varint()?, self.unsigned_varint()? as usize))
    }

    #[inline]
    pub fn skip(&mut self, bytes: usize) -> Result<()> {
        self.take(bytes).map(drop)
    }

    /// Whether a nullable struct follows.
    pub fn is_present(&mut self) -> Result<bool> {
        Ok(self.i8()? >= 0)
    }

    /// Whether a nullable struct follows, where it is the value of a tagged field.
    pub fn is_present_tagged(&mut self) -> Result<bool> {
        Ok(self.unsigned_varint()? as i32 > 0)
    }

    /// Skips the tagged fields of a struct that knows none.
    #[inline]
    pub fn skip_tags(&mut self) -> Result<()> {
        for _ in 0..self.tag_count()? {
            let (_, bytes) = self.tag()?;
            self.skip(bytes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_read_as_kafka_reads_them() {
        let unsigned = |bytes: &[u8]| Reader::new(bytes).unsigned_varint();
        assert_eq!(unsigned(&[0x7f]), Ok(127));
        assert_eq!(unsigned(&[0x80, 0x01]), Ok(128));
        assert_eq!(unsigned(&[0x80, 0x00]), Ok(0), "longer than need be is legal");
        assert_eq!(unsigned(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok(u32::MAX));
        assert_eq!(
            unsigned(&[0xff, 0xff, 0xff, 0xff, 0x7f]),
            Ok(u32::MAX),
            "bits that do not fit are dropped"
        );
        assert_eq!(unsigned(&[0xff, 0xff, 0xff, 0xff, 0x8f, 0x00]), Err(DecodeError::Varint));
        assert_eq!(unsigned(&[0xff]), Err(DecodeError::Short));
        let signed = |bytes: &[u8]| Reader::new(bytes).varint();
        assert_eq!(signed(&[0x01]), Ok(-1));
        assert_eq!(signed(&[0x02]), Ok(1));
        assert_eq!(signed(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok(i32::MIN));
        let long = |bytes: &[u8]| Reader::new(bytes).varlong();
        assert_eq!(long(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Ok(i64::MIN));
        assert_eq!(long(&[0xff; 10]), Err(DecodeError::Varint));
    }

    #[test]
    fn every_negative_length_is_null() {
        assert_eq!(Reader::new(&[0xff, 0xfe]).nullable_string(false), Ok(None));
        assert_eq!(Reader::new(&[0x00]).nullable_string(true), Ok(None));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).nullable_string(true), Ok(None));
        assert_eq!(Reader::new(&[0x00]).string(true), Err(DecodeError::Null));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xfe]).nullable_bytes(false), Ok(None));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xfe]).nullable_array(false, 1, Reader::i8), Ok(None));
        assert_eq!(Reader::new(&[0, 0]).nullable_string(false), Ok(Some(String::new())));
    }

    #[test]
    fn a_length_is_compared_with_the_bytes_left_before_anything_is_allocated() {
        assert_eq!(Reader::new(&[0x7f, 0xff, 0xff, 0xff, 1]).bytes(false), Err(DecodeError::Short));
        assert_eq!(
            Reader::new(&[0x7f, 0xff, 0xff, 0xff, 1]).array(false, 8, Reader::i64),
            Err(DecodeError::Short)
        );
        assert_eq!(
            Reader::new(&[0, 0, 0, 2, 1, 2, 3, 4, 5]).array(false, 4, Reader::i32),
            Err(DecodeError::Short)
        );
        assert_eq!(Reader::new(&[0x7f, 0xff, b'a']).string(false), Err(DecodeError::Short));
        assert_eq!(Reader::new(&[0x81, 0x80, 0x02]).string(true), Err(DecodeError::TooLong));
        assert_eq!(Reader::new(&[0, 0, 0, 3]).array(false, 0, |_| Ok(())), Err(DecodeError::Short));
    }

    #[test]
    fn what_is_allocated_is_paid_for() {
        let mut reader = Reader::with_budget(&[0, 3, b'a', b'b', b'c', 0, 3, b'a', b'b', b'c'], 5);
        assert_eq!(reader.string(false).as_deref(), Ok("abc"));
        assert_eq!(reader.string(false), Err(DecodeError::TooHeavy));
        let wire = [0, 0, 0, 2, 0, 0];
        assert_eq!(
            Reader::with_budget(&wire, 48).array(false, 1, |r| r.string(true)),
            Err(DecodeError::Null)
        );
        assert_eq!(
            Reader::with_budget(&wire, 47).array(false, 1, |r| r.string(true)),
            Err(DecodeError::TooHeavy)
        );
    }

    #[test]
    fn text_that_is_not_utf8_is_replaced_and_paid_for_in_full() {
        let wire = [0, 4, b'a', 0xff, 0xfe, b'b'];
        let mut reader = Reader::with_budget(&wire, 8);
        assert_eq!(reader.string(false).as_deref(), Ok("a\u{fffd}\u{fffd}b"));
        assert_eq!(reader.budget_left(), 0);
        assert_eq!(Reader::with_budget(&wire, 7).string(false), Err(DecodeError::TooHeavy));
    }

    #[test]
    fn unknown_tags_are_skipped_in_any_order() {
        let mut reader = Reader::new(&[3, 9, 2, 1, 1, 4, 0, 9, 1, 7, 42]);
        assert_eq!(reader.skip_tags(), Ok(()));
        assert_eq!(reader.rest(), [42]);
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).skip_tags(),
            Ok(()),
            "a negative count is none"
        );
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x07]).skip_tags(), Err(DecodeError::Short));
        assert_eq!(Reader::new(&[1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]).skip_tags(), Err(DecodeError::Short));
    }
}
