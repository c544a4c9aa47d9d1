//! The starter: the small model that ships with Codriver.
//!
//! A Llama-shaped decoder that reads a request in which everything that exists is marked
//! ([`linking`]), writes a call in a notation of its own ([`notation`]) under a grammar that
//! admits no other names ([`grammar`]), and says what a result holds ([`answering`]). Trained by
//! [`training`] on what [`generator`] writes.

mod answering;
mod call;
mod checkpoint;
pub mod generator;
mod grammar;
mod linking;
mod mentions;
mod model;
pub mod notation;
mod numbers;
mod phrases;
mod prior;
mod topic;
pub mod training;
pub mod vocabulary;
mod words;
mod worlds;

pub use linking::Piece;
pub use model::Starter;

#[cfg(test)]
mod tests;
