//! What was set for a topic, a broker or a group, and what follows from it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::group_settings::{GROUP_SETTINGS, GroupSetting};
use crate::setting::{Kind, Setting, Value};
use crate::topic_settings::{Synonym, TOPIC_SETTINGS, TopicSetting};

/// What can be configured, with the number Kafka gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceKind {
    Topic = 2,
    Broker = 4,
    BrokerLogger = 8,
    ClientMetrics = 16,
    Group = 32,
}

impl ResourceKind {
    pub const ALL: [Self; 5] =
        [Self::Topic, Self::Broker, Self::BrokerLogger, Self::ClientMetrics, Self::Group];

    pub const fn code(self) -> i8 {
        self as i8
    }

    pub fn from_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// Where a value comes from, with the number DescribeConfigs gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Topic = 1,
    DynamicBroker = 2,
    /// Set while running, for all brokers.
    DynamicDefault = 3,
    /// Given to the broker at its start.
    Static = 4,
    Default = 5,
    ClientMetrics = 7,
    Group = 8,
}

impl Source {
    pub const fn code(self) -> i8 {
        self as i8
    }
}

/// Settings that were set, with the text they were set to. Sorted by name; small, because there is one per topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides(Vec<(Box<str>, Box<str>)>);

impl Overrides {
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.place(name).ok()?;
        Some(&self.0[at].1)
    }

    pub fn set(&mut self, name: &str, value: &str) {
        match self.place(name) {
            Ok(at) => self.0[at].1 = value.into(),
            Err(at) => self.0.insert(at, (name.into(), value.into())),
        }
    }

    pub fn remove(&mut self, name: &str) {
        if let Ok(at) = self.place(name) {
            self.0.remove(at);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(have, _)| (**have).cmp(name))
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Overrides {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let mut overrides = Self::default();
        for (name, value) in pairs {
            overrides.set(name, value);
        }
        overrides
    }
}

/// The overrides of every resource. A broker's are kept under its id, those of all brokers under the empty name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configs(BTreeMap<ResourceKind, BTreeMap<Box<str>, Overrides>>);

impl Configs {
    pub fn of(&self, kind: ResourceKind, name: &str) -> Option<&Overrides> {
        self.0.get(&kind)?.get(name)
    }

    /// All resources that have overrides, by kind and name.
    pub fn iter(&self) -> impl Iterator<Item = (ResourceKind, &str, &Overrides)> {
        self.0.iter().flat_map(|(kind, named)| named.iter().map(|(name, set)| (*kind, &**name, set)))
    }

    /// The resources of one kind that have overrides, by name.
    pub fn names(&self, kind: ResourceKind) -> impl Iterator<Item = &str> {
        self.0.get(&kind).into_iter().flat_map(|named| named.keys().map(|name| &**name))
    }

    pub(super) fn set(&mut self, kind: ResourceKind, name: &str, key: &str, value: Option<&str>) {
        let named = self.0.entry(kind).or_default();
        match value {
            Some(value) => named.entry(name.into()).or_default().set(key, value),
            None => {
                if let Some(set) = named.get_mut(name) {
                    set.remove(key);
                    if set.is_empty() {
                        named.remove(name);
                    }
                }
            }
        }
        if named.is_empty() {
            self.0.remove(&kind);
        }
    }

    pub(super) fn forget(&mut self, kind: ResourceKind, name: &str) {
        if let Some(named) = self.0.get_mut(&kind) {
            named.remove(name);
            if named.is_empty() {
                self.0.remove(&kind);
            }
        }
    }
}

/// The places where a topic's or a group's setting may have been set, nearest first.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    pub own: Option<&'a Overrides>,
    /// What `own` counts as: [`Source::Topic`] or [`Source::Group`].
    pub own_source: Source,
    pub broker: Option<&'a Overrides>,
    pub all_brokers: Option<&'a Overrides>,
    /// What the broker was started with, defaults left out.
    pub statics: &'a Overrides,
}

/// One line of a DescribeConfigs answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    pub name: String,
    /// `None`: no value, or one that must not be shown.
    pub value: Option<String>,
    pub source: Source,
    /// `None` for what only a plug-in knows.
    pub kind: Option<Kind>,
    pub is_sensitive: bool,
    pub is_read_only: bool,
    /// Everything that could apply, nearest first.
    pub synonyms: Vec<DescribedSynonym>,
    pub doc: &'static str,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DescribedSynonym {
    pub name: String,
    pub value: Option<String>,
    pub source: Source,
}

impl<'a> Layers<'a> {
    /// What a topic's setting is and where that was said; the text as it was written, in the topic's unit. No text:
    /// unset and without a default.
    pub fn resolve(&self, topic: &TopicSetting) -> (Option<Cow<'a, str>>, Source) {
        self.look_up(&topic.setting, topic.synonyms)
    }

    /// As [`Layers::resolve`] of a group's setting.
    pub fn resolve_group(&self, group: &GroupSetting) -> (Option<Cow<'a, str>>, Source) {
        self.look_up(&group.setting, group.synonyms)
    }

    /// What holds of a broker's own setting, whoever's layers these are.
    pub fn of_broker(&self, setting: &Setting) -> Option<Value> {
        let mut texts = self.broker_layers().filter_map(|(set, _)| set.get(setting.name));
        texts.find_map(|text| setting.parse(text).ok()).or_else(|| setting.default_value())
    }

    fn look_up(&self, setting: &Setting, synonyms: &[Synonym]) -> (Option<Cow<'a, str>>, Source) {
        if let Some(text) = self.own.and_then(|set| set.get(setting.name)) {
            return (Some(Cow::Borrowed(text)), self.own_source);
        }
        for (set, source) in self.broker_layers() {
            for synonym in synonyms {
                if let Some(text) = set.get(synonym.name) {
                    return (Some(synonym.in_topic_unit(text)), source);
                }
            }
        }
        (setting.default_text().map(Cow::Borrowed), Source::Default)
    }

    /// What DescribeConfigs answers for a topic, by name.
    pub fn describe_topic(&self) -> Vec<Described> {
        let is_shown = |topic: &&TopicSetting| !topic.is_internal || self.resolve(topic).0.is_some();
        let shown = TOPIC_SETTINGS.iter().filter(is_shown);
        self.describe_all(shown.map(|topic| (&topic.setting, topic.synonyms)))
    }

    /// What DescribeConfigs answers for a group, by name.
    pub fn describe_group(&self) -> Vec<Described> {
        self.describe_all(GROUP_SETTINGS.iter().map(|group| (&group.setting, group.synonyms)))
    }

    fn describe_all<'s>(
        &self,
        settings: impl Iterator<Item = (&'s Setting, &'s [Synonym])>,
    ) -> Vec<Described> {
        let mut lines: Vec<Described> =
            settings.map(|(setting, synonyms)| self.describe(setting, synonyms)).collect();
        lines.sort_by(|a, b| a.name.cmp(&b.name));
        lines
    }

    fn describe(&self, setting: &Setting, synonyms: &[Synonym]) -> Described {
        let name = setting.name;
        // Kafka: the value is answered in its plain form, whatever it was written as.
        let value = self.look_up(setting, synonyms).0.map(|text| match setting.parse(&text) {
            Ok(value) => value.to_string(),
            Err(_) => text.into_owned(),
        });
        let mut synonyms = self.described_synonyms(synonyms);
        if self.own.is_some_and(|set| set.get(name).is_some()) {
            let source = self.own_source;
            synonyms.insert(0, DescribedSynonym { name: name.to_owned(), value: value.clone(), source });
        }
        Described {
            name: name.to_owned(),
            value,
            // Kafka: says "default" even where the value comes from a synonym that is not listed.
            source: synonyms.first().map_or(Source::Default, |nearest| nearest.source),
            kind: Some(setting.kind),
            is_sensitive: setting.kind.is_sensitive(),
            is_read_only: false,
            synonyms,
            doc: setting.doc,
        }
    }

    // Kafka: what comes before the first mention of the main synonym is left out, so that log.retention.hours alone is
    // not listed.
    fn described_synonyms(&self, synonyms: &[Synonym]) -> Vec<DescribedSynonym> {
        let Some(main) = synonyms.first() else { return Vec::new() };
        let line = |name: &str, value: &str, source| DescribedSynonym {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            source,
        };
        let set = self.broker_layers().flat_map(|(set, source)| {
            synonyms
                .iter()
                .filter_map(move |one| set.get(one.name).map(|value| line(one.name, value, source)))
        });
        let defaults =
            synonyms.iter().filter_map(|one| one.default.map(|value| line(one.name, value, Source::Default)));
        set.chain(defaults).skip_while(|one| one.name != main.name).collect()
    }

    fn broker_layers(&self) -> impl Iterator<Item = (&'a Overrides, Source)> + use<'a> {
        let dynamic = self.broker.map(|set| (set, Source::DynamicBroker));
        let of_all = self.all_brokers.map(|set| (set, Source::DynamicDefault));
        dynamic.into_iter().chain(of_all).chain([(self.statics, Source::Static)])
    }
}

impl Synonym {
    // Kafka: any negative time means "no limit", whatever its unit.
    fn in_topic_unit<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.factor == 1 {
            return Cow::Borrowed(text);
        }
        match text.trim().parse::<i64>() {
            Ok(n) if n < 0 => Cow::Borrowed("-1"),
            Ok(n) => Cow::Owned(n.saturating_mul(self.factor).to_string()),
            Err(_) => Cow::Borrowed(text),
        }
    }
}
