//! Questions and answers over a link that never waits: several under way, answered in the order they were asked.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use protocol::api_key::ApiKey;
use protocol::frame;
use protocol::primitives::Reader;

use super::connection::Served;
use super::group::Ask;
use super::link::Link;

#[derive(Debug)]
pub(crate) struct Dialogue<T> {
    link: Link,
    served: Served,
    waiting: VecDeque<Question<T>>,
    correlation_id: i32,
}

/// One that is under way, with what whoever asked it wants to know again when the answer comes.
#[derive(Debug)]
pub(crate) struct Question<T> {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) note: T,
    correlation_id: i32,
}

impl<T> Dialogue<T> {
    pub(crate) fn new(link: Link, served: Served) -> Self {
        Self { link, served, waiting: VecDeque::new(), correlation_id: 0 }
    }

    /// An error of the kind `Unsupported` says that the broker serves no version of it.
    pub(crate) fn ask(&mut self, ask: &Ask, note: T) -> io::Result<()> {
        let api = ask.api();
        let unserved = || {
            let why = format!("the broker serves no version of {api} that is known here");
            io::Error::new(io::ErrorKind::Unsupported, why)
        };
        let version = ask.version(&self.served).ok_or_else(unserved)?;
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let correlation_id = self.correlation_id;
        let frame = ask.frame(version, correlation_id).map_err(io::Error::other)?;
        self.waiting.push_back(Question { api, version, note, correlation_id });
        self.link.send(&[IoSlice::new(&frame)])
    }

    /// Takes what has come and gives what was left to send.
    pub(crate) fn exchange(&mut self) -> io::Result<()> {
        self.link.flush()?;
        self.link.fill()
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.link.flush()
    }

    pub(crate) fn has_output(&self) -> bool {
        self.link.has_output()
    }

    /// The next question that was answered and the body of its answer, if all of it is there.
    pub(crate) fn answer(&mut self) -> io::Result<Option<(Question<T>, &[u8])>> {
        let Some(range) = self.link.next_frame()? else { return Ok(None) };
        let odd = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let question = self.waiting.pop_front().ok_or_else(|| odd("it answers what was not asked".into()))?;
        let api = question.api;
        let mut r = Reader::new(self.link.bytes(range));
        let answered = frame::decode_response_head(&mut r, api, question.version);
        let answered = answered.map_err(|error| odd(format!("no proper answer to {api}: {error}")))?;
        if answered != question.correlation_id {
            return Err(odd(format!("no proper answer to {api}: it answers request {answered}")));
        }
        Ok(Some((question, r.rest())))
    }
}

impl<T> AsFd for Dialogue<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}
