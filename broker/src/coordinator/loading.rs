//! Reads the groups of a partition from its log.

use std::rc::Rc;

use cluster::groups::{GroupRecord, Groups, RecordError};
use reactor::host;
use storage::disk::Class;
use storage::log::Log;

use super::{Coordinator, NotWritten, Ready, State, append};
use crate::partition::records::{Found, Placed, ReadError, each_record};

/// Why a partition's groups are not served.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("{0}")]
    Read(#[from] ReadError),
    #[error("record at offset {offset}: {why}")]
    Record { offset: i64, why: RecordError },
    #[error("{0}")]
    Append(#[from] NotWritten),
}

impl Coordinator {
    /// In the background; what is asked meanwhile waits.
    pub(super) fn load(self: &Rc<Self>) {
        let this = self.clone();
        host().spawn(
            Class::Background,
            Box::pin(async move {
                let began_ns = host().now_ns();
                match this.read().await {
                    Ok(ready) => {
                        let took_ms = (host().now_ns() - began_ns) / 1_000_000;
                        tracing::debug!(partition = %this.partition.dir(), took_ms, "groups are read");
                        this.loaded(ready);
                    }
                    Err(error) => {
                        tracing::error!(partition = %this.partition.dir(), %error, "groups cannot be read; they are not served");
                        this.close();
                    }
                }
            }),
        );
    }

    async fn read(self: &Rc<Self>) -> Result<Ready, LoadError> {
        let log = self.partition.opened().await.map_err(ReadError::Log)?;
        let mut groups = Groups::new(self.settings.clone());
        each_record(&log, |found| match found {
            Found::Record(placed) => take_in(&mut groups, &placed),
            Found::Marker { producer_id, is_commit } => {
                groups.end_transaction(producer_id, is_commit);
                Ok(())
            }
        })
        .await?;
        self.begin(groups, log)
    }

    /// What was read counts from now on.
    fn begin(&self, mut groups: Groups, log: Rc<Log>) -> Result<Ready, LoadError> {
        let now = self.now(&log);
        let records = groups.loaded(&self.image.borrow(), now).records;
        append(&self.partition, &log, &records, now.wall)?;
        records.iter().for_each(|record| groups.apply(record));
        Ok(Ready { groups, log })
    }

    fn loaded(self: &Rc<Self>, ready: Ready) {
        let (deadline, now) = (ready.groups.deadline(), self.uptime(&ready.log));
        match self.state.replace(State::Ready(Box::new(ready))) {
            State::Loading(waiting) => {
                self.wake_at(deadline, now);
                waiting.into_iter().for_each(|ask| ask());
            }
            // Closed meanwhile.
            closed => _ = self.state.replace(closed),
        }
    }
}

fn take_in(groups: &mut Groups, placed: &Placed<'_>) -> Result<(), LoadError> {
    let key = placed.record.key.unwrap_or_default();
    let record = match GroupRecord::from_bytes(key, placed.record.value) {
        Ok(record) => record,
        // Kafka: passes over kinds that it does not know.
        Err(RecordError::Kind(kind)) => {
            tracing::debug!(kind, offset = placed.offset, "a record of an unknown kind");
            return Ok(());
        }
        Err(why) => return Err(LoadError::Record { offset: placed.offset, why }),
    };
    match placed.in_transaction_of {
        Some(producer_id) => groups.apply_pending(&record, producer_id),
        None => groups.apply(&record),
    }
    Ok(())
}
