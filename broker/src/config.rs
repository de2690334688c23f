//! What the broker was started with: read in layers, checked, and given as values with names.
//!
//! Later layers win: defaults, what a single node needs, `--dev`, the file, the environment, the command line. Everything
//! that is wrong is told at once, with its place. Nothing here touches the machine: texts come in, values go out.

pub(crate) mod broker_settings;
pub(crate) mod describe;
mod file;
pub(crate) mod groups;
mod listeners;
pub(crate) mod own_settings;
#[cfg(test)]
mod reference;
mod units;
pub(crate) mod values;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cluster::controller;
use cluster::groups::GroupSettings;
use cluster::metadata::{Image, Overrides, ResourceKind};
use protocol::messages::create_topics_request::CreatableTopic;
use reactor::{CorePlan, Kind, Pin, Plan, Shares};

pub(crate) use listeners::Listener;
use values::{Origin, Problem, Values, Wrong};

/// Everything the broker was started with.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) node_id: i32,
    pub(crate) rack: Option<String>,
    /// The id to give to a new cluster, or to insist on.
    pub(crate) cluster_id: Option<String>,
    pub(crate) log_dirs: Vec<PathBuf>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) cores: Vec<Core>,
    pub(crate) reactor: Kind,
    pub(crate) pinning: Pin,
    pub(crate) durability: Durability,
    /// Room kept free on each data directory's filesystem.
    pub(crate) reserve_bytes: u64,
    pub(crate) shutdown_timeout_ms: u64,
    pub(crate) socket_request_max_bytes: usize,
    pub(crate) socket_listen_backlog: i32,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_ip: usize,
    pub(crate) connections_max_idle_ms: i64,
    pub(crate) queued_max_request_bytes: usize,
    pub(crate) fetch_max_bytes: i32,
    pub(crate) max_incremental_fetch_session_cache_slots: usize,
    pub(crate) max_request_partition_size_limit: i32,
    pub(crate) auto_create_topics_enable: bool,
    pub(crate) delete_topic_enable: bool,
    pub(crate) num_partitions: i32,
    pub(crate) default_replication_factor: i16,
    pub(crate) producer_id_expiration_ms: i64,
    pub(crate) log_initial_task_delay_ms: u64,
    pub(crate) log_retention_check_interval_ms: u64,
    pub(crate) groups: GroupSettings,
    /// The topic that keeps groups, as it is created.
    pub(crate) offsets_topic: CreatableTopic,
    /// At the start; see [`Config::log_cleaner_now`].
    pub(crate) log_cleaner: LogCleaner,
    /// What was said of Kafka's settings, by name: the defaults of topics' settings come from here.
    pub(crate) statics: Overrides,
    /// All that was said, and where.
    pub(crate) values: Values,
    /// For the person who starts the broker.
    pub(crate) warnings: Vec<String>,
}

/// `log.cleaner.*`, for all cores together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LogCleaner {
    pub(crate) enable: bool,
    pub(crate) backoff_ms: u64,
    pub(crate) dedupe_buffer_size: usize,
    pub(crate) io_buffer_load_factor: f64,
    pub(crate) io_max_bytes_per_second: f64,
}

/// One core's settings.
#[derive(Clone, Debug)]
pub(crate) struct Core {
    pub(crate) plan: CorePlan,
    pub(crate) tail_cache_bytes: usize,
    pub(crate) commit_log_bytes: u64,
}

/// When a record counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// On stable storage.
    Synced,
    /// Handed to the device: a power cut may undo it.
    Written,
}

/// What the command line says over file and environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommandLine {
    pub(crate) dev: bool,
    pub(crate) data_dir: Option<PathBuf>,
    /// host:port
    pub(crate) listen: Option<String>,
    /// host:port
    pub(crate) http: Option<String>,
    pub(crate) shards: Option<usize>,
    /// `key=value`, in the order given.
    pub(crate) settings: Vec<String>,
}

/// All that a configuration is made of.
#[derive(Clone, Debug)]
pub(crate) struct Sources<'a> {
    /// The file's path, for messages, and its text.
    pub(crate) file: Option<(&'a str, &'a str)>,
    /// All variables; those that begin with `MILLSTREAM_` count.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) command_line: &'a CommandLine,
    /// How many CPUs this process may use.
    pub(crate) cpus: usize,
    /// What this machine calls itself: told to clients where no listener says better.
    pub(crate) host_name: &'a str,
}

/// Why a configuration is refused, for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigError(pub(crate) Vec<Problem>);

const VARIABLES: &str = "MILLSTREAM_";
/// Variables that are read elsewhere.
const OTHER_VARIABLES: &[&str] = &["MILLSTREAM_LOG", "MILLSTREAM_CONFIG", "MILLSTREAM_BOOTSTRAP"];

/// More cores than this are a mistake.
const CORES_MAX: usize = 1024;
/// Where `queued.max.request.bytes` leaves the limit to us.
const QUEUED_REQUEST_BYTES: usize = 512 << 20;
/// What the decoded form of a request may weigh, for each of its bytes and at most: 100,000 topics weigh less. Some
/// answers weigh ten times as much as what they answer.
const REQUEST_WEIGHT: usize = 16;
const REQUEST_WEIGHT_BASE: usize = 64 << 10;
const REQUEST_WEIGHT_MAX: usize = 16 << 20;

impl Config {
    pub(crate) fn load(sources: &Sources<'_>) -> Result<Self, ConfigError> {
        let mut layers = Layers::default();
        if sources.command_line.dev {
            layers.dev();
        }
        layers.file(sources.file);
        layers.environment(&sources.environment);
        layers.command_line(sources.command_line);
        if !layers.problems.is_empty() {
            return Err(ConfigError(layers.problems));
        }
        layers.single_node();
        build(layers, sources)
    }

    pub(crate) fn machine_plan(&self) -> Plan {
        Plan {
            kind: self.reactor,
            cores: self.cores.iter().map(|core| core.plan.clone()).collect(),
            data_dirs: self.log_dirs.clone(),
            pin: self.pinning,
        }
    }

    /// What the controller's decisions depend on.
    pub(crate) fn controller_settings(&self) -> controller::Settings {
        controller::Settings {
            node_id: self.node_id,
            num_partitions: self.num_partitions,
            default_replication_factor: self.default_replication_factor,
            delete_topic_enable: self.delete_topic_enable,
            statics: self.statics.clone(),
        }
    }

    /// As far as they were changed since the start, by what was set for this broker, else for all.
    pub(crate) fn log_cleaner_now(&self, image: &Image) -> LogCleaner {
        let node_id = self.node_id.to_string();
        // The later one wins.
        let set = ["", node_id.as_str()]
            .into_iter()
            .filter_map(|name| image.configs.of(ResourceKind::Broker, name));
        log_cleaner(&self.values.with_live(set))
    }

    pub(crate) fn tail_cache_bytes(&self, core: usize) -> usize {
        self.cores[core].tail_cache_bytes
    }

    /// Zero for no commit log.
    pub(crate) fn commit_log_bytes(&self, core: usize) -> u64 {
        self.cores[core].commit_log_bytes
    }

    pub(crate) fn shutdown_timeout(&self) -> Duration {
        Duration::from_millis(self.shutdown_timeout_ms)
    }

    /// How much memory a decoded request of so many bytes may take.
    pub(crate) fn request_weight_max(&self, body_bytes: usize) -> usize {
        REQUEST_WEIGHT_BASE + body_bytes.saturating_mul(REQUEST_WEIGHT).min(REQUEST_WEIGHT_MAX)
    }
}

/// The layers, one after the other.
#[derive(Default)]
struct Layers {
    values: Values,
    /// What each `[[core]]` says.
    cores: Vec<Values>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Layers {
    fn give(&mut self, name: &str, text: &str, at: Origin) {
        if let Err(wrong) = self.values.give(name, text, at.clone()) {
            self.problems.push(Problem { origin: at, message: wrong.message() });
        }
    }

    /// A broker to try things on.
    fn dev(&mut self) {
        let preset = [
            ("log.dirs", "millstream-data"),
            ("listeners", "PLAINTEXT://127.0.0.1:9092"),
            ("pinning", "off"),
        ];
        for (name, text) in preset {
            self.give(name, text, Origin::Dev);
        }
    }

    fn file(&mut self, file: Option<(&str, &str)>) {
        let Some((path, text)) = file else { return };
        let file = match file::read(path, text) {
            Ok(file) => file,
            Err(problems) => return self.problems.extend(problems),
        };
        for entry in file.entries {
            self.file_entry(entry, Values::give, None);
        }
        for entries in file.cores {
            let core = self.cores.len();
            self.cores.push(Values::default());
            for entry in entries {
                self.file_entry(entry, Values::give_core, Some(core));
            }
        }
    }

    /// An unknown name is told where the name is, a bad value where the value is.
    fn file_entry(
        &mut self,
        entry: file::Entry,
        give: fn(&mut Values, &str, &str, Origin) -> Result<(), Wrong>,
        core: Option<usize>,
    ) {
        let into = match core {
            Some(core) => &mut self.cores[core],
            None => &mut self.values,
        };
        let given = give(into, &entry.name, &entry.text, entry.value_at.clone());
        self.problems.extend(given.err().map(|wrong| match wrong {
            Wrong::Name(message) => Problem { origin: entry.name_at, message },
            Wrong::Value(message) => Problem { origin: entry.value_at, message },
        }));
    }

    fn environment(&mut self, environment: &[(String, String)]) {
        let ours = environment.iter().filter(|(variable, _)| variable.starts_with(VARIABLES));
        for (variable, text) in ours.filter(|(variable, _)| !OTHER_VARIABLES.contains(&variable.as_str())) {
            match values::setting_of_variable(variable) {
                Some(name) => self.give(name, text, Origin::Environment(variable.clone())),
                // Not an error: Kubernetes puts variables there that begin with a service's name.
                None => self.warnings.push(format!("{variable} is not a setting's variable")),
            }
        }
    }

    fn command_line(&mut self, command_line: &CommandLine) {
        let argument = |text: &str| Origin::CommandLine(text.to_owned());
        if let Some(dir) = &command_line.data_dir {
            self.give("log.dirs", &dir.to_string_lossy(), argument("--data-dir"));
        }
        if let Some(address) = &command_line.listen {
            self.give("listeners", &listeners::from_address(address), argument("--listen"));
        }
        if let Some(address) = &command_line.http {
            self.give("http_listen", address, argument("--http"));
        }
        if let Some(shards) = command_line.shards {
            self.give("cores", &shards.to_string(), argument("--shards"));
        }
        for setting in &command_line.settings {
            let origin = argument(&format!("--set {setting}"));
            match setting.split_once('=') {
                Some((name, text)) => self.give(name.trim(), text, origin),
                None => self.problems.push(Problem { origin, message: "not KEY=VALUE".to_owned() }),
            }
        }
    }

    /// What Kafka demands or sets too high for a cluster of one.
    fn single_node(&mut self) {
        for (name, text) in broker_settings::SINGLE_NODE {
            self.values.give_unless_given(name, text);
        }
        let node_id = self.values.int("node.id").to_string();
        self.values.give_unless_given("broker.id", &node_id);
    }
}

fn build(layers: Layers, sources: &Sources<'_>) -> Result<Config, ConfigError> {
    let Layers { values, cores, mut problems, mut warnings } = layers;
    problems.extend(check_roles(&values));
    problems.extend(groups::check(&values));
    let (listeners, unopened) = listeners::read(&values, &cores, sources.host_name).unwrap_or_else(|found| {
        problems.extend(found);
        (Vec::new(), Vec::new())
    });
    warnings.extend(unopened.iter().map(|name| {
        format!(
            "listener {name} is not opened: it is for controllers, and the controller is part of this process"
        )
    }));
    let cores =
        core_count(&values, cores.len(), sources.cpus).map(|count| plan_cores(&values, &cores, count));
    let cores = cores.unwrap_or_else(|problem| {
        problems.push(problem);
        Vec::new()
    });
    let http = http(&values).unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    if !problems.is_empty() {
        return Err(ConfigError(problems));
    }
    Ok(Config {
        node_id: values.int("node.id"),
        rack: values.text("broker.rack"),
        cluster_id: values.text("cluster_id"),
        log_dirs: log_dirs(&values),
        listeners,
        http,
        cores,
        reactor: reactor(&values),
        pinning: pinning(&values),
        durability: match values.text("durability").as_deref() {
            Some("written") => Durability::Written,
            _ => Durability::Synced,
        },
        reserve_bytes: values.size("reserve_bytes") as u64,
        shutdown_timeout_ms: values.size("shutdown_timeout_ms") as u64,
        socket_request_max_bytes: values.size("socket.request.max.bytes"),
        socket_listen_backlog: values.int("socket.listen.backlog.size"),
        max_connections: values.size("max.connections"),
        max_connections_per_ip: values.size("max.connections.per.ip"),
        connections_max_idle_ms: values.long("connections.max.idle.ms"),
        // Kafka: -1 is "no limit", which no broker can keep.
        queued_max_request_bytes: usize::try_from(values.long("queued.max.request.bytes"))
            .unwrap_or(QUEUED_REQUEST_BYTES),
        fetch_max_bytes: values.int("fetch.max.bytes"),
        max_incremental_fetch_session_cache_slots: values.size("max.incremental.fetch.session.cache.slots"),
        max_request_partition_size_limit: values.int("max.request.partition.size.limit"),
        auto_create_topics_enable: values.boolean("auto.create.topics.enable"),
        delete_topic_enable: values.boolean("delete.topic.enable"),
        num_partitions: values.int("num.partitions"),
        default_replication_factor: i16::try_from(values.int("default.replication.factor"))
            .unwrap_or(i16::MAX),
        producer_id_expiration_ms: values.long("producer.id.expiration.ms"),
        log_initial_task_delay_ms: values.size("log.initial.task.delay.ms") as u64,
        log_retention_check_interval_ms: values.size("log.retention.check.interval.ms") as u64,
        groups: groups::settings(&values),
        offsets_topic: groups::offsets_topic(&values),
        log_cleaner: log_cleaner(&values),
        statics: values.statics(),
        values,
        warnings,
    })
}

fn reactor(values: &Values) -> Kind {
    match values.text("reactor").as_deref() {
        Some("ring") => Kind::Ring,
        Some("portable") => Kind::Portable,
        _ => Kind::Auto,
    }
}

fn pinning(values: &Values) -> Pin {
    match values.text("pinning").as_deref() {
        Some("on") => Pin::On,
        Some("off") => Pin::Off,
        _ => Pin::Auto,
    }
}

fn log_cleaner(values: &Values) -> LogCleaner {
    LogCleaner {
        enable: values.boolean("log.cleaner.enable"),
        backoff_ms: values.size("log.cleaner.backoff.ms") as u64,
        // With less than it takes a pass still gets on.
        dedupe_buffer_size: usize::try_from(values.long("log.cleaner.dedupe.buffer.size")).unwrap_or(0),
        io_buffer_load_factor: values.double("log.cleaner.io.buffer.load.factor"),
        io_max_bytes_per_second: values.double("log.cleaner.io.max.bytes.per.second").max(1.0),
    }
}

/// One process is broker and controller in one, and knows no other.
fn check_roles(values: &Values) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut roles = values.list("process.roles").unwrap_or_default();
    roles.sort();
    if roles != ["broker", "controller"] {
        let message = "a process that is not both broker and controller is not supported yet";
        problems.push(values.problem("process.roles", message));
    }
    let node_id = values.int("node.id");
    let broker_id = values.int("broker.id");
    if broker_id != node_id && broker_id != -1 {
        problems.push(
            values.problem("broker.id", format!("`broker.id` is {broker_id}, but `node.id` is {node_id}")),
        );
    }
    for name in ["controller.quorum.voters", "controller.quorum.bootstrap.servers"] {
        if values.list(name).is_some_and(|list| list.len() > 1) {
            problems.push(values.problem(name, "a quorum of several controllers is not supported yet"));
        }
    }
    let voters = values.list("controller.quorum.voters").unwrap_or_default();
    if let Some(voter) = voters.first()
        && voter.split('@').next() != Some(node_id.to_string().as_str())
    {
        let message = format!("the voter `{voter}` is not this node, whose `node.id` is {node_id}");
        problems.push(values.problem("controller.quorum.voters", message));
    }
    problems
}

fn log_dirs(values: &Values) -> Vec<PathBuf> {
    let dirs = values.list("log.dirs").or_else(|| values.list("log.dir")).unwrap_or_default();
    dirs.into_iter().map(PathBuf::from).collect()
}

fn http(values: &Values) -> Result<Option<SocketAddr>, Problem> {
    let Some(text) = values.text("http_listen").filter(|text| !text.is_empty()) else { return Ok(None) };
    let address =
        text.strip_prefix("localhost:").map_or_else(|| text.clone(), |port| format!("127.0.0.1:{port}"));
    let wrong = |_| values.problem("http_listen", format!("`{text}` is not address:port"));
    address.parse().map(Some).map_err(wrong)
}

fn core_count(values: &Values, described: usize, cpus: usize) -> Result<usize, Problem> {
    let wanted = values.text("cores").filter(|text| text != "auto");
    let count = match wanted {
        None if described > 0 => described,
        None => cpus.max(1),
        Some(text) => match text.parse::<usize>() {
            Ok(count) if described > 0 && count != described => {
                let message = format!("{count} cores, but {described} `[[core]]` tables");
                return Err(values.problem("cores", message));
            }
            Ok(count) => count,
            Err(_) => return Err(values.problem("cores", format!("`{text}` is neither `auto` nor a number"))),
        },
    };
    if (1..=CORES_MAX).contains(&count) {
        return Ok(count);
    }
    Err(values.problem("cores", format!("{count} is not a number of cores from 1 to {CORES_MAX}")))
}

/// What each core says, or else what holds for all of them.
fn plan_cores(values: &Values, cores: &[Values], count: usize) -> Vec<Core> {
    let nothing = Values::default();
    (0..count)
        .map(|at| {
            let own = cores.get(at).unwrap_or(&nothing);
            let size =
                |name: &str| if own.given(name).is_some() { own.size(name) } else { values.size(name) };
            let shares = Shares {
                append: size("append_shares"),
                read: size("read_shares"),
                background: size("background_shares"),
            };
            let plan = CorePlan {
                cpu: own.given("cpu").map(|_| own.size("cpu")),
                registered_bytes: size("registered_buffer_bytes"),
                shares,
            };
            let commit_log_bytes = size("commit_log_bytes") as u64;
            Core { plan, tail_cache_bytes: size("tail_cache_bytes"), commit_log_bytes }
        })
        .collect()
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests;
