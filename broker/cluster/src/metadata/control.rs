//! Control records of the metadata log: who leads it, which version of the quorum's own rules holds, who may vote.
//!
//! They are in the log for whoever reads it with Kafka's eyes; the image does not need them.

use bytes::Bytes;
use protocol::ids::Uuid;
use protocol::messages::voters_record::{self, KRaftVersionFeature};
use protocol::messages::{
    KRaftVersionRecord, LeaderChangeMessage, Message, SnapshotFooterRecord, SnapshotHeaderRecord,
    VotersRecord, leader_change_message,
};

use super::brokers::Endpoint;

/// The feature that says how the quorum itself works: 1 allows voters to come and go.
pub const KRAFT_VERSION: i16 = 1;

/// Key and value of a record in a control batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlRecord {
    pub key: Bytes,
    pub value: Bytes,
}

/// A member of the quorum.
#[derive(Clone, Debug, PartialEq)]
pub struct Voter {
    pub id: i32,
    pub directory_id: Uuid,
    pub endpoints: Vec<Endpoint>,
}

// Control record types, as Kafka numbers them.
const LEADER_CHANGE: i16 = 2;
const SNAPSHOT_HEADER: i16 = 3;
const SNAPSHOT_FOOTER: i16 = 4;
const KRAFT_VERSION_TYPE: i16 = 5;
const KRAFT_VOTERS: i16 = 6;

/// What a lone voter's log begins with, in one control batch.
pub fn head_of_log(voter: &Voter) -> Vec<ControlRecord> {
    vec![leader_change(voter.id), kraft_version(), voters(voter)]
}

/// What a lone voter writes each time it becomes leader, which is each time it starts.
pub fn leader_change(leader: i32) -> ControlRecord {
    // Kafka: version 0 even where voters have directories.
    let voter = leader_change_message::Voter { voter_id: leader, ..Default::default() };
    let message = LeaderChangeMessage {
        version: 0,
        leader_id: leader,
        voters: vec![voter.clone()],
        granting_voters: vec![voter],
    };
    control(LEADER_CHANGE, &message)
}

/// What a snapshot begins with, in one control batch.
pub fn head_of_snapshot(last_timestamp_ms: i64, voter: &Voter) -> Vec<ControlRecord> {
    let header = SnapshotHeaderRecord { version: 0, last_contained_log_timestamp: last_timestamp_ms };
    vec![control(SNAPSHOT_HEADER, &header), kraft_version(), voters(voter)]
}

/// What a snapshot ends with, in a control batch of its own.
pub fn foot_of_snapshot() -> ControlRecord {
    control(SNAPSHOT_FOOTER, &SnapshotFooterRecord { version: 0 })
}

fn kraft_version() -> ControlRecord {
    control(KRAFT_VERSION_TYPE, &KRaftVersionRecord { version: 0, kraft_version: KRAFT_VERSION })
}

fn voters(voter: &Voter) -> ControlRecord {
    let endpoint = |it: &Endpoint| voters_record::Endpoint {
        name: it.listener.clone(),
        host: it.host.clone(),
        port: it.port,
    };
    let range = KRaftVersionFeature { min_supported_version: 0, max_supported_version: KRAFT_VERSION };
    let voter = voters_record::Voter {
        voter_id: voter.id,
        voter_directory_id: voter.directory_id,
        endpoints: voter.endpoints.iter().map(endpoint).collect(),
        kraft_version_feature: range,
    };
    control(KRAFT_VOTERS, &VotersRecord { version: 0, voters: vec![voter] })
}

fn control<M: Message>(kind: i16, message: &M) -> ControlRecord {
    const KEY_VERSION: i16 = 0;
    let key = [KEY_VERSION.to_be_bytes(), kind.to_be_bytes()].concat();
    let value = message.to_bytes(0).expect("version 0 can say all of this");
    ControlRecord { key: key.into(), value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::brokers::SecurityProtocol;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn log_begins_as_kafkas_does() {
        let endpoint = Endpoint {
            listener: "CONTROLLER".into(),
            host: "127.0.0.1".into(),
            port: 9501,
            protocol: SecurityProtocol::Plaintext,
        };
        let directory_id = "IafTKGUCTOyelOMqok-1Pg".parse().unwrap();
        let voter = Voter { id: 1, directory_id, endpoints: vec![endpoint] };
        let head = head_of_log(&voter);
        let shown: Vec<String> =
            head.iter().map(|record| format!("{} {}", hex(&record.key), hex(&record.value))).collect();
        assert_eq!(
            shown,
            [
                "00000002 00000000000102000000010002000000010000",
                "00000005 0000000100",
                "00000006 0000020000000121a7d32865024cec9e94e32aa24fb53e020b434f4e54524f4c4c45520a3132372e302e302e31251d\
             0000000001000000",
            ]
        );
        let snapshot = head_of_snapshot(1_795_247_347_778, &voter);
        assert_eq!(snapshot.iter().map(|record| record.value.len()).collect::<Vec<_>>(), [11, 5, 55]);
        assert_eq!(snapshot[1..], head[1..]);
        assert_eq!(hex(&foot_of_snapshot().value), "000000");
    }
}
