//! What DescribeConfigs answers about a broker: every setting, its value, and where that comes from.

use cluster::metadata::configs::DescribedSynonym;
use cluster::metadata::{Described, Image, Overrides, ResourceKind, Source};

use super::broker_settings::{self, BrokerSetting, Update};
use super::values::Values;

/// All of a broker's settings, by name.
pub(crate) fn broker(values: &Values, node_id: i32, image: &Image) -> Vec<Described> {
    let layers = Layers {
        broker: image.configs.of(ResourceKind::Broker, &node_id.to_string()),
        all_brokers: image.configs.of(ResourceKind::Broker, ""),
        values,
    };
    let shown = broker_settings::all().filter(|row| !row.is_internal);
    let mut lines: Vec<Described> = shown.map(|row| layers.describe(row)).collect();
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    lines
}

/// What was set for all brokers together, by name.
pub(crate) fn all_brokers(image: &Image) -> Vec<Described> {
    let set = image.configs.of(ResourceKind::Broker, "");
    let line = |(name, text): (&str, &str)| {
        let row = broker_settings::find(name);
        let source = Source::DynamicDefault;
        // Kafka: a setting that nobody knows might be a secret.
        let is_sensitive = row.is_none_or(|row| row.setting.kind.is_sensitive());
        let value = (!is_sensitive).then(|| text.to_owned());
        Described {
            name: name.to_owned(),
            value: value.clone(),
            source,
            kind: row.map(|row| row.setting.kind),
            is_sensitive,
            is_read_only: row.is_some_and(|row| row.update == Update::ReadOnly),
            synonyms: vec![DescribedSynonym { name: name.to_owned(), value, source }],
            doc: row.map_or("", |row| row.setting.doc),
        }
    };
    set.into_iter().flat_map(Overrides::iter).map(line).collect()
}

struct Layers<'a> {
    broker: Option<&'a Overrides>,
    all_brokers: Option<&'a Overrides>,
    values: &'a Values,
}

impl Layers<'_> {
    fn describe(&self, row: &'static BrokerSetting) -> Described {
        let setting = &row.setting;
        let is_sensitive = setting.kind.is_sensitive();
        let shown = |text: &str| (!is_sensitive).then(|| text.to_owned());
        let nearest = self.texts(setting.name).into_iter().next().map(|(text, _)| text);
        // Kafka: the value is answered in its plain form, whatever it was written as.
        let value = nearest.and_then(|text| match setting.parse(text) {
            Ok(value) => shown(&value.to_string()),
            Err(_) => shown(text),
        });
        let synonyms = self.synonyms(row, shown);
        Described {
            name: setting.name.to_owned(),
            value,
            source: synonyms.first().map_or(Source::Default, |nearest| nearest.source),
            kind: Some(setting.kind),
            is_sensitive,
            is_read_only: row.update == Update::ReadOnly,
            synonyms,
            doc: setting.doc,
        }
    }

    // Kafka: layer by layer, and what comes before the first mention of the setting itself is left out.
    fn synonyms(
        &self,
        row: &'static BrokerSetting,
        shown: impl Fn(&str) -> Option<String>,
    ) -> Vec<DescribedSynonym> {
        let mut all: Vec<DescribedSynonym> = Vec::new();
        for name in row.synonyms() {
            all.extend(self.texts(name).into_iter().map(|(text, source)| DescribedSynonym {
                name: (*name).to_owned(),
                value: shown(text),
                source,
            }));
        }
        all.sort_by_key(|synonym| synonym.source);
        all.into_iter().skip_while(|synonym| synonym.name != row.setting.name).collect()
    }

    /// What the layers say of one name, the nearest first.
    fn texts(&self, name: &str) -> Vec<(&str, Source)> {
        let dynamic = self.broker.and_then(|set| set.get(name)).map(|text| (text, Source::DynamicBroker));
        let of_all =
            self.all_brokers.and_then(|set| set.get(name)).map(|text| (text, Source::DynamicDefault));
        let given = self.values.given(name).map(|given| (given.text.as_str(), Source::Static));
        let default = broker_settings::find(name).and_then(|row| row.setting.default_text());
        let default = default.map(|text| (text, Source::Default));
        [dynamic, of_all, given, default].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use cluster::metadata::MetadataRecord;
    use protocol::messages::ConfigRecord;

    use super::*;
    use crate::config::values::Origin;

    /// What Apache Kafka 4.3.1 answered, with what it was started with in the synonyms.
    const ANSWERED: &str = include_str!("describe/kafka_answers.tsv");

    fn line(described: &Described) -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or("null".to_owned());
        let synonym = |it: &DescribedSynonym| format!("{}:{}={}", it.source.code(), it.name, text(&it.value));
        let synonyms: Vec<String> = described.synonyms.iter().map(synonym).collect();
        let kind = described.kind.map_or(0, cluster::setting::Kind::code);
        format!(
            "{}\t{}\t{}\t{kind}\t{}\t{}\t{}",
            described.name,
            text(&described.value),
            described.source.code(),
            described.is_sensitive,
            described.is_read_only,
            synonyms.join(" ")
        )
    }

    #[test]
    fn broker_is_described_as_kafka_describes_itself() {
        let mut values = Values::default();
        let mut image = Image::new("c");
        for (offset, row) in (0..).zip(ANSWERED.lines().skip(1)) {
            let columns: Vec<&str> = row.split('\t').collect();
            for synonym in columns[6].split(' ').filter(|synonym| !synonym.is_empty()) {
                let (source, pair) = synonym.split_once(':').unwrap();
                let (name, text) = pair.split_once('=').unwrap();
                match source {
                    "4" => values.give_unchecked(name, text, Origin::SingleNode),
                    "2" | "3" => {
                        let record = ConfigRecord {
                            resource_type: ResourceKind::Broker.code(),
                            resource_name: if source == "2" { "1".into() } else { String::new() },
                            name: name.to_owned(),
                            value: Some(text.to_owned()),
                        };
                        image.apply(&MetadataRecord::Config(record), offset).unwrap();
                    }
                    _ => (),
                }
            }
        }
        let ours = broker(&values, 1, &image);
        assert_eq!(ours.len(), 340);
        for (ours, theirs) in ours.iter().zip(ANSWERED.lines().skip(1)) {
            assert_eq!(line(ours), theirs);
        }
        let all: Vec<String> = all_brokers(&image).iter().map(line).collect();
        assert_eq!(
            all,
            [
                "log.retention.ms\t2000000\t3\t5\tfalse\tfalse\t3:log.retention.ms=2000000",
                "min.insync.replicas\t1\t3\t3\tfalse\tfalse\t3:min.insync.replicas=1",
            ]
        );
    }
}
