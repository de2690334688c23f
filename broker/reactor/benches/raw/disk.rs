//! A bare io_uring loop, nothing else: what the disk itself gives.
#![allow(unsafe_code, reason = "the point is to have nothing in between")]

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use io_uring::{IoUring, opcode, types};
use rustix::time::{ClockId, clock_gettime};
use storage::buffer::Buffer;

/// A file whose blocks have been written, as a recycled segment's have.
pub(crate) fn written(path: &Path) -> File {
    let mut options = OpenOptions::new();
    let file =
        options.read(true).write(true).create(true).truncate(true).custom_flags(libc::O_DIRECT).open(path);
    let file = file.unwrap();
    let mut zeros = Buffer::heap(1 << 20);
    for at in 0..FILE_BYTES >> 20 {
        file.write_all_at(zeros.whole(), at << 20).unwrap();
    }
    file.sync_all().unwrap();
    file
}

/// What a run took.
pub(crate) struct Took {
    /// Nanoseconds of each operation.
    pub(crate) times: Histogram<u64>,
    pub(crate) elapsed: Duration,
    pub(crate) cpu_us: u64,
}

impl Took {
    pub(crate) fn per_second(&self) -> f64 {
        self.times.len() as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn print(&self, name: &str) {
        println!(
            "{name:<44} {:>9.1} {:>9.1} {:>9.0} {:>10.1}",
            self.times.value_at_quantile(0.5) as f64 / 1e3,
            self.times.value_at_quantile(0.99) as f64 / 1e3,
            self.per_second(),
            self.cpu_us as f64 / self.times.len() as f64,
        );
    }
}

pub(crate) const TITLE: &str =
    "                                                p50 us    p99 us     ops/s  CPU us/op";

/// Writes of `bytes`, `depth` under way at once, for so long.
pub(crate) fn run(file: &File, bytes: usize, depth: usize, durable: bool, time: Duration) -> Took {
    let mut builder = IoUring::builder();
    builder.setup_coop_taskrun().setup_single_issuer();
    let mut ring: IoUring = builder.build(64).unwrap();
    ring.submitter().register_files(&[file.as_raw_fd()]).unwrap();
    let mut buffers: Vec<Buffer> = (0..depth).map(|_| Buffer::heap(bytes)).collect();
    let vectors: Vec<libc::iovec> = buffers
        .iter_mut()
        .map(|buffer| libc::iovec { iov_base: buffer.whole().as_mut_ptr().cast(), iov_len: bytes })
        .collect();
    // SAFETY: the buffers outlive the ring's use of them: each loop below ends with all reaped.
    unsafe { ring.submitter().register_buffers(&vectors).unwrap() };
    let mut times = Histogram::<u64>::new(3).unwrap();
    let mut began = vec![Instant::now(); depth];
    let (start, cpu) = (Instant::now(), cpu_us());
    let (mut at, mut under_way) = (0, 0);
    let mut idle: Vec<usize> = (0..depth).collect();
    loop {
        let over = start.elapsed() >= time;
        while !over && let Some(slot) = idle.pop() {
            let write = opcode::WriteFixed::new(
                types::Fixed(0),
                vectors[slot].iov_base.cast(),
                bytes as u32,
                slot as u16,
            )
            .offset(at)
            .rw_flags(if durable { libc::RWF_DSYNC } else { 0 });
            // SAFETY: as above.
            unsafe { ring.submission().push(&write.build().user_data(slot as u64)).unwrap() };
            began[slot] = Instant::now();
            under_way += 1;
            at = (at + bytes as u64) % FILE_BYTES;
        }
        if under_way == 0 {
            break;
        }
        ring.submit_and_wait(1).unwrap();
        for completion in ring.completion() {
            assert_eq!(completion.result(), bytes as i32);
            let slot = completion.user_data() as usize;
            times.record(began[slot].elapsed().as_nanos() as u64).unwrap();
            idle.push(slot);
            under_way -= 1;
        }
    }
    Took { times, elapsed: start.elapsed(), cpu_us: cpu_us() - cpu }
}

pub(crate) fn cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

const FILE_BYTES: u64 = 64 << 20;
