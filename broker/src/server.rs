//! Starts in order (data directory, cores, ports, metadata, clients, control thread), stops in reverse.

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Barrier, mpsc};

use reactor::{Handle, host};
use storage::disk::{Class, LocalFuture};

use crate::admin;
use crate::config::Config;
use crate::controller::{Controller, ControllerError, Node};
use crate::metrics::Metrics;
use crate::net::listener::{accept_all, open};
use crate::partition::home::Home;
use crate::partition::leftovers;
use crate::shard::catalogues::LastStop;
use crate::shard::{self, Shard, chores, here, unsynced};

pub(crate) mod banner;
pub(crate) mod data_dirs;
pub(crate) mod dir_lock;
mod signals;

/// Why the broker cannot start, or stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error("{0}")]
    DataDir(String),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: io::Error },
    #[error("{0}")]
    Machine(#[from] io::Error),
    #[error("metadata log: {0}")]
    Metadata(String),
}

/// What every core starts from.
struct Start {
    config: Arc<Config>,
    identity: data_dirs::Identity,
    cores_ready: Barrier,
    /// Core 0 tells the starting thread that clients can come, or why not.
    started: mpsc::Sender<Result<Vec<Listening>, ServerError>>,
}

/// Where clients can come.
#[derive(Debug)]
struct Listening {
    /// One or more, all with the same port.
    addresses: Vec<SocketAddr>,
    /// The core whose own it is.
    core: Option<usize>,
}

/// Runs the broker until it is told to stop.
pub(crate) fn run(config: Config) -> Result<(), ServerError> {
    let config = Arc::new(config);
    let dirs = data_dirs::prepare(&config)?;
    let plan = config.machine_plan();
    let (started, when_started) = mpsc::channel();
    let start = Arc::new(Start {
        cores_ready: Barrier::new(plan.cores.len()),
        identity: dirs.identity.clone(),
        config: config.clone(),
        started,
    });
    let machine = reactor::start(plan, Arc::new(move || Box::pin(core(start.clone()))))?;
    let listening = match when_started.recv() {
        Ok(Ok(listening)) => listening,
        Ok(Err(error)) => {
            stop(&machine.handle());
            let _ = machine.join();
            return Err(error);
        }
        Err(_) => return machine.join().map_err(ServerError::from),
    };
    let control = admin::start(&config, machine.handle())?;
    signals::stop_on_signal(machine.handle(), config.shutdown_timeout())?;
    banner::print(&config, machine.found(), &listening, control.address());
    let joined = machine.join();
    control.stop();
    drop(dirs);
    joined.map_err(ServerError::from)
}

/// Tells every core to stop serving. Called from any thread, any number of times.
fn stop(handle: &Handle) {
    for core in 0..handle.cores() {
        handle.send(core, Box::new(|| here().begin_closing()));
    }
}

/// What one core runs, from start to stop.
async fn core(start: Arc<Start>) {
    let metrics = Rc::new(Metrics::default());
    let homes = Home::all(&start.config, &start.identity.directory_ids, &metrics);
    let shard = Rc::new(Shard::new(start.config.clone(), &start.identity.cluster_id, homes, metrics));
    shard::set_here(&shard);
    // Blocking: no job may reach a core before its shard is set, and nothing else runs yet.
    start.cores_ready.wait();
    if shard.core == 0 {
        let opened = lead(&shard, &start).await;
        let failed = opened.is_err();
        let _ = start.started.send(opened);
        if failed {
            shard.begin_closing();
        }
    }
    chores::start(&shard);
    shard.until_closing().await;
    if shard.core == 0 {
        close(&shard).await;
    }
    shard.until_released().await;
}

/// Core 0: ports, metadata, and when all is there, clients.
async fn lead(shard: &Rc<Shard>, start: &Start) -> Result<Vec<Listening>, ServerError> {
    let metadata = |error: ControllerError| ServerError::Metadata(error.to_string());
    let storage = |error: storage::Error| ServerError::Metadata(error.to_string());
    // Order: bound before the registration, which says on which ports. Whoever connects already is served later.
    let listening = bind(shard).await?;
    prepare_logs(shard).await.map_err(storage)?;
    let ports: Vec<u16> = listening.iter().map(|it| it.addresses[0].port()).collect();
    let node = Node::of(&start.config, &ports, &start.identity.cluster_id, &start.identity.directory_ids);
    let (controller, replayed) = Controller::open(&shard.homes[0], &node).await.map_err(metadata)?;
    // Order: the epochs' rise is durable before the marker that asks for it goes.
    let (disk, durability) = (&*shard.homes[0].disk, shard.homes[0].durability);
    let left_behind = unsynced::left_behind(disk).await.map_err(storage)?;
    let removed = replayed.removed_topics();
    shard.take_office(controller, replayed, &node, left_behind).await.map_err(metadata)?;
    unsynced::begin(disk, durability, left_behind).await.map_err(storage)?;
    for home in &shard.homes {
        let cleared = leftovers::clear(home.disk.clone(), &removed).await;
        cleared.map_err(|error| ServerError::DataDir(error.to_string()))?;
    }
    let open = |shard: &Rc<Shard>| -> LocalFuture<'static, ()> {
        shard.load_groups();
        accept(shard);
        Box::pin(ready(()))
    };
    shard.on_every_core(open).await;
    shard.settle_left();
    Ok(listening)
}

/// Opens every listener on the core that will accept there: its own, or core 0.
async fn bind(shard: &Rc<Shard>) -> Result<Vec<Listening>, ServerError> {
    let mut bound = Vec::new();
    for (index, listener) in shard.config.listeners.iter().enumerate() {
        let opening = shard.on(listener.core.unwrap_or(0), move |shard| {
            let shard = shard.clone();
            Box::pin(async move {
                let config = &shard.config;
                let sockets = open(&config.listeners[index], config.socket_listen_backlog).await?;
                let addresses: Vec<SocketAddr> = sockets.iter().map(|socket| socket.local()).collect();
                shard.bound.borrow_mut().extend(sockets.into_iter().map(|socket| (index, socket)));
                Ok(addresses)
            })
        });
        let addresses =
            opening.await.map_err(|source| ServerError::Listen { address: listener.to_string(), source })?;
        bound.push(Listening { addresses, core: listener.core });
    }
    Ok(bound)
}

/// Lets clients in on this core's sockets.
fn accept(shard: &Rc<Shard>) {
    for (index, socket) in shard.bound.take() {
        host().spawn(Class::Append, Box::pin(accept_all(shard.clone(), socket, index)));
    }
}

/// What earlier runs left: whether they ended well, and what their logs look like.
async fn prepare_logs(shard: &Rc<Shard>) -> Result<(), storage::Error> {
    let mut stops = Vec::new();
    for home in &shard.homes {
        stops.push(LastStop::take(&*home.disk).await?);
    }
    let loading = shard.on_every_core(move |shard| {
        let (shard, stops) = (shard.clone(), stops.clone());
        Box::pin(async move { shard.load_catalogues(stops).await })
    });
    for loaded in loading.await {
        loaded?;
    }
    shard.remove_stale_catalogues().await?;
    shard.load_commit_logs().await
}

/// Core 0 closes all: answers what is under way, then leaves the logs so that the next start reads next
/// to nothing. A core that hangs here is ended by the second signal or its time-out.
async fn close(shard: &Rc<Shard>) {
    let patience = shard.config.shutdown_timeout() / 2;
    shard
        .on_every_core(move |shard| {
            let shard = shard.clone();
            Box::pin(async move { shard.drain(patience).await })
        })
        .await;
    let closing = shard.on_every_core(|shard| {
        let shard = shard.clone();
        Box::pin(async move { shard.close_partitions().await })
    });
    let mut closed: Vec<_> = closing.await.into_iter().flatten().collect();
    let broker_epoch = shard.broker_epoch();
    if shard.controller.borrow().is_some() {
        shard.leave_office().await;
        closed.extend(shard.closed_metadata());
        if let Err(error) = shard.seal(&closed, broker_epoch).await {
            tracing::error!(%error, "the stop is not marked clean; the next start recovers");
        }
    }
    shard
        .on_every_core(|shard| {
            shard.release();
            Box::pin(ready(()))
        })
        .await;
}
