//! The control thread: HTTP for metrics and health, off the cores. It asks each core by message, so a
//! stuck core shows as an unhealthy broker.

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
    let cores = ask_every_core(&handle).await;
    let text = prometheus::text(&cores);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

async fn alive(State(handle): State<Handle>) -> (StatusCode, String) {
    let cores = ask_every_core(&handle).await;
    match cores.iter().position(Option::is_none) {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(core) => (StatusCode::SERVICE_UNAVAILABLE, format!("core {core} does not answer\n")),
    }
}

/// Each core's metrics; none for a core that did not answer in time.
async fn ask_every_core(handle: &Handle) -> Vec<Option<Snapshot>> {
    let mut asked = Vec::new();
    for core in 0..handle.cores() {
        let (answer, answered) = oneshot::channel();
        handle.send(core, Box::new(move || drop(answer.send(chores::measure(&here())))));
        asked.push(tokio::time::timeout(CORE_ANSWERS_WITHIN, answered));
    }
    let mut cores = Vec::new();
    for answered in asked {
        cores.push(answered.await.ok().and_then(Result::ok));
    }
    cores
}
