//! Keeping touch with brokers, as senders and readers do alike: who leads what, connections that are opened elsewhere, and
//! patience with a broker that is out of reach.

use std::io;
use std::sync::Arc;

use protocol::api_key::ApiKey;

use super::plan::Plan;
use super::signals::Signals;
use super::wire::Wire;
use crate::client::error::ClientError;
use crate::client::link::Link;
use crate::client::poller::Poller;
use crate::client::scout::{Call, Errand, News, Scout};
use crate::clock::NS_PER_MS;

/// Between tries.
pub(super) const PAUSE_NS: i64 = 100 * NS_PER_MS;
/// With a scout out there may be news at any time.
const NEWS_NS: i64 = 2 * NS_PER_MS;

pub(super) struct Contact {
    plan: Arc<Plan>,
    signals: Arc<Signals>,
    pub(super) scout: Scout,
    /// By slot.
    pub(super) leaders: Vec<Option<i32>>,
    is_asking: bool,
    ask_at_ns: i64,
    /// Since when not every line is up.
    down_since_ns: Option<i64>,
}

/// What a sender or a reader has to hear of.
pub(super) enum Tidings {
    /// Partitions have other leaders.
    Moved,
    Dialed {
        ticket: u64,
        call: Result<Call, ClientError>,
    },
    /// Earliest and latest offsets by slot, unless they cannot be learned right now.
    Bounds {
        ticket: u64,
        bounds: Option<(Vec<i64>, Vec<i64>)>,
    },
}

impl Contact {
    pub(super) fn new(plan: &Arc<Plan>, signals: &Arc<Signals>) -> Self {
        Self {
            plan: Arc::clone(plan),
            signals: Arc::clone(signals),
            scout: Scout::send_out(&plan.bootstrap, plan.topics.clone()),
            leaders: vec![None; plan.topics.slots() as usize],
            is_asking: false,
            ask_at_ns: 0,
            down_since_ns: None,
        }
    }

    /// When to look for news.
    pub(super) fn next_look_ns(&self, now_ns: i64) -> i64 {
        if self.scout.out > 0 { now_ns + NEWS_NS } else { i64::MAX }
    }

    pub(super) fn knows_all_leaders(&self) -> bool {
        self.leaders.iter().all(Option::is_some)
    }

    /// Leaders may be others by now.
    pub(super) fn doubt_leaders(&mut self, now_ns: i64) {
        self.ask_at_ns = self.ask_at_ns.min(now_ns);
    }

    /// A connection broke.
    pub(super) fn lost(&mut self, now_ns: i64) {
        self.doubt_leaders(now_ns);
        self.down_since_ns.get_or_insert(now_ns);
    }

    pub(super) fn ask_if_due(&mut self, now_ns: i64) {
        if now_ns >= self.ask_at_ns && !self.is_asking {
            self.ask_at_ns = i64::MAX;
            self.is_asking = true;
            self.scout.ask(Errand::Leaders);
        }
    }

    /// The next of what has come.
    pub(super) fn tidings(&mut self, now_ns: i64) -> Option<Tidings> {
        loop {
            match self.scout.news()? {
                News::Leaders(leaders) => {
                    self.is_asking = false;
                    if leaders.iter().any(Option::is_none) {
                        self.ask_at_ns = now_ns + PAUSE_NS;
                    }
                    if leaders != self.leaders {
                        self.leaders = leaders;
                        return Some(Tidings::Moved);
                    }
                }
                News::NoLeaders(error) => {
                    self.is_asking = false;
                    self.ask_at_ns = now_ns + PAUSE_NS;
                    if !error.is_retriable() {
                        self.signals.fail(|| error.to_string());
                    }
                }
                News::Dialed { ticket, call } => return Some(Tidings::Dialed { ticket, call }),
                News::Bounds { ticket, bounds } => {
                    return Some(Tidings::Bounds { ticket, bounds: bounds.ok() });
                }
            }
        }
    }

    /// Has a connection opened for a wire that has none.
    pub(super) fn dial(&mut self, wire: &mut Wire, ticket: u64, node: i32) {
        if wire.is_down() {
            wire.dial();
            self.scout.ask(Errand::Dial { ticket, node });
        }
    }

    /// Gives a wire the connection that was opened for it, to speak one API on. After an error it has none.
    pub(super) fn connect(
        &mut self,
        wire: &mut Wire,
        call: Result<Call, ClientError>,
        (api, version_max): (ApiKey, i16),
        poller: &Poller,
        token: u64,
    ) -> io::Result<()> {
        wire.hang_up();
        let call = call.map_err(|error| {
            if !error.is_retriable() {
                self.signals.fail(|| error.to_string());
            }
            io::Error::other(error.to_string())
        })?;
        let Some(version) = call.served.version(api, version_max) else {
            self.signals.fail(|| format!("the broker serves no version of {api} that is known here"));
            return Err(io::ErrorKind::Unsupported.into());
        };
        let link = Link::new(call.stream)?;
        poller.add(&link, token)?;
        wire.connect(link, version);
        // Ten thousand connections take their time: patience is for a broker that takes none of them.
        self.down_since_ns = None;
        Ok(())
    }

    /// Gives the run up where brokers are out of reach for too long.
    pub(super) fn judge_patience(&mut self, is_connected: bool, now_ns: i64) {
        if is_connected {
            self.down_since_ns = None;
            return;
        }
        let since_ns = *self.down_since_ns.get_or_insert(now_ns);
        let patience = self.plan.patience;
        if now_ns - since_ns > patience.as_nanos() as i64 {
            let bootstrap = &self.plan.bootstrap;
            self.signals.fail(|| format!("no answer from {bootstrap} for {} s", patience.as_secs()));
        }
    }
}
