//! The system's allocator, with an account of what each thread holds and how often it asked.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

fn account(bytes: isize) {
    // A thread on its way out has no account any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        PEAK.with(|peak| peak.set(peak.get().max(held.get())));
        if bytes > 0 {
            COUNT.with(|count| count.set(count.get() + 1));
        }
    });
}

// SAFETY: every call is passed on unchanged; the account itself allocates nothing.
#[expect(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        account(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        account(-(layout.size() as isize));
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

pub(crate) struct Cost {
    /// The most that was held at once, beyond what was held before.
    #[allow(dead_code, reason = "not every test binary asks for both")]
    pub(crate) peak: usize,
    #[allow(dead_code, reason = "not every test binary asks for both")]
    pub(crate) allocations: usize,
}

pub(crate) fn cost_of<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let (held, count) = (HELD.get(), COUNT.get());
    PEAK.set(held);
    let result = work();
    (result, Cost { peak: (PEAK.get() - held) as usize, allocations: COUNT.get() - count })
}
