//! Any bytes as batches of a log, and as what a producer sent: views, checksums, stamps, and batches that are written anew.

#![no_main]

use protocol::records::batch::{self, BatchView, batches, stamp};
use protocol::records::compression::{Codec, Decompressor};
use protocol::records::produced::{Rules, accept, only_batch};

const CAP_BYTES: usize = 1 << 20;
const RULES: Rules = Rules {
    log_append_time: false,
    compacted: false,
    message_bytes_max: CAP_BYTES,
    timestamp_before_max_ms: i64::MAX,
    timestamp_after_max_ms: i64::MAX,
    codec: Some(Codec::Lz4),
    level: None,
    unpacked_bytes_max: CAP_BYTES,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for view in batches(bytes) {
        let Ok(view) = view else { break };
        let mut copy = view.bytes().to_vec();
        let resealed = stamp(&mut copy, 1 << 40, 3, Some(7));
        let stamped = BatchView::parse(&copy).expect("a stamped batch is a batch");
        assert_eq!(stamped.verify_crc().is_ok(), resealed || view.verify_crc().is_ok());
    }
    let Ok(view) = only_batch(bytes, 9) else { return };
    let mut sent = view.bytes().to_vec();
    // No search finds a checksum.
    let crc = batch::crc(&sent);
    sent[17..21].copy_from_slice(&crc.to_be_bytes());
    let view = BatchView::parse(&sent).expect("only the checksum changed");
    let mut decompressor = Decompressor::new();
    let Ok(accepted) = accept(view, &RULES, 0, &mut decompressor) else { return };
    let accepted = BatchView::parse(&accepted).expect("what is accepted is a batch");
    accepted.verify_crc().expect("and has its checksum");
    let records = accepted.records(&mut decompressor, CAP_BYTES).expect("and unpacks");
    assert!(records.zip(0..).all(|(record, index)| record.expect("and reads").offset_delta == index));
});
