//! Limits of this process's control groups, in the files of either version.

use std::fs;
use std::path::{Path, PathBuf};

/// Where control groups are mounted.
pub(super) fn root() -> &'static Path {
    Path::new("/sys/fs/cgroup")
}

/// The groups that this process is in, as the kernel lists them.
pub(super) fn groups() -> String {
    fs::read_to_string("/proc/self/cgroup").unwrap_or_default()
}

/// The smallest limit from this process's group up to the root. `v2` and `v1` read a group's folder.
pub(super) fn smallest<T: PartialOrd>(
    root: &Path,
    groups: &str,
    controller: &str,
    v2: fn(&Path) -> Option<T>,
    v1: fn(&Path) -> Option<T>,
) -> Option<T> {
    let mut smallest: Option<T> = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let path = path.trim_start_matches('/');
        let limits: Vec<T> = if controllers.is_empty() {
            up_to_root(root, path).iter().filter_map(|group| v2(group)).collect()
        } else if controllers.split(',').any(|one| one == controller) {
            let mounts = [root.join(controller), root.join(controllers)];
            let groups = mounts.iter().flat_map(|mount| up_to_root(mount, path));
            groups.filter_map(|group| v1(&group)).collect()
        } else {
            continue;
        };
        for limit in limits {
            smallest = Some(match smallest {
                Some(least) if least <= limit => least,
                _ => limit,
            });
        }
    }
    smallest
}

/// The group's folder and all above it. Inside a container the path may be the host's: folders that
/// are not there simply say nothing, and the root is the container's own.
fn up_to_root(root: &Path, path: &str) -> Vec<PathBuf> {
    root.join(path).ancestors().take_while(|folder| folder.starts_with(root)).map(Path::to_path_buf).collect()
}
