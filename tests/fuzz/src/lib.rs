//! Runs a body under libFuzzer and counts its memory: what a parser holds is bounded by what it was
//! given, not by what that announces.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use seedbank_bodies::{MEMORY_MIN, Target, named};

/// Names a folder for the seeds of a target, which they are written to before the first input.
const SEEDS: &str = "SEEDBANK_SEEDS";

/// The system's allocator, and how much of it is in use.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
static HELD: AtomicUsize = AtomicUsize::new(0);
static HELD_MAX: AtomicUsize = AtomicUsize::new(0);
static WARM: Once = Once::new();

fn add(len: usize) {
    let held = HELD.fetch_add(len, Relaxed) + len;
    HELD_MAX.fetch_max(held, Relaxed);
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps what `GlobalAlloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        // Both at once, as where the block has to move.
        add(len);
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, len) }
    }
}

/// Runs the body of the target `name`.
///
/// # Panics
/// If a promise is broken, or more memory was in use at once than the target allows.
pub fn run(name: &str, bytes: &[u8]) {
    let target = named(name);
    WARM.call_once(|| warm(target));
    let bytes = &bytes[..bytes.len().min(target.len_max)];
    let before = HELD.load(Relaxed);
    HELD_MAX.store(before, Relaxed);
    (target.body)(bytes);
    let held = HELD_MAX.load(Relaxed).saturating_sub(before);
    let allowed = MEMORY_MIN + target.memory * bytes.len();
    let len = bytes.len();
    assert!(
        held <= allowed,
        "{held} bytes of memory for {len} bytes, {allowed} allowed"
    );
}

/// Makes whatever is made once and kept, which is no input's memory.
fn warm(target: &Target) {
    let folder = std::env::var_os(SEEDS);
    for (index, seed) in (target.seeds)().iter().enumerate() {
        (target.body)(seed);
        if let Some(folder) = &folder {
            let path = Path::new(folder).join(format!("seed-{index:03}"));
            std::fs::write(path, seed).expect("a folder for seeds");
        }
    }
}
