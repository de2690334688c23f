//! Any bytes as the records of a batch, by any codec. The first byte picks the codec, the second the count.

#![no_main]

use protocol::records::compression::{Codec, Decompressor};
use protocol::records::control::ControlRecord;
use protocol::records::record::records;

const CAP_BYTES: usize = 1 << 20;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let &[codec, count, ref packed @ ..] = bytes else { return };
    let Some(codec) = Codec::from_attributes(i16::from(codec & 7)) else { return };
    let mut decompressor = Decompressor::new();
    let Ok(unpacked) = decompressor.decompress(codec, packed, CAP_BYTES) else { return };
    for record in records(unpacked, i32::from(count)) {
        let Ok(record) = record else { break };
        let _ = record.headers().map(|header| header.key_text().len()).sum::<usize>();
        let _ = ControlRecord::decode(&record);
    }
});
