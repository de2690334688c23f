//! Batches that Kafka made read here as they read there, and are made again byte for byte.

#![allow(clippy::unwrap_used)]

#[path = "batches/rows.rs"]
mod rows;

use protocol::records::batch::{
    BatchError, BatchHeader, BatchView, NO_SEQUENCE, batches, next_len, sequence_after,
};
use protocol::records::builder::BatchBuilder;
use protocol::records::compression::{Codec, Decompressor};
use protocol::records::control::{self, ControlRecord};
use protocol::records::record::{Header, Record, RecordError};
use rows::{Row, hex};
use serde_json::{Map, Value, json};

const CAP_BYTES: usize = 1 << 20;

fn current() -> impl Iterator<Item = Row> {
    rows::batches().into_iter().filter(|row| row.magic == 2)
}

#[test]
fn every_batch_reads_as_kafka_reads_it() {
    let mut seen = 0;
    for row in current() {
        let mut walk = batches(&row.bytes);
        let read: Vec<Value> = walk.by_ref().map(|batch| describe(&batch.unwrap())).collect();
        assert_eq!(read, row.read, "{}", row.name());
        assert_eq!(walk.rest(), b"");
        seen += 1;
    }
    assert!(seen >= 80, "only {seen} rows");
}

#[test]
fn every_batch_is_made_again() {
    for row in current() {
        for batch in batches(&row.bytes) {
            let batch = batch.unwrap();
            let made = rebuild(&batch, batch.codec().unwrap());
            let view = BatchView::parse(&made).unwrap();
            view.verify_crc().unwrap();
            if row.codec == "none" {
                assert_eq!(hex(&made), hex(batch.bytes()), "{}", row.name());
            } else {
                // Compressed bytes differ from one library to the next; what they mean does not.
                assert_eq!(meaning(&view), meaning(&batch), "{}", row.name());
            }
        }
    }
}

#[test]
fn every_codec_says_the_same() {
    for row in current().filter(|row| row.codec == "none" && !row.kind.starts_with("control")) {
        for batch in batches(&row.bytes) {
            let batch = batch.unwrap();
            for codec in Codec::ALL {
                let made = rebuild(&batch, codec);
                let view = BatchView::parse(&made).unwrap();
                let codec = if batch.count() == 0 { Codec::None } else { codec };
                assert_eq!(view.codec(), Some(codec));
                assert_eq!(records_of(&view), records_of(&batch), "{} as {codec:?}", row.name());
            }
        }
    }
}

#[test]
fn old_formats_are_recognised_and_refused() {
    let old: Vec<Row> = rows::batches().into_iter().filter(|row| row.magic < 2).collect();
    assert!(old.len() >= 28);
    for row in old {
        assert_eq!(BatchView::parse(&row.bytes), Err(BatchError::BadMagic(row.magic)), "{}", row.name());
        assert!(next_len(&row.bytes).unwrap().unwrap() <= row.bytes.len());
    }
}

#[test]
fn records_that_are_not_as_announced_are_refused() {
    let row = current().find(|row| row.kind == "headers" && row.codec == "none").unwrap();
    let walk = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = row.bytes.clone();
        change(&mut bytes);
        let view = BatchView::parse(&bytes).unwrap();
        view.records(&mut Decompressor::new(), CAP_BYTES)?.collect::<Result<Vec<_>, _>>().map(|all| all.len())
    };
    assert_eq!(walk(&|_| ()), Ok(3));
    assert_eq!(walk(&|b| b[60] = 2), Err(RecordError::Trailing));
    assert_eq!(walk(&|b| b[60] = 0), Err(RecordError::Trailing));
    assert_eq!(walk(&|b| b[60] = 4), Err(RecordError::TooShort));
    assert_eq!(walk(&|b| b[57] = 0xff), Err(RecordError::BadCount(0xff00_0003_u32 as i32)));
    assert_eq!(walk(&|b| b[61] = 1), Err(RecordError::BadLength));
    assert_eq!(walk(&|b| b[61] -= 2), Err(RecordError::TooShort));
    assert_eq!(walk(&|b| b[61] += 2), Err(RecordError::BadLength));
    assert_eq!(walk(&|b| b[69] = 1), Err(RecordError::BadHeader));
    assert_eq!(walk(&|b| b[69] = 0x7e), Err(RecordError::BadHeader));
    assert_eq!(walk(&|b| b[70] = 1), Err(RecordError::BadHeader));
    assert_eq!(walk(&|b| b[61..].fill(0xff)), Err(RecordError::BadVarint));
    assert_eq!(walk(&|b| b[22] = 5), Err(RecordError::BadCodec(5)));
}

/// As the facts tell it: see `batches.tsv`.
fn describe(batch: &BatchView<'_>) -> Value {
    let mut decompressor = Decompressor::new();
    let records: Vec<Value> = batch
        .records(&mut decompressor, CAP_BYTES)
        .unwrap()
        .enumerate()
        .map(|(at, record)| describe_record(batch, at, &record.unwrap()))
        .collect();
    json!({
        "baseOffset": batch.base_offset(),
        "lastOffset": batch.last_offset(),
        "size": batch.batch_len(),
        "magic": batch.magic(),
        "crc": batch.crc(),
        "valid": batch.verify_crc().is_ok(),
        "compression": batch.codec().unwrap().name(),
        "timestampType": if batch.has_log_append_time() { "LogAppendTime" } else { "CreateTime" },
        "maxTimestamp": batch.max_timestamp(),
        "partitionLeaderEpoch": batch.leader_epoch(),
        "attributes": batch.attributes(),
        "lastOffsetDelta": batch.last_offset_delta(),
        "baseTimestamp": batch.base_timestamp(),
        "producerId": batch.producer_id(),
        "producerEpoch": batch.producer_epoch(),
        "baseSequence": batch.base_sequence(),
        "lastSequence": batch.last_sequence(),
        "count": batch.count(),
        "transactional": batch.is_transactional(),
        "control": batch.is_control(),
        "deleteHorizonMs": batch.delete_horizon_ms(),
        "records": records,
    })
}

fn describe_record(batch: &BatchView<'_>, at: usize, record: &Record<'_>) -> Value {
    let sequence = match batch.base_sequence() {
        NO_SEQUENCE => NO_SEQUENCE,
        base => sequence_after(base, at as i32),
    };
    let mut told = Map::new();
    told.insert("offset".into(), batch.offset_of(record).into());
    told.insert("timestamp".into(), batch.timestamp_of(record).into());
    told.insert("sequence".into(), sequence.into());
    told.insert("key".into(), record.key.map(hex).into());
    told.insert("value".into(), record.value.map(hex).into());
    let headers: Vec<Value> =
        record.headers().map(|header| json!([header.key_text(), header.value.map(hex)])).collect();
    if !headers.is_empty() {
        told.insert("headers".into(), headers.into());
    }
    Value::Object(told)
}

/// All but size, checksum and bytes.
fn meaning(batch: &BatchView<'_>) -> Value {
    let mut told = describe(batch);
    let fields = told.as_object_mut().unwrap();
    fields.remove("size");
    fields.remove("crc");
    told
}

fn records_of(batch: &BatchView<'_>) -> Value {
    describe(batch)["records"].take()
}

fn rebuild(batch: &BatchView<'_>, codec: Codec) -> Vec<u8> {
    let header = BatchHeader { codec, ..BatchHeader::of(batch).unwrap() };
    let mut builder = BatchBuilder::new(header);
    for record in batch.records(&mut Decompressor::new(), CAP_BYTES).unwrap() {
        let record = record.unwrap();
        let timestamp = batch.base_timestamp() + record.timestamp_delta;
        builder.append_record(&record, record.offset_delta, timestamp).unwrap();
    }
    builder.build().unwrap()
}

#[test]
fn a_builder_counts_up_and_takes_headers_twice() {
    let mut builder = BatchBuilder::new(BatchHeader { base_offset: 7, ..BatchHeader::default() });
    let headers = [Header { key: b"h", value: Some(b"1") }, Header { key: b"h", value: None }];
    assert_eq!(builder.append(50, None, Some(b"v"), &headers), Ok(0));
    assert_eq!(builder.append(40, Some(b"k"), None, &[]), Ok(1));
    let bytes = builder.clone().build().unwrap();
    assert_eq!(builder.uncompressed_bytes(), bytes.len());
    let view = BatchView::parse(&bytes).unwrap();
    assert_eq!((view.base_timestamp(), view.max_timestamp(), view.next_offset()), (50, 50, 9));
    let mut decompressor = Decompressor::new();
    let all: Vec<Record<'_>> = view.records(&mut decompressor, 0).unwrap().map(Result::unwrap).collect();
    assert_eq!(all[0].headers().collect::<Vec<_>>(), headers);
    assert_eq!((all[0].key, all[0].value), (None, Some(&b"v"[..])));
    assert_eq!((all[1].key, all[1].value, view.timestamp_of(&all[1])), (Some(&b"k"[..]), None, 40));
}

#[test]
fn control_batches_are_made_again_from_what_they_say() {
    let mut kinds = Vec::new();
    for row in current().filter(|row| row.kind.starts_with("control")) {
        let batch = BatchView::parse(&row.bytes).unwrap();
        let control = control::only_record(&batch).unwrap().unwrap();
        let header = BatchHeader::of(&batch).unwrap();
        let made = match control {
            ControlRecord::Commit { coordinator_epoch } => {
                assert_eq!(coordinator_epoch, 9);
                control::end_transaction(header, batch.max_timestamp(), true, 9)
            }
            ControlRecord::Abort { coordinator_epoch } => {
                assert_eq!(coordinator_epoch, 9);
                control::end_transaction(header, batch.max_timestamp(), false, 9)
            }
            _ => {
                control::control_batch(header, batch.max_timestamp(), std::slice::from_ref(&control)).unwrap()
            }
        };
        assert_eq!(hex(&made), hex(&row.bytes), "{}", row.name());
        kinds.push(control.kind());
    }
    kinds.sort_unstable();
    assert_eq!(kinds, [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn control_records_of_later_versions_are_read_as_far_as_they_are_known() {
    let read = |key: &[u8], value: Option<&[u8]>| {
        let header = BatchHeader { control: true, ..BatchHeader::default() };
        let mut builder = BatchBuilder::new(header);
        builder.append(0, Some(key), value, &[]).unwrap();
        control::only_record(&BatchView::parse(&builder.build().unwrap()).unwrap()).unwrap()
    };
    let commit = Ok(ControlRecord::Commit { coordinator_epoch: 9 });
    assert_eq!(read(&[0, 0, 0, 1], Some(&[0, 0, 0, 0, 0, 9])), commit);
    assert_eq!(read(&[0, 7, 0, 1, 5, 5], Some(&[0, 3, 0, 0, 0, 9, 1, 2, 3])), commit);
    assert_eq!(read(&[0, 0, 0, 99], None), Ok(ControlRecord::Unknown(99)));
    assert!(read(&[0, 0, 0, 1], Some(&[255, 255, 0, 0, 0, 9])).is_err());
    assert!(read(&[0, 0, 0, 1], Some(&[0, 0, 0])).is_err());
    assert!(read(&[0, 0, 0, 1], None).is_err());
    assert!(read(&[0, 0, 0], None).is_err());
}
