//! Batches that nobody meant well. Nothing panics, and nothing takes more memory than the caller's limit lets it.

#![allow(clippy::unwrap_used)]

#[path = "hot_path/account.rs"]
mod account;
#[path = "every_message/mutations.rs"]
mod mutations;
#[path = "batches/rows.rs"]
mod rows;

use account::cost_of;
use mutations::{Dice, mutate};
use protocol::records::batch::{self, BatchHeader, BatchView, batches, stamp};
use protocol::records::builder::BatchBuilder;
use protocol::records::compression::{Codec, DecompressError, Decompressor, compress, decompress};
use protocol::records::control::ControlRecord;
use protocol::records::produced::{Rules, accept, only_batch};

const MUTATIONS: usize = 100_000;
const SEED: u64 = 20_261_121;
const CAP_BYTES: usize = 256 * 1024;
/// What a codec needs for itself: the state of inflate is the largest.
const STATE_BYTES: usize = 256 * 1024;

/// Uncompressed bytes twice while a buffer grows, once more in a batch that is written anew, and what came in.
fn bound(input: &[u8]) -> usize {
    STATE_BYTES + 3 * CAP_BYTES + 4 * input.len()
}

#[derive(Default)]
struct Reached {
    parsed: usize,
    walked: usize,
    accepted: usize,
}

#[test]
fn no_mutation_of_a_batch_panics_or_takes_more_memory_than_it_may() {
    let rows: Vec<rows::Row> =
        rows::batches().into_iter().filter(|row| row.bytes.len() < 10_000 && row.magic == 2).collect();
    let mut dice = Dice::new(SEED);
    let mut reached = Reached::default();
    for at in 0..MUTATIONS {
        let mut bytes = rows[at % rows.len()].bytes.clone();
        mutate(&mut bytes, &mut dice);
        // A damaged batch is refused by its checksum alone, unless its sender meant it.
        if dice.below(4) > 0 {
            reseal(&mut bytes, dice.below(2) == 0);
        }
        let ((), cost) = cost_of(|| look_at(&bytes, &mut reached));
        assert!(cost.peak <= bound(&bytes), "{} bytes for {bytes:02x?}", cost.peak);
    }
    assert!(reached.parsed > MUTATIONS / 3, "{} parsed: mutations no longer reach deep", reached.parsed);
    assert!(reached.walked > MUTATIONS / 10, "{} walked: mutations no longer reach deep", reached.walked);
    assert!(
        reached.accepted > MUTATIONS / 50,
        "{} accepted: mutations no longer reach deep",
        reached.accepted
    );
}

/// Makes length and checksum right again, and now and then the offset as well.
fn reseal(bytes: &mut [u8], with_offset: bool) {
    if bytes.len() < batch::HEADER_BYTES {
        return;
    }
    let length = (bytes.len() - batch::LENGTH_OVERHEAD_BYTES) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    if with_offset {
        bytes[..8].fill(0);
    }
    let crc = batch::crc(bytes);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// All that a broker does with a batch.
fn look_at(bytes: &[u8], reached: &mut Reached) {
    let mut decompressor = Decompressor::new();
    for view in batches(bytes) {
        let Ok(view) = view else { break };
        reached.parsed += 1;
        let _ = (
            view.verify_crc(),
            view.last_offset(),
            view.next_offset(),
            view.last_sequence(),
            format!("{view:?}"),
        );
        let Ok(records) = view.records(&mut decompressor, CAP_BYTES) else { continue };
        let mut whole = true;
        for record in records {
            let Ok(record) = record else {
                whole = false;
                break;
            };
            let _ = (view.offset_of(&record), view.timestamp_of(&record), record.headers().count());
            if view.is_control() {
                let _ = ControlRecord::decode(&record);
            }
        }
        reached.walked += usize::from(whole);
    }
    let rules = Rules {
        log_append_time: false,
        compacted: bytes.len().is_multiple_of(5),
        message_bytes_max: CAP_BYTES,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        codec: if bytes.len().is_multiple_of(3) { Some(Codec::Lz4) } else { None },
        level: None,
        unpacked_bytes_max: CAP_BYTES,
    };
    let Ok(view) = only_batch(bytes, 9) else { return };
    let Ok(accepted) = accept(view, &rules, 1_700_000_000_000, &mut decompressor) else { return };
    reached.accepted += 1;
    let mut stamped = accepted.into_owned();
    stamp(&mut stamped, 1 << 40, 3, Some(1));
    let view = BatchView::parse(&stamped).unwrap();
    view.verify_crc().unwrap();
    assert!(view.records(&mut decompressor, CAP_BYTES).unwrap().all(|record| record.is_ok()));
}

#[test]
fn no_mutation_of_compressed_bytes_panics_or_takes_more_memory_than_it_may() {
    let mut dice = Dice::new(SEED);
    let words: Vec<u8> = (0..3_000u32).flat_map(|i| format!("word {} ", i % 97).into_bytes()).collect();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut packed = Vec::new();
        compress(codec, None, &words, &mut packed);
        let mut decompressor = Decompressor::new();
        for _ in 0..4_000 {
            let mut bytes = packed.clone();
            mutate(&mut bytes, &mut dice);
            let (out, cost) = cost_of(|| decompressor.decompress(codec, &bytes, CAP_BYTES).map(<[u8]>::len));
            assert!(out.is_err() || out.is_ok_and(|len| len <= CAP_BYTES));
            assert!(cost.peak <= bound(&bytes), "{codec:?}: {} bytes", cost.peak);
        }
        for _ in 0..4_000 {
            let noise: Vec<u8> = (0..dice.below(200)).map(|_| dice.next() as u8).collect();
            // The part that codecs recognise themselves by, or pure noise.
            let kept = if dice.below(3) == 0 { 0 } else { dice.below(20) };
            let bytes = [&packed[..kept], &noise].concat();
            let (out, cost) = cost_of(|| decompressor.decompress(codec, &bytes, CAP_BYTES).map(<[u8]>::len));
            assert!(out.is_err() || out.is_ok_and(|len| len <= CAP_BYTES));
            assert!(cost.peak <= bound(&bytes), "{codec:?}: {} bytes", cost.peak);
        }
    }
}

#[test]
fn bombs_do_not_go_off() {
    const BOMB_BYTES: usize = 64 << 20;
    let cap_bytes = 1 << 20;
    let zeros = vec![0; BOMB_BYTES];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut bomb = Vec::new();
        compress(codec, None, &zeros, &mut bomb);
        let (out, cost) = cost_of(|| decompress(codec, &bomb, cap_bytes));
        assert_eq!(out, Err(DecompressError::TooLarge { cap_bytes }), "{codec:?}");
        let most = 2 * cap_bytes + STATE_BYTES;
        assert!(cost.peak <= most, "{codec:?}: {} bytes from {}", cost.peak, bomb.len());
    }
}

#[test]
fn bombs_in_a_batch_do_not_go_off_when_it_is_produced() {
    let rules = Rules {
        log_append_time: false,
        compacted: false,
        message_bytes_max: 1 << 20,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        codec: None,
        level: None,
        unpacked_bytes_max: 2 << 20,
    };
    let zeros = vec![0; 16 << 20];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut builder = BatchBuilder::new(BatchHeader { codec, ..BatchHeader::default() });
        builder.append(0, None, Some(&zeros), &[]).unwrap();
        let bomb = builder.build().unwrap();
        let mut decompressor = Decompressor::new();
        let (verdict, cost) =
            cost_of(|| accept(BatchView::parse(&bomb).unwrap(), &rules, 0, &mut decompressor).map(|_| ()));
        assert!(verdict.is_err(), "{codec:?}");
        assert!(cost.peak <= 4 * rules.unpacked_bytes_max, "{codec:?}: {} bytes", cost.peak);
    }
}

#[test]
fn announced_sizes_are_not_believed() {
    let cap_bytes = 100 << 20;
    // A zstd frame of one empty block that announces 2^56 bytes, and one that announces all that the cap allows.
    for size in [1u64 << 56, 100 << 20] {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
        frame.extend(size.to_le_bytes());
        frame.extend([1, 0, 0]);
        let (out, cost) = cost_of(|| decompress(Codec::Zstd, &frame, cap_bytes));
        assert!(out.is_err());
        assert!(cost.peak < 1 << 20, "{} bytes for an announcement of {size}", cost.peak);
    }
    // A bare snappy block that announces 90 MiB.
    let (out, cost) = cost_of(|| decompress(Codec::Snappy, &[0x80, 0x80, 0x80, 0x2d, 0], cap_bytes));
    assert_eq!(out, Err(DecompressError::Corrupt(Codec::Snappy)));
    assert_eq!(cost.peak, 0);
    // Two thousand million records, and two thousand million headers.
    let empty = BatchBuilder::new(BatchHeader::default()).build().unwrap();
    let mut many = [&empty[..], &[20, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f]].concat();
    many[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    reseal(&mut many, true);
    let mut decompressor = Decompressor::new();
    let ((), cost) = cost_of(|| {
        let view = BatchView::parse(&many).unwrap();
        assert!(view.records(&mut decompressor, cap_bytes).unwrap().next().unwrap().is_err());
    });
    assert_eq!(cost.peak, 0);
}
