//! The Rust engine, started when it is wanted.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use crate::languages::rust::{RustEngine, RustOptions};

/// A [`RustEngine`] that the first use starts. Clones share it.
#[derive(Clone)]
pub struct LazyRust(Arc<Inner>);

struct Inner {
    options: RustOptions,
    engine: OnceLock<RustEngine>,
}

impl LazyRust {
    pub fn new(options: RustOptions) -> Self {
        Self(Arc::new(Inner { options, engine: OnceLock::new() }))
    }

    /// Starts it, so that it is ready when the first cell comes.
    pub fn warm_up(&self) {
        self.engine();
    }

    /// The engine if anything has started it: looking must not.
    pub fn started(&self) -> Option<&RustEngine> {
        self.0.engine.get()
    }

    fn engine(&self) -> &RustEngine {
        self.0.engine.get_or_init(|| RustEngine::start_with(self.0.options.clone()))
    }
}

impl Deref for LazyRust {
    type Target = RustEngine;

    fn deref(&self) -> &RustEngine {
        self.engine()
    }
}
