//! Batches that are not what they say, and batches that are far more than they look.

use std::net::SocketAddr;
use std::time::Duration;

use protocol::error_code::ErrorCode;
use protocol::messages::ProduceResponse;
use protocol::records::batch::{BatchHeader, HEADER_BYTES, crc};
use protocol::records::compression::{Codec, compress};

use crate::MIB;
use crate::wire::{Heard, Wire, batch_of, produce_request};

const TOPIC: &str = "refuses";

const LENGTH_AT: usize = 8;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const LAST_OFFSET_DELTA_AT: usize = 23;
const BASE_TIMESTAMP_AT: usize = 27;
const PRODUCER_ID_AT: usize = 43;
const COUNT_AT: usize = 57;

pub(crate) fn bad_batches(address: SocketAddr) {
    let mut wire = Wire::connect(address);
    wire.create_topic(TOPIC, 1);
    for (name, batch, expected) in cases() {
        let answer = wire.produce(TOPIC, 0, &batch);
        let error = ErrorCode(answer.error_code);
        assert_eq!(error, expected, "{name}: {:?}", answer.error_message);
    }
    let null: ProduceResponse = wire.ask(9, &produce_request(TOPIC, 0, None, -1));
    let error = ErrorCode(null.responses[0].partition_responses[0].error_code);
    assert_eq!(error, ErrorCode::INVALID_RECORD, "null records: Kafka never answers, we do");
    let acks: ProduceResponse = wire.ask(9, &produce_request(TOPIC, 0, Some(&good()), 5));
    let error = ErrorCode(acks.responses[0].partition_responses[0].error_code);
    assert_eq!(error, ErrorCode::INVALID_REQUIRED_ACKS, "acks=5");
    let fetched = wire.fetch(TOPIC, 0, 0, 1 << 20);
    assert_eq!(fetched.high_watermark, 0, "nothing of all this was kept");

    wire.send(&crate::wire::frame(9, 1, &produce_request(TOPIC, 0, Some(&wrong_crc()), 0))).expect("sent");
    let heard = wire.hear(Duration::from_secs(5));
    assert!(matches!(heard, Heard::Closed), "with acks=0 a refused batch closes: {heard:?}");
    assert_eq!(Wire::connect(address).produce(TOPIC, 0, &good()).base_offset, 0, "a good batch is taken");
}

fn good() -> Vec<u8> {
    batch_of(Codec::None, b"a good record")
}

fn wrong_crc() -> Vec<u8> {
    let mut batch = good();
    batch[CRC_AT] ^= 1;
    batch
}

/// A good batch with some bytes replaced; the checksum is right again.
fn changed(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = good();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    sealed(batch)
}

fn sealed(mut batch: Vec<u8>) -> Vec<u8> {
    let crc = crc(&batch);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// A batch with these bytes as its records.
fn raw(count: i32, codec: Codec, records: &[u8]) -> Vec<u8> {
    let mut batch = vec![0; HEADER_BYTES];
    batch.extend_from_slice(records);
    BatchHeader { count, last_offset_delta: count - 1, codec, ..BatchHeader::default() }.write(&mut batch);
    batch
}

fn cases() -> Vec<(&'static str, Vec<u8>, ErrorCode)> {
    let good = good();
    let cut = |bytes: usize| good[..good.len() - bytes].to_vec();
    // Length, attributes, timestamp delta, offset delta, key, value, headers; zigzag varints.
    let null_record = [12, 0, 0, 0, 1, 1, 0];
    let bad = ErrorCode::INVALID_RECORD;
    let corrupt = ErrorCode::CORRUPT_MESSAGE;
    vec![
        ("wrong CRC", wrong_crc(), corrupt),
        ("magic 0", changed(MAGIC_AT, &[0]), bad),
        ("magic 1", changed(MAGIC_AT, &[1]), bad),
        ("magic 3", changed(MAGIC_AT, &[3]), corrupt),
        ("magic -1", changed(MAGIC_AT, &[0xff]), corrupt),
        ("no bytes", Vec::new(), bad),
        ("ten bytes", good[..10].to_vec(), bad),
        ("half a header", good[..40].to_vec(), bad),
        ("a byte too few", cut(1), bad),
        ("length 0", changed(LENGTH_AT, &[0; 4]), corrupt),
        ("length -1", changed(LENGTH_AT, &[0xff; 4]), corrupt),
        ("length 2^31-1", changed(LENGTH_AT, &[0x7f, 0xff, 0xff, 0xff]), bad),
        ("a base offset", changed(7, &[5]), bad),
        ("two batches", [good.clone(), good.clone()].concat(), bad),
        ("count 0", changed(COUNT_AT, &[0; 4]), bad),
        ("count -1", changed(COUNT_AT, &[0xff; 4]), bad),
        ("count 2^31-1", changed(COUNT_AT, &[0x7f, 0xff, 0xff, 0xff]), bad),
        ("two counted, one there", raw(2, Codec::None, &null_record), bad),
        ("one counted, two there", raw(1, Codec::None, &[null_record, null_record].concat()), bad),
        ("last offset delta 7", changed(LAST_OFFSET_DELTA_AT, &[0, 0, 0, 7]), bad),
        ("last offset delta 2^31-1", changed(LAST_OFFSET_DELTA_AT, &[0x7f, 0xff, 0xff, 0xff]), bad),
        ("a control batch", changed(ATTRIBUTES_AT, &[0, 0x20]), bad),
        ("a producer without a sequence", changed(PRODUCER_ID_AT, &[0, 0, 0, 0, 0, 0, 0, 9, 0, 0]), bad),
        ("codec 5", changed(ATTRIBUTES_AT, &[0, 5]), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE),
        ("gzip that is none", changed(ATTRIBUTES_AT, &[0, 1]), bad),
        ("snappy that is none", changed(ATTRIBUTES_AT, &[0, 2]), bad),
        ("lz4 that is none", changed(ATTRIBUTES_AT, &[0, 3]), bad),
        ("zstd that is none", changed(ATTRIBUTES_AT, &[0, 4]), bad),
        ("the end of time", changed(BASE_TIMESTAMP_AT, &[0x7f; 8]), ErrorCode::INVALID_TIMESTAMP),
        ("one record of -1 bytes", raw(1, Codec::None, &[1]), bad),
        ("one record of 2^31-1 bytes", raw(1, Codec::None, &[0xfe, 0xff, 0xff, 0xff, 0x0f]), bad),
        ("a length without end", raw(1, Codec::None, &[0xff; 10]), bad),
        (
            "a key of 2^31-1 bytes",
            raw(1, Codec::None, &[20, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0x0f, 1, 0]),
            bad,
        ),
        ("2^31-1 headers", raw(1, Codec::None, &[20, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f]), bad),
        ("-1 headers", raw(1, Codec::None, &[12, 0, 0, 0, 1, 1, 1]), bad),
        ("a header without a name", raw(1, Codec::None, &[16, 0, 0, 0, 1, 1, 2, 1, 1]), bad),
        ("records after compressed nothing", raw(1, Codec::Gzip, &packed(Codec::Gzip, &[])), bad),
        (
            "larger than max.message.bytes",
            batch_of(Codec::None, &vec![7; 1_048_588]),
            ErrorCode::MESSAGE_TOO_LARGE,
        ),
    ]
}

fn packed(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress(codec, None, bytes, &mut out);
    out
}

/// A few hundred kilobytes that unpack to a quarter of a gigabyte: as one record, and as very many.
pub(crate) fn bombs(address: SocketAddr) {
    let mut wire = Wire::connect(address);
    wire.create_topic(TOPIC, 1);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        // As much as fits into max.message.bytes at what each codec makes of zeros.
        let bytes = match codec {
            Codec::Snappy => 18 * MIB,
            _ => 240 * MIB,
        } as usize;
        for (name, batch) in
            [("one record", one_record(codec, bytes)), ("many records", many_records(codec, bytes / 2))]
        {
            assert!(batch.len() < MIB as usize, "{codec:?} as {name}: {} bytes", batch.len());
            for _ in 0..3 {
                let answer = wire.produce(TOPIC, 0, &batch);
                let error = ErrorCode(answer.error_code);
                // Of Snappy so little fits that it may be unpacked; packed again it is larger than it was.
                let may = match codec {
                    Codec::Snappy => [ErrorCode::NONE, ErrorCode::MESSAGE_TOO_LARGE].contains(&error),
                    _ => error == ErrorCode::INVALID_RECORD,
                };
                assert!(may, "{codec:?} as {name}: {error:?}");
            }
        }
    }
}

fn one_record(codec: Codec, bytes: usize) -> Vec<u8> {
    batch_of(codec, &vec![0; bytes])
}

/// The smallest records there are, all alike; their offset deltas are wrong, which Kafka puts up with.
fn many_records(codec: Codec, bytes: usize) -> Vec<u8> {
    let record = [12, 0, 0, 0, 1, 1, 0];
    let count = bytes / record.len();
    raw(count as i32, codec, &packed(codec, &record.repeat(count)))
}
