//! The control thread: HTTP for metrics and health, off the cores. It asks each core by message, so a
//! stuck core shows as an unhealthy broker.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use reactor::Handle;
use tokio::sync::oneshot;

use crate::config::Config;
use crate::metrics::Snapshot;
use crate::shard::{chores, here};

mod prometheus;

/// A core that does not answer within this is stuck.
const CORE_ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// The running control thread.
pub(crate) struct Control {
    address: Option<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Where HTTP is served, if it is.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    pub(crate) fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts the control thread, if an HTTP address is configured.
pub(crate) fn start(config: &Arc<Config>, handle: Handle) -> io::Result<Control> {
    let Some(address) = config.http else {
        return Ok(Control { address: None, stop: None, thread: None });
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind(address))
        .map_err(|error| io::Error::new(error.kind(), format!("cannot serve HTTP on {address}: {error}")))?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel();
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(alive))
        .route("/readyz", get(alive))
        .with_state(handle);
    let thread = thread::Builder::new().name("control".to_owned()).spawn(move || {
        let serving = axum::serve(listener, routes).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        if let Err(error) = runtime.block_on(serving.into_future()) {
            tracing::error!(%error, "HTTP ended");
        }
        runtime.shutdown_timeout(Duration::from_millis(100));
    })?;
    Ok(Control { address: Some(address), stop: Some(stop), thread: Some(thread) })
}

async fn metrics(State(handle): State<Handle>) -> impl IntoResponse {
    let cores = measured(&handle).await;
    let ends = ends(&handle, &cores).await;
    let text = prometheus::text(&cores, &ends);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

async fn alive(State(handle): State<Handle>) -> (StatusCode, String) {
    let cores = measured(&handle).await;
    match cores.iter().position(Option::is_none) {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(core) => (StatusCode::SERVICE_UNAVAILABLE, format!("core {core} does not answer\n")),
    }
}

/// Each core's metrics; none for a core that did not answer in time.
async fn measured(handle: &Handle) -> Vec<Option<Snapshot>> {
    ask_every_core(handle, || chores::measure(&here())).await
}

/// Where the partitions end that groups have committed offsets of.
async fn ends(handle: &Handle, cores: &[Option<Snapshot>]) -> prometheus::Ends {
    let committed = cores.iter().flatten().flat_map(|core| &core.groups.committed);
    let wanted: BTreeSet<_> = committed.map(|it| (it.topic.clone(), it.partition)).collect();
    if wanted.is_empty() {
        return prometheus::Ends::new();
    }
    let wanted: Arc<[_]> = wanted.into_iter().collect();
    let found = ask_every_core(handle, move || here().ends_of(&wanted)).await;
    found.into_iter().flatten().flatten().map(|(topic, index, end)| ((topic, index), end)).collect()
}

/// What each core says; none for a core that did not answer in time.
async fn ask_every_core<T: Send + 'static>(
    handle: &Handle,
    question: impl Fn() -> T + Clone + Send + 'static,
) -> Vec<Option<T>> {
    let mut asked = Vec::new();
    for core in 0..handle.cores() {
        let (answer, answered) = oneshot::channel();
        let question = question.clone();
        handle.send(core, Box::new(move || drop(answer.send(question()))));
        asked.push(tokio::time::timeout(CORE_ANSWERS_WITHIN, answered));
    }
    let mut cores = Vec::new();
    for answered in asked {
        cores.push(answered.await.ok().and_then(Result::ok));
    }
    cores
}
