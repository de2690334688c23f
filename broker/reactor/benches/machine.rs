//! What a machine costs: durable appends, echoes, messages between cores, memory when idle.
//!
//! `cargo bench -p reactor --bench machine -- [disk|echo|mail|idle]...`
//! Read the ratios between lines of one run: absolute figures move with the neighbours.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench may")]

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hdrhistogram::Histogram;
use reactor::machine::Main;
use reactor::{Kind, Pin, Plan, host, start};
use rustix::time::{ClockId, clock_gettime};
use storage::disk::{Class, Mode, Sync};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    if let [kind] = &wanted[..]
        && let Some(kind) = kind.strip_prefix("idle-on-")
    {
        return idle_on(kind);
    }
    println!("{:<44} {:>9} {:>9} {:>9} {:>10}", "", "p50 us", "p99 us", "ops/s", "CPU us/op");
    for kind in [Kind::Portable, Kind::Ring] {
        if is_wanted("disk") {
            disk(kind, 4096, 1);
            disk(kind, 65_536, 1);
            disk(kind, 4096, 16);
        }
        if is_wanted("mail") {
            mail(kind);
        }
    }
    if is_wanted("echo") {
        for shape in [Shape::new(1, 100, 100), Shape::new(64, 100, 100), Shape::new(32, 16_384, 64)] {
            for _round in 0..2 {
                echo_on_tokio(shape);
                echo(Kind::Portable, shape);
                echo(Kind::Ring, shape);
            }
        }
    }
    if is_wanted("idle") {
        for kind in ["none", "Portable", "Ring"] {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            assert!(child.arg(format!("idle-on-{kind}")).status().unwrap().success());
        }
    }
}

fn report(name: &str, times: &Histogram<u64>, elapsed: Duration, cpu_us: u64) {
    println!(
        "{name:<44} {:>9.1} {:>9.1} {:>9.0} {:>10.2}",
        times.value_at_quantile(0.5) as f64 / 1e3,
        times.value_at_quantile(0.99) as f64 / 1e3,
        times.len() as f64 / elapsed.as_secs_f64(),
        cpu_us as f64 / times.len() as f64,
    );
}

fn folder(kind: Kind) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{kind:?}"));
    fs::create_dir_all(&path).unwrap();
    path
}

fn plan(kind: Kind, cores: usize) -> Plan {
    Plan { kind, pin: Pin::Off, ..Plan::new(cores, vec![folder(kind)]) }
}

fn run<F: Future<Output = ()> + 'static>(
    kind: Kind,
    cores: usize,
    main: impl Fn() -> F + Send + std::marker::Sync + 'static,
) {
    let main: Main = Arc::new(move || Box::pin(main()));
    start(plan(kind, cores), main).unwrap().join().unwrap();
}

/// Durable appends into blocks that have been written before.
fn disk(kind: Kind, bytes: usize, writers: usize) {
    run(kind, 1, move || async move {
        let disk = host().disks().remove(0);
        let mut zeros = disk.buffer(1 << 20);
        zeros.set_len(1 << 20);
        let zeros = zeros.freeze();
        let done = Rc::new(tokio::sync::Semaphore::new(0));
        let times = Rc::new(std::cell::RefCell::new(Histogram::<u64>::new(3).unwrap()));
        let mut files = Vec::new();
        for writer in 0..writers {
            let file = disk.open(&format!("log-{writer}"), Mode::DirectCreate).await.unwrap();
            for at in 0..FILE_BYTES >> 20 {
                file.write_at(at << 20, zeros.clone(), Sync::Later, Class::Append).await.unwrap();
            }
            file.sync().await.unwrap();
            files.push(file);
        }
        let (began, cpu) = (host().now_ns(), cpu_us());
        for file in files {
            let (done, times, disk) = (done.clone(), times.clone(), disk.clone());
            let task = async move {
                let mut at = 0;
                while host().now_ns() - began < TIME.as_nanos() as u64 {
                    let mut data = disk.buffer(bytes);
                    data.set_len(bytes);
                    let before = host().now_ns();
                    file.write_at(at, data.freeze(), Sync::Durable, Class::Append).await.unwrap();
                    times.borrow_mut().record(host().now_ns() - before).unwrap();
                    at = (at + bytes as u64) % FILE_BYTES;
                }
                done.add_permits(1);
            };
            host().spawn(Class::Append, Box::pin(task));
        }
        done.acquire_many(writers as u32).await.unwrap().forget();
        let elapsed = Duration::from_nanos(host().now_ns() - began);
        let name = format!("{kind:?} {} KiB durable, {writers} writers", bytes >> 10);
        report(&name, &times.borrow(), elapsed, cpu_us() - cpu);
    });
    fs::remove_dir_all(folder(kind)).unwrap();
}

/// There and back between two idle cores.
fn mail(kind: Kind) {
    thread_local! { static BACK: Cell<u64> = const { Cell::new(0) }; }
    run(kind, 2, move || async move {
        if host().core() == 1 {
            return;
        }
        let mut times = Histogram::<u64>::new(3).unwrap();
        let (began, cpu) = (host().now_ns(), cpu_us());
        while host().now_ns() - began < TIME.as_nanos() as u64 {
            let before = host().now_ns();
            let (answer, answered) = tokio::sync::oneshot::channel::<()>();
            let there = move || {
                host().send(0, Box::new(move || answer.send(()).unwrap()));
            };
            host().send(1, Box::new(there));
            answered.await.unwrap();
            times.record(host().now_ns() - before).unwrap();
        }
        let elapsed = Duration::from_nanos(host().now_ns() - began);
        report(&format!("{kind:?} message to another core and back"), &times, elapsed, cpu_us() - cpu);
    });
}

#[derive(Clone, Copy)]
struct Shape {
    connections: usize,
    request_bytes: usize,
    answer_bytes: usize,
}

impl Shape {
    fn new(connections: usize, request_bytes: usize, answer_bytes: usize) -> Self {
        Self { connections, request_bytes, answer_bytes }
    }

    fn name(self, server: &str) -> String {
        format!("{server}: {} conns, {} B -> {} B", self.connections, self.request_bytes, self.answer_bytes)
    }
}

fn echo(kind: Kind, shape: Shape) {
    let (address, addressed) = mpsc::channel::<SocketAddr>();
    let stop = Arc::new(tokio::sync::Notify::new());
    let (address, theirs) = (Mutex::new(address), stop.clone());
    let main: Main = Arc::new(move || {
        let (address, stop) = (address.lock().unwrap().clone(), theirs.clone());
        Box::pin(async move {
            let listener = host().listen("127.0.0.1:0".parse().unwrap(), 128).unwrap();
            address.send(listener.local()).unwrap();
            let accepting = async move {
                loop {
                    let conn = host().adopt(listener.accept().await.unwrap()).unwrap();
                    host().spawn(Class::Append, Box::pin(serve(conn, shape)));
                }
            };
            host().spawn(Class::Append, Box::pin(accepting));
            stop.notified().await;
        })
    });
    let machine = start(plan(kind, 1), main).unwrap();
    let result = load(addressed.recv().unwrap(), shape, "core-0");
    machine.handle().send(0, Box::new(move || stop.notify_one()));
    machine.join().unwrap();
    result.report(&shape.name(&format!("{kind:?}")));
}

async fn serve(conn: Rc<dyn reactor::Conn>, shape: Shape) {
    let answer = Bytes::from(vec![1; shape.answer_bytes]);
    let mut buffer = BytesMut::new();
    loop {
        if buffer.len() < shape.request_bytes && !buffer.is_empty() {
            buffer.reserve(shape.request_bytes - buffer.len());
        }
        if conn.read(&mut buffer).await.unwrap_or(0) == 0 {
            return;
        }
        while buffer.len() >= shape.request_bytes {
            drop(buffer.split_to(shape.request_bytes));
            conn.write(std::slice::from_ref(&answer)).await.unwrap();
        }
    }
}

/// The same server as one writes it on tokio alone.
fn echo_on_tokio(shape: Shape) {
    let (address, addressed) = mpsc::channel();
    let stop = Arc::new(tokio::sync::Notify::new());
    let theirs = stop.clone();
    let serving = thread::Builder::new().name("tokio".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            address.send(listener.local_addr().unwrap()).unwrap();
            let accepting = async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    tokio::spawn(async move {
                        let answer = vec![1; shape.answer_bytes];
                        let mut buffer = vec![0; 65_536];
                        let mut have = 0;
                        loop {
                            match stream.read(&mut buffer).await {
                                Ok(n) if n > 0 => have += n,
                                _ => return,
                            }
                            while have >= shape.request_bytes {
                                have -= shape.request_bytes;
                                stream.write_all(&answer).await.unwrap();
                            }
                        }
                    });
                }
            };
            tokio::spawn(accepting);
            theirs.notified().await;
        });
    });
    let result = load(addressed.recv().unwrap(), shape, "tokio");
    stop.notify_one();
    serving.unwrap().join().unwrap();
    result.report(&shape.name("tokio alone"));
}

struct Load {
    times: Histogram<u64>,
    elapsed: Duration,
    server_cpu_us: u64,
}

impl Load {
    fn report(&self, name: &str) {
        report(name, &self.times, self.elapsed, self.server_cpu_us);
    }
}

/// Every connection asks again as soon as it is answered. Runs on this thread.
fn load(address: SocketAddr, shape: Shape, server: &str) -> Load {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let over = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for _ in 0..shape.connections {
            let (mut stream, over) = (TcpStream::connect(address).await.unwrap(), over.clone());
            stream.set_nodelay(true).unwrap();
            clients.push(tokio::spawn(async move {
                let request = vec![0; shape.request_bytes];
                let mut answer = vec![0; shape.answer_bytes];
                let mut times = Histogram::<u64>::new(3).unwrap();
                while !over.load(Ordering::Relaxed) {
                    let before = Instant::now();
                    stream.write_all(&request).await.unwrap();
                    stream.read_exact(&mut answer).await.unwrap();
                    times.record(before.elapsed().as_nanos() as u64).unwrap();
                }
                times
            }));
        }
        let (start, cpu) = (Instant::now(), thread_cpu_us(server));
        tokio::time::sleep(TIME).await;
        let (elapsed, server_cpu_us) = (start.elapsed(), thread_cpu_us(server) - cpu);
        over.store(true, Ordering::Relaxed);
        let mut times = Histogram::<u64>::new(3).unwrap();
        for client in clients {
            times.add(client.await.unwrap()).unwrap();
        }
        Load { times, elapsed, server_cpu_us }
    })
}

/// Resident memory and CPU of a process that does nothing but have a machine of two cores.
fn idle_on(kind: &str) {
    let stop = Arc::new(tokio::sync::Notify::new());
    let theirs = stop.clone();
    let main: Main = Arc::new(move || {
        let stop = theirs.clone();
        Box::pin(async move { stop.notified().await })
    });
    let kind = match kind {
        "Portable" => Some(Kind::Portable),
        "Ring" => Some(Kind::Ring),
        _ => None,
    };
    let machine = kind.map(|kind| start(plan(kind, 2), main).unwrap());
    thread::sleep(Duration::from_millis(200));
    let cpu = cpu_us();
    thread::sleep(Duration::from_secs(2));
    let cpu = cpu_us() - cpu;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let rss = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    println!(
        "{:<44} {}, {} us of CPU per second",
        format!("idle, {kind:?}"),
        rss.replace('\t', " "),
        cpu / 2
    );
    if let Some(machine) = machine {
        for core in 0..2 {
            let stop = stop.clone();
            machine.handle().send(core, Box::new(move || stop.notify_one()));
        }
        machine.join().unwrap();
    }
}

fn cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

/// CPU time of a thread of this process, by its name.
fn thread_cpu_us(name: &str) -> u64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let task = tasks
        .into_iter()
        .filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name));
    // Others may bear the name (a pool's helper): the busiest is meant.
    let cpu = task.map(|task| {
        let stat = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
        stat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0) / 1000
    });
    cpu.max().unwrap_or(0)
}

const TIME: Duration = Duration::from_secs(2);
const FILE_BYTES: u64 = 16 << 20;
