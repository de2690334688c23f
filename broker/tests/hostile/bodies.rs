//! Bodies that no client sends, for every API and version advertised: noise, and good requests whose lengths
//! and counts lie.

use std::net::SocketAddr;
use std::time::Duration;

use protocol::api_key::ApiKey;
use protocol::frame::RequestHead;
use protocol::messages::*;
use protocol::primitives::Writer;

use crate::process::Server;
use crate::wire::{Heard, Wire};

/// Answered or closed by then, whatever was asked.
const PATIENCE: Duration = Duration::from_secs(10);
/// Places of a request that are overwritten, from its start.
const PLACES: usize = 48;

pub(crate) fn check(server: &mut Server) {
    let address = server.address();
    let advertised: ApiVersionsResponse = Wire::connect(address).ask(0, &ApiVersionsRequest::default());
    assert!(advertised.api_keys.len() > 5, "it serves something");
    let (mut sent, mut answered) = (0, 0);
    for range in advertised.api_keys {
        let key = ApiKey::from_i16(range.api_key).expect("what is advertised exists");
        for version in range.min_version..=range.max_version {
            let mut last = Vec::new();
            for body in bodies(key, version) {
                sent += 1;
                answered += usize::from(is_answered(address, key, version, &body));
                last = body;
            }
            if server.exit_status().is_some() {
                panic!("{} {version} ended the broker, perhaps {last:?}", key.name());
            }
        }
    }
    println!("{sent} bodies, {answered} answered");
}

/// # Panics
/// If it is neither answered nor closed.
fn is_answered(address: SocketAddr, key: ApiKey, version: i16, body: &[u8]) -> bool {
    let mut head = Writer::new();
    let header = RequestHead { key, version, correlation_id: 1, client_id: Some("hostile".into()) };
    header.encode(&mut head).expect("a header");
    let mut wire = Wire::connect(address);
    wire.send_frame(&[head.written(), body].concat()).expect("sent");
    // Produce with acks=0 has no answer: the end of the requests ends the connection.
    wire.finish();
    match wire.hear(PATIENCE) {
        Heard::Frame(_) => true,
        Heard::Closed => false,
        Heard::Silence => panic!("{} {version} is neither answered nor closed: {body:?}", key.name()),
    }
}

fn bodies(key: ApiKey, version: i16) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    for bytes in [0, 1, 2, 7, 64, 4096, 65_536] {
        bodies.extend([0, 1, 0x7f, 0x80, 0xff].map(|fill| vec![fill; bytes]));
        bodies.push(noise(bytes, key as u64 * 100 + version as u64));
    }
    if let Some(good) = good(key, version) {
        for at in 0..good.len().min(PLACES) {
            for lie in [&[0x7f, 0xff, 0xff, 0xff][..], &[0xff, 0xff, 0xff, 0xff, 0x07], &[0xff], &[0]] {
                let mut body = good.clone();
                body.resize(body.len().max(at + lie.len()), 0);
                body[at..at + lie.len()].copy_from_slice(lie);
                bodies.push(body);
            }
            bodies.push(good[..at].to_vec());
        }
    }
    bodies
}

fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// A request that asks for nothing much; none for APIs that are not listed here.
fn good(key: ApiKey, version: i16) -> Option<Vec<u8>> {
    fn said<M: Message>(message: &M, version: i16) -> Option<Vec<u8>> {
        message.to_bytes(version).ok().map(|bytes| bytes.to_vec())
    }
    match key {
        ApiKey::Produce => said(&crate::wire::produce_request("none", 0, Some(b"none"), -1), version),
        ApiKey::Fetch => said(&crate::wire::fetch_request("none", 0, 0, 1), version),
        ApiKey::ListOffsets => said(&ListOffsetsRequest::default(), version),
        ApiKey::Metadata => {
            said(&MetadataRequest { topics: Some(Vec::new()), ..Default::default() }, version)
        }
        ApiKey::ApiVersions => said(&ApiVersionsRequest::default(), version),
        ApiKey::CreateTopics => said(&CreateTopicsRequest::default(), version),
        ApiKey::DeleteTopics => said(&DeleteTopicsRequest::default(), version),
        ApiKey::DeleteRecords => said(&DeleteRecordsRequest::default(), version),
        ApiKey::InitProducerId => said(&InitProducerIdRequest::default(), version),
        ApiKey::OffsetForLeaderEpoch => said(&OffsetForLeaderEpochRequest::default(), version),
        ApiKey::CreatePartitions => said(&CreatePartitionsRequest::default(), version),
        ApiKey::DescribeConfigs => said(&DescribeConfigsRequest::default(), version),
        ApiKey::DescribeCluster => said(&DescribeClusterRequest::default(), version),
        ApiKey::DescribeTopicPartitions => said(&DescribeTopicPartitionsRequest::default(), version),
        _ => None,
    }
}
