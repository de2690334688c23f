use std::net::SocketAddr;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use reactor::{Conn, host};

use super::{both, check, sleep_ms, spawn};

/// Accepts connections and sends back what each one sends, until the peer is done.
fn echo_server() -> SocketAddr {
    let listener = host().listen("127.0.0.1:0".parse().unwrap(), 128).unwrap();
    let address = listener.local();
    spawn(async move {
        while let Ok(socket) = listener.accept().await {
            assert_eq!(socket.local, address);
            let conn = host().adopt(socket).unwrap();
            spawn(async move {
                let mut buffer = BytesMut::new();
                while conn.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                    conn.write(&[buffer.split().freeze()]).await.unwrap();
                }
                conn.close();
            });
        }
    });
    address
}

async fn read_exactly(conn: &Rc<dyn Conn>, bytes: usize) -> BytesMut {
    let mut read = BytesMut::with_capacity(bytes);
    while read.len() < bytes {
        assert_ne!(conn.read(&mut read).await.unwrap(), 0, "ended after {} of {bytes}", read.len());
    }
    read
}

/// Bytes whose value tells their place.
fn pattern(bytes: usize) -> Bytes {
    (0..bytes).map(|at| (at % 251) as u8).collect::<Vec<_>>().into()
}

#[test]
fn echo_returns_what_was_sent() {
    check(1, || async {
        let conn = host().connect(echo_server()).await.unwrap();
        for bytes in [1, 100, 4096, 70_000] {
            let sent = pattern(bytes);
            conn.write(std::slice::from_ref(&sent)).await.unwrap();
            assert_eq!(read_exactly(&conn, bytes).await, sent);
        }
    });
}

#[test]
fn a_big_gather_list_reaches_a_slow_reader_whole_while_both_sides_write() {
    check(1, || async {
        let listener = host().listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let near = host().connect(listener.local()).await.unwrap();
        let far = host().adopt(listener.accept().await.unwrap()).unwrap();
        // 5000 parts of uneven size, some empty, together 20 MB: more than any socket buffer.
        let whole = pattern(20_000_000);
        let mut gather = Vec::new();
        let mut from = 0;
        for part in 0..5000 {
            let to = if part == 4999 { whole.len() } else { (from + part % 7 * 1300).min(whole.len()) };
            gather.push(whole.slice(from..to));
            from = to;
        }
        let (reader, writer) = (far.clone(), near.clone());
        let expected = whole.clone();
        let reading = async move {
            let mut read = BytesMut::new();
            while read.len() < expected.len() {
                if read.len().is_multiple_of(3) {
                    sleep_ms(1).await;
                }
                read.reserve(64 * 1024);
                assert_ne!(reader.read(&mut read).await.unwrap(), 0);
            }
            assert!(read == expected, "the bytes arrived in another order");
        };
        both(reading, async move { writer.write(&gather).await.unwrap() }).await;
        // The other direction was never in the way.
        far.write(&[Bytes::from_static(b"ok")]).await.unwrap();
        assert_eq!(read_exactly(&near, 2).await, b"ok"[..]);
    });
}

#[test]
fn one_task_reads_while_another_waits_for_room_to_write() {
    check(1, || async {
        let conn = host().connect(echo_server()).await.unwrap();
        let (reader, writer) = (conn.clone(), conn);
        let sent = pattern(8_000_000);
        let parts = [sent.clone()];
        let reading = async move { assert!(read_exactly(&reader, sent.len()).await == sent) };
        both(reading, async move { writer.write(&parts).await.unwrap() }).await;
    });
}

#[test]
fn a_read_without_room_gets_room_and_an_idle_one_holds_none() {
    check(1, || async {
        let conn = host().connect(echo_server()).await.unwrap();
        conn.write(&[Bytes::from_static(b"hello")]).await.unwrap();
        let mut read = BytesMut::new();
        assert_eq!(conn.read(&mut read).await.unwrap(), 5);
        assert_eq!(read, b"hello"[..]);
        let mut idle = BytesMut::new();
        let (reader, sleeper) = (conn.clone(), conn);
        both(
            async move {
                assert_eq!(reader.read(&mut idle).await.unwrap(), 0);
                assert_eq!(idle.capacity(), 0);
            },
            async move {
                sleep_ms(20).await;
                sleeper.close();
            },
        )
        .await;
    });
}

#[test]
fn close_ends_a_pending_write() {
    check(1, || async {
        let listener = host().listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let near = host().connect(listener.local()).await.unwrap();
        let _far = host().adopt(listener.accept().await.unwrap()).unwrap();
        let (writer, closer) = (near.clone(), near);
        both(
            async move {
                let parts = [pattern(30_000_000)];
                assert!(writer.write(&parts).await.is_err(), "nobody reads");
            },
            async move {
                sleep_ms(20).await;
                closer.close();
            },
        )
        .await;
    });
}

#[test]
fn the_end_of_a_peer_that_also_sent_bytes_is_seen() {
    check(1, || async {
        let listener = host().listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let near = host().connect(listener.local()).await.unwrap();
        let far = host().adopt(listener.accept().await.unwrap()).unwrap();
        far.write(&[Bytes::from_static(b"bye")]).await.unwrap();
        far.close();
        sleep_ms(5).await;
        assert_eq!(read_exactly(&near, 3).await, b"bye"[..]);
        assert_eq!(near.read(&mut BytesMut::new()).await.unwrap(), 0);
    });
}

#[test]
fn a_dropped_read_loses_nothing() {
    check(1, || async {
        let listener = host().listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let near = host().connect(listener.local()).await.unwrap();
        let far = host().adopt(listener.accept().await.unwrap()).unwrap();
        for round in 0..20 {
            let mut nothing = BytesMut::new();
            let reading = far.read(&mut nothing);
            let timeout = async {
                host().sleep(std::time::Duration::from_micros(300)).await;
                Ok(usize::MAX)
            };
            let outcome = futures_lite::future::or(reading, timeout).await.unwrap();
            assert_eq!(outcome, usize::MAX, "round {round}: nothing was sent yet");
            near.write(&[pattern(10)]).await.unwrap();
            assert_eq!(read_exactly(&far, 10).await, pattern(10));
        }
    });
}

#[test]
fn a_second_listener_on_a_port_is_refused() {
    check(1, || async {
        let first = host().listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let second = host().listen(first.local(), 1).err().unwrap();
        assert_eq!(second.kind(), std::io::ErrorKind::AddrInUse);
    });
}

#[test]
fn nobody_listening_is_an_error() {
    check(1, || async {
        let free = host().listen("127.0.0.1:0".parse().unwrap(), 1).unwrap().local();
        let refused = host().connect(free).await.err().unwrap();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_released_connection_goes_on_where_it_is_adopted() {
    check(2, || async {
        if host().core() != 0 {
            return;
        }
        let listener = host().listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let near = host().connect(listener.local()).await.unwrap();
        let far = host().adopt(listener.accept().await.unwrap()).unwrap();
        near.write(&[pattern(10)]).await.unwrap();
        assert_eq!(read_exactly(&far, 10).await, pattern(10));
        // What comes while nobody reads is read by the next core.
        near.write(&[pattern(20)]).await.unwrap();
        let socket = far.release().unwrap();
        far.close();
        drop(far);
        host().send(
            1,
            Box::new(move || {
                let conn = host().adopt(socket).unwrap();
                spawn(async move {
                    assert_eq!(read_exactly(&conn, 20).await, pattern(20));
                    let core = host().core().to_string();
                    conn.write(&[core.into()]).await.unwrap();
                });
            }),
        );
        assert_eq!(read_exactly(&near, 1).await, b"1"[..]);
        assert_eq!(near.read(&mut BytesMut::new()).await.unwrap(), 0, "its end comes through as well");
    });
}

#[test]
fn a_connection_accepted_on_one_core_is_served_by_another() {
    check(2, || async {
        if host().core() != 0 {
            return;
        }
        let listener = host().listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let near = host().connect(listener.local()).await.unwrap();
        let socket = listener.accept().await.unwrap();
        host().send(
            1,
            Box::new(move || {
                let conn = host().adopt(socket).unwrap();
                spawn(async move {
                    let core = host().core().to_string();
                    conn.write(&[core.into()]).await.unwrap();
                });
            }),
        );
        assert_eq!(read_exactly(&near, 1).await, b"1"[..]);
    });
}
