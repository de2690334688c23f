//! The newest offset of each key, in memory of a fixed size.
//!
//! A key stands here as 128 bits of its SipHash, which nobody can aim at who does not know the secret of this run. Two
//! of the five million keys that fit into 100 MiB then agree with a chance of one in 10^25.

/// Offsets by key. 20 bytes a key.
pub(crate) struct KeyOffsets {
    secret: [u64; 2],
    /// What a slot's offset counts from.
    base_offset: i64,
    /// A hash in four parts, and the offset, counted from 1; 0: empty.
    slots: Vec<[u32; 5]>,
    len: usize,
    len_max: usize,
    /// Everything below was offered, and taken in if it had a key.
    next_offset: i64,
}

/// One more key has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl KeyOffsets {
    /// For keys of the offsets from `base_offset` to `end`, in at most so many bytes, filled up to this share.
    pub(crate) fn new(secret: [u64; 2], base_offset: i64, end: i64, bytes_max: usize, load: f64) -> Self {
        let load = if load > 0.0 { load.min(LOAD_MAX) } else { LOAD_MAX };
        let wanted = usize::try_from(end.saturating_sub(base_offset)).unwrap_or(usize::MAX);
        let room = (bytes_max / SLOT_BYTES).max(SLOTS_MIN);
        let slots =
            if (wanted as f64) < room as f64 * load { (wanted as f64 / load) as usize + 2 } else { room };
        let len_max = ((slots as f64 * load) as usize).clamp(1, slots - 1);
        Self { secret, base_offset, slots: vec![[0; 5]; slots], len: 0, len_max, next_offset: base_offset }
    }

    /// A record with this key is in the log at `offset`, which is above all others so far.
    pub(crate) fn put(&mut self, key: &[u8], offset: i64) -> Result<(), Full> {
        let relative = offset - self.base_offset;
        let mark = u32::try_from(relative + 1).map_err(|_| Full)?;
        let hash = self.hash(key);
        let at = self.find(hash);
        if self.slots[at][4] == 0 {
            if self.len == self.len_max {
                return Err(Full);
            }
            self.len += 1;
        }
        self.slots[at] = [hash[0], hash[1], hash[2], hash[3], mark];
        self.next_offset = offset + 1;
        Ok(())
    }

    /// Everything below was offered.
    pub(crate) fn reached(&mut self, next_offset: i64) {
        self.next_offset = self.next_offset.max(next_offset);
    }

    /// The newest offset of a key, if any was put.
    pub(crate) fn get(&self, key: &[u8]) -> Option<i64> {
        let mark = self.slots[self.find(self.hash(key))][4];
        (mark > 0).then(|| self.base_offset + i64::from(mark) - 1)
    }

    /// Beyond it nothing is known of any key.
    pub(crate) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// The slot that holds this hash, or would.
    fn find(&self, hash: [u32; 4]) -> usize {
        let count = self.slots.len();
        let first = u64::from(hash[0]) << 32 | u64::from(hash[1]);
        let mut at = ((u128::from(first) * count as u128) >> 64) as usize;
        // Invariant: some slot is empty, so this ends.
        while self.slots[at][4] != 0 && self.slots[at][..4] != hash {
            at = if at + 1 == count { 0 } else { at + 1 };
        }
        at
    }

    fn hash(&self, key: &[u8]) -> [u32; 4] {
        let [first, second] = siphash(self.secret, key);
        [(first >> 32) as u32, first as u32, (second >> 32) as u32, second as u32]
    }
}

/// SipHash-2-4 with 128 bits, as its authors define it.
fn siphash(secret: [u64; 2], bytes: &[u8]) -> [u64; 2] {
    let mut state = [
        secret[0] ^ 0x736f_6d65_7073_6575,
        secret[1] ^ 0x646f_7261_6e64_6f6d ^ 0xee,
        secret[0] ^ 0x6c79_6765_6e65_7261,
        secret[1] ^ 0x7465_6462_7974_6573,
    ];
    let mut mix = |word: u64| {
        state[3] ^= word;
        rounds::<2>(&mut state);
        state[0] ^= word;
    };
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().for_each(|word| mix(u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(u64::from_le_bytes(last) | (bytes.len() as u64) << 56);
    state[2] ^= 0xee;
    rounds::<4>(&mut state);
    let first = state.iter().fold(0, |all, word| all ^ word);
    state[1] ^= 0xdd;
    rounds::<4>(&mut state);
    [first, state.iter().fold(0, |all, word| all ^ word)]
}

fn rounds<const COUNT: usize>([a, b, c, d]: &mut [u64; 4]) {
    for _ in 0..COUNT {
        *a = a.wrapping_add(*b);
        *b = b.rotate_left(13) ^ *a;
        *a = a.rotate_left(32);
        *c = c.wrapping_add(*d);
        *d = d.rotate_left(16) ^ *c;
        *a = a.wrapping_add(*d);
        *d = d.rotate_left(21) ^ *a;
        *c = c.wrapping_add(*b);
        *b = b.rotate_left(17) ^ *c;
        *c = c.rotate_left(32);
    }
}

const SLOT_BYTES: usize = size_of::<[u32; 5]>();
/// However little memory there is, a pass gets on.
const SLOTS_MIN: usize = 64;
/// Fuller, and searches become long.
const LOAD_MAX: f64 = 0.95;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_the_published_one() {
        let secret = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let hash = siphash(secret, b"").map(u64::to_le_bytes).concat();
        let published =
            [0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93];
        assert_eq!(hash, published);
        let hash = siphash(secret, &[0]).map(u64::to_le_bytes).concat();
        let published =
            [0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45];
        assert_eq!(hash, published);
    }

    #[test]
    fn newest_offset_counts_for_each_of_many_keys() {
        let mut keys = KeyOffsets::new([1, 2], 1000, 200_000, usize::MAX, 0.9);
        for offset in 1000..150_000_i64 {
            keys.put(&(offset % 40_000).to_be_bytes(), offset).unwrap();
        }
        for key in 0..40_000_i64 {
            let newest = (0..4).map(|round| key + round * 40_000).filter(|offset| *offset < 150_000).max();
            assert_eq!(keys.get(&key.to_be_bytes()), newest);
        }
        assert_eq!(keys.get(b"other"), None);
        assert_eq!(keys.next_offset(), 150_000);
    }

    #[test]
    fn memory_is_what_is_needed_and_never_more_than_allowed() {
        let slots = |end, bytes| KeyOffsets::new([1, 2], 0, end, bytes, 0.9).slots.len();
        assert_eq!(slots(900, usize::MAX), 1002);
        assert_eq!(slots(i64::MAX, 20_000), 1000);
        assert_eq!(slots(i64::MAX, 0), SLOTS_MIN);
        assert_eq!(slots(0, 20_000), 2);
    }

    #[test]
    fn full_map_takes_known_keys_and_says_how_far_it_came() {
        let mut keys = KeyOffsets::new([1, 2], 0, i64::MAX, 2000, 0.9);
        let mut offset = 0_i64;
        while keys.put(&offset.to_be_bytes(), offset).is_ok() {
            offset += 1;
        }
        assert_eq!((offset, keys.next_offset()), (90, 90));
        keys.put(&5_i64.to_be_bytes(), 200).unwrap();
        assert_eq!(keys.get(&5_i64.to_be_bytes()), Some(200));
        assert_eq!(keys.put(b"far", 1 << 40), Err(Full));
    }
}
