//! A connection that asks and waits, and on which versions are agreed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use protocol::api_key::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::frame::{self, RequestHead};
use protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, Message};
use protocol::primitives::Reader;

use super::CLIENT_ID;
use super::error::ClientError;

/// What is believed of the length of an answer.
pub(crate) const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Which versions a broker serves: lowest and highest, by API.
#[derive(Clone, Debug, Default)]
pub(crate) struct Served(BTreeMap<i16, (i16, i16)>);

impl Served {
    /// The highest version that both sides know, `version_max` at most.
    pub(crate) fn version(&self, api: ApiKey, version_max: i16) -> Option<i16> {
        let (ours, theirs) = (api.versions(), self.0.get(&api.as_i16())?);
        let version = ours.1.min(theirs.1).min(version_max);
        (version >= ours.0.max(theirs.0)).then_some(version)
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    address: String,
    stream: TcpStream,
    timeout: Duration,
    served: Served,
    correlation_id: i32,
}

impl Connection {
    /// Connects and learns which versions the broker serves.
    pub(crate) fn open(address: &str, timeout: Duration) -> Result<Self, ClientError> {
        let stream = connect(address, timeout)
            .map_err(|source| ClientError::Unreachable { address: address.to_owned(), source })?;
        let served = Served::default();
        let mut it = Self { address: address.to_owned(), stream, timeout, served, correlation_id: 0 };
        it.negotiate()?;
        Ok(it)
    }

    pub(crate) fn served(&self) -> &Served {
        &self.served
    }

    /// For whoever goes on without waiting for each answer.
    pub(crate) fn into_stream(self) -> (TcpStream, Served) {
        (self.stream, self.served)
    }

    fn negotiate(&mut self) -> Result<(), ClientError> {
        let request = ApiVersionsRequest {
            client_software_name: CLIENT_ID.to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let answer = self.exchange(ApiKey::ApiVersions, 3, &request)?;
        // Kafka: a version that the broker does not know is answered in version 0 with an error.
        let code = answer.get(..2).map(|code| i16::from_be_bytes([code[0], code[1]]));
        let answer: ApiVersionsResponse = if code == Some(ErrorCode::UNSUPPORTED_VERSION.0) {
            let answer = self.exchange(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default())?;
            self.decode(ApiKey::ApiVersions, 0, &answer)?
        } else {
            self.decode(ApiKey::ApiVersions, 3, &answer)?
        };
        ClientError::check(answer.error_code, None, || format!("{} tells no versions", self.address))?;
        let rows = answer.api_keys.iter();
        self.served = Served(rows.map(|row| (row.api_key, (row.min_version, row.max_version))).collect());
        Ok(())
    }

    pub(crate) fn ask<Q: Message, A: Message>(
        &mut self,
        request: &Q,
        version_max: i16,
    ) -> Result<A, ClientError> {
        let api = Q::KEY.and_then(ApiKey::from_i16).expect("only requests are sent");
        let unserved = || ClientError::Unserved { address: self.address.clone(), api: api.name() };
        let version = self.served.version(api, version_max).ok_or_else(unserved)?;
        let answer = self.exchange(api, version, request)?;
        self.decode(api, version, &answer)
    }

    /// The body of the answer.
    fn exchange<Q: Message>(
        &mut self,
        api: ApiKey,
        version: i16,
        request: &Q,
    ) -> Result<Vec<u8>, ClientError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let correlation_id = self.correlation_id;
        let head = RequestHead { key: api, version, correlation_id, client_id: Some(Cow::from(CLIENT_ID)) };
        let frame = head.frame(request).map_err(|error| self.malformed(api, &error))?;
        self.stream.write_all(&frame).map_err(|error| self.lost(error))?;
        let mut prefix = [0; frame::LENGTH_BYTES];
        self.stream.read_exact(&mut prefix).map_err(|error| self.lost(error))?;
        let bytes =
            frame::frame_len(prefix, ANSWER_BYTES_MAX).map_err(|error| self.malformed(api, &error))?;
        // Grows as bytes come: nothing is reserved for a length that may be a lie.
        let mut answer = Vec::new();
        (&mut self.stream).take(bytes as u64).read_to_end(&mut answer).map_err(|error| self.lost(error))?;
        if answer.len() < bytes {
            return Err(self.lost(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut reader = Reader::new(&answer);
        let answered = frame::decode_response_head(&mut reader, api, version)
            .map_err(|error| self.malformed(api, &error))?;
        if answered != correlation_id {
            return Err(self.malformed(api, &format!("it answers request {answered}, not {correlation_id}")));
        }
        let head_bytes = answer.len() - reader.remaining();
        answer.drain(..head_bytes);
        Ok(answer)
    }

    fn decode<A: Message>(&self, api: ApiKey, version: i16, answer: &[u8]) -> Result<A, ClientError> {
        A::from_bytes(answer, version).map_err(|error| self.malformed(api, &error))
    }

    fn malformed(&self, api: ApiKey, why: &dyn std::fmt::Display) -> ClientError {
        ClientError::Malformed { address: self.address.clone(), api: api.name(), why: why.to_string() }
    }

    fn lost(&self, source: io::Error) -> ClientError {
        let address = self.address.clone();
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                ClientError::Silent { address, timeout: self.timeout }
            }
            _ => ClientError::Lost { address, source },
        }
    }
}

/// A connection without delays of the kernel's own.
pub(crate) fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut failed = io::Error::other("the name has no address");
    for candidate in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&candidate, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
