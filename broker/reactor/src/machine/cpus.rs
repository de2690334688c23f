//! Which CPUs this process may use, and how much of them: affinity mask and cgroup quota.

use std::fs;
use std::io;
use std::path::Path;

use rustix::thread::{CpuSet, sched_getaffinity};

use super::cgroup::{self, smallest};

/// The CPUs a process is allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowed {
    /// Numbers as the kernel counts them, ascending; never empty.
    pub cpus: Vec<usize>,
    /// CPU time per time that the cgroup grants, if it limits it: 1.5 is one and a half CPUs.
    pub quota: Option<f64>,
}

impl Allowed {
    /// How many cores make sense: one per CPU, but no more than the quota can keep busy.
    pub fn cores(&self) -> usize {
        let quota = self.quota.map_or(usize::MAX, whole_cores);
        self.cpus.len().min(quota)
    }
}

fn whole_cores(quota: f64) -> usize {
    // The cast saturates, which is what a huge quota should do.
    quota.ceil().max(1.0) as usize
}

/// Reads the affinity mask and the cgroup quota (both versions) of this process.
pub fn allowed_cpus() -> io::Result<Allowed> {
    let mask = sched_getaffinity(None)?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| mask.is_set(*cpu)).collect();
    if cpus.is_empty() {
        return Err(io::Error::other("the affinity mask names no CPU"));
    }
    Ok(Allowed { cpus, quota: quota(cgroup::root(), &cgroup::groups()) })
}

/// What the smallest limit in this process's group and those above it allows, in CPUs.
fn quota(root: &Path, groups: &str) -> Option<f64> {
    smallest(root, groups, "cpu", v2_limit, v1_limit)
}

fn v2_limit(group: &Path) -> Option<f64> {
    let text = fs::read_to_string(group.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    ratio(quota, period)
}

fn v1_limit(group: &Path) -> Option<f64> {
    let quota = fs::read_to_string(group.join("cpu.cfs_quota_us")).ok()?;
    let period = fs::read_to_string(group.join("cpu.cfs_period_us")).ok()?;
    ratio(quota.trim(), period.trim())
}

/// None for `max` and `-1`, which mean no limit.
fn ratio(quota: &str, period: &str) -> Option<f64> {
    let quota: u32 = quota.parse().ok()?;
    let period: u32 = period.parse().ok().filter(|period| *period > 0)?;
    Some(f64::from(quota) / f64::from(period))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lays out control files below a fresh folder and reads the quota there.
    fn check(files: &[(&str, &str)], groups: &str, expected: Option<f64>) {
        let root = std::env::temp_dir().join(format!("cgroup-{}-{:x}", std::process::id(), unique(files)));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        assert_eq!(quota(&root, groups), expected);
        let _ = fs::remove_dir_all(root);
    }

    fn unique(files: &[(&str, &str)]) -> usize {
        files.as_ptr() as usize
    }

    #[test]
    fn version_2_takes_the_smallest_limit_on_the_way_up() {
        let files = [("a/cpu.max", "300000 100000\n"), ("a/b/cpu.max", "max 100000\n")];
        check(&files, "0::/a/b\n", Some(3.0));
        check(&[("cpu.max", "150000 100000\n")], "0::/not/visible/here\n", Some(1.5));
        check(&[("a/cpu.max", "max 100000\n")], "0::/a\n", None);
    }

    #[test]
    fn version_1_reads_the_cpu_controller() {
        let files =
            [("cpu,cpuacct/x/cpu.cfs_quota_us", "50000\n"), ("cpu,cpuacct/x/cpu.cfs_period_us", "100000\n")];
        check(&files, "3:memory:/x\n2:cpu,cpuacct:/x\n", Some(0.5));
        let open = [("cpu/x/cpu.cfs_quota_us", "-1\n"), ("cpu/x/cpu.cfs_period_us", "100000\n")];
        check(&open, "2:cpu:/x\n", None);
        check(&[], "", None);
    }

    #[test]
    fn cores_are_bounded_by_the_quota_and_never_none() {
        let allowed = |quota| Allowed { cpus: vec![0, 2, 4, 6], quota };
        assert_eq!(allowed(None).cores(), 4);
        assert_eq!(allowed(Some(1.5)).cores(), 2);
        assert_eq!(allowed(Some(0.2)).cores(), 1);
        assert_eq!(allowed(Some(64.0)).cores(), 4);
    }

    #[test]
    fn this_process_is_allowed_a_cpu() {
        assert!(allowed_cpus().unwrap().cores() >= 1);
    }
}
