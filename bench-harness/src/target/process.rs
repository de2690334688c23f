//! One broker under test, from a fresh folder to none.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::file::{Start, filled};
use super::folder::Folder;
use super::limits::{Applied, Limits, spawn_under};
use super::wire::Wire;
use super::{Place, Target, jars};
use crate::failure::Failure;
use crate::random;
use crate::result::TargetFacts;
use crate::stop;

/// A broker that answers, or that is between a kill and the next start. Dropped, it is killed and its folder wiped.
pub(crate) struct Running {
    target: Target,
    facts: TargetFacts,
    own: Option<Own>,
}

/// What there is of a broker that this program started.
struct Own {
    folder: Folder,
    command: PathBuf,
    words: BTreeMap<&'static str, String>,
    log: PathBuf,
    child: Option<Child>,
    applied: Applied,
}

impl Running {
    /// On a fresh folder; returns when it answers.
    pub(crate) fn start(target: &Target, limits: &Limits, place: &Place) -> Result<Self, Failure> {
        let facts = TargetFacts {
            name: target.label.clone(),
            version: target.version.clone(),
            fsync: Some(target.fsync.name().to_owned()),
            ..TargetFacts::default()
        };
        let mut running = Self { target: target.clone(), facts, own: None };
        match &target.file.start {
            None => running.attach()?,
            Some(start) => {
                running.make_ready(start, place)?;
                running.spawn(limits)?;
            }
        }
        Ok(running)
    }

    fn attach(&mut self) -> Result<(), Failure> {
        let Some(bootstrap) = &self.target.bootstrap else {
            let label = &self.target.label;
            return Err(Failure::usage(format!(
                "{label}: say where it runs, as in {label},bootstrap=HOST:PORT"
            )));
        };
        self.facts.bootstrap.clone_from(bootstrap);
        self.facts.pid = self.target.pid;
        let asked = Wire::connect(bootstrap, EXTERNAL_PATIENCE).and_then(|mut wire| wire.api_versions());
        asked.map_err(|error| {
            Failure::failed(format!("{}: no answer from {bootstrap}: {error}", self.facts.name))
        })
    }

    /// Folder, files, and what a fresh folder needs done.
    fn make_ready(&mut self, start: &Start, place: &Place) -> Result<(), Failure> {
        let label = self.facts.name.clone();
        let failed = |error: io::Error| Failure::failed(format!("{label}: {error}"));
        let command = find_command(start)?;
        let jars =
            start.jars.as_deref().map(|list| jars::find(list, start.jars_variable.as_deref())).transpose()?;
        let folder = Folder::make(&place.scratch, &label).map_err(failed)?;
        let (dir, port) = (folder.path().to_path_buf(), free_port().map_err(failed)?);
        let durability = self.target.file.stands_for_durability(self.target.fsync).map_err(Failure::Usage)?;
        let words = BTreeMap::from([
            ("dir", dir.display().to_string()),
            ("host", Ipv4Addr::LOCALHOST.to_string()),
            ("port", port.to_string()),
            ("next_port", (port + 1).to_string()),
            ("address", format!("{}:{port}", Ipv4Addr::LOCALHOST)),
            ("command", command.display().to_string()),
            ("jars", jars.unwrap_or_default().display().to_string()),
            ("uuid", random::new_id().to_string()),
            ("durability", durability.to_owned()),
        ]);
        self.facts.bootstrap.clone_from(&words["address"]);
        let own =
            Own { folder, command, words, log: place.log.clone(), child: None, applied: Applied::default() };
        for file in &self.target.file.file {
            let path = dir.join(&file.path);
            path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
            fs::write(path, filled(&file.text, &own.words)).map_err(failed)?;
        }
        // From here on a failure wipes the folder.
        let own = self.own.insert(own);
        for prepare in &start.prepare {
            own.prepare(prepare, start).map_err(|error| Failure::failed(format!("{label}: {error}")))?;
        }
        Ok(())
    }

    fn spawn(&mut self, limits: &Limits) -> Result<(), Failure> {
        let start = self.target.file.start.as_ref().expect("only what has a start is spawned");
        let own = self.own.as_mut().expect("made ready before");
        let label = &self.facts.name;
        let began = Instant::now();
        let (child, applied) =
            spawn_under(limits, || own.broker(start)?.spawn(), Child::id).map_err(|error| {
                Failure::failed(format!("{label}: cannot start {}: {error}", own.command.display()))
            })?;
        self.facts.pid = Some(child.id());
        self.facts.limits.clone_from(&applied.limits);
        own.child = Some(child);
        own.applied = applied;
        let patience = Duration::from_secs_f64(start.ready_patience_s);
        own.until_ready(began, patience).map_err(|why| Failure::failed(format!("{label} {why}")))?;
        self.facts.start_up_us = Some(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        Ok(())
    }

    pub(crate) fn facts(&self) -> &TargetFacts {
        &self.facts
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.facts.pid
    }

    /// What its disk is found by.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.own.as_ref().map(|own| own.folder.path()).or(self.target.data.as_deref())
    }

    /// Why it does not run any more; None while it does.
    pub(crate) fn ended(&mut self) -> Option<String> {
        match &mut self.own {
            Some(own) => own.ended().map(|why| format!("{} {why}", self.facts.name)),
            None => {
                let asked = Wire::connect(&self.facts.bootstrap, EXTERNAL_PATIENCE)
                    .and_then(|mut wire| wire.api_versions());
                asked.err().map(|error| format!("{} does not answer any more: {error}", self.facts.name))
            }
        }
    }

    /// The end of what it said, with where all of it is.
    pub(crate) fn last_words(&self) -> String {
        self.own.as_ref().map(Own::last_lines).unwrap_or_default()
    }

    /// As a crash: nothing is finished. What the operating system has taken stays, as after a crash of the process.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        let label = &self.facts.name;
        let not_ours = || Failure::usage(format!("{label} was not started here and is not killed"));
        let child = self.own.as_mut().ok_or_else(not_ours)?.child.take();
        let mut child = child.ok_or_else(|| Failure::failed(format!("{label} does not run")))?;
        let killed = child.kill().and_then(|()| child.wait());
        killed.map(|_| ()).map_err(|error| Failure::failed(format!("{label} cannot be killed: {error}")))
    }

    /// On the same folder and port, as it is. Returns when it answers; `facts` has the time.
    pub(crate) fn start_again(&mut self, limits: &Limits) -> Result<(), Failure> {
        self.spawn(limits)
    }

    /// As an operator stops it, and killed if it has not ended by then. Its folder is gone afterwards.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        let Some(mut own) = self.own.take() else { return Ok(()) };
        let patience = Duration::from_secs_f64(self.target.file.stop.patience_s);
        let stopped = own.stop(patience).map_err(|why| Failure::failed(format!("{} {why}", self.facts.name)));
        let wiped = own.folder.wipe();
        stopped.and(wiped.map_err(|error| Failure::failed(format!("{}: {error}", self.facts.name))))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(own) = &mut self.own else { return };
        if let Some(child) = &mut own.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Err(error) = own.folder.wipe() {
            eprintln!("millstream-bench: {error}");
        }
    }
}

impl Own {
    fn prepare(&self, prepare: &[String], start: &Start) -> io::Result<()> {
        let mut arguments = prepare.iter().map(|argument| filled(argument, &self.words));
        let mut command = Command::new(arguments.next().unwrap_or_default());
        let status = self.on_log(command.args(arguments), start)?.status()?;
        match status.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!(
                "{} {}{}",
                prepare.join(" "),
                ending(status),
                self.last_lines()
            ))),
        }
    }

    /// The broker's command. If there is a way, it dies with this program, however this program ends.
    fn broker(&self, start: &Start) -> io::Result<Command> {
        let mut command = match in_path("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL", "--"]).arg(&self.command);
                command
            }
            None => Command::new(&self.command),
        };
        command.args(start.arguments.iter().map(|argument| filled(argument, &self.words)));
        self.on_log(&mut command, start)?;
        Ok(command)
    }

    fn on_log<'c>(&self, command: &'c mut Command, start: &Start) -> io::Result<&'c mut Command> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        for variable in start.command_variable.iter().chain(&start.jars_variable) {
            command.env_remove(variable);
        }
        command.envs(start.environment.iter().map(|(name, value)| (name, filled(value, &self.words))));
        command.current_dir(self.folder.path());
        // A terminal's Ctrl-C is for this program, which then stops the broker.
        command.process_group(0);
        Ok(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log))
    }

    fn until_ready(&mut self, began: Instant, patience: Duration) -> Result<(), String> {
        let address = self.words["address"].clone();
        loop {
            if let Some(why) = self.ended() {
                return Err(why + &self.last_lines());
            }
            if stop::was_told() {
                return Err("was not waited for: told to stop".to_owned());
            }
            let asked = Wire::connect(&address, ANSWER_PATIENCE).and_then(|mut wire| wire.api_versions());
            match asked {
                Ok(()) => return Ok(()),
                Err(error) if began.elapsed() >= patience => {
                    let (waited, last) = (patience.as_secs_f64(), self.last_lines());
                    return Err(format!("does not answer within {waited} s ({error}){last}"));
                }
                Err(_) => thread::sleep(POLL),
            }
        }
    }

    /// None while it runs.
    fn ended(&mut self) -> Option<String> {
        match self.child.as_mut()?.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(ending(status)),
            Err(error) => Some(format!("cannot be watched: {error}")),
        }
    }

    fn stop(&mut self, patience: Duration) -> Result<(), String> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let began = Instant::now();
        // Gone already is as good.
        let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        while began.elapsed() < patience {
            match child.try_wait() {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => thread::sleep(POLL),
                Err(error) => return Err(format!("cannot be waited for: {error}")),
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(format!("did not stop within {} s and was killed", patience.as_secs_f64()))
    }

    fn last_lines(&self) -> String {
        let said = fs::read(&self.log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said[said.len().saturating_sub(SAID_BYTES)..]).into_owned();
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(SAID_LINES)..];
        match last {
            [] => format!("; it said nothing ({})", self.log.display()),
            last => format!("; the end of {}:\n  {}", self.log.display(), last.join("\n  ")),
        }
    }
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// The path of a target's command.
pub(crate) fn find_command(start: &Start) -> Result<PathBuf, Failure> {
    let named = start.command_variable.as_ref().and_then(std::env::var_os).filter(|named| !named.is_empty());
    if let Some(named) = named {
        let path = PathBuf::from(named);
        // It is started in another folder.
        return fs::canonicalize(&path)
            .map_err(|error| Failure::usage(format!("cannot start {}: {error}", path.display())));
    }
    let home = (start.command == "java").then(|| std::env::var_os("JAVA_HOME")).flatten();
    let home = home.map(|home| Path::new(&home).join("bin/java")).filter(|java| is_executable(java));
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(&start.command)));
    let found = match start.command.contains('/') {
        true => fs::canonicalize(&start.command).ok(),
        false => {
            home.or_else(|| beside.filter(|path| is_executable(path))).or_else(|| in_path(&start.command))
        }
    };
    let Some(found) = found else {
        let name = &start.command;
        let hint = match (&start.command_variable, start.java_at_least) {
            (Some(variable), _) => format!(" beside millstream-bench or in PATH, and {variable} is not set"),
            (None, Some(version)) => {
                format!("; Java {version} or a later one is needed, in PATH or at JAVA_HOME")
            }
            (None, None) => " in PATH".into(),
        };
        return Err(Failure::failed(format!("there is no `{name}`{hint}")));
    };
    match start.java_at_least {
        Some(least) => check_java(&found, least).map(|()| found),
        None => Ok(found),
    }
}

fn check_java(java: &Path, least: u32) -> Result<(), Failure> {
    let said = Command::new(java).arg("-version").output();
    let said = said.map_err(|error| Failure::failed(format!("cannot start {}: {error}", java.display())))?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    match java_version(&said) {
        Some(version) if version >= least => Ok(()),
        Some(version) => {
            let java = java.display();
            Err(Failure::failed(format!("{java} is Java {version}; Java {least} or a later one is needed")))
        }
        None => Err(Failure::failed(format!("{} -version says no version: {}", java.display(), said.trim()))),
    }
}

/// `openjdk version "17.0.15" 2025-04-15`; before 9 it was "1.8.0".
fn java_version(said: &str) -> Option<u32> {
    let version = said.split('"').nth(1)?;
    let mut parts = version.split(['.', '-', '+', '_']);
    match parts.next()?.parse().ok()? {
        1 => parts.next()?.parse().ok(),
        version => Some(version),
    }
}

pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}

/// A port that is free, as is the one above it, and that the kernel gives to no outgoing connection meanwhile.
fn free_port() -> io::Result<u16> {
    let mut seed = u64::from(std::process::id());
    for byte in random::new_id().0 {
        seed = seed.wrapping_mul(31).wrapping_add(u64::from(byte));
    }
    for attempt in 0..PORT_ATTEMPTS {
        let port = PORT_FIRST + ((seed.wrapping_add(attempt) % PORT_COUNT) * 2) as u16;
        let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if is_free(port) && is_free(port + 1) {
            return Ok(port);
        }
    }
    Err(io::Error::other(format!("no two free ports beside each other in {PORT_ATTEMPTS} tries")))
}

const PORT_FIRST: u16 = 12_000;
const PORT_COUNT: u64 = 10_000;
const PORT_ATTEMPTS: u64 = 100;
/// Between looks at a broker that starts or stops.
const POLL: Duration = Duration::from_millis(2);
/// One try's; a starting broker may accept a connection long before it answers.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
const EXTERNAL_PATIENCE: Duration = Duration::from_secs(10);
/// What is shown of the log of a broker that failed.
const SAID_LINES: usize = 20;
const SAID_BYTES: usize = 64 << 10;
