//! Text in, tokens out: Codriver's model engine and its gateway to remote providers.
//!
//! The only crate that names `burn`. Callers see one trait, [`ChatModel`], whether
//! the model runs in this process ([`models`]) or behind an endpoint ([`gateway`]).

pub mod bench;
pub mod device;
mod embedder;
pub mod gateway;
mod guidance;
mod loader;
mod local;
pub mod models;
mod network;
mod processor;
pub mod sampling;
mod scheduler;
pub mod starter;
pub mod store;
mod streaming;

pub use codriver_chat as chat;
pub use codriver_chat::{
    Cancellation, ChatEvent, ChatModel, ChatRequest, ChatResponse, ColumnSchema, Constraint, Environment, FinishReason,
    Message, ModelError, Priority, Role, SamplingParameters, TableSchema, ToolCall, ToolChoice, ToolDefinition, Usage,
};
pub use codriver_formats as formats;
pub use codriver_kernels::{Format as WeightFormat, PageFormat as CacheFormat};
pub use device::DeviceChoice;
pub use embedder::{CrossEncoder, EmbedderOptions, Prompt, TextEmbedder};
pub use loader::lora::Adapter;
pub use loader::memory::{MemoryEstimate, memory_estimate};
pub use local::{CompletionOptions, Engine, Flow, LocalModel, OpenOptions};
pub use scheduler::{BlockUse, Completion, Load};
