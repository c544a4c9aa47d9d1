//! The agent against a real HTTP server that plays a model from a script.

mod ask;
mod broken_memory;
mod conversation;
mod embedding;
mod facts;
mod figures;
#[path = "../../../inference/tests/it/fixture.rs"]
#[allow(dead_code, reason = "the engine's own tests use the rest")]
mod fixture;
mod helpers;
mod nonsense;
mod permission;
mod reranking;
#[path = "../../../inference/tests/it/gateway/server.rs"]
mod server;
mod turn;
mod window;
