//! SIGTERM and SIGINT: the first stops gracefully, the second at once.

use std::io;
use std::thread;
use std::time::Duration;

use reactor::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a shell reports for a process that SIGTERM ended.
const TERMINATED: i32 = 143;

/// Watches from a thread of its own, so that a stuck core cannot keep the process from ending.
pub(crate) fn stop_on_signal(handle: Handle, patience: Duration) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut interrupt) = {
        let _inside = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            wait(&mut terminate, &mut interrupt).await;
            tracing::info!("stopping; a second signal stops at once");
            super::stop(&handle);
            if tokio::time::timeout(patience, wait(&mut terminate, &mut interrupt)).await.is_err() {
                tracing::error!(
                    ?patience,
                    "not stopped within shutdown_timeout_ms; acknowledged records are safe"
                );
            }
            std::process::exit(TERMINATED);
        });
    })?;
    Ok(())
}

async fn wait(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
