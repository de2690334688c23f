//! What is produced, as values to compare.

/// By the names that clients configure them with.
pub(crate) const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// One record, apart from its offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) key: Option<Vec<u8>>,
    /// None: a tombstone.
    pub(crate) value: Option<Vec<u8>>,
    /// Sorted by name, each with a value: what every client can say.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) timestamp_ms: i64,
}

/// Records by partition, in order.
pub(crate) type ByPartition = Vec<Vec<Said>>;

const NOON_MS: i64 = 1_780_000_000_000;

/// Of every kind: with and without key, value and headers, empty and null, text and noise, small and not
/// so small.
pub(crate) fn varied(partitions: usize, each: usize) -> ByPartition {
    (0..partitions).map(|partition| (0..each).map(|at| one(partition, at)).collect()).collect()
}

fn one(partition: usize, at: usize) -> Said {
    let noise = |bytes: usize| -> Vec<u8> {
        let mut state = (partition as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(at as u64);
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..bytes).map(|_| next()).collect()
    };
    let key = match at % 4 {
        0 => None,
        1 => Some(Vec::new()),
        2 => Some(format!("key {at}").into_bytes()),
        _ => Some(noise(33)),
    };
    let value = match at % 5 {
        0 => None,
        1 => Some(Vec::new()),
        2 => Some(format!("value {at} of partition {partition}").into_bytes()),
        3 => Some(vec![b'a'; 3000]),
        _ => Some(noise(10 * at)),
    };
    let headers = match at % 3 {
        0 => Vec::new(),
        1 => vec![("trace".to_owned(), noise(16))],
        _ => vec![("a".to_owned(), Vec::new()), ("b".to_owned(), "ü".into()), ("c".to_owned(), noise(300))],
    };
    Said { key, value, headers, timestamp_ms: NOON_MS + 10 * at as i64 }
}

/// # Panics
/// With the first place where they differ, not with all that was said.
pub(crate) fn assert_same(found: &ByPartition, expected: &ByPartition) {
    assert_eq!(found.len(), expected.len(), "partitions");
    for (partition, (found, expected)) in found.iter().zip(expected).enumerate() {
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert_eq!(found, expected, "record {at} of partition {partition}");
        }
        assert_eq!(found.len(), expected.len(), "records of partition {partition}");
    }
}
