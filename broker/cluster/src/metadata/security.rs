//! Who may do what, who is who, and how much of it. Kept as it was written: nothing asks for it yet.

use std::collections::BTreeMap;

use protocol::ids::Uuid;
use protocol::messages::client_quota_record::EntityData;
use protocol::messages::{
    AccessControlEntryRecord, ClientQuotaRecord, DelegationTokenRecord, UserScramCredentialRecord,
};

use super::record::MetadataRecord;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Security {
    pub acls: BTreeMap<Uuid, AccessControlEntryRecord>,
    /// By user and mechanism.
    pub scram: BTreeMap<(String, i8), UserScramCredentialRecord>,
    /// By token id.
    pub tokens: BTreeMap<String, DelegationTokenRecord>,
    /// By whom they hold for, then by what they limit.
    pub quotas: BTreeMap<QuotaEntity, BTreeMap<String, f64>>,
}

/// Pairs such as user and name; no name stands for everybody else.
pub type QuotaEntity = Vec<(String, Option<String>)>;

impl Security {
    /// What was to be removed must be there.
    pub(super) fn change(&mut self, record: &MetadataRecord) -> Result<(), String> {
        use MetadataRecord as R;
        let gone = |found: bool| if found { Ok(()) } else { Err(format!("nothing to remove: {record:?}")) };
        match record {
            R::AccessControlEntry(it) => {
                self.acls.insert(it.id, it.clone());
                Ok(())
            }
            R::RemoveAccessControlEntry(it) => gone(self.acls.remove(&it.id).is_some()),
            R::UserScramCredential(it) => {
                self.scram.insert((it.name.clone(), it.mechanism), it.clone());
                Ok(())
            }
            R::RemoveUserScramCredential(it) => {
                gone(self.scram.remove(&(it.name.clone(), it.mechanism)).is_some())
            }
            R::DelegationToken(it) => {
                self.tokens.insert(it.token_id.clone(), it.clone());
                Ok(())
            }
            R::RemoveDelegationToken(it) => gone(self.tokens.remove(&it.token_id).is_some()),
            R::ClientQuota(it) => {
                self.change_quota(it);
                Ok(())
            }
            other => Err(format!("not about security: {other:?}")),
        }
    }

    // Kafka: removing a quota that is not set is fine.
    fn change_quota(&mut self, record: &ClientQuotaRecord) {
        let mut entity: QuotaEntity =
            record.entity.iter().map(|it| (it.entity_type.clone(), it.entity_name.clone())).collect();
        entity.sort();
        if !record.remove {
            self.quotas.entry(entity).or_default().insert(record.key.clone(), record.value);
            return;
        }
        if let Some(limits) = self.quotas.get_mut(&entity) {
            limits.remove(&record.key);
            if limits.is_empty() {
                self.quotas.remove(&entity);
            }
        }
    }

    pub(super) fn quota_records(&self, into: &mut Vec<MetadataRecord>) {
        for (entity, limits) in &self.quotas {
            for (key, &value) in limits {
                let pair = |(kind, name): &(String, Option<String>)| EntityData {
                    entity_type: kind.clone(),
                    entity_name: name.clone(),
                };
                into.push(MetadataRecord::ClientQuota(ClientQuotaRecord {
                    entity: entity.iter().map(pair).collect(),
                    key: key.clone(),
                    value,
                    remove: false,
                }));
            }
        }
    }

    pub(super) fn other_records(&self, into: &mut Vec<MetadataRecord>) {
        into.extend(self.acls.values().cloned().map(MetadataRecord::AccessControlEntry));
        into.extend(self.scram.values().cloned().map(MetadataRecord::UserScramCredential));
        into.extend(self.tokens.values().cloned().map(MetadataRecord::DelegationToken));
    }
}
