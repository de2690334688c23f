//! One connection to one broker: frames out, frames in, versions agreed once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use protocol::api_key::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::frame::{self, RequestHead};
use protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, Message};
use protocol::primitives::Reader;

use super::error::ClientError;

const CLIENT_ID: &str = "millstream";
/// A fetch asks for far less; this is what is believed at most.
const ANSWER_BYTES_MAX: usize = 256 << 20;

pub(crate) struct Connection {
    address: String,
    stream: BufReader<TcpStream>,
    timeout: Duration,
    /// Lowest and highest version, by API.
    served: BTreeMap<i16, (i16, i16)>,
    correlation_id: i32,
}

/// A request whose answer is still to be read. Answers come in the order of the requests.
#[must_use = "the answer has to be read"]
pub(crate) struct Pending {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
}

impl Connection {
    /// Connects and learns which versions the broker serves.
    pub(crate) fn open(address: &str, timeout: Duration) -> Result<Self, ClientError> {
        let unreachable = |source| ClientError::Unreachable { address: address.to_owned(), source };
        let stream = connect(address, timeout).map_err(unreachable)?;
        let served = BTreeMap::new();
        let stream = BufReader::with_capacity(64 << 10, stream);
        let mut connection = Self { address: address.to_owned(), stream, timeout, served, correlation_id: 0 };
        connection.negotiate()?;
        Ok(connection)
    }

    fn negotiate(&mut self) -> Result<(), ClientError> {
        let request = ApiVersionsRequest {
            client_software_name: CLIENT_ID.to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let pending = self.write(ApiKey::ApiVersions, 3, &request)?;
        let answer = self.read(&pending)?;
        // Kafka: a version that the broker does not know is answered in version 0 with an error.
        let code = answer.get(..2).map(|code| i16::from_be_bytes([code[0], code[1]]));
        let answer = if code == Some(ErrorCode::UNSUPPORTED_VERSION.0) {
            let pending = self.write(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default())?;
            let answer = self.read(&pending)?;
            self.decode::<ApiVersionsResponse>(&pending, &answer)?
        } else {
            self.decode::<ApiVersionsResponse>(&pending, &answer)?
        };
        ClientError::check(answer.error_code, None, || format!("{} tells no versions", self.address))?;
        let keys = answer.api_keys.iter();
        self.served = keys.map(|row| (row.api_key, (row.min_version, row.max_version))).collect();
        Ok(())
    }

    /// Sends in the highest version that both sides know, `version_max` at most. Requests may be sent before earlier
    /// answers are read.
    pub(crate) fn send<Q: Message>(&mut self, request: &Q, version_max: i16) -> Result<Pending, ClientError> {
        let api = Q::KEY.and_then(ApiKey::from_i16).expect("only requests are sent");
        let (ours, theirs) = (api.versions(), self.served.get(&api.as_i16()).copied());
        let version = theirs.and_then(|(lowest, highest)| {
            let version = ours.1.min(highest).min(version_max);
            (version >= ours.0.max(lowest)).then_some(version)
        });
        let unserved = || ClientError::Unserved { address: self.address.clone(), api: api.name() };
        self.write(api, version.ok_or_else(unserved)?, request)
    }

    pub(crate) fn receive<A: Message>(&mut self, pending: &Pending) -> Result<A, ClientError> {
        let answer = self.read(pending)?;
        self.decode(pending, &answer)
    }

    fn write<Q: Message>(&mut self, api: ApiKey, version: i16, request: &Q) -> Result<Pending, ClientError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let correlation_id = self.correlation_id;
        let head = RequestHead { key: api, version, correlation_id, client_id: Some(Cow::from(CLIENT_ID)) };
        let frame = head.frame(request).map_err(|error| self.malformed(api, &error))?;
        self.stream.get_mut().write_all(&frame).map_err(|error| self.lost(error))?;
        Ok(Pending { api, version, correlation_id })
    }

    /// The body of the answer.
    fn read(&mut self, pending: &Pending) -> Result<Vec<u8>, ClientError> {
        let mut prefix = [0; frame::LENGTH_BYTES];
        self.stream.read_exact(&mut prefix).map_err(|error| self.lost(error))?;
        let bytes = frame::frame_len(prefix, ANSWER_BYTES_MAX)
            .map_err(|error| self.malformed(pending.api, &error))?;
        // Grows as bytes come: nothing is reserved for a length that may be a lie.
        let mut answer = Vec::new();
        (&mut self.stream).take(bytes as u64).read_to_end(&mut answer).map_err(|error| self.lost(error))?;
        if answer.len() < bytes {
            return Err(self.lost(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut reader = Reader::new(&answer);
        let correlation_id = frame::decode_response_head(&mut reader, pending.api, pending.version)
            .map_err(|error| self.malformed(pending.api, &error))?;
        if correlation_id != pending.correlation_id {
            let why = format!("an answer to request {correlation_id} instead of {}", pending.correlation_id);
            return Err(self.malformed(pending.api, &why));
        }
        let head_bytes = answer.len() - reader.remaining();
        answer.drain(..head_bytes);
        Ok(answer)
    }

    fn decode<A: Message>(&self, pending: &Pending, answer: &[u8]) -> Result<A, ClientError> {
        debug_assert_eq!(A::KEY, Some(pending.api.as_i16()));
        A::from_bytes(answer, pending.version).map_err(|error| self.malformed(pending.api, &error))
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

fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
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
