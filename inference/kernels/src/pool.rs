//! Threads that share a product's work.
//!
//! A decoder step is some two hundred short parallel sections. Waking a sleeping thread costs as
//! much as a small product does, so threads look for more work for a short while before they
//! sleep. One section runs at a time: a caller that finds the threads taken does its work alone.

use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, TryLockError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How long a thread looks for work before it sleeps: longer than what lies between two products
/// of a step, shorter than a person or another process would notice.
const AWAKE: Duration = Duration::from_micros(60);

/// Calls `run` with each number below `tasks`, on all cores.
pub fn run(tasks: usize, run: impl Fn(usize) + Sync) {
    let pool = POOL.get_or_init(Pool::start);
    if tasks > 1 && !pool.helpers.is_empty() && !INSIDE.get() {
        match pool.section.try_lock() {
            Ok(_section) => return pool.share(tasks, &run),
            Err(TryLockError::Poisoned(poisoned)) => {
                let _section = poisoned.into_inner();
                return pool.share(tasks, &run);
            }
            Err(TryLockError::WouldBlock) => {}
        }
    }
    (0..tasks).for_each(run);
}

/// Calls `change` with each of the items, on all cores.
pub fn for_each<T: Send>(items: impl IntoIterator<Item = T>, change: impl Fn(T) + Sync) {
    let items: Vec<Mutex<Option<T>>> = items.into_iter().map(|item| Mutex::new(Some(item))).collect();
    run(items.len(), |index| {
        let item = items.get(index).and_then(|item| item.lock().unwrap_or_else(PoisonError::into_inner).take());
        item.into_iter().for_each(&change);
    });
}

/// Threads that [`run`] calls on, the caller's among them.
pub fn threads() -> usize {
    POOL.get_or_init(Pool::start).helpers.len() + 1
}

static POOL: OnceLock<Pool> = OnceLock::new();

thread_local! {
    /// Whether this thread is at work in a section: what it calls runs on it alone.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

struct Pool {
    helpers: Vec<Helper>,
    /// Held by whoever shares work out.
    section: Mutex<()>,
    /// Counts sections.
    round: AtomicUsize,
    /// Helpers that are inside, and [`CLOSED`].
    entries: AtomicUsize,
    job: UnsafeCell<Option<Job>>,
    /// The next task that no one has begun.
    next: AtomicUsize,
    panicked: AtomicBool,
}

/// A bit above any number of helpers: no one may enter.
const CLOSED: usize = 1 << (usize::BITS - 1);

struct Helper {
    thread: OnceLock<Thread>,
    asleep: AtomicBool,
}

#[derive(Clone, Copy)]
struct Job {
    run: *const (dyn Fn(usize) + Sync),
    tasks: usize,
}

// SAFETY: the job is written only while the section is held and closed, and read only by helpers
// that entered while it was open.
unsafe impl Sync for Pool {}
// SAFETY: as above.
unsafe impl Send for Pool {}

impl Pool {
    fn start() -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let helper = || Helper { thread: OnceLock::new(), asleep: AtomicBool::new(false) };
        let pool = Self {
            helpers: std::iter::repeat_with(helper).take(threads - 1).collect(),
            section: Mutex::new(()),
            round: AtomicUsize::new(0),
            entries: AtomicUsize::new(CLOSED),
            job: UnsafeCell::new(None),
            next: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
        };
        for index in 1..threads {
            // Without its helpers a pool works, only slower.
            let _ = thread::Builder::new().name(format!("kernels-{index}")).spawn(move || {
                INSIDE.set(true);
                let pool = POOL.wait();
                if let Some(helper) = pool.helpers.get(index - 1) {
                    pool.help(helper);
                }
            });
        }
        pool
    }

    /// Does the tasks together with the helpers, and returns when all are done.
    fn share(&self, tasks: usize, run: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime changes; `Section` lets no helper be inside when this returns.
        let run: *const (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(run) };
        let job = Job { run, tasks };
        self.next.store(0, Ordering::Relaxed);
        // SAFETY: the section is closed, so no helper reads.
        unsafe { *self.job.get() = Some(job) };
        self.entries.fetch_and(!CLOSED, Ordering::SeqCst);
        self.round.fetch_add(1, Ordering::SeqCst);
        // As many as there are tasks for.
        for helper in self.helpers.iter().take(tasks - 1) {
            if helper.asleep.swap(false, Ordering::SeqCst)
                && let Some(thread) = helper.thread.get()
            {
                thread.unpark();
            }
        }
        let section = Section { pool: self };
        INSIDE.set(true);
        self.work(job);
        drop(section);
        if self.panicked.swap(false, Ordering::SeqCst) {
            resume_unwind(Box::new("a task of the kernels' threads panicked"));
        }
    }

    fn work(&self, job: Job) {
        loop {
            let task = self.next.fetch_add(1, Ordering::Relaxed);
            if task >= job.tasks {
                return;
            }
            // SAFETY: the caller of `share` waits until no one is inside.
            unsafe { (*job.run)(task) };
        }
    }

    /// A helper's life.
    fn help(&self, helper: &Helper) {
        let _ = helper.thread.set(thread::current());
        let mut seen = 0;
        loop {
            seen = self.wait(helper, seen);
            if self.entries.fetch_add(1, Ordering::SeqCst) & CLOSED == 0 {
                // SAFETY: the section was open when this helper entered, and closes only after it left.
                let job = unsafe { *self.job.get() };
                if let Some(job) = job
                    && catch_unwind(AssertUnwindSafe(|| self.work(job))).is_err()
                {
                    self.panicked.store(true, Ordering::SeqCst);
                }
            }
            self.entries.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Waits for a round other than the one seen.
    fn wait(&self, helper: &Helper, seen: usize) -> usize {
        let begin = Instant::now();
        loop {
            for _ in 0..64 {
                let round = self.round.load(Ordering::SeqCst);
                if round != seen {
                    return round;
                }
                std::hint::spin_loop();
            }
            if begin.elapsed() < AWAKE {
                continue;
            }
            helper.asleep.store(true, Ordering::SeqCst);
            while helper.asleep.load(Ordering::SeqCst) {
                if self.round.load(Ordering::SeqCst) != seen {
                    helper.asleep.store(false, Ordering::SeqCst);
                } else {
                    thread::park();
                }
            }
        }
    }
}

/// The caller's part of a section, which ends when every helper has left.
struct Section<'a> {
    pool: &'a Pool,
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        INSIDE.set(false);
        // A caller that panicked leaves tasks that no one needs.
        self.pool.next.store(usize::MAX / 2, Ordering::Relaxed);
        self.pool.entries.fetch_or(CLOSED, Ordering::SeqCst);
        let mut looks = 0_u32;
        while self.pool.entries.load(Ordering::SeqCst) != CLOSED {
            looks += 1;
            if looks.is_multiple_of(1024) {
                // A helper without a core: perhaps it waits for this one.
                thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Many short sections from several threads at once, some nested: each task is done once.
    #[test]
    fn every_task_is_done_once() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..3000_usize {
                        let tasks = round % 17;
                        let done: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                        super::run(tasks, |task| {
                            super::run(2, |_| {
                                done[task].fetch_add(1, Ordering::Relaxed);
                            });
                        });
                        assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == 2));
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_threads_go_on() {
        for _ in 0..20 {
            let panicked = std::panic::catch_unwind(|| super::run(8, |task| assert!(task != 3)));
            assert!(panicked.is_err());
        }
        let sum = AtomicUsize::new(0);
        super::run(100, |task| {
            sum.fetch_add(task, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 4950);
    }
}
