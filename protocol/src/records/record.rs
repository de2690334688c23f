//! The records of a batch, walked where they lie.

use std::borrow::Cow;
use std::fmt;

use super::batch::BatchView;
use super::compression::{Codec, DecompressError, Decompressor};
use crate::primitives::{DecodeError, Reader};

/// Why bytes are not the records they should be. Kafka answers all of them with INVALID_RECORD or worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// No such codec.
    BadCodec(i16),
    Decompress(DecompressError),
    /// The count is negative.
    BadCount(i32),
    /// The bytes end before the last record does, or a length in a record says so.
    TooShort,
    /// A varint goes on after its last possible byte.
    BadVarint,
    /// A record is shorter or longer than its length says.
    BadLength,
    /// A header count or a header key's length is negative, or a count larger than the bytes left.
    BadHeader,
    /// Bytes follow the last record.
    Trailing,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadCodec(bits) => write!(f, "no codec has number {bits}"),
            Self::Decompress(error) => error.fmt(f),
            Self::BadCount(count) => write!(f, "a batch cannot hold {count} records"),
            Self::TooShort => f.write_str("the bytes end before the last record does"),
            Self::BadVarint => f.write_str("a varint in a record is too long"),
            Self::BadLength => f.write_str("a record is not as long as it says"),
            Self::BadHeader => f.write_str("a record header is malformed"),
            Self::Trailing => f.write_str("bytes follow the last record"),
        }
    }
}

impl std::error::Error for RecordError {}

impl From<DecompressError> for RecordError {
    fn from(error: DecompressError) -> Self {
        Self::Decompress(error)
    }
}

impl From<DecodeError> for RecordError {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Varint => Self::BadVarint,
            _ => Self::TooShort,
        }
    }
}

/// One record. Offset and timestamp are relative to the batch: see `BatchView::offset_of` and `timestamp_of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Unused by every version so far.
    pub attributes: i8,
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    headers: Headers<'a>,
}

impl<'a> Record<'a> {
    pub fn headers(&self) -> Headers<'a> {
        self.headers
    }

    fn read(r: &mut Reader<'a>) -> Result<Self, RecordError> {
        let len = usize::try_from(r.varint()?).map_err(|_| RecordError::BadLength)?;
        let mut body = Reader::with_budget(r.take(len)?, 0);
        let record = Self {
            attributes: body.i8()?,
            timestamp_delta: body.varlong()?,
            offset_delta: body.varint()?,
            key: nullable(&mut body)?,
            value: nullable(&mut body)?,
            headers: Headers::read(&mut body)?,
        };
        if body.remaining() > 0 { Err(RecordError::BadLength) } else { Ok(record) }
    }
}

/// Kafka: every negative length is null.
fn nullable<'a>(r: &mut Reader<'a>) -> Result<Option<&'a [u8]>, RecordError> {
    match usize::try_from(r.varint()?) {
        Ok(len) => Ok(Some(r.take(len)?)),
        Err(_) => Ok(None),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// UTF-8 by contract, any bytes in fact.
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    pub fn key_text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.key)
    }

    fn read(r: &mut Reader<'a>) -> Result<Self, RecordError> {
        let key_len = usize::try_from(r.varint()?).map_err(|_| RecordError::BadHeader)?;
        Ok(Self { key: r.take(key_len)?, value: nullable(r)? })
    }
}

/// The headers of a record, in order and with repeated keys. They were checked when the record was.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Headers<'a> {
    left: usize,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    fn read(body: &mut Reader<'a>) -> Result<Self, RecordError> {
        let count = usize::try_from(body.varint()?).map_err(|_| RecordError::BadHeader)?;
        let bytes = body.rest();
        // Kafka: the count is compared with the bytes left before any header is read.
        if count > bytes.len() {
            return Err(RecordError::BadHeader);
        }
        for _ in 0..count {
            Header::read(body)?;
        }
        Ok(Self { left: count, bytes: &bytes[..bytes.len() - body.remaining()] })
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1)?;
        let mut r = Reader::with_budget(self.bytes, 0);
        let header = Header::read(&mut r).expect("headers were checked when the record was");
        self.bytes = r.rest();
        Some(header)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Headers<'_> {}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

/// `count` records in `bytes`, which are not compressed or not any more. Ends after the first error.
pub fn records(bytes: &[u8], count: i32) -> Records<'_> {
    Records { reader: Reader::with_budget(bytes, 0), left: count, state: State::Walking }
}

#[derive(Clone, Debug)]
pub struct Records<'a> {
    reader: Reader<'a>,
    left: i32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Walking,
    Ended,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Ended {
            return None;
        }
        let next = match self.left {
            1.. => Record::read(&mut self.reader),
            0 if self.reader.remaining() == 0 => {
                self.state = State::Ended;
                return None;
            }
            0 => Err(RecordError::Trailing),
            count => Err(RecordError::BadCount(count)),
        };
        self.left = self.left.wrapping_sub(1);
        if next.is_err() {
            self.state = State::Ended;
        }
        Some(next)
    }
}

impl<'a> BatchView<'a> {
    /// The records, unpacked into `decompressor` if need be and to no more than `cap_bytes`.
    pub fn records<'d>(
        &self,
        decompressor: &'d mut Decompressor,
        cap_bytes: usize,
    ) -> Result<Records<'d>, RecordError>
    where
        'a: 'd,
    {
        let codec = self.codec().ok_or(RecordError::BadCodec(self.attributes() & 7))?;
        let bytes = match codec {
            Codec::None => self.records_bytes(),
            _ if self.count() == 0 && self.records_bytes().is_empty() => &[],
            _ => decompressor.decompress(codec, self.records_bytes(), cap_bytes)?,
        };
        Ok(records(bytes, self.count()))
    }

    pub fn offset_of(&self, record: &Record<'_>) -> i64 {
        self.base_offset().wrapping_add(record.offset_delta.into())
    }

    pub fn timestamp_of(&self, record: &Record<'_>) -> i64 {
        if self.has_log_append_time() {
            self.max_timestamp()
        } else {
            self.base_timestamp().wrapping_add(record.timestamp_delta)
        }
    }
}
