//! Runs the groups of one partition of `__consumer_offsets`: decide, append, apply, and answer when it is durable.
//!
//! What was decided is applied in the turn in which it is appended, so the next command meets it, durable or not. No
//! answer goes out before all is durable that it may rest on. If the log fails, the groups are dropped whole and read
//! anew; members then join again, as they do when another broker takes over.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::ready;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cluster::groups::{Answer, Command, GroupRecord, GroupSettings, Groups, Moment, Reply, Ticket, Uptime};
use cluster::machine::{Decision, Timestamp};
use cluster::metadata::Image;
use protocol::error_code::ErrorCode;
use protocol::primitives::EncodeError;
use protocol::records::batch::BatchHeader;
use protocol::records::builder::{BatchBuilder, BatchFull};
use reactor::host;
use storage::Error;
use storage::disk::{Class, LocalFuture};
use storage::log::{AppendError, Log};

use crate::metrics::groups::GroupMetrics;
use crate::partition::Partition;
use crate::promise::{Promise, promise};

mod loading;
mod member_clock;

use member_clock::MemberClock;

/// A command, once the request has its ticket.
pub(crate) type Question = Box<dyn FnOnce(Ticket) -> Command + Send>;

/// What comes of a question.
pub(crate) type Answered = Result<Reply, ErrorCode>;

/// An answer, and the log's end that must be durable before it goes out.
type Given = Result<(Reply, i64), ErrorCode>;

enum State {
    /// What is asked meanwhile is decided afterwards, in the order asked.
    Loading(Vec<Box<dyn FnOnce()>>),
    Ready(Box<Ready>),
    /// The log is damaged or accepts nothing more; or the broker stops.
    Closed,
}

struct Ready {
    groups: Groups,
    log: Rc<Log>,
}

/// One partition's groups and those who wait for them.
pub(crate) struct Coordinator {
    partition: Rc<Partition>,
    settings: Arc<GroupSettings>,
    image: Rc<RefCell<Image>>,
    state: RefCell<State>,
    next_ticket: Cell<u64>,
    /// Requests that another command answers: a join waits for its group.
    parked: RefCell<HashMap<Ticket, Promise<Given>>>,
    /// When the clock's next command is due, if ever.
    wakes_at: Cell<Option<Uptime>>,
    clock: MemberClock,
}

/// While a disk has no room nothing is decided; how soon the clock tries again.
const RETRY: Duration = Duration::from_secs(1);

/// Members and clients find out where their group is now.
const LOST: ErrorCode = ErrorCode::NOT_COORDINATOR;

impl Coordinator {
    /// Begins to load at once.
    pub(crate) fn new(
        partition: Rc<Partition>,
        settings: Arc<GroupSettings>,
        image: Rc<RefCell<Image>>,
    ) -> Rc<Self> {
        let coordinator = Rc::new(Self {
            partition,
            settings,
            image,
            state: RefCell::new(State::Loading(Vec::new())),
            next_ticket: Cell::default(),
            parked: RefCell::default(),
            wakes_at: Cell::default(),
            clock: MemberClock::default(),
        });
        coordinator.load();
        coordinator
    }

    /// Answers when what is decided is durable; a request that waits for others, when they have come. Questions are
    /// decided in the order in which they are asked.
    pub(crate) fn ask(self: &Rc<Self>, question: Question) -> LocalFuture<'static, Answered> {
        if let State::Loading(waiting) = &mut *self.state.borrow_mut() {
            let (this, (promise, promised)) = (self.clone(), promise());
            waiting.push(Box::new(move || promise.fulfil(this.answer(question))));
            return Box::pin(async move { promised.await.await });
        }
        self.answer(question)
    }

    /// Tells the groups something that nobody waits for.
    pub(crate) fn tell(self: &Rc<Self>, command: Command) {
        if let State::Loading(waiting) = &mut *self.state.borrow_mut() {
            let this = self.clone();
            return waiting.push(Box::new(move || this.carry_out(command)));
        }
        self.carry_out(command);
    }

    /// A command without a request of its own; others may be answered by it.
    fn carry_out(self: &Rc<Self>, command: Command) {
        if let Ok((answers, end_offset)) = self.decide(command) {
            self.give(answers, end_offset);
        }
    }

    fn answer(self: &Rc<Self>, question: Question) -> LocalFuture<'static, Answered> {
        let ticket = Ticket(self.next_ticket.get());
        self.next_ticket.set(ticket.0 + 1);
        let (mut answers, end_offset) = match self.decide(question(ticket)) {
            Ok(decided) => decided,
            Err(error) => return Box::pin(ready(Err(error))),
        };
        let own =
            answers.iter().position(|answer| answer.ticket == ticket).map(|at| answers.remove(at).reply);
        self.give(answers, end_offset);
        if let Some(reply) = own {
            return self.once_durable(reply, end_offset);
        }
        let (promise, promised) = promise();
        self.parked.borrow_mut().insert(ticket, promise);
        let this = self.clone();
        Box::pin(async move {
            let (reply, end_offset) = promised.await?;
            this.once_durable(reply, end_offset).await
        })
    }

    /// The answers to give, and the log's end that must be durable before.
    fn decide(self: &Rc<Self>, command: Command) -> Result<(Vec<Answer>, i64), ErrorCode> {
        // Order: refused before it is decided. What was decided and has no room is lost with all the rest.
        if self.partition.home().is_full.get() && may_write(&command) {
            return Err(ErrorCode::COORDINATOR_NOT_AVAILABLE);
        }
        let mut state = self.state.borrow_mut();
        let State::Ready(ready) = &mut *state else { return Err(LOST) };
        let Ready { groups, log } = &mut **ready;
        let now = self.now(log);
        let Decision { records, reply } = groups.decide(command, &self.image.borrow(), now);
        let written = append(&self.partition, log, &records, now.wall);
        if let Err(error) = written {
            let log = log.clone();
            drop(state);
            self.lost(&log, &error);
            return Err(LOST);
        }
        for record in &records {
            groups.apply(record);
        }
        let (end_offset, deadline) = (log.end_offset(), groups.deadline());
        drop(state);
        self.wake_at(deadline, now.uptime);
        Ok((reply, end_offset))
    }

    fn once_durable(self: &Rc<Self>, reply: Reply, end_offset: i64) -> LocalFuture<'static, Answered> {
        let log = match &*self.state.borrow() {
            State::Ready(ready) => ready.log.clone(),
            _ => return Box::pin(ready(Err(LOST))),
        };
        if end_offset <= log.durable_offset() {
            return Box::pin(ready(Ok(reply)));
        }
        // Order: asked in the turn of the append, or the offsets could be another batch's by then.
        let (this, durable) = (self.clone(), log.durable(end_offset));
        let waits = Waits { coordinator: self.clone(), number: self.clock.begin_wait(end_offset, now_ms()) };
        Box::pin(async move {
            let durable = durable.await;
            this.uptime(&log);
            drop(waits);
            match durable {
                Ok(()) => Ok(reply),
                Err(error) => {
                    this.lost(&log, &error.into());
                    Err(LOST)
                }
            }
        })
    }

    /// What is applied may not be in the log: all of it is dropped.
    fn lost(self: &Rc<Self>, log: &Rc<Log>, error: &NotWritten) {
        let is_ready = matches!(&*self.state.borrow(), State::Ready(ready) if Rc::ptr_eq(&ready.log, log));
        if !is_ready {
            return;
        }
        tracing::error!(partition = %self.partition.dir(), %error, "groups could not be written; they are read anew");
        self.close();
        if log.fenced().is_none() {
            *self.state.borrow_mut() = State::Loading(Vec::new());
            self.load();
        }
    }

    fn now(&self, log: &Log) -> Moment {
        Moment { wall: Timestamp(host().wall_ms()), uptime: self.uptime(log) }
    }

    fn uptime(&self, log: &Log) -> Uptime {
        self.clock.at(now_ms(), log.durable_offset())
    }

    /// Whoever waits is sent away, and nothing more is decided.
    pub(crate) fn close(&self) {
        let before = self.state.replace(State::Closed);
        self.wakes_at.set(None);
        for (_, promise) in self.parked.take() {
            promise.fulfil(Err(LOST));
        }
        if let State::Loading(waiting) = before {
            waiting.into_iter().for_each(|ask| ask());
        }
    }

    /// Has the clock's command decided when it is due.
    fn wake_at(self: &Rc<Self>, deadline: Option<Uptime>, now: Uptime) {
        let Some(due) = deadline else { return };
        if self.wakes_at.get().is_some_and(|wakes_at| wakes_at <= due) {
            return;
        }
        self.wakes_at.set(Some(due));
        let patience = Duration::from_millis((due.0 - now.0).max(0).unsigned_abs());
        self.wake_in(patience, due);
    }

    fn wake_in(self: &Rc<Self>, patience: Duration, due: Uptime) {
        let this = self.clone();
        host().spawn(
            Class::Append,
            Box::pin(async move {
                host().sleep(patience).await;
                this.until_durable().await;
                // Else an earlier one was set after it, or none is wanted any more.
                if this.wakes_at.get() == Some(due) {
                    this.wakes_at.set(None);
                    this.tick(due);
                }
            }),
        );
    }

    /// What the clock does bit by bit it does no faster than the disk takes it.
    async fn until_durable(&self) {
        let log = match &*self.state.borrow() {
            State::Ready(ready) => ready.log.clone(),
            _ => return,
        };
        // If it fails, the next command finds out.
        let _ = log.durable(log.end_offset()).await;
    }

    fn tick(self: &Rc<Self>, due: Uptime) {
        match self.decide(Command::Tick) {
            Ok((answers, end_offset)) => self.give(answers, end_offset),
            Err(ErrorCode::COORDINATOR_NOT_AVAILABLE) => {
                self.wakes_at.set(Some(due));
                self.wake_in(RETRY, due);
            }
            Err(_) => {}
        }
    }

    fn give(&self, answers: Vec<Answer>, end_offset: i64) {
        for Answer { ticket, reply } in answers {
            if let Some(promise) = self.parked.borrow_mut().remove(&ticket) {
                promise.fulfil(Ok((reply, end_offset)));
            }
        }
    }

    pub(crate) fn measure(&self, metrics: &mut GroupMetrics) {
        metrics.parked += self.parked.borrow().len();
        match &*self.state.borrow() {
            State::Ready(ready) => metrics.add(&ready.groups),
            State::Loading(_) => metrics.loading += 1,
            State::Closed => {}
        }
    }
}

/// An answer that waits for the log, as long as somebody waits for the answer.
struct Waits {
    coordinator: Rc<Coordinator>,
    number: u64,
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.coordinator.clock.end_wait(self.number);
    }
}

fn now_ms() -> i64 {
    i64::try_from(host().now_ns() / 1_000_000).expect("a machine runs for less than 584 years")
}

/// Whether a command may leave records.
fn may_write(command: &Command) -> bool {
    !matches!(
        command,
        Command::Heartbeat(_)
            | Command::OffsetFetch(_)
            | Command::ListGroups(_)
            | Command::DescribeGroup(_)
            | Command::DescribeConsumerGroup(_)
    )
}

/// Why what was decided is not in the log.
#[derive(Clone, Debug, thiserror::Error)]
enum NotWritten {
    #[error("{0}")]
    Log(#[from] AppendError),
    #[error("{0}")]
    Lost(#[from] Error),
    /// The groups let nothing so large or so long come to this; it must not end the broker.
    #[error("a record has no form: {0}")]
    Record(#[from] EncodeError),
    #[error("{0}")]
    Batch(#[from] BatchFull),
}

/// Appends records as one batch: all of it is kept, or nothing.
fn append(
    partition: &Rc<Partition>,
    log: &Rc<Log>,
    records: &[GroupRecord],
    now: Timestamp,
) -> Result<(), NotWritten> {
    if records.is_empty() {
        return Ok(());
    }
    let mut batch = BatchBuilder::new(BatchHeader::default());
    for record in records {
        let record = record.to_bytes()?;
        batch.append(now.0, Some(&record.key), record.value.as_deref(), &[])?;
    }
    partition.append_own(log, &batch.build()?)?;
    Ok(())
}
