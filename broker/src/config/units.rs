//! Sizes and times as people write them: `64 MiB`, `7d`. In the unit that the setting's name says.

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Bytes,
    Milliseconds,
    Seconds,
    Minutes,
    Hours,
}

const SIZES: &[(&str, i64)] = &[
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

const TIMES_MS: &[(&str, i64)] = &[
    ("ms", 1),
    ("s", 1000),
    ("min", 60_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 7 * 86_400_000),
];

impl Unit {
    /// The unit in a setting's name.
    pub(super) fn of(name: &str) -> Option<Self> {
        let mut words = name.split(['.', '_']);
        if words.clone().any(|word| word == "bytes")
            || name.ends_with("buffer.size")
            || name.ends_with("receive.size")
        {
            return Some(Self::Bytes);
        }
        match words.next_back()? {
            "ms" | "millis" => Some(Self::Milliseconds),
            "secs" | "seconds" => Some(Self::Seconds),
            "minutes" => Some(Self::Minutes),
            "hours" => Some(Self::Hours),
            _ => None,
        }
    }

    /// A number with a unit, as a number of this one. `None` if it is nothing of the kind.
    pub(super) fn read(self, text: &str) -> Option<Result<i64, String>> {
        let text = text.trim();
        let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '_'))?;
        let (number, suffix) = text.split_at(digits);
        let number: i64 = number.replace('_', "").parse().ok()?;
        let suffix = suffix.trim_start();
        let table = if self == Self::Bytes { SIZES } else { TIMES_MS };
        let factor = table.iter().find(|(name, _)| *name == suffix)?.1;
        let too_large = || format!("{text} is more than can be counted");
        let Some(total) = number.checked_mul(factor) else { return Some(Err(too_large())) };
        let own = self.in_own();
        if total % own != 0 {
            return Some(Err(format!("{text} is not a whole number of {}", self.name())));
        }
        Some(Ok(total / own))
    }

    fn in_own(self) -> i64 {
        match self {
            Self::Bytes | Self::Milliseconds => 1,
            Self::Seconds => 1000,
            Self::Minutes => 60_000,
            Self::Hours => 3_600_000,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Milliseconds => "milliseconds",
            Self::Seconds => "seconds",
            Self::Minutes => "minutes",
            Self::Hours => "hours",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_their_units() {
        let check = |name: &str, unit| assert_eq!(Unit::of(name), unit, "{name}");
        check("log.segment.bytes", Some(Unit::Bytes));
        check("log.cleaner.dedupe.buffer.size", Some(Unit::Bytes));
        check("metadata.log.max.record.bytes.between.snapshots", Some(Unit::Bytes));
        check("tail_cache_bytes", Some(Unit::Bytes));
        check("log.retention.ms", Some(Unit::Milliseconds));
        check("log.retention.minutes", Some(Unit::Minutes));
        check("log.roll.hours", Some(Unit::Hours));
        check("quota.window.size.seconds", Some(Unit::Seconds));
        check("num.partitions", None);
        check("group.max.size", None);
    }

    #[test]
    fn numbers_with_units_become_plain_numbers() {
        let check = |unit: Unit, text: &str, expected| assert_eq!(unit.read(text), expected, "{text}");
        check(Unit::Bytes, "64 MiB", Some(Ok(64 << 20)));
        check(Unit::Bytes, "64MiB", Some(Ok(64 << 20)));
        check(Unit::Bytes, "1_000 kB", Some(Ok(1_000_000)));
        check(Unit::Milliseconds, "7d", Some(Ok(604_800_000)));
        check(Unit::Milliseconds, "90 s", Some(Ok(90_000)));
        check(Unit::Hours, "7d", Some(Ok(168)));
        check(Unit::Seconds, "1min", Some(Ok(60)));
        let uneven = "90min is not a whole number of hours".to_owned();
        check(Unit::Hours, "90min", Some(Err(uneven)));
        let large = "9999999 TiB is more than can be counted".to_owned();
        check(Unit::Bytes, "9999999 TiB", Some(Err(large)));
        for nothing in ["", "5", "-1", "MiB", "5 m", "1.5 GiB", "5 MiBs", "five MiB"] {
            check(Unit::Bytes, nothing, None);
        }
    }
}
