//! LZ4 frames as Kafka reads them: blocks that stand alone, a correct header checksum, no dictionary.

use lz4_flex::block::{
    CompressTable, DecompressError as BlockError, compress_into_with_table, decompress_into,
    get_maximum_output_size,
};

use super::{Codec, DecompressError};

const MAGIC: [u8; 4] = 0x184d_2204u32.to_le_bytes();
const VERSION: u8 = 0x40;
const VERSION_MASK: u8 = 0xc0;
const INDEPENDENT_BLOCKS: u8 = 0x20;
const BLOCK_CHECKSUMS: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const RESERVED: u8 = 0x03;
/// Blocks of at most 64 KiB, which is what Kafka's clients write.
const BLOCK_SIZE_64K: u8 = 4;
const BLOCK_BYTES: usize = 64 * 1024;
const NOT_COMPRESSED: u32 = 1 << 31;
/// One byte can lengthen a copy by 255, and a block begins with a token that says a little more.
const EXPANSION_MAX: usize = 255;
const EXPANSION_BASE: usize = 64;

const CORRUPT: DecompressError = DecompressError::Corrupt(Codec::Lz4);

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    let descriptor = [VERSION | INDEPENDENT_BLOCKS, BLOCK_SIZE_64K << 4];
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&descriptor);
    out.push(header_checksum(&descriptor));
    let mut table = CompressTable::default();
    for block in input.chunks(BLOCK_BYTES) {
        let size_at = out.len();
        let block_at = size_at + 4;
        out.resize(block_at + get_maximum_output_size(block.len()), 0);
        let packed = compress_into_with_table(block, &mut out[block_at..], &mut table)
            .expect("there is room for the worst case");
        out.truncate(block_at + packed);
        let mut size = packed as u32;
        if packed >= block.len() {
            out.truncate(block_at);
            out.extend_from_slice(block);
            size = block.len() as u32 | NOT_COMPRESSED;
        }
        out[size_at..block_at].copy_from_slice(&size.to_le_bytes());
    }
    out.extend_from_slice(&[0; 4]);
}

pub(super) fn decompress(input: &[u8], cap_bytes: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
    let (header, mut rest) = header(input).ok_or(CORRUPT)?;
    loop {
        let size = take_u32(&mut rest).ok_or(CORRUPT)?;
        if size == 0 {
            // Kafka: what follows the end mark, content checksum included, is not read.
            return Ok(());
        }
        let bytes = (size & !NOT_COMPRESSED) as usize;
        if bytes > header.block_bytes_max {
            return Err(CORRUPT);
        }
        let block;
        (block, rest) = rest.split_at_checked(bytes).ok_or(CORRUPT)?;
        if header.block_checksums && take_u32(&mut rest) != Some(xxh32(block)) {
            return Err(CORRUPT);
        }
        if size & NOT_COMPRESSED == 0 {
            packed_block(block, header.block_bytes_max, cap_bytes, out)?;
        } else if block.len() > cap_bytes - out.len() {
            return Err(DecompressError::TooLarge { cap_bytes });
        } else {
            out.extend_from_slice(block);
        }
    }
}

struct Header {
    block_bytes_max: usize,
    block_checksums: bool,
}

fn header(input: &[u8]) -> Option<(Header, &[u8])> {
    let rest = input.strip_prefix(&MAGIC)?;
    let &[flags, block_size, ..] = rest else { return None };
    let required = VERSION | INDEPENDENT_BLOCKS;
    if flags & (VERSION_MASK | INDEPENDENT_BLOCKS) != required
        || flags & RESERVED != 0
        || block_size & 0x8f != 0
    {
        return None;
    }
    let descriptor_bytes = if flags & CONTENT_SIZE != 0 { 10 } else { 2 };
    let (descriptor, rest) = rest.split_at_checked(descriptor_bytes)?;
    let (checksum, blocks) = rest.split_first()?;
    if *checksum != header_checksum(descriptor) || block_size >> 4 < BLOCK_SIZE_64K {
        return None;
    }
    let block_bytes_max = BLOCK_BYTES << (2 * ((block_size >> 4) - BLOCK_SIZE_64K));
    Some((Header { block_bytes_max, block_checksums: flags & BLOCK_CHECKSUMS != 0 }, blocks))
}

fn packed_block(
    block: &[u8],
    block_bytes_max: usize,
    cap_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    let at = out.len();
    let fills = block_bytes_max.min(block.len() * EXPANSION_MAX + EXPANSION_BASE);
    let room = fills.min(cap_bytes - at);
    out.resize(at + room, 0);
    match decompress_into(block, &mut out[at..]) {
        Ok(len) => {
            out.truncate(at + len);
            Ok(())
        }
        Err(BlockError::OutputTooSmall { .. }) if room < fills => {
            Err(DecompressError::TooLarge { cap_bytes })
        }
        Err(_) => Err(CORRUPT),
    }
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*number))
}

fn header_checksum(descriptor: &[u8]) -> u8 {
    (xxh32(descriptor) >> 8) as u8
}

/// xxHash, 32 bits, seed 0: the checksum of LZ4 frames.
fn xxh32(bytes: &[u8]) -> u32 {
    const P: [u32; 5] = [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d, 0x27d4_eb2f, 0x1656_67b1];
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    let stripes = bytes.chunks_exact(16);
    let tail = stripes.remainder();
    let mut hash = P[4];
    if bytes.len() >= 16 {
        let mut lanes = [P[0].wrapping_add(P[1]), P[1], 0, 0u32.wrapping_sub(P[0])];
        for stripe in stripes {
            for (lane, bytes) in lanes.iter_mut().zip(stripe.chunks_exact(4)) {
                *lane = lane.wrapping_add(word(bytes).wrapping_mul(P[1])).rotate_left(13).wrapping_mul(P[0]);
            }
        }
        let turns = [1, 7, 12, 18];
        hash = lanes.iter().zip(turns).fold(0, |sum, (lane, turn)| sum.wrapping_add(lane.rotate_left(turn)));
    }
    hash = hash.wrapping_add(bytes.len() as u32);
    let words = tail.chunks_exact(4);
    for byte_or_word in words.clone() {
        hash = hash.wrapping_add(word(byte_or_word).wrapping_mul(P[2])).rotate_left(17).wrapping_mul(P[3]);
    }
    for byte in words.remainder() {
        hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(P[4])).rotate_left(11).wrapping_mul(P[0]);
    }
    hash = (hash ^ hash >> 15).wrapping_mul(P[1]);
    hash = (hash ^ hash >> 13).wrapping_mul(P[2]);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

    use super::super::tests::sample;
    use super::*;

    fn unpack(input: &[u8]) -> Result<Vec<u8>, DecompressError> {
        super::super::decompress(Codec::Lz4, input, 8 << 20)
    }

    #[test]
    fn frames_of_another_encoder_are_read_and_ours_by_another_decoder() {
        let input = sample(1_000_000);
        for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
            for checksums in [false, true] {
                let info = FrameInfo::new().block_size(size).block_checksums(checksums);
                let info =
                    info.content_checksum(checksums).content_size(checksums.then_some(input.len() as u64));
                let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(&input).unwrap();
                let mut frame = encoder.finish().unwrap();
                assert!(unpack(&frame).as_deref() == Ok(&input), "{size:?} {checksums}");
                if checksums {
                    frame[1_000] ^= 1;
                    assert_eq!(unpack(&frame), Err(CORRUPT));
                }
            }
        }
        let mut ours = Vec::new();
        compress(&input, &mut ours);
        let mut out = Vec::new();
        FrameDecoder::new(&ours[..]).read_to_end(&mut out).unwrap();
        assert!(out == input);
        assert_eq!(
            ours[..7],
            [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82],
            "the header all Kafka clients write"
        );
    }

    // Kafka: blocks that lean on earlier ones cannot be read by its consumers, so its brokers refuse them.
    #[test]
    fn linked_blocks_are_refused() {
        let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Linked);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&sample(1_000)).unwrap();
        assert_eq!(unpack(&encoder.finish().unwrap()), Err(CORRUPT));
    }

    #[test]
    fn xxh32_gives_known_hashes() {
        assert_eq!(xxh32(b""), 0x02cc_5d05);
        assert_eq!(xxh32(b"a"), 0x550d_7456);
        assert_eq!(xxh32(b"abc"), 0x32d1_53ff);
        assert_eq!(xxh32(b"Nobody inspects the spammish repetition"), 0xe229_3b2f);
    }
}
