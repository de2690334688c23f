//! The contract of every machine in this crate.
//!
//! A machine's history is a log of records. What it does falls in two halves: deciding reads the state and changes
//! nothing, applying changes the state and decides nothing. Whoever runs a machine appends what was decided, waits until
//! that is safe, applies it, and only then answers. Recovery is `apply` in a loop, the same code; a machine that loses its log
//! is dropped whole, and nothing has to be undone.

/// Milliseconds since 1970. Always an argument: nothing here reads a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// A deterministic state machine whose history is a log of records.
pub trait Machine {
    type Command;
    type Record;
    type Reply;

    /// Reads state, changes nothing. Same state, command and time: same decision. Random numbers and fresh ids are part
    /// of the command.
    fn decide(&self, command: Self::Command, now: Timestamp) -> Decision<Self::Record, Self::Reply>;

    /// The only way state changes: on append and on replay alike. `offset` is the record's place in the log; epochs
    /// and commit positions are made of it.
    fn apply(&mut self, record: &Self::Record, offset: i64);

    /// When it next wants a command from the clock, if ever.
    fn deadline(&self) -> Option<Timestamp>;
}

/// What to append, all of it or nothing, and what to answer once that is safe. Without records the answer is safe at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<Record, Reply> {
    pub records: Vec<Record>,
    pub reply: Reply,
}

impl<Record, Reply> Decision<Record, Reply> {
    /// A refusal, or an answer that changes nothing.
    pub fn answer(reply: Reply) -> Self {
        Self { records: Vec::new(), reply }
    }

    pub fn map<To>(self, reply: impl FnOnce(Reply) -> To) -> Decision<Record, To> {
        Decision { records: self.records, reply: reply(self.reply) }
    }
}
