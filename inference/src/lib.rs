//! Text in, tokens out: Codriver's model engine and its gateway to remote providers.
//!
//! The only crate that names `burn`. Callers see one trait, [`ChatModel`], whether
//! the model runs in this process ([`models`]) or behind an endpoint ([`gateway`]).

pub mod chat;

pub use chat::{
    Cancellation, ChatEvent, ChatModel, ChatRequest, ChatResponse, Environment, FinishReason,
    Message, ModelError, Role, SamplingParameters, TableSchema, ColumnSchema, ToolCall, ToolChoice,
    ToolDefinition, Usage,
};
