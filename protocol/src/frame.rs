//! What surrounds a message on a connection: a length, then a header, then the message.
//!
//! The header's version follows from the message's, so it can be read before anything else is known about the message.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::api_key::ApiKey;
use crate::message::Message;
use crate::primitives::{DecodeError, EncodeError, Reader, Writer};

pub const LENGTH_BYTES: usize = 4;

/// Why a connection cannot go on: where the next frame would begin is unknown, or nothing may be kept waiting for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    Negative(i32),
    TooLarge { bytes: usize, bytes_max: usize },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Negative(length) => write!(f, "a frame of {length} bytes"),
            Self::TooLarge { bytes, bytes_max } => {
                write!(f, "a frame of {bytes} bytes, of {bytes_max} at most")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// How many bytes follow the length prefix. To be asked before room is made for them.
pub fn frame_len(prefix: [u8; LENGTH_BYTES], bytes_max: usize) -> Result<usize, FrameError> {
    let length = i32::from_be_bytes(prefix);
    match usize::try_from(length) {
        Err(_) => Err(FrameError::Negative(length)),
        Ok(bytes) if bytes > bytes_max => Err(FrameError::TooLarge { bytes, bytes_max }),
        Ok(bytes) => Ok(bytes),
    }
}

/// The header of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead<'a> {
    pub key: ApiKey,
    /// As the client says. Whether there is such a version, and whether it is served here, is not looked at.
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<Cow<'a, str>>,
}

/// Why the header of a request cannot be read. Kafka closes the connection without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    UnknownApi { key: i16, version: i16 },
    Malformed(DecodeError),
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownApi { key, version } => write!(f, "there is no API {key} (version {version})"),
            Self::Malformed(error) => write!(f, "a malformed request header: {error}"),
        }
    }
}

impl std::error::Error for HeadError {}

impl From<DecodeError> for HeadError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl<'a> RequestHead<'a> {
    /// Reads the header; the message follows.
    /// Kafka: the client id keeps its classic length in flexible headers, so that every version can be read that far.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, HeadError> {
        let (key, version) = (r.i16()?, r.i16()?);
        let key = ApiKey::from_i16(key).ok_or(HeadError::UnknownApi { key, version })?;
        let correlation_id = r.i32()?;
        let client_id = r.string_bytes(false)?.map(String::from_utf8_lossy);
        if key.request_header_version(version) >= 2 {
            r.skip_tags()?;
        }
        Ok(Self { key, version, correlation_id, client_id })
    }

    pub fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        w.i16(self.key.as_i16());
        w.i16(self.version);
        w.i32(self.correlation_id);
        w.nullable_string(self.client_id.as_deref(), false)?;
        if self.key.request_header_version(self.version) >= 2 {
            w.no_tags();
        }
        Ok(())
    }

    /// The whole frame of a request.
    pub fn frame<M: Message>(&self, request: &M) -> Result<Bytes, EncodeError> {
        debug_assert_eq!(M::KEY, Some(self.key.as_i16()));
        let mut w = Writer::new();
        let start = begin_frame(&mut w);
        self.encode(&mut w)?;
        request.encode(&mut w, self.version)?;
        end_frame(&mut w, start, 0)?;
        Ok(w.into_bytes())
    }
}

/// Reads the header of a response, which says no more than which request it answers.
pub fn decode_response_head(r: &mut Reader<'_>, key: ApiKey, version: i16) -> Result<i32, DecodeError> {
    let correlation_id = r.i32()?;
    if key.response_header_version(version) >= 1 {
        r.skip_tags()?;
    }
    Ok(correlation_id)
}

pub fn encode_response_head(w: &mut Writer, key: ApiKey, version: i16, correlation_id: i32) {
    w.i32(correlation_id);
    if key.response_header_version(version) >= 1 {
        w.no_tags();
    }
}

/// The whole frame of a response.
pub fn response_frame<M: Message>(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &M,
) -> Result<Bytes, EncodeError> {
    debug_assert_eq!(M::KEY, Some(key.as_i16()));
    let mut w = Writer::new();
    let start = begin_frame(&mut w);
    encode_response_head(&mut w, key, version, correlation_id);
    response.encode(&mut w, version)?;
    end_frame(&mut w, start, 0)?;
    Ok(w.into_bytes())
}

/// Where a frame begins in a writer.
#[must_use = "the frame has its length after end_frame"]
#[derive(Debug)]
pub struct FrameStart(usize);

/// Makes room for the length of the frame that is written next.
pub fn begin_frame(w: &mut Writer) -> FrameStart {
    let start = FrameStart(w.len());
    w.i32(0);
    start
}

/// Fills in the length, of what was written since and of `bytes_elsewhere`: parts of the frame that are sent from where
/// they lie.
pub fn end_frame(w: &mut Writer, start: FrameStart, bytes_elsewhere: usize) -> Result<(), EncodeError> {
    let FrameStart(at) = start;
    let bytes = w.len() - at - LENGTH_BYTES + bytes_elsewhere;
    let length = i32::try_from(bytes).map_err(|_| EncodeError::TooLong)?;
    w.written_mut()[at..at + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{ApiVersionsRequest, ApiVersionsResponse, HeartbeatResponse, RequestHeader};

    #[test]
    fn a_length_is_checked_before_anyone_believes_it() {
        assert_eq!(frame_len([0, 0, 1, 0], 256), Ok(256));
        assert_eq!(frame_len([0; 4], 256), Ok(0));
        assert_eq!(frame_len([0, 0, 1, 1], 256), Err(FrameError::TooLarge { bytes: 257, bytes_max: 256 }));
        assert_eq!(frame_len([0xff; 4], usize::MAX), Err(FrameError::Negative(-1)));
    }

    #[test]
    fn request_heads_are_kafkas_request_headers() {
        for (key, version, header_version) in [
            (ApiKey::Heartbeat, 3, 1),
            (ApiKey::Heartbeat, 4, 2),
            (ApiKey::ApiVersions, 2, 1),
            (ApiKey::ApiVersions, 99, 2),
        ] {
            for client_id in [None, Some(""), Some("producer-1")] {
                let head =
                    RequestHead { key, version, correlation_id: 77, client_id: client_id.map(Cow::from) };
                let mut w = Writer::new();
                head.encode(&mut w).unwrap();
                let generated = RequestHeader {
                    request_api_key: key.as_i16(),
                    request_api_version: version,
                    correlation_id: 77,
                    client_id: client_id.map(str::to_owned),
                };
                assert_eq!(w.written(), generated.to_bytes(header_version).unwrap());
                w.u8(9);
                let mut r = Reader::new(w.written());
                assert_eq!(RequestHead::decode(&mut r), Ok(head));
                assert_eq!(r.rest(), [9]);
            }
        }
    }

    #[test]
    fn unknown_apis_are_told_from_malformed_headers() {
        let decode = |bytes: &[u8]| RequestHead::decode(&mut Reader::new(bytes)).map(|head| head.key);
        assert_eq!(
            decode(&[0, 4, 0, 1, 0, 0, 0, 0, 255, 255]),
            Err(HeadError::UnknownApi { key: 4, version: 1 })
        );
        assert_eq!(decode(&[0, 3, 0]), Err(HeadError::Malformed(DecodeError::Short)));
        assert_eq!(
            decode(&[0, 3, 0, 1, 0, 0, 0, 0, 0, 9, b'x']),
            Err(HeadError::Malformed(DecodeError::Short))
        );
        assert_eq!(
            decode(&[0, 3, 0, 1, 0, 0, 0, 0, 0, 1, 0xff]),
            Ok(ApiKey::Metadata),
            "text need not be UTF-8"
        );
    }

    #[test]
    fn frames_carry_their_length_and_the_header_of_their_version() {
        let answer = response_frame(ApiKey::Heartbeat, 4, 5, &HeartbeatResponse::default()).unwrap();
        assert_eq!(answer[..], [0, 0, 0, 12, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut r = Reader::new(&answer[LENGTH_BYTES..]);
        assert_eq!(decode_response_head(&mut r, ApiKey::Heartbeat, 4), Ok(5));
        assert_eq!(HeartbeatResponse::decode(&mut r, 4), Ok(HeartbeatResponse::default()));

        let answer = response_frame(ApiKey::ApiVersions, 3, 5, &ApiVersionsResponse::default()).unwrap();
        assert_eq!(answer[..10], [0, 0, 0, 12, 0, 0, 0, 5, 0, 0], "no tags before the error code");

        let head = RequestHead { key: ApiKey::ApiVersions, version: 0, correlation_id: 1, client_id: None };
        assert_eq!(
            head.frame(&ApiVersionsRequest::default()).unwrap()[..],
            [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 255, 255]
        );

        let mut w = Writer::new();
        w.u8(1);
        let start = begin_frame(&mut w);
        w.u8(2);
        end_frame(&mut w, start, 1000).unwrap();
        assert_eq!(w.written(), [1, 0, 0, 3, 233, 2]);
    }
}
