use std::collections::BTreeSet;

use super::broker_settings::{BrokerSetting, SINGLE_NODE, Update};
use super::own_settings::OWN_SETTINGS;
use super::*;
use cluster::group_settings::{self, GROUP_SETTINGS};
use cluster::live_settings;
use cluster::metadata::MetadataRecord;
use cluster::setting::{Default as SettingDefault, Kind as SettingKind, Setting, Standing};
use cluster::topic_settings::TOPIC_SETTINGS;

fn load_all(
    file: &str,
    environment: &[(&str, &str)],
    command_line: &CommandLine,
) -> Result<Config, ConfigError> {
    Config::load(&Sources {
        file: Some(("broker.toml", file)),
        environment: environment
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect(),
        command_line,
        cpus: 2,
        host_name: "here",
    })
}

fn load(file: &str) -> Config {
    load_all(file, &[], &CommandLine::default()).unwrap()
}

fn refused(file: &str) -> String {
    load_all(file, &[], &CommandLine::default()).unwrap_err().to_string()
}

fn set(settings: &[&str]) -> CommandLine {
    CommandLine { settings: settings.iter().map(|it| (*it).to_owned()).collect(), ..CommandLine::default() }
}

#[test]
fn nothing_said_is_kafkas_defaults_on_a_single_node() {
    let config = load("");
    assert_eq!(config.node_id, 1);
    assert_eq!(config.log_dirs, [PathBuf::from("/tmp/kafka-logs")]);
    assert_eq!(config.listeners[0].to_string(), "PLAINTEXT://:9092");
    assert_eq!(config.listeners[0].advertised_host, "here");
    assert_eq!(config.cores.len(), 2);
    assert_eq!(config.socket_request_max_bytes, 104_857_600);
    assert_eq!(config.queued_max_request_bytes, 512 << 20);
    assert_eq!(config.durability, Durability::Synced);
    assert_eq!(config.statics.get("offsets.topic.replication.factor"), Some("1"));
    assert_eq!(config.statics.get("broker.id"), Some("1"));
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn later_layers_win() {
    let file = "num.partitions = 2\nmessage.max.bytes = 1000\nfetch.max.bytes = 2000\n";
    let environment =
        [("MILLSTREAM_NUM_PARTITIONS", "3"), ("MILLSTREAM_FETCH_MAX_BYTES", "3000"), ("PATH", "/bin")];
    let config = load_all(file, &environment, &set(&["num.partitions=4", "num.partitions=5"])).unwrap();
    assert_eq!((config.num_partitions, config.fetch_max_bytes), (5, 3000));
    assert_eq!(config.statics.get("message.max.bytes"), Some("1000"));
    let dev = CommandLine { dev: true, ..CommandLine::default() };
    let config = load_all("pinning = 'on'", &[], &dev).unwrap();
    assert_eq!(
        (config.pinning, config.listeners[0].to_string()),
        (Pin::On, "PLAINTEXT://127.0.0.1:9092".to_owned())
    );
    let flags = CommandLine {
        dev: true,
        data_dir: Some("d".into()),
        listen: Some("[::1]:9".into()),
        http: Some("localhost:80".into()),
        shards: Some(7),
        ..CommandLine::default()
    };
    let config = load_all("log.dirs = 'e'\n", &[], &flags).unwrap();
    assert_eq!(config.log_dirs, [PathBuf::from("d")]);
    assert_eq!((config.cores.len(), config.http), (7, Some(([127, 0, 0, 1], 80).into())));
    assert_eq!(config.listeners[0].to_string(), "PLAINTEXT://[::1]:9");
}

#[test]
fn file_may_group_and_use_units() {
    let config = load(
        "[kafka]\nlog.roll.ms = '7d'\nsocket.request.max.bytes = '1 MiB'\nlog.dirs = ['/a', '/b']\n\
         [node]\nid = 5\nreactor = 'portable'\nreserve_bytes = '1 GiB'\n",
    );
    assert_eq!(config.node_id, 5);
    assert_eq!(config.reactor, Kind::Portable);
    assert_eq!(config.reserve_bytes, 1 << 30);
    assert_eq!(config.socket_request_max_bytes, 1 << 20);
    assert_eq!(config.statics.get("log.roll.ms"), Some("604800000"));
    assert_eq!(config.log_dirs, [PathBuf::from("/a"), PathBuf::from("/b")]);
}

#[test]
fn cores_are_described_one_by_one() {
    let file = "tail_cache_bytes = '2 MiB'\nread_shares = 10\n[[core]]\ncpu = 4\n[[core]]\ntail_cache_bytes = '3 MiB'\n\
                registered_buffer_bytes = '4 MiB'\nappend_shares = 5\n";
    let config = load(file);
    let [first, second] = &config.cores[..] else { panic!("two cores") };
    assert_eq!((first.plan.cpu, first.tail_cache_bytes, first.plan.shares.read), (Some(4), 2 << 20, 10));
    assert_eq!((second.plan.cpu, second.tail_cache_bytes, second.plan.shares.append), (None, 3 << 20, 5));
    assert_eq!(second.plan.registered_bytes, 4 << 20);
    assert_eq!(
        refused("cores = 3\n[[core]]\ncpu = 1\n"),
        "broker.toml:1:9: 3 cores, but 1 `[[core]]` tables"
    );
    assert_eq!(refused("cores = 0"), "broker.toml:1:9: 0 is not a number of cores from 1 to 1024");
    assert_eq!(refused("cores = 'all'"), "broker.toml:1:9: `all` is neither `auto` nor a number");
    assert_eq!(refused("cpu = 1"), "broker.toml:1:1: `cpu` is for one core: put it into a `[[core]]` table");
    assert_eq!(
        refused("[[core]]\ntail_cache_byte = 1"),
        "broker.toml:2:1: unknown setting `tail_cache_byte` of a core; did you mean `tail_cache_bytes`?"
    );
}

#[test]
fn a_core_may_have_a_listener_of_its_own() {
    let map = "listener.security.protocol.map = 'PLAINTEXT:PLAINTEXT,A:PLAINTEXT,B:PLAINTEXT'\n";
    let config = load(&format!(
        "{map}advertised.listeners = 'PLAINTEXT://h:1,B://there:7'\n[[core]]\n[[core]]\nlistener = 'b://127.0.0.1:0'\n"
    ));
    let shown: Vec<_> = config
        .listeners
        .iter()
        .map(|it| (it.to_string(), it.core, format!("{}:{}", it.advertised_host, it.advertised_port)))
        .collect();
    let expected = [("PLAINTEXT://:9092", None, "h:1"), ("B://127.0.0.1:0", Some(1), "there:7")];
    assert_eq!(shown, expected.map(|(it, core, told)| (it.to_owned(), core, told.to_owned())));

    let check = |cores: &str, message: &str| assert_eq!(refused(&format!("{map}{cores}")), message);
    check("[[core]]\nlistener = 'A'", "broker.toml:3:12: `A` is not NAME://host:port");
    check(
        "[[core]]\nlistener = 'C://:1'",
        "broker.toml:3:12: no security protocol is defined for listener C",
    );
    check(
        "[[core]]\nlistener = 'SSL://:1'",
        "broker.toml:3:12: no security protocol is defined for listener SSL",
    );
    check(
        "[[core]]\nlistener = 'A://:9092'",
        "broker.toml:3:12: listeners PLAINTEXT and A have the same port 9092",
    );
    check(
        "[[core]]\nlistener = 'A://:1'\n[[core]]\nlistener = 'A://:2'",
        "broker.toml:5:12: listener A is there twice",
    );
    check("[[core]]\nlistener = 'PLAINTEXT://:1'", "broker.toml:3:12: listener PLAINTEXT is there twice");
    assert!(
        refused(&format!("{map}[[core]]\nlistener = 'A://0.0.0.0:1'"))
            .starts_with("broker.toml:3:12: clients cannot")
    );
    assert_eq!(
        refused("listener = 'A://:1'"),
        "broker.toml:1:1: `listener` is for one core: put it into a `[[core]]` table"
    );
}

#[test]
fn mistakes_are_all_told_with_their_places() {
    let file = "num.partitons = 3\n\n[log]\nsegment.bytes = 5\nretention.ms = 'soon'\ndirs = true\n";
    assert_eq!(
        refused(file).lines().collect::<BTreeSet<_>>(),
        BTreeSet::from([
            "broker.toml:1:1: unknown setting `num.partitons`; did you mean `num.partitions`?",
            "broker.toml:4:17: Invalid value 5 for configuration log.segment.bytes: Value must be at least 1048576",
            "broker.toml:5:16: Invalid value soon for configuration log.retention.ms: Not a number of type LONG",
        ])
    );
    let check = |file: &str, message: &str| assert_eq!(refused(file), message);
    check(
        "retention.ms = 5",
        "broker.toml:1:1: `retention.ms` is a setting of topics; their default is `log.retention.ms`",
    );
    check(
        "remote.storage.enable = true",
        "broker.toml:1:1: `remote.storage.enable` is a setting of topics, and only theirs",
    );
    check("super.users = 'User:a'", "broker.toml:1:1: `super.users` is not supported yet");
    check(
        "listener.name.in.sasl.jaas.config = 'x'",
        "broker.toml:1:1: `listener.name.in.sasl.jaas.config` is not supported yet",
    );
    check("zzz = 1", "broker.toml:1:1: unknown setting `zzz`");
    check(
        "log.roll.hours = '90min'",
        "broker.toml:1:18: `log.roll.hours`: 90min is not a whole number of hours",
    );
    check("http_listen = 'x'", "broker.toml:1:15: `x` is not address:port");
    let error =
        load_all("", &[("MILLSTREAM_NUM_PARTITIONS", "x")], &set(&["a=1", "b"])).unwrap_err().to_string();
    assert_eq!(
        error.lines().collect::<Vec<_>>(),
        [
            "MILLSTREAM_NUM_PARTITIONS: Invalid value x for configuration num.partitions: Not a number of type INT",
            "--set a=1: unknown setting `a`",
            "--set b: not KEY=VALUE",
        ]
    );
}

#[test]
fn what_is_not_built_is_refused_unless_it_asks_for_nothing() {
    let message = "broker.toml:1:1: `ssl.client.auth` is not supported yet: leave it out (default: `none`)";
    assert_eq!(refused("ssl.client.auth = 'required'"), message);
    load("ssl.client.auth = 'none'\nsasl.enabled.mechanisms = ['GSSAPI']\n");
    // What a single node needs, people say too.
    for (name, text) in SINGLE_NODE {
        load(&format!("{name} = '{text}'"));
    }
    assert!(refused("offsets.topic.replication.factor = 2").contains("not supported yet"));
    for file in [
        "process.roles = 'broker'",
        "controller.quorum.voters = '1@a:1,2@b:1'",
        "controller.quorum.bootstrap.servers = 'a:1,b:1'",
    ] {
        assert!(refused(file).ends_with("is not supported yet"), "{file}");
    }
    assert_eq!(
        refused("controller.quorum.voters = '2@a:1'"),
        "broker.toml:1:28: the voter `2@a:1` is not this node, whose `node.id` is 1"
    );
    assert_eq!(refused("broker.id = 3"), "broker.toml:1:13: `broker.id` is 3, but `node.id` is 1");
}

/// The configuration that Kafka's own quick start uses for a single node.
#[test]
fn kafkas_single_node_configuration_is_taken() {
    let config = load(
        "process.roles = 'broker,controller'\nnode.id = 1\ncontroller.quorum.bootstrap.servers = 'localhost:9093'\n\
         listeners = 'PLAINTEXT://:9092,CONTROLLER://:9093'\ninter.broker.listener.name = 'PLAINTEXT'\n\
         advertised.listeners = 'PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093'\n\
         controller.listener.names = 'CONTROLLER'\nnum.network.threads = 3\nnum.io.threads = 8\n\
         listener.security.protocol.map = 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL'\n\
         socket.send.buffer.bytes = 102400\nsocket.receive.buffer.bytes = 102400\nsocket.request.max.bytes = 104857600\n\
         log.dirs = '/tmp/kraft-combined-logs'\nnum.partitions = 1\nnum.recovery.threads.per.data.dir = 1\n\
         offsets.topic.replication.factor = 1\nshare.coordinator.state.topic.replication.factor = 1\n\
         share.coordinator.state.topic.min.isr = 1\ntransaction.state.log.replication.factor = 1\n\
         transaction.state.log.min.isr = 1\nlog.retention.hours = 168\nlog.segment.bytes = 1073741824\n\
         log.retention.check.interval.ms = 300000\n",
    );
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].advertised_host, "localhost");
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
}

#[test]
fn unknown_variables_are_told_and_forgiven() {
    let environment = [("MILLSTREAM_SERVICE_HOST", "10.0.0.1"), ("MILLSTREAM_LOG", "debug")];
    let config = load_all("", &environment, &CommandLine::default()).unwrap();
    assert_eq!(config.warnings, ["MILLSTREAM_SERVICE_HOST is not a setting's variable"]);
}

/// Facts of Kafka's that the table repeats.
#[test]
fn table_says_what_kafka_says() {
    let facts = include_str!("broker_settings/kafka_facts.tsv");
    let mut names = BTreeSet::new();
    for fact in facts.lines().skip(1) {
        let [name, kind, default, importance, internal, update] = fact.split('\t').collect::<Vec<_>>()[..]
        else {
            panic!("{fact}")
        };
        let row = broker_settings::find(name).unwrap_or_else(|| panic!("{name} is missing"));
        names.insert(name);
        let shown = match row.setting.default {
            SettingDefault::Text("") => "\"\"",
            SettingDefault::Text(text) => text,
            SettingDefault::Null => "null",
            SettingDefault::Required => "(required)",
        };
        assert_eq!((row.setting.kind.name(), shown), (kind, default), "{name}");
        assert_eq!(format!("{:?}", row.setting.importance).to_lowercase(), importance, "{name}");
        assert_eq!((row.is_internal.to_string().as_str(), row.update.name()), (internal, update), "{name}");
    }
    assert_eq!(names.len(), broker_settings::all().count());
}

#[test]
fn tables_are_consistent() {
    let mut variables = BTreeSet::new();
    let own = OWN_SETTINGS.iter().map(|own| &own.setting);
    for setting in broker_settings::all().map(|row| &row.setting).chain(own) {
        let Setting { name, doc, .. } = setting;
        assert!(variables.insert(values::variable(name)), "{name} has the variable of another");
        assert!(
            doc.ends_with('.') && doc.starts_with(|c: char| c.is_uppercase() || c.is_lowercase()),
            "{name}"
        );
        if let SettingDefault::Text(text) = setting.default {
            assert_eq!(setting.parse(text).unwrap().to_string(), text, "{name}");
        }
    }
    for topic in TOPIC_SETTINGS {
        for synonym in topic.synonyms {
            let row =
                broker_settings::find(synonym.name).unwrap_or_else(|| panic!("{} is missing", synonym.name));
            assert_eq!(row.setting.default_text(), synonym.default, "{}", synonym.name);
            assert_eq!(row.topic_setting(), Some(topic.setting.name));
            assert_eq!(row.setting.standing, topic.setting.standing, "{}", synonym.name);
        }
    }
    assert!(
        broker_settings::all().all(|row| row.update != Update::PerBroker || row.topic_setting().is_none())
    );
}

#[test]
fn what_changes_while_running_is_what_kafka_changes_for_all_brokers() {
    let changeable = |row: &&BrokerSetting| live_settings::find(row.setting.name).is_some();
    let rows: Vec<_> = broker_settings::all().filter(changeable).collect();
    assert!(rows.len() > 10, "{}", rows.len());
    for row in rows {
        assert_eq!(row.update, Update::ClusterWide, "{}", row.setting.name);
        assert_eq!(row.setting.standing, Standing::Honoured, "{}", row.setting.name);
    }
}

#[test]
fn compaction_goes_by_what_was_set_last_for_this_broker_or_else_for_all() {
    let config =
        load("node.id = 7\nlog.cleaner.backoff.ms = '20 s'\nlog.cleaner.dedupe.buffer.size = '8 MiB'");
    let mut image = Image::new("c");
    assert_eq!(config.log_cleaner_now(&image), config.log_cleaner);
    let mut offset = 0;
    let mut set = |name: &str, key: &str, value: Option<&str>| {
        let record = protocol::messages::ConfigRecord {
            resource_type: ResourceKind::Broker.code(),
            resource_name: name.to_owned(),
            name: key.to_owned(),
            value: value.map(str::to_owned),
        };
        image.apply(&MetadataRecord::Config(record), offset).unwrap();
        offset += 1;
        config.log_cleaner_now(&image)
    };
    let rate = "log.cleaner.io.max.bytes.per.second";
    set("", "log.cleaner.backoff.ms", Some(" 30 "));
    set("", rate, Some("2e6"));
    set("8", rate, Some("1"));
    let now = set("7", rate, Some("1000"));
    let expected = LogCleaner { backoff_ms: 30, io_max_bytes_per_second: 1000.0, ..config.log_cleaner };
    assert_eq!(now, expected);
    // Read at the start only.
    assert_eq!(set("7", "log.cleaner.enable", Some("false")), expected);
    let now = set("7", rate, None);
    assert_eq!(now, LogCleaner { io_max_bytes_per_second: 2e6, ..expected });
    set("", rate, None);
    assert_eq!(set("", "log.cleaner.backoff.ms", None), config.log_cleaner);
}

#[test]
fn groups_take_their_defaults_and_bounds_from_settings_that_there_are() {
    let synonyms = GROUP_SETTINGS
        .iter()
        .flat_map(|group| group.synonyms.iter().filter(|synonym| synonym.name != group.setting.name));
    let defaults = synonyms.map(|synonym| (synonym.name, synonym.default.unwrap().to_owned()));
    let bounds = group_settings::bounds().map(|(name, default)| (name, default.to_string()));
    for (name, default) in defaults.chain(bounds) {
        let row = broker_settings::find(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(row.setting.default_text(), Some(default.as_str()), "{name}");
    }
}

/// A setting that claims to be honoured must reach the code: giving it another value gives another configuration.
#[test]
fn honoured_settings_change_what_the_broker_starts_with() {
    let shown = |text: &str| {
        let config = load(text);
        let bare = Config { statics: Overrides::default(), values: Values::default(), ..config };
        format!("{bare:?}")
    };
    let before = shown("");
    let own = OWN_SETTINGS.iter().filter(|own| !own.only_per_core).map(|own| &own.setting);
    let kafkas = broker_settings::all().filter(|row| row.topic_setting().is_none()).map(|row| &row.setting);
    for setting in own.chain(kafkas).filter(|setting| setting.standing == Standing::Honoured) {
        let name = setting.name;
        let other = match (name, setting.kind) {
            // There is only one value so far.
            ("process.roles", _) => continue,
            ("listeners", _) => "'PLAINTEXT://:1'",
            ("advertised.listeners", _) => "'PLAINTEXT://h:1'",
            ("listener.security.protocol.map", _) => {
                let with_map = "listeners = 'A://:1'\nlistener.security.protocol.map = 'A:PLAINTEXT'";
                assert_ne!(shown(with_map), before);
                continue;
            }
            ("reactor", _) => "'portable'",
            ("pinning", _) => "'on'",
            ("durability", _) => "'written'",
            ("cores", _) => "9",
            ("group.coordinator.rebalance.protocols", _) => "'classic'",
            ("group.consumer.migration.policy", _) => "'disabled'",
            ("group.consumer.assignors", _) => "'range'",
            ("group.consumer.assignment.interval.ms", _) => "15000",
            ("group.consumer.min.assignment.interval.ms", _) => "1",
            ("group.consumer.heartbeat.interval.ms", _) => "6000",
            ("group.consumer.min.heartbeat.interval.ms", _) => "4000",
            ("group.consumer.session.timeout.ms", _) => "50000",
            ("group.consumer.min.session.timeout.ms", _) => "44000",
            ("http_listen", _) => "'127.0.0.1:1'",
            (_, SettingKind::Boolean) => "false",
            (_, SettingKind::Int | SettingKind::Long | SettingKind::Short) => "12345678",
            (_, SettingKind::Double) => "0.25",
            (_, SettingKind::String | SettingKind::List) => "'other'",
            (_, kind) => panic!("{name}: {kind:?}"),
        };
        let other = if name == "default.replication.factor" { "2" } else { other };
        assert_ne!(shown(&format!("{name} = {other}")), before, "{name}");
    }
}

#[test]
fn groups_are_run_by_kafkas_defaults() {
    assert_eq!(load("").groups, GroupSettings::default());
}

#[test]
fn times_of_consumer_groups_keep_to_their_bounds() {
    for (file, message) in [
        (
            "group.consumer.session.timeout.ms = 44999",
            "not from `group.consumer.min.session.timeout.ms`, 45000, to",
        ),
        ("group.consumer.max.heartbeat.interval.ms = 4000", "is 4000, less than"),
        (
            "group.consumer.min.session.timeout.ms = 1\ngroup.consumer.session.timeout.ms = 5000",
            "`group.consumer.heartbeat.interval.ms` is 5000, not less than",
        ),
        ("group.consumer.assignors = ['range', 'mine']", "there is no assignor `mine`"),
    ] {
        let refused = refused(file);
        assert!(refused.contains(message) && refused.lines().count() == 1, "{refused}");
    }
}
