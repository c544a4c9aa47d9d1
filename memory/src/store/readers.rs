//! Reading a database beside its store, on another thread.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::Store;
use crate::error::MemoryError;

/// Those who read beside the store. None may be left when the file is opened again or given to another process: two
/// openings of one file would damage it.
#[derive(Default)]
pub(super) struct Readers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    ending: AtomicBool,
    open: Mutex<usize>,
    closed: Condvar,
}

/// The database as it is read beside its store. It has to be dropped soon after [`Reader::goes_on`] says false.
pub(crate) struct Reader {
    store: Store,
    ticket: Ticket,
}

/// Counted as long as it lives. Declared after the store, it is dropped after it.
struct Ticket(Arc<Shared>);

impl Drop for Ticket {
    fn drop(&mut self) {
        *self.0.open.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.closed.notify_all();
    }
}

impl Readers {
    /// Waits until all have ended.
    pub fn end(&self) {
        self.0.ending.store(true, Ordering::SeqCst);
        let open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = self.0.closed.wait_while(open, |open| *open > 0).unwrap_or_else(PoisonError::into_inner);
        self.0.ending.store(false, Ordering::SeqCst);
        drop(open);
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.end();
    }
}

impl Reader {
    /// Whether there is time for more.
    pub fn goes_on(&self) -> bool {
        !self.ticket.0.ending.load(Ordering::SeqCst)
    }
}

impl Deref for Reader {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Store {
    /// A second way to read the same database, for another thread.
    pub fn reader(&self) -> Result<Reader, MemoryError> {
        *self.readers.0.open.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let ticket = Ticket(Arc::clone(&self.readers.0));
        let connection = self.connection.try_clone().map_err(|error| self.explain(&error))?;
        // No file: damage that it sees is seen by the store itself, too.
        let store = Self { vault: self.vault.clone(), ..Self::new(connection, None, self.name.clone()) };
        Ok(Reader { store, ticket })
    }
}
