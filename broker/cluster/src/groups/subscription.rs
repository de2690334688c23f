//! Which topics a group's members are subscribed to: by name, or by a pattern that the broker matches.

mod re2;

use crate::metadata::Topics;

/// A pattern in the syntax of RE2, as Apache Kafka's broker takes it. Only whole names match.
#[derive(Clone, Debug)]
pub struct TopicPattern(regex::Regex);

/// Why a text is no pattern, in the words of Apache Kafka's library where it has words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAPattern(pub &'static str);

impl TopicPattern {
    pub fn parse(text: &str) -> Result<Self, NotAPattern> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(NotAPattern("expression is too long"));
        }
        let pattern = re2::translate(text).map_err(NotAPattern)?;
        let compiled = regex::RegexBuilder::new(&format!(r"\A(?:{pattern})\z"))
            .size_limit(PROGRAM_BYTES_MAX)
            .dfa_size_limit(PROGRAM_BYTES_MAX)
            .build();
        match compiled {
            Ok(regex) => Ok(Self(regex)),
            Err(regex::Error::CompiledTooBig(_)) => Err(NotAPattern("expression is too large")),
            Err(_) => Err(NotAPattern("invalid or unsupported syntax")),
        }
    }

    pub fn matches(&self, topic: &str) -> bool {
        self.0.is_match(topic)
    }

    /// The names of the topics that match, ascending.
    pub fn topics<'a>(&self, topics: &'a Topics) -> impl Iterator<Item = &'a str> {
        topics.iter().map(|topic| &*topic.name).filter(|name| self.matches(name))
    }
}

/// The longest text that the key of a record can hold.
const TEXT_BYTES_MAX: usize = i16::MAX as usize;
/// A few letters can ask for a program without end: `(((x{1000}){1000}){1000})`.
const PROGRAM_BYTES_MAX: usize = 1 << 20;

impl std::fmt::Display for NotAPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NotAPattern {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of a table made by Apache Kafka's own library: the pattern, and which of these match or why it is none.
    const NAMES: [&str; 7] = ["a", "b", "ab", "A", "&", "-", "]"];
    const TABLE: &str = include_str!("subscription/re2j.txt");

    #[test]
    fn patterns_match_what_they_match_in_kafka() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
        let mut count = 0;
        for line in lines {
            count += 1;
            let (pattern, expected) = line.split_once('\t').unwrap();
            let happened = match TopicPattern::parse(pattern) {
                Ok(parsed) => {
                    let names: Vec<&str> = NAMES.into_iter().filter(|name| parsed.matches(name)).collect();
                    format!("matches {}", names.join(" "))
                }
                Err(NotAPattern(reason)) => reason.to_owned(),
            };
            assert_eq!(happened.trim_end(), expected.trim_end(), "{pattern}");
        }
        assert!(count > 90, "the table is gone");
    }

    #[test]
    fn what_would_not_fit_is_refused() {
        let refused = |text: &str| TopicPattern::parse(text).unwrap_err().0;
        assert_eq!(refused("(((a{1000}){1000}){1000})"), "expression is too large");
        assert_eq!(refused(&"a".repeat(40_000)), "expression is too long");
        // Kafka takes these two; they are too large here.
        assert_eq!(refused(r"(a{1000}){1000}"), "expression is too large");
        let deep = format!("{}a{}", "(".repeat(5_000), ")".repeat(5_000));
        assert_eq!(refused(&deep), "invalid or unsupported syntax");
    }

    #[test]
    fn whole_names_match() {
        let pattern = TopicPattern::parse("orders|order").unwrap();
        assert!(pattern.matches("orders") && pattern.matches("order"));
        assert!(!pattern.matches("orders2") && !pattern.matches("my-orders"));
    }
}
