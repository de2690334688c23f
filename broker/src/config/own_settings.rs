//! Settings that Kafka has no name for.

use cluster::setting::Default::{Null, Text};
use cluster::setting::Importance::{High, Low, Medium};
use cluster::setting::Kind::{Int, Long, String};
use cluster::setting::Standing::Honoured;
use cluster::setting::Valid::{Any, AtLeast, OneOf};
use cluster::setting::{Default, Importance, Kind, Setting, Standing, Valid};

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnSetting {
    pub(crate) setting: Setting,
    /// May be given for one core, in its `[[core]]` table; above it, it is for all cores.
    pub(crate) per_core: bool,
    /// Makes sense for one core only.
    pub(crate) only_per_core: bool,
}

#[rustfmt::skip]
pub(crate) const OWN_SETTINGS: &[OwnSetting] = &[
    node("cluster_id", String, Null, Any, Medium, Honoured,
        "Id of the cluster; made up when the first data directory is created, if not given."),
    node("reactor", String, Text("auto"), OneOf(&["auto", "ring", "portable"]), High, Honoured,
        "What runs the cores: `ring` is io_uring, `portable` is epoll and slower, `auto` takes io_uring where it works."),
    node("pinning", String, Text("auto"), OneOf(&["auto", "on", "off"]), High, Honoured,
        "Whether each core's thread stays on one CPU; `auto` does so if this process has its CPUs to itself."),
    node("cores", String, Text("auto"), Any, High, Honoured,
        "How many cores to use, if there is no `[[core]]` table; `auto` takes all that this process may use."),
    node("durability", String, Text("synced"), OneOf(&["synced", "written"]), High, Honoured,
        "When a record counts as written: `synced` once it is on stable storage, `written` once the device has it, which a power cut may undo."),
    node("reserve_bytes", Long, Text("268435456"), AtLeast(0), Medium, Honoured,
        "Room kept free on each data directory's disk; below it nothing more is accepted, and reading and deleting go on."),
    node("shutdown_timeout_ms", Long, Text("30000"), AtLeast(1), Medium, Honoured,
        "How long a stop may take before what is left is given up."),
    node("http_listen", String, Null, Any, Medium, Honoured,
        "Address for metrics and health over HTTP, as host:port; none, if not given."),
    core("tail_cache_bytes", Long, Text("33554432"), AtLeast(1 << 20), High, Honoured,
        "Memory of a core for the newest records of its logs, from which readers at the end are served."),
    core("commit_log_bytes", Long, Text("33554432"), AtLeast(0), High, Honoured,
        "Room of a core's commit log in each data directory, which takes the small appends of all its logs together; 0 for none."),
    core("registered_buffer_bytes", Long, Text("67108864"), AtLeast(1 << 20), Medium, Honoured,
        "Most memory of a core that is registered with the kernel for direct reads and writes."),
    core("append_shares", Int, Text("1000"), AtLeast(1), Low, Honoured,
        "How much of a busy core goes to appends and to whatever a client waits for, relative to the other shares."),
    core("read_shares", Int, Text("400"), AtLeast(1), Low, Honoured,
        "How much of a busy core goes to reading old records from disk, relative to the other shares."),
    core("background_shares", Int, Text("50"), AtLeast(1), Low, Honoured,
        "How much of a busy core goes to recovery, retention and other chores, relative to the other shares."),
    only_core("cpu", Int, Null, AtLeast(0), Medium, Honoured,
        "CPU of this core, if threads are pinned."),
    only_core("listener", String, Null, Any, Medium, Honoured,
        "A listener of this core alone, as NAME://host:port: what connects there is served on this core. Its name needs a protocol, and it may be advertised, as any other."),
];

pub(crate) fn find(name: &str) -> Option<&'static OwnSetting> {
    OWN_SETTINGS.iter().find(|own| own.setting.name == name)
}

const fn node(
    name: &'static str,
    kind: Kind,
    default: Default,
    valid: Valid,
    importance: Importance,
    standing: Standing,
    doc: &'static str,
) -> OwnSetting {
    let setting = Setting { name, kind, default, valid, importance, standing, doc };
    OwnSetting { setting, per_core: false, only_per_core: false }
}

const fn core(
    name: &'static str,
    kind: Kind,
    default: Default,
    valid: Valid,
    importance: Importance,
    standing: Standing,
    doc: &'static str,
) -> OwnSetting {
    let own = node(name, kind, default, valid, importance, standing, doc);
    OwnSetting { per_core: true, ..own }
}

const fn only_core(
    name: &'static str,
    kind: Kind,
    default: Default,
    valid: Valid,
    importance: Importance,
    standing: Standing,
    doc: &'static str,
) -> OwnSetting {
    let own = core(name, kind, default, valid, importance, standing, doc);
    OwnSetting { only_per_core: true, ..own }
}
