//! Packing that nobody waits for yet.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;

use super::Bytes;
use crate::format::Format;

/// Bytes that are packed in the background, or by the first who asks for them.
pub(super) struct Later {
    packed: OnceLock<Bytes>,
    /// Packs; `None` once that has begun, or once nobody will ask.
    pack: Mutex<Option<Box<dyn FnOnce() -> Bytes + Send>>>,
    format: Format,
    rows: usize,
    columns: usize,
}

impl Later {
    pub(super) fn new(
        format: Format,
        rows: usize,
        columns: usize,
        pack: impl FnOnce() -> Bytes + Send + 'static,
    ) -> Arc<Self> {
        let pack = Mutex::new(Some(Box::new(pack) as Box<dyn FnOnce() -> Bytes + Send>));
        let later = Arc::new(Self { packed: OnceLock::new(), pack, format, rows, columns });
        // Without the thread, the first who asks packs.
        static QUEUE: OnceLock<Option<Sender<Weak<Later>>>> = OnceLock::new();
        if let Some(queue) = QUEUE.get_or_init(start) {
            queue.send(Arc::downgrade(&later)).unwrap_or_default();
        }
        later
    }

    /// The bytes; zeros where packing them has panicked before.
    pub(super) fn get(&self) -> &Bytes {
        self.packed.get_or_init(|| {
            let mut pack = self.pack.lock().unwrap_or_else(PoisonError::into_inner);
            let nothing = || Bytes::of(self.format, self.rows, self.columns, &[]);
            pack.take().map_or_else(nothing, |pack| pack())
        })
    }

    /// Drops what is to be packed; waits for a thread that is at it.
    pub(super) fn release(&self) {
        self.pack.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// The thread that packs one after the other what still has an owner.
fn start() -> Option<Sender<Weak<Later>>> {
    let (sender, queue) = channel::<Weak<Later>>();
    let work = move || queue.into_iter().filter_map(|later| later.upgrade()).for_each(|later| _ = later.get());
    thread::Builder::new().name("packing".to_owned()).spawn(work).ok()?;
    Some(sender)
}
