//! Nearest neighbours by cosine: a graph of small worlds (HNSW; Malkov and Yashunin, 2018) whose edges are walked
//! over vectors of 8 bits and whose results are scored anew in f32.
//!
//! A [`Generation`] is one immutable file, checked against its checksums before it is used and then read where it
//! lies. A [`Vectors`] is a generation, what was added since (compared exactly), and what was removed since.

mod best;
mod distance;
mod generation;
mod graph;
mod layout;
mod quantized;
mod search;
mod vectors;

pub use distance::{dot, unit};
pub use generation::{Built, Generation, GenerationError, Progress};
pub use vectors::{Admit, EXACT_BELOW, Neighbour, Snapshot, Vectors};
