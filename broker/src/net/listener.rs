//! Accepts on every configured listener. Core 0 deals connections to the least-loaded core, from where they may
//! follow their work (see [`super::follow`]); those that come to a core's own listener stay there.

use std::cell::Cell;
use std::future::ready;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use reactor::{Listener, Socket, host};
use storage::disk::Class;

use super::connection::{Departure, Served};
use super::follow::Follow;
use crate::config;
use crate::shard::connections::{Caller, Connection};
use crate::shard::{Shard, here};

/// How long the kernel may take to give back the port of a process that was killed: sockets that an
/// io_uring watched are closed some milliseconds after their process is gone.
const PORT_RELEASE_MAX: Duration = Duration::from_secs(1);
/// How often a port is looked for that is free on all addresses of a listener.
const FREE_PORT_ATTEMPTS: usize = 8;

/// Listens on every address of a listener, on one port. It is called on the core that will accept there.
pub(crate) async fn open(listener: &config::Listener, backlog: i32) -> io::Result<Vec<Rc<dyn Listener>>> {
    let mut attempts = 1;
    loop {
        match open_once(listener, backlog).await {
            // A port that was free on one address need not be on the next.
            Err(error) if taken(&error) && listener.port == 0 && attempts < FREE_PORT_ATTEMPTS => {
                attempts += 1
            }
            opened => return opened,
        }
    }
}

async fn open_once(listener: &config::Listener, backlog: i32) -> io::Result<Vec<Rc<dyn Listener>>> {
    let mut opened: Vec<Rc<dyn Listener>> = Vec::new();
    for mut address in listener.addresses()? {
        if let Some(first) = opened.first() {
            address.set_port(first.local().port());
        }
        opened.push(listen(address, backlog).await?);
    }
    Ok(opened)
}

/// A listening socket; a port that is taken is asked for again for [`PORT_RELEASE_MAX`].
async fn listen(address: SocketAddr, backlog: i32) -> io::Result<Rc<dyn Listener>> {
    let until_ns = host().now_ns() + PORT_RELEASE_MAX.as_nanos() as u64;
    loop {
        match host().listen(address, backlog) {
            Err(error) if taken(&error) && host().now_ns() < until_ns => {
                host().sleep(Duration::from_millis(5)).await;
            }
            listening => return listening,
        }
    }
}

fn taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

/// Accepts until the shard closes. One task per socket.
pub(crate) async fn accept_all(shard: Rc<Shard>, socket: Rc<dyn Listener>, index: usize) {
    let listener = &shard.config.listeners[index];
    let name: Arc<str> = Arc::from(listener.name.as_str());
    loop {
        let accepted = socket.accept().await;
        if shard.is_closing() {
            return;
        }
        match accepted {
            Ok(socket) if listener.core.is_some() => {
                take(&shard, Arrival { socket, listener: name.clone(), follow: Follow::stays() });
            }
            Ok(socket) => deal(&shard, Arrival { socket, listener: name.clone(), follow: Follow::new() }),
            Err(error) => {
                // Out of descriptors, most likely: give others time to close theirs.
                tracing::warn!(%error, "accept failed");
                host().sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// A connection that a core is to serve.
struct Arrival {
    socket: Socket,
    listener: Arc<str>,
    follow: Follow,
}

/// Core 0: gives a connection to the least-loaded core.
fn deal(shard: &Rc<Shard>, arrival: Arrival) {
    if let Some(core) = admit(shard, arrival.socket.peer, None) {
        hand_to(shard, core, arrival);
    }
}

fn hand_to(shard: &Rc<Shard>, core: usize, arrival: Arrival) {
    if core == shard.core {
        start(shard, arrival);
    } else {
        host().send(core, Box::new(move || start(&here(), arrival)));
    }
}

/// The core whose listener it is keeps a connection, if core 0, which counts them, has no objection.
fn take(shard: &Rc<Shard>, arrival: Arrival) {
    let (core, peer) = (shard.core, arrival.socket.peer);
    let asked = shard.on(0, move |shard| Box::pin(ready(admit(shard, peer, Some(core)))));
    let shard = shard.clone();
    host().spawn(
        Class::Append,
        Box::pin(async move {
            if asked.await.is_some() {
                start(&shard, arrival);
            }
        }),
    );
}

/// Core 0: the core that may serve the connection, if any.
fn admit(shard: &Shard, peer: SocketAddr, came_to: Option<usize>) -> Option<usize> {
    let config = &shard.config;
    let (connections_max, per_ip_max) = (config.max_connections, config.max_connections_per_ip);
    let core = shard.dealt.borrow_mut().deal(peer.ip(), came_to, connections_max, per_ip_max);
    if core.is_none() {
        tracing::warn!(%peer, "connection refused: max.connections or max.connections.per.ip");
        shard.metrics.connections_refused.add(1);
    }
    core
}

/// On the core that will serve it.
fn start(shard: &Rc<Shard>, arrival: Arrival) {
    let Arrival { socket, listener, follow } = arrival;
    let peer = socket.peer;
    if shard.is_closing() {
        return ended(shard.core, peer.ip());
    }
    let conn = match host().adopt(socket) {
        Ok(conn) => conn,
        Err(error) => {
            tracing::warn!(%peer, %error, "connection cannot be served");
            return ended(shard.core, peer.ip());
        }
    };
    let connection = Rc::new(Connection {
        conn,
        caller: Caller { peer, listener, left_waiting: Rc::default() },
        active_ns: Cell::new(host().now_ns()),
        under_way: Cell::new(0),
    });
    let number = shard.connections.add(connection.clone());
    let serving = Served::new(shard.clone(), connection, number).serve(follow, no_more);
    host().spawn(Class::Append, Box::pin(serving));
}

/// No more requests come here by a connection.
fn no_more(shard: &Rc<Shard>, connection: &Connection, number: u64, departure: Option<Departure>) {
    let caller = &connection.caller;
    shard.connections.remove(number);
    caller.left_waiting.forget();
    match departure {
        None => ended(shard.core, caller.peer.ip()),
        Some(departure) => leave(shard, departure, caller.listener.clone()),
    }
}

/// Another core goes on with a connection of this one.
fn leave(shard: &Rc<Shard>, departure: Departure, listener: Arc<str>) {
    let Departure { core, socket, follow } = departure;
    shard.metrics.connections_moved.add(1);
    let from = shard.core;
    // Order: core 0 hears of the move before it hears of the connection's end, wherever that comes from.
    host().send(0, Box::new(move || here().dealt.borrow_mut().moved(from, core)));
    hand_to(shard, core, Arrival { socket, listener, follow });
}

fn ended(core: usize, address: IpAddr) {
    host().send(0, Box::new(move || here().dealt.borrow_mut().ended(core, address)));
}
