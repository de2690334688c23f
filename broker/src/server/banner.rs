//! What `start` says on standard output: the machine found, what it listens on, a line to try.
#![allow(clippy::print_stdout, reason = "the banner is for the person at the terminal")]

use std::net::{IpAddr, SocketAddr};

use reactor::Found;

use super::Listening;
use crate::config::Config;

/// Says all of it, once clients can come.
pub(super) fn print(config: &Config, found: &Found, listening: &[Listening], http: Option<SocketAddr>) {
    for complaint in found.complaints() {
        tracing::warn!("{complaint}");
    }
    print!("{}", text(config, &found.to_string(), listening, http));
}

/// `found`: a line per fact of the machine.
fn text(config: &Config, found: &str, listening: &[Listening], http: Option<SocketAddr>) -> String {
    let mut lines = vec![format!("Millstream {}", env!("CARGO_PKG_VERSION"))];
    lines.extend(found.lines().map(|line| format!("  {line}")));
    for (listening, listener) in listening.iter().zip(&config.listeners) {
        let core = listening.core.map_or_else(String::new, |core| format!(", core {core} alone"));
        for address in &listening.addresses {
            lines.push(format!("  listening {address} ({}{core})", listener.name));
        }
    }
    lines.extend(http.map(|http| format!("  metrics   http://{http}/metrics")));
    if let (Some(first), Some(listener)) = (listening.first(), config.listeners.first()) {
        let port = match listener.advertised_port {
            0 => first.addresses[0].port(),
            port => port,
        };
        let address = match listener.advertised_host.parse::<IpAddr>() {
            Ok(address) => SocketAddr::new(address, port).to_string(),
            Err(_) => format!("{}:{port}", listener.advertised_host),
        };
        lines.push(format!(
            "Try:  echo hello | kcat -P -b {address} -t greetings && kcat -C -b {address} -t greetings -e"
        ));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CommandLine, Sources};

    fn shown(settings: &[&str], listening: &[Listening]) -> String {
        let settings = settings.iter().map(|it| (*it).to_owned()).collect();
        let command_line = CommandLine { settings, ..CommandLine::default() };
        let sources = Sources {
            file: None,
            environment: Vec::new(),
            command_line: &command_line,
            cpus: 2,
            host_name: "here",
        };
        let config = Config::load(&sources).unwrap();
        text(&config, "machine   Linux\nreactor   ring\n", listening, Some(([127, 0, 0, 1], 80).into()))
    }

    #[test]
    fn what_was_found_and_what_to_try_are_said() {
        let listening = Listening { addresses: vec![([0, 0, 0, 0], 4711).into()], core: None };
        let said = shown(&["listeners=PLAINTEXT://:0"], &[listening]);
        let lines: Vec<_> = said.lines().skip(1).collect();
        assert_eq!(lines[..2], ["  machine   Linux", "  reactor   ring"]);
        assert_eq!(
            lines[2..4],
            ["  listening 0.0.0.0:4711 (PLAINTEXT)", "  metrics   http://127.0.0.1:80/metrics"]
        );
        assert!(lines[4].starts_with("Try:  echo hello | kcat -P -b here:4711 -t greetings"), "{said}");

        let own = Listening { addresses: vec!["[::1]:4712".parse().unwrap()], core: Some(1) };
        let said = shown(&["advertised.listeners=PLAINTEXT://[::1]:7"], &[own]);
        assert!(said.contains("  listening [::1]:4712 (PLAINTEXT, core 1 alone)\n"), "{said}");
        assert!(said.contains("-b [::1]:7 -t"), "{said}");
    }
}
