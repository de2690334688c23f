//! What every machine promises, checked on each kind that this computer can run.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may")]

#[path = "machine/conn.rs"]
mod conn;
#[path = "machine/disk.rs"]
mod disk;
#[path = "machine/limits.rs"]
mod limits;
#[path = "machine/scheduling.rs"]
mod scheduling;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reactor::machine::Main;
use reactor::{Kind, Pin, Plan, host, start};
use storage::disk::{Class, Disk, LocalFuture};

/// Runs `main` on every core of a machine of each kind.
fn check<F>(cores: usize, main: impl Fn() -> F + Clone + Send + Sync + 'static)
where
    F: Future<Output = ()> + 'static,
{
    for kind in kinds() {
        println!("on {kind:?}");
        let main = main.clone();
        run(kind, cores, Arc::new(move || Box::pin(main()))).unwrap();
    }
}

fn run(kind: Kind, cores: usize, main: Main) -> io::Result<()> {
    let folder = Folder::new();
    let plan = Plan { kind, pin: Pin::Off, ..Plan::new(cores, vec![folder.0.clone()]) };
    start(plan, main)?.join()
}

/// Every kind that runs here; says why if one does not.
fn kinds() -> Vec<Kind> {
    let mut kinds = vec![Kind::Portable];
    match reactor::probe::io_uring(1) {
        Ok(_) => kinds.push(Kind::Ring),
        Err(obstacle) => println!("not on Ring: {obstacle}"),
    }
    kinds
}

/// A data directory of one test. Under `target`, since `/tmp` may be memory.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("data-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs one ignored test of this file in a process of its own.
fn child(test: &str, variables: &[(&str, &str)]) -> std::process::Output {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", test]);
    command.envs(variables.iter().copied()).output().unwrap()
}

fn disk() -> Rc<dyn Disk> {
    host().disks().remove(0)
}

fn spawn(task: impl Future<Output = ()> + 'static) {
    host().spawn(Class::Append, Box::pin(task));
}

async fn sleep_ms(ms: u64) {
    host().sleep(Duration::from_millis(ms)).await;
}

/// Runs both on this core.
async fn both(first: impl Future<Output = ()> + 'static, second: impl Future<Output = ()> + 'static) {
    let done = Rc::new(tokio::sync::Semaphore::new(0));
    let tasks: [LocalFuture<'static, ()>; 2] = [Box::pin(first), Box::pin(second)];
    for task in tasks {
        let done = done.clone();
        spawn(async move {
            task.await;
            done.add_permits(1);
        });
    }
    done.acquire_many(2).await.unwrap().forget();
}
