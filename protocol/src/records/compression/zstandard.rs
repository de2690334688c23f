//! Zstandard frames. They are unpacked in one go into the output itself, so that no window is allocated beside it.

use zstd::zstd_safe::{self, DCtx, zstd_sys::ZSTD_ErrorCode};

use super::{Codec, DecompressError};

const DEFAULT_LEVEL: i32 = 3;
/// What a decoder that unpacks piece by piece allows unless told otherwise, those in Kafka's clients among them: 128 MiB.
const WINDOW_LOG_MAX: u8 = 27;
const MAGIC: [u8; 4] = 0xfd2f_b528u32.to_le_bytes();
const SINGLE_SEGMENT: u8 = 0x20;
/// What is allocated on the first try, for each byte of input and at least. Frames that need more are rare and get it on the next.
const FIRST_TRY_EXPANSION: usize = 8;
const FIRST_TRY_BYTES: usize = 16 * 1024;
const NEXT_TRY_EXPANSION: usize = 4;

const CORRUPT: DecompressError = DecompressError::Corrupt(Codec::Zstd);

pub(super) struct Context(DCtx<'static>);

impl Default for Context {
    fn default() -> Self {
        Self(DCtx::create())
    }
}

pub(super) fn compress(level: Option<i32>, input: &[u8], out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + zstd::compress_bound(input.len()), 0);
    let level = level.unwrap_or(DEFAULT_LEVEL);
    let packed = zstd::bulk::compress_to_buffer(input, &mut out[at..], level)
        .expect("there is room for the worst case, and any level is one");
    out.truncate(at + packed);
}

pub(super) fn decompress(
    context: &mut Context,
    input: &[u8],
    cap_bytes: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    check_frames(input)?;
    let first_try = input.len().saturating_mul(FIRST_TRY_EXPANSION).max(FIRST_TRY_BYTES);
    let mut room = first_try.max(out.capacity()).min(cap_bytes);
    loop {
        out.clear();
        out.reserve(room);
        match context.0.decompress(out, input) {
            // The buffer may have had more room than was asked for.
            Ok(_) if out.len() > cap_bytes => return Err(DecompressError::TooLarge { cap_bytes }),
            Ok(_) => return Ok(()),
            Err(code) if !is_too_small(code) => return Err(CORRUPT),
            Err(_) if room >= cap_bytes => return Err(DecompressError::TooLarge { cap_bytes }),
            Err(_) => room = room.saturating_mul(NEXT_TRY_EXPANSION).min(cap_bytes),
        }
    }
}

fn is_too_small(code: zstd_safe::ErrorCode) -> bool {
    code.wrapping_neg() == ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as usize
}

/// Walks the frames without unpacking them: all must be whole, and readable with an ordinary window.
fn check_frames(mut input: &[u8]) -> Result<(), DecompressError> {
    if input.is_empty() {
        return Err(CORRUPT);
    }
    while !input.is_empty() {
        if let Some([descriptor, window, ..]) = input.strip_prefix(&MAGIC) {
            let window_log = 10 + (window >> 3) + u8::from(window & 7 != 0);
            if descriptor & SINGLE_SEGMENT == 0 && window_log > WINDOW_LOG_MAX {
                return Err(DecompressError::WindowTooLarge);
            }
        }
        let bytes = zstd_safe::find_frame_compressed_size(input).map_err(|_| CORRUPT)?;
        input = input.get(bytes.max(1)..).ok_or(CORRUPT)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::tests::sample;
    use super::*;

    fn unpack(input: &[u8]) -> Result<Vec<u8>, DecompressError> {
        super::super::decompress(Codec::Zstd, input, 8 << 20)
    }

    fn stream(level: i32, window_log: Option<u32>, input: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level).unwrap();
        if let Some(log) = window_log {
            encoder.window_log(log).unwrap();
        }
        encoder.write_all(input).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn streams_without_a_size_and_joined_frames_are_read() {
        let input = sample(700_000);
        let frame = stream(3, None, &input);
        assert!(unpack(&frame).as_deref() == Ok(&input));
        let both = [frame, stream(1, None, b"tail")].concat();
        assert!(unpack(&both).as_deref() == Ok(&[&input[..], b"tail"].concat()));
        let zeros = vec![0; 5_000_000];
        assert!(unpack(&stream(3, None, &zeros)).as_deref() == Ok(&zeros), "several tries");
    }

    #[test]
    fn a_window_beyond_that_of_readers_is_refused() {
        assert!(unpack(&stream(1, Some(27), &sample(1_000))).is_ok());
        assert_eq!(unpack(&stream(1, Some(28), &sample(1_000))), Err(DecompressError::WindowTooLarge));
    }
}
