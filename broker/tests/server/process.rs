//! The real binary, as a test runs it: started on a folder of its own, waited for, stopped or killed.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::disallowed_methods, reason = "real processes, files and time")]

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process, setrlimit};

use crate::wire::Wire;

/// A broker that does not answer by then is considered dead.
const START_PATIENCE: Duration = Duration::from_secs(20);
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// Log lines shown when a test fails.
const LOG_LINES_SHOWN: usize = 40;

/// A broker on a port and a data directory of its own; killed, and its data removed, when dropped.
pub(crate) struct Server {
    name: String,
    dir: PathBuf,
    port: u16,
    arguments: Vec<String>,
    /// Command that runs the rest of its arguments as the broker; none usually. `{}` is the data directory.
    wrapped_in: Vec<String>,
    child: Option<Child>,
}

/// Runs a command with a disk of its own at the data directory, gone when the command ends.
pub(crate) fn own_disk(mib: u64) -> [String; 5] {
    let script = format!("mkdir -p {{}} && mount -t tmpfs -o size={mib}m tmpfs {{}} && exec \"$@\"");
    ["unshare", "-Urm", "sh", "-c", &script].map(str::to_owned)
}

impl Server {
    /// `name` tells the folder from those of other tests. Arguments follow `start --dev`.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        Self::start_on(name, &[], arguments)
    }

    /// As `start`, run by a command.
    pub(crate) fn start_on(name: &str, wrapped_in: &[String], arguments: &[&str]) -> Self {
        raise_open_files();
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a folder under target/tmp");
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let wrapped_in = wrapped_in.to_vec();
        let mut server =
            Self { name: name.to_owned(), dir, port: free_port(), arguments, wrapped_in, child: None };
        server.start_again();
        server
    }

    /// Starts the binary on the same data and port, and waits until it answers.
    pub(crate) fn start_again(&mut self) {
        self.spawn();
        self.until_ready();
    }

    /// Starts the binary and does not wait for it.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let open = || File::options().create(true).append(true).open(self.log_path());
        let log = open().expect("the log file of a test's broker");
        let child = self
            .command()
            .args(["start", "--dev", "--listen", &self.address().to_string(), "--data-dir"])
            .arg(self.data())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle to the log file"))
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("the broker's binary starts"));
    }

    fn command(&self) -> Command {
        let binary = env!("CARGO_BIN_EXE_millstream");
        let Some((program, rest)) = self.wrapped_in.split_first() else { return Command::new(binary) };
        let mut command = Command::new(program);
        let data = self.data().display().to_string();
        command.args(rest.iter().map(|part| part.replace("{}", &data))).args(["sh", binary]);
        command
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Waits until ApiVersions is answered.
    ///
    /// # Panics
    /// If the broker ends, or does not answer in time.
    pub(crate) fn until_ready(&mut self) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.exit_status() {
                panic!("{} ended with {status} instead of serving", self.name);
            }
            if let Ok(mut wire) = Wire::try_connect(self.address())
                && wire.try_ask::<_, ApiVersionsResponse>(0, &ApiVersionsRequest::default()).is_ok()
            {
                return;
            }
            assert!(began.elapsed() < START_PATIENCE, "{} does not answer", self.name);
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// What every client wants to know.
    pub(crate) fn bootstrap(&self) -> String {
        self.address().to_string()
    }

    /// As a crash: nothing is finished, nothing is said.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("our own child can be killed");
        child.wait().expect("our own child can be waited for");
    }

    /// As an operator stops it.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.ask_to_stop();
        let began = Instant::now();
        loop {
            if let Some(status) = self.exit_status() {
                self.child = None;
                return status;
            }
            assert!(began.elapsed() < STOP_PATIENCE, "{} does not stop", self.name);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Does not wait for it.
    pub(crate) fn ask_to_stop(&self) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), Signal::TERM).expect("our own child can be signalled");
    }

    /// None while it runs.
    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().expect("it was started").try_wait().expect("our own child can be asked")
    }

    /// # Panics
    /// If the broker is gone.
    pub(crate) fn assert_alive(&mut self) {
        let status = self.exit_status();
        assert!(status.is_none(), "{} ended with {status:?}", self.name);
    }

    /// All that it said so far, on standard output and error.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Memory it holds now.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most memory it ever held, or since `forget_peak`.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    pub(crate) fn forget_peak(&self) {
        // 5: resets the peak resident set size, proc(5).
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").expect("our own child's /proc");
    }

    fn memory(&self, field: &str) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("our own child's /proc");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        let kib = line.trim().trim_end_matches(" kB").parse::<u64>();
        kib.unwrap_or_else(|_| panic!("{} has no {field}, it has ended", self.name)) * 1024
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn last_lines(&self) -> io::Result<String> {
        let mut said = Vec::new();
        File::open(self.log_path())?.read_to_end(&mut said)?;
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<_> = said.lines().collect();
        Ok(lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            let lines = self.last_lines().unwrap_or_default();
            eprintln!("--- {}: last lines of {}\n{lines}\n---", self.name, self.log_path().display());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// A port that nobody listens on. Below those the kernel gives to outgoing connections, so that it
/// is still free when the broker comes back.
fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id().wrapping_mul(97) % u32::from(COUNT)) as u16;
    loop {
        let at = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, FIRST + at)).is_ok() {
            return FIRST + at;
        }
    }
}

/// Ten thousand connections need as many descriptors, here and in the broker.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("a soft limit may be raised to the hard one");
}
