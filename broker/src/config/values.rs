//! What was given for which setting, and where. Later layers replace what earlier ones said.

use std::collections::BTreeMap;
use std::fmt;

use cluster::live_settings;
use cluster::metadata::Overrides;
use cluster::setting::{Setting, Standing, Value};
use cluster::topic_settings;

use super::broker_settings::{self, LISTENER_PREFIX, NOT_IN_THE_TABLE};
use super::own_settings::{self, OWN_SETTINGS};
use super::units::Unit;

/// Where a value was given. In the order in which layers are applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// What one node alone needs.
    SingleNode,
    /// `--dev`.
    Dev,
    File {
        path: String,
        line: usize,
        column: usize,
    },
    Environment(String),
    /// The argument.
    CommandLine(String),
    /// Since the start, through the admin API.
    Running,
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) origin: Origin,
    pub(crate) message: String,
}

/// What is wrong with a setting: its name, or what it is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Name(String),
    Value(String),
}

impl Wrong {
    pub(super) fn message(self) -> String {
        match self {
            Self::Name(message) | Self::Value(message) => message,
        }
    }
}

/// A value that was given.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Given {
    /// As Kafka would write it: units are gone.
    pub(crate) text: String,
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// Everything that was given, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Values(BTreeMap<&'static str, Given>);

impl Values {
    pub(crate) fn given(&self, name: &str) -> Option<&Given> {
        self.0.get(name)
    }

    /// All that was given, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &Given)> {
        self.0.iter().map(|(name, given)| (*name, given))
    }

    /// What was given for Kafka's settings, as the static layer that topics inherit from.
    pub(crate) fn statics(&self) -> Overrides {
        let kafkas = self.iter().filter(|(name, _)| broker_settings::find(name).is_some());
        kafkas.map(|(name, given)| (name, given.text.as_str())).collect()
    }

    /// Takes in one value. `name` may be in the table `kafka` or `node`, which only group.
    pub(super) fn give(&mut self, name: &str, text: &str, origin: Origin) -> Result<(), Wrong> {
        let given = read(setting(name).map_err(Wrong::Name)?, text, origin)?;
        self.0.insert(given.0, given.1);
        Ok(())
    }

    /// As [`Self::give`], for tests that give what a broker would refuse.
    #[cfg(test)]
    pub(super) fn give_unchecked(&mut self, name: &str, text: &str, origin: Origin) {
        let setting = setting(name).unwrap();
        let value = setting.parse(text).unwrap();
        self.0.insert(setting.name, Given { text: text.to_owned(), value, origin });
    }

    /// Takes in what holds unless somebody says otherwise.
    pub(super) fn give_unless_given(&mut self, name: &str, text: &str) {
        let setting = setting(name).expect("in the table");
        if !self.0.contains_key(setting.name) {
            let value = setting.parse(text).expect("valid in the table");
            self.0.insert(setting.name, Given { text: text.to_owned(), value, origin: Origin::SingleNode });
        }
    }

    /// With what was set while running instead, as far as that acts at once.
    pub(super) fn with_live<'a>(&self, set: impl IntoIterator<Item = &'a Overrides>) -> Self {
        let mut values = self.clone();
        for (name, text) in set.into_iter().flat_map(Overrides::iter) {
            let Some(setting) = live_settings::own(name) else { continue };
            // Checked when it was set.
            if let Ok(value) = setting.parse(text) {
                let given = Given { text: text.to_owned(), value, origin: Origin::Running };
                values.0.insert(setting.name, given);
            }
        }
        values
    }

    /// Takes in one value of a core.
    pub(super) fn give_core(&mut self, name: &str, text: &str, origin: Origin) -> Result<(), Wrong> {
        let Some(own) = own_settings::find(name).filter(|own| own.per_core) else {
            let names = OWN_SETTINGS.iter().filter(|own| own.per_core).map(|own| own.setting.name);
            let message = format!("unknown setting `{name}` of a core{}", did_you_mean(name, names));
            return Err(Wrong::Name(message));
        };
        let given = read(&own.setting, text, origin)?;
        self.0.insert(given.0, given.1);
        Ok(())
    }

    /// The value that holds: given or default.
    pub(crate) fn value(&self, name: &str) -> Option<Value> {
        match self.given(name) {
            Some(given) => Some(given.value.clone()),
            None => setting(name).expect("in the table").default_value(),
        }
    }

    pub(super) fn long(&self, name: &str) -> i64 {
        self.value(name).and_then(|value| value.as_i64()).expect("a whole number in the table, and not null")
    }

    pub(super) fn double(&self, name: &str) -> f64 {
        self.value(name).and_then(|value| value.as_f64()).expect("a double in the table, and not null")
    }

    pub(super) fn int(&self, name: &str) -> i32 {
        i32::try_from(self.long(name)).expect("an int in the table")
    }

    /// A count or size that is not negative.
    pub(super) fn size(&self, name: &str) -> usize {
        usize::try_from(self.long(name)).expect("bounded from below in the table")
    }

    pub(super) fn boolean(&self, name: &str) -> bool {
        self.value(name).and_then(|value| value.as_bool()).expect("a boolean in the table")
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.value(name).map(|value| value.as_text().expect("a text in the table").to_owned())
    }

    pub(super) fn list(&self, name: &str) -> Option<Vec<String>> {
        self.value(name).map(|value| value.as_list().expect("a list in the table").to_vec())
    }

    /// A complaint about what was given for a setting.
    pub(super) fn problem(&self, name: &str, message: impl Into<String>) -> Problem {
        let origin = self.given(name).map_or(Origin::SingleNode, |given| given.origin.clone());
        Problem { origin, message: message.into() }
    }
}

/// The name of a setting as an environment variable.
pub(crate) fn variable(name: &str) -> String {
    format!("MILLSTREAM_{}", name.replace('.', "_").to_uppercase())
}

/// The setting that an environment variable stands for.
pub(super) fn setting_of_variable(variable_name: &str) -> Option<&'static str> {
    names().find(|name| variable(name) == variable_name)
}

/// All names that stand above the cores' tables.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let own = OWN_SETTINGS.iter().filter(|own| !own.only_per_core).map(|own| own.setting.name);
    own.chain(broker_settings::all().map(|row| row.setting.name))
}

fn setting(name: &str) -> Result<&'static Setting, String> {
    let plain = name.strip_prefix("kafka.").unwrap_or(name);
    if let Some(row) = broker_settings::find(plain) {
        return Ok(&row.setting);
    }
    let plain = plain.strip_prefix("node.").unwrap_or(plain);
    match own_settings::find(plain) {
        Some(own) if own.only_per_core => {
            Err(format!("`{plain}` is for one core: put it into a `[[core]]` table"))
        }
        Some(own) => Ok(&own.setting),
        None => Err(unknown(name.strip_prefix("kafka.").unwrap_or(name))),
    }
}

fn unknown(name: &str) -> String {
    if NOT_IN_THE_TABLE.contains(&name) || name.starts_with(LISTENER_PREFIX) {
        return format!("`{name}` is not supported yet");
    }
    if let Some(topic) = topic_settings::find(name) {
        return match topic.synonyms.first() {
            Some(synonym) => format!("`{name}` is a setting of topics; their default is `{}`", synonym.name),
            None => format!("`{name}` is a setting of topics, and only theirs"),
        };
    }
    format!("unknown setting `{name}`{}", did_you_mean(name, names()))
}

/// The name that is nearest to a wrong one, if any is near.
fn did_you_mean(wrong: &str, names: impl Iterator<Item = &'static str>) -> String {
    let far = 2 + wrong.len() / 6;
    let nearest = names.map(|name| (distance(wrong, name), name)).min();
    match nearest {
        Some((distance, name)) if distance <= far => format!("; did you mean `{name}`?"),
        _ => String::new(),
    }
}

/// How many characters have to be put in, taken out or replaced.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Reads a value, with a unit if the setting has one.
fn read(setting: &'static Setting, text: &str, origin: Origin) -> Result<(&'static str, Given), Wrong> {
    let plain = match Unit::of(setting.name).and_then(|unit| unit.read(text)) {
        Some(number) => {
            let wrong = |reason| Wrong::Value(format!("`{}`: {reason}", setting.name));
            number.map_err(wrong)?.to_string()
        }
        None => text.trim().to_owned(),
    };
    let value = setting.parse(&plain).map_err(|invalid| Wrong::Value(invalid.0))?;
    refuse_unbuilt(setting, &value).map_err(Wrong::Name)?;
    Ok((setting.name, Given { text: plain, value, origin }))
}

fn refuse_unbuilt(setting: &Setting, value: &Value) -> Result<(), String> {
    let is_refused = match broker_settings::find(setting.name) {
        Some(row) => row.is_refused(value),
        None => setting.standing == Standing::NotYet,
    };
    if !is_refused {
        return Ok(());
    }
    let default = setting.default_text().map_or_else(|| "unset".to_owned(), |text| format!("`{text}`"));
    Err(format!("`{}` is not supported yet: leave it out (default: {default})", setting.name))
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SingleNode => f.write_str("defaults of a single node"),
            Self::Dev => f.write_str("--dev"),
            Self::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Self::Environment(variable) => f.write_str(variable),
            Self::CommandLine(argument) => f.write_str(argument),
            Self::Running => f.write_str("set while running"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}
