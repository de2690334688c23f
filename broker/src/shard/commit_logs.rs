//! The commit logs of this core, and what those of earlier runs hold: read before any log is opened, given to each log when it
//! is, and removed when all of them have it in files of their own.

use std::rc::Rc;
use std::sync::Arc;

use protocol::ids::Uuid;
use reactor::host;
use storage::Error;
use storage::commit_log::{CommitLog, Frame, Left, parse_file_name};
use storage::disk::Class;

use super::{PartitionId, Shard};
use crate::partition::home::Home;

/// A frame, and the index of the data directory that it is of.
type OfHome = (usize, Frame);

/// Files of earlier runs in one data directory.
#[derive(Clone, Debug, Default)]
struct Files {
    names: Vec<String>,
    /// Above that of any of them.
    next_number: u64,
}

impl Files {
    async fn list(home: &Home) -> Result<Self, Error> {
        let mut files = Self::default();
        for entry in home.disk.list("").await.map_err(|error| Error::io("", error))? {
            if let Some((_, number)) = parse_file_name(&entry.name) {
                files.next_number = files.next_number.max(number.saturating_add(1));
                files.names.push(entry.name);
            }
        }
        Ok(files)
    }
}

impl Shard {
    /// Core 0, before any log is opened: every core has the frames of its partitions, and a commit log of its own.
    pub(crate) async fn load_commit_logs(self: &Rc<Self>) -> Result<(), Error> {
        let mut all = Vec::new();
        for home in &self.homes {
            all.push(Files::list(home).await?);
        }
        let all = Arc::new(all);
        let reading = {
            let all = all.clone();
            self.on_every_core(move |shard| {
                let (shard, all) = (shard.clone(), all.clone());
                Box::pin(async move { shard.read_left(&all).await })
            })
        };
        let mut frames = Vec::new();
        for read in reading.await {
            frames.extend(read?);
        }
        let frames = Arc::new(frames);
        let taking = self.on_every_core(move |shard| {
            shard.take_left(&frames);
            shard.begin_commit_logs(&all);
            Box::pin(std::future::ready(()))
        });
        taking.await;
        Ok(())
    }

    /// This core's share of the files.
    async fn read_left(&self, all: &[Files]) -> Result<Vec<OfHome>, Error> {
        let mut frames = Vec::new();
        for (at, (home, files)) in self.homes.iter().zip(all).enumerate() {
            for name in files.names.iter().skip(self.core).step_by(self.cores) {
                let left = Left::read(&*home.disk, name).await?;
                frames.extend(left.frames.into_iter().map(|frame| (at, frame)));
            }
        }
        Ok(frames)
    }

    fn take_left(&self, frames: &[OfHome]) {
        for (at, frame) in frames {
            let id = PartitionId { topic: frame.topic_id, index: frame.partition };
            if self.owner(id) == self.core {
                self.homes[*at]
                    .left
                    .borrow_mut()
                    .entry((frame.topic_id, frame.partition))
                    .or_default()
                    .push(frame.clone());
            }
        }
    }

    fn begin_commit_logs(&self, all: &[Files]) {
        let bytes = self.config.commit_log_bytes(self.core);
        for (home, files) in self.homes.iter().zip(all) {
            if bytes > 0 {
                let (disk, core, salt) = (home.disk.clone(), self.core as u32, host().random());
                *home.commit_log.borrow_mut() =
                    Some(CommitLog::new(disk, core, files.next_number, salt, bytes));
            }
        }
    }

    /// Core 0, once partitions are known: opens all logs of which commit logs hold something, then removes their files. If
    /// that fails, the files stay, and the next start tries again.
    pub(crate) fn settle_left(self: &Rc<Self>) {
        let shard = self.clone();
        let settling = async move {
            let opening = shard.on_every_core(|shard| {
                let shard = shard.clone();
                Box::pin(async move { shard.open_left().await })
            });
            if opening.await.into_iter().all(|is_settled| is_settled)
                && let Err(error) = shard.remove_left().await
            {
                tracing::warn!(%error, "commit logs of earlier runs cannot be removed");
            }
        };
        host().spawn(Class::Append, Box::pin(settling));
    }

    /// True if every log of this core that is still there has all.
    async fn open_left(self: &Rc<Self>) -> bool {
        let mut is_settled = true;
        for home in &self.homes {
            let ids: Vec<(Uuid, i32)> = home.left.borrow().keys().copied().collect();
            for (topic, index) in ids {
                // Of a topic that was deleted nothing is wanted.
                let Ok(partition) = self.partition(PartitionId { topic, index }) else {
                    home.left.borrow_mut().remove(&(topic, index));
                    continue;
                };
                is_settled &= partition.is_at(home) && partition.opened().await.is_ok();
            }
            is_settled &= !home.left_behind.get();
        }
        is_settled
    }

    async fn remove_left(&self) -> Result<(), Error> {
        for home in &self.homes {
            let current = self.commit_log_numbers(home);
            for name in Files::list(home).await?.names {
                if parse_file_name(&name).is_some_and(|(_, number)| number < current) {
                    home.disk.remove(&name).await.map_err(|error| Error::io(&name, error))?;
                }
            }
        }
        Ok(())
    }

    /// The number of this run's commit logs in a data directory.
    fn commit_log_numbers(&self, home: &Home) -> u64 {
        home.commit_log.borrow().as_ref().map_or(u64::MAX, |commit_log| commit_log.number())
    }

    /// When this core's logs are closed: what they did not get into files of their own stays where the next start finds it.
    pub(crate) async fn close_commit_logs(&self) {
        for home in &self.homes {
            let Some(commit_log) = home.commit_log.take() else { continue };
            match commit_log.remove().await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::error!("a log could not be closed; the commit log stays for the next start")
                }
                Err(error) => tracing::warn!(%error, "commit log cannot be removed"),
            }
        }
    }
}

impl Home {
    /// Has the commit log do what it has to, if it has to.
    pub(crate) fn commit_log_upkeep(&self) {
        let commit_log = self.commit_log.borrow();
        let Some(commit_log) = commit_log.as_ref().filter(|it| it.wants_upkeep()).cloned() else { return };
        host().spawn(
            Class::Background,
            Box::pin(async move {
                if let Err(error) = commit_log.upkeep().await {
                    tracing::warn!(%error, "no commit log: every log flushes for itself");
                }
            }),
        );
    }
}
