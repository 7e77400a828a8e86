//! The system's allocator, with a count of what some threads allocate.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The allocator of this program.
struct CountedSystem;

#[global_allocator]
static ALLOCATOR: CountedSystem = CountedSystem;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
static KEEPS_STACKS: AtomicBool = AtomicBool::new(false);
static STACKS: Mutex<Vec<(usize, Backtrace)>> = Mutex::new(Vec::new());

thread_local! {
    static IS_COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// What was allocated; a block that grows counts again.
#[derive(Clone, Copy)]
pub(crate) struct Counts {
    pub allocations: u64,
    pub bytes: u64,
}

/// Counts what this thread allocates from now on.
pub(crate) fn count_this_thread() {
    IS_COUNTED.set(true);
}

/// Returns what was counted.
pub(crate) fn counts() -> Counts {
    Counts {
        allocations: ALLOCATIONS.load(Ordering::Relaxed),
        bytes: BYTES.load(Ordering::Relaxed),
    }
}

/// Prints the stack of each allocation that is counted while `work` runs.
pub(crate) fn print_stacks(work: impl FnOnce()) {
    KEEPS_STACKS.store(true, Ordering::SeqCst);
    work();
    KEEPS_STACKS.store(false, Ordering::SeqCst);
    let stacks = std::mem::take(&mut *STACKS.lock().expect("unpoisoned"));
    for (at, (bytes, stack)) in stacks.iter().enumerate() {
        println!("-- allocation {at}: {bytes} bytes\n{stack}");
    }
}

fn note(bytes: usize) {
    // Neither at the end of a thread, nor for what is allocated here.
    let is_counted = IS_COUNTED.try_with(|flag| flag.replace(false));
    if is_counted != Ok(true) {
        return;
    }
    ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
    if KEEPS_STACKS.load(Ordering::Relaxed) {
        let stack = Backtrace::force_capture();
        STACKS.lock().expect("unpoisoned").push((bytes, stack));
    }
    IS_COUNTED.set(true);
}

// SAFETY: every call is the system's own; the counts do not touch the blocks.
unsafe impl GlobalAlloc for CountedSystem {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: what the caller keeps to.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: what the caller keeps to.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: what the caller keeps to.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: what the caller keeps to.
        unsafe { System.dealloc(block, layout) }
    }
}
