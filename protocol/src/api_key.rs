//! Every API of Kafka 4.3: key, name, stable versions, where the compact encoding begins, and who answers it.

use std::fmt;

impl ApiKey {
    pub fn from_i16(key: i16) -> Option<Self> {
        // Ordered by key, with gaps where Kafka 4 removed APIs.
        TABLE.binary_search_by_key(&key, |row| row.key as i16).ok().map(|at| TABLE[at].key)
    }

    pub const fn as_i16(self) -> i16 {
        self as i16
    }

    /// Kafka's name for it, as in `Produce`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Oldest and newest stable version that Kafka 4.3 answers.
    pub fn versions(self) -> (i16, i16) {
        let row = self.row();
        (row.min, row.max)
    }

    pub fn supports(self, version: i16) -> bool {
        let (min, max) = self.versions();
        (min..=max).contains(&version)
    }

    /// What ApiVersions says.
    /// Kafka: Produce is advertised from 0, which old librdkafka needs to see, and 0-2 are refused all the same.
    pub fn advertised_versions(self) -> (i16, i16) {
        match self {
            Self::Produce => (0, self.row().max),
            _ => self.versions(),
        }
    }

    /// First version with compact lengths and tagged fields; `None` if no version has them.
    pub fn flexible_from(self) -> Option<i16> {
        self.row().flexible_from
    }

    pub fn is_flexible(self, version: i16) -> bool {
        self.flexible_from().is_some_and(|from| version >= from)
    }

    /// The RequestHeader version of a request, also for versions newer than ours: ApiVersions must be answered for those.
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// Kafka: a client that does not know our versions yet must be able to read the answer to ApiVersions, so it never gets
    /// a flexible header.
    pub fn response_header_version(self, version: i16) -> i16 {
        if self != Self::ApiVersions && self.is_flexible(version) { 1 } else { 0 }
    }

    pub fn is_for_broker(self) -> bool {
        matches!(self.row().listener, Listener::Broker | Listener::Both)
    }

    pub fn is_for_controller(self) -> bool {
        matches!(self.row().listener, Listener::Controller | Listener::Both)
    }

    /// Every API, ordered by key.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        TABLE.iter().map(|row| row.key)
    }

    fn row(self) -> &'static Row {
        let at = TABLE.binary_search_by_key(&(self as i16), |row| row.key as i16);
        &TABLE[at.expect("every key has a row")]
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[derive(Clone, Copy)]
enum Listener {
    Broker,
    Controller,
    Both,
}

struct Row {
    key: ApiKey,
    name: &'static str,
    min: i16,
    max: i16,
    flexible_from: Option<i16>,
    listener: Listener,
}

// One line gives both the variant and the row of the table.
macro_rules! api_keys {
    ($($name:ident = $key:literal, $min:literal - $max:literal, $flexible:expr, $listener:ident;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {
            $($name = $key,)*
        }

        const TABLE: &[Row] = &[$(Row {
            key: ApiKey::$name,
            name: stringify!($name),
            min: $min,
            max: $max,
            flexible_from: $flexible,
            listener: Listener::$listener,
        },)*];
    };
}

// Name = key, stable versions, flexible from, listener.
api_keys! {
    Produce = 0, 3 - 13, Some(9), Broker;
    Fetch = 1, 4 - 18, Some(12), Both;
    ListOffsets = 2, 1 - 11, Some(6), Broker;
    Metadata = 3, 0 - 13, Some(9), Broker;
    OffsetCommit = 8, 2 - 10, Some(8), Broker;
    OffsetFetch = 9, 1 - 10, Some(6), Broker;
    FindCoordinator = 10, 0 - 6, Some(3), Broker;
    JoinGroup = 11, 0 - 9, Some(6), Broker;
    Heartbeat = 12, 0 - 4, Some(4), Broker;
    LeaveGroup = 13, 0 - 5, Some(4), Broker;
    SyncGroup = 14, 0 - 5, Some(4), Broker;
    DescribeGroups = 15, 0 - 6, Some(5), Broker;
    ListGroups = 16, 0 - 5, Some(3), Broker;
    SaslHandshake = 17, 0 - 1, None, Both;
    ApiVersions = 18, 0 - 4, Some(3), Both;
    CreateTopics = 19, 2 - 7, Some(5), Both;
    DeleteTopics = 20, 1 - 6, Some(4), Both;
    DeleteRecords = 21, 0 - 2, Some(2), Broker;
    InitProducerId = 22, 0 - 5, Some(2), Broker;
    OffsetForLeaderEpoch = 23, 2 - 4, Some(4), Broker;
    AddPartitionsToTxn = 24, 0 - 5, Some(3), Broker;
    AddOffsetsToTxn = 25, 0 - 4, Some(3), Broker;
    EndTxn = 26, 0 - 5, Some(3), Broker;
    WriteTxnMarkers = 27, 1 - 2, Some(1), Broker;
    TxnOffsetCommit = 28, 0 - 5, Some(3), Broker;
    DescribeAcls = 29, 1 - 3, Some(2), Both;
    CreateAcls = 30, 1 - 3, Some(2), Both;
    DeleteAcls = 31, 1 - 3, Some(2), Both;
    DescribeConfigs = 32, 1 - 4, Some(4), Both;
    AlterConfigs = 33, 0 - 2, Some(2), Both;
    AlterReplicaLogDirs = 34, 1 - 2, Some(2), Broker;
    DescribeLogDirs = 35, 1 - 5, Some(2), Broker;
    SaslAuthenticate = 36, 0 - 2, Some(2), Both;
    CreatePartitions = 37, 0 - 3, Some(2), Both;
    CreateDelegationToken = 38, 1 - 3, Some(2), Both;
    RenewDelegationToken = 39, 1 - 2, Some(2), Both;
    ExpireDelegationToken = 40, 1 - 2, Some(2), Both;
    DescribeDelegationToken = 41, 1 - 3, Some(2), Both;
    DeleteGroups = 42, 0 - 2, Some(2), Broker;
    ElectLeaders = 43, 0 - 2, Some(2), Both;
    IncrementalAlterConfigs = 44, 0 - 1, Some(1), Both;
    AlterPartitionReassignments = 45, 0 - 1, Some(0), Both;
    ListPartitionReassignments = 46, 0 - 0, Some(0), Both;
    OffsetDelete = 47, 0 - 0, None, Broker;
    DescribeClientQuotas = 48, 0 - 1, Some(1), Broker;
    AlterClientQuotas = 49, 0 - 1, Some(1), Both;
    DescribeUserScramCredentials = 50, 0 - 0, Some(0), Both;
    AlterUserScramCredentials = 51, 0 - 0, Some(0), Both;
    Vote = 52, 0 - 2, Some(0), Controller;
    BeginQuorumEpoch = 53, 0 - 1, Some(1), Controller;
    EndQuorumEpoch = 54, 0 - 1, Some(1), Controller;
    DescribeQuorum = 55, 0 - 2, Some(0), Both;
    AlterPartition = 56, 2 - 3, Some(2), Controller;
    UpdateFeatures = 57, 0 - 2, Some(0), Both;
    Envelope = 58, 0 - 0, Some(0), Controller;
    FetchSnapshot = 59, 0 - 1, Some(0), Controller;
    DescribeCluster = 60, 0 - 2, Some(0), Both;
    DescribeProducers = 61, 0 - 0, Some(0), Broker;
    BrokerRegistration = 62, 0 - 4, Some(0), Controller;
    BrokerHeartbeat = 63, 0 - 2, Some(0), Controller;
    UnregisterBroker = 64, 0 - 0, Some(0), Both;
    DescribeTransactions = 65, 0 - 0, Some(0), Broker;
    ListTransactions = 66, 0 - 2, Some(0), Broker;
    AllocateProducerIds = 67, 0 - 0, Some(0), Controller;
    ConsumerGroupHeartbeat = 68, 0 - 1, Some(0), Broker;
    ConsumerGroupDescribe = 69, 0 - 1, Some(0), Broker;
    ControllerRegistration = 70, 0 - 0, Some(0), Controller;
    GetTelemetrySubscriptions = 71, 0 - 0, Some(0), Broker;
    PushTelemetry = 72, 0 - 0, Some(0), Broker;
    AssignReplicasToDirs = 73, 0 - 0, Some(0), Controller;
    ListConfigResources = 74, 0 - 1, Some(0), Broker;
    DescribeTopicPartitions = 75, 0 - 0, Some(0), Broker;
    ShareGroupHeartbeat = 76, 1 - 1, Some(1), Broker;
    ShareGroupDescribe = 77, 1 - 1, Some(1), Broker;
    ShareFetch = 78, 1 - 2, Some(1), Broker;
    ShareAcknowledge = 79, 1 - 2, Some(1), Broker;
    AddRaftVoter = 80, 0 - 1, Some(0), Both;
    RemoveRaftVoter = 81, 0 - 0, Some(0), Both;
    UpdateRaftVoter = 82, 0 - 0, Some(0), Controller;
    InitializeShareGroupState = 83, 0 - 0, Some(0), Broker;
    ReadShareGroupState = 84, 0 - 0, Some(0), Broker;
    WriteShareGroupState = 85, 0 - 1, Some(0), Broker;
    DeleteShareGroupState = 86, 0 - 0, Some(0), Broker;
    ReadShareGroupStateSummary = 87, 0 - 1, Some(0), Broker;
    StreamsGroupHeartbeat = 88, 0 - 0, Some(0), Broker;
    StreamsGroupDescribe = 89, 0 - 0, Some(0), Broker;
    DescribeShareGroupOffsets = 90, 0 - 1, Some(0), Broker;
    AlterShareGroupOffsets = 91, 0 - 0, Some(0), Broker;
    DeleteShareGroupOffsets = 92, 0 - 0, Some(0), Broker;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_key_and_gaps_are_not() {
        assert_eq!(ApiKey::all().len(), 89);
        assert!(TABLE.is_sorted_by_key(|row| row.key as i16));
        for key in ApiKey::all() {
            assert_eq!(ApiKey::from_i16(key.as_i16()), Some(key));
            assert_eq!(key.row().key, key);
        }
        for removed in [-1, 4, 5, 6, 7, 93, i16::MIN, i16::MAX] {
            assert_eq!(ApiKey::from_i16(removed), None);
        }
    }

    #[test]
    fn header_versions_follow_the_body_except_for_the_answer_to_api_versions() {
        let headers = |key: ApiKey, v| (key.request_header_version(v), key.response_header_version(v));
        assert_eq!(headers(ApiKey::Metadata, 8), (1, 0));
        assert_eq!(headers(ApiKey::Metadata, 9), (2, 1));
        assert_eq!(headers(ApiKey::ApiVersions, 2), (1, 0));
        assert_eq!(headers(ApiKey::ApiVersions, 4), (2, 0));
        assert_eq!(headers(ApiKey::ApiVersions, 99), (2, 0));
        assert_eq!(headers(ApiKey::SaslHandshake, 1), (1, 0));
    }

    #[test]
    fn produce_is_advertised_from_0_and_served_from_3() {
        assert_eq!(ApiKey::Produce.advertised_versions(), (0, 13));
        assert_eq!(ApiKey::Produce.versions(), (3, 13));
        assert!(!ApiKey::Produce.supports(2));
    }
}
