//! The real binary on a configuration file of its own, and what it said until clients could come.
#![allow(clippy::disallowed_methods, reason = "real processes, files and ports")]
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A folder that is gone in the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder under target/tmp");
        Self(path)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A broker that clients can come to; killed when dropped.
pub(crate) struct Started {
    child: Child,
    /// Kept open: a broker may go on talking.
    _stdout: BufReader<ChildStdout>,
    log: PathBuf,
    /// Standard output up to the line to try.
    pub(crate) said: String,
}

impl Started {
    /// # Panics
    /// If it ends before it listens.
    pub(crate) fn on(folder: &Folder, settings: &str) -> Self {
        let mut child = spawn(folder, settings, "log");
        let mut stdout = BufReader::new(child.stdout.take().expect("it was piped"));
        let mut said = String::new();
        while !said.contains("Try:") {
            let read = stdout.read_line(&mut said).expect("the banner is text");
            assert!(read > 0, "ended: {}", fs::read_to_string(folder.path("log")).unwrap_or_default());
        }
        Self { child, _stdout: stdout, log: folder.path("log"), said }
    }

    /// As an operator stops it.
    pub(crate) fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("our own child can be signalled");
        let status = self.child.wait().expect("our own child can be waited for");
        assert!(status.success(), "{status}: {}", self.log());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its log lines so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("the log of a started broker")
    }

    /// Where clients can come, by the order of the listeners.
    pub(crate) fn listening(&self) -> Vec<SocketAddr> {
        let lines = self.said.lines().filter_map(|line| line.trim_start().strip_prefix("listening "));
        lines.map(|line| line.split(' ').next().unwrap_or_default().parse().expect("address:port")).collect()
    }

    /// The head and the body of `/metrics`.
    pub(crate) fn metrics(&self) -> (String, String) {
        let url = self.said.lines().find_map(|line| line.trim_start().strip_prefix("metrics   http://"));
        let address = url.expect("metrics are served").trim_end_matches("/metrics");
        let mut stream = TcpStream::connect(address).expect("the control thread listens");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("a request is taken");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("metrics are text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        (head.to_owned(), body.to_owned())
    }

    /// Memory it holds now.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel says");
        let kib = line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number");
        kib * 1024
    }

    /// Open connections by core.
    pub(crate) fn connections(&self) -> Vec<u64> {
        let (_, body) = self.metrics();
        let lines = body.lines().filter(|line| line.starts_with("millstream_connections{"));
        lines.map(|line| line.rsplit(' ').next().unwrap_or_default().parse().expect("a count")).collect()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is said on standard error by one that cannot start.
pub(crate) fn refused(folder: &Folder, settings: &str) -> String {
    let ended =
        spawn(folder, settings, "refused").wait_with_output().expect("our own child can be waited for");
    assert!(!ended.status.success());
    fs::read_to_string(folder.path("refused")).expect("it was written")
}

fn spawn(folder: &Folder, settings: &str, log: &str) -> Child {
    let file = folder.path("broker.toml");
    fs::write(&file, settings).expect("a file in our own folder");
    let log = File::create(folder.path(log)).expect("a file in our own folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(["start", "--dev", "--data-dir"]).arg(folder.data()).arg("--config").arg::<&Path>(&file);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn();
    child.expect("the broker's binary starts")
}
