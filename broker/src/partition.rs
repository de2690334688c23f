//! One replica on this core: its log, opened when first asked for, and what Kafka adds to a log.
//!
//! A core owns its partitions alone. A closed partition costs no file and next to no memory; whoever
//! asks first has it opened, and those who ask meanwhile are served in the order they asked.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use protocol::error_code::ErrorCode;
use protocol::ids::Uuid;
use reactor::host;
use storage::disk::{Class, LocalFuture};
use storage::log::{Log, LogDir, Removal};
use storage::{Error, catalogue};

pub(crate) mod append;
pub(crate) mod home;
pub(crate) mod leftovers;
pub(crate) mod read;
pub(crate) mod records;
pub(crate) mod settings;

use crate::promise::promise;
use home::Home;
use settings::TopicSettings;

/// Called once the log is open, or cannot be opened.
type Opened = Box<dyn FnOnce(&Result<Rc<Log>, Error>)>;

enum State {
    Closed(Option<catalogue::Entry>),
    Opening(Vec<Opened>),
    Open(Rc<Log>),
    /// Damaged or unreadable; the broker stays up. Until restart.
    Offline(Error),
}

/// The longest sleep before it is asked again whether room is short, so that a delay is cut short.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A partition led by this core.
pub(crate) struct Partition {
    pub(crate) topic: Rc<str>,
    pub(crate) index: i32,
    pub(crate) leader_epoch: Cell<i32>,
    pub(crate) settings: RefCell<Rc<TopicSettings>>,
    dir: LogDir,
    home: Rc<Home>,
    state: RefCell<State>,
    flushing: Cell<bool>,
    sweeping: Cell<bool>,
}

impl Partition {
    pub(crate) fn new(
        dir: LogDir,
        leader_epoch: i32,
        settings: Rc<TopicSettings>,
        known: Option<catalogue::Entry>,
        home: Rc<Home>,
    ) -> Self {
        Self {
            topic: Rc::from(dir.topic.as_str()),
            index: dir.partition,
            leader_epoch: Cell::new(leader_epoch),
            settings: RefCell::new(settings),
            dir,
            home,
            state: RefCell::new(State::Closed(known)),
            flushing: Cell::new(false),
            sweeping: Cell::new(false),
        }
    }

    /// The log, if it is open.
    pub(crate) fn log(&self) -> Option<Rc<Log>> {
        match &*self.state.borrow() {
            State::Open(log) => Some(log.clone()),
            _ => None,
        }
    }

    /// Where consumers can read to, without opening the log for it.
    pub(crate) fn known_end_offset(&self) -> Option<i64> {
        match &*self.state.borrow() {
            State::Open(log) => Some(Self::high_watermark(log)),
            State::Closed(known) => Some(known.as_ref().map_or(0, |known| known.recovery.offset)),
            State::Opening(_) | State::Offline(_) => None,
        }
    }

    /// Runs `then` as soon as the log is open: at once if it is, else in the order asked.
    pub(crate) fn when_open(self: &Rc<Self>, then: impl FnOnce(&Result<Rc<Log>, Error>) + 'static) {
        let ready = match &mut *self.state.borrow_mut() {
            State::Open(log) => Ok(log.clone()),
            State::Offline(error) => Err(error.clone()),
            State::Opening(waiting) => return waiting.push(Box::new(then)),
            state @ State::Closed(_) => {
                let State::Closed(known) = std::mem::replace(state, State::Opening(vec![Box::new(then)]))
                else {
                    unreachable!("just matched")
                };
                let this = self.clone();
                return host().spawn(Class::Append, Box::pin(async move { this.open(known).await }));
            }
        };
        then(&ready);
    }

    /// The log, opened if need be.
    pub(crate) fn opened(self: &Rc<Self>) -> LocalFuture<'static, Result<Rc<Log>, Error>> {
        if let Some(log) = self.log() {
            return Box::pin(std::future::ready(Ok(log)));
        }
        let (promise, promised) = promise();
        self.when_open(move |opened| promise.fulfil(opened.clone()));
        Box::pin(promised)
    }

    async fn open(self: Rc<Self>, known: Option<catalogue::Entry>) {
        let opened = self.open_log(known).await;
        let state = match &opened {
            Ok(log) => {
                log.watch_room(self.home.is_full.clone());
                State::Open(log.clone())
            }
            Err(error) => {
                tracing::error!(partition = %self.dir, %error, "log cannot be opened; the partition is offline");
                State::Offline(error.clone())
            }
        };
        let State::Opening(waiting) = self.state.replace(state) else { unreachable!("opened once") };
        for then in waiting {
            then(&opened);
        }
    }

    async fn open_log(&self, known: Option<catalogue::Entry>) -> Result<Rc<Log>, Error> {
        let known_end = known.as_ref().map_or(0, |known| known.recovery.offset);
        let config = self.settings.borrow().log_config(&self.home);
        let (disk, cache) = (self.home.disk.clone(), self.home.cache.clone());
        if known.as_ref().is_none_or(|known| known.topic_id != self.dir.topic_id.0) {
            leftovers::set_stale_aside(&*disk, &self.dir).await?;
        }
        let left = self.home.left.borrow_mut().remove(&(self.dir.topic_id, self.dir.partition));
        let opening = Log::open(disk, self.dir.clone(), config, known, cache, host().wall_ms());
        let log = opening.await.inspect_err(|_| {
            if left.is_some() {
                self.home.left_behind.set(true);
            }
        })?;
        if let Some(frames) = left {
            let replayed = log.replay(frames, host().wall_ms()).await;
            replayed.inspect_err(|_| self.home.left_behind.set(true))?;
        }
        if let Some(commit_log) = &*self.home.commit_log.borrow() {
            log.commit_with(commit_log.clone());
        }
        // Kafka: a leader's epoch begins with its leadership, not with its first batch.
        log.assign_epoch(self.leader_epoch.get());
        if log.end_offset() > known_end {
            self.home.recovered.set(true);
        }
        Ok(log)
    }

    /// Sees to it that everything appended becomes durable: one flush at a time, whatever is appended
    /// while a write is in flight joins the next.
    fn flush(self: &Rc<Self>, log: &Rc<Log>) {
        if self.flushing.replace(true) {
            return;
        }
        let (this, log) = (self.clone(), log.clone());
        host().spawn(
            Class::Append,
            Box::pin(async move {
                while log.needs_flush() {
                    let began_ns = host().now_ns();
                    let flushed = log.flush_once().await;
                    this.home.metrics.flushed(flushed, host().now_ns() - began_ns);
                    this.home.commit_log_upkeep();
                    this.upkeep(&log);
                }
                this.flushing.set(false);
                this.upkeep(&log);
            }),
        );
    }

    /// Work of the log that can wait: zeros ahead of the content, sealing, removing.
    pub(crate) fn upkeep(self: &Rc<Self>, log: &Rc<Log>) {
        if !log.wants_upkeep() && (log.next_sweep_ms().is_none() || self.sweeping.get()) {
            return;
        }
        let (this, log) = (self.clone(), log.clone());
        host().spawn(
            Class::Background,
            Box::pin(async move {
                log.upkeep().await;
                this.sweep(log).await;
            }),
        );
    }

    /// Gives back the room of removed segments when its time has come.
    async fn sweep(&self, log: Rc<Log>) {
        if log.next_sweep_ms().is_none() || self.sweeping.replace(true) {
            return;
        }
        while let Some(due_ms) = log.next_sweep_ms() {
            let wait_ms = u64::try_from(due_ms.saturating_sub(host().wall_ms())).unwrap_or(0);
            if wait_ms > 0 {
                host().sleep(Duration::from_millis(wait_ms).min(SWEEP_EVERY)).await;
            } else if let Err(error) = log.sweep(host().wall_ms()).await {
                tracing::warn!(partition = %self.dir, %error, "files of removed segments stay until the next start");
                break;
            }
        }
        self.sweeping.set(false);
    }

    /// Lets go what retention wants gone by now.
    pub(crate) async fn expire(self: &Rc<Self>) {
        let Ok(log) = self.opened().await else { return };
        let limits = self.settings.borrow().limits();
        match log.expire(limits, host().wall_ms()).await {
            Ok(due) if due.segments > 0 => {
                tracing::info!(
                    partition = %self.dir,
                    segments = due.segments,
                    bytes = due.bytes,
                    log_start_offset = due.start_offset,
                    "old segments are deleted"
                );
                self.home.metrics.deleted_segments.add(due.segments as u64);
                self.home.metrics.deleted_bytes.add(due.bytes);
                self.upkeep(&log);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(partition = %self.dir, %error, "old segments cannot be deleted"),
        }
    }

    pub(crate) fn dir(&self) -> &LogDir {
        &self.dir
    }

    pub(crate) fn home(&self) -> &Rc<Home> {
        &self.home
    }

    pub(crate) fn is_at(&self, home: &Rc<Home>) -> bool {
        Rc::ptr_eq(&self.home, home)
    }

    /// The topic's settings changed.
    pub(crate) fn apply_settings(&self, settings: Rc<TopicSettings>) {
        if let Some(log) = self.log() {
            log.set_config(settings.log_config(&self.home));
        }
        *self.settings.borrow_mut() = settings;
    }

    /// Closes the log, if it was ever opened; what to remember of it then.
    pub(crate) async fn close(self: &Rc<Self>) -> Result<Option<catalogue::Entry>, Error> {
        match self.log() {
            Some(log) => Ok(Some(log.close().await?)),
            None => Ok(None),
        }
    }

    /// The catalogue is to say nothing of it any more.
    pub(crate) fn forget(&self) {
        self.home.forget(&self.dir);
    }

    /// The topic is gone: the folder is set aside, durably. It is emptied in small steps in the background.
    pub(crate) async fn delete(self: Rc<Self>) {
        match self.set_aside().await {
            Ok(Some(removal)) => host().spawn(Class::Background, Box::pin(leftovers::remove(removal))),
            Ok(None) => {}
            Err(error) => tracing::error!(partition = %self.dir, %error, "log cannot be deleted"),
        }
    }

    /// Sets the folder aside under a name that no start takes for a partition.
    async fn set_aside(self: &Rc<Self>) -> Result<Option<Removal>, Error> {
        let was_open = match &*self.state.borrow() {
            State::Opening(_) | State::Open(_) => true,
            State::Closed(_) | State::Offline(_) => false,
        };
        let log = if was_open { self.opened().await.ok() } else { None };
        *self.state.borrow_mut() = State::Offline(Error::Fenced("the topic is deleted".to_owned()));
        let id = Uuid::from_u64_pair(host().random(), host().random());
        match log {
            Some(log) => log.delete(id).await.map(Some),
            // Never opened, or damaged.
            None => leftovers::set_deleted_aside(&self.home.disk, &self.dir, id).await,
        }
    }
}

/// The one place where a medium's fault becomes Kafka's error code.
pub(crate) fn error_code(error: &Error) -> ErrorCode {
    match error {
        Error::OutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        Error::Io { .. } | Error::Corrupt { .. } | Error::Full | Error::Fenced(_) => {
            ErrorCode::KAFKA_STORAGE_ERROR
        }
    }
}
