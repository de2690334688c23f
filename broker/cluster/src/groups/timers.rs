//! What the groups wait for, soonest first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

use super::consumer::Wait;

/// Milliseconds that whoever runs the groups counts evenly, from anywhere: nobody is missed because the wall's clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uptime(pub i64);

/// Whose time comes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A member, or one to be, is not heard of for too long.
    Session { group: Rc<str>, member: Rc<str> },
    /// A group's members have had their time to join.
    Join(Rc<str>),
    /// A group's members have had their time to ask for their assignments.
    Sync(Rc<str>),
    /// A member of a consumer group has had its time.
    Member { group: Rc<str>, member: Rc<str>, wait: Wait },
    /// A consumer group's patterns are looked up.
    Resolve(Rc<str>),
    /// A consumer group has become a classic group.
    Downgraded { group: Rc<str>, rebalance: bool },
    /// The next part of a group that is being deleted is due.
    Delete(Rc<str>),
    /// Offsets and groups that nobody needs any more are looked for.
    Sweep,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BinaryHeap<Reverse<(Uptime, Timer)>>,
}

impl Timers {
    pub(super) fn push(&mut self, at: Uptime, timer: Timer) {
        self.queue.push(Reverse((at, timer)));
    }

    /// The next whose time has come, with that time.
    pub(super) fn pop(&mut self, now: Uptime) -> Option<(Uptime, Timer)> {
        let Reverse((at, _)) = self.queue.peek()?;
        if *at > now { None } else { self.queue.pop().map(|Reverse(next)| next) }
    }

    /// Not after the first that is really due: one that was put off is found out only when its old time comes.
    pub(super) fn deadline(&self) -> Option<Uptime> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }
}

/// A deadline that is put off again and again. Putting it off costs nothing: what is queued stays, and when its time comes
/// it is queued anew.
#[derive(Clone, Debug, Default)]
pub(super) struct Alarm {
    due: Option<Uptime>,
    queued: Option<Uptime>,
}

impl Alarm {
    pub(super) fn set(&mut self, due: Uptime, timers: &mut Timers, timer: impl FnOnce() -> Timer) {
        self.due = Some(due);
        if self.queued.is_none_or(|queued| due < queued) {
            timers.push(due, timer());
            self.queued = Some(due);
        }
    }

    pub(super) fn due(&self) -> Option<Uptime> {
        self.due
    }

    pub(super) fn stop(&mut self) {
        self.due = None;
    }

    /// Its timer, queued for `at`, came up. Whether that is the deadline as it now is; it then stands no more.
    pub(super) fn rings(&mut self, at: Uptime, now: Uptime, timers: &mut Timers, timer: Timer) -> bool {
        if self.queued != Some(at) {
            return false;
        }
        self.queued = None;
        match self.due {
            Some(due) if due <= now => {
                self.due = None;
                true
            }
            Some(due) => {
                self.set(due, timers, || timer);
                false
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_that_is_put_off_rings_once_and_at_its_last_time() {
        let (mut timers, mut alarm) = (Timers::default(), Alarm::default());
        for due in [30, 20, 50] {
            alarm.set(Uptime(due), &mut timers, || Timer::Sweep);
        }
        let mut rang = Vec::new();
        for now in (0..70).map(Uptime) {
            while let Some((at, timer)) = timers.pop(now) {
                if alarm.rings(at, now, &mut timers, timer) {
                    rang.push(now.0);
                }
            }
        }
        assert_eq!(rang, [50]);
        assert_eq!(timers.deadline(), None);
    }

    #[test]
    fn an_alarm_that_is_stopped_is_silent() {
        let (mut timers, mut alarm) = (Timers::default(), Alarm::default());
        alarm.set(Uptime(5), &mut timers, || Timer::Sweep);
        alarm.stop();
        let (at, timer) = timers.pop(Uptime(9)).unwrap();
        assert!(!alarm.rings(at, Uptime(9), &mut timers, timer));
    }
}
