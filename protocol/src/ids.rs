//! Identifiers with a text form of their own.

use std::fmt;
use std::str::FromStr;

/// 16 bytes that name a topic, a directory, a cluster or a member. Written as Kafka writes them: base64, URL alphabet, no padding.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// "None" wherever a topic or directory may be unknown.
    pub const ZERO: Self = Self([0; 16]);
    /// The metadata topic's id; as a directory, the one that was lost.
    pub const ONE: Self = Self::from_u64_pair(0, 1);

    pub const fn from_u64_pair(high: u64, low: u64) -> Self {
        Self((((high as u128) << 64) | low as u128).to_be_bytes())
    }

    /// A version 4 UUID from 128 random bits. Never one of the reserved ids, and its text never starts with `-`,
    /// which tools would take for an option.
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        if bytes[0] >> 2 == 62 {
            bytes[0] &= 0x7f;
        }
        Self(bytes)
    }

    pub const fn is_zero(&self) -> bool {
        u128::from_be_bytes(self.0) == 0
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const TEXT_CHARS: usize = 22;

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        let mut text = [0u8; TEXT_CHARS];
        for (i, char) in text.iter_mut().enumerate() {
            // 21 groups of six bits from the top; the last two bits are padded with zeros on the right.
            let group = if i < 21 { bits >> (122 - 6 * i) } else { bits << 4 };
            *char = ALPHABET[(group & 63) as usize];
        }
        f.pad(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAUuid;

impl fmt::Display for NotAUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a UUID of 22 base64url characters")
    }
}

impl std::error::Error for NotAUuid {}

impl FromStr for Uuid {
    type Err = NotAUuid;

    // Kafka: padding is accepted, and so are any bits in the unused end of the last character.
    fn from_str(text: &str) -> Result<Self, NotAUuid> {
        let text = text.strip_suffix("==").unwrap_or(text).as_bytes();
        if text.len() != TEXT_CHARS {
            return Err(NotAUuid);
        }
        let mut bits: u128 = 0;
        for (i, char) in text.iter().enumerate() {
            let value = ALPHABET.iter().position(|c| c == char).ok_or(NotAUuid)? as u128;
            bits = if i < 21 { bits << 6 | value } else { bits << 2 | value >> 4 };
        }
        Ok(Self(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_kafkas() {
        let check = |uuid: Uuid, text: &str| {
            assert_eq!(uuid.to_string(), text);
            assert_eq!(text.parse(), Ok(uuid));
        };
        check(Uuid::ZERO, "AAAAAAAAAAAAAAAAAAAAAA");
        check(Uuid::ONE, "AAAAAAAAAAAAAAAAAAAAAQ");
        check(Uuid([0xff; 16]), "_____________________w");
        check(Uuid(*b"0123456789abcdef"), "MDEyMzQ1Njc4OWFiY2RlZg");
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ==".parse(), Ok(Uuid::ONE));
        for bad in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAA+", "AAAAAAAAAAAAAAAAAAAAAAA", "äAAAAAAAAAAAAAAAAAAAA"]
        {
            assert_eq!(bad.parse::<Uuid>(), Err(NotAUuid), "{bad}");
        }
    }

    #[test]
    fn random_uuid_is_version_4_and_never_looks_like_an_option() {
        for first in 0..=255 {
            let uuid = Uuid::from_random([first; 16]);
            assert!(!uuid.to_string().starts_with('-'));
            assert_eq!((uuid.0[6] >> 4, uuid.0[8] >> 6), (4, 2));
        }
    }
}
