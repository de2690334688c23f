//! A small blocking Kafka client for the commands: finds brokers and leaders, agrees on versions, tries again.
#![allow(
    clippy::disallowed_methods,
    reason = "commands run without a reactor: they may block and read the clock"
)]

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};
use std::{fmt, io};

use protocol::messages::Message;

pub(crate) use configs::{Alteration, Operation, Resource, ResourceKind, Setting};
pub(crate) use connection::{Connection, Pending};
pub(crate) use error::ClientError;
pub(crate) use topics::{EARLIEST, Isolation, LATEST, Missing, Topic};

mod configs;
mod connection;
mod error;
pub(crate) mod groups;
mod topics;

/// Where the brokers are, and how long they may take.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Brokers {
    /// A broker to start from; several are separated by commas
    #[arg(
        short,
        long,
        value_name = "HOST:PORT",
        env = "MILLSTREAM_BOOTSTRAP",
        default_value = "127.0.0.1:9092"
    )]
    #[arg(value_delimiter = ',')]
    bootstrap: Vec<String>,
    /// How long to try before giving up
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
}

pub(crate) struct Client {
    bootstrap: Vec<String>,
    timeout: Duration,
    /// Addresses by node id, as the last metadata said.
    brokers: BTreeMap<i32, String>,
    /// By address: the bootstrap broker's connection goes on being used under its node id.
    connections: BTreeMap<String, Connection>,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Any,
    Node(i32),
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any node"),
            Self::Node(id) => write!(f, "node {id}"),
        }
    }
}

const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
const KAFKA_PORT: u16 = 9092;

impl Client {
    /// Connects to the first bootstrap broker that answers.
    pub(crate) fn connect(brokers: &Brokers) -> Result<Self, ClientError> {
        let bootstrap = brokers.bootstrap.iter().map(|address| with_port(address)).collect();
        let timeout = Duration::from_secs(brokers.timeout);
        let (brokers, connections) = (BTreeMap::new(), BTreeMap::new());
        let mut client = Self { bootstrap, timeout, brokers, connections };
        client.reach(To::Any)?;
        Ok(client)
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Asks and waits for the answer, in a version of `version_max` at most.
    pub(crate) fn ask<Q: Message, A: Message>(
        &mut self,
        to: To,
        request: &Q,
        version_max: i16,
    ) -> Result<A, ClientError> {
        let address = self.reach(to)?;
        self.over(&address, |connection| {
            let pending = connection.send(request, version_max)?;
            connection.receive(&pending)
        })
    }

    /// Asks a node without waiting; the answer is to be taken with [`Self::receive`], in the order of asking.
    pub(crate) fn send<Q: Message>(
        &mut self,
        node: i32,
        request: &Q,
        version_max: i16,
    ) -> Result<Pending, ClientError> {
        let address = self.reach(To::Node(node))?;
        self.over(&address, |connection| connection.send(request, version_max))
    }

    pub(crate) fn receive<A: Message>(&mut self, node: i32, pending: &Pending) -> Result<A, ClientError> {
        // A new connection would wait for an answer to what was asked over the old one.
        let address =
            self.brokers.get(&node).filter(|address| self.connections.contains_key(*address)).cloned();
        let gone = || ClientError::Lost {
            address: To::Node(node).to_string(),
            source: io::ErrorKind::ConnectionAborted.into(),
        };
        self.over(&address.ok_or_else(gone)?, |connection| connection.receive(pending))
    }

    /// Tries until it works, cannot work, or the timeout is over.
    pub(crate) fn retry<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Self) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let mut patience = Patience::new(self.timeout);
        loop {
            match attempt(self) {
                Err(error) if error.is_retriable() && patience.wait() => {}
                done => return done,
            }
        }
    }

    /// The address of an open connection.
    fn reach(&mut self, to: To) -> Result<String, ClientError> {
        let candidates: Vec<String> = match to {
            To::Node(node) => self.brokers.get(&node).cloned().into_iter().collect(),
            To::Any => {
                let open = self.connections.keys().next();
                open.into_iter().chain(&self.bootstrap).chain(self.brokers.values()).cloned().collect()
            }
        };
        let mut failed = None;
        for address in candidates {
            if self.connections.contains_key(&address) {
                return Ok(address);
            }
            match Connection::open(&address, self.timeout) {
                Ok(connection) => {
                    self.connections.insert(address.clone(), connection);
                    return Ok(address);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(|| ClientError::Unreachable {
            address: format!("{to}"),
            source: io::Error::other("the metadata names no such broker"),
        }))
    }

    fn over<T>(
        &mut self,
        address: &str,
        act: impl FnOnce(&mut Connection) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let connection = self.connections.get_mut(address).expect("looked up a moment ago");
        let done = act(connection);
        if done.as_ref().is_err_and(ClientError::ends_the_connection) {
            self.connections.remove(address);
        }
        done
    }
}

/// Pauses between attempts that get longer, and come to an end.
pub(crate) struct Patience {
    deadline: Instant,
    pause: Duration,
}

impl Patience {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { deadline: Instant::now() + timeout, pause: PAUSE_FIRST }
    }

    /// False once there is no time left for another attempt.
    pub(crate) fn wait(&mut self) -> bool {
        if Instant::now() + self.pause >= self.deadline {
            return false;
        }
        thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        true
    }
}

/// `HOST:PORT`; Kafka's port if none is said.
fn with_port(address: &str) -> String {
    let address = address.trim();
    let after_host = address.rfind(']').map_or(address, |end| &address[end..]);
    let is_bare_v6 = !address.starts_with('[') && address.matches(':').count() > 1;
    if is_bare_v6 {
        format!("[{address}]:{KAFKA_PORT}")
    } else if after_host.contains(':') {
        address.to_owned()
    } else {
        format!("{address}:{KAFKA_PORT}")
    }
}

/// As brokers advertise themselves.
fn address_of(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_kafkas_port() {
        for (given, meant) in [
            ("localhost", "localhost:9092"),
            ("localhost:9192", "localhost:9192"),
            (" 10.0.0.1:1 ", "10.0.0.1:1"),
            ("[::1]:9192", "[::1]:9192"),
            ("[::1]", "[::1]:9092"),
            ("::1", "[::1]:9092"),
        ] {
            assert_eq!(with_port(given), meant);
        }
        assert_eq!(address_of("::1", 9092), "[::1]:9092");
        assert_eq!(address_of("broker", 9092), "broker:9092");
    }
}
