//! The disk under a folder: from the mount to the device.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Disk, Root, system};

const SECTOR_BYTES: u64 = 512;

pub(super) fn under(root: &Root, folder: &Path) -> Option<Disk> {
    let folder = absolute(folder)?;
    let mounts = root.text("proc/self/mountinfo")?;
    // Of several mounts on one place the last is what is seen.
    let mount = mounts
        .lines()
        .filter_map(Mount::read)
        .filter(|mount| folder.starts_with(&mount.place))
        .max_by_key(|mount| Path::new(&mount.place).components().count())?;
    let mut disk = Disk {
        free_bytes: (root.0 == Path::new("/")).then(|| free_bytes(&folder)).flatten(),
        mount: mount.place,
        filesystem: mount.filesystem,
        options: mount.options,
        ..Disk::default()
    };
    if let Some(device) = device(root, &mount.device, &mount.source) {
        describe(root, &device, &mut disk);
    }
    Some(disk)
}

/// Also for a folder that will be made later: then what is there of the way to it counts.
fn absolute(folder: &Path) -> Option<PathBuf> {
    let whole = std::path::absolute(folder).ok()?;
    let existing = whole.ancestors().find_map(|it| Some((it, fs::canonicalize(it).ok()?)));
    let Some((existing, real)) = existing else { return Some(whole) };
    let rest = whole.strip_prefix(existing).unwrap_or(Path::new(""));
    Some(real.join(rest))
}

fn free_bytes(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|it| it.exists())?;
    let space = rustix::fs::statvfs(existing).ok()?;
    Some(space.f_bavail.saturating_mul(space.f_frsize))
}

/// One line of mountinfo.
struct Mount {
    device: String,
    place: String,
    options: String,
    filesystem: String,
    source: String,
}

impl Mount {
    fn read(line: &str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let before: Vec<&str> = before.split(' ').collect();
        let mut after = after.split(' ');
        let (filesystem, source) = (after.next()?.to_owned(), after.next()?.to_owned());
        // Options of this mount, then those of the file system.
        let mut options: Vec<&str> = before.get(5)?.split(',').collect();
        for option in after.next().unwrap_or_default().split(',').filter(|it| !it.is_empty()) {
            if !options.contains(&option) {
                options.push(option);
            }
        }
        Some(Self {
            device: (*before.get(2)?).to_owned(),
            place: unescaped(before.get(4)?),
            options: options.join(","),
            filesystem,
            source,
        })
    }
}

/// The kernel writes spaces and the like as `\040`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = std::str::from_utf8(after.get(..3).unwrap_or_default()).unwrap_or_default();
        match u8::from_str_radix(code, 8) {
            Ok(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The folder in /sys that describes the whole device, not the partition.
fn device(root: &Root, number: &str, source: &str) -> Option<PathBuf> {
    let by_number = root.0.join("sys/dev/block").join(number);
    // File systems over several devices have a number of their own and name one device.
    let by_name = root.0.join("sys/class/block").join(source.strip_prefix("/dev/").unwrap_or("-"));
    let found = fs::canonicalize(by_number).or_else(|_| fs::canonicalize(by_name)).ok()?;
    match found.join("queue").is_dir() {
        true => Some(found),
        false => found.parent().filter(|parent| parent.join("queue").is_dir()).map(Path::to_path_buf),
    }
}

fn describe(root: &Root, device: &Path, disk: &mut Disk) {
    let at = |rest: &str| device.join(rest).strip_prefix(&root.0).ok()?.to_str().map(str::to_owned);
    // Canonical paths lie below the root only if the root is canonical; absolute ones need no root.
    let text = |rest: &str| match at(rest) {
        Some(path) => root.text(&path),
        None => fs::read_to_string(device.join(rest))
            .ok()
            .map(|it| it.trim().to_owned())
            .filter(|it| !it.is_empty()),
    };
    let number = |rest: &str| text(rest).and_then(|it| it.parse::<u64>().ok());
    let name = device.file_name().and_then(|it| it.to_str()).map(str::to_owned);
    let is_virtio = name.as_deref().is_some_and(|it| it.starts_with("vd"));
    disk.model = text("device/model")
        .or_else(|| is_virtio.then(|| "virtio".to_owned()))
        .or_else(|| below(device).and_then(|it| text(&format!("slaves/{it}/device/model"))));
    disk.is_rotational = number("queue/rotational").map(|it| it == 1);
    disk.cache = text("queue/write_cache");
    disk.scheduler = text("queue/scheduler").map(|it| system::chosen(&it).unwrap_or(it));
    disk.size_bytes = number("size").map(|it| it.saturating_mul(SECTOR_BYTES));
    disk.physical_block_bytes = number("queue/physical_block_size");
    disk.device = name;
}

/// Of a device made of others (LVM, dm-crypt, md) the first of them.
fn below(device: &Path) -> Option<String> {
    let mut names: Vec<String> = fs::read_dir(device.join("slaves"))
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names.into_iter().next()
}
