//! CRC-32C, the checksum of every record batch. One function, so that the crate behind it can change in one place.

/// CRC-32C (Castagnoli) of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn agrees_with_another_implementation() {
        assert_eq!(super::crc32c(b"123456789"), 0xe306_9283);
        let bytes: Vec<u8> = (0..70_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        // Every short length at every alignment: the fast paths differ by both.
        for start in 0..17 {
            for len in 0..600 {
                let part = &bytes[start..start + len];
                assert_eq!(super::crc32c(part), crc32c::crc32c(part), "{len} bytes from {start}");
            }
        }
        for len in [1_023, 1_024, 4_096, 16_383, 65_536, 69_999] {
            assert_eq!(super::crc32c(&bytes[1..len]), crc32c::crc32c(&bytes[1..len]), "{len} bytes");
        }
    }
}
