//! What one core owns: connections, partitions with their logs, its copy of the metadata. No locks, no
//! atomics, nothing shared; work for another core is a message (`mailbox.rs`).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cluster::groups::GroupSettings;
use cluster::metadata::Image;
use protocol::fetch::FetchResponseWriter;
use protocol::ids::Uuid;
use reactor::{Listener, host};

use crate::config::Config;
use crate::controller::Controller;
use crate::coordinator::Coordinator;
use crate::metrics::Metrics;
use crate::partition::Partition;
use crate::partition::home::Home;
use crate::partition::settings::TopicSettings;
use crate::promise::{Promise, promise};

pub(crate) mod budget;
pub(crate) mod catalogues;
pub(crate) mod chores;
pub(crate) mod cleaning;
pub(crate) mod commit_logs;
pub(crate) mod configs;
pub(crate) mod connections;
pub(crate) mod fetch_sessions;
pub(crate) mod groups;
pub(crate) mod mailbox;
pub(crate) mod partitions;
pub(crate) mod placement;
pub(crate) mod producer_ids;
pub(crate) mod publish;
pub(crate) mod reads;
pub(crate) mod retention;
pub(crate) mod scatter;
pub(crate) mod unsynced;

use budget::ReadBudget;
use cleaning::Cleaning;
use connections::{Connections, Dealt};
use fetch_sessions::Sessions;
use mailbox::Mailbox;
pub(crate) use placement::PartitionId;
use producer_ids::ProducerIds;
use reads::Waiting;

/// One core's state.
pub(crate) struct Shard {
    pub(crate) core: usize,
    pub(crate) cores: usize,
    pub(crate) config: Arc<Config>,
    /// This core's copy of what the cluster has decided; every core applies the same records.
    pub(crate) image: Rc<RefCell<Image>>,
    pub(crate) partitions: RefCell<HashMap<PartitionId, Rc<Partition>>>,
    /// Settings of topics, each worked out when one of its partitions is first asked for.
    pub(crate) topic_settings: RefCell<HashMap<Uuid, Rc<TopicSettings>>>,
    pub(crate) homes: Vec<Rc<Home>>,
    pub(crate) connections: Connections,
    /// Sockets of this core, each with the index of its listener, until clients are let in.
    pub(crate) bound: RefCell<Vec<(usize, Rc<dyn Listener>)>>,
    /// Core 0 deals connections and runs the controller; elsewhere these stay empty.
    pub(crate) dealt: RefCell<Dealt>,
    pub(crate) controller: RefCell<Option<Rc<Controller>>>,
    pub(crate) mailbox: Mailbox,
    pub(crate) metrics: Rc<Metrics>,
    pub(crate) read_budget: ReadBudget,
    pub(crate) sessions: RefCell<Sessions>,
    pub(crate) reads: Waiting,
    /// Frames fetch answers; one is enough, for it is never kept across an await.
    pub(crate) fetch_writer: RefCell<FetchResponseWriter>,
    pub(crate) producer_ids: ProducerIds,
    /// Of the groups that live on this core.
    pub(crate) coordinators: RefCell<BTreeMap<PartitionId, Rc<Coordinator>>>,
    pub(crate) group_settings: Arc<GroupSettings>,
    pub(crate) cleaning: Cleaning,
    /// When the catalogues were last written.
    pub(crate) checkpointed_ns: Cell<u64>,
    closing: Cell<bool>,
    until_closing: RefCell<Option<Promise<()>>>,
    released: Cell<bool>,
    until_released: RefCell<Option<Promise<()>>>,
}

impl Shard {
    pub(crate) fn new(
        config: Arc<Config>,
        cluster_id: &str,
        homes: Vec<Rc<Home>>,
        metrics: Rc<Metrics>,
    ) -> Self {
        let host = host();
        let cores = host.cores();
        Self {
            core: host.core(),
            cores,
            image: Rc::new(RefCell::new(Image::new(cluster_id))),
            partitions: RefCell::default(),
            topic_settings: RefCell::default(),
            homes,
            connections: Connections::default(),
            bound: RefCell::default(),
            dealt: RefCell::new(Dealt::new(cores)),
            controller: RefCell::new(None),
            mailbox: Mailbox::default(),
            metrics,
            read_budget: ReadBudget::new(config.queued_max_request_bytes / cores),
            sessions: RefCell::new(Sessions::new(
                host.core(),
                cores,
                config.max_incremental_fetch_session_cache_slots.div_ceil(cores),
            )),
            reads: Waiting::default(),
            fetch_writer: RefCell::default(),
            producer_ids: ProducerIds::default(),
            coordinators: RefCell::default(),
            group_settings: Arc::new(config.groups.clone()),
            cleaning: Cleaning::new(config.log_cleaner),
            checkpointed_ns: Cell::new(host.now_ns()),
            closing: Cell::new(false),
            until_closing: RefCell::new(None),
            released: Cell::new(false),
            until_released: RefCell::new(None),
            config,
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// No new connections; what is under way is finished. May be called again.
    pub(crate) fn begin_closing(&self) {
        self.closing.set(true);
        self.call_off_all();
        self.close_groups();
        self.cleaning.stir();
        let waiting = self.until_closing.borrow_mut().take();
        if let Some(waiting) = waiting {
            waiting.fulfil(());
        }
    }

    /// Waits for that. One task of the core does.
    pub(crate) async fn until_closing(&self) {
        if !self.closing.get() {
            let (promise, promised) = promise();
            *self.until_closing.borrow_mut() = Some(promise);
            promised.await;
        }
    }
}

impl Shard {
    /// Waits until what is under way is answered, or patience ends; then closes every connection.
    pub(crate) async fn drain(&self, patience: Duration) {
        let deadline_ns = host().now_ns() + patience.as_nanos() as u64;
        while self.connections.are_busy() && host().now_ns() < deadline_ns {
            host().sleep(DRAIN_STEP).await;
        }
        self.connections.close_all();
    }

    /// Everything is closed: the core may end.
    pub(crate) fn release(&self) {
        self.released.set(true);
        let waiting = self.until_released.borrow_mut().take();
        if let Some(waiting) = waiting {
            waiting.fulfil(());
        }
    }

    pub(crate) async fn until_released(&self) {
        if !self.released.get() {
            let (promise, promised) = promise();
            *self.until_released.borrow_mut() = Some(promise);
            promised.await;
        }
    }

    /// This broker's registration; -1 before it.
    pub(crate) fn broker_epoch(&self) -> i64 {
        self.image.borrow().brokers.get(&self.config.node_id).map_or(-1, |broker| broker.epoch)
    }
}

/// How often a stopping core looks whether its connections are done.
const DRAIN_STEP: Duration = Duration::from_millis(10);

thread_local! {
    static HERE: RefCell<Option<Rc<Shard>>> = const { RefCell::new(None) };
}

/// The shard of this core: for work that arrives from elsewhere.
///
/// # Panics
/// Before the core's shard is set.
pub(crate) fn here() -> Rc<Shard> {
    HERE.with(|slot| slot.borrow().clone()).expect("set at the core's start")
}

/// Makes this the core's shard, once, at its start.
pub(crate) fn set_here(shard: &Rc<Shard>) {
    HERE.with(|slot| *slot.borrow_mut() = Some(shard.clone()));
}
