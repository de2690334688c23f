//! One setting as Kafka defines it: its type, its default, what it accepts, and how values are read and written.
//!
//! Messages are Kafka's, because clients show them to people. What a setting means for this broker is said elsewhere:
//! [`crate::topic_settings`] and the broker's own table.

use std::collections::BTreeSet;
use std::fmt;

/// A row of a settings table.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Default,
    pub valid: Valid,
    pub importance: Importance,
    pub standing: Standing,
    /// One sentence.
    pub doc: &'static str,
}

/// Whether a setting does what its name promises in this broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Honoured,
    /// Read, checked and shown, for those who bring their configuration along; has no effect, and why that is fine.
    Accepted(&'static str),
    /// Known, and not built yet. A broker refuses to start with anything but the default.
    NotYet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

/// What holds when nobody says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    Text(&'static str),
    /// No value, which is not the same as an empty one.
    Null,
    /// Kafka does not start without a value.
    Required,
}

/// What a value must satisfy beyond its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Valid {
    Any,
    AtLeast(i64),
    Between(i64, i64),
    /// A double from 0 to this.
    UpTo(f64),
    /// 1 to 9, or -1 for the codec's own choice.
    GzipLevel,
    OneOf(&'static [&'static str]),
    OneOfAnyCase(&'static [&'static str]),
    NonEmptyString,
    /// Elements are free, but neither empty nor given twice.
    Elements {
        may_be_empty: bool,
    },
    ElementsOneOf {
        of: &'static [&'static str],
        may_be_empty: bool,
        may_repeat: bool,
    },
    /// `*`, or `partition:broker` pairs.
    ThrottledReplicas,
    /// `latest`, `earliest`, or `by_duration:` and an ISO 8601 duration that is not negative.
    OffsetReset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    High,
    Medium,
    Low,
}

/// A value read from text. Its `Display` is the form in which Kafka answers it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Boolean(bool),
    Integer(i64),
    Double(f64),
    Text(String),
    List(Vec<String>),
}

/// Why a text is not a value of a setting, in Kafka's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub String);

impl Setting {
    /// Reads and checks one value.
    pub fn parse(&self, text: &str) -> Result<Value, Invalid> {
        let value = self.kind.read(text).map_err(|reason| self.invalid(text, reason))?;
        self.check(&value)?;
        Ok(match (value, self.valid) {
            // Kafka: what was said twice counts once.
            (Value::List(list), Valid::ElementsOneOf { may_repeat: true, .. }) => {
                Value::List(without_repetition(list))
            }
            (value, _) => value,
        })
    }

    /// The default as a value; `None` where there is none.
    pub fn default_value(&self) -> Option<Value> {
        match self.default {
            Default::Text(text) => {
                Some(self.kind.read(text).expect("defaults in the tables are of their type"))
            }
            Default::Null | Default::Required => None,
        }
    }

    pub fn default_text(&self) -> Option<&'static str> {
        match self.default {
            Default::Text(text) => Some(text),
            Default::Null | Default::Required => None,
        }
    }

    fn check(&self, value: &Value) -> Result<(), Invalid> {
        match (value, self.valid) {
            (Value::Integer(n), Valid::AtLeast(min)) => self.check_range(*n, min, i64::MAX),
            (Value::Integer(n), Valid::Between(min, max)) => self.check_range(*n, min, max),
            (Value::Integer(n), Valid::GzipLevel) if *n != -1 && !(1..=9).contains(n) => {
                Err(self.invalid(n, "Value must be between 1 and 9 or equal to -1"))
            }
            (Value::Double(n), Valid::UpTo(_)) if *n < 0.0 => {
                Err(self.invalid(value, "Value must be at least 0"))
            }
            (Value::Double(n), Valid::UpTo(max)) if *n > max => {
                Err(self.invalid(value, format!("Value must be no more than {max}")))
            }
            (Value::Text(text), Valid::OneOf(of)) if !of.contains(&text.as_str()) => {
                Err(self.invalid(text, format!("String must be one of: {}", of.join(", "))))
            }
            (Value::Text(text), Valid::OneOfAnyCase(of))
                if !of.iter().any(|one| one.eq_ignore_ascii_case(text)) =>
            {
                let reason = format!("String must be one of (case insensitive): {}", of.join(", "));
                Err(self.invalid(text, reason))
            }
            (Value::Text(text), Valid::NonEmptyString) if text.is_empty() => {
                Err(self.invalid(text, "String must be non-empty"))
            }
            (Value::List(list), Valid::Elements { may_be_empty }) => {
                self.check_list(list, None, may_be_empty, false)
            }
            (Value::List(list), Valid::ElementsOneOf { of, may_be_empty, may_repeat }) => {
                self.check_list(list, Some(of), may_be_empty, may_repeat)
            }
            (Value::List(list), Valid::ThrottledReplicas) => self.check_throttled(list),
            (Value::Text(text), Valid::OffsetReset) if !is_offset_reset(text) => Err(self.invalid(
                text,
                "The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.",
            )),
            _ => Ok(()),
        }
    }

    fn check_range(&self, n: i64, min: i64, max: i64) -> Result<(), Invalid> {
        if n < min {
            return Err(self.invalid(n, format!("Value must be at least {min}")));
        }
        if n > max {
            return Err(self.invalid(n, format!("Value must be no more than {max}")));
        }
        Ok(())
    }

    fn check_list(
        &self,
        list: &[String],
        of: Option<&[&str]>,
        may_be_empty: bool,
        may_repeat: bool,
    ) -> Result<(), Invalid> {
        let name = self.name;
        if list.is_empty() && !may_be_empty {
            let valid = of.map_or("any non-empty value".to_owned(), |of| format!("[{}]", of.join(", ")));
            let message = format!("Configuration '{name}' must not be empty. Valid values include: {valid}");
            return Err(Invalid(message));
        }
        if !may_repeat && list.iter().collect::<BTreeSet<_>>().len() < list.len() {
            return Err(Invalid(format!("Configuration '{name}' values must not be duplicated.")));
        }
        for one in list {
            if one.is_empty() {
                return Err(Invalid(format!("Configuration '{name}' values must not be empty.")));
            }
            if let Some(of) = of.filter(|of| !of.contains(&one.as_str())) {
                return Err(self.invalid(one, format!("String must be one of: {}", of.join(", "))));
            }
        }
        Ok(())
    }

    fn check_throttled(&self, list: &[String]) -> Result<(), Invalid> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let is_pair = |one: &String| one.split_once(':').is_some_and(|(p, b)| digits(p) && digits(b));
        // Kafka: nothing between two commas does no harm.
        if list.iter().all(|one| one.is_empty() || is_pair(one)) || list.concat() == "*" {
            return Ok(());
        }
        let reason = format!(
            "{} must be the literal '*' or a list of replicas in the following format: \
             [partitionId]:[brokerId],[partitionId]:[brokerId],...",
            self.name
        );
        Err(self.invalid(format!("[{}]", list.join(", ")), reason))
    }

    fn invalid(&self, value: impl fmt::Display, reason: impl fmt::Display) -> Invalid {
        Invalid(format!("Invalid value {value} for configuration {}: {reason}", self.name))
    }
}

fn is_offset_reset(text: &str) -> bool {
    matches!(text, "latest" | "earliest") || text.strip_prefix("by_duration:").is_some_and(is_duration)
}

/// `PnDTnHnMn.nS`, with at least one part.
fn is_duration(text: &str) -> bool {
    let Some(text) = text.strip_prefix(['P', 'p']) else { return false };
    let (days, time) = match text.split_once(['T', 't']) {
        Some((days, time)) => (days, Some(time)),
        None => (text, None),
    };
    let time_is_fine = match time {
        Some(time) => !time.is_empty() && after(after(after(time, 'H'), 'M'), 'S').is_empty(),
        None => !days.is_empty(),
    };
    after(days, 'D').is_empty() && time_is_fine
}

/// What follows a number with that unit; all of it if none is there. Seconds may have a fraction.
fn after(text: &str, unit: char) -> &str {
    let Some((number, rest)) = text.split_once([unit, unit.to_ascii_lowercase()]) else { return text };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let whole = match number.split_once(['.', ',']) {
        Some((whole, fraction)) if unit == 'S' && fraction.len() <= 9 && digits(fraction) => whole,
        _ => number,
    };
    if !whole.is_empty() && digits(whole) { rest } else { text }
}

fn without_repetition(mut list: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    list.retain(|one| seen.insert(one.clone()));
    list
}

impl Kind {
    /// The number that DescribeConfigs answers.
    pub const fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Int => "int",
            Self::Short => "short",
            Self::Long => "long",
            Self::Double => "double",
            Self::List => "list",
            Self::Class => "class",
            Self::Password => "password",
        }
    }

    /// Values of these are never answered.
    pub const fn is_sensitive(self) -> bool {
        matches!(self, Self::Password)
    }

    // Kafka: white space around any value is ignored.
    fn read(self, text: &str) -> Result<Value, String> {
        let text = text.trim();
        let number = |min: i64, max: i64| match text.parse::<i64>() {
            Ok(n) if (min..=max).contains(&n) => Ok(Value::Integer(n)),
            _ => Err(format!("Not a number of type {}", self.name().to_uppercase())),
        };
        match self {
            Self::Boolean if text.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
            Self::Boolean if text.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
            Self::Boolean => Err("Expected value to be either true or false".to_owned()),
            Self::Short => number(i16::MIN.into(), i16::MAX.into()),
            Self::Int => number(i32::MIN.into(), i32::MAX.into()),
            Self::Long => number(i64::MIN, i64::MAX),
            Self::Double => {
                read_double(text).map(Value::Double).ok_or_else(|| "Not a number of type DOUBLE".to_owned())
            }
            Self::List if text.is_empty() => Ok(Value::List(Vec::new())),
            Self::List => Ok(Value::List(text.split(',').map(|one| one.trim().to_owned()).collect())),
            Self::String | Self::Class | Self::Password => Ok(Value::Text(text.to_owned())),
        }
    }
}

impl Value {
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Double(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(value) => Some(value),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[String]> {
        match self {
            Self::List(value) => Some(value),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Double(value) => f.write_str(&double_text(*value)),
            Self::Text(value) => f.write_str(value),
            Self::List(value) => f.write_str(&value.join(",")),
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

// Kafka: Java's grammar, which allows a type letter at the end and spells the odd ones its own way. Java's hexadecimal
// form is not read.
fn read_double(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, "NaN" | "Infinity") {
        return text.parse().ok();
    }
    let digits = text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text);
    let is_decimal = |b: u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E');
    if digits.bytes().all(is_decimal) { digits.parse().ok() } else { None }
}

// Kafka: doubles are shown as Java shows them: plain between 0.001 and 10,000,000, else with an exponent, and always
// with a digit after the point.
fn double_text(value: f64) -> String {
    let with_point = |text: String| if text.contains('.') { text } else { format!("{text}.0") };
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() }
    } else if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        with_point(format!("{value}"))
    } else {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').expect("this format has an exponent");
        format!("{}E{exponent}", with_point(digits.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: Valid = Valid::OneOf(&["low", "high"]);
    const CLEANUP: Valid =
        Valid::ElementsOneOf { of: &["compact", "delete"], may_be_empty: true, may_repeat: false };

    const REPEATING: Valid =
        Valid::ElementsOneOf { of: &["compact", "delete"], may_be_empty: true, may_repeat: true };

    #[track_caller]
    fn check(kind: Kind, valid: Valid, text: &str, expected: Result<&str, &str>) {
        let setting = Setting {
            name: "a.b",
            kind,
            default: Default::Null,
            valid,
            importance: Importance::Low,
            standing: Standing::Honoured,
            doc: "",
        };
        let got = setting.parse(text).map(|value| value.to_string()).map_err(|invalid| invalid.0);
        assert_eq!(got, expected.map(str::to_owned).map_err(str::to_owned));
    }

    #[test]
    fn numbers_are_read_as_kafka_reads_them() {
        let of_type = |text: &str, name: &str| {
            format!("Invalid value {text} for configuration a.b: Not a number of type {name}")
        };
        check(Kind::Int, Valid::Any, " 100 ", Ok("100"));
        check(Kind::Int, Valid::Any, "+5", Ok("5"));
        check(Kind::Int, Valid::Any, "-2147483648", Ok("-2147483648"));
        for bad in ["", "1.5", "0x10", "1_000", "3000000000", "abc"] {
            check(Kind::Int, Valid::Any, bad, Err(&of_type(bad, "INT")));
        }
        check(Kind::Short, Valid::Any, "40000", Err(&of_type("40000", "SHORT")));
        check(Kind::Long, Valid::Any, "9223372036854775807", Ok("9223372036854775807"));
        let over = "99999999999999999999";
        check(Kind::Long, Valid::Any, over, Err(&of_type(over, "LONG")));
        for (text, shown) in [
            ("0.5", "0.5"),
            ("1e-1", "0.1"),
            ("1f", "1.0"),
            ("1e400", "Infinity"),
            ("NaN", "NaN"),
            ("1e7", "1.0E7"),
            ("9999999", "9999999.0"),
            ("0.000999", "9.99E-4"),
            ("123456789.125", "1.23456789125E8"),
            ("1.7976931348623157E308", "1.7976931348623157E308"),
        ] {
            check(Kind::Double, Valid::Any, text, Ok(shown));
        }
        for bad in ["x", "inf", "nan", "", "1 2"] {
            check(Kind::Double, Valid::Any, bad, Err(&of_type(bad, "DOUBLE")));
        }
    }

    #[test]
    fn ranges_are_kept() {
        let refused =
            |text: &str, reason: &str| format!("Invalid value {text} for configuration a.b: {reason}");
        check(Kind::Int, Valid::AtLeast(1), "1", Ok("1"));
        check(Kind::Int, Valid::AtLeast(1), "0", Err(&refused("0", "Value must be at least 1")));
        let levels = Valid::Between(1, 17);
        check(Kind::Int, levels, "18", Err(&refused("18", "Value must be no more than 17")));
        check(Kind::Int, Valid::GzipLevel, "-1", Ok("-1"));
        let gzip = "Value must be between 1 and 9 or equal to -1";
        check(Kind::Int, Valid::GzipLevel, "0", Err(&refused("0", gzip)));
        let ratio = Valid::UpTo(1.0);
        check(Kind::Double, ratio, "1.5", Err(&refused("1.5", "Value must be no more than 1")));
        check(Kind::Double, ratio, "-0.1", Err(&refused("-0.1", "Value must be at least 0")));
        check(Kind::Double, Valid::UpTo(0.5), "1", Err(&refused("1.0", "Value must be no more than 0.5")));
    }

    #[test]
    fn words_are_of_their_set() {
        check(Kind::Boolean, Valid::Any, "TRUE", Ok("true"));
        let boolean = "Invalid value yes for configuration a.b: Expected value to be either true or false";
        check(Kind::Boolean, Valid::Any, "yes", Err(boolean));
        check(Kind::String, LEVELS, " low", Ok("low"));
        let one_of = "Invalid value Low for configuration a.b: String must be one of: low, high";
        check(Kind::String, LEVELS, "Low", Err(one_of));
        check(Kind::String, Valid::OneOfAnyCase(&["UP", "DOWN"]), "up", Ok("up"));
        let any_case =
            "Invalid value x for configuration a.b: String must be one of (case insensitive): UP, DOWN";
        check(Kind::String, Valid::OneOfAnyCase(&["UP", "DOWN"]), "x", Err(any_case));
    }

    #[test]
    fn lists_are_checked_as_wholes_and_by_element() {
        check(Kind::List, CLEANUP, "", Ok(""));
        check(Kind::List, CLEANUP, "compact, delete", Ok("compact,delete"));
        let repeated = "Configuration 'a.b' values must not be duplicated.";
        check(Kind::List, CLEANUP, "delete,delete", Err(repeated));
        check(Kind::List, CLEANUP, ",delete", Err("Configuration 'a.b' values must not be empty."));
        let odd = "Invalid value foo for configuration a.b: String must be one of: compact, delete";
        check(Kind::List, CLEANUP, "delete,foo", Err(odd));
        let empty = "Configuration 'a.b' must not be empty. Valid values include: any non-empty value";
        check(Kind::List, Valid::Elements { may_be_empty: false }, "", Err(empty));
        check(Kind::List, Valid::ThrottledReplicas, "*", Ok("*"));
        check(Kind::List, Valid::ThrottledReplicas, "1:1, 2:2", Ok("1:1,2:2"));
        check(Kind::List, Valid::ThrottledReplicas, "1:1,,2:2,", Ok("1:1,,2:2,"));
        check(Kind::List, Valid::ThrottledReplicas, "*,", Ok("*,"));
        check(Kind::List, Valid::ThrottledReplicas, "", Ok(""));
        check(Kind::List, REPEATING, "compact, delete,compact", Ok("compact,delete"));
        let replicas = "Invalid value [*, 1:1] for configuration a.b: a.b must be the literal '*' or a list of \
                        replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...";
        check(Kind::List, Valid::ThrottledReplicas, "*,1:1", Err(replicas));
    }

    #[test]
    fn offsets_may_be_reset_to_an_end_or_by_a_duration() {
        for good in ["latest", "earliest", "by_duration:PT1H", "by_duration:p1dt2h3m4.5s", "by_duration:P2D"]
        {
            check(Kind::String, Valid::OffsetReset, good, Ok(good));
        }
        for bad in
            ["", "none", "Latest", "by_duration:", "by_duration:P", "by_duration:PT", "by_duration:-PT1H"]
                .into_iter()
                .chain([
                    "by_duration:PT1M1H",
                    "by_duration:PT1.5H",
                    "by_duration:1D",
                    "by_duration:PTS",
                    "by_duration:P1DT",
                ])
        {
            let reason = "The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.";
            let refused = format!("Invalid value {bad} for configuration a.b: {reason}");
            check(Kind::String, Valid::OffsetReset, bad, Err(&refused));
        }
    }
}
