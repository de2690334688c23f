//! What the partitions of one core and data directory share.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use protocol::ids::Uuid;
use protocol::records::compression::Decompressor;
use reactor::host;
use storage::cache::TailCache;
use storage::catalogue;
use storage::commit_log::{CommitLog, Frame};
use storage::data_dir::folder_name;
use storage::disk::Disk;
use storage::log::{Durability, LogDir};

use crate::config::{self, Config};
use crate::metrics::Metrics;

/// One data directory as seen by one core.
pub(crate) struct Home {
    pub(crate) disk: Rc<dyn Disk>,
    pub(crate) directory_id: Uuid,
    pub(crate) cache: Rc<TailCache>,
    /// What is known of this core's logs here, by folder: at start from the catalogue, then as of the
    /// last checkpoint.
    pub(crate) known: RefCell<BTreeMap<String, catalogue::Entry>>,
    /// Where the compacted part of a log ends, by folder. May name folders of other cores.
    pub(crate) cleaned: RefCell<BTreeMap<String, i64>>,
    /// The last stop was clean, so `known` told of every log that has a folder.
    pub(crate) knows_all: Cell<bool>,
    /// Something in `known` is not in the catalogue's file.
    pub(crate) changed: Cell<bool>,
    /// Some log was read to find its end. Not to be done again if the broker is killed again at once.
    pub(crate) recovered: Cell<bool>,
    /// Of the next catalogue file.
    pub(crate) sequence: Cell<u64>,
    /// Free space is under the reserve: appends are refused, everything else goes on.
    pub(crate) is_full: Rc<Cell<bool>>,
    /// None before the catalogues are read, and if none is wanted.
    pub(crate) commit_log: RefCell<Option<Rc<CommitLog>>>,
    /// What commit logs of earlier runs hold of this core's logs, until these are opened.
    pub(crate) left: RefCell<HashMap<(Uuid, i32), Vec<Frame>>>,
    /// Some log could not take it.
    pub(crate) left_behind: Cell<bool>,
    pub(crate) producer_expiry_ms: i64,
    pub(crate) durability: Durability,
    pub(crate) metrics: Rc<Metrics>,
    /// Unpacks what producers compressed, to look at it. Never kept across an await.
    pub(crate) decompressor: RefCell<Decompressor>,
}

impl Home {
    /// One per data directory, all with the core's tail cache.
    pub(crate) fn all(config: &Config, ids: &[Uuid], metrics: &Rc<Metrics>) -> Vec<Rc<Self>> {
        let (host, disks) = (host(), host().disks());
        let cache = Rc::new(TailCache::new(config.tail_cache_bytes(host.core())));
        let home = |(disk, id): (&Rc<dyn Disk>, &Uuid)| Self {
            disk: disk.clone(),
            directory_id: *id,
            cache: cache.clone(),
            known: RefCell::default(),
            cleaned: RefCell::default(),
            knows_all: Cell::new(false),
            changed: Cell::new(false),
            recovered: Cell::new(false),
            sequence: Cell::new(0),
            is_full: Rc::default(),
            commit_log: RefCell::default(),
            left: RefCell::default(),
            left_behind: Cell::new(false),
            producer_expiry_ms: config.producer_id_expiration_ms,
            durability: match config.durability {
                config::Durability::Synced => Durability::Synced,
                config::Durability::Written => Durability::Written,
            },
            metrics: metrics.clone(),
            decompressor: RefCell::default(),
        };
        disks.iter().zip(ids).map(|pair| Rc::new(home(pair))).collect()
    }

    /// Remembers an entry; false if it said nothing new.
    pub(crate) fn know(&self, entry: catalogue::Entry) -> bool {
        let folder = folder_name(&entry.topic, entry.partition);
        let mut known = self.known.borrow_mut();
        if known.get(&folder) == Some(&entry) {
            return false;
        }
        known.insert(folder, entry);
        true
    }

    /// Another topic's entry for the folder stays.
    pub(crate) fn forget(&self, dir: &LogDir) {
        let (folder, mut known) = (dir.folder(), self.known.borrow_mut());
        if known.get(&folder).is_some_and(|entry| entry.topic_id == dir.topic_id.0) {
            known.remove(&folder);
            self.cleaned.borrow_mut().remove(&folder);
            self.changed.set(true);
        }
    }
}
