//! Writes by a bare io_uring loop: what the disk itself gives.
#![allow(
    unsafe_code,
    reason = "the kernel reads from buffers that outlive the call; the proof is beside each use"
)]

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use io_uring::{IoUring, opcode, types};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::{Times, histogram, write_document};
use crate::failure::Failure;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  millstream-bench raw disk /var/lib/kafka
  millstream-bench raw disk /mnt/nvme --sizes 4096,1048576 --depths 1,32 --seconds 10 --output disk.json")]
pub(crate) struct Args {
    /// A folder on the disk to look at; a file in it is made and deleted
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Bytes of a write, multiples of 4096
    #[arg(long, value_delimiter = ',', default_value = "4096,16384,65536,1048576", value_name = "BYTES,...")]
    sizes: Vec<usize>,
    /// Writes under way at once
    #[arg(long, value_delimiter = ',', default_value = "1,4,16", value_name = "N,...")]
    depths: Vec<usize>,
    /// Each case
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Of the file. A case that writes into new space ends when it is full
    #[arg(long, default_value_t = 256, value_name = "MIB")]
    file_mib: u64,
    /// Results as JSON
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// One case.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Case {
    bytes: usize,
    depth: usize,
    /// Each write is answered when the device has flushed it (RWF_DSYNC).
    dsync: bool,
    /// Into space that was written before; else the file grows.
    prewritten: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    case: Case,
    #[serde(flatten)]
    times: Times,
    per_s: f64,
    mib_per_s: f64,
    cpu_us: f64,
}

pub(crate) fn main(args: &Args) -> Result<(), Failure> {
    check(args)?;
    let failed = |error: io::Error| Failure::failed(format!("{}: {error}", args.folder.display()));
    println!("{TITLE}");
    let mut rows = Vec::new();
    let path = args.folder.join(format!("millstream-bench-{}.probe", std::process::id()));
    let probe =
        Probe { path: &path, bytes: args.file_mib << 20, time: Duration::from_secs_f64(args.seconds) };
    for case in cases(args) {
        let row = probe.run(case);
        let _ = fs::remove_file(&path);
        let row = row.map_err(failed)?;
        println!("{}", row.line());
        rows.push(row);
    }
    write_document(args.output.as_ref(), "raw-disk", &args.folder, &rows)
}

fn check(args: &Args) -> Result<(), Failure> {
    let file_bytes = args.file_mib.checked_shl(20).filter(|bytes| bytes >> 20 == args.file_mib);
    let is_odd = |bytes: &&usize| {
        **bytes == 0
            || !bytes.is_multiple_of(BLOCK_BYTES)
            || file_bytes.is_none_or(|file| **bytes as u64 > file)
    };
    if let Some(bytes) = args.sizes.iter().find(is_odd) {
        let why =
            format!("--sizes {bytes}: a multiple of {BLOCK_BYTES} is asked, and no more than --file-mib");
        return Err(Failure::usage(why));
    }
    if let Some(depth) = args.depths.iter().find(|depth| !(1..=DEPTH_MAX).contains(*depth)) {
        return Err(Failure::usage(format!("--depths {depth}: 1 to {DEPTH_MAX} is asked")));
    }
    if !(0.01..=3600.0).contains(&args.seconds) {
        return Err(Failure::usage(format!("--seconds {}: 0.01 to 3600 is asked", args.seconds)));
    }
    Ok(())
}

fn cases(args: &Args) -> Vec<Case> {
    let mut cases = Vec::new();
    for prewritten in [true, false] {
        for dsync in [true, false] {
            for &bytes in &args.sizes {
                cases.extend(args.depths.iter().map(|&depth| Case { bytes, depth, dsync, prewritten }));
            }
        }
    }
    cases
}

struct Probe<'a> {
    path: &'a Path,
    bytes: u64,
    time: Duration,
}

impl Probe<'_> {
    fn run(&self, case: Case) -> io::Result<Row> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).custom_flags(libc::O_DIRECT);
        let file = options.open(self.path)?;
        if case.prewritten {
            self.fill(&file)?;
        }
        let cpu = cpu_us();
        let (times, elapsed) = Loop::new(&file, case)?.run(self.bytes, self.time)?;
        let (cpu, seconds) = (cpu_us() - cpu, elapsed.as_secs_f64());
        let count = times.len() as f64;
        Ok(Row {
            case,
            times: Times::of(&times),
            per_s: count / seconds,
            mib_per_s: count * case.bytes as f64 / seconds / f64::from(1 << 20),
            cpu_us: cpu as f64 / count.max(1.0),
        })
    }

    /// With something that no device makes short work of.
    fn fill(&self, file: &File) -> io::Result<()> {
        let mut block = Aligned::new(1 << 20);
        for at in (0..self.bytes).step_by(1 << 20) {
            block.fill(at);
            let len = (self.bytes - at).min(1 << 20) as usize;
            file.write_all_at(&block.bytes()[..len], at)?;
        }
        file.sync_all()
    }
}

/// A ring and the buffers that it writes from.
struct Loop<'f> {
    case: Case,
    ring: IoUring,
    buffers: Vec<Aligned>,
    began: Vec<Instant>,
    idle: Vec<usize>,
    /// The ring has its descriptor registered.
    _file: &'f File,
}

impl<'f> Loop<'f> {
    fn new(file: &'f File, case: Case) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_coop_taskrun().setup_single_issuer();
        let ring: IoUring = builder.build(DEPTH_MAX as u32)?;
        ring.submitter().register_files(&[file.as_raw_fd()])?;
        let mut buffers: Vec<Aligned> = (0..case.depth).map(|_| Aligned::new(case.bytes)).collect();
        buffers.iter_mut().enumerate().for_each(|(at, buffer)| buffer.fill(at as u64));
        let vectors: Vec<libc::iovec> = buffers
            .iter()
            .map(|buffer| libc::iovec {
                iov_base: buffer.bytes().as_ptr().cast_mut().cast(),
                iov_len: case.bytes,
            })
            .collect();
        // SAFETY: the buffers are dropped after the ring (fields are dropped in order), and are only read from.
        unsafe { ring.submitter().register_buffers(&vectors)? };
        let (began, idle) = (vec![Instant::now(); case.depth], (0..case.depth).collect());
        Ok(Self { case, ring, buffers, began, idle, _file: file })
    }

    /// One write after the other from the file's beginning to its end, and, in written space, over again.
    fn run(&mut self, file_bytes: u64, time: Duration) -> io::Result<(Histogram<u64>, Duration)> {
        let mut times = histogram();
        let (size, prewritten) = (self.case.bytes as u64, self.case.prewritten);
        let (start, mut at) = (Instant::now(), 0);
        let over = |at: u64| start.elapsed() >= time || (!prewritten && at + size > file_bytes);
        loop {
            while !over(at)
                && let Some(slot) = self.idle.pop()
            {
                at = if at + size > file_bytes { 0 } else { at };
                self.push(slot, at)?;
                at += size;
            }
            if self.idle.len() == self.case.depth {
                return Ok((times, start.elapsed()));
            }
            self.ring.submit_and_wait(1)?;
            for completion in self.ring.completion() {
                match completion.result() {
                    result if result < 0 => return Err(io::Error::from_raw_os_error(-result)),
                    result if result as usize != self.case.bytes => {
                        return Err(io::Error::other(format!("{result} bytes were written at once")));
                    }
                    _ => {}
                }
                let slot = completion.user_data() as usize;
                let took = self.began[slot].elapsed().as_nanos();
                times.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
                self.idle.push(slot);
            }
        }
    }

    fn push(&mut self, slot: usize, at: u64) -> io::Result<()> {
        let buffer = self.buffers[slot].bytes();
        let write =
            opcode::WriteFixed::new(types::Fixed(0), buffer.as_ptr(), buffer.len() as u32, slot as u16)
                .offset(at)
                .rw_flags(if self.case.dsync { libc::RWF_DSYNC } else { 0 })
                .build()
                .user_data(slot as u64);
        self.began[slot] = Instant::now();
        // SAFETY: the buffer lives as long as the ring, and nothing writes into it any more.
        unsafe { self.ring.submission().push(&write) }.map_err(io::Error::other)
    }
}

/// Memory that begins at a block's border: a part of a larger piece of it.
struct Aligned {
    memory: Vec<u8>,
    from: usize,
    len: usize,
}

impl Aligned {
    fn new(len: usize) -> Self {
        let memory = vec![0; len + BLOCK_BYTES];
        let from = memory.as_ptr().align_offset(BLOCK_BYTES);
        Self { memory, from, len }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.from..self.from + self.len]
    }

    /// With what looks random, so that no layer below can squeeze or skip it.
    fn fill(&mut self, seed: u64) {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for word in self.memory[self.from..self.from + self.len].chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
    }
}

impl Row {
    fn line(&self) -> String {
        let Case { bytes, depth, dsync, prewritten } = self.case;
        let space = if prewritten { "written" } else { "new" };
        let how = if dsync { "dsync" } else { "plain" };
        let mut line = format!("{:>8} {depth:>6} {how:>6} {space:>8}", bytes / 1024);
        let Times { p50_us, p99_us, p99_9_us, max_us, .. } = self.times;
        let Self { per_s, mib_per_s, cpu_us, .. } = self;
        let _ = write!(line, "{p50_us:>11.1}{p99_us:>11.1}{p99_9_us:>11.1}{max_us:>11.1}");
        let _ = write!(line, "{per_s:>10.0}{mib_per_s:>9.0}{cpu_us:>10.1}");
        line
    }
}

const TITLE: &str = "     KiB  depth    how    space     p50 us     p99 us   p99.9 us     max us      op/s    MiB/s \
                     CPU us/op";

fn cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

/// Of every file system and device that matters, or a multiple of theirs.
const BLOCK_BYTES: usize = 4096;
const DEPTH_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn args(sizes: &[usize], depths: &[usize]) -> Args {
        Args {
            folder: env!("CARGO_MANIFEST_DIR").into(),
            sizes: sizes.to_vec(),
            depths: depths.to_vec(),
            seconds: 0.05,
            file_mib: 4,
            output: None,
        }
    }

    #[test]
    fn every_size_meets_every_depth_in_every_way() {
        let cases = cases(&args(&[4096, 8192], &[1, 2, 4]));
        assert_eq!(cases.len(), 2 * 3 * 4);
        assert!((1..cases.len()).all(|at| !cases[..at].contains(&cases[at])));
    }

    #[test]
    fn what_no_disk_can_do_is_refused() {
        for (sizes, depths) in
            [(&[100][..], &[1][..]), (&[0], &[1]), (&[4096], &[0]), (&[8 << 20], &[1]), (&[4096], &[257])]
        {
            assert!(matches!(check(&args(sizes, depths)), Err(Failure::Usage(_))), "{sizes:?} {depths:?}");
        }
        assert_eq!(check(&args(&[4096], &[256])), Ok(()));
    }

    #[test]
    fn memory_begins_at_a_border_and_does_not_repeat() {
        let mut memory = Aligned::new(8192);
        memory.fill(7);
        assert_eq!((memory.bytes().as_ptr() as usize % BLOCK_BYTES, memory.bytes().len()), (0, 8192));
        assert!(memory.bytes()[..4096] != memory.bytes()[4096..]);
    }

    #[test]
    fn writes_are_counted_and_new_space_is_not_written_twice() {
        // Under target/: some systems have a /tmp in memory, which knows no direct writes.
        let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
        let path = folder.join(format!("raw-disk-{}.probe", std::process::id()));
        for (prewritten, dsync) in [(true, true), (false, false)] {
            let case = Case { bytes: 65_536, depth: 4, dsync, prewritten };
            let time = Duration::from_millis(if prewritten { 50 } else { 10_000 });
            let row = Probe { path: &path, bytes: 1 << 20, time }.run(case).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20);
            fs::remove_file(&path).unwrap();
            assert!(prewritten || row.times.count == 16, "{row:?}");
            // Little's law: as many are under way as come in a second times how long one takes.
            let mean_us = case.depth as f64 / row.per_s * 1e6;
            assert!(row.times.p50_us > mean_us / 1000.0 && row.times.max_us > mean_us / 2.0, "{row:?}");
        }
    }
}
