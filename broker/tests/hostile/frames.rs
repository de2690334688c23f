//! The bytes around a request: lengths, headers, pace.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use protocol::api_key::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, Message};
use protocol::primitives::Reader;

use crate::wire::{Heard, Wire, frame};

const PATIENCE: Duration = Duration::from_secs(5);
/// socket.request.max.bytes
const FRAME_BYTES_MAX: i32 = 104_857_600;

pub(crate) fn check(address: SocketAddr) {
    for (name, bytes) in closed() {
        check_closed(address, name, &bytes);
    }
    for (name, bytes) in answered() {
        let mut wire = Wire::connect(address);
        wire.send(&bytes).expect("sent");
        let heard = wire.hear(PATIENCE);
        assert!(matches!(heard, Heard::Frame(_)), "{name}: {heard:?} instead of an answer");
    }
    unknown_version_of_api_versions(address);
    half_a_frame(address);
    byte_by_byte(address);
}

fn check_closed(address: SocketAddr, name: &str, bytes: &[u8]) {
    let mut wire = Wire::connect(address);
    // The broker may close while we still write.
    let _ = wire.send(bytes);
    let heard = wire.hear(PATIENCE);
    assert!(matches!(heard, Heard::Closed), "{name}: {heard:?} instead of a closed connection");
}

/// What no Kafka answers.
fn closed() -> Vec<(&'static str, Vec<u8>)> {
    let length = |length: i32| length.to_be_bytes().to_vec();
    vec![
        ("length 0", length(0)),
        ("length -1", length(-1)),
        ("lowest length", length(i32::MIN)),
        ("one more than socket.request.max.bytes", length(FRAME_BYTES_MAX + 1)),
        ("highest length", length(i32::MAX)),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("TLS", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
        ("half a header", framed(&[0, 3, 0])),
        ("no correlation id", framed(&[0, 18, 0, 0])),
        ("no client id", framed(&request(ApiKey::ApiVersions as i16, 0, &[])[..8])),
        (
            "a client id longer than the frame",
            framed(&[&request(18, 0, &[])[..8], &[0x7f, 0xff, b'x']].concat()),
        ),
        ("unknown API", framed(&request(999, 0, &[0; 16]))),
        ("negative API", framed(&request(-1, 0, &[0; 16]))),
        ("an API that was removed", framed(&request(7, 1, &[0; 16]))),
        ("Metadata of a version to come", framed(&request(3, 99, &[0; 16]))),
        ("Metadata of a negative version", framed(&request(3, -1, &[0; 16]))),
        ("Produce before version 3", framed(&request(0, 2, &[0; 16]))),
        ("Fetch before version 4", framed(&request(1, 3, &[0; 64]))),
        ("a body that ends early", framed(&request(3, 1, &[0, 0, 0, 1]))),
        ("2^31-1 topics", framed(&request(3, 1, &[0x7f, 0xff, 0xff, 0xff]))),
        ("a varint without end", framed(&request(18, 3, &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))),
        ("2^32-1 tags in the header", framed(&request(18, 3, &[0xff, 0xff, 0xff, 0xff, 0x0f]))),
        ("a tag beyond the end", framed(&request(18, 3, &[1, 5, 0x7f, 0, 0]))),
    ]
}

/// What Kafka puts up with.
fn answered() -> Vec<(&'static str, Vec<u8>)> {
    let whole = frame(0, 1, &ApiVersionsRequest::default());
    let body = &whole[4..];
    let names = [&[3u8, b'a', b'b'][..], &[2, b'1']].concat();
    vec![
        ("bytes after the body", framed(&[body, &[1, 2, 3]].concat())),
        ("a null client id", framed(&[&body[..8], &[0xff, 0xff]].concat())),
        ("a client id of -2 bytes", framed(&[&body[..8], &[0xff, 0xfe]].concat())),
        ("a client id that is no text", framed(&[&body[..8], &[0, 2, 0xff, 0xc0]].concat())),
        ("the longest client id", framed(&[&body[..8], &[0x7f, 0xff][..], &[b'x'; 0x7fff]].concat())),
        ("null topics by length -2", framed(&request(3, 1, &[0xff, 0xff, 0xff, 0xfe]))),
        (
            "tags twice and out of order",
            framed(&request(18, 3, &[&[3, 9, 0, 2, 0, 9, 1, 7][..], &names, &[0]].concat())),
        ),
    ]
}

/// Key, version, correlation id, a client id, and the rest.
fn request(key: i16, version: i16, rest: &[u8]) -> Vec<u8> {
    [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 7], &[0, 1, b'x'], rest].concat()
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as i32).to_be_bytes()[..], body].concat()
}

/// Version 0 of the answer, so that every client can read it.
fn unknown_version_of_api_versions(address: SocketAddr) {
    let mut wire = Wire::connect(address);
    wire.send(&framed(&request(18, 99, &[0, 1, 1, 0]))).expect("sent");
    let Heard::Frame(body) = wire.hear(PATIENCE) else { panic!("ApiVersions 99 is answered") };
    let answer = ApiVersionsResponse::decode(&mut Reader::new(&body[4..]), 0).expect("version 0");
    assert_eq!(body[..4], [0, 0, 0, 7]);
    assert_eq!(answer.error_code, ErrorCode::UNSUPPORTED_VERSION.0);
    let keys: Vec<_> = answer.api_keys.iter().map(|range| range.api_key).collect();
    assert_eq!(keys, [ApiKey::ApiVersions as i16], "only what may be asked next");
    let again: ApiVersionsResponse = wire.ask(0, &ApiVersionsRequest::default());
    assert_eq!(again.error_code, 0, "and the connection goes on");
}

fn half_a_frame(address: SocketAddr) {
    for whole in [frame(0, 1, &ApiVersionsRequest::default()), vec![0, 0, 0]] {
        let mut wire = Wire::connect(address);
        wire.send(&whole[..whole.len() - 1]).expect("sent");
        wire.finish();
        let heard = wire.hear(PATIENCE);
        assert!(matches!(heard, Heard::Closed), "half a frame and then the end: {heard:?}");
    }
}

/// One a second, within the length and after it; then faster, for the test's sake.
fn byte_by_byte(address: SocketAddr) {
    let mut wire = Wire::connect(address);
    for (at, byte) in frame(0, 1, &ApiVersionsRequest::default()).into_iter().enumerate() {
        wire.send(&[byte]).expect("sent");
        thread::sleep(Duration::from_millis(if at < 6 { 1000 } else { 5 }));
    }
    assert!(matches!(wire.hear(PATIENCE), Heard::Frame(_)), "slow is not wrong");
}
