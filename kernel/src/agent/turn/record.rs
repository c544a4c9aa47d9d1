//! A turn as memory keeps it.

use std::sync::Arc;

use codriver_inference::{Message, Role};
use codriver_memory::{FactId, MemoryError, NewMessage, NewTurn, TurnId};
use serde_json::{Value, json};

use super::{Ending, Turn};
use crate::agent::facts::Told;

impl Turn<'_> {
    /// Durable when it returns: request, everything said, context, prompts, tokens, times.
    pub(super) fn record(&self, request: &str, ending: &Ending, milliseconds: u64) -> Result<(), MemoryError> {
        let Some(conversation) = &self.plan.conversation else { return Ok(()) };
        let said = self.plan.chat.messages.iter().skip(self.plan.asked);
        let mut messages: Vec<NewMessage> = said.map(|message| self.message(message)).collect();
        let (answer, state) = match ending {
            Ending::Answered | Ending::Call(_) => (self.answer.clone(), None),
            Ending::Interrupted => (noted(&self.answer, "interrupted"), Some("interrupted")),
            Ending::Failed { reason, .. } => (noted(&self.answer, &format!("failed: {reason}")), Some("failed")),
        };
        if let Some(state) = state {
            messages.push(NewMessage {
                role: "assistant".to_owned(),
                content: answer.clone(),
                json: Some(json!({ "ended": state })),
            });
        }
        let turn = NewTurn {
            conversation: conversation.clone(),
            request: request.to_owned(),
            answer,
            model: self.plan.model.name().to_owned(),
            messages,
            context: self.plan.retrieved.items.clone(),
            prompt_tokens: self.usage.prompt_tokens,
            completion_tokens: self.usage.completion_tokens,
            milliseconds,
            prompt: self.whole_prompt(),
        };
        let id = self.memory.append_turn(&turn)?;
        // What cannot be learned now is still in the record.
        if let Err(error) = self.learner.learn_by_rules(self.memory, &id, &turn) {
            tracing::warn!(%error);
        }
        // With --no-memory nothing that is known may go before a model.
        if state.is_none() && self.plan.use_memory {
            self.learner.learn_by_model(self.told(id, turn));
        }
        Ok(())
    }

    fn told(&self, id: TurnId, turn: NewTurn) -> Told {
        let used = turn.context.iter().filter(|item| item.dropped.is_none());
        let known = used.filter_map(|item| Some(FactId::from(item.details.key.strip_prefix("fact:")?))).collect();
        let (model, secrets) = (Arc::clone(&self.plan.model), Arc::clone(&self.secrets));
        Told { turn, id, model, secrets, interrupt: self.context.interrupt.clone(), known }
    }

    /// The prompts of all model calls of the turn, each to the letter.
    fn whole_prompt(&self) -> String {
        match self.prompts.as_slice() {
            [(prompt, _)] => prompt.clone(),
            prompts => {
                let numbered = prompts.iter().enumerate();
                let parts: Vec<String> = numbered
                    .map(|(index, (prompt, tokens))| {
                        format!("=== model call {} ({tokens} tokens) ===\n{prompt}", index + 1)
                    })
                    .collect();
                parts.join("\n")
            }
        }
    }

    fn message(&self, message: &Message) -> NewMessage {
        let role = match message.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        };
        let content = self.secrets.redact(&message.content);
        let clean = Message { content: content.clone(), ..message.clone() };
        let json: Option<Value> = serde_json::to_value(&clean).ok();
        NewMessage { role: role.to_owned(), content, json }
    }
}

fn noted(answer: &str, note: &str) -> String {
    if answer.trim().is_empty() { format!("[{note}]") } else { format!("{}\n\n[{note}]", answer.trim_end()) }
}
