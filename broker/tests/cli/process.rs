//! Brokers and commands as processes of their own.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test of processes needs processes, files, ports and time"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::{env, fs, process};

/// A broker with a data directory of its own, both gone in the end.
pub(crate) struct Broker {
    process: Child,
    /// Kept open: a broker may go on talking.
    _stdout: BufReader<ChildStdout>,
    pub(crate) address: String,
    pub(crate) folder: Folder,
}

/// Empty at first, gone in the end.
pub(crate) struct Folder(PathBuf);

/// What a command left.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Another program may take a port between our finding it free and the broker's binding it.
const ATTEMPTS: usize = 5;

impl Broker {
    pub(crate) fn start(name: &str) -> Self {
        Self::start_on(Folder::new(name))
    }

    /// With the data that is there already.
    pub(crate) fn start_on(folder: Folder) -> Self {
        for _ in 0..ATTEMPTS {
            let address = free_address();
            if let Some((process, stdout)) = spawn(&folder, &address) {
                return Self { process, _stdout: stdout, address, folder };
            }
            let log = folder.log();
            assert!(log.contains("in use"), "the broker ended: {log}");
        }
        panic!("{ATTEMPTS} ports were free and then taken");
    }

    /// Runs a command on this broker.
    pub(crate) fn run(&self, arguments: &[&str], input: &[u8]) -> Done {
        run(&[arguments, &["--bootstrap", &self.address]].concat(), input)
    }

    /// The same, still running, with all of its ends in our hands.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Child {
        begin(&[arguments, &["--bootstrap", &self.address]].concat())
    }

    /// Of a command that has to succeed.
    #[track_caller]
    pub(crate) fn says(&self, arguments: &[&str], input: &str) -> String {
        let done = self.run(arguments, input.as_bytes());
        assert_eq!(done.code, 0, "{arguments:?}: {done:?}\n{}", self.folder.log());
        done.out
    }

    /// Stops it as an operator (TERM) or a crash (KILL) would, and leaves its data.
    pub(crate) fn stop(mut self, signal: &str) -> Folder {
        let sent = Command::new("kill").args([format!("-{signal}"), self.process.id().to_string()]).status();
        assert!(sent.unwrap().success());
        self.process.wait().unwrap();
        let gone = Folder(self.folder.0.join("gone"));
        std::mem::replace(&mut self.folder, gone)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// None if it ended before it listened.
fn spawn(folder: &Folder, address: &str) -> Option<(Child, BufReader<ChildStdout>)> {
    let mut process = millstream()
        .args(["start", "--dev", "--shards", "2", "--listen", address, "--data-dir"])
        .arg(folder.data())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(folder.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let mut said = String::new();
    while !said.contains("listening") {
        if stdout.read_line(&mut said).unwrap() == 0 {
            process.wait().unwrap();
            return None;
        }
    }
    Some((process, stdout))
}

/// Where nobody listens right now.
pub(crate) fn free_address() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("127.0.0.1:{port}")
}

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("millstream-cli-{name}-{}", process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// What the broker logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.0.join("log")).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The binary under test, without what the tester's own shell says to it.
pub(crate) fn millstream() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    let variables = env::vars_os().map(|(name, _)| name);
    for name in variables.filter(|name| name.to_string_lossy().starts_with("MILLSTREAM_")) {
        command.env_remove(name);
    }
    command
}

fn begin(arguments: &[&str]) -> Child {
    let mut command = millstream();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

pub(crate) fn run(arguments: &[&str], input: &[u8]) -> Done {
    let mut process = begin(arguments);
    // Our inputs fit into a pipe, or the command reads all before it writes. One that refuses its arguments reads none.
    let _ = process.stdin.take().unwrap().write_all(input);
    let output = process.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// A command on a path.
pub(crate) fn offline(arguments: &[&str], path: &Path) -> Done {
    run(&[arguments, &[path.to_str().unwrap()]].concat(), b"")
}

#[track_caller]
pub(crate) fn fails(done: &Done, code: i32, why: &str) {
    assert_eq!(done.code, code, "{done:?}");
    assert!(done.err.contains(why), "no `{why}` in {done:?}");
}
