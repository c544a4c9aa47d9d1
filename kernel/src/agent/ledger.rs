//! What leaves the machine: each call of a remote model, and how much of a person's data was in it.

use std::collections::BTreeSet;

use codriver_inference::{ChatModel, Environment, Usage};
use codriver_memory::{ContextItem, ConversationId, Memory, Sent};
use codriver_tools::ToolDisplay;

/// Rows and columns of a person's tables whose values are in a prompt: those that the context names
/// and those that tools have answered with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserData {
    rows: usize,
    columns: BTreeSet<String>,
}

impl UserData {
    /// Of the tables that are in the context: their columns' values, where some are listed.
    pub fn of_context(items: &[ContextItem], environment: &Environment) -> Self {
        let named =
            |name: &str| items.iter().any(|item| item.kind == "table" && item.title == name && item.dropped.is_none());
        let mut data = Self::default();
        for table in environment.tables.iter().filter(|table| named(&table.name)) {
            let listed = || table.columns.iter().filter(|column| !column.values.is_empty());
            data.rows += listed().map(|column| column.values.len()).max().unwrap_or(0);
            data.columns.extend(listed().map(|column| format!("{}.{}", table.name, column.name)));
        }
        data
    }

    /// Of a tool's result.
    pub fn add(&mut self, tool: &str, display: &ToolDisplay) {
        if let ToolDisplay::Table { columns, rows, .. } = display {
            self.rows += rows.len();
            self.columns.extend(columns.iter().map(|column| format!("{tool}: {column}")));
        }
    }
}

/// Notes a call, where the model is not on this machine.
pub fn note(
    memory: &Memory,
    conversation: Option<&ConversationId>,
    model: &dyn ChatModel,
    purpose: &str,
    prompt: (&str, usize),
    usage: Usage,
    data: &UserData,
) {
    let Some(destination) = model.destination() else { return };
    let (prompt, counted) = prompt;
    let sent = Sent {
        conversation: conversation.cloned(),
        destination: destination.clone(),
        model: model.name().to_owned(),
        purpose: purpose.to_owned(),
        bytes: prompt.len(),
        prompt_tokens: if usage.prompt_tokens > 0 { usage.prompt_tokens } else { counted },
        completion_tokens: usage.completion_tokens,
        rows: data.rows,
        columns: data.columns.iter().cloned().collect(),
    };
    if let Err(error) = memory.record_sent(&sent) {
        tracing::warn!("a call of {destination} is not in the ledger: {error}");
    }
}
