//! Names that topics may have.

use std::borrow::Cow;

const NAME_CHARS_MAX: usize = 249;

/// Kafka's own topics, which are not for clients to write to.
const INTERNAL: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];
/// The metadata log. Not a topic like others: nobody creates, deletes or lists it.
pub(super) const CLUSTER_METADATA: &str = "__cluster_metadata";

pub fn is_internal_topic(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// What is wrong with a topic's name, in Kafka's words; `None` if it may be used.
pub fn invalid_topic_name(name: &str) -> Option<String> {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let reason = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => format!("'{name}' is not allowed"),
        // Kafka: counts UTF-16 units; for all names that could be allowed that is the same.
        _ if name.encode_utf16().count() > NAME_CHARS_MAX => {
            format!("the length of '{name}' is longer than the max allowed length {NAME_CHARS_MAX}")
        }
        _ if name.bytes().all(is_allowed) => return None,
        _ => format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ),
    };
    Some(format!("Topic name is invalid: {reason}"))
}

/// The name with its dots turned into underscores, as metrics show it; `None` if it has neither.
pub(super) fn unified(name: &str) -> Option<Cow<'_, str>> {
    match (name.contains('.'), name.contains('_')) {
        (true, _) => Some(Cow::Owned(name.replace('.', "_"))),
        (false, true) => Some(Cow::Borrowed(name)),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_kafka_judges_them() {
        for name in ["a", "...", "A-z_0.9", "__consumer_offsets", &"x".repeat(249)] {
            assert_eq!(invalid_topic_name(name), None, "{name}");
        }
        let check = |name: &str, reason: &str| {
            assert_eq!(invalid_topic_name(name), Some(format!("Topic name is invalid: {reason}")));
        };
        check("", "the empty string is not allowed");
        check(".", "'.' is not allowed");
        check("..", "'..' is not allowed");
        for name in ["a/b", "é", "a b", "a\n"] {
            let others = "contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'";
            check(name, &format!("'{name}' {others}"));
        }
        let long = "x".repeat(250);
        check(&long, &format!("the length of '{long}' is longer than the max allowed length 249"));
    }
}
