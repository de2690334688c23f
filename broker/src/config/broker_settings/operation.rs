//! Metrics and where settings come from.

use super::*;

#[rustfmt::skip]
pub(super) const SETTINGS: &[BrokerSetting] = &[
    row("metric.reporters", List, Text("org.apache.kafka.common.metrics.JmxReporter"), Elements { may_be_empty: true }, Low, ClusterWide, Accepted(JMX),
        "Plug-ins that report metrics."),
    row("metrics.num.samples", Int, Text("2"), AtLeast(1), Low, ReadOnly, Accepted(JMX),
        "How many samples a rate is computed over."),
    row("metrics.sample.window.ms", Long, Text("30000"), AtLeast(1), Low, ReadOnly, Accepted(JMX),
        "Length of one of those samples."),
    row("metrics.recording.level", String, Text("INFO"), Any, Low, ReadOnly, Accepted(JMX),
        "Which metrics are recorded."),
    row("kafka.metrics.reporters", List, Text(""), Elements { may_be_empty: true }, Low, ReadOnly, Accepted(JMX),
        "Plug-ins that report the older kind of metrics."),
    row("kafka.metrics.polling.interval.secs", Int, Text("10"), AtLeast(1), Low, ReadOnly, Accepted(JMX),
        "How often those plug-ins report."),
    row("telemetry.max.bytes", Int, Text("1048576"), AtLeast(1), Low, ReadOnly, NotYet,
        "Largest metrics that a client may push."),
    row("config.providers", List, Text(""), Elements { may_be_empty: true }, Low, ClusterWide, NotYet,
        "Plug-ins that fetch settings from elsewhere."),
];
