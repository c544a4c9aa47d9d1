//! One interrupt, delivered to whatever is running.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use codriver_inference::Cancellation;

type Action = Arc<dyn Fn() + Send + Sync>;

/// Shared between the control channel, which triggers it, and the cell that runs.
///
/// A language registers how it is stopped ([`Interrupt::on_interrupt`]); the token loop
/// and tools poll [`Interrupt::is_set`]. Reset when the next cell starts.
#[derive(Clone, Default)]
pub struct Interrupt(Arc<Inner>);

#[derive(Default)]
struct Inner {
    set: AtomicBool,
    next: AtomicU64,
    actions: Mutex<BTreeMap<u64, Action>>,
}

impl Interrupt {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_set(&self) -> bool {
        self.0.set.load(Ordering::SeqCst)
    }

    /// Forgets an earlier interrupt, before a new cell starts.
    pub fn reset(&self) {
        self.0.set.store(false, Ordering::SeqCst);
    }

    /// Sets the flag and runs every registered action, outside the lock.
    pub fn trigger(&self) {
        self.0.set.store(true, Ordering::SeqCst);
        let actions: Vec<Action> = self.actions().values().cloned().collect();
        for action in actions {
            action();
        }
    }

    /// Runs `action` when the interrupt comes, until the guard is dropped. If it has
    /// come already, `action` runs at once.
    #[must_use]
    pub fn on_interrupt(&self, action: impl Fn() + Send + Sync + 'static) -> InterruptGuard {
        let action: Action = Arc::new(action);
        let id = self.0.next.fetch_add(1, Ordering::SeqCst);
        self.actions().insert(id, Arc::clone(&action));
        if self.is_set() {
            action();
        }
        InterruptGuard { interrupt: self.clone(), id }
    }

    /// A cancellation for a model call that follows this interrupt while the guard lives.
    pub fn cancellation(&self) -> (Cancellation, InterruptGuard) {
        let cancellation = Cancellation::new();
        let other = cancellation.clone();
        let guard = self.on_interrupt(move || other.cancel());
        (cancellation, guard)
    }

    fn actions(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Action>> {
        self.0.actions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Unregisters the action it was returned for.
pub struct InterruptGuard {
    interrupt: Interrupt,
    id: u64,
}

impl Drop for InterruptGuard {
    fn drop(&mut self) {
        self.interrupt.actions().remove(&self.id);
    }
}
