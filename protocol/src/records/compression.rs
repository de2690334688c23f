//! The codecs of record batches. Packing is ours to choose, unpacking is of bytes nobody vouches for: it stops at a limit of the
//! caller's, and before a byte is allocated that the input could not fill.

mod lz4;
mod snappy;
mod zstandard;

use std::fmt;
use std::io::{Read, Write};

/// The number is the one in a batch's attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum Codec {
    #[default]
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl Codec {
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    pub const fn from_attributes(bits: i16) -> Option<Self> {
        match bits {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// As in `compression.type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecompressError {
    /// Not what the codec writes, or cut short.
    Corrupt(Codec),
    /// More than `cap_bytes` would come out.
    TooLarge { cap_bytes: usize },
    /// Readers would need a larger window than they allow themselves.
    WindowTooLarge,
}

impl fmt::Display for DecompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(codec) => write!(f, "these bytes are not {}", codec.name()),
            Self::TooLarge { cap_bytes } => write!(f, "more than {cap_bytes} bytes come out"),
            Self::WindowTooLarge => f.write_str("the window is larger than readers allow"),
        }
    }
}

impl std::error::Error for DecompressError {}

/// Appends `input`, packed, to `out`. `None` is Kafka's default level; it is -1 for gzip, 9 for lz4 and 3 for zstd there.
/// Levels of lz4 are accepted and make no difference: the encoder has only the fast one.
pub fn compress(codec: Codec, level: Option<i32>, input: &[u8], out: &mut Vec<u8>) {
    match codec {
        Codec::None => out.extend_from_slice(input),
        Codec::Gzip => gzip_compress(level, input, out),
        Codec::Snappy => snappy::compress(input, out),
        Codec::Lz4 => lz4::compress(input, out),
        Codec::Zstd => zstandard::compress(level, input, out),
    }
}

/// What came out, at most `cap_bytes` of it.
pub fn decompress(codec: Codec, input: &[u8], cap_bytes: usize) -> Result<Vec<u8>, DecompressError> {
    let mut decompressor = Decompressor::new();
    decompressor.fill(codec, input, cap_bytes)?;
    Ok(decompressor.out)
}

/// Unpacks one input after the other and keeps its memory. One per core is enough.
#[derive(Default)]
pub struct Decompressor {
    out: Vec<u8>,
    zstandard: Option<zstandard::Context>,
}

/// A larger output buffer is given back before the next input.
const OUT_BYTES_KEPT: usize = 4 * 1024 * 1024;
/// How much gzip is expected to unpack to before it is known, for each byte.
const GZIP_EXPANSION: usize = 4;

impl Decompressor {
    pub fn new() -> Self {
        Self::default()
    }

    /// What came out, at most `cap_bytes` of it. Uncompressed input is handed through, whatever its size.
    pub fn decompress<'d>(
        &'d mut self,
        codec: Codec,
        input: &'d [u8],
        cap_bytes: usize,
    ) -> Result<&'d [u8], DecompressError> {
        if codec == Codec::None {
            return Ok(input);
        }
        self.fill(codec, input, cap_bytes)?;
        Ok(&self.out)
    }

    fn fill(&mut self, codec: Codec, input: &[u8], cap_bytes: usize) -> Result<(), DecompressError> {
        self.out.clear();
        self.out.shrink_to(OUT_BYTES_KEPT);
        match codec {
            Codec::None if input.len() > cap_bytes => Err(DecompressError::TooLarge { cap_bytes }),
            Codec::None => {
                self.out.extend_from_slice(input);
                Ok(())
            }
            Codec::Gzip => gzip_decompress(input, cap_bytes, &mut self.out),
            Codec::Snappy => snappy::decompress(input, cap_bytes, &mut self.out),
            Codec::Lz4 => lz4::decompress(input, cap_bytes, &mut self.out),
            Codec::Zstd => {
                let context = self.zstandard.get_or_insert_default();
                zstandard::decompress(context, input, cap_bytes, &mut self.out)
            }
        }
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").field("capacity", &self.out.capacity()).finish_non_exhaustive()
    }
}

fn gzip_compress(level: Option<i32>, input: &[u8], out: &mut Vec<u8>) {
    let level = match level {
        Some(level @ 1..=9) => flate2::Compression::new(level as u32),
        _ => flate2::Compression::default(),
    };
    let mut encoder = flate2::write::GzEncoder::new(out, level);
    encoder.write_all(input).and_then(|()| encoder.try_finish()).expect("a vector takes all that is written");
}

fn gzip_decompress(input: &[u8], cap_bytes: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
    let mut decoder = flate2::bufread::MultiGzDecoder::new(input);
    let expected = input.len().saturating_mul(GZIP_EXPANSION).max(1);
    loop {
        // One byte more than allowed, to see whether there is one.
        let room = out.len().max(expected).min(cap_bytes.saturating_add(1) - out.len());
        out.reserve_exact(room);
        let read = decoder.by_ref().take(room as u64).read_to_end(out);
        let came = read.map_err(|_| DecompressError::Corrupt(Codec::Gzip))?;
        if out.len() > cap_bytes {
            return Err(DecompressError::TooLarge { cap_bytes });
        }
        if came < room {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half words, half noise.
    pub(super) fn sample(bytes: usize) -> Vec<u8> {
        let mut seed = 42u64;
        let mut out = Vec::new();
        while out.len() < bytes {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            out.extend_from_slice(if seed >> 63 == 0 { b"the same words " } else { &[0; 8] });
            out.extend_from_slice(&seed.to_be_bytes()[..4]);
        }
        out.truncate(bytes);
        out
    }

    #[test]
    fn what_goes_in_comes_out() {
        let mut decompressor = Decompressor::new();
        for codec in Codec::ALL {
            for size in [0, 1, 100, 32 * 1024, 32 * 1024 + 1, 64 * 1024, 64 * 1024 + 1, 1_000_000] {
                for level in [None, Some(1), Some(9)] {
                    let input = sample(size);
                    let mut packed = b"before".to_vec();
                    compress(codec, level, &input, &mut packed);
                    let packed = &packed[6..];
                    assert!(
                        decompressor.decompress(codec, packed, size) == Ok(&input),
                        "{codec:?} {size} {level:?}"
                    );
                    assert_eq!(decompress(codec, packed, size).as_deref(), Ok(&input[..]));
                    if size > 0 {
                        let cap_bytes = size - 1;
                        assert_eq!(
                            decompress(codec, packed, cap_bytes),
                            Err(DecompressError::TooLarge { cap_bytes })
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_cut_short_is_an_error_or_at_least_not_the_whole() {
        let input = sample(100_000);
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut packed = Vec::new();
            compress(codec, None, &input, &mut packed);
            for cut in [1, 2, 3, 5, 10, 100, packed.len() / 2, packed.len() - 1] {
                let out = decompress(codec, &packed[..packed.len() - cut], 1 << 20);
                assert!(out.is_err(), "{codec:?} without the last {cut} bytes");
            }
        }
    }

    #[test]
    fn names_and_numbers_are_kafkas() {
        for (i, codec) in Codec::ALL.into_iter().enumerate() {
            assert_eq!(Codec::from_attributes(i as i16), Some(codec));
            assert_eq!(Codec::from_name(codec.name()), Some(codec));
        }
        assert_eq!((Codec::from_attributes(5), Codec::from_attributes(7)), (None, None));
        assert_eq!(Codec::from_name("producer"), None);
    }
}
