//! What of a conversation is told to the model again: its turns, as they were or condensed, and
//! what the person chose.

use codriver_memory::{ConversationId, EarlierTurn, Memory, MemoryError};

use super::plan::Plan;
use crate::agent::compaction::{Asked, Compaction, Compactions, Summarizer};
use crate::agent::context::choices::Choices;
use crate::agent::secrets::Secrets;
use crate::agent::stream::kind;
use crate::languages::CellContext;
use crate::render::context::compaction_card;

/// One conversation.
#[derive(Default)]
pub(super) struct Told {
    /// Those that are not condensed, oldest first.
    pub turns: Vec<EarlierTurn>,
    pub compactions: Compactions,
    pub choices: Choices,
}

impl Told {
    pub(super) fn load(memory: &Memory, conversation: &ConversationId) -> Result<Self, MemoryError> {
        let compactions = Compactions::load(memory, conversation)?;
        let choices = Choices::load(memory, conversation)?;
        Ok(Self { turns: compactions.later_turns(memory, conversation)?, compactions, choices })
    }

    /// Condenses the oldest turns until what is left takes half of `share`. The turns stay in memory.
    pub(super) fn condense(
        &mut self,
        memory: &Memory,
        plan: &Plan,
        share: usize,
        secrets: &Secrets,
        context: &CellContext,
    ) -> Option<Asked> {
        let conversation = plan.conversation.as_ref()?;
        let tokens =
            |turn: &EarlierTurn| plan.model.count_tokens(&turn.request) + plan.model.count_tokens(&turn.answer);
        let mut kept = 0;
        let recent = self.turns.iter().rev().take_while(|turn| {
            kept += tokens(turn);
            kept <= share / 2
        });
        let old = self.turns.len() - recent.count();
        let (cancellation, _guard) = context.interrupt.cancellation();
        let mut summarizer = Summarizer::new(plan.model.as_ref(), secrets, &cancellation);
        let compaction = Compaction::make(self.turns.get(..old)?, self.compactions.current(), &mut summarizer)?;
        summarizer.note(memory, conversation);
        let asked = summarizer.asked.take();
        context.output.display(kind(compaction_card(&compaction), "compaction"));
        self.compactions.push(compaction);
        if let Err(error) = self.compactions.save(memory, conversation) {
            context.output.stderr(format!("the compaction is not kept: {error}\n"));
        }
        self.turns.drain(..old);
        asked
    }
}
