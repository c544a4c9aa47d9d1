//! The remote adapter against real HTTP on loopback.

mod faults;
mod replay;
mod server;

use codriver_inference::{ChatRequest, Message, SamplingParameters, ToolDefinition};

/// A request with one tool, as the agent would send it.
fn request(text: &str) -> ChatRequest {
    ChatRequest {
        messages: vec![Message::system("Be brief."), Message::user(text)],
        tools: vec![ToolDefinition {
            name: "sql".to_owned(),
            description: "Runs a query.".to_owned(),
            parameters: serde_json::json!({
                "type": "object",
                "properties": { "query": { "type": "string" } },
                "required": ["query"],
            }),
        }],
        sampling: SamplingParameters { max_tokens: 64, ..SamplingParameters::default() },
        ..ChatRequest::default()
    }
}
