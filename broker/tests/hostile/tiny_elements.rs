//! Requests that are one array of equal, tiny elements: one or more for every API.

use protocol::api_key::ApiKey;
use protocol::frame::RequestHead;
use protocol::primitives::Writer;

/// Something that exists, to be asked for again and again.
pub(crate) const TOPIC: &str = "heavy";

/// A request that is one array of equal elements, with what stands before and after it.
pub(crate) struct Heavy {
    pub(crate) key: ApiKey,
    pub(crate) version: i16,
    pub(crate) name: &'static str,
    before: Vec<u8>,
    element: Vec<u8>,
    after: Vec<u8>,
    /// Compact array lengths: for tags, which are counted plainly, one more stands in `after`.
    flexible: bool,
}

impl Heavy {
    /// The whole frame without its length, of about so many bytes.
    pub(crate) fn frame(&self, bytes: usize) -> Vec<u8> {
        let mut w = Writer::with_capacity(bytes + 1024);
        let (key, version) = (self.key, self.version);
        RequestHead { key, version, correlation_id: 1, client_id: None }.encode(&mut w).expect("a header");
        w.raw(&self.before);
        let count = (bytes - w.len() - self.after.len() - 8) / self.element.len();
        w.array_len(Some(count), self.flexible).expect("a count that fits");
        w.raw(&self.element.repeat(count));
        w.raw(&self.after);
        w.into_vec()
    }
}

pub(crate) fn all() -> Vec<Heavy> {
    [metadata_and_configs(), produce_and_fetch(), topics(), offsets()].into_iter().flatten().collect()
}

fn heavy(
    key: ApiKey,
    version: i16,
    name: &'static str,
    before: &[u8],
    element: &[u8],
    after: &[u8],
) -> Heavy {
    Heavy {
        key,
        version,
        name,
        before: before.to_vec(),
        element: element.to_vec(),
        after: after.to_vec(),
        flexible: ApiKey::is_flexible(key, version),
    }
}

/// The topic's name with its length before it.
fn topic() -> Vec<u8> {
    [&[0, TOPIC.len() as u8], TOPIC.as_bytes()].concat()
}

fn compact_topic() -> Vec<u8> {
    [&[TOPIC.len() as u8 + 1], TOPIC.as_bytes()].concat()
}

fn metadata_and_configs() -> Vec<Heavy> {
    vec![
        heavy(ApiKey::Metadata, 1, "empty names", &[], &[0, 0], &[]),
        heavy(ApiKey::Metadata, 4, "one name again and again", &[], &topic(), &[1]),
        heavy(ApiKey::Metadata, 12, "ids of nothing", &[], &[0; 18], &[1, 0, 0]),
        heavy(
            ApiKey::DescribeConfigs,
            1,
            "one topic again and again",
            &[],
            &[&[2][..], &topic(), &[0xff; 4]].concat(),
            &[1],
        ),
        heavy(
            ApiKey::DescribeConfigs,
            1,
            "the broker again and again",
            &[],
            &[4, 0, 1, b'1', 0xff, 0xff, 0xff, 0xff],
            &[1],
        ),
        heavy(
            ApiKey::DescribeConfigs,
            1,
            "empty keys",
            &[&[0, 0, 0, 1, 2][..], &topic()].concat(),
            &[0, 0],
            &[0],
        ),
        heavy(ApiKey::DescribeTopicPartitions, 0, "empty names", &[], &[1, 0], &[0, 0, 7, 0xd0, 0xff, 0]),
        heavy(
            ApiKey::DescribeTopicPartitions,
            0,
            "one name again and again",
            &[],
            &[&compact_topic()[..], &[0]].concat(),
            &[0, 0, 7, 0xd0, 0xff, 0],
        ),
        heavy(ApiKey::ApiVersions, 3, "tags", &[2, b'a', 2, b'1'], &[7, 0], &[7, 0]),
        heavy(ApiKey::DescribeCluster, 1, "tags", &[0, 1], &[7, 0], &[7, 0]),
    ]
}

fn produce_and_fetch() -> Vec<Heavy> {
    vec![
        heavy(
            ApiKey::Produce,
            9,
            "topics without partitions",
            &[0, 0xff, 0xff, 0, 0, 0, 9],
            &[1, 1, 0],
            &[0],
        ),
        heavy(
            ApiKey::Produce,
            9,
            "partitions without records",
            &[&[0, 0xff, 0xff, 0, 0, 0, 9, 2][..], &compact_topic()].concat(),
            &[0, 0, 0, 1, 0, 0],
            &[0, 0],
        ),
        heavy(ApiKey::Fetch, 4, "topics without partitions", &fetch_start(), &[0; 6], &[]),
        heavy(
            ApiKey::Fetch,
            4,
            "one partition again and again",
            &[&fetch_start()[..], &[0, 0, 0, 1], &topic()].concat(),
            &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
            &[],
        ),
        heavy(
            ApiKey::Fetch,
            7,
            "forgotten topics",
            &[&fetch_start()[..], &[0; 8], &[0; 4]].concat(),
            &[0; 6],
            &[],
        ),
    ]
}

fn topics() -> Vec<Heavy> {
    vec![
        heavy(ApiKey::CreateTopics, 2, "empty names", &[], &[0; 16], &[0, 0, 0, 9, 0]),
        heavy(
            ApiKey::CreateTopics,
            2,
            "empty settings",
            &[0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 1, 0, 0, 0, 0],
            &[0, 0, 0xff, 0xff],
            &[0, 0, 0, 9, 0],
        ),
        heavy(
            ApiKey::CreateTopics,
            2,
            "assignments without replicas",
            &[0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0; 8],
            &[0, 0, 0, 0, 0, 0, 0, 9, 0],
        ),
        heavy(ApiKey::DeleteTopics, 1, "empty names", &[], &[0, 0], &[0, 0, 0, 9]),
        heavy(ApiKey::DeleteTopics, 6, "ids of nothing", &[], &[0; 18], &[0, 0, 0, 9, 0]),
        heavy(
            ApiKey::CreatePartitions,
            0,
            "empty names",
            &[],
            &[0, 0, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff],
            &[0, 0, 0, 9, 0],
        ),
    ]
}

fn offsets() -> Vec<Heavy> {
    vec![
        heavy(ApiKey::ListOffsets, 1, "topics without partitions", &[0xff; 4], &[0; 6], &[]),
        heavy(
            ApiKey::ListOffsets,
            1,
            "one partition again and again",
            &[&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1][..], &topic()].concat(),
            &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[],
        ),
        heavy(
            ApiKey::DeleteRecords,
            0,
            "one partition again and again",
            &[&[0, 0, 0, 1][..], &topic()].concat(),
            &[0; 12],
            &[0, 0, 0, 9],
        ),
        heavy(
            ApiKey::OffsetForLeaderEpoch,
            2,
            "one partition again and again",
            &[&[0, 0, 0, 1][..], &topic()].concat(),
            &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
            &[],
        ),
        heavy(ApiKey::InitProducerId, 2, "tags", &[0, 0, 0, 0, 1], &[7, 0], &[7, 0]),
    ]
}

/// Up to and with the isolation level; then the topics come.
fn fetch_start() -> [u8; 17] {
    let mut start = [0; 17];
    start[..4].fill(0xff);
    start[12..16].copy_from_slice(&(1i32 << 20).to_be_bytes());
    start
}
