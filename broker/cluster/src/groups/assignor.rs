//! Who shall have which partitions: Kafka's two server-side assignors. Neither looks at racks, as Kafka's do not.

mod range;
mod uniform;

#[cfg(test)]
mod properties;

use protocol::ids::Uuid;

use super::assignment::Assignment;

/// How partitions are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// As many for each, and as few moves as that allows.
    Uniform,
    /// Of each topic a range for each, the same of topics of the same size, so that what is joined by key meets.
    Range,
}

/// A member, to an assignor.
#[derive(Clone, Copy, Debug)]
pub struct Subscriber<'a> {
    pub member_id: &'a str,
    pub instance_id: Option<&'a str>,
    /// Ascending, and all among the topics that are to be shared out.
    pub topics: &'a [Uuid],
    /// What it was to have until now.
    pub has: &'a Assignment,
}

/// A topic and how many partitions it has.
pub type TopicSize = (Uuid, i32);

impl Assignor {
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range].into_iter().find(|it| it.name() == name)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// What each subscriber shall have, in their order. `topics` are ascending.
    pub fn assign(self, topics: &[TopicSize], subscribers: &[Subscriber<'_>]) -> Vec<Assignment> {
        match self {
            Self::Uniform => uniform::assign(topics, subscribers),
            Self::Range => range::assign(topics, subscribers),
        }
    }
}

/// The places of a subscriber's topics among those that are shared out; what is not there is left out.
fn places<'a>(topics: &'a [TopicSize], subscribed: &'a [Uuid]) -> impl Iterator<Item = usize> + 'a {
    subscribed.iter().filter_map(|topic| topics.binary_search_by_key(topic, |(id, _)| *id).ok())
}
