//! `listeners`, the cores' own, `advertised.listeners` and `listener.security.protocol.map`: where clients come in.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use cluster::metadata::SecurityProtocol;

use super::values::{Problem, Values};

/// A listener: where to listen, and what clients are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) name: String,
    /// Empty: every address.
    pub(crate) host: String,
    /// 0: any that is free.
    pub(crate) port: u16,
    pub(crate) protocol: SecurityProtocol,
    pub(crate) advertised_host: String,
    /// 0: the one that is bound.
    pub(crate) advertised_port: u16,
    /// The core whose own it is: it alone accepts there, and serves what comes.
    pub(crate) core: Option<usize>,
}

/// A core's setting of its own listener.
const OF_A_CORE: &str = "listener";

/// `NAME://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    name: String,
    host: String,
    port: u16,
}

/// The listeners to open, and the names of those that are for controllers and are not opened. `cores`: what each core
/// says for itself.
pub(super) fn read(
    values: &Values,
    cores: &[Values],
    host_name: &str,
) -> Result<(Vec<Listener>, Vec<String>), Vec<Problem>> {
    let one = |name: &str, message: String| vec![values.problem(name, message)];
    let map = protocols(values).map_err(|message| one("listener.security.protocol.map", message))?;
    let all = endpoints(values, "listeners").map_err(|message| one("listeners", message))?;
    check_ports(&all).map_err(|message| one("listeners", message))?;
    let controllers = values.list("controller.listener.names").unwrap_or_default();
    let is_controllers = |endpoint: &Endpoint| controllers.contains(&endpoint.name);
    let (for_controllers, for_clients): (Vec<_>, Vec<_>) = all.into_iter().partition(is_controllers);
    if for_clients.is_empty() {
        return Err(one("listeners", "no listener for clients".to_owned()));
    }
    let unopened: Vec<_> = for_controllers.iter().map(|endpoint| endpoint.name.clone()).collect();
    let mut opened: Vec<_> = for_clients.into_iter().map(|endpoint| (endpoint, None)).collect();
    opened.extend(of_cores(cores, opened.iter().map(|(endpoint, _)| endpoint).chain(&for_controllers))?);
    let told =
        endpoints(values, "advertised.listeners").map_err(|message| one("advertised.listeners", message))?;
    if let Some(odd) =
        told.iter().find(|told| !is_controllers(told) && !opened.iter().any(|(it, _)| it.name == told.name))
    {
        let message = format!("advertised listener {} is not among the listeners", odd.name);
        return Err(one("advertised.listeners", message));
    }
    let mut listeners = Vec::new();
    let mut problems = Vec::new();
    for (endpoint, core) in opened {
        let told = told.iter().find(|told| told.name == endpoint.name);
        match listener(endpoint, core, told, &map, host_name) {
            Ok(listener) => listeners.push(listener),
            Err((setting, message)) => problems.push(match (setting, core) {
                (Some(setting), _) => values.problem(setting, message),
                (None, Some(core)) => cores[core].problem(OF_A_CORE, message),
                (None, None) => values.problem("listeners", message),
            }),
        }
    }
    if problems.is_empty() { Ok((listeners, unopened)) } else { Err(problems) }
}

/// Each core's own listener, which must be like none of `others`.
fn of_cores<'a>(
    cores: &[Values],
    others: impl Iterator<Item = &'a Endpoint>,
) -> Result<Vec<(Endpoint, Option<usize>)>, Vec<Problem>> {
    let mut all: Vec<Endpoint> = others.cloned().collect();
    let mut own = Vec::new();
    let mut problems = Vec::new();
    for (core, values) in cores.iter().enumerate() {
        let Some(text) = values.given(OF_A_CORE).map(|given| &given.text) else { continue };
        match endpoint(text) {
            Ok(endpoint) => {
                all.push(endpoint.clone());
                let clash = check_names(&all).and_then(|()| check_ports(&all));
                problems.extend(clash.err().map(|message| values.problem(OF_A_CORE, message)));
                own.push((endpoint, Some(core)));
            }
            Err(message) => problems.push(values.problem(OF_A_CORE, message)),
        }
    }
    if problems.is_empty() { Ok(own) } else { Err(problems) }
}

/// Puts together what is said of one listener. What is wrong is said with the setting to blame, if that is not the one
/// that the listener stands in.
fn listener(
    endpoint: Endpoint,
    core: Option<usize>,
    told: Option<&Endpoint>,
    map: &BTreeMap<String, SecurityProtocol>,
    host_name: &str,
) -> Result<Listener, (Option<&'static str>, String)> {
    let Endpoint { name, host, port } = endpoint;
    let Some(&protocol) = map.get(&name) else {
        return Err((None, format!("no security protocol is defined for listener {name}")));
    };
    if protocol != SecurityProtocol::Plaintext {
        return Err((None, format!("listener {name}: {} is not supported yet", protocol.name())));
    }
    let (advertised_host, advertised_port) = match told {
        Some(told) => (told.host.clone(), told.port),
        None => (host.clone(), port),
    };
    let advertised_host = if advertised_host.is_empty() { host_name.to_owned() } else { advertised_host };
    if advertised_host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()) {
        let message = format!(
            "clients cannot connect to {advertised_host}: set `advertised.listeners` to {name}://HOST:{advertised_port} \
             with a host that they can reach"
        );
        return Err((told.map(|_| "advertised.listeners"), message));
    }
    Ok(Listener { name, host, port, protocol, advertised_host, advertised_port, core })
}

/// Reads a list of endpoints; none if it is not set.
fn endpoints(values: &Values, setting: &str) -> Result<Vec<Endpoint>, String> {
    let list = values.list(setting).unwrap_or_default();
    let endpoints = list.iter().map(|text| endpoint(text)).collect::<Result<Vec<_>, _>>()?;
    check_names(&endpoints)?;
    Ok(endpoints)
}

fn check_names(endpoints: &[Endpoint]) -> Result<(), String> {
    for (at, endpoint) in endpoints.iter().enumerate() {
        if endpoints[..at].iter().any(|other| other.name == endpoint.name) {
            return Err(format!("listener {} is there twice", endpoint.name));
        }
    }
    Ok(())
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let wrong = || format!("`{text}` is not NAME://host:port");
    let (name, address) = text.split_once("://").ok_or_else(wrong)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let host = match host.strip_prefix('[') {
        Some(inner) => {
            let inner = inner.strip_suffix(']').ok_or_else(wrong)?;
            inner.parse::<Ipv6Addr>().map_err(|_| wrong())?.to_string()
        }
        None if host.contains(':') => return Err(format!("`{text}`: put the IPv6 address in [brackets]")),
        None => host.to_owned(),
    };
    let port = port.parse::<u16>().map_err(|_| wrong())?;
    let is_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':' | b'%');
    if name.is_empty() || !host.bytes().all(is_host) {
        return Err(wrong());
    }
    Ok(Endpoint { name: name.to_uppercase(), host, port })
}

// Kafka: one port twice is fine only for one IPv4 and one IPv6 address.
fn check_ports(endpoints: &[Endpoint]) -> Result<(), String> {
    for (at, one) in endpoints.iter().enumerate() {
        let is_same_port = |other: &&Endpoint| other.port == one.port && one.port != 0;
        for other in endpoints[..at].iter().filter(is_same_port) {
            let are_a_pair = matches!(
                (one.host.parse(), other.host.parse()),
                (Ok(IpAddr::V4(_)), Ok(IpAddr::V6(_))) | (Ok(IpAddr::V6(_)), Ok(IpAddr::V4(_)))
            );
            if !are_a_pair {
                return Err(format!(
                    "listeners {} and {} have the same port {}",
                    other.name, one.name, one.port
                ));
            }
        }
    }
    Ok(())
}

/// Protocols by listener name.
fn protocols(values: &Values) -> Result<BTreeMap<String, SecurityProtocol>, String> {
    const SETTING: &str = "listener.security.protocol.map";
    let mut map = BTreeMap::new();
    for pair in
        values.text(SETTING).unwrap_or_default().split(',').map(str::trim).filter(|pair| !pair.is_empty())
    {
        let (name, protocol) =
            pair.rsplit_once(':').ok_or_else(|| format!("`{pair}` is not NAME:PROTOCOL"))?;
        let protocol = SecurityProtocol::from_name(protocol.trim())
            .ok_or_else(|| format!("`{protocol}` is not a security protocol"))?;
        if map.insert(name.trim().to_uppercase(), protocol).is_some() {
            return Err(format!("listener {name} is there twice"));
        }
    }
    Ok(map)
}

impl Listener {
    /// Where to listen.
    pub(crate) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        if self.host.is_empty() {
            return Ok(vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, self.port))]);
        }
        let mut found: Vec<SocketAddr> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        found.sort_unstable();
        found.dedup();
        if found.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(found) }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.name, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.name, self.host, self.port)
        }
    }
}

/// `host:port` of the command line as a listener.
pub(super) fn from_address(address: &str) -> String {
    format!("PLAINTEXT://{address}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::Origin;

    fn shown(settings: &[(&str, &str)]) -> String {
        let mut values = Values::default();
        for (name, text) in settings {
            values.give(name, text, Origin::CommandLine(format!("--set {name}"))).unwrap();
        }
        values.give_unless_given("controller.listener.names", "CONTROLLER");
        match read(&values, &[], "here") {
            Ok((listeners, unopened)) => {
                let mut lines: Vec<String> = listeners
                    .iter()
                    .map(|it| format!("{it} told {}:{}", it.advertised_host, it.advertised_port))
                    .collect();
                lines.extend(unopened.iter().map(|name| format!("not {name}")));
                lines.join(", ")
            }
            Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        }
    }

    #[test]
    fn listeners_are_read() {
        assert_eq!(shown(&[]), "PLAINTEXT://:9092 told here:9092");
        assert_eq!(
            shown(&[("listeners", "plaintext://127.0.0.1:0")]),
            "PLAINTEXT://127.0.0.1:0 told 127.0.0.1:0"
        );
        assert_eq!(shown(&[("listeners", "PLAINTEXT://[::1]:9092")]), "PLAINTEXT://[::1]:9092 told ::1:9092");
        assert_eq!(
            shown(&[
                ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
                ("advertised.listeners", "PLAINTEXT://a.b:1")
            ]),
            "PLAINTEXT://:9092 told a.b:1, not CONTROLLER"
        );
        assert_eq!(
            shown(&[
                ("listeners", "IN://10.0.0.1:9092, OUT://[fd00::1]:9092"),
                ("listener.security.protocol.map", "IN:PLAINTEXT,OUT:plaintext"),
            ]),
            "IN://10.0.0.1:9092 told 10.0.0.1:9092, OUT://[fd00::1]:9092 told fd00::1:9092"
        );
    }

    #[test]
    fn mistakes_are_told() {
        let check = |settings: &[(&str, &str)], message: &str| assert_eq!(shown(settings), message);
        let at = |text: &'static str| [("listeners", text)];
        check(&at("PLAINTEXT:9092"), "--set listeners: `PLAINTEXT:9092` is not NAME://host:port");
        check(&at("PLAINTEXT://h:70000"), "--set listeners: `PLAINTEXT://h:70000` is not NAME://host:port");
        check(&at("PLAINTEXT://h/x:1"), "--set listeners: `PLAINTEXT://h/x:1` is not NAME://host:port");
        check(
            &at("PLAINTEXT://::1:9092"),
            "--set listeners: `PLAINTEXT://::1:9092`: put the IPv6 address in [brackets]",
        );
        check(&at("PLAINTEXT://:1,PLAINTEXT://:2"), "--set listeners: listener PLAINTEXT is there twice");
        check(
            &at("PLAINTEXT://:1,SSL://:1"),
            "--set listeners: listeners PLAINTEXT and SSL have the same port 1",
        );
        check(&at("SSL://:1"), "--set listeners: listener SSL: SSL is not supported yet");
        check(&at("MINE://:1"), "--set listeners: no security protocol is defined for listener MINE");
        check(&at("CONTROLLER://:1"), "--set listeners: no listener for clients");
        let wild = "--set listeners: clients cannot connect to 0.0.0.0: set `advertised.listeners` to \
                    PLAINTEXT://HOST:9092 with a host that they can reach";
        check(&at("PLAINTEXT://0.0.0.0:9092"), wild);
        check(
            &[("advertised.listeners", "OTHER://h:1")],
            "--set advertised.listeners: advertised listener OTHER is not among the listeners",
        );
        check(
            &[("listener.security.protocol.map", "A:B")],
            "--set listener.security.protocol.map: `B` is not a security protocol",
        );
    }
}
