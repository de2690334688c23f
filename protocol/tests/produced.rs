//! What clients send is refused for the same reasons as by Apache Kafka 4.3.1, or ends up in the log as the same bytes.

#![allow(clippy::unwrap_used)]

#[path = "batches/rows.rs"]
mod rows;

use protocol::error_code::ErrorCode;
use protocol::records::batch::{BatchHeader, BatchView, stamp};
use protocol::records::builder::BatchBuilder;
use protocol::records::compression::{Codec, Decompressor};
use protocol::records::produced::{RecordFault, Refusal, Rules, accept, only_batch};
use rows::{Append, hex};

/// Soon after the batches of the facts.
const NOW_MS: i64 = 1_700_000_001_000;

const RULES: Rules = Rules {
    log_append_time: false,
    compacted: false,
    message_bytes_max: 1_048_588,
    timestamp_before_max_ms: i64::MAX,
    timestamp_after_max_ms: 3_600_000,
    codec: None,
    level: None,
    unpacked_bytes_max: 1 << 20,
};

fn rules_of(topic_kind: &str) -> Rules {
    match topic_kind {
        "plain" => RULES,
        "append" => Rules { log_append_time: true, ..RULES },
        "compact" => Rules { compacted: true, ..RULES },
        "gzip" => Rules { codec: Some(Codec::Gzip), ..RULES },
        "uncompressed" => Rules { codec: Some(Codec::None), ..RULES },
        other => panic!("no such topic kind: {other}"),
    }
}

fn judge(records: &[u8], rules: &Rules) -> Result<Vec<u8>, Refusal> {
    let batch = only_batch(records, 8)?;
    accept(batch, rules, NOW_MS, &mut Decompressor::new()).map(|batch| batch.into_owned())
}

#[test]
fn batches_fare_as_they_did_with_kafka() {
    let batches = rows::batches();
    let mut seen = 0;
    for row in rows::appends() {
        // Transactions that were never begun are not this module's to refuse.
        if row.error == ErrorCode::INVALID_PRODUCER_ID_MAPPING.0 {
            continue;
        }
        let [magic, codec, kind] = &row.batch;
        let same = |it: &&rows::Row| it.magic.to_string() == *magic && it.codec == *codec && it.kind == *kind;
        let mut sent = batches.iter().find(same).unwrap().bytes.clone();
        if magic == "2" && kind != "base_offset_and_leader_epoch" && kind != "two_batches" {
            sent[..8].fill(0);
        }
        check(&row, &sent);
        seen += 1;
    }
    assert!(seen > 250, "only {seen} rows");
}

fn check(row: &Append, sent: &[u8]) {
    let name = format!("{:?} to {}", row.batch, row.topic_kind);
    let rules = rules_of(&row.topic_kind);
    match judge(sent, &rules) {
        Err(refusal) => {
            assert_eq!(refusal.error_code(), ErrorCode(row.error), "{name}: {refusal}");
            let blamed: Vec<i32> = refusal.records().iter().map(|one| one.index).collect();
            assert_eq!(blamed, row.record_errors, "{name}");
        }
        Ok(mut accepted) => {
            assert_eq!(row.error, 0, "{name} was refused");
            let stored = row.stored.as_deref().unwrap_or(sent);
            let stored = BatchView::parse(stored).unwrap();
            let log_append_time = rules.log_append_time.then(|| stored.max_timestamp());
            stamp(&mut accepted, 0, 0, log_append_time);
            let accepted = BatchView::parse(&accepted).unwrap();
            accepted.verify_crc().unwrap();
            if rules.codec.is_some_and(|codec| codec.name() != row.batch[1] && codec != Codec::None) {
                // Compressed here and there, by different libraries.
                assert_eq!(BatchHeader::of(&accepted), BatchHeader::of(&stored), "{name}");
                assert_eq!(unpacked(&accepted), unpacked(&stored), "{name}");
            } else {
                assert_eq!(hex(accepted.bytes()), hex(stored.bytes()), "{name}");
            }
        }
    }
}

fn unpacked(batch: &BatchView<'_>) -> String {
    let mut decompressor = Decompressor::new();
    hex(decompressor.decompress(batch.codec().unwrap(), batch.records_bytes(), 1 << 20).unwrap())
}

fn sample(header: BatchHeader) -> Vec<u8> {
    let mut builder = BatchBuilder::new(header);
    builder.append(NOW_MS, Some(b"k"), Some(b"v"), &[]).unwrap();
    builder.append(NOW_MS - 5, None, Some(b"w"), &[]).unwrap();
    builder.build().unwrap()
}

fn resealed(mut batch: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut batch);
    let crc = protocol::records::batch::crc(&batch);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

#[test]
fn faults_have_kafkas_codes() {
    let good = sample(BatchHeader::default());
    assert_eq!(judge(&good, &RULES).as_ref(), Ok(&good));
    let code = |records: &[u8]| judge(records, &RULES).map_err(|refusal| refusal.error_code().0);
    let resealed = |change: &dyn Fn(&mut Vec<u8>)| code(&resealed(good.clone(), |batch| change(batch)));
    // Seen on a broker.
    assert_eq!(code(b""), Err(87), "nothing");
    assert_eq!(code(&good[..good.len() - 1]), Err(87), "truncated");
    assert_eq!(code(&[&good[..], &good].concat()), Err(87), "two batches");
    assert_eq!(resealed(&|b| b[16] = 1), Err(87), "magic 1");
    assert_eq!(resealed(&|b| b[16] = 3), Err(2), "magic 3");
    assert_eq!(resealed(&|b| b[8..12].fill(0)), Err(2), "length 0");
    assert_eq!(resealed(&|b| b[8] = 0xff), Err(2), "length below 0");
    assert_eq!(code(&[&good[..69], &[9], &good[70..]].concat()), Err(2), "checksum");
    assert_eq!(resealed(&|b| b[7] = 1), Err(87), "base offset");
    assert_eq!(resealed(&|b| b[60] = 1), Err(87), "count");
    assert_eq!(resealed(&|b| b[26] = 0), Err(87), "last offset delta");
    assert_eq!(resealed(&|b| b[22] |= 0x20), Err(87), "control");
    assert_eq!(resealed(&|b| b[43..51].fill(0)), Err(87), "producer id without a sequence");
    assert_eq!(resealed(&|b| b[22] |= 5), Err(76), "no codec");
    assert_eq!(resealed(&|b| b[61] = 0x7f), Err(87), "record length");
    // The half of a second batch is not looked at.
    assert_eq!(code(&[&good[..], &good[..40]].concat()), Ok(good.clone()));
    assert_eq!(code(&[&good[..], &[0; 40]].concat()), Err(2), "a second batch without a length");
}

#[test]
fn what_kafka_puts_right_is_put_right() {
    let good = sample(BatchHeader::default());
    let wrong_max = resealed(good.clone(), |batch| batch[35..43].fill(1));
    assert_eq!(judge(&wrong_max, &RULES).as_ref(), Ok(&good));
    // Kafka leaves a wrong offset delta in an uncompressed batch; here no log ever holds one.
    for codec in Codec::ALL {
        let header = BatchHeader { codec, ..BatchHeader::default() };
        let mut builder = BatchBuilder::new(header);
        builder.append_at(0, NOW_MS, Some(b"k"), Some(b"v"), [].into_iter()).unwrap();
        builder.append_at(0, NOW_MS - 5, None, Some(b"w"), [].into_iter()).unwrap();
        let wrong_delta = resealed(builder.build().unwrap(), |batch| batch[26] = 1);
        assert_eq!(judge(&wrong_delta, &RULES).unwrap(), sample(header), "{codec:?}");
    }
}

#[test]
fn size_is_judged_before_and_after_compression() {
    let bytes_max = 1_000;
    let rules = Rules { message_bytes_max: bytes_max, ..RULES };
    let mut builder = BatchBuilder::new(BatchHeader { codec: Codec::Gzip, ..BatchHeader::default() });
    builder.append(NOW_MS, None, Some(&[0; 2_000]), &[]).unwrap();
    let packed = builder.build().unwrap();
    assert!(judge(&packed, &rules).is_ok());
    let unpacking = Rules { codec: Some(Codec::None), ..rules };
    assert!(matches!(judge(&packed, &unpacking), Err(Refusal::TooLarge { .. })));
    let bytes = packed.len();
    let small = Rules { message_bytes_max: bytes - 1, ..RULES };
    assert_eq!(judge(&packed, &small), Err(Refusal::TooLarge { bytes, bytes_max: bytes - 1 }));
    let tight = Rules { unpacked_bytes_max: 1_999, ..RULES };
    assert_eq!(
        judge(&packed, &tight).map_err(|refusal| refusal.error_code()),
        Err(ErrorCode::INVALID_RECORD)
    );
}

#[test]
fn zstd_needs_a_request_that_knows_it() {
    let packed = sample(BatchHeader { codec: Codec::Zstd, ..BatchHeader::default() });
    assert_eq!(only_batch(&packed, 6).unwrap_err().error_code(), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
    assert!(only_batch(&packed, 7).is_ok());
}

#[test]
fn timestamps_are_compared_with_the_clock() {
    let batch = sample(BatchHeader::default());
    let blamed = |rules: Rules, now_ms: i64| {
        let accepted = accept(only_batch(&batch, 8).unwrap(), &rules, now_ms, &mut Decompressor::new());
        accepted.map(drop).map_err(|refusal| {
            refusal.records().iter().map(|one| (one.index, one.reason)).collect::<Vec<_>>()
        })
    };
    let (first, second) = ((0, RecordFault::Timestamp(NOW_MS)), (1, RecordFault::Timestamp(NOW_MS - 5)));
    let strict = Rules { timestamp_before_max_ms: 10, timestamp_after_max_ms: 20, ..RULES };
    assert_eq!(blamed(strict, NOW_MS), Ok(()));
    assert_eq!(blamed(strict, NOW_MS + 6), Err(vec![second]));
    assert_eq!(blamed(strict, NOW_MS + 11), Err(vec![first, second]));
    assert_eq!(blamed(strict, NOW_MS - 20), Ok(()));
    assert_eq!(blamed(strict, NOW_MS - 21), Err(vec![first]));
    assert_eq!(blamed(Rules { log_append_time: true, ..strict }, 0), Ok(()));
    assert_eq!(blamed(Rules { compacted: true, ..RULES }, NOW_MS), Err(vec![(1, RecordFault::NoKey)]));
}
