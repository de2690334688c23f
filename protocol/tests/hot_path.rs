//! Produce and Fetch by hand say and read exactly what the generated messages do, in every version, and allocate nothing for a topic or
//! a partition.

#![allow(clippy::unwrap_used)]

#[path = "hot_path/account.rs"]
mod account;
#[path = "hot_path/make.rs"]
mod make;
#[path = "every_message/mutations.rs"]
mod mutations;
#[path = "hot_path/oracle.rs"]
mod oracle;
#[path = "every_message/vectors.rs"]
mod vectors;

use std::ops::RangeInclusive;

use account::cost_of;
use bytes::Bytes;
use mutations::{Dice, mutate};
use protocol::api_key::ApiKey;
use protocol::error_code::ErrorCode;
use protocol::fetch::{self, FetchAnswer, FetchRequestView, FetchResponseView, FetchResponseWriter};
use protocol::frame::response_frame;
use protocol::messages::{FetchRequest, FetchResponse, Message, ProduceRequest, ProduceResponse};
use protocol::primitives::{DecodeError, Writer};
use protocol::produce::{self, ProduceAnswer, ProduceRequestView, ProduceResponseWriter};

const SEED: u64 = 20_261_121;

#[test]
fn bytes_of_kafka_read_as_the_generated_messages_do() {
    let mut seen = 0;
    for vector in vectors::all().unwrap_or_else(vectors::checked_in) {
        match vector.message.as_str() {
            "ProduceRequest" => check_produce_request(&vector.bytes, vector.version),
            "FetchRequest" => check_fetch_request(&vector.bytes, vector.version),
            "FetchResponse" => check_fetch_response(&vector.bytes, vector.version),
            _ => continue,
        }
        seen += 1;
    }
    assert!(seen >= 8, "only {seen} vectors");
}

#[test]
fn responses_of_kafka_are_written_as_kafka_writes_them() {
    let mut seen = 0;
    for vector in vectors::all().unwrap_or_else(vectors::checked_in) {
        // Unknown tags are nothing that we would say, and null records nothing that a broker does.
        if vector.variant == "unknowntags" || vector.variant.ends_with("null") {
            continue;
        }
        match vector.message.as_str() {
            "ProduceResponse" => {
                let response = ProduceResponse::from_bytes(&vector.bytes, vector.version).unwrap();
                let mut w = Writer::new();
                oracle::write_produce_response(&mut w, &response, vector.version).unwrap();
                assert_eq!(w.written(), vector.bytes, "{} {}", vector.version, vector.variant);
            }
            "FetchResponse" => {
                let response = FetchResponse::from_bytes(&vector.bytes, vector.version).unwrap();
                let mut writer = FetchResponseWriter::new();
                let slices =
                    oracle::gather_fetch_response(&mut writer, &response, vector.version, 3).unwrap();
                let head_bytes = if vector.version >= 12 { 9 } else { 8 };
                assert_eq!(
                    slices.concat()[head_bytes..],
                    vector.bytes,
                    "{} {}",
                    vector.version,
                    vector.variant
                );
            }
            _ => continue,
        }
        seen += 1;
    }
    assert!(seen >= 6, "only {seen} vectors");
}

#[test]
fn any_bytes_read_as_the_generated_messages_do() {
    let mut dice = Dice::new(SEED);
    for round in 0..3_000 {
        let version = version_of(produce::VERSIONS, round);
        check_produce_request(&make::produce_request(&mut dice, version).to_bytes(version).unwrap(), version);
        let version = version_of(fetch::VERSIONS, round);
        check_fetch_request(&make::fetch_request(&mut dice, version).to_bytes(version).unwrap(), version);
        check_fetch_response(&make::fetch_response(&mut dice, version).to_bytes(version).unwrap(), version);
    }
}

#[test]
fn any_response_is_written_as_the_generated_messages_do() {
    let mut dice = Dice::new(SEED);
    let mut writer = FetchResponseWriter::new();
    for round in 0..3_000 {
        let version = version_of(produce::VERSIONS, round);
        let response = make::produce_response(&mut dice, version);
        let mut w = Writer::new();
        oracle::write_produce_response(&mut w, &response, version).unwrap();
        assert_eq!(w.into_bytes(), response.to_bytes(version).unwrap(), "version {version}");

        let version = version_of(fetch::VERSIONS, round);
        let response = make::fetch_response(&mut dice, version);
        let piece_bytes = [1_000_000, 50][round % 2];
        let slices = oracle::gather_fetch_response(&mut writer, &response, version, piece_bytes).unwrap();
        let frame = response_frame(ApiKey::Fetch, version, 77, &response).unwrap();
        assert!(slices.concat() == frame, "version {version}");
    }
}

#[test]
fn versions_that_do_not_exist_are_refused() {
    for version in [2, 14] {
        assert_eq!(ProduceRequestView::parse(&[0; 64], version).err(), Some(DecodeError::Version));
        assert!(ProduceResponseWriter::begin(&mut Writer::new(), version, 0).is_err());
    }
    for version in [3, 19] {
        assert_eq!(FetchRequestView::parse(&[0; 64], version).err(), Some(DecodeError::Version));
        assert!(FetchResponseWriter::new().begin(version, 0, 0, ErrorCode::NONE, 0, 0).is_err());
    }
}

#[test]
fn damaged_bytes_are_judged_as_the_generated_messages_judge_them() {
    let mut dice = Dice::new(SEED);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..50_000 {
        let version = version_of(produce::VERSIONS, round);
        let mut body = make::produce_request(&mut dice, version).to_bytes(version).unwrap().to_vec();
        mutate(&mut body, &mut dice);
        let produce_is_good = check_damaged_produce_request(&body, version);
        let version = version_of(fetch::VERSIONS, round);
        let mut body = make::fetch_request(&mut dice, version).to_bytes(version).unwrap().to_vec();
        mutate(&mut body, &mut dice);
        let fetch_is_good = check_damaged_fetch_request(&body, version);
        let mut body = make::fetch_response(&mut dice, version).to_bytes(version).unwrap().to_vec();
        mutate(&mut body, &mut dice);
        for is_good in [produce_is_good, fetch_is_good, check_damaged_fetch_response(&body, version)] {
            accepted += usize::from(is_good);
            refused += usize::from(!is_good);
        }
    }
    assert!(accepted > 10_000 && refused > 10_000, "{accepted} accepted, {refused} refused");
}

/// Each version in turn.
fn version_of(mut versions: RangeInclusive<i16>, round: usize) -> i16 {
    versions.nth(round % versions.clone().count()).unwrap()
}

fn check_produce_request(body: &[u8], version: i16) {
    let view = ProduceRequestView::parse(body, version).unwrap();
    let generated = ProduceRequest::from_bytes(body, version).unwrap();
    assert_eq!(oracle::produce_request(&view, body), generated, "version {version}");
}

fn check_fetch_request(body: &[u8], version: i16) {
    let view = FetchRequestView::parse(body, version).unwrap();
    let generated = FetchRequest::from_bytes(body, version).unwrap();
    assert_eq!(oracle::fetch_request(&view, version), generated, "version {version}");
}

fn check_fetch_response(body: &[u8], version: i16) {
    let view = FetchResponseView::parse(body, version).unwrap();
    let generated = FetchResponse::from_bytes(body, version).unwrap();
    assert_eq!(oracle::fetch_response(&view, body), generated, "version {version}");
}

fn check_damaged_produce_request(body: &[u8], version: i16) -> bool {
    let (view, cost) = cost_of(|| ProduceRequestView::parse(body, version));
    assert_eq!(cost.allocations, 0);
    match (view, ProduceRequest::from_bytes(body, version)) {
        (Ok(view), Ok(generated)) => assert_eq!(oracle::produce_request(&view, body), generated),
        (Ok(_), Err(DecodeError::TooHeavy)) => {}
        (view, generated) => {
            assert_eq!(view.err(), generated.err(), "version {version}: {body:02x?}");
            return false;
        }
    }
    true
}

fn check_damaged_fetch_request(body: &[u8], version: i16) -> bool {
    let (view, cost) = cost_of(|| FetchRequestView::parse(body, version));
    assert_eq!(cost.allocations, 0);
    match (view, FetchRequest::from_bytes(body, version)) {
        (Ok(view), Ok(generated)) => assert_eq!(oracle::fetch_request(&view, version), generated),
        (Ok(_), Err(DecodeError::TooHeavy)) => {}
        (view, generated) => {
            assert_eq!(view.err(), generated.err(), "version {version}: {body:02x?}");
            return false;
        }
    }
    true
}

fn check_damaged_fetch_response(body: &[u8], version: i16) -> bool {
    let view = FetchResponseView::parse(body, version);
    match (view, FetchResponse::from_bytes(body, version)) {
        (Ok(view), Ok(generated)) => assert_eq!(oracle::fetch_response(&view, body), generated),
        (Ok(_), Err(DecodeError::TooHeavy)) => {}
        (view, generated) => {
            assert_eq!(view.err(), generated.err(), "version {version}: {body:02x?}");
            return false;
        }
    }
    true
}

const TOPICS: usize = 10;
const PARTITIONS: usize = 100;

#[test]
fn walking_a_request_allocates_nothing() {
    let mut dice = Dice::new(SEED);
    let mut wide = make::produce_request(&mut dice, 9);
    wide.topic_data.resize_with(TOPICS, Default::default);
    wide.topic_data
        .iter_mut()
        .for_each(|topic| topic.partition_data.resize_with(PARTITIONS, Default::default));
    let body = wide.to_bytes(9).unwrap();
    let (walked, cost) = cost_of(|| {
        let view = ProduceRequestView::parse(&body, 9).unwrap();
        view.topics().flat_map(|topic| topic.partitions).count()
    });
    assert_eq!((walked, cost.allocations), (TOPICS * PARTITIONS, 0));

    let mut wide = make::fetch_request(&mut dice, 18);
    wide.topics.resize_with(TOPICS, Default::default);
    wide.topics.iter_mut().for_each(|topic| topic.partitions.resize_with(PARTITIONS, Default::default));
    let body = wide.to_bytes(18).unwrap();
    let (walked, cost) = cost_of(|| {
        let view = FetchRequestView::parse(&body, 18).unwrap();
        let forgotten = view.forgotten_topics().map(|topic| topic.partitions.len()).sum::<usize>();
        assert_eq!(forgotten, view.forgotten_partition_count);
        view.topics().flat_map(|topic| topic.partitions).count()
    });
    assert_eq!((walked, cost.allocations), (TOPICS * PARTITIONS, 0));
}

#[test]
fn a_response_allocates_no_more_for_more_partitions() {
    let records = Bytes::from(vec![7; 1_000]);
    let mut writer = FetchResponseWriter::new();
    let mut slices = Vec::new();
    for round in 0..3 {
        slices.clear();
        let ((), cost) = cost_of(|| fetch_response(&mut writer, &records, &mut slices));
        // Once the buffers have their size, two are left: what was written, and the count of who refers to it.
        assert!(round == 0 || cost.allocations <= 2, "{} allocations in round {round}", cost.allocations);
    }
    assert_eq!(slices.len(), 2 * TOPICS * PARTITIONS + 1);
    assert!(slices.iter().any(|slice| slice.as_ptr() == records.as_ptr()), "records are not copied");

    let mut w = Writer::new();
    for round in 0..3 {
        w.clear();
        let ((), cost) = cost_of(|| produce_response(&mut w));
        assert!(round == 0 || cost.allocations == 0, "{} allocations in round {round}", cost.allocations);
    }
}

fn fetch_response(writer: &mut FetchResponseWriter, records: &Bytes, slices: &mut Vec<Bytes>) {
    writer.begin(12, 1, 0, ErrorCode::NONE, 0, TOPICS).unwrap();
    for _ in 0..TOPICS {
        writer.topic("topic".into(), PARTITIONS).unwrap();
        for index in 0..PARTITIONS as i32 {
            writer.partition(&FetchAnswer::error(index, ErrorCode::NONE), [records.clone()]).unwrap();
        }
    }
    writer.finish(&[], slices).unwrap();
}

fn produce_response(w: &mut Writer) {
    let mut writer = ProduceResponseWriter::begin(w, 9, TOPICS).unwrap();
    for _ in 0..TOPICS {
        writer.topic("topic".into(), PARTITIONS).unwrap();
        for index in 0..PARTITIONS as i32 {
            writer.partition(&ProduceAnswer::error(index, ErrorCode::NONE)).unwrap();
        }
    }
    writer.finish(0, &[]).unwrap();
}
