//! What a target may use of the machine, and what really keeps it to that.
//!
//! CPUs by affinity and open files by rlimit are inherited, so they are set on this thread while it starts the
//! broker. Memory needs a control group; where none may be made, the limit is on private memory (RLIMIT_DATA),
//! which leaves the page cache out.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Deserialize;

use crate::result::Limit;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// CPUs of the broker, as in 0-3,6
    #[arg(long, value_name = "LIST")]
    pub(crate) cpus: Option<String>,
    /// Memory of the broker, its page cache included where a control group can be made
    #[arg(long, value_name = "MIB")]
    pub(crate) memory_mib: Option<u64>,
    /// Files and sockets that the broker may have open
    #[arg(long, value_name = "N")]
    pub(crate) open_files: Option<u64>,
}

impl Limits {
    pub(crate) fn check(&self) -> Result<(), String> {
        self.cpu_list().map(|_| ())
    }

    /// These, where they say something, else those.
    pub(crate) fn over(&self, those: &Self) -> Self {
        Self {
            cpus: self.cpus.clone().or_else(|| those.cpus.clone()),
            memory_mib: self.memory_mib.or(those.memory_mib),
            open_files: self.open_files.or(those.open_files),
        }
    }

    fn cpu_list(&self) -> Result<Option<Vec<usize>>, String> {
        let Some(text) = &self.cpus else { return Ok(None) };
        parsed_cpus(text).map(Some).ok_or_else(|| {
            format!("cpus = {text:?}: a list as in 0-3,6 is asked, {} at most", CpuSet::MAX_CPU - 1)
        })
    }
}

fn parsed_cpus(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= CpuSet::MAX_CPU {
            return None;
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

/// Limits in force on a broker; what was made for them goes when this is dropped.
#[derive(Default)]
pub(crate) struct Applied {
    pub(crate) limits: Vec<Limit>,
    group: Option<PathBuf>,
}

impl Drop for Applied {
    fn drop(&mut self) {
        // A group with a process in it stays: it can only be removed empty, and says so.
        if let Some(group) = &self.group {
            let _ = fs::remove_dir(group);
        }
    }
}

/// Starts a process, which `pid_of` tells from what `spawn` returns, under the limits.
pub(crate) fn spawn_under<T>(
    limits: &Limits,
    spawn: impl FnOnce() -> io::Result<T>,
    pid_of: impl FnOnce(&T) -> u32,
) -> io::Result<(T, Applied)> {
    let mut applied = Applied::default();
    let cpus = limits.cpu_list().map_err(io::Error::other)?;
    let before = sched_getaffinity(None)?;
    if let (Some(cpus), Some(asked)) = (&cpus, &limits.cpus) {
        let how = set_cpus(cpus).map(|()| "affinity".to_owned());
        applied.limits.push(Limit { of: "cpus".into(), asked: asked.clone(), applied: how });
    }
    let files = getrlimit(Resource::Nofile);
    if let Some(asked) = limits.open_files {
        let how = set_open_files(asked, files).map(|()| "RLIMIT_NOFILE".to_owned());
        applied.limits.push(Limit { of: "open-files".into(), asked: asked.to_string(), applied: how });
    }
    let spawned = spawn();
    // What was inherited by now is ours no more. Neither can fail: both give back what was allowed before.
    let _ = sched_setaffinity(None, &before);
    let _ = setrlimit(Resource::Nofile, files);
    let spawned = spawned?;
    if let Some(mib) = limits.memory_mib {
        let how = limit_memory(pid_of(&spawned), mib << 20, &mut applied);
        applied.limits.push(Limit { of: "memory".into(), asked: format!("{mib} MiB"), applied: how });
    }
    Ok((spawned, applied))
}

/// None where one of them is not there or not allowed.
fn set_cpus(cpus: &[usize]) -> Option<()> {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu));
    sched_setaffinity(None, &set).ok()?;
    // The kernel silently leaves out what does not exist.
    let kept = sched_getaffinity(None).ok()?;
    cpus.iter().all(|cpu| kept.is_set(*cpu)).then_some(())
}

fn set_open_files(asked: u64, now: Rlimit) -> Option<()> {
    setrlimit(Resource::Nofile, Rlimit { current: Some(asked), maximum: now.maximum }).ok()
}

fn limit_memory(pid: u32, bytes: u64, applied: &mut Applied) -> Option<String> {
    if let Some(group) = made_group(pid, bytes) {
        applied.group = Some(group);
        return Some("cgroup memory.max, page cache included".into());
    }
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    prlimit(Some(pid), Resource::Data, limit).ok()?;
    Some("RLIMIT_DATA, page cache not included".into())
}

/// A control group (version 2) with the process in it, if this process may make one that limits memory.
fn made_group(pid: u32, bytes: u64) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let parent = own_group(&mounts, &own)?;
    let group = parent.join(format!("millstream-bench-{pid}"));
    fs::create_dir(&group).ok()?;
    let filled = fill_group(&group, pid, bytes);
    if filled.is_err() {
        let _ = fs::remove_dir(&group);
    }
    filled.ok().map(|()| group)
}

fn fill_group(group: &Path, pid: u32, bytes: u64) -> io::Result<()> {
    // Only there if the parent hands the memory controller down.
    fs::File::options().write(true).open(group.join("memory.max"))?;
    fs::write(group.join("memory.max"), bytes.to_string())?;
    // Swapped-out memory would not count.
    let _ = fs::write(group.join("memory.swap.max"), "0");
    fs::write(group.join("cgroup.procs"), pid.to_string())
}

/// Where this process's own group of version 2 is, from /proc/self/mountinfo and /proc/self/cgroup.
fn own_group(mounts: &str, own: &str) -> Option<PathBuf> {
    let mount = mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ").then(|| place.split(' ').nth(4))?
    })?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(mount).join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_lists_of_ranges() {
        assert_eq!(parsed_cpus("0"), Some(vec![0]));
        assert_eq!(parsed_cpus("0-2,5, 1"), Some(vec![0, 1, 2, 5]));
        for wrong in ["", "a", "2-1", "1-", "99999", "-1"] {
            assert_eq!(parsed_cpus(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_command_line_counts_more_than_the_file() {
        let file = Limits { cpus: Some("0".into()), memory_mib: Some(1), open_files: None };
        let line = Limits { cpus: Some("1".into()), ..Limits::default() };
        let both = Limits { cpus: Some("1".into()), memory_mib: Some(1), open_files: None };
        assert_eq!(line.over(&file), both);
    }

    #[test]
    fn the_own_control_group_is_found_below_its_mount() {
        let mounts = "29 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let own = "4:memory:/x\n0::/user.slice/session-1.scope\n";
        let group = own_group(mounts, own).unwrap();
        assert_eq!(group, Path::new("/sys/fs/cgroup/user.slice/session-1.scope"));
        assert_eq!(own_group("29 24 0:26 / /sys rw - tmpfs tmpfs rw\n", own), None);
    }

    #[test]
    fn a_process_has_the_limits_that_are_said_to_be_applied() {
        let limits = Limits { cpus: Some("0".into()), memory_mib: Some(512), open_files: Some(512) };
        let script = "sleep 0.2; ulimit -n; grep Cpus_allowed_list /proc/self/status; grep 'Max data' /proc/self/limits";
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script]).stdout(std::process::Stdio::piped());
        let (child, applied) = spawn_under(&limits, || command.spawn(), std::process::Child::id).unwrap();
        let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        for limit in &applied.limits {
            let expected = match limit.of.as_str() {
                "cpus" => "Cpus_allowed_list:\t0\n",
                "open-files" => "512\n",
                _ if limit.applied.as_ref().is_some_and(|how| how.contains("DATA")) => "536870912",
                _ => continue,
            };
            assert!(limit.applied.is_none() || said.contains(expected), "{limit:?}: {said}");
        }
        assert_eq!(applied.limits.len(), 3);
        // Ours are as before.
        assert!(getrlimit(Resource::Nofile).current != Some(512));
    }
}
