//! A run from its first connection to its result.

use std::fs::File;
use std::io::BufWriter;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::group::Group;
use super::outcome::{self, Findings};
use super::plan::Plan;
use super::reader::{Begin, Reader, ReaderReport};
use super::sender::{Sender, SenderReport};
use super::signals::{Signals, Times};
use super::tally::{Assembly, Counts, Interval, Measured, Tick};
use super::{LoadError, Observer, Options};
use crate::accounts::{self, Acknowledged, Ledger};
use crate::client::admin::{Admin, Bound};
use crate::clock::{self, CpuTime, NS_PER_MS, NS_PER_S};
use crate::latency::IntervalLog;
use crate::machine::{Busy, CpuTimes, Root};
use crate::result::{RunResult, Second};
use crate::workload::From;

/// From the decision to begin to the first record: every thread must have heard of it.
const START_NS: i64 = 50 * NS_PER_MS;
const LOOK_UP: Duration = Duration::from_millis(20);
/// For what is under way when a run is cut short.
const CUT_DRAIN_NS: i64 = 2 * NS_PER_S;

/// None where a thread could not begin.
type Threads<R> = Vec<JoinHandle<Option<R>>>;

/// The calling thread's side of a run.
struct Stage<'a> {
    plan: Arc<Plan>,
    signals: Arc<Signals>,
    options: &'a Options,
    observer: &'a mut dyn Observer,
    ticks: Receiver<Tick>,
    assembly: Assembly,
    total: Interval,
    seconds: Vec<Second>,
    /// Of those, how many readers could not cope with.
    overrun_s: u64,
    hlog: Option<IntervalLog<BufWriter<File>>>,
    incomplete: Option<String>,
}

pub(super) fn conduct(
    plan: Plan,
    admin: &mut Admin,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<RunResult, LoadError> {
    let (plan, signals) = (Arc::new(plan), Arc::new(Signals::new()));
    let file = |error: std::io::Error| LoadError::Workload(format!("the .hlog file: {error}"));
    let hlog = options.hlog.as_ref().map(File::create).transpose().map_err(file)?;
    let (out, ticks) = channel();
    let senders = start_senders(&plan, &signals, &out)?;
    let readers = start_readers(&plan, &signals, &out)?;
    drop(out);
    let threads = senders.len() + readers.len();
    let mut stage = Stage {
        plan,
        signals,
        options,
        observer,
        ticks,
        assembly: Assembly::new(threads),
        total: Interval::new(),
        seconds: Vec::new(),
        overrun_s: 0,
        hlog: None,
        incomplete: None,
    };
    stage.wait_until_ready(threads)?;
    let times = stage.start();
    let began_ms = clock::wall_ms() + START_NS / NS_PER_MS;
    let begin = |file| IntervalLog::begin(BufWriter::new(file), began_ms);
    stage.hlog = hlog.map(begin).transpose().map_err(file)?;
    let (cpu, all_cpus) = stage.watch(times);
    let sent = join(senders)?;
    let read = stage.drain(admin, readers)?;
    let measured_ns = (stage.signals.until_ns() - times.measure_ns).max(0);
    stage.finish(admin, Facts { began_ms, measured_ns, cpu, all_cpus, sent, read })
}

/// What all senders together have to say.
#[derive(Default)]
struct Sent {
    acknowledged: Acknowledged,
    totals: Counts,
    measured: Measured,
    failed: u64,
    unsent: u64,
    retried: u64,
    nice: i32,
}

impl Sent {
    fn of(reports: &[SenderReport]) -> Self {
        let mut all = Self::default();
        for report in reports {
            all.totals.sent += report.totals.sent;
            all.totals.acked += report.totals.acked;
            all.measured.acked += report.measured.acked;
            all.measured.acked_bytes += report.measured.acked_bytes;
            all.failed += report.refused + report.unanswered + report.unsent;
            all.unsent += report.unsent;
            all.retried += report.retried;
            all.nice = report.nice;
            for (stream, numbers) in &report.acknowledged {
                all.acknowledged.add(*stream, numbers);
            }
        }
        all
    }
}

/// What is known when all threads have ended.
struct Facts {
    began_ms: i64,
    measured_ns: i64,
    cpu: CpuTime,
    all_cpus: Option<Busy>,
    sent: Vec<SenderReport>,
    read: Vec<ReaderReport>,
}

fn start_senders(
    plan: &Arc<Plan>,
    signals: &Arc<Signals>,
    out: &mpsc::Sender<Tick>,
) -> Result<Threads<SenderReport>, LoadError> {
    let start = |index: u32| {
        let (plan, signals, out) = (Arc::clone(plan), Arc::clone(signals), out.clone());
        spawn(format!("sender-{index}"), signals, move |signals| send(plan, signals, index, out))
    };
    (0..plan.sender_threads).map(start).collect()
}

fn start_readers(
    plan: &Arc<Plan>,
    signals: &Arc<Signals>,
    out: &mpsc::Sender<Tick>,
) -> Result<Threads<ReaderReport>, LoadError> {
    let consume = &plan.workload.consume;
    let begin = match consume.from {
        From::End => Begin::AtOnce,
        From::Beginning => Begin::WhenMeasuring,
    };
    let start = |index: u32| {
        let (plan, signals, out) = (Arc::clone(plan), Arc::clone(signals), out.clone());
        let ids = (0..consume.consumers).filter(|id| id % plan.reader_threads == index);
        let consumers = ids.map(|id| plan.group_of(id)).collect();
        let thread = (plan.sender_threads + index) as usize;
        spawn(format!("reader-{index}"), signals, move |signals| {
            read(plan, signals, consumers, begin, thread, out)
        })
    };
    (0..plan.reader_threads).map(start).collect()
}

fn send(
    plan: Arc<Plan>,
    signals: Arc<Signals>,
    index: u32,
    out: mpsc::Sender<Tick>,
) -> std::io::Result<SenderReport> {
    #[cfg(feature = "librdkafka")]
    if plan.client == super::Client::Librdkafka {
        let backlog = plan.backlog_of(index);
        let sender = super::librdkafka::sender::Sender::new(plan, signals, index, out)?;
        return Ok(sender.run(backlog));
    }
    Sender::new(plan, signals, index, out).map(Sender::run)
}

fn read(
    plan: Arc<Plan>,
    signals: Arc<Signals>,
    consumers: Vec<Option<Arc<Group>>>,
    begin: Begin,
    thread: usize,
    out: mpsc::Sender<Tick>,
) -> std::io::Result<ReaderReport> {
    #[cfg(feature = "librdkafka")]
    if plan.client == super::Client::Librdkafka {
        let reader = super::librdkafka::reader::Reader::new(plan, signals, begin, thread, out)?;
        return Ok(reader.run());
    }
    Reader::new(plan, signals, consumers, begin, thread, Some(out)).map(Reader::run)
}

/// A thread that makes what it works with by itself: its timers and its files are its own.
fn spawn<R: Send + 'static>(
    name: String,
    signals: Arc<Signals>,
    work: impl FnOnce(Arc<Signals>) -> std::io::Result<R> + Send + 'static,
) -> Result<JoinHandle<Option<R>>, LoadError> {
    let told = name.clone();
    let run = move || match work(Arc::clone(&signals)) {
        Ok(done) => Some(done),
        Err(error) => {
            signals.fail(|| format!("{told}: {error}"));
            None
        }
    };
    let started = thread::Builder::new().name(name.clone()).spawn(run);
    started.map_err(|error| LoadError::Failed(format!("cannot start thread {name}: {error}")))
}

fn join<R>(threads: Threads<R>) -> Result<Vec<R>, LoadError> {
    let failed = || LoadError::Failed("a thread of the generator ended before its time".to_owned());
    threads.into_iter().map(|thread| thread.join().ok().flatten().ok_or_else(failed)).collect()
}

impl Stage<'_> {
    fn wait_until_ready(&mut self, threads: usize) -> Result<(), LoadError> {
        while self.signals.ready() < threads {
            let failure = self.signals.failure();
            let why =
                failure.or_else(|| self.options.stop.is_set().then(|| "stopped before it began".to_owned()));
            if let Some(why) = why {
                self.signals.cut_short(0, 0);
                return Err(LoadError::Failed(why));
            }
            thread::sleep(LOOK_UP);
        }
        Ok(())
    }

    fn start(&mut self) -> Times {
        let workload = &self.plan.workload;
        let begin_ns = clock::now_ns() + START_NS;
        let measure_ns = begin_ns + clock::from_seconds(workload.warm_up_s);
        let until_ns = measure_ns + clock::from_seconds(workload.duration_s);
        let times = Times { begin_ns, measure_ns };
        self.signals.start(times, until_ns, until_ns + self.plan.drain.as_nanos() as i64);
        times
    }

    /// Follows the run until nothing more is sent. Returns what the measured time cost the generator, and what all CPUs did.
    fn watch(&mut self, times: Times) -> (CpuTime, Option<Busy>) {
        let machine = Root::of_this_machine();
        self.watch_until(|_| times.measure_ns);
        let before = (CpuTime::now(), CpuTimes::read(&machine));
        self.observer.measuring();
        self.watch_until(Signals::until_ns);
        let (own, all) = (CpuTime::now(), CpuTimes::read(&machine));
        self.observer.measured();
        (own.since(before.0), all.zip(before.1).and_then(|(now, before)| now.since(&before)))
    }

    fn watch_until(&mut self, end_ns: impl Fn(&Signals) -> i64) {
        loop {
            let now_ns = clock::now_ns();
            // A run that was cut short has no more phases.
            let left_ns = end_ns(&self.signals).min(self.signals.until_ns()) - now_ns;
            if left_ns <= 0 {
                return;
            }
            self.look_for_trouble(now_ns);
            if let Ok(tick) = self.ticks.recv_timeout(LOOK_UP.min(Duration::from_nanos(left_ns as u64))) {
                self.take(&tick);
            }
        }
    }

    fn look_for_trouble(&mut self, now_ns: i64) {
        if self.incomplete.is_some() {
            return;
        }
        let stopped = self.options.stop.is_set().then(|| "stopped early".to_owned());
        if let Some(why) = self.signals.failure().or(stopped) {
            self.signals.cut_short(now_ns, now_ns + CUT_DRAIN_NS);
            self.incomplete = Some(why);
        }
    }

    fn take(&mut self, tick: &Tick) {
        self.assembly.add(tick);
        while let Some((at, interval)) = self.assembly.next_complete() {
            self.close(at, &interval);
        }
    }

    fn close(&mut self, at: i64, interval: &Interval) {
        self.total.merge(interval);
        if at * NS_PER_S < clock::from_seconds(self.plan.workload.duration_s) {
            let second = interval.second(at);
            self.observer.second(&second);
            self.seconds.push(second);
            self.overrun_s += u64::from(interval.is_overrun);
        }
        let mut written = Ok(());
        if let Some(hlog) = &mut self.hlog {
            let from_ns = clock::from_seconds(self.plan.workload.warm_up_s) + at * NS_PER_S;
            let all = [
                ("ack", &interval.ack),
                ("end-to-end", &interval.end_to_end),
                ("lag", &interval.lag),
                ("reading-lag", &interval.reading_lag),
            ];
            for (tag, histogram) in all.into_iter().filter(|(_, histogram)| !histogram.is_empty()) {
                written = written.and_then(|()| hlog.interval(tag, from_ns, NS_PER_S, histogram));
            }
        }
        if let Err(error) = written {
            self.hlog = None;
            self.incomplete.get_or_insert(format!("the .hlog file: {error}"));
        }
    }

    /// Waits for consumers to come to the end of what there is, then for the last seconds of all threads.
    fn drain(
        &mut self,
        admin: &mut Admin,
        readers: Threads<ReaderReport>,
    ) -> Result<Vec<ReaderReport>, LoadError> {
        if let Some(why) = self.signals.failure() {
            self.incomplete.get_or_insert(why);
        }
        if !readers.is_empty() {
            let topics = self.plan.topics.clone();
            let left_ns = self.signals.deadline_ns() - clock::now_ns();
            // Also past the deadline it is asked once: consumers are hardly ever behind by then.
            let patience = Duration::from_nanos(left_ns.max(0) as u64);
            match admin.retry(patience, |admin| admin.offsets(&topics, Bound::Latest)) {
                Ok(ends) => self.signals.set_ends(ends),
                Err(error) => {
                    self.incomplete.get_or_insert(error.to_string());
                    self.signals.cut_short(0, 0);
                }
            }
        }
        let read = join(readers)?;
        while let Ok(tick) = self.ticks.try_recv() {
            self.take(&tick);
        }
        let rest = std::mem::replace(&mut self.assembly, Assembly::new(0));
        for (at, interval) in rest.into_rest() {
            self.close(at, &interval);
        }
        Ok(read)
    }

    fn finish(mut self, admin: &mut Admin, facts: Facts) -> Result<RunResult, LoadError> {
        let Sent { mut acknowledged, mut totals, mut measured, failed, unsent, retried, nice } =
            Sent::of(&facts.sent);
        let mut is_read = true;
        let mut ledgers = Vec::new();
        for report in facts.read {
            totals.delivered += report.totals.delivered;
            measured.delivered += report.measured.delivered;
            is_read &= report.is_complete;
            ledgers.extend(report.ledgers);
        }
        let (ledgers, again) = accounts::by_group(ledgers);
        totals.delivered -= again;
        let overtaken = ledgers.iter().map(Ledger::excused).sum();
        let mut others = Vec::new();
        if self.plan.verify && !self.options.stop.is_set() {
            match self.audit(admin) {
                Ok((audit, is_complete)) => {
                    is_read &= is_complete;
                    others.extend(audit);
                }
                Err(error) => {
                    self.incomplete.get_or_insert(format!("nothing was verified: {error}"));
                }
            }
        }
        if self.plan.is_compacted() || self.incomplete.is_some() && !is_read {
            // What is not there was removed on purpose, or nobody could look.
            acknowledged = Acknowledged::default();
        }
        let (consumers, others) = if ledgers.is_empty() { (others, Vec::new()) } else { (ledgers, others) };
        let verdicts = accounts::judge(&acknowledged, &consumers, &others);
        if self.plan.verify {
            tell(&self.plan, &verdicts);
        }
        if let Some(hlog) = self.hlog.take()
            && let Err(error) = hlog.finish()
        {
            self.incomplete.get_or_insert(format!("the .hlog file: {error}"));
        }
        let findings = Findings {
            began_ms: facts.began_ms,
            measured_ns: facts.measured_ns,
            totals,
            measured,
            failed,
            unsent,
            retried,
            nice,
            refusal: self.signals.refusal(),
            incomplete: self.incomplete,
            is_read,
            overtaken,
            verdicts,
            total: self.total,
            seconds: self.seconds,
            cpu: facts.cpu,
            all_cpus: facts.all_cpus,
            overrun_s: self.overrun_s,
        };
        Ok(outcome::result(&self.plan, self.options, findings))
    }

    /// Reads everything again from the beginning: what a consumer saw may be gone since.
    fn audit(&self, admin: &mut Admin) -> Result<(Vec<Ledger>, bool), LoadError> {
        let topics = self.plan.topics.clone();
        let ends = admin.retry(self.plan.patience, |admin| admin.offsets(&topics, Bound::Latest))?;
        let signals = Arc::new(Signals::new());
        signals.set_ends(ends);
        let now_ns = clock::now_ns();
        let deadline_ns = now_ns + self.plan.drain.as_nanos() as i64;
        signals.start(Times { begin_ns: now_ns, measure_ns: i64::MAX - 1 }, now_ns, deadline_ns);
        let plan = Arc::clone(&self.plan);
        let audit = spawn("audit".to_owned(), signals, move |signals| {
            Reader::new(plan, signals, vec![None], Begin::AtOnce, 0, None).map(Reader::run)
        })?;
        let report = join(vec![audit])?.remove(0);
        Ok((accounts::by_group(report.ledgers).0, report.is_complete))
    }
}

/// What was acknowledged and is gone, number by number.
fn tell(plan: &Plan, verdicts: &std::collections::BTreeMap<u32, accounts::Verdict>) {
    for (slot, verdict) in verdicts {
        let (topic, partition) = (plan.topics.name(*slot), plan.topics.partition(*slot));
        for (producer, numbers) in &verdict.gone {
            let count = numbers.count();
            eprintln!(
                "{topic} [{partition}]: {count} acknowledged records of producer {producer} are gone: {numbers}"
            );
        }
    }
}
