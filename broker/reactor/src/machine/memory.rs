//! How much memory the computer has, and how much of it this process may use.

use std::fmt;
use std::fs;
use std::path::Path;

use super::cgroup::{self, smallest};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Of the computer; 0 if it does not say.
    pub total_bytes: u64,
    /// What the cgroup grants, if that is less.
    pub limit_bytes: Option<u64>,
}

pub(super) fn memory() -> Memory {
    let facts = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    found(&facts, cgroup::root(), &cgroup::groups())
}

fn found(facts: &str, root: &Path, groups: &str) -> Memory {
    let total = facts.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total_kib = total.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
    let total_bytes = total_kib.unwrap_or(0) << 10;
    let limit = smallest(
        root,
        groups,
        "memory",
        |group| bytes(&group.join("memory.max")),
        |group| bytes(&group.join("memory.limit_in_bytes")),
    );
    // Version 1 has no word for "none", only a number beyond all memory.
    Memory { total_bytes, limit_bytes: limit.filter(|limit| *limit < total_bytes) }
}

/// None for `max`, which means no limit.
fn bytes(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
        write!(f, "{:.1} GiB", gib(self.total_bytes))?;
        match self.limit_bytes {
            Some(limit) => write!(f, ", of which the cgroup grants {:.1} GiB", gib(limit)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_the_computers_or_what_the_cgroup_grants_of_it() {
        let root = std::env::temp_dir().join(format!("cgroup-memory-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("a/memory.max", "1073741824\n");
        write("a/b/memory.max", "max\n");
        write("memory/old/memory.limit_in_bytes", "9223372036854771712\n");
        let facts = "MemTotal:        4194304 kB\nMemFree: 1 kB\n";
        let memory = found(facts, &root, "0::/a/b\n");
        assert_eq!(memory, Memory { total_bytes: 4 << 30, limit_bytes: Some(1 << 30) });
        assert_eq!(memory.to_string(), "4.0 GiB, of which the cgroup grants 1.0 GiB");
        let free = found(facts, &root, "5:memory:/old\n");
        assert_eq!(free, Memory { total_bytes: 4 << 30, limit_bytes: None });
        assert_eq!(free.to_string(), "4.0 GiB");
        fs::remove_dir_all(root).unwrap();
    }
}
