//! Packing that nobody waits for yet.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;

use super::Bytes;

/// Bytes that are packed in the background, or by the first who asks for them.
pub(super) struct Later {
    packed: OnceLock<Bytes>,
    /// What is to be packed; nothing once it is, or once nobody will ask.
    source: Mutex<Source>,
    pack: Box<dyn Fn(&[u8]) -> Bytes + Send + Sync>,
}

type Source = Box<dyn AsRef<[u8]> + Send>;

impl Later {
    pub(super) fn new(source: Source, pack: impl Fn(&[u8]) -> Bytes + Send + Sync + 'static) -> Arc<Self> {
        let later = Arc::new(Self { packed: OnceLock::new(), source: Mutex::new(source), pack: Box::new(pack) });
        // Without the thread, the first who asks packs.
        static QUEUE: OnceLock<Option<Sender<Weak<Later>>>> = OnceLock::new();
        if let Some(queue) = QUEUE.get_or_init(start) {
            queue.send(Arc::downgrade(&later)).unwrap_or_default();
        }
        later
    }

    pub(super) fn get(&self) -> &Bytes {
        self.packed.get_or_init(|| {
            let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
            let packed = (self.pack)((**source).as_ref());
            *source = nothing();
            packed
        })
    }

    /// Ends the use of what is to be packed; waits for a thread that is at it.
    pub(super) fn release(&self) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = nothing();
    }
}

fn nothing() -> Source {
    Box::new([0_u8; 0])
}

/// The thread that packs one after the other what still has an owner.
fn start() -> Option<Sender<Weak<Later>>> {
    let (sender, queue) = channel::<Weak<Later>>();
    let work = move || queue.into_iter().filter_map(|later| later.upgrade()).for_each(|later| _ = later.get());
    thread::Builder::new().name("packing".to_owned()).spawn(work).ok()?;
    Some(sender)
}
