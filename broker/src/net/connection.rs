//! One client: read frames, call the handler, answer in order. Lives on one core, as one task that reads and writes.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;

use bytes::{Buf, Bytes, BytesMut};
use reactor::{Socket, host};

use super::follow::Follow;
use super::replies::{Next, Replies};
use crate::api;
use crate::shard::Shard;
use crate::shard::connections::Connection;

/// Room for a read while the connection is quiet, and at most at once: what is reserved follows what
/// came, never what a length announces.
const READ_BYTES_MIN: usize = 1 << 10;
const READ_BYTES_MAX: usize = 256 << 10;

/// A connection and its answers.
pub(crate) struct Served {
    shard: Rc<Shard>,
    connection: Rc<Connection>,
    /// Of the connection, on its core.
    number: u64,
    replies: Replies,
}

impl Served {
    pub(crate) fn new(shard: Rc<Shard>, connection: Rc<Connection>, number: u64) -> Self {
        Self { shard, connection, number, replies: Replies::default() }
    }

    /// From the first byte to the last answer. `ended` hears when no more requests come, though answers may still go out:
    /// because the client is done, or because another core is to go on with it.
    #[allow(
        clippy::manual_async_fn,
        reason = "what an async function is given is in its future twice; there are thousands"
    )]
    pub(crate) fn serve(
        self,
        follow: Follow,
        ended: fn(&Rc<Shard>, &Connection, u64, Option<Departure>),
    ) -> impl Future<Output = ()> {
        async move {
            let Self { shard, connection, number, replies } = &self;
            let mut writing = pin!(self.write_answers());
            let mut is_writing = true;
            let departure = {
                let mut reading = pin!(self.read_requests(follow));
                poll_fn(|context| {
                    let read = reading.as_mut().poll(context);
                    if read.is_ready() {
                        connection.caller.left_waiting.client_is_gone();
                        replies.end();
                    }
                    // Order: after what may have brought an answer, of which it is not told.
                    is_writing = is_writing && writing.as_mut().poll(context).is_pending();
                    read
                })
                .await
            };
            let told = |end: &End| tracing::debug!(peer = %connection.caller.peer, %end, "connection closed");
            ended(shard, connection, *number, departure.inspect_err(told).ok().flatten());
            if is_writing {
                writing.await;
            }
        }
    }

    async fn read_requests(&self, mut follow: Follow) -> Result<Option<Departure>, End> {
        let Self { shard, connection, number, replies } = self;
        let share = shard.read_budget.share(*number);
        let mut buffer = BytesMut::new();
        let mut reserve = READ_BYTES_MIN;
        loop {
            while replies.has_room().await
                && !shard.is_closing()
                && let Some(frame) = next_frame(&mut buffer, shard.config.socket_request_max_bytes)?
            {
                let elsewhere = self.handle(frame, &mut follow)?;
                if let Some(core) = elsewhere
                    && buffer.is_empty()
                    && let Some(socket) = Box::pin(self.release()).await
                {
                    return Ok(Some(Departure { core, socket, follow: follow.moved() }));
                }
            }
            if replies.has_ended() || shard.is_closing() {
                return Ok(None);
            }
            share.room(buffer.len()).await;
            if buffer.is_empty() && reserve == READ_BYTES_MIN {
                // Quiet: no buffer is held while nothing comes; the machine makes room when something does.
                buffer = BytesMut::new();
            } else {
                buffer.reserve(reserve.max(missing(&buffer).min(buffer.len())));
            }
            let room = buffer.capacity() - buffer.len();
            let read = connection.conn.read(&mut buffer).await?;
            if read == 0 {
                return Ok(None);
            }
            shard.metrics.received_bytes.add(read as u64);
            connection.active_ns.set(host().now_ns());
            reserve = if read == room {
                (reserve * 2).min(READ_BYTES_MAX)
            } else {
                (reserve / 2).max(READ_BYTES_MIN)
            };
        }
    }

    /// The core that should go on with the connection, if another one should.
    fn handle(&self, frame: Bytes, follow: &mut Follow) -> Result<Option<usize>, End> {
        let Self { shard, connection, replies, .. } = self;
        let request_bytes = frame.len();
        let timing = shard.metrics.request_began(&frame, host().now_ns());
        let alone = replies.len() == 0;
        shard.mailbox.take_asked();
        let reply = api::dispatch(shard, &connection.caller, frame);
        let elsewhere = follow.after(shard.mailbox.take_asked(), alone);
        connection.under_way.set(replies.len() + 1);
        if replies.push(reply, request_bytes, timing) { Ok(elsewhere) } else { Err(End::Refused) }
    }

    /// The connection, once all its answers are out; None if it has to stay after all.
    async fn release(&self) -> Option<Socket> {
        self.replies.all_out().await;
        if self.replies.has_ended() { None } else { self.connection.conn.release().ok() }
    }

    async fn write_answers(&self) {
        let Self { shard, connection, replies, .. } = self;
        loop {
            let batch = match replies.next().await {
                Next::Write(batch) => batch,
                Next::Done(reason) => {
                    if let Some(reason) = reason {
                        tracing::debug!(peer = %connection.caller.peer, ?reason, "connection closed");
                    }
                    break;
                }
            };
            let written = connection.conn.write(&batch.parts).await;
            replies.written(&batch);
            connection.under_way.set(replies.len());
            if let Err(error) = written {
                tracing::debug!(peer = %connection.caller.peer, %error, "answers cannot be written");
                break;
            }
            let now_ns = host().now_ns();
            connection.active_ns.set(now_ns);
            shard.metrics.sent_bytes.add(batch.bytes() as u64);
            for (timing, bytes) in &batch.timings {
                shard.metrics.request_ended(timing, *bytes, now_ns);
            }
        }
        replies.end();
        connection.conn.close();
    }
}

/// A connection that leaves for another core.
pub(crate) struct Departure {
    pub(crate) core: usize,
    pub(crate) socket: Socket,
    pub(crate) follow: Follow,
}

/// Why reading stopped before the client was done.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("frame of {0} bytes; socket.request.max.bytes is {1}")]
    FrameSize(i32, usize),
    #[error("refused")]
    Refused,
}

/// Bytes of the frame under way that have not come yet.
fn missing(buffer: &[u8]) -> usize {
    match buffer.first_chunk::<4>() {
        Some(length) => (i32::from_be_bytes(*length).max(0) as usize + 4).saturating_sub(buffer.len()),
        None => 0,
    }
}

/// Cuts one whole frame, without its length, off the front.
fn next_frame(buffer: &mut BytesMut, bytes_max: usize) -> Result<Option<Bytes>, End> {
    let Some(length) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    match usize::try_from(length) {
        Ok(bytes) if bytes > 0 && bytes <= bytes_max => {
            if buffer.len() < 4 + bytes {
                return Ok(None);
            }
            buffer.advance(4);
            Ok(Some(buffer.split_to(bytes).freeze()))
        }
        _ => Err(End::FrameSize(length, bytes_max)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_one_by_one_and_bad_lengths_refused() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 2, 7, 8, 0, 0, 0, 1][..]);
        assert_eq!(next_frame(&mut buffer, 100).unwrap().unwrap(), &[7u8, 8][..]);
        assert!(next_frame(&mut buffer, 100).unwrap().is_none());
        for bad in [0i32, -1, i32::MIN, 101] {
            assert!(next_frame(&mut BytesMut::from(&bad.to_be_bytes()[..]), 100).is_err(), "{bad}");
        }
    }
}
