//! Settings of topics, groups and brokers.

use cluster::controller::operation;
use cluster::metadata::Source;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

pub(crate) use cluster::metadata::ResourceKind;

use super::{Client, ClientError, Missing, To};

#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) kind: ResourceKind,
    /// Empty: all brokers.
    pub(crate) name: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) is_sensitive: bool,
    /// As in DescribeConfigs.
    source: i8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alteration {
    pub(crate) name: String,
    pub(crate) operation: Operation,
    pub(crate) value: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Set,
    Delete,
    Append,
    Subtract,
}

impl Operation {
    fn code(self) -> i8 {
        match self {
            Self::Set => operation::SET,
            Self::Delete => operation::DELETE,
            Self::Append => operation::APPEND,
            Self::Subtract => operation::SUBTRACT,
        }
    }
}

impl Resource {
    /// The broker that alone can tell about itself.
    pub(crate) fn node(&self) -> Option<i32> {
        if self.kind == ResourceKind::Broker { self.name.parse().ok() } else { None }
    }

    fn to(&self) -> To {
        self.node().map_or(To::Any, To::Node)
    }

    fn told(&self) -> String {
        match (self.kind, self.name.as_str()) {
            (ResourceKind::Topic, name) => format!("topic {name}"),
            (ResourceKind::Group, name) => format!("group {name}"),
            (_, "") => "all brokers".to_owned(),
            (_, name) => format!("broker {name}"),
        }
    }
}

impl Setting {
    fn of(result: DescribeConfigsResourceResult) -> Self {
        Self {
            name: result.name,
            value: result.value,
            is_sensitive: result.is_sensitive,
            source: result.config_source,
        }
    }

    pub(crate) fn is_default(&self) -> bool {
        self.source == Source::Default.code()
    }

    /// For people.
    pub(crate) fn shown_value(&self) -> &str {
        match &self.value {
            Some(value) => value,
            None if self.is_sensitive => "(hidden)",
            None => "(none)",
        }
    }

    /// Who said so.
    pub(crate) fn set_by(&self) -> &'static str {
        let sources = [
            (Source::Topic, "topic"),
            (Source::DynamicBroker, "broker, dynamic"),
            (Source::DynamicDefault, "cluster, dynamic"),
            (Source::Static, "broker, static"),
            (Source::Default, "default"),
            (Source::Group, "group"),
        ];
        sources.iter().find(|(source, _)| source.code() == self.source).map_or("unknown", |(_, said)| said)
    }
}

impl Client {
    /// The settings of those names, or all if none is given.
    pub(crate) fn describe_configs(
        &mut self,
        resource: &Resource,
        names: &[String],
    ) -> Result<Vec<Setting>, ClientError> {
        self.is_there(resource)?;
        let asked = DescribeConfigsResource {
            resource_type: resource.kind.code(),
            resource_name: resource.name.clone(),
            configuration_keys: Some(names.to_vec()).filter(|names| !names.is_empty()),
        };
        let request = DescribeConfigsRequest { resources: vec![asked], ..Default::default() };
        let answer = self.retry(|client| {
            let answer: DescribeConfigsResponse = client.ask(resource.to(), &request, i16::MAX)?;
            for result in &answer.results {
                let what = || format!("cannot read the settings of {}", resource.told());
                ClientError::check(result.error_code, result.error_message.as_deref(), what)?;
            }
            Ok(answer)
        })?;
        let mut settings: Vec<Setting> =
            answer.results.into_iter().flat_map(|result| result.configs).map(Setting::of).collect();
        settings.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(settings)
    }

    pub(crate) fn alter_configs(
        &mut self,
        resource: &Resource,
        changes: &[Alteration],
        validate_only: bool,
    ) -> Result<(), ClientError> {
        self.is_there(resource)?;
        let config = |change: &Alteration| AlterableConfig {
            name: change.name.clone(),
            config_operation: change.operation.code(),
            value: change.value.clone(),
        };
        let asked = AlterConfigsResource {
            resource_type: resource.kind.code(),
            resource_name: resource.name.clone(),
            configs: changes.iter().map(config).collect(),
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![asked], validate_only };
        self.retry(|client| {
            let answer: IncrementalAlterConfigsResponse = client.ask(resource.to(), &request, i16::MAX)?;
            for result in &answer.responses {
                let what = || format!("cannot change the settings of {}", resource.told());
                ClientError::check(result.error_code, result.error_message.as_deref(), what)?;
            }
            Ok(())
        })
    }

    /// A topic that nobody knows is not asked for until the time is over.
    fn is_there(&mut self, resource: &Resource) -> Result<(), ClientError> {
        if resource.kind == ResourceKind::Topic {
            self.topic(&resource.name, Missing::Fails)?;
        }
        Ok(())
    }
}
