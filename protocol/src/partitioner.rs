//! Which partition a key or a coordinator's id belongs to. Clients and brokers of every maker must agree on it.

/// The hash of record keys: murmur2, 32 bits, with the seed that Kafka's clients use.
pub fn murmur2(bytes: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let mixed = u32::from_le_bytes(*word).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (mixed ^ mixed >> 24).wrapping_mul(M);
    }
    if !tail.is_empty() {
        let mut word = [0; 4];
        word[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u32::from_le_bytes(word)).wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    (hash ^ hash >> 15) as i32
}

/// Where a record with this key goes, of `partitions` partitions.
pub fn partition_of_key(key: &[u8], partitions: i32) -> i32 {
    assert!(partitions > 0, "a topic has partitions");
    (murmur2(key) & i32::MAX) % partitions
}

/// Which partition of an internal topic keeps a group or a transactional id: Java's hash of a string.
pub fn partition_of_coordinator(id: &str, partitions: i32) -> i32 {
    assert!(partitions > 0, "a topic has partitions");
    // Kafka: the one number without a positive counterpart counts as 0.
    java_hash(id).checked_abs().unwrap_or(0) % partitions
}

/// `String.hashCode`, over UTF-16.
pub fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Apache Kafka 4.3.1: text in hex, Java hash, coordinator partition of 50, murmur2, key partition of 1, 3, 12 and 1000.
    const HASHES: &str = include_str!("../tests/batches/hashes.tsv");

    #[test]
    fn hashes_are_javas() {
        let mut rows = 0;
        for line in HASHES.lines().skip(1) {
            let (hex, numbers) = line.split_once('\t').unwrap();
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            let key: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
            let text = std::str::from_utf8(&key).unwrap();
            let numbers: Vec<i32> = numbers.split('\t').map(|number| number.parse().unwrap()).collect();
            let ours = [
                java_hash(text),
                partition_of_coordinator(text, 50),
                murmur2(&key),
                partition_of_key(&key, 1),
                partition_of_key(&key, 3),
                partition_of_key(&key, 12),
                partition_of_key(&key, 1000),
            ];
            assert_eq!(numbers, ours, "{text}");
            rows += 1;
        }
        assert_eq!(rows, 35);
    }
}
