//! Runs tasks on one thread in an order chosen by a seed: the heart of the simulator and of every
//! test that wants interleavings.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use super::random::Random;
use crate::disk::LocalFuture;

/// A handle to one set of tasks; clones share it. Dropping the last drops the tasks.
#[derive(Clone)]
pub struct Executor {
    tasks: Rc<Tasks>,
}

struct Tasks {
    /// Tasks that are not being polled right now.
    parked: RefCell<BTreeMap<u64, LocalFuture<'static, ()>>>,
    ready: Arc<Mutex<Vec<u64>>>,
    next_id: Cell<u64>,
    random: RefCell<Random>,
}

impl Executor {
    pub fn new(seed: u64) -> Self {
        let tasks = Tasks {
            parked: RefCell::default(),
            ready: Arc::default(),
            next_id: Cell::new(0),
            random: RefCell::new(Random::new(seed)),
        };
        Self { tasks: Rc::new(tasks) }
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let id = self.tasks.next_id.get();
        self.tasks.next_id.set(id + 1);
        self.tasks.parked.borrow_mut().insert(id, Box::pin(task));
        self.ready().push(id);
    }

    /// Polls one ready task; false if none is ready.
    pub fn step(&self) -> bool {
        let id = {
            let mut ready = self.ready();
            if ready.is_empty() {
                return false;
            }
            let chosen = self.tasks.random.borrow_mut().below(ready.len() as u64);
            ready.swap_remove(usize::try_from(chosen).expect("an index"))
        };
        // A task that has finished may have been woken once more.
        let Some(mut task) = self.tasks.parked.borrow_mut().remove(&id) else { return true };
        let waker = Waker::from(Arc::new(Wakeup { id, ready: Arc::clone(&self.tasks.ready) }));
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            self.tasks.parked.borrow_mut().insert(id, task);
        }
        true
    }

    /// Runs until no task is ready. Returns how many are left waiting.
    pub fn run(&self) -> usize {
        while self.step() {}
        self.waiting()
    }

    /// Runs at most `steps` polls, then stops wherever things are: the moment before a crash.
    /// Returns false if all tasks stalled earlier.
    pub fn run_for(&self, steps: u64) -> bool {
        (0..steps).all(|_| self.step())
    }

    /// Runs everything until `future` has its result.
    ///
    /// # Panics
    /// If all tasks stall before that: something waits for what nobody will do.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let woken = Arc::new(Mutex::new(Vec::new()));
        let waker = Waker::from(Arc::new(Wakeup { id: 0, ready: Arc::clone(&woken) }));
        let mut context = Context::from_waker(&waker);
        let mut is_woken = true;
        loop {
            let others_first = self.tasks.random.borrow_mut().one_in(2);
            if others_first || !is_woken {
                let progressed = self.step();
                is_woken |= !woken.lock().expect("one thread").is_empty();
                assert!(progressed || is_woken, "stalled: {} other tasks wait", self.waiting());
            }
            if is_woken {
                woken.lock().expect("one thread").clear();
                if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
                    return result;
                }
                is_woken = !woken.lock().expect("one thread").is_empty();
            }
        }
    }

    /// Tasks that have not finished.
    pub fn waiting(&self) -> usize {
        self.tasks.parked.borrow().len()
    }

    /// Drops all tasks where they stand, as a process that is killed does.
    pub fn kill(&self) {
        // Order: taken out first, because a task's drop may spawn or wake others.
        let tasks = std::mem::take(&mut *self.tasks.parked.borrow_mut());
        drop(tasks);
        self.tasks.parked.borrow_mut().clear();
        self.ready().clear();
    }

    fn ready(&self) -> std::sync::MutexGuard<'_, Vec<u64>> {
        self.tasks.ready.lock().expect("one thread")
    }
}

struct Wakeup {
    id: u64,
    ready: Arc<Mutex<Vec<u64>>>,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.lock().expect("one thread");
        if !ready.contains(&self.id) {
            ready.push(self.id);
        }
    }
}

/// Lets other tasks run `turns` times.
pub async fn pause(turns: u64) {
    for _ in 0..turns {
        Once(false).await;
    }
}

struct Once(bool);

impl Future for Once {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order_of(seed: u64) -> Vec<u64> {
        let executor = Executor::new(seed);
        let order = Rc::new(RefCell::new(Vec::new()));
        for name in 0..8 {
            let order = Rc::clone(&order);
            executor.spawn(async move {
                pause(2).await;
                order.borrow_mut().push(name);
            });
        }
        assert_eq!(executor.run(), 0);
        order.take()
    }

    #[test]
    fn same_seed_same_order_and_another_seed_another() {
        assert_eq!(order_of(1), order_of(1));
        assert_ne!(order_of(1), order_of(2));
    }

    #[test]
    #[should_panic(expected = "stalled")]
    fn waiting_for_nothing_is_found_out() {
        Executor::new(1).block_on(std::future::pending::<()>());
    }

    #[test]
    fn a_result_that_depends_on_another_task_arrives() {
        let executor = Executor::new(3);
        let cell = Rc::new(Cell::new(0));
        let theirs = Rc::clone(&cell);
        executor.spawn(async move {
            pause(5).await;
            theirs.set(7);
        });
        let got = executor.block_on(async {
            while cell.get() == 0 {
                pause(1).await;
            }
            cell.get()
        });
        assert_eq!(got, 7);
    }
}
