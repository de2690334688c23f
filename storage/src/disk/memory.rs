//! A disk in memory for tests and the simulator, harder than a real one.
//!
//! Same seed, same behaviour. Each operation takes a random number of turns, so that completions
//! interleave. A write that is not durable may be lost, kept or torn at 512-byte sectors by
//! [`MemoryDisk::crash`], each on its own; creations, renames and removals count only once their
//! folder is synced. After a crash the old handle never answers again.

mod content;
mod executor;
mod faults;
mod random;
mod tree;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use bytes::Bytes;

use self::content::Content;
pub use self::executor::{Executor, pause};
use self::faults::Faults;
pub use self::faults::{Counters, EIO, ENOSPC, Fault, Operation};
pub use self::random::Random;
use self::tree::{Node, Tree};
use super::{BLOCK_BYTES, Class, Disk, Entry, File, LocalFuture, Mode, Space, Sync};
use crate::buffer::Buffer;

/// One data directory. Clones share it.
#[derive(Clone)]
pub struct MemoryDisk {
    state: Rc<RefCell<State>>,
}

struct State {
    tree: Tree,
    files: BTreeMap<Node, Content>,
    /// Open handles per file.
    handles: BTreeMap<Node, u32>,
    writes: BTreeMap<u64, InFlight>,
    next_write: u64,
    faults: Faults,
    capacity_blocks: u64,
    random: Random,
    /// Upper bound of the turns an operation takes, twice: before it happens and before it is known.
    turns: u64,
    /// What every file says of when it was written: there is no clock in here.
    modified_ms: i64,
    is_off: bool,
}

#[derive(Clone)]
struct InFlight {
    node: Node,
    path: Rc<str>,
    position: u64,
    data: Bytes,
    is_durable: bool,
    /// Nobody waits for it any more; it still happens, some time.
    is_orphan: bool,
}

impl MemoryDisk {
    /// An empty disk whose operations take a few turns each, in an order chosen by `seed`.
    pub fn new(seed: u64) -> Self {
        Self::with(State {
            tree: Tree::default(),
            files: BTreeMap::new(),
            handles: BTreeMap::new(),
            writes: BTreeMap::new(),
            next_write: 0,
            faults: Faults::default(),
            capacity_blocks: DEFAULT_CAPACITY_BYTES / BLOCK_BYTES as u64,
            random: Random::new(seed),
            turns: 4,
            modified_ms: 0,
            is_off: false,
        })
    }

    fn with(state: State) -> Self {
        Self { state: Rc::new(RefCell::new(state)) }
    }

    /// The same disk, with every operation done when first polled.
    pub fn immediate(self) -> Self {
        self.state.borrow_mut().turns = 0;
        self
    }

    /// The power fails now. Returns what is found afterwards; this handle never answers again.
    pub fn crash(&self, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut state = self.state.borrow_mut();
        state.is_off = true;
        let tree = state.tree.after_power_cut(&mut random);
        let live: Vec<Node> = tree.paths().into_iter().map(|(_, node)| node).collect();
        let mut files = BTreeMap::new();
        for (node, content) in state.files.iter().filter(|(node, _)| live.contains(node)) {
            let mut left = content.after_power_cut(&mut random);
            for write in state.writes.values().filter(|write| write.node == *node) {
                left.after_torn_write(write.position, &write.data, &mut random);
            }
            files.insert(*node, left);
        }
        Self::with(state.successor(tree, files, random))
    }

    /// Only the process dies: all completed operations are kept, though not yet durable; a write in
    /// flight is kept, cut short or gone. This handle never answers again.
    pub fn kill(&self, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut state = self.state.borrow_mut();
        state.is_off = true;
        let mut files: BTreeMap<Node, Content> =
            state.files.iter().map(|(node, content)| (*node, content.after_kill())).collect();
        for write in state.writes.values() {
            if let Some(content) = files.get_mut(&write.node) {
                match random.below(3) {
                    0 => {}
                    1 => content.write(write.position, &write.data, false),
                    _ => content.write_some(write.position, &write.data, &mut random),
                }
            }
        }
        let tree = state.tree.clone();
        Self::with(state.successor(tree, files, random))
    }

    pub fn fail(&self, fault: Fault) {
        self.state.borrow_mut().faults.plan(fault);
    }

    /// Forgets all planned faults.
    pub fn heal(&self) {
        self.state.borrow_mut().faults.heal();
    }

    /// From now on the disk holds so many bytes, counted in whole blocks.
    pub fn set_capacity(&self, bytes: u64) {
        self.state.borrow_mut().capacity_blocks = bytes / BLOCK_BYTES as u64;
    }

    /// From now on all files were last written to then.
    pub fn set_modified_ms(&self, modified_ms: i64) {
        self.state.borrow_mut().modified_ms = modified_ms;
    }

    /// Damages one bit where it lies, as decay does.
    ///
    /// # Panics
    /// If the file is not there.
    pub fn flip_bit(&self, path: &str, position: u64, bit: u8) {
        let mut state = self.state.borrow_mut();
        let node = state.tree.find(path).expect("a file to damage");
        let content = state.files.get_mut(&node).expect("a file to damage");
        content.seen.flip_bit(position, bit);
        content.durable.flip_bit(position, bit);
    }

    pub fn counters(&self) -> Counters {
        self.state.borrow().faults.counters.clone()
    }

    pub fn reset_counters(&self) {
        self.state.borrow_mut().faults.counters = Counters::default();
    }

    /// Puts a file there, durable, with the folders it needs: for fixtures.
    ///
    /// # Panics
    /// If the path is not a usable one.
    pub fn put(&self, path: &str, data: &[u8]) {
        let mut state = self.state.borrow_mut();
        let ends = path.match_indices('/').map(|(at, _)| at);
        for end in ends {
            let parent = path[..end].rsplit_once('/').map_or("", |(parent, _)| parent);
            state.tree.create_folder(&path[..end]).expect("a folder for the file");
            let parent = state.tree.find(parent).expect("just made");
            state.tree.sync(parent);
        }
        let node = match state.tree.find(path) {
            Ok(node) => node,
            Err(_) => state.tree.create_file(path).expect("a usable path"),
        };
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let parent = state.tree.find(parent).expect("just made");
        state.tree.sync(parent);
        state.files.insert(node, Content::stable(data));
    }

    /// A file's bytes as readers see them.
    pub fn contents(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.state.borrow();
        let content = state.files.get(&state.tree.find(path).ok()?)?;
        Some(content.seen.read(0, usize::try_from(content.seen.len).ok()?))
    }

    /// Whether the file, its bytes and its name are all on stable storage.
    pub fn is_durable(&self, path: &str) -> bool {
        let state = self.state.borrow();
        let content = state.tree.find(path).ok().and_then(|node| state.files.get(&node));
        state.tree.is_durable(path) && content.is_none_or(Content::is_durable)
    }

    /// Whether the bytes of a file are all on stable storage, though its name may not be.
    pub fn is_flushed(&self, path: &str) -> bool {
        let state = self.state.borrow();
        let content = state.tree.find(path).ok().and_then(|node| state.files.get(&node));
        content.is_none_or(Content::is_flushed)
    }

    /// Every path on the disk, sorted.
    pub fn paths(&self) -> Vec<String> {
        self.state.borrow().tree.paths().into_iter().map(|(path, _)| path).collect()
    }

    /// One operation on names: takes its turns, happens, takes its turns, is known.
    fn on_names<T: 'static>(
        &self,
        operation: Operation,
        path: &str,
        work: impl FnOnce(&mut State) -> io::Result<T> + 'static,
    ) -> LocalFuture<'static, io::Result<T>> {
        let (state, path) = (Rc::clone(&self.state), path.to_owned());
        Box::pin(async move {
            turns(&state).await;
            let result = {
                let mut state = state.borrow_mut();
                state.faults.begin(operation, &path).and_then(|()| work(&mut state))
            };
            turns(&state).await;
            result
        })
    }
}

impl State {
    fn successor(&self, tree: Tree, files: BTreeMap<Node, Content>, random: Random) -> Self {
        Self {
            tree,
            files,
            handles: BTreeMap::new(),
            writes: BTreeMap::new(),
            next_write: 0,
            faults: Faults::default(),
            capacity_blocks: self.capacity_blocks,
            random,
            turns: self.turns,
            modified_ms: self.modified_ms,
            is_off: false,
        }
    }

    fn open(&mut self, path: &str, mode: Mode) -> io::Result<Node> {
        let node = match self.tree.find(path) {
            Ok(node) if self.tree.is_folder(node) => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(node) => node,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if matches!(mode, Mode::Direct | Mode::Buffered) {
                    return Err(error);
                }
                let node = self.tree.create_file(path)?;
                self.files.insert(node, Content::default());
                node
            }
            Err(error) => return Err(error),
        };
        if mode == Mode::BufferedCreate {
            self.content(node).set_len(0);
        }
        *self.handles.entry(node).or_default() += 1;
        Ok(node)
    }

    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let folder = self.tree.find(path)?;
        if !self.tree.is_folder(folder) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let entry = |(name, node): (&String, &Node)| Entry {
            name: name.clone(),
            is_dir: self.tree.is_folder(*node),
            bytes: self.files.get(node).map_or(0, |content| content.seen.len),
            modified_ms: self.modified_ms,
        };
        Ok(self.tree.names(folder).map(entry).collect())
    }

    fn sync_dir(&mut self, path: &str) -> io::Result<()> {
        let folder = self.tree.find(path)?;
        self.tree.sync(folder);
        let reachable = self.tree.reachable();
        let handles = &self.handles;
        self.files.retain(|node, _| reachable.contains(node) || handles.contains_key(node));
        Ok(())
    }

    fn content(&mut self, node: Node) -> &mut Content {
        self.files.get_mut(&node).expect("an open file keeps its content")
    }

    fn has_room(&mut self, node: Node, position: u64, bytes: u64) -> io::Result<()> {
        let wanted = self.content(node).blocks_wanted(position, bytes);
        if wanted > self.free_blocks() {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        Ok(())
    }

    fn free_blocks(&self) -> u64 {
        let named = self.tree.seen_files();
        let held = |node: &Node| named.contains(node) || self.handles.contains_key(node);
        let used: u64 = self
            .files
            .iter()
            .filter(|(node, _)| held(node))
            .map(|(_, content)| content.allocated_blocks())
            .sum();
        self.capacity_blocks.saturating_sub(used)
    }

    /// A write reaches the device. It may fail half-way.
    fn perform(&mut self, write: &InFlight) -> io::Result<()> {
        if !self.files.contains_key(&write.node) {
            return Ok(()); // an orphan whose file is gone
        }
        if let Err(error) = self.faults.begin(Operation::Write, &write.path) {
            let mut random = self.random.fork();
            self.content(write.node).write_some(write.position, &write.data, &mut random);
            return Err(error);
        }
        self.has_room(write.node, write.position, write.data.len() as u64)?;
        self.faults.counters.bytes_written += write.data.len() as u64;
        self.faults.counters.durable_writes += u64::from(write.is_durable);
        self.content(write.node).write(write.position, &write.data, write.is_durable);
        Ok(())
    }

    /// Some of the writes that nobody waits for happen now.
    fn let_orphans_happen(&mut self) {
        let orphans: Vec<u64> =
            self.writes.iter().filter(|(_, write)| write.is_orphan).map(|(id, _)| *id).collect();
        for id in orphans {
            if self.random.one_in(4)
                && let Some(write) = self.writes.remove(&id)
            {
                // Nobody is left to hear how it went.
                let _ = self.perform(&write);
            }
        }
    }
}

impl Disk for MemoryDisk {
    fn buffer(&self, bytes: usize) -> Buffer {
        Buffer::heap(bytes)
    }

    fn open(&self, path: &str, mode: Mode) -> LocalFuture<'_, io::Result<Rc<dyn File>>> {
        let (disk, name) = (self.clone(), path.to_owned());
        self.on_names(Operation::Open, path, move |state| {
            let node = state.open(&name, mode)?;
            let is_direct = matches!(mode, Mode::Direct | Mode::DirectCreate);
            Ok(Rc::new(MemoryFile { disk, node, path: name.into(), is_direct }) as Rc<dyn File>)
        })
    }

    fn list(&self, path: &str) -> LocalFuture<'_, io::Result<Vec<Entry>>> {
        let name = path.to_owned();
        self.on_names(Operation::List, path, move |state| state.list(&name))
    }

    fn create_dir(&self, path: &str) -> LocalFuture<'_, io::Result<()>> {
        let name = path.to_owned();
        self.on_names(Operation::CreateDir, path, move |state| state.tree.create_folder(&name))
    }

    fn rename(&self, from: &str, to: &str) -> LocalFuture<'_, io::Result<()>> {
        let (source, target) = (from.to_owned(), to.to_owned());
        self.on_names(Operation::Rename, from, move |state| state.tree.rename(&source, &target))
    }

    fn remove(&self, path: &str) -> LocalFuture<'_, io::Result<()>> {
        let name = path.to_owned();
        self.on_names(Operation::Remove, path, move |state| state.tree.remove(&name))
    }

    fn sync_dir(&self, path: &str) -> LocalFuture<'_, io::Result<()>> {
        let name = path.to_owned();
        self.on_names(Operation::SyncDir, path, move |state| state.sync_dir(&name))
    }

    fn space(&self) -> io::Result<Space> {
        let state = self.state.borrow();
        let block = BLOCK_BYTES as u64;
        Ok(Space { total_bytes: state.capacity_blocks * block, free_bytes: state.free_blocks() * block })
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    node: Node,
    path: Rc<str>,
    is_direct: bool,
}

impl MemoryFile {
    fn on_content<T: 'static>(
        &self,
        operation: Operation,
        work: impl FnOnce(&mut State, Node) -> io::Result<T> + 'static,
    ) -> LocalFuture<'_, io::Result<T>> {
        let node = self.node;
        self.disk.on_names(operation, &self.path, move |state| work(state, node))
    }
}

impl File for MemoryFile {
    fn read_at(&self, position: u64, bytes: usize, _class: Class) -> LocalFuture<'_, io::Result<Bytes>> {
        self.on_content(Operation::Read, move |state, node| {
            let data = state.content(node).seen.read(position, bytes);
            state.faults.counters.bytes_read += data.len() as u64;
            Ok(Bytes::from(data))
        })
    }

    fn write_at(
        &self,
        position: u64,
        data: Bytes,
        sync: Sync,
        _class: Class,
    ) -> LocalFuture<'_, io::Result<()>> {
        if self.is_direct {
            assert!(position.is_multiple_of(BLOCK_BYTES as u64), "{}: direct write at {position}", self.path);
            assert!(data.len().is_multiple_of(BLOCK_BYTES), "{}: direct write of {}", self.path, data.len());
            let address = data.as_ptr() as usize;
            assert!(address.is_multiple_of(BLOCK_BYTES), "{}: memory of a direct write", self.path);
        }
        let write = InFlight {
            node: self.node,
            path: Rc::clone(&self.path),
            position,
            data,
            is_durable: sync == Sync::Durable,
            is_orphan: false,
        };
        let write = Write::issue(&self.disk.state, write);
        Box::pin(async move {
            turns(&write.state).await;
            let result = write.happen();
            turns(&write.state).await;
            result
        })
    }

    fn sync(&self) -> LocalFuture<'_, io::Result<()>> {
        let (state, node, path) = (Rc::clone(&self.disk.state), self.node, Rc::clone(&self.path));
        let mark = state.borrow_mut().content(node).flush_mark();
        Box::pin(async move {
            turns(&state).await;
            let result = {
                let mut state = state.borrow_mut();
                let result = state.faults.begin(Operation::Sync, &path);
                let mut random = state.random.fork();
                let content = state.content(node);
                match result {
                    Ok(()) => content.flush(mark),
                    Err(_) => content.fail_flush(mark, &mut random),
                }
                result
            };
            turns(&state).await;
            result
        })
    }

    fn allocate(&self, position: u64, bytes: u64) -> LocalFuture<'_, io::Result<()>> {
        self.on_content(Operation::Allocate, move |state, node| {
            state.has_room(node, position, bytes)?;
            state.content(node).allocate(position, bytes);
            Ok(())
        })
    }

    fn truncate(&self, bytes: u64) -> LocalFuture<'_, io::Result<()>> {
        self.on_content(Operation::Truncate, move |state, node| {
            state.content(node).set_len(bytes);
            Ok(())
        })
    }

    fn len(&self) -> LocalFuture<'_, io::Result<u64>> {
        let state = Rc::clone(&self.disk.state);
        let node = self.node;
        Box::pin(async move {
            turns(&state).await;
            let len = state.borrow_mut().content(node).seen.len;
            Ok(len)
        })
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        let mut state = self.disk.state.borrow_mut();
        if let Some(open) = state.handles.get_mut(&self.node) {
            *open -= 1;
            if *open == 0 {
                state.handles.remove(&self.node);
            }
        }
    }
}

/// A write on its way. Dropping it lets the write go on.
struct Write {
    state: Rc<RefCell<State>>,
    id: u64,
}

impl Write {
    fn issue(state: &Rc<RefCell<State>>, write: InFlight) -> Self {
        let id = {
            let mut state = state.borrow_mut();
            let id = state.next_write;
            state.next_write += 1;
            state.writes.insert(id, write);
            id
        };
        Self { state: Rc::clone(state), id }
    }

    fn happen(&self) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let write = state.writes.remove(&self.id).expect("it happens once");
        state.perform(&write)
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if let Some(write) = self.state.borrow_mut().writes.get_mut(&self.id) {
            write.is_orphan = true;
        }
    }
}

/// Waits a random number of turns; for ever once the power is off.
async fn turns(state: &Rc<RefCell<State>>) {
    let count = {
        let mut state = state.borrow_mut();
        let bound = state.turns;
        state.random.below(bound + u64::from(bound > 0))
    };
    pause(count).await;
    if state.borrow().is_off {
        std::future::pending::<()>().await;
    }
    state.borrow_mut().let_orphans_happen();
}

const DEFAULT_CAPACITY_BYTES: u64 = 1 << 40;

#[cfg(test)]
mod tests;
