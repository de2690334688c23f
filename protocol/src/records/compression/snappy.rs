//! Snappy as Kafka's Java clients write it: a stream header, then blocks with their sizes. Other clients send one bare block, and
//! both are read.

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::{Codec, DecompressError};

/// Magic, version 1, readable by version 1.
const HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const MAGIC_BYTES: usize = 8;
const BLOCK_BYTES: usize = 32 * 1024;
/// Three bytes of input can say "copy 64 bytes", and nothing says more.
const EXPANSION_MAX: usize = 22;

const CORRUPT: DecompressError = DecompressError::Corrupt(Codec::Snappy);

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&HEADER);
    let mut encoder = Encoder::new();
    for block in input.chunks(BLOCK_BYTES) {
        let size_at = out.len();
        let block_at = size_at + 4;
        out.resize(block_at + max_compress_len(block.len()), 0);
        let size = encoder.compress(block, &mut out[block_at..]).expect("there is room for the worst case");
        out[size_at..block_at].copy_from_slice(&(size as u32).to_be_bytes());
        out.truncate(block_at + size);
    }
}

pub(super) fn decompress(input: &[u8], cap_bytes: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
    let Some(mut rest) = after_header(input) else { return block(input, cap_bytes, out) };
    while !rest.is_empty() {
        // A stream may be several streams, one after the other.
        if let Some(next) = after_header(rest) {
            rest = next;
            continue;
        }
        let (size, blocks) = rest.split_first_chunk().ok_or(CORRUPT)?;
        let (bytes, after) = blocks.split_at_checked(u32::from_be_bytes(*size) as usize).ok_or(CORRUPT)?;
        block(bytes, cap_bytes, out)?;
        rest = after;
    }
    Ok(())
}

fn after_header(bytes: &[u8]) -> Option<&[u8]> {
    bytes.starts_with(&HEADER[..MAGIC_BYTES]).then(|| bytes.get(HEADER.len()..)).flatten()
}

fn block(bytes: &[u8], cap_bytes: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
    let len = decompress_len(bytes).map_err(|_| CORRUPT)?;
    if len > bytes.len().saturating_mul(EXPANSION_MAX) {
        return Err(CORRUPT);
    }
    if len > cap_bytes - out.len() {
        return Err(DecompressError::TooLarge { cap_bytes });
    }
    let at = out.len();
    out.resize(at + len, 0);
    Decoder::new().decompress(bytes, &mut out[at..]).map(drop).map_err(|_| CORRUPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(input: &[u8]) -> Result<Vec<u8>, DecompressError> {
        super::super::decompress(Codec::Snappy, input, 1 << 20)
    }

    #[test]
    fn a_bare_block_and_joined_streams_are_read() {
        let bare = Encoder::new().compress_vec(b"hello hello hello hello").unwrap();
        assert_eq!(unpack(&bare).unwrap(), b"hello hello hello hello");
        let mut stream = Vec::new();
        compress(b"one ", &mut stream);
        compress(b"two", &mut stream);
        assert_eq!(unpack(&stream).unwrap(), b"one two");
        assert_eq!(unpack(&HEADER).unwrap(), b"");
    }

    #[test]
    fn a_length_that_the_input_cannot_fill_is_not_believed() {
        // "4294967295 bytes come out", and one byte that could make them.
        assert_eq!(unpack(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]), Err(CORRUPT));
        assert_eq!(unpack(&[]), Err(CORRUPT));
        assert_eq!(unpack(&[&HEADER[..], &[0xff; 4]].concat()), Err(CORRUPT));
    }
}
