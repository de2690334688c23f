//! Reading ahead: who reads old records in order finds the next window in memory when he asks for it.
//!
//! One window at a time, for the reader that came last. It counts against the cache before it is read, so that
//! what is read ahead for one log never pushes out what was read ahead for another.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::Log;
use crate::Error;
use crate::cache::TailCache;
use crate::disk::LocalFuture;

pub(super) struct Ahead {
    cache: Rc<TailCache>,
    state: Cell<State>,
    waiting: RefCell<Vec<Waker>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    /// To be read next.
    Wanted(Window),
    UnderWay(Window),
    /// Read, and nobody has come for it.
    Ready(Window),
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Window {
    from: i64,
    bytes: usize,
}

impl Ahead {
    pub(super) fn new(cache: Rc<TailCache>) -> Self {
        Self { cache, state: Cell::default(), waiting: RefCell::default() }
    }

    /// Somebody reads from `offset` on: what was read ahead for that is no longer ahead.
    pub(super) fn reached(&self, offset: i64) {
        if let State::Ready(window) = self.state.get()
            && window.from == offset
        {
            self.set(State::Idle);
        }
    }

    /// Somebody who reads in order will come for this.
    pub(super) fn want(&self, from: i64, bytes: usize) {
        if !matches!(self.state.get(), State::UnderWay(_)) {
            self.set(State::Wanted(Window { from, bytes }));
        }
    }

    /// What to read now, if there is room for it.
    fn begin(&self) -> Option<Window> {
        let State::Wanted(window) = self.state.get() else { return None };
        self.set(State::Idle);
        if !self.cache.begin_ahead(window.bytes) {
            return None;
        }
        self.state.set(State::UnderWay(window));
        Some(window)
    }

    fn end(&self, is_read: bool) {
        if let State::UnderWay(window) = self.state.get() {
            if is_read {
                self.state.set(State::Ready(window));
            } else {
                self.set(State::Idle);
            }
        }
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    fn is_under_way(&self, offset: i64) -> bool {
        matches!(self.state.get(), State::UnderWay(window) if window.from == offset)
    }

    /// Waits until what is being read from `offset` on has been read.
    pub(super) async fn wait(&self, offset: i64) {
        poll_fn(|context| {
            if !self.is_under_way(offset) {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn set(&self, state: State) {
        if let State::UnderWay(window) | State::Ready(window) = self.state.replace(state) {
            self.cache.end_ahead(window.bytes);
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.set(State::Idle);
    }
}

impl Log {
    /// The way to the window that a reader will ask for next, if one reads in order and there is room for it. The
    /// caller runs it beside other work.
    pub fn read_ahead(self: &Rc<Self>) -> Option<LocalFuture<'static, ()>> {
        let window = self.ahead.begin()?;
        let log = Rc::clone(self);
        Some(Box::pin(async move {
            // Who comes for it is told what is wrong with it.
            let is_read = log.read_window_ahead(window).await.unwrap_or(false);
            log.ahead.end(is_read);
        }))
    }

    async fn read_window_ahead(&self, window: Window) -> Result<bool, Error> {
        let swaps = self.state.borrow().swaps;
        let Some(place) = self.place_of(window.from)? else { return Ok(false) };
        let Some(chunk) = self.read_segment(place, window.from, window.bytes).await? else {
            return Ok(false);
        };
        self.keep_window(chunk, swaps);
        Ok(true)
    }

    /// `offset` is where a reader who reads in order goes on.
    pub(super) fn expect_reader_at(&self, offset: i64, bytes: usize) {
        let is_there = self.in_memory(offset).is_some() || self.windows.find_any(offset).is_some();
        if !is_there && offset < self.state.borrow().durable_offset {
            self.ahead.want(offset, bytes);
        }
    }
}
