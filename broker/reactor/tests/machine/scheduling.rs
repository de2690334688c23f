use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reactor::{Handle, Kind, Pin, Plan, host, start};
use storage::disk::Class;

use super::{Folder, check, kinds, run, sleep_ms, spawn};

#[test]
fn every_core_runs_main_and_knows_its_number() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let theirs = seen.clone();
    check(3, move || {
        let seen = theirs.clone();
        async move {
            assert_eq!(host().cores(), 3);
            seen.lock().unwrap().push(host().core());
        }
    });
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_unstable();
    let expected: Vec<usize> = (0..3).flat_map(|core| vec![core; kinds().len()]).collect();
    assert_eq!(seen, expected);
}

#[test]
fn jobs_between_two_cores_keep_their_order() {
    check(2, || async {
        const JOBS: usize = 100_000;
        thread_local! { static NEXT: Cell<usize> = const { Cell::new(0) }; }
        let other = 1 - host().core();
        for number in 0..JOBS {
            let job = move || NEXT.with(|next| assert_eq!(next.replace(number + 1), number));
            host().send(other, Box::new(job));
            if number % 1000 == 0 {
                host().breathe().await;
            }
        }
        while NEXT.get() < JOBS {
            sleep_ms(1).await;
        }
    });
}

#[test]
fn a_core_whose_main_has_returned_still_serves_the_others() {
    check(2, || async {
        if host().core() == 1 {
            return;
        }
        sleep_ms(20).await;
        let (answer, answered) = tokio::sync::oneshot::channel();
        host().send(
            1,
            Box::new(move || {
                let _ = answer.send(host().core());
            }),
        );
        assert_eq!(answered.await.unwrap(), 1);
    });
}

#[test]
fn a_core_can_send_to_itself_but_not_run_the_job_at_once() {
    check(1, || async {
        let ran = Arc::new(AtomicUsize::new(0));
        let theirs = ran.clone();
        host().send(
            0,
            Box::new(move || {
                theirs.fetch_add(1, Ordering::Relaxed);
            }),
        );
        assert_eq!(ran.load(Ordering::Relaxed), 0);
        while ran.load(Ordering::Relaxed) == 0 {
            sleep_ms(1).await;
        }
    });
}

#[test]
fn foreign_threads_reach_a_core_by_its_handle() {
    for kind in kinds() {
        let folder = Folder::new();
        let plan = Plan { kind, pin: Pin::Off, ..Plan::new(2, vec![folder.0.clone()]) };
        let stop = Arc::new(tokio::sync::Notify::new());
        let theirs = stop.clone();
        let main = move || {
            let stop = theirs.clone();
            Box::pin(async move { stop.notified().await }) as _
        };
        let machine = start(plan, Arc::new(main)).unwrap();
        let handle: Handle = machine.handle();
        assert_eq!(handle.cores(), 2);
        let (answer, answers) = mpsc::channel();
        for round in 0..1000 {
            let answer = answer.clone();
            handle.send(round % 2, Box::new(move || answer.send((round, host().core())).unwrap()));
            assert_eq!(answers.recv_timeout(Duration::from_secs(5)).unwrap(), (round, round % 2));
        }
        for core in 0..2 {
            let stop = stop.clone();
            handle.send(core, Box::new(move || stop.notify_one()));
        }
        machine.join().unwrap();
    }
}

#[test]
fn offloaded_work_runs_elsewhere_and_is_waited_for() {
    check(1, || async {
        let core = std::thread::current().id();
        let place = Arc::new(Mutex::new(None));
        let theirs = place.clone();
        let work = move || *theirs.lock().unwrap() = Some(std::thread::current().id());
        host().offload(Box::new(work)).await;
        assert!(place.lock().unwrap().is_some_and(|thread| thread != core));
    });
}

#[test]
fn sleep_is_at_least_as_long_as_asked_and_not_much_longer() {
    check(1, || async {
        sleep_ms(1).await; // The first one may be slow.
        let mut late_us: Vec<u64> = Vec::new();
        for _ in 0..50 {
            let before = host().now_ns();
            sleep_ms(2).await;
            let slept_us = (host().now_ns() - before) / 1000;
            assert!(slept_us >= 2000, "slept {slept_us} us");
            late_us.push(slept_us - 2000);
        }
        late_us.sort_unstable();
        println!("late by {} us at the median, {} us at worst", late_us[25], late_us[49]);
        assert!(late_us[25] < 20_000, "late by {} us", late_us[25]);
    });
}

#[test]
fn a_background_task_that_breathes_leaves_the_foreground_quick() {
    check(1, || async {
        let working = Rc::new(Cell::new(true));
        let chunks = Rc::new(Cell::new(0_u64));
        let (flag, count) = (working.clone(), chunks.clone());
        let background = async move {
            while flag.get() {
                let start = host().now_ns();
                while host().now_ns() - start < 50_000 {
                    std::hint::spin_loop();
                }
                count.set(count.get() + 1);
                host().breathe().await;
            }
        };
        host().spawn(Class::Background, Box::pin(background));
        let mut quick = round_trips(2000).await;
        working.set(false);
        quick.sort_unstable();
        println!("echo p50 {} us, p99 {} us, {} chunks", quick[1000], quick[1980], chunks.get());
        assert!(chunks.get() > 10, "the background stood still");
        // A core that looked at its sockets only when a preempt timer fires would need milliseconds.
        assert!(quick[1000] < 1000, "echo took {} us at the median", quick[1000]);
    });
}

/// Microseconds that each of some echoes on this core took.
async fn round_trips(count: usize) -> Vec<u64> {
    let listener = host().listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
    let near = host().connect(listener.local()).await.unwrap();
    let far = host().adopt(listener.accept().await.unwrap()).unwrap();
    spawn(async move {
        let mut buffer = BytesMut::new();
        while far.read(&mut buffer).await.is_ok_and(|n| n > 0) {
            far.write(&[buffer.split().freeze()]).await.unwrap();
        }
    });
    let request = [Bytes::from_static(&[7; 100])];
    let mut times = Vec::new();
    for _ in 0..count {
        let before = host().now_ns();
        near.write(&request).await.unwrap();
        let mut answer = BytesMut::new();
        while answer.len() < 100 {
            near.read(&mut answer).await.unwrap();
        }
        times.push((host().now_ns() - before) / 1000);
    }
    near.close();
    times
}

#[test]
fn an_idle_machine_uses_no_cpu() {
    // In a process of its own: other tests run beside this one.
    for kind in kinds() {
        let output = super::child("scheduling::idle_for_a_second", &[("REACTOR_KIND", &format!("{kind:?}"))]);
        assert!(output.status.success(), "{kind:?}: {output:?}");
    }
}

#[test]
#[ignore = "run by an_idle_machine_uses_no_cpu"]
fn idle_for_a_second() {
    let kind = match std::env::var("REACTOR_KIND").as_deref() {
        Ok("Portable") => Kind::Portable,
        _ => Kind::Ring,
    };
    let main = || {
        Box::pin(async {
            let listener = host().listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
            let near = host().connect(listener.local()).await.unwrap();
            spawn(async move {
                let _ = near.read(&mut BytesMut::new()).await;
            });
            sleep_ms(50).await;
            let before = cpu_ms();
            sleep_ms(1000).await;
            let used = cpu_ms() - before;
            assert!(used < 30, "{used} ms of CPU in an idle second");
        }) as _
    };
    run(kind, 2, Arc::new(main)).unwrap();
}

/// CPU time this process has used, from the kernel's own count.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    let mut total = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let stat = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
        total += stat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    assert!(!stat.is_empty());
    total / 1_000_000
}

#[test]
fn a_panic_in_a_job_stops_the_whole_machine() {
    for kind in kinds() {
        let main = || {
            Box::pin(async {
                if host().core() == 0 {
                    host().send(1, Box::new(|| panic!("on purpose")));
                }
                std::future::pending::<()>().await;
            }) as _
        };
        let error = run(kind, 2, Arc::new(main)).unwrap_err();
        assert!(error.to_string().contains("core 1"), "{error}");
    }
}

#[test]
fn a_panic_in_a_task_stops_the_whole_machine() {
    for kind in kinds() {
        let main = || {
            Box::pin(async {
                if host().core() == 1 {
                    spawn(async { panic!("on purpose") });
                }
                std::future::pending::<()>().await;
            }) as _
        };
        let error = run(kind, 2, Arc::new(main)).unwrap_err();
        assert!(error.to_string().contains("core 1"), "{error}");
    }
}
