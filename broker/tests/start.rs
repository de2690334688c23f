//! What a start says and opens: real ports where it was told to find some, cores with listeners of their own, one
//! broker on a directory.
#![allow(clippy::disallowed_methods, reason = "a test of processes needs processes, files, ports and time")]

#[path = "start/started.rs"]
mod started;
#[path = "server/wire.rs"]
mod wire;

use std::time::{Duration, Instant};

use protocol::messages::{
    DescribeClusterRequest, DescribeClusterResponse, MetadataRequest, MetadataResponse,
};
use protocol::records::compression::Codec;
use started::{Folder, Started, refused};
use wire::{Wire, batch_of};

const OWN_LISTENER: &str = "
listeners = 'PLAINTEXT://127.0.0.1:0'
listener.security.protocol.map = 'PLAINTEXT:PLAINTEXT,OWN:PLAINTEXT'
http_listen = '127.0.0.1:0'
[[core]]
[[core]]
listener = 'OWN://127.0.0.1:0'
";

#[test]
fn free_ports_are_what_clients_are_told() {
    let folder = Folder::new("free-ports");
    let dealt = Started::on(&folder, OWN_LISTENER).check_ports();
    // The registration of a second start says the second start's ports.
    assert_eq!(Started::on(&folder, OWN_LISTENER).check_ports().len(), dealt.len());
}

impl Started {
    /// Each listener tells its own port to those who come through it.
    fn check_ports(&self) -> Vec<u16> {
        let listening = self.listening();
        assert_eq!(listening.len(), 2, "{}", self.said);
        for address in &listening {
            let mut wire = Wire::connect(*address);
            let metadata: MetadataResponse = wire.ask(12, &MetadataRequest::default());
            let brokers: Vec<_> = metadata.brokers.iter().map(|it| (it.host.as_str(), it.port)).collect();
            assert_eq!(brokers, [("127.0.0.1", i32::from(address.port()))]);
            let cluster: DescribeClusterResponse = wire
                .ask(1, &DescribeClusterRequest { endpoint_type: 1, ..DescribeClusterRequest::default() });
            let brokers: Vec<_> = cluster.brokers.iter().map(|it| (it.host.as_str(), it.port)).collect();
            assert_eq!(brokers, [("127.0.0.1", i32::from(address.port()))]);
        }
        let first = format!("kcat -P -b {} ", listening[0]);
        assert!(self.said.contains(&first), "{}", self.said);
        listening.iter().map(std::net::SocketAddr::port).collect()
    }
}

#[test]
fn what_comes_to_a_cores_own_listener_is_served_there() {
    let folder = Folder::new("own-listener");
    let broker = Started::on(&folder, OWN_LISTENER);
    let listening = broker.listening();
    assert!(broker.said.contains("(OWN, core 1 alone)"), "{}", broker.said);
    let ask = |wire: &mut Wire| -> MetadataResponse { wire.ask(12, &MetadataRequest::default()) };
    let mut own: Vec<_> = (0..5).map(|_| Wire::connect(listening[1])).collect();
    own.iter_mut().for_each(|wire| assert_eq!(ask(wire).brokers.len(), 1));
    assert_eq!(broker.connections(), [0, 5]);
    // The others make up for it.
    let mut dealt: Vec<_> = (0..5).map(|_| Wire::connect(listening[0])).collect();
    dealt.iter_mut().for_each(|wire| assert_eq!(ask(wire).brokers.len(), 1));
    assert_eq!(broker.connections(), [5, 5]);
}

#[test]
fn metrics_are_served_as_what_they_are() {
    let folder = Folder::new("metrics");
    let broker = Started::on(&folder, OWN_LISTENER);
    let mut wire = Wire::connect(broker.listening()[0]);
    wire.create_topic("t", 2);
    for index in [0, 1] {
        assert_eq!(wire.produce("t", index, &batch_of(Codec::None, b"x")).error_code, 0);
    }
    let (head, body) = broker.metrics();
    let head = head.to_lowercase();
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{head}"
    );
    assert!(body.ends_with("\n# EOF\n"), "{body}");
    // Neighbouring partitions live on different cores, and each wrote once.
    for line in [
        "millstream_flush_batches_count{core=\"0\"} 1\n",
        "millstream_flush_batches_count{core=\"1\"} 1\n",
        "millstream_flush_bytes_sum{core=\"0\"} 4096.0\n",
        "millstream_requests_total{core=\"0\",request=\"Produce\"} 2\n",
        "millstream_disk_transfers_waiting{core=\"1\"} 0\n",
        "millstream_mailbox_jobs{core=\"0\"} ",
        "millstream_received_bytes_total{core=\"0\"} ",
    ] {
        assert!(body.contains(line), "no {line} in {body}");
    }
}

#[test]
fn an_idle_broker_is_small_and_its_partitions_cost_little() {
    const PARTITIONS: i32 = 5000;
    let folder = Folder::new("small");
    let broker = Started::on(&folder, "listeners = 'PLAINTEXT://127.0.0.1:0'\n");
    let mut wire = Wire::connect(broker.listening()[0]);
    wire.create_topic("one", 1);
    let idle = broker.resident_bytes();
    assert!(idle <= 40 << 20, "{} MiB when nothing happens", idle >> 20);
    let began = Instant::now();
    wire.create_topic("many", PARTITIONS);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{PARTITIONS} partitions took {took:?}");
    let each = broker.resident_bytes().saturating_sub(idle) / PARTITIONS as u64;
    assert!(each <= 4096, "{each} bytes a partition that nobody wrote to");
}

#[test]
fn leader_epochs_rise_only_where_records_may_be_gone() {
    let folder = Folder::new("epochs");
    let settings =
        |durability| format!("listeners = 'PLAINTEXT://127.0.0.1:0'\ndurability = '{durability}'\n");
    let epochs = |broker: &Started| -> Vec<i32> {
        let metadata: MetadataResponse = Wire::connect(broker.listening()[0])
            .ask(12, &MetadataRequest { topics: None, ..Default::default() });
        metadata.topics[0].partitions.iter().map(|partition| partition.leader_epoch).collect()
    };
    let broker = Started::on(&folder, &settings("written"));
    let mut wire = Wire::connect(broker.listening()[0]);
    wire.create_topic("t", 3);
    assert_eq!(wire.produce("t", 0, &batch_of(Codec::None, b"x")).error_code, 0);
    assert_eq!(epochs(&broker), [0; 3]);
    broker.stop();
    let broker = Started::on(&folder, &settings("written"));
    assert_eq!(epochs(&broker), [0; 3], "a clean stop has synced all");
    drop(broker);
    let broker = Started::on(&folder, &settings("written"));
    assert_eq!(epochs(&broker), [1; 3], "killed");
    drop(broker);
    let broker = Started::on(&folder, &settings("synced"));
    assert_eq!(epochs(&broker), [2; 3], "what the last run promised counts, not what this one does");
    let mut wire = Wire::connect(broker.listening()[0]);
    assert_eq!(wire.produce("t", 0, &batch_of(Codec::None, b"y")).base_offset, 1);
    assert_eq!(wire.fetch("t", 0, 0, 1 << 20).high_watermark, 2);
    drop(broker);
    let broker = Started::on(&folder, &settings("synced"));
    assert_eq!(epochs(&broker), [2; 3], "killed, and nothing can be gone");
}

#[test]
fn a_second_broker_on_a_directory_is_refused_and_told_who_is_there() {
    let folder = Folder::new("one-broker");
    let settings = "listeners = 'PLAINTEXT://127.0.0.1:0'\n";
    let broker = Started::on(&folder, settings);
    let said = refused(&folder, settings);
    assert!(said.contains(&format!("another broker runs on it, as process {}", broker.pid())), "{said}");
    assert!(said.contains(folder.data().to_str().expect("a name in UTF-8")), "{said}");
    drop(broker);
    drop(Started::on(&folder, settings));
}

#[test]
fn a_start_says_what_it_found() {
    let folder = Folder::new("banner");
    let broker =
        Started::on(&folder, "listeners = 'PLAINTEXT://127.0.0.1:0'\ncores = 2\nreactor = 'portable'\n");
    let said = &broker.said;
    let line = |start: &str| {
        let found = said.lines().find(|line| line.trim_start().starts_with(start));
        found.unwrap_or_else(|| panic!("no line `{start}` in {said}"))
    };
    assert!(line("reactor ").contains("portable (epoll), cores: 2, not pinned: as configured"), "{said}");
    let machine = line("machine ");
    for part in ["Linux ", "allowed CPUs: ", "memory: ", " GiB"] {
        assert!(machine.contains(part), "{machine}");
    }
    let data = line("data ");
    assert!(data.contains(folder.data().to_str().expect("a name in UTF-8")), "{data}");
    assert!(data.contains("irect I/O") || data.contains("DIRECT I/O"), "{data}");
    line("io_uring ");
    line("memlock ");
    line("listening 127.0.0.1:");
    line("Try:  echo hello | kcat -P -b 127.0.0.1:");
    assert!(broker.log().contains("running without io_uring"), "why it is slower: {}", broker.log());
}
