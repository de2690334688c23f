//! What a start says and opens: real ports where it was told to find some, cores with listeners of their own, one
//! broker on a directory.
#![allow(clippy::disallowed_methods, reason = "a test of processes needs processes, files, ports and time")]

#[path = "start/started.rs"]
mod started;
#[path = "server/wire.rs"]
mod wire;

use protocol::messages::{
    DescribeClusterRequest, DescribeClusterResponse, MetadataRequest, MetadataResponse,
};
use started::{Folder, Started, refused};
use wire::Wire;

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
