//! Where in an answer a grammar holds.

use std::sync::Arc;

use codriver_chat::grammar::Grammar as Tree;

use crate::calls::{Trigger, triggers};
use crate::markers::MarkerSearch;
use crate::{Grammar, GrammarError, Guide, TokenMask, Vocabulary};

/// What an answer may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// All of it is what the grammar admits.
    Whole(Grammar),
    /// Free text, in which calls of tools are held to their grammar from where they are known to be
    /// calls: from the marker that opens them, or where there is none, from the tool's name.
    Calls {
        /// An answer that is calls and nothing else.
        calls: Tree,
        /// What encloses the model's reasoning, in which nothing is a call.
        reasoning: Option<ReasoningMarkers>,
    },
}

/// What encloses a model's reasoning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasoningMarkers {
    pub begin: String,
    pub end: String,
    /// Whether the prompt opened it.
    pub is_open: bool,
}

/// Follows one answer, and knows what may come next.
pub struct AnswerGuide {
    vocabulary: Arc<Vocabulary>,
    state: State,
    /// What kept a call from being guided.
    warning: Option<GrammarError>,
}

enum State {
    Whole(Guide),
    Calls(FreeText),
}

/// Which tokens may come next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Any,
    Of(TokenMask),
    /// The answer is whole: none.
    End,
}

impl AnswerGuide {
    pub fn new(vocabulary: &Arc<Vocabulary>, plan: Plan) -> Result<Self, GrammarError> {
        let state = match plan {
            Plan::Whole(grammar) => State::Whole(Guide::new(vocabulary, &grammar)?),
            Plan::Calls { calls, reasoning } => State::Calls(FreeText::new(calls, reasoning)),
        };
        Ok(Self { vocabulary: vocabulary.clone(), state, warning: None })
    }

    /// Which tokens may come next.
    // It may fail, and nobody loops over it.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Next, GrammarError> {
        let guide = match &mut self.state {
            State::Whole(guide) if guide.is_stopped() => return Ok(Next::End),
            State::Whole(guide) => guide,
            State::Calls(FreeText { call: Some(guide), .. }) => guide,
            State::Calls(_) => return Ok(Next::Any),
        };
        guide.mask().map(Next::Of)
    }

    /// Moves on by a token that was chosen. One that ends the answer is not committed.
    pub fn commit(&mut self, token: u32) -> Result<(), GrammarError> {
        match &mut self.state {
            State::Whole(guide) => guide.commit(token),
            State::Calls(text) => text.commit(token, &self.vocabulary, &mut self.warning),
        }
    }

    /// The tokens that must come next; the guide has moved on by them.
    pub fn forced(&mut self) -> Vec<u32> {
        match &mut self.state {
            State::Whole(guide) => guide.forced(),
            State::Calls(text) => text.forced(),
        }
    }

    /// Whether the answer is whole and nothing can follow.
    pub fn is_whole(&self) -> bool {
        matches!(&self.state, State::Whole(guide) if guide.is_stopped())
    }

    /// Why a call could not be held to its grammar, once.
    pub fn take_warning(&mut self) -> Option<GrammarError> {
        self.warning.take()
    }
}

/// Text in which a call may begin.
struct FreeText {
    calls: Tree,
    reasoning: Option<ReasoningMarkers>,
    triggers: Vec<Trigger>,
    /// The calls' grammar, compiled when it is first needed.
    compiled: Option<Guide>,
    search: MarkerSearch,
    /// The call that is being written.
    call: Option<Guide>,
}

impl FreeText {
    fn new(calls: Tree, reasoning: Option<ReasoningMarkers>) -> Self {
        Self { reasoning, compiled: None, triggers: triggers(&calls), calls, search: MarkerSearch::new(), call: None }
    }

    fn commit(
        &mut self,
        token: u32,
        vocabulary: &Arc<Vocabulary>,
        warning: &mut Option<GrammarError>,
    ) -> Result<(), GrammarError> {
        if let Some(call) = &mut self.call {
            call.commit(token)?;
            self.end_whole_call();
            return Ok(());
        }
        self.search.push(vocabulary.bytes(token));
        while let Some(trigger) = self.next_trigger() {
            // What the last token wrote behind the trigger.
            let rest = self.search.take();
            let written = [trigger.as_bytes(), &rest].concat();
            match self.begin_call(&written, vocabulary) {
                Ok(true) => {
                    self.end_whole_call();
                    return Ok(());
                }
                // The model has left the grammar with its last token already: what it writes is
                // read as a call all the same, and its arguments are checked later.
                Ok(false) => self.search.push(&rest),
                Err(error) => {
                    *warning = Some(error);
                    self.triggers.clear();
                }
            }
        }
        Ok(())
    }

    fn forced(&mut self) -> Vec<u32> {
        let Some(call) = &mut self.call else { return Vec::new() };
        let tokens = call.forced();
        self.end_whole_call();
        tokens
    }

    /// The trigger that the text has come to, if any.
    fn next_trigger(&mut self) -> Option<String> {
        loop {
            if let Some(reasoning) = self.reasoning.as_mut().filter(|reasoning| reasoning.is_open) {
                self.search.next(&[&reasoning.end])?;
                reasoning.is_open = false;
                continue;
            }
            let mut markers: Vec<&str> = self.triggers.iter().map(|trigger| trigger.text.as_str()).collect();
            markers.extend(self.reasoning.as_ref().map(|reasoning| reasoning.begin.as_str()));
            let found = self.search.next(&markers)?;
            if let Some(trigger) = self.triggers.get(found.index) {
                if !trigger.only_at_start || found.after_blank {
                    return Some(trigger.text.clone());
                }
            } else if let Some(reasoning) = &mut self.reasoning {
                reasoning.is_open = true;
            }
        }
    }

    /// Begins a call that is written in part; false where the grammar does not admit that part.
    fn begin_call(&mut self, written: &[u8], vocabulary: &Arc<Vocabulary>) -> Result<bool, GrammarError> {
        let compiled = match &self.compiled {
            Some(compiled) => compiled,
            None => {
                let grammar = Grammar::of_calls(&self.calls, vocabulary)?;
                self.compiled.insert(Guide::within(vocabulary, &grammar)?)
            }
        };
        let mut guide = compiled.clone();
        let admitted = guide.commit_text(written)?;
        if admitted {
            self.call = Some(guide);
        }
        Ok(admitted)
    }

    /// A call that may end is whole: the text is free again.
    fn end_whole_call(&mut self) {
        if self.call.as_mut().is_some_and(Guide::is_accepting) {
            self.call = None;
            self.search = MarkerSearch::new();
        }
    }
}
