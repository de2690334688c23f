//! Folders: names as seen, names on stable storage, and the changes between.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::random::Random;

/// What a name stands for. Numbers are never used again.
pub(super) type Node = u64;

pub(super) const ROOT: Node = 0;

#[derive(Clone, Default)]
struct Folder {
    seen: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
}

/// A change of names, as a journal holds it. `Move` covers creation (no source) and removal (no target).
#[derive(Clone)]
struct Move {
    node: Node,
    from: Option<(Node, String)>,
    to: Option<(Node, String)>,
}

impl Move {
    fn touches(&self, folder: Node) -> bool {
        [&self.from, &self.to].into_iter().flatten().any(|(touched, _)| *touched == folder)
    }

    fn make(&self, names: &mut BTreeMap<Node, Folder>, pick: fn(&mut Folder) -> &mut BTreeMap<String, Node>) {
        if let Some((folder, name)) = &self.from {
            let held = pick(names.entry(*folder).or_default());
            if held.get(name) == Some(&self.node) {
                held.remove(name);
            }
        }
        if let Some((folder, name)) = &self.to {
            pick(names.entry(*folder).or_default()).insert(name.clone(), self.node);
        }
    }
}

#[derive(Clone)]
pub(super) struct Tree {
    folders: BTreeMap<Node, Folder>,
    moves: Vec<Move>,
    next: Node,
}

impl Default for Tree {
    fn default() -> Self {
        Self { folders: BTreeMap::from([(ROOT, Folder::default())]), moves: Vec::new(), next: ROOT + 1 }
    }
}

impl Tree {
    pub(super) fn find(&self, path: &str) -> io::Result<Node> {
        let mut node = ROOT;
        for name in path.split('/').filter(|_| !path.is_empty()) {
            check_name(name)?;
            let folder = self.folders.get(&node).ok_or(io::ErrorKind::NotADirectory)?;
            node = *folder.seen.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    pub(super) fn is_folder(&self, node: Node) -> bool {
        self.folders.contains_key(&node)
    }

    pub(super) fn names(&self, folder: Node) -> impl Iterator<Item = (&String, &Node)> {
        self.folders.get(&folder).into_iter().flat_map(|folder| &folder.seen)
    }

    pub(super) fn create_file(&mut self, path: &str) -> io::Result<Node> {
        let place = self.place(path)?;
        let node = self.next;
        self.next += 1;
        self.change(Move { node, from: None, to: Some(place) });
        Ok(node)
    }

    pub(super) fn create_folder(&mut self, path: &str) -> io::Result<()> {
        match self.find(path) {
            Ok(node) if self.is_folder(node) => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let node = self.create_file(path)?;
        self.folders.insert(node, Folder::default());
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let node = self.find(from)?;
        if from == to {
            return Ok(());
        }
        if to.strip_prefix(from).is_some_and(|rest| rest.starts_with('/')) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if self.find(to).is_ok_and(|target| self.is_folder(target) || self.is_folder(node)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (from, to) = (self.place(from)?, self.place(to)?);
        self.change(Move { node, from: Some(from), to: Some(to) });
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &str) -> io::Result<()> {
        let node = self.find(path)?;
        if self.folders.get(&node).is_some_and(|folder| !folder.seen.is_empty()) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let from = self.place(path)?;
        self.change(Move { node, from: Some(from), to: None });
        Ok(())
    }

    /// All changes made in this folder are on stable storage. A rename between two folders is whole
    /// as soon as one of them is synced.
    pub(super) fn sync(&mut self, folder: Node) {
        let moves = std::mem::take(&mut self.moves);
        for change in moves {
            if change.touches(folder) {
                change.make(&mut self.folders, |folder| &mut folder.durable);
            } else {
                self.moves.push(change);
            }
        }
    }

    /// What a power cut leaves: in each folder, the changes up to some point.
    pub(super) fn after_power_cut(&self, random: &mut Random) -> Self {
        let mut left = self.clone();
        let folders: Vec<Node> = left.folders.keys().copied().collect();
        for folder in folders {
            let unsynced = left.moves.iter().filter(|change| change.touches(folder)).count();
            let mut kept = random.below(unsynced as u64 + 1);
            let moves = std::mem::take(&mut left.moves);
            for change in moves {
                if !change.touches(folder) {
                    left.moves.push(change);
                } else if kept > 0 {
                    kept -= 1;
                    change.make(&mut left.folders, |folder| &mut folder.durable);
                }
            }
        }
        for folder in left.folders.values_mut() {
            folder.seen = folder.durable.clone();
        }
        left.forget_unreachable();
        left
    }

    /// Files that a name, seen or durable, still leads to.
    pub(super) fn reachable(&self) -> BTreeSet<Node> {
        let named =
            self.folders.values().flat_map(|folder| folder.seen.values().chain(folder.durable.values()));
        named.copied().chain(self.moves.iter().map(|change| change.node)).collect()
    }

    pub(super) fn seen_files(&self) -> BTreeSet<Node> {
        self.folders.values().flat_map(|folder| folder.seen.values().copied()).collect()
    }

    pub(super) fn is_durable(&self, path: &str) -> bool {
        self.find(path).is_ok_and(|node| !self.moves.iter().any(|change| change.node == node))
    }

    /// Every path, folders first.
    pub(super) fn paths(&self) -> Vec<(String, Node)> {
        let mut found = vec![(String::new(), ROOT)];
        let mut at = 0;
        while at < found.len() {
            let (path, node) = found[at].clone();
            let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            found.extend(self.names(node).map(|(name, child)| (join(name), *child)));
            at += 1;
        }
        found.remove(0);
        found.sort();
        found
    }

    fn forget_unreachable(&mut self) {
        let mut live: BTreeSet<Node> = self.paths().into_iter().map(|(_, node)| node).collect();
        live.insert(ROOT);
        self.folders.retain(|node, _| live.contains(node));
    }

    fn place(&self, path: &str) -> io::Result<(Node, String)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        check_name(name)?;
        let parent = self.find(parent)?;
        if !self.is_folder(parent) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok((parent, name.to_owned()))
    }

    fn change(&mut self, change: Move) {
        change.make(&mut self.folders, |folder| &mut folder.seen);
        self.moves.push(change);
    }
}

fn check_name(name: &str) -> io::Result<()> {
    let is_bad = name.is_empty() || name == "." || name == ".." || name.len() > 255;
    if is_bad { Err(io::ErrorKind::InvalidInput.into()) } else { Ok(()) }
}
