//! Every change to the metadata, as Kafka writes it to `__cluster_metadata`.
//!
//! A record's value is a frame: the frame's own version, the kind of record, the record's version (all varints), then the
//! record.

use std::fmt;

use bytes::Bytes;
use protocol::messages::*;
use protocol::primitives::{DecodeError, EncodeError, Reader, Writer};

const FRAME_VERSION: u32 = 1;

/// One change. Kinds that only ZooKeeper's time knew are missing; so is "no change" in content, though it is a record.
#[derive(Clone, Debug, PartialEq)]
pub enum MetadataRecord {
    RegisterBroker(RegisterBrokerRecord),
    UnregisterBroker(UnregisterBrokerRecord),
    Topic(TopicRecord),
    Partition(PartitionRecord),
    Config(ConfigRecord),
    PartitionChange(PartitionChangeRecord),
    FenceBroker(FenceBrokerRecord),
    UnfenceBroker(UnfenceBrokerRecord),
    RemoveTopic(RemoveTopicRecord),
    DelegationToken(DelegationTokenRecord),
    UserScramCredential(UserScramCredentialRecord),
    FeatureLevel(FeatureLevelRecord),
    ClientQuota(ClientQuotaRecord),
    ProducerIds(ProducerIdsRecord),
    BrokerRegistrationChange(BrokerRegistrationChangeRecord),
    AccessControlEntry(AccessControlEntryRecord),
    RemoveAccessControlEntry(RemoveAccessControlEntryRecord),
    NoOp(NoOpRecord),
    ZkMigrationState(ZkMigrationStateRecord),
    RemoveUserScramCredential(RemoveUserScramCredentialRecord),
    BeginTransaction(BeginTransactionRecord),
    EndTransaction(EndTransactionRecord),
    AbortTransaction(AbortTransactionRecord),
    RemoveDelegationToken(RemoveDelegationTokenRecord),
    RegisterController(RegisterControllerRecord),
    ClearElr(ClearElrRecord),
}

/// Why bytes are not a metadata record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// A frame that a later Kafka writes.
    Frame(u32),
    /// A kind of record that this version does not know.
    Kind(u32),
    Message(DecodeError),
    /// Bytes after the record.
    Garbage(usize),
}

impl MetadataRecord {
    /// The frame with the record in it, as the value of a log record.
    pub fn to_bytes(&self) -> Bytes {
        let mut w = Writer::new();
        self.encode(&mut w).expect("each record is written in a version that can say it");
        w.into_bytes()
    }

    fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        match self {
            // Versions are those of metadata version 30 (4.3), the only one that is written.
            Self::RegisterBroker(it) => write(w, it, 4),
            Self::UnregisterBroker(it) => write(w, it, 0),
            Self::Topic(it) => write(w, it, 0),
            Self::Partition(it) => write(w, it, 2),
            Self::Config(it) => write(w, it, 0),
            Self::PartitionChange(it) => write(w, it, 2),
            Self::FenceBroker(it) => write(w, it, 0),
            Self::UnfenceBroker(it) => write(w, it, 0),
            Self::RemoveTopic(it) => write(w, it, 0),
            Self::DelegationToken(it) => write(w, it, 0),
            Self::UserScramCredential(it) => write(w, it, 0),
            Self::FeatureLevel(it) => write(w, it, 0),
            Self::ClientQuota(it) => write(w, it, 0),
            Self::ProducerIds(it) => write(w, it, 0),
            Self::BrokerRegistrationChange(it) => write(w, it, registration_change_version(it)),
            Self::AccessControlEntry(it) => write(w, it, 0),
            Self::RemoveAccessControlEntry(it) => write(w, it, 0),
            Self::NoOp(it) => write(w, it, 0),
            Self::ZkMigrationState(it) => write(w, it, 0),
            Self::RemoveUserScramCredential(it) => write(w, it, 0),
            Self::BeginTransaction(it) => write(w, it, 0),
            Self::EndTransaction(it) => write(w, it, 0),
            Self::AbortTransaction(it) => write(w, it, 0),
            Self::RemoveDelegationToken(it) => write(w, it, 0),
            Self::RegisterController(it) => write(w, it, 0),
            Self::ClearElr(it) => write(w, it, 0),
        }
    }

    /// Reads the value of a log record, in any version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut r = Reader::new(bytes);
        let frame = r.unsigned_varint()?;
        if frame != FRAME_VERSION {
            return Err(RecordError::Frame(frame));
        }
        let kind = r.unsigned_varint()?;
        let version = i16::try_from(r.unsigned_varint()?).map_err(|_| DecodeError::Version)?;
        let record = Self::decode(&mut r, kind, version)?;
        match r.remaining() {
            0 => Ok(record),
            left => Err(RecordError::Garbage(left)),
        }
    }

    fn decode(r: &mut Reader<'_>, kind: u32, version: i16) -> Result<Self, RecordError> {
        Ok(match kind {
            0 => Self::RegisterBroker(Message::decode(r, version)?),
            1 => Self::UnregisterBroker(Message::decode(r, version)?),
            2 => Self::Topic(Message::decode(r, version)?),
            3 => Self::Partition(Message::decode(r, version)?),
            4 => Self::Config(Message::decode(r, version)?),
            5 => Self::PartitionChange(Message::decode(r, version)?),
            7 => Self::FenceBroker(Message::decode(r, version)?),
            8 => Self::UnfenceBroker(Message::decode(r, version)?),
            9 => Self::RemoveTopic(Message::decode(r, version)?),
            10 => Self::DelegationToken(Message::decode(r, version)?),
            11 => Self::UserScramCredential(Message::decode(r, version)?),
            12 => Self::FeatureLevel(Message::decode(r, version)?),
            14 => Self::ClientQuota(Message::decode(r, version)?),
            15 => Self::ProducerIds(Message::decode(r, version)?),
            17 => Self::BrokerRegistrationChange(Message::decode(r, version)?),
            18 => Self::AccessControlEntry(Message::decode(r, version)?),
            19 => Self::RemoveAccessControlEntry(Message::decode(r, version)?),
            20 => Self::NoOp(Message::decode(r, version)?),
            21 => Self::ZkMigrationState(Message::decode(r, version)?),
            22 => Self::RemoveUserScramCredential(Message::decode(r, version)?),
            23 => Self::BeginTransaction(Message::decode(r, version)?),
            24 => Self::EndTransaction(Message::decode(r, version)?),
            25 => Self::AbortTransaction(Message::decode(r, version)?),
            26 => Self::RemoveDelegationToken(Message::decode(r, version)?),
            27 => Self::RegisterController(Message::decode(r, version)?),
            28 => Self::ClearElr(Message::decode(r, version)?),
            unknown => return Err(RecordError::Kind(unknown)),
        })
    }
}

fn write<M: Message>(w: &mut Writer, message: &M, version: i16) -> Result<(), EncodeError> {
    let kind = M::KEY.expect("metadata records have a key");
    w.unsigned_varint(FRAME_VERSION);
    w.unsigned_varint(kind.try_into().expect("keys are not negative"));
    w.unsigned_varint(version.try_into().expect("versions are not negative"));
    message.encode(w, version)
}

// Kafka: writes the first version that can say what is to be said.
fn registration_change_version(record: &BrokerRegistrationChangeRecord) -> i16 {
    if record.cordoned_log_dirs.is_some() {
        3
    } else if !record.log_dirs.is_empty() {
        2
    } else if record.in_controlled_shutdown != 0 {
        1
    } else {
        0
    }
}

impl From<DecodeError> for RecordError {
    fn from(error: DecodeError) -> Self {
        Self::Message(error)
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(version) => write!(f, "metadata frame of unknown version {version}"),
            Self::Kind(kind) => write!(f, "metadata record of unknown kind {kind}"),
            Self::Message(error) => error.fmt(f),
            Self::Garbage(bytes) => write!(f, "{bytes} bytes after the metadata record"),
        }
    }
}

impl std::error::Error for RecordError {}
