//! Requests that come back as they are, by a bare io_uring loop on either side: what the network itself gives.
#![allow(unsafe_code, reason = "the kernel uses buffers that outlive the call; the proof is beside each use")]

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::mem::ManuallyDrop;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::{Times, histogram, write_document};
use crate::failure::Failure;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  millstream-bench raw echo
  millstream-bench raw echo --sizes 100,1024 --connections 1,64 --depths 1,16 --output echo.json
  millstream-bench raw echo --serve 0.0.0.0:7000                    on one machine
  millstream-bench raw echo --connect 192.0.2.1:7000                on another")]
pub(crate) struct Args {
    /// Bytes of a request
    #[arg(long, value_delimiter = ',', default_value = "100,1024,16384", value_name = "BYTES,...")]
    sizes: Vec<usize>,
    /// Connections at once
    #[arg(long, value_delimiter = ',', default_value = "1,16,64", value_name = "N,...")]
    connections: Vec<usize>,
    /// Requests of a connection under way at once
    #[arg(long, value_delimiter = ',', default_value = "1,16", value_name = "N,...")]
    depths: Vec<usize>,
    /// Each case
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Only serve, for a client on another machine; ends when it is stopped
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "connect")]
    serve: Option<String>,
    /// Only ask what serves there; without this, both sides run here, over the loopback
    #[arg(long, value_name = "HOST:PORT")]
    connect: Option<String>,
    /// Results as JSON
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// One case.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Case {
    bytes: usize,
    connections: usize,
    depth: usize,
}

#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    case: Case,
    #[serde(flatten)]
    times: Times,
    per_s: f64,
    /// Each way.
    mib_per_s: f64,
    client_cpu_us: f64,
    /// None if it is another machine's.
    server_cpu_us: Option<f64>,
}

pub(crate) fn main(args: &Args) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::failed(format!("raw echo: {error}"));
    if let Some(address) = &args.serve {
        let listener = TcpListener::bind(address);
        let listener = listener.map_err(|error| Failure::failed(format!("{address}: {error}")))?;
        eprintln!("serving on {address}");
        return serve(&listener, None).map(|_| ()).map_err(failed);
    }
    check(args)?;
    println!("{TITLE}");
    let mut rows = Vec::new();
    let time = Duration::from_secs_f64(args.seconds);
    for case in cases(args) {
        let row = match &args.connect {
            Some(address) => ask(address, case, time).map(|asked| asked.row(case, None)),
            None => on_loopback(case, time),
        };
        let row = row.map_err(failed)?;
        println!("{}", row.line());
        rows.push(row);
    }
    write_document(args.output.as_ref(), "raw-echo", Path::new("."), &rows)
}

fn check(args: &Args) -> Result<(), Failure> {
    for (option, values, most) in [
        ("--sizes", &args.sizes, REQUEST_BYTES_MAX),
        ("--connections", &args.connections, CONNECTIONS_MAX),
        ("--depths", &args.depths, DEPTH_MAX),
    ] {
        if let Some(value) = values.iter().find(|value| !(1..=most).contains(*value)) {
            return Err(Failure::usage(format!("{option} {value}: 1 to {most} is asked")));
        }
    }
    let under_way = args.sizes.iter().max().zip(args.depths.iter().max());
    if under_way.is_some_and(|(bytes, depth)| bytes * depth > UNDER_WAY_BYTES_MAX) {
        return Err(Failure::usage("--sizes and --depths: too much of one connection under way at once"));
    }
    match (0.01..=3600.0).contains(&args.seconds) {
        true => Ok(()),
        false => Err(Failure::usage(format!("--seconds {}: 0.01 to 3600 is asked", args.seconds))),
    }
}

fn cases(args: &Args) -> Vec<Case> {
    let mut cases = Vec::new();
    for &bytes in &args.sizes {
        for &connections in &args.connections {
            cases.extend(args.depths.iter().map(|&depth| Case { bytes, connections, depth }));
        }
    }
    cases
}

/// Both sides on this machine, a thread each.
fn on_loopback(case: Case, time: Duration) -> io::Result<Row> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?.to_string();
    let server = thread::Builder::new().name("echo-server".into());
    let server = server.spawn(move || serve(&listener, Some(case.connections)))?;
    // If this fails, the server is left waiting: the program ends then.
    let asked = ask(&address, case, time)?;
    let served_us = server.join().map_err(|_| io::Error::other("the server has failed"))??;
    Ok(asked.row(case, Some(served_us)))
}

/// Answers until `connections` of them have come and gone, for ever if it does not say. Returns the CPU time.
fn serve(listener: &TcpListener, connections: Option<usize>) -> io::Result<u64> {
    let mut ring = ring()?;
    // If this ends early, the kernel may go on using their buffers: then they stay.
    let mut peers: ManuallyDrop<Vec<Option<Peer>>> = ManuallyDrop::default();
    let (mut accepted, mut open) = (0, 0);
    let accept =
        opcode::Accept::new(types::Fd(listener.as_raw_fd()), std::ptr::null_mut(), std::ptr::null_mut());
    let accept = accept.build().user_data(ACCEPT);
    // SAFETY: no memory is given, and the listener outlives the ring.
    unsafe { push(&mut ring, &accept)? };
    while connections.is_none_or(|connections| accepted < connections || open > 0) {
        ring.submit_and_wait(1)?;
        let completions: Vec<cqueue::Entry> = ring.completion().collect();
        for completion in completions {
            let result = completion.result();
            if completion.user_data() == ACCEPT {
                if result < 0 {
                    return Err(io::Error::from_raw_os_error(-result));
                }
                // SAFETY: the kernel has just made it, and nobody else knows it.
                let stream = TcpStream::from(unsafe { OwnedFd::from_raw_fd(result) });
                (accepted, open) = (accepted + 1, open + 1);
                let slot = peers.iter().position(Option::is_none).unwrap_or(peers.len());
                if slot == peers.len() {
                    peers.push(None);
                }
                peers[slot].insert(Peer::new(stream, SERVER_BUFFER_BYTES)?).receive(&mut ring, slot)?;
                if connections.is_none_or(|connections| accepted < connections) {
                    // SAFETY: as above.
                    unsafe { push(&mut ring, &accept)? };
                }
                continue;
            }
            let slot = (completion.user_data() >> 1) as usize;
            let peer = peers[slot].as_mut().expect("a slot is emptied when nothing of it is under way");
            // One operation of a peer at a time, so that the next may follow at once.
            let goes_on = match (completion.user_data() & 1 == SEND, result) {
                (_, ..=0) => false,
                (false, received) => peer.send(&mut ring, slot, 0..received as usize).map(|()| true)?,
                (true, sent) => peer.sent(&mut ring, slot, sent as usize)?,
            };
            if !goes_on {
                peers[slot] = None;
                open -= 1;
            }
        }
    }
    drop(ManuallyDrop::into_inner(peers));
    Ok(cpu_us(ClockId::ThreadCPUTime))
}

/// A connection as the server has it: what is received goes back, then more is received.
struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Of the buffer, still to be sent.
    rest: std::ops::Range<usize>,
}

impl Peer {
    fn new(stream: TcpStream, bytes: usize) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; bytes], rest: 0..0 })
    }

    fn receive(&mut self, ring: &mut IoUring, slot: usize) -> io::Result<()> {
        let (buffer, len) = (self.buffer.as_mut_ptr(), self.buffer.len() as u32);
        let receive = opcode::Recv::new(types::Fd(self.stream.as_raw_fd()), buffer, len);
        // SAFETY: the buffer is dropped with its peer, which stays until this has completed.
        unsafe { push(ring, &receive.build().user_data((slot as u64) << 1 | RECEIVE)) }
    }

    fn send(&mut self, ring: &mut IoUring, slot: usize, part: std::ops::Range<usize>) -> io::Result<()> {
        self.rest = part;
        let part = &self.buffer[self.rest.clone()];
        let send = opcode::Send::new(types::Fd(self.stream.as_raw_fd()), part.as_ptr(), part.len() as u32);
        let send = send.flags(libc::MSG_NOSIGNAL).build().user_data((slot as u64) << 1 | SEND);
        // SAFETY: as in `receive`; nothing writes into the buffer meanwhile.
        unsafe { push(ring, &send) }
    }

    fn sent(&mut self, ring: &mut IoUring, slot: usize, bytes: usize) -> io::Result<bool> {
        let rest = self.rest.start + bytes..self.rest.end;
        match rest.is_empty() {
            true => self.receive(ring, slot)?,
            false => self.send(ring, slot, rest)?,
        }
        Ok(true)
    }
}

/// What a client has seen.
struct Asked {
    times: Histogram<u64>,
    elapsed: Duration,
    cpu_us: u64,
}

impl Asked {
    fn row(&self, case: Case, server_cpu_us: Option<u64>) -> Row {
        let (count, seconds) = (self.times.len() as f64, self.elapsed.as_secs_f64());
        Row {
            case,
            times: Times::of(&self.times),
            per_s: count / seconds,
            mib_per_s: count * case.bytes as f64 / seconds / f64::from(1 << 20),
            client_cpu_us: self.cpu_us as f64 / count.max(1.0),
            server_cpu_us: server_cpu_us.map(|us| us as f64 / count.max(1.0)),
        }
    }
}

/// Every connection keeps `depth` requests under way, for so long.
fn ask(address: &str, case: Case, time: Duration) -> io::Result<Asked> {
    let mut ring = ring()?;
    let outgoing: Rc<[u8]> = vec![0x5a; case.bytes * case.depth].into();
    let callers = (0..case.connections).map(|_| Caller::new(address, case, outgoing.clone()));
    // If this ends early, the kernel may go on using their buffers: then they stay.
    let mut callers = ManuallyDrop::new(callers.collect::<io::Result<Vec<_>>>()?);
    let (start, cpu) = (Instant::now(), cpu_us(ClockId::ThreadCPUTime));
    let mut times = histogram();
    for (slot, caller) in callers.iter_mut().enumerate() {
        caller.receive(&mut ring, slot)?;
        caller.add_requests(case.depth, start);
        caller.send(&mut ring, slot)?;
    }
    // What is under way when the time is over is waited for, so that nothing is torn off.
    let mut under_way = case.connections * case.depth;
    let mut elapsed = Duration::ZERO;
    while under_way > 0 {
        ring.submit_and_wait(1)?;
        let now = Instant::now();
        let is_over = now - start >= time;
        let completions: Vec<cqueue::Entry> = ring.completion().collect();
        for completion in completions {
            let (slot, result) = ((completion.user_data() >> 1) as usize, completion.result());
            if result <= 0 {
                let error = if result == 0 { libc::ECONNRESET } else { -result };
                return Err(io::Error::from_raw_os_error(error));
            }
            let caller = &mut callers[slot];
            if completion.user_data() & 1 == SEND {
                caller.sent(result as usize);
            } else {
                let answered = caller.received(result as usize, now, &mut times);
                under_way -= answered;
                if !is_over {
                    caller.add_requests(answered, now);
                    under_way += answered;
                }
                caller.receive(&mut ring, slot)?;
            }
            caller.send(&mut ring, slot)?;
        }
        elapsed = start.elapsed();
    }
    let cpu_us = cpu_us(ClockId::ThreadCPUTime) - cpu;
    // Order: what still waits to receive, or was not said to be sent, ends before its buffer goes.
    let mut waiting = callers.len() + callers.iter().filter(|caller| caller.is_sending).count();
    for caller in callers.iter() {
        // The other side may have gone already.
        let _ = caller.stream.shutdown(std::net::Shutdown::Both);
    }
    while waiting > 0 {
        ring.submit_and_wait(1)?;
        waiting -= ring.completion().count();
    }
    drop(ManuallyDrop::into_inner(callers));
    Ok(Asked { times, elapsed, cpu_us })
}

/// A connection as the client has it: one send and one receive under way at a time.
struct Caller {
    stream: TcpStream,
    request_bytes: usize,
    /// As many requests as can be under way; those of all connections are alike.
    outgoing: Rc<[u8]>,
    incoming: Vec<u8>,
    /// When the requests under way were made, the oldest first.
    asked_at: VecDeque<Instant>,
    unsent_bytes: usize,
    is_sending: bool,
    /// Of an answer that is not whole yet.
    partial_bytes: usize,
}

impl Caller {
    fn new(address: &str, case: Case, outgoing: Rc<[u8]>) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            request_bytes: case.bytes,
            outgoing,
            incoming: vec![0; (case.bytes * case.depth).min(SERVER_BUFFER_BYTES)],
            asked_at: VecDeque::with_capacity(case.depth),
            unsent_bytes: 0,
            is_sending: false,
            partial_bytes: 0,
        })
    }

    fn add_requests(&mut self, count: usize, now: Instant) {
        self.asked_at.extend(std::iter::repeat_n(now, count));
        self.unsent_bytes += count * self.request_bytes;
    }

    /// All there is, if nothing is being sent. Requests are all alike, so the first bytes will do for any.
    fn send(&mut self, ring: &mut IoUring, slot: usize) -> io::Result<()> {
        if self.is_sending || self.unsent_bytes == 0 {
            return Ok(());
        }
        self.is_sending = true;
        let part = &self.outgoing[..self.unsent_bytes];
        let send = opcode::Send::new(types::Fd(self.stream.as_raw_fd()), part.as_ptr(), part.len() as u32);
        let send = send.flags(libc::MSG_NOSIGNAL).build().user_data((slot as u64) << 1 | SEND);
        // SAFETY: the buffer is never written to, and stays until the ring has nothing under way.
        unsafe { push(ring, &send) }
    }

    fn sent(&mut self, bytes: usize) {
        self.is_sending = false;
        self.unsent_bytes -= bytes;
    }

    fn receive(&mut self, ring: &mut IoUring, slot: usize) -> io::Result<()> {
        let (buffer, len) = (self.incoming.as_mut_ptr(), self.incoming.len() as u32);
        let receive = opcode::Recv::new(types::Fd(self.stream.as_raw_fd()), buffer, len);
        // SAFETY: nobody looks into the buffer, and it stays until the ring has nothing under way.
        unsafe { push(ring, &receive.build().user_data((slot as u64) << 1 | RECEIVE)) }
    }

    /// How many answers that makes whole.
    fn received(&mut self, bytes: usize, now: Instant, times: &mut Histogram<u64>) -> usize {
        self.partial_bytes += bytes;
        let answered = self.partial_bytes / self.request_bytes;
        self.partial_bytes %= self.request_bytes;
        for asked_at in self.asked_at.drain(..answered) {
            let took = now.duration_since(asked_at).as_nanos();
            times.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
        }
        answered
    }
}

fn ring() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_coop_taskrun().setup_single_issuer().setup_cqsize(4 * CONNECTIONS_MAX as u32);
    builder.build(RING_ENTRIES)
}

/// Hands what is queued to the kernel if there is no room.
///
/// # Safety
/// As for [`squeue::SubmissionQueue::push`]: what the entry points to is valid until it completes.
unsafe fn push(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<()> {
    if ring.submission().is_full() {
        ring.submit()?;
    }
    // SAFETY: the caller's promise.
    unsafe { ring.submission().push(entry) }.map_err(io::Error::other)
}

impl Row {
    fn line(&self) -> String {
        let Case { bytes, connections, depth } = self.case;
        let Times { p50_us, p99_us, p99_9_us, max_us, .. } = self.times;
        let Self { per_s, mib_per_s, client_cpu_us, .. } = self;
        let server = self.server_cpu_us.map_or_else(|| "-".to_owned(), |us| format!("{us:.2}"));
        let mut line = format!("{bytes:>8} {connections:>6} {depth:>6}");
        let _ = write!(line, "{p50_us:>11.1}{p99_us:>11.1}{p99_9_us:>11.1}{max_us:>11.1}");
        let _ = write!(line, "{per_s:>10.0}{mib_per_s:>9.0}{client_cpu_us:>10.2}{server:>10}");
        line
    }
}

const TITLE: &str = "       B  conns  depth     p50 us     p99 us   p99.9 us     max us     req/s    MiB/s CPU us/req \
                     server";

fn cpu_us(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

/// In the lowest bit of what marks an operation.
const RECEIVE: u64 = 0;
const SEND: u64 = 1;
const ACCEPT: u64 = u64::MAX;
const SERVER_BUFFER_BYTES: usize = 256 << 10;
const REQUEST_BYTES_MAX: usize = 16 << 20;
const UNDER_WAY_BYTES_MAX: usize = 256 << 20;
const CONNECTIONS_MAX: usize = 4096;
const DEPTH_MAX: usize = 1024;
const RING_ENTRIES: u32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_comes_back() {
        for case in [
            Case { bytes: 100, connections: 1, depth: 1 },
            Case { bytes: 1000, connections: 3, depth: 8 },
            // More than fits into a socket at once, so that both sides send in parts.
            Case { bytes: 1 << 20, connections: 2, depth: 4 },
        ] {
            let row = on_loopback(case, Duration::from_millis(100)).unwrap();
            assert!(row.times.count >= (case.connections * case.depth) as u64, "{row:?}");
            assert!(row.server_cpu_us.is_some(), "{row:?}");
            // Little's law: as many are under way as come in a second times how long one takes.
            let mean_us = (case.connections * case.depth) as f64 / row.per_s * 1e6;
            assert!(row.times.p50_us > mean_us / 1000.0 && row.times.max_us > mean_us / 2.0, "{row:?}");
        }
    }

    #[test]
    fn answers_are_counted_when_they_are_whole() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let case = Case { bytes: 100, connections: 1, depth: 4 };
        let mut caller = Caller::new(&address, case, vec![0; 400].into()).unwrap();
        let (mut times, now) = (histogram(), Instant::now());
        caller.add_requests(3, now);
        assert_eq!(caller.unsent_bytes, 300);
        assert_eq!(caller.received(99, now, &mut times), 0);
        assert_eq!(caller.received(101, now, &mut times), 2);
        assert_eq!((caller.received(100, now, &mut times), times.len(), caller.asked_at.len()), (1, 3, 0));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let args = |sizes: &[usize], connections: &[usize], depths: &[usize]| Args {
            sizes: sizes.to_vec(),
            connections: connections.to_vec(),
            depths: depths.to_vec(),
            seconds: 1.0,
            serve: None,
            connect: None,
            output: None,
        };
        assert_eq!(check(&args(&[1], &[1], &[1])), Ok(()));
        for wrong in [args(&[0], &[1], &[1]), args(&[1], &[5000], &[1]), args(&[1], &[1], &[0])] {
            assert!(matches!(check(&wrong), Err(Failure::Usage(_))));
        }
    }
}
