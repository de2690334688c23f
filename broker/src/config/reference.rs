//! `docs/configuration.md`, written from the tables.

use std::fmt::Write;

use cluster::group_settings::GROUP_SETTINGS;
use cluster::live_settings;
use cluster::setting::{Setting, Standing, Valid};
use cluster::topic_settings::TOPIC_SETTINGS;

use super::broker_settings::{self, AREAS, BrokerSetting, SINGLE_NODE};
use super::own_settings::{OWN_SETTINGS, OwnSetting};
use super::units::Unit;
use super::values::variable;

const INTRODUCTION: &str = r#"# Configuration

<!-- Written from the tables in broker/src/config by `UPDATE_DOCS=1 cargo test -p broker configuration_reference`. -->

One file in [TOML](https://toml.io), with Kafka's names for everything that Kafka has a name for:

```toml
node.id = 1
listeners = "PLAINTEXT://0.0.0.0:9092"
advertised.listeners = "PLAINTEXT://broker-1.example.com:9092"
log.dirs = ["/var/lib/millstream/a", "/var/lib/millstream/b"]
log.roll.ms = "1d"
log.segment.bytes = "256 MiB"

reactor = "ring"
pinning = "on"

[[core]]
cpu = 2
tail_cache_bytes = "512 MiB"

[[core]]
cpu = 3
tail_cache_bytes = "512 MiB"
```

- **Layers.** Defaults, then the file, then the environment, then the command line (`--set name=value`); the later one wins.
- **Environment.** The variable of a setting is its name in capitals, with underscores for dots, after `MILLSTREAM_`:
  `MILLSTREAM_LOG_SEGMENT_BYTES` is `log.segment.bytes`.
- **Units.** A size or a time may be given with its unit, as text: `"64 MiB"`, `"1 GB"`, `"500 ms"`, `"30 s"`, `"15 min"`, `"12 h"`,
  `"7d"`. Without one it is in the unit that the setting's name says.
- **Lists** are written as in Kafka (`"a,b"`) or as a TOML list.
- **Tables.** `[kafka]` and `[node]` may be used to group settings; they change nothing. In TOML a name cannot be both a value and
  the beginning of another name, so some names need quotation marks where both are given: {quoted}.
- **Mistakes.** A name that is not known, a value of the wrong type and one out of its range are errors, told with line and column.
- **Topics** inherit their settings from the broker's; they can also set them for themselves, as can groups (last sections).
- **While running.** The settings of topics and groups change at once, by `millstream config set` or any Kafka client, and so do
  those of the broker that are marked *while running*, for one broker or for all. What is set that way wins over the file. Other
  settings of the broker are read at its start.

What a setting does here:

- *honoured*: what its name says.
- *accepted*: read, checked and shown, but without effect, for the reason given.
- *not yet*: known, but not built. The broker refuses to start with anything but the default. A topic may set it, as clients do:
  that is recorded, and has no effect yet. A group may not.
"#;

/// The whole document.
pub(super) fn document() -> String {
    let mut out = INTRODUCTION.replace("{quoted}", &quoted().join(", "));
    out.push_str("\n## This broker's own settings\n\n");
    out.push_str("Those marked *per core* may also stand in a core's `[[core]]` table.\n\n");
    table(&mut out, OWN_SETTINGS.iter().map(|own| (&own.setting, own_scope(own))));
    for (area, settings) in AREAS {
        let _ = write!(out, "\n## {area}\n\n");
        let shown = settings.iter().filter(|row| !row.is_internal);
        table(&mut out, shown.map(|row| (&row.setting, scope(row).to_owned())));
    }
    out.push_str("\n## Topics' own settings\n\nThe last column names the broker's setting that holds where the topic says nothing.\n\n");
    let shown = TOPIC_SETTINGS.iter().filter(|topic| !topic.is_internal);
    table(
        &mut out,
        shown.map(|topic| {
            let synonyms: Vec<String> = topic.synonyms.iter().map(|one| format!("`{}`", one.name)).collect();
            (&topic.setting, synonyms.join(", "))
        }),
    );
    out.push_str("\n## Groups' own settings\n\nThe last column names the broker's setting that holds where the group says nothing.\n\n");
    table(
        &mut out,
        GROUP_SETTINGS.iter().map(|group| {
            let synonyms = group.synonyms.iter().filter(|one| one.name != group.setting.name);
            (&group.setting, synonyms.map(|one| format!("`{}`", one.name)).collect())
        }),
    );
    out
}

fn table<'a>(out: &mut String, rows: impl Iterator<Item = (&'a Setting, String)>) {
    out.push_str("| Name | Type | Default | Accepts | Here | What | Scope |\n|--|--|--|--|--|--|--|\n");
    for (setting, scope) in rows {
        let default = match (default_of(setting), on_a_single_node(setting.name)) {
            (default, None) => default,
            (default, Some(here)) => format!("{default}, here `{here}`"),
        };
        let _ = writeln!(
            out,
            "| `{}` | {} | {default} | {} | {} | {} | {scope} |",
            setting.name,
            setting.kind.name(),
            accepts(setting),
            here(setting.standing),
            setting.doc
        );
    }
}

/// Kafka changes more while it runs; here what acts at once.
fn scope(row: &BrokerSetting) -> &'static str {
    if live_settings::find(row.setting.name).is_some() { "while running" } else { "at start" }
}

fn own_scope(own: &OwnSetting) -> String {
    match (own.per_core, own.only_per_core) {
        (_, true) => "only in `[[core]]`".to_owned(),
        (true, false) => "per core".to_owned(),
        (false, false) => "at start".to_owned(),
    }
}

fn on_a_single_node(name: &str) -> Option<&'static str> {
    SINGLE_NODE.iter().find(|(one, _)| *one == name).map(|(_, text)| *text)
}

/// A default as it is written, and as one would say it.
fn default_of(setting: &Setting) -> String {
    let Some(text) = setting.default_text() else { return "none".to_owned() };
    let said = match (Unit::of(setting.name), text.parse::<i64>()) {
        (_, Ok(i64::MAX)) => Some("no limit".to_owned()),
        (Some(unit), Ok(number)) => said(unit, number),
        _ => None,
    };
    match said {
        _ if text.is_empty() => "empty".to_owned(),
        Some(said) => format!("`{text}` ({said})"),
        None => format!("`{text}`"),
    }
}

fn said(unit: Unit, number: i64) -> Option<String> {
    let steps: &[(i64, &str)] = match unit {
        Unit::Bytes => &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")],
        Unit::Milliseconds => &[(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")],
        Unit::Seconds => &[(86_400, "d"), (3600, "h"), (60, "min")],
        Unit::Minutes => &[(1440, "d"), (60, "h")],
        Unit::Hours => &[(24, "d")],
    };
    let (step, name) = steps.iter().find(|(step, _)| number >= *step && number % step == 0)?;
    Some(format!("{} {name}", number / step))
}

fn accepts(setting: &Setting) -> String {
    let words = |of: &[&str]| of.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    match setting.valid {
        Valid::Any => String::new(),
        Valid::AtLeast(min) => format!("≥ {min}"),
        Valid::Between(min, max) => format!("{min} to {max}"),
        Valid::UpTo(max) => format!("0 to {max}"),
        Valid::GzipLevel => "1 to 9, or -1".to_owned(),
        Valid::OneOf(of) | Valid::OneOfAnyCase(of) => words(of),
        Valid::NonEmptyString => "not empty".to_owned(),
        Valid::Elements { may_be_empty: true } => "each once".to_owned(),
        Valid::Elements { may_be_empty: false } => "at least one, each once".to_owned(),
        Valid::ElementsOneOf { of, .. } => format!("any of {}", words(of)),
        Valid::ThrottledReplicas => "`*` or `partition:broker` pairs".to_owned(),
        Valid::OffsetReset => "`latest`, `earliest` or `by_duration:PnDTnHnMn.nS`".to_owned(),
    }
}

fn here(standing: Standing) -> String {
    match standing {
        Standing::Honoured => "honoured".to_owned(),
        Standing::Accepted(why) => format!("accepted: {why}"),
        Standing::NotYet => "not yet".to_owned(),
    }
}

/// Names that another name begins with.
fn quoted() -> Vec<String> {
    let begins = |short: &BrokerSetting| {
        let prefix = format!("{}.", short.setting.name);
        broker_settings::all().any(|long| !long.is_internal && long.setting.name.starts_with(&prefix))
    };
    broker_settings::all()
        .filter(|row| begins(row))
        .map(|row| format!("`\"{}\"`", row.setting.name))
        .collect()
}

#[test]
fn example_of_the_introduction_is_a_configuration() {
    let (_, rest) = INTRODUCTION.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let command_line = super::CommandLine::default();
    let file = Some(("example", example));
    let sources = super::Sources {
        file,
        environment: Vec::new(),
        command_line: &command_line,
        cpus: 1,
        host_name: "h",
    };
    assert_eq!(super::Config::load(&sources).map(|config| config.cores.len()), Ok(2));
}

#[test]
fn configuration_reference_is_what_the_tables_say() {
    #![allow(
        clippy::disallowed_methods,
        reason = "reads, and on request writes, a document of this repository"
    )]
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let expected = document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let first = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(found == expected, "docs/configuration.md is not current (UPDATE_DOCS=1 writes it): {first:?}");
    assert_eq!(variable("log.segment.bytes"), "MILLSTREAM_LOG_SEGMENT_BYTES", "as the introduction says");
}
