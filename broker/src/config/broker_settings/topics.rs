//! New topics.

use super::*;

#[rustfmt::skip]
pub(super) const SETTINGS: &[BrokerSetting] = &[
    row("num.partitions", Int, Text("1"), AtLeast(1), Medium, ReadOnly, Honoured,
        "Partitions of a new topic whose creator does not say."),
    row("default.replication.factor", Int, Text("1"), Any, Medium, ReadOnly, Honoured,
        "Replicas of a new topic whose creator does not say."),
    row("auto.create.topics.enable", Boolean, Text("true"), Any, High, ReadOnly, Honoured,
        "Whether asking for a topic that does not exist creates it."),
    row("delete.topic.enable", Boolean, Text("true"), Any, High, ReadOnly, Honoured,
        "Whether topics can be deleted."),
    row("create.topic.policy.class.name", Class, Null, Any, Low, ReadOnly, NotYet,
        "Plug-in that may refuse new topics."),
    row("alter.config.policy.class.name", Class, Null, Any, Low, ReadOnly, NotYet,
        "Plug-in that may refuse changes of settings."),
];
