//! Finds leaders and opens connections on a thread of its own, for those who may not wait: a broker that does not answer must
//! not make anything late but its own answers.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::admin::{Admin, Bound, TopicSet};
use super::connection::{self, Served};
use super::error::ClientError;

/// A broker that takes longer than this to answer what is asked of it here is asked again.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) enum Errand {
    Leaders,
    /// Opens a connection to a node; the ticket comes back with it.
    Dial {
        ticket: u64,
        node: i32,
    },
    /// Opens a connection to whoever coordinates a group.
    Coordinate {
        ticket: u64,
        group: String,
    },
    Bounds {
        ticket: u64,
    },
}

#[derive(Debug)]
pub(crate) enum News {
    /// By slot.
    Leaders(Vec<Option<i32>>),
    Dialed {
        ticket: u64,
        call: Result<Call, ClientError>,
    },
    /// Earliest and latest offsets by slot.
    Bounds {
        ticket: u64,
        bounds: Result<(Vec<i64>, Vec<i64>), ClientError>,
    },
    /// Leaders cannot be learned right now.
    NoLeaders(ClientError),
}

/// A connection that is ready to be used.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) stream: TcpStream,
    pub(crate) served: Served,
}

/// Where errands are given and news come from.
#[derive(Debug)]
pub(crate) struct Scout {
    errands: Sender<Errand>,
    news: Receiver<News>,
    /// Errands without news.
    pub(crate) out: usize,
}

impl Scout {
    pub(crate) fn send_out(bootstrap: &str, topics: TopicSet) -> Self {
        let (errands, inbox) = channel();
        let (outbox, news) = channel();
        let bootstrap = bootstrap.to_owned();
        // Ends with its errands: when the other end is dropped.
        thread::spawn(move || run(Admin::new(&bootstrap, TIMEOUT), &topics, &inbox, &outbox));
        Self { errands, news, out: 0 }
    }

    pub(crate) fn ask(&mut self, errand: Errand) {
        self.errands.send(errand).expect("the scout lives as long as its errands");
        self.out += 1;
    }

    pub(crate) fn news(&mut self) -> Option<News> {
        if self.out == 0 {
            return None;
        }
        let news = self.news.try_recv().ok()?;
        self.out -= 1;
        Some(news)
    }
}

fn run(mut admin: Admin, topics: &TopicSet, inbox: &Receiver<Errand>, outbox: &Sender<News>) {
    // Which versions a node serves is asked once, not on each of a thousand connections.
    let mut nodes: BTreeMap<i32, (String, Served)> = BTreeMap::new();
    for errand in inbox {
        let news = match errand {
            Errand::Leaders => match admin.leaders(topics) {
                Ok(leaders) => {
                    nodes.clear();
                    News::Leaders(leaders)
                }
                Err(error) => News::NoLeaders(error),
            },
            Errand::Dial { ticket, node } => {
                News::Dialed { ticket, call: dial(&mut admin, &mut nodes, node) }
            }
            Errand::Coordinate { ticket, group } => {
                let node = admin.coordinators(&[group]).map(|nodes| nodes[0]);
                News::Dialed { ticket, call: node.and_then(|node| dial(&mut admin, &mut nodes, node)) }
            }
            Errand::Bounds { ticket } => {
                let earliest = admin.offsets(topics, Bound::Earliest);
                let bounds = earliest.and_then(|earliest| {
                    admin.offsets(topics, Bound::Latest).map(|latest| (earliest, latest))
                });
                News::Bounds { ticket, bounds }
            }
        };
        if outbox.send(news).is_err() {
            return;
        }
    }
}

fn dial(
    admin: &mut Admin,
    nodes: &mut BTreeMap<i32, (String, Served)>,
    node: i32,
) -> Result<Call, ClientError> {
    let (address, served) = match nodes.entry(node) {
        Entry::Occupied(known) => known.get().clone(),
        Entry::Vacant(place) => place.insert(admin.node(node)?).clone(),
    };
    match connection::connect(&address, TIMEOUT) {
        Ok(stream) => Ok(Call { stream, served }),
        Err(source) => {
            admin.hang_up(&address);
            nodes.remove(&node);
            Err(ClientError::Unreachable { address, source })
        }
    }
}
