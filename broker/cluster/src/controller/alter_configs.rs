//! AlterConfigs and IncrementalAlterConfigs: settings of topics, groups and brokers change while all of them run.
//!
//! A resource's changes are made together or not at all, whatever becomes of other resources. What would have no effect
//! is refused: of a broker's settings only those change that [`live_settings`] names.

use std::collections::{BTreeMap, BTreeSet};

use protocol::error_code::ErrorCode;
use protocol::messages::{AlterConfigsRequest, ClearElrRecord, ConfigRecord, IncrementalAlterConfigsRequest};

use super::{Controller, RECORDS_MAX, Refused, TOO_MANY_RECORDS, invalid_topic_name};
use crate::machine::Decision;
use crate::metadata::features::ELIGIBLE_LEADER_REPLICAS;
use crate::metadata::{Layers, MetadataRecord, Overrides, ResourceKind};
use crate::setting::{Kind, Setting};
use crate::{group_settings, live_settings, topic_settings};

/// Resources to change, some of which may be refused. The reply has an outcome for each, in the same order.
#[derive(Clone, Debug)]
pub struct AlterConfigs {
    pub resources: Vec<Altered>,
    pub validate_only: bool,
}

#[derive(Clone, Debug)]
pub struct Altered {
    pub kind: i8,
    pub name: String,
    pub changes: Vec<Change>,
    /// What is not among the changes goes back to its default.
    pub replaces_all: bool,
}

#[derive(Clone, Debug)]
pub struct Change {
    pub name: String,
    /// As it came: see [`operation`].
    pub operation: i8,
    pub value: Option<String>,
}

/// What can be done to a setting, with Kafka's numbers.
pub mod operation {
    pub const SET: i8 = 0;
    pub const DELETE: i8 = 1;
    /// To a list.
    pub const APPEND: i8 = 2;
    /// From a list.
    pub const SUBTRACT: i8 = 3;
}

pub type Outcomes = Vec<Result<(), Refused>>;

/// A resource that there may be.
struct Target {
    kind: ResourceKind,
    name: String,
}

/// Kafka: no string of a record is longer.
const STRING_BYTES_MAX: usize = i16::MAX as usize;
/// What one request may add to the log. Kafka's largest batch of records.
const RECORD_BYTES_MAX: usize = 8 << 20;
const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

impl Controller {
    pub fn alter_configs(&self, command: &AlterConfigs) -> Decision<MetadataRecord, Outcomes> {
        let targets = self.targets(&command.resources);
        let (mut records, mut bytes) = (Vec::new(), 0);
        let mut outcomes = Outcomes::with_capacity(targets.len());
        for (resource, target) in command.resources.iter().zip(&targets) {
            let altered =
                target.as_ref().map_err(Clone::clone).and_then(|target| self.alter(resource, target));
            outcomes.push(altered.map(|changed| {
                bytes += changed.iter().map(record_bytes).sum::<usize>();
                records.extend(changed);
            }));
            if records.len() > RECORDS_MAX || bytes > RECORD_BYTES_MAX {
                return Decision::answer(too_many(targets));
            }
        }
        if command.validate_only {
            records.clear();
        }
        Decision { records, reply: outcomes }
    }

    /// What is to be changed, as far as that can be told without looking at what there is.
    fn targets(&self, resources: &[Altered]) -> Vec<Result<Target, Refused>> {
        let mut times = BTreeMap::<(i8, &str), usize>::new();
        for resource in resources {
            *times.entry((resource.kind, &resource.name)).or_default() += 1;
        }
        let target = |resource: &Altered| match times[&(resource.kind, resource.name.as_str())] {
            1 => self.target(resource),
            _ => Err(invalid_request("Each resource must appear at most once.")),
        };
        resources.iter().map(target).collect()
    }

    fn target(&self, resource: &Altered) -> Result<Target, Refused> {
        let mut names = BTreeSet::new();
        if !resource.changes.iter().all(|change| names.insert(change.name.as_str())) {
            return Err(invalid_request("Error due to duplicate config keys"));
        }
        let is_null = |change: &&Change| change.operation != operation::DELETE && change.value.is_none();
        let nulls: Vec<&str> =
            resource.changes.iter().filter(is_null).map(|change| change.name.as_str()).collect();
        if !nulls.is_empty() {
            return Err(invalid_request(format!("Null value not supported for : {}", nulls.join(","))));
        }
        let name = resource.name.clone();
        let kind = ResourceKind::from_code(resource.kind);
        match kind {
            Some(kind @ (ResourceKind::Topic | ResourceKind::Group)) => Ok(Target { kind, name }),
            Some(kind @ ResourceKind::Broker) => Ok(Target { kind, name: self.broker_name(&name)? }),
            Some(ResourceKind::BrokerLogger) => {
                Err(invalid_request("Log levels cannot be changed while the broker runs."))
            }
            Some(ResourceKind::ClientMetrics) => Err(invalid_request("Client metrics are not served.")),
            None => Err(invalid_request(format!("Unknown resource type {}", resource.kind))),
        }
    }

    /// The name a broker's settings are kept under, however its number was written; the empty one is all brokers'.
    fn broker_name(&self, name: &str) -> Result<String, Refused> {
        if name.is_empty() {
            return Ok(String::new());
        }
        match name.parse::<i32>() {
            Ok(id) if id == self.settings.node_id => Ok(id.to_string()),
            Ok(_) => {
                let id = self.settings.node_id;
                Err(invalid_request(format!("Unexpected broker id, expected {id}, but received {name}")))
            }
            Err(_) => Err(invalid_request(format!("Node id must be an integer, but it is: {name}"))),
        }
    }

    /// The records that one resource's changes take.
    fn alter(&self, resource: &Altered, target: &Target) -> Result<Vec<MetadataRecord>, Refused> {
        let none = Overrides::default();
        let before = self.image.configs.of(target.kind, &target.name).unwrap_or(&none);
        for change in &resource.changes {
            check_operation(target.kind, change)?;
        }
        check_resource_name(target)?;
        // Order: before anything is collected, so that only settings that there are take room.
        for change in resource.changes.iter().filter(|change| change.operation != operation::DELETE) {
            check_setting_name(target.kind, &change.name)?;
        }
        let mut after = before.clone();
        for change in &resource.changes {
            match new_value(target.kind, change, before)? {
                Some(value) => after.set(&change.name, &value),
                None => after.remove(&change.name),
            }
        }
        if resource.replaces_all {
            let named: BTreeSet<&str> = resource.changes.iter().map(|change| change.name.as_str()).collect();
            for (name, _) in before.iter().filter(|(name, _)| !named.contains(name)) {
                after.remove(name);
            }
        }
        match target.kind {
            ResourceKind::Topic => self.check_topic(&target.name, &after)?,
            ResourceKind::Group => self.check_group(&target.name, before, &after)?,
            _ => self.check_broker(&target.name, resource, before, &after)?,
        }
        Ok(self.records_between(target, before, &after))
    }

    fn check_topic(&self, name: &str, after: &Overrides) -> Result<(), Refused> {
        self.check_overrides(after)?;
        match self.image.topics.by_name(name) {
            Some(_) => Ok(()),
            None => {
                let message = format!("The topic '{name}' does not exist.");
                Err(Refused::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, message))
            }
        }
    }

    fn check_group(&self, name: &str, before: &Overrides, after: &Overrides) -> Result<(), Refused> {
        let layers = Layers {
            own: Some(after),
            ..self.image.group_layers(name, self.settings.node_id, &self.settings.statics)
        };
        group_settings::check(after, &layers).map_err(|invalid| invalid_config(invalid.0))?;
        let mut changed = after.iter().filter(|(name, text)| before.get(name) != Some(text));
        match changed.find_map(|(name, text)| group_settings::is_refused(name, text)) {
            Some(refused) => Err(invalid_config(refused.0)),
            None => Ok(()),
        }
    }

    fn check_broker(
        &self,
        name: &str,
        resource: &Altered,
        before: &Overrides,
        after: &Overrides,
    ) -> Result<(), Refused> {
        for (name, text) in after.iter().filter(|(name, text)| before.get(name) != Some(text)) {
            let setting = live_settings::find(name).expect("other settings are not set");
            setting.parse(text).map_err(|invalid| invalid_request(invalid.0))?;
            // Kafka: a topic may keep nothing, but that is no default.
            if name == "log.retention.ms" && text.trim() == "0" {
                return Err(invalid_request(format!(
                    "{name} must be unlimited (-1) or, greater than or equal to 1"
                )));
            }
        }
        self.check_live(name, after)?;
        if self.image.feature(ELIGIBLE_LEADER_REPLICAS) == 0 {
            return Ok(());
        }
        // Kafka: eligible leaders are told by a number that is the same everywhere.
        let touched = resource.changes.iter().any(|change| change.name == MIN_INSYNC_REPLICAS);
        if !name.is_empty() && touched {
            return Err(invalid_config(format!(
                "Broker-level {MIN_INSYNC_REPLICAS} cannot be altered while ELR is enabled."
            )));
        }
        let is_removed = before.get(MIN_INSYNC_REPLICAS).is_some() || touched;
        if name.is_empty() && is_removed && after.get(MIN_INSYNC_REPLICAS).is_none() {
            return Err(invalid_config(format!(
                "Cluster-level {MIN_INSYNC_REPLICAS} cannot be removed while ELR is enabled."
            )));
        }
        Ok(())
    }

    /// Kafka: what is judged is what would hold for this broker, whoever's settings change.
    fn check_live(&self, name: &str, after: &Overrides) -> Result<(), Refused> {
        let before = self.image.topic_layers("", self.settings.node_id, &self.settings.statics);
        let after = match name {
            "" => Layers { all_brokers: Some(after), ..before },
            _ => Layers { broker: Some(after), ..before },
        };
        live_settings::check(&before, &after).map_err(|invalid| invalid_request(invalid.0))
    }

    /// What leads from one set to the other; nothing for what stays as it is.
    fn records_between(&self, target: &Target, before: &Overrides, after: &Overrides) -> Vec<MetadataRecord> {
        let record = |name: &str, value: Option<&str>| {
            MetadataRecord::Config(ConfigRecord {
                resource_type: target.kind.code(),
                resource_name: target.name.clone(),
                name: name.to_owned(),
                value: value.map(str::to_owned),
            })
        };
        let changed = after.iter().filter(|(name, text)| before.get(name) != Some(text));
        let removed = before.iter().filter(|(name, _)| after.get(name).is_none());
        let mut records: Vec<MetadataRecord> = changed.map(|(name, text)| record(name, Some(text))).collect();
        records.extend(removed.map(|(name, _)| record(name, None)));
        let replicas_changed = before.get(MIN_INSYNC_REPLICAS) != after.get(MIN_INSYNC_REPLICAS);
        if replicas_changed && self.image.feature(ELIGIBLE_LEADER_REPLICAS) > 0 {
            // Without a name it is about every topic.
            let topic_name = match target.kind {
                ResourceKind::Topic => target.name.clone(),
                _ => String::new(),
            };
            records.push(MetadataRecord::ClearElr(ClearElrRecord { topic_name }));
        }
        records
    }
}

fn check_operation(kind: ResourceKind, change: &Change) -> Result<(), Refused> {
    let name = &change.name;
    let verb = match change.operation {
        operation::SET | operation::DELETE => return Ok(()),
        operation::APPEND => "APPEND",
        operation::SUBTRACT => "SUBTRACT",
        other => return Err(invalid_request(format!("Unknown operations type {other}"))),
    };
    match setting(kind, name) {
        Some(setting) if setting.kind == Kind::List => Ok(()),
        None if kind == ResourceKind::Broker => check_setting_name(kind, name),
        // Kafka: brokers say it in other words.
        Some(_) if kind == ResourceKind::Broker => {
            let verb = verb.to_lowercase();
            Err(invalid_config(format!("Config value {verb} is not allowed for config key: {name}")))
        }
        _ => Err(invalid_config(format!("Can't {verb} to key {name} because its type is not LIST."))),
    }
}

fn check_resource_name(target: &Target) -> Result<(), Refused> {
    let Target { kind, name } = target;
    match kind {
        ResourceKind::Topic if name.is_empty() => {
            Err(invalid_request("Default topic resources are not allowed."))
        }
        ResourceKind::Topic => match invalid_topic_name(name) {
            Some(reason) => Err(Refused::new(ErrorCode::INVALID_TOPIC_EXCEPTION, reason)),
            None => Ok(()),
        },
        ResourceKind::Group if name.is_empty() => {
            Err(invalid_request("Default group resources are not allowed."))
        }
        // Bytes that were no text have become longer.
        ResourceKind::Group if name.len() > STRING_BYTES_MAX => {
            Err(invalid_request(format!("The name is longer than {STRING_BYTES_MAX} bytes.")))
        }
        _ => Ok(()),
    }
}

fn check_setting_name(kind: ResourceKind, name: &str) -> Result<(), Refused> {
    if setting(kind, name).is_some() {
        return Ok(());
    }
    Err(match kind {
        ResourceKind::Topic => invalid_config(format!("Unknown topic config name: {name}")),
        ResourceKind::Group => invalid_config(format!("Unknown group config name: {name}")),
        _ => invalid_request(format!(
            "{name} cannot be changed while the broker runs; set it where the broker is configured and start it anew."
        )),
    })
}

/// What can be set of a resource under that name.
fn setting(kind: ResourceKind, name: &str) -> Option<Setting> {
    match kind {
        ResourceKind::Topic => topic_settings::find(name).map(|topic| topic.setting),
        ResourceKind::Group => group_settings::find(name).map(|group| group.setting),
        _ => live_settings::find(name),
    }
}

/// What a setting becomes; `None`: the default.
fn new_value(kind: ResourceKind, change: &Change, before: &Overrides) -> Result<Option<String>, Refused> {
    let given = change.value.as_deref().unwrap_or_default();
    let value = match change.operation {
        operation::DELETE => return Ok(None),
        operation::SET => given.to_owned(),
        list => {
            let default = || setting(kind, &change.name).and_then(|setting| setting.default_text());
            let now = before.get(&change.name).or_else(default).unwrap_or_default();
            let now = now.split(',').filter(|part| !part.is_empty());
            if list == operation::APPEND { with(now, given) } else { without(now, given) }.join(",")
        }
    };
    if value.len() > STRING_BYTES_MAX {
        let name = &change.name;
        return Err(invalid_config(format!("The value of {name} is longer than {STRING_BYTES_MAX} bytes.")));
    }
    Ok(Some(value))
}

/// The list with those of the given that it does not have.
fn with<'a>(now: impl Iterator<Item = &'a str>, given: &'a str) -> Vec<&'a str> {
    let mut list: Vec<&str> = now.collect();
    let mut seen: BTreeSet<&str> = list.iter().copied().collect();
    list.extend(parts(given).filter(|part| seen.insert(part)));
    list
}

/// The list without the first of each given, as often as it is given.
fn without<'a>(now: impl Iterator<Item = &'a str>, given: &'a str) -> Vec<&'a str> {
    let mut times = BTreeMap::<&str, usize>::new();
    for part in parts(given) {
        *times.entry(part).or_default() += 1;
    }
    now.filter(|part| match times.get_mut(part) {
        Some(left) if *left > 0 => {
            *left -= 1;
            false
        }
        _ => true,
    })
    .collect()
}

// Kafka: as Java splits: nothing follows the last comma, but nothing at all is one empty part.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let text = if text.is_empty() { None } else { Some(text.trim_end_matches(',')) };
    let is_empty = text == Some("");
    text.unwrap_or_default().split(',').filter(move |_| !is_empty)
}

/// About what a record takes in the log.
fn record_bytes(record: &MetadataRecord) -> usize {
    match record {
        MetadataRecord::Config(it) => {
            it.resource_name.len() + it.name.len() + it.value.as_ref().map_or(0, String::len)
        }
        _ => 0,
    }
}

/// Those that were refused for another reason stay so.
fn too_many(targets: Vec<Result<Target, Refused>>) -> Outcomes {
    let refused = || Refused::new(ErrorCode::POLICY_VIOLATION, TOO_MANY_RECORDS);
    targets.into_iter().map(|target| target.and_then(|_| Err(refused()))).collect()
}

fn invalid_request(message: impl Into<String>) -> Refused {
    Refused::new(ErrorCode::INVALID_REQUEST, message)
}

fn invalid_config(message: impl Into<String>) -> Refused {
    Refused::new(ErrorCode::INVALID_CONFIG, message)
}

impl From<IncrementalAlterConfigsRequest> for AlterConfigs {
    fn from(request: IncrementalAlterConfigsRequest) -> Self {
        let resources = request.resources.into_iter().map(|resource| Altered {
            kind: resource.resource_type,
            name: resource.resource_name,
            changes: resource
                .configs
                .into_iter()
                .map(|it| Change { name: it.name, operation: it.config_operation, value: it.value })
                .collect(),
            replaces_all: false,
        });
        Self { resources: resources.collect(), validate_only: request.validate_only }
    }
}

impl From<AlterConfigsRequest> for AlterConfigs {
    fn from(request: AlterConfigsRequest) -> Self {
        let resources = request.resources.into_iter().map(|resource| Altered {
            kind: resource.resource_type,
            name: resource.resource_name,
            changes: resource
                .configs
                .into_iter()
                .map(|it| Change { name: it.name, operation: operation::SET, value: it.value })
                .collect(),
            replaces_all: true,
        });
        Self { resources: resources.collect(), validate_only: request.validate_only }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(now: &str, given: &str, appended: &str, subtracted: &str) {
        let now = || now.split(',').filter(|part| !part.is_empty());
        assert_eq!(with(now(), given).join(","), appended);
        assert_eq!(without(now(), given).join(","), subtracted);
    }

    #[test]
    fn lists_grow_and_shrink_as_kafkas_do() {
        check("a", "b", "a,b", "a");
        check("a,b", "b,c,c", "a,b,c", "a");
        check("a,b", " b", "a,b, b", "a,b");
        check("a,a,b,a", "a,a", "a,a,b,a", "b,a");
        check("a", "", "a,", "a");
        check("a", ",", "a", "a");
        check("a", "b,,c,,", "a,b,,c", "a");
        check("", "x", "x", "");
    }
}
