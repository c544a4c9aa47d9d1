//! The agent against a real HTTP server that plays a model from a script.

mod ask;
mod conversation;
mod figures;
mod helpers;
mod nonsense;
mod permission;
#[path = "../../../inference/tests/it/gateway/server.rs"]
mod server;
mod turn;
mod window;
