//! Accepts on every configured listener and deals connections to the least-loaded core. Runs on core 0.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use reactor::{Listener, Socket, host};
use storage::disk::Class;

use super::connection::serve;
use crate::api::Caller;
use crate::shard::connections::Connection;
use crate::shard::{Shard, here};

/// How long the kernel may take to give back the port of a process that was killed: sockets that an
/// io_uring watched are closed some milliseconds after their process is gone.
const PORT_RELEASE_MAX: Duration = Duration::from_secs(1);

/// A listening socket; a port that is taken is asked for again for [`PORT_RELEASE_MAX`].
pub(crate) async fn listen(address: SocketAddr, backlog: i32) -> io::Result<Rc<dyn Listener>> {
    let until_ns = host().now_ns() + PORT_RELEASE_MAX.as_nanos() as u64;
    loop {
        match host().listen(address, backlog) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && host().now_ns() < until_ns => {
                host().sleep(Duration::from_millis(5)).await;
            }
            listening => return listening,
        }
    }
}

/// Accepts until the shard closes. One task per listener.
pub(crate) async fn accept_all(shard: Rc<Shard>, listener: Rc<dyn Listener>, index: usize) {
    let name: Arc<str> = Arc::from(shard.config.listeners[index].name.as_str());
    loop {
        let accepted = listener.accept().await;
        if shard.is_closing() {
            return;
        }
        match accepted {
            Ok(socket) => deal(&shard, socket, &name),
            Err(error) => {
                // Out of descriptors, most likely: give others time to close theirs.
                tracing::warn!(%error, "accept failed");
                host().sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn deal(shard: &Rc<Shard>, socket: Socket, listener: &Arc<str>) {
    let config = &shard.config;
    let address = socket.peer.ip();
    let dealt = shard.dealt.borrow_mut().deal(address, config.max_connections, config.max_connections_per_ip);
    let Some(core) = dealt else {
        tracing::warn!(peer = %socket.peer, "connection refused: max.connections or max.connections.per.ip");
        shard.metrics.connections_refused.add(1);
        return;
    };
    if core == shard.core {
        start(shard, socket, listener);
    } else {
        let listener = listener.clone();
        host().send(core, Box::new(move || start(&here(), socket, &listener)));
    }
}

/// On the core that will serve it.
fn start(shard: &Rc<Shard>, socket: Socket, listener: &str) {
    let peer = socket.peer;
    let conn = match host().adopt(socket) {
        Ok(conn) => conn,
        Err(error) => {
            tracing::warn!(%peer, %error, "connection cannot be served");
            return ended(shard.core, peer.ip());
        }
    };
    let connection =
        Rc::new(Connection { conn, peer, active_ns: Cell::new(host().now_ns()), under_way: Cell::new(0) });
    let number = shard.connections.add(connection.clone());
    let shard = shard.clone();
    let caller = Caller { peer, listener: Rc::from(listener) };
    host().spawn(
        Class::Append,
        Box::pin(async move {
            serve(shard.clone(), connection, number, caller).await;
            shard.connections.remove(number);
            ended(shard.core, peer.ip());
        }),
    );
}

fn ended(core: usize, address: IpAddr) {
    host().send(0, Box::new(move || here().dealt.borrow_mut().ended(core, address)));
}
