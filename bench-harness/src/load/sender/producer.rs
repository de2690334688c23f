//! One producer: its numbers, its batches by partition, its connection to each broker.

use std::collections::VecDeque;

use protocol::partitioner::partition_of_key;
use protocol::records::batch::sequence_after;

use crate::accounts::Numbers;
use crate::client::admin::TopicSet;
use crate::client::batch::{Batch, Identity};
use crate::client::produce::Parcel;
use crate::keyspace::KEY_BYTES;
use crate::load::wire::Wire;

#[derive(Debug)]
pub(crate) struct Producer {
    /// Over all threads.
    pub(crate) id: u32,
    pub(super) identity: Identity,
    /// An idempotent producer that lost a record cannot go on: every number after it would be out of order.
    pub(super) is_broken: bool,
    /// By slot; made when first used.
    pub(super) queues: Vec<Option<Box<Queue>>>,
    /// One to each broker that leads something.
    pub(super) lines: Vec<Line>,
    /// Whose turn it is among partitions, or among topics if keys choose the partition.
    pub(super) turn: u32,
}

impl Producer {
    pub(crate) fn new(id: u32, identity: Identity, slots: u32) -> Self {
        let queues = (0..slots).map(|_| None).collect();
        // Producers begin at different partitions, lest all of them load the same one at once.
        Self { id, identity, is_broken: false, queues, lines: Vec::new(), turn: id % slots }
    }

    #[inline]
    pub(crate) fn pick(&mut self, topics: &TopicSet, key: Option<&[u8; KEY_BYTES]>) -> u32 {
        let turn = self.turn;
        self.advance(topics);
        match key {
            None => turn,
            Some(key) => {
                let topic = turn % topics.names.len() as u32;
                let partition = partition_of_key(key, topics.partitions as i32);
                topic * topics.partitions + partition as u32
            }
        }
    }

    pub(super) fn advance(&mut self, topics: &TopicSet) {
        self.turn = if self.turn + 1 < topics.slots() { self.turn + 1 } else { 0 };
    }

    pub(super) fn queue(&mut self, slot: u32) -> &mut Queue {
        self.queues[slot as usize].get_or_insert_default()
    }

    pub(super) fn line_to(&self, node: i32) -> Option<usize> {
        self.lines.iter().position(|line| line.node == node)
    }
}

/// What one producer has for one partition.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) open: Option<Batch>,
    /// Full, or to be sent again; by number.
    pub(super) sealed: VecDeque<Batch>,
    /// In payloads.
    pub(super) next_sequence: u64,
    /// In batches, for the broker.
    pub(super) next_base: i32,
    pub(super) acked: Numbers,
    /// It stands in a line's list of those with something to send.
    pub(super) is_ready: bool,
    /// After a refusal it pauses until then.
    pub(super) resumes_ns: i64,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_none() && self.sealed.is_empty()
    }

    /// The identity of the next batch, of so many records.
    pub(super) fn claim(&mut self, identity: Identity, count: usize) -> Identity {
        if identity == Identity::NONE {
            return identity;
        }
        let base_sequence = self.next_base;
        self.next_base = sequence_after(base_sequence, count as i32);
        Identity { base_sequence, ..identity }
    }

    /// Puts a batch back to where its numbers belong.
    pub(super) fn put_back(&mut self, batch: Batch) {
        let at = self.sealed.partition_point(|other| other.first_sequence < batch.first_sequence);
        self.sealed.insert(at, batch);
    }
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) node: i32,
    pub(super) wire: Wire,
    /// Its broker leads something.
    pub(super) is_needed: bool,
    /// Sent and not answered, in order.
    pub(super) waiting: VecDeque<Request>,
    /// Slots with something to send.
    pub(super) ready: VecDeque<u32>,
    /// It stands in the thread's list of lines to look at.
    pub(super) is_dirty: bool,
    pub(super) correlation_id: i32,
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) correlation_id: i32,
    pub(super) sent_ns: i64,
    pub(super) parcels: Vec<Parcel>,
}

impl Line {
    pub(super) fn new(node: i32) -> Self {
        Self {
            node,
            wire: Wire::default(),
            is_needed: true,
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
            is_dirty: false,
            correlation_id: 0,
        }
    }

    pub(super) fn takes_more(&self, in_flight: usize) -> bool {
        self.waiting.len() < in_flight && self.wire.has_room()
    }
}
