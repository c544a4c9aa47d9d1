//! What turns tell: rules read it at once, and the model that a turn went to reads it after the answer is shown.
//!
//! One thread a session asks models, one turn after another. A local model reads with the lowest priority; a remote one
//! only what went to it with the turn already. Whatever goes wrong, the turn is on record and what the rules found is kept.

mod model;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use codriver_inference::{Cancellation, ChatModel, Usage};
use codriver_memory::{
    ExtractedFact, FactExtractor, FactId, Memory, MemoryError, ModelCall, NewTurn, RuleExtractor, TurnId,
};

use super::ledger::{self, UserData};
use super::secrets::Secrets;
use crate::session::Interrupt;
use model::{Answer, Form, ModelExtractor};

/// Turns that wait to be read; more than that, and the oldest is left to the rules.
const MOST_WAITING: usize = 8;

/// A model that takes longer over one turn is stopped.
const LONGEST: Duration = Duration::from_secs(60);

/// Answers in a row that are no facts, after which a model is not asked any more in this session.
const PATIENCE: u32 = 3;

/// Who finds facts in turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Learning {
    /// Rules, and the model that the turn went to, wherever it runs.
    #[default]
    Model,
    /// Rules, and the model that the turn went to where it runs on this machine.
    Local,
    Rules,
    /// Nobody: only what is told to be remembered is.
    Off,
}

const NAMES: [(&str, Learning); 4] =
    [("model", Learning::Model), ("local", Learning::Local), ("rules", Learning::Rules), ("off", Learning::Off)];

impl Learning {
    /// As `CODRIVER_FACTS` says.
    pub fn from_environment() -> Option<Self> {
        let value = std::env::var("CODRIVER_FACTS").ok().filter(|value| !value.trim().is_empty())?;
        value.parse().inspect_err(|error| tracing::warn!("CODRIVER_FACTS: {error}")).ok()
    }

    pub fn names() -> [&'static str; 4] {
        NAMES.map(|(name, _)| name)
    }

    /// What it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Model => "facts are found by rules, and by the model that a turn went to",
            Self::Local => "facts are found by rules, and by the model that a turn went to if it runs on this machine",
            Self::Rules => "facts are found by rules, no model is asked",
            Self::Off => "turns are not read for facts",
        }
    }
}

impl fmt::Display for Learning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, learning)| learning == self).map_or("", |(name, _)| name);
        formatter.write_str(name)
    }
}

impl FromStr for Learning {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = NAMES.iter().find(|(name, _)| *name == text.trim().to_lowercase());
        known.map(|(_, learning)| *learning).ok_or_else(|| format!("{text:?} is none of {}", Self::names().join(", ")))
    }
}

/// A turn that is over, and who answered it.
pub struct Told {
    pub turn: NewTurn,
    /// As memory knows it.
    pub id: TurnId,
    pub model: Arc<dyn ChatModel>,
    pub secrets: Arc<Secrets>,
    pub interrupt: Interrupt,
    /// The facts that went before the model in the turn.
    pub known: Vec<FactId>,
}

/// Reads turns for facts.
pub struct Learner {
    memory: Weak<Memory>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    learning: Learning,
    waiting: VecDeque<Told>,
    /// Of the turn that is being read.
    reading: Option<Cancellation>,
    /// What is known of models by name.
    models: HashMap<String, Habits>,
    ended: bool,
}

/// How a model takes to being asked.
#[derive(Debug, Clone, Copy, Default)]
struct Habits {
    form: Form,
    nonsense: u32,
    unable: bool,
}

impl Learner {
    pub fn new(memory: &Arc<Memory>) -> Self {
        let learner = Self { memory: Arc::downgrade(memory), shared: Arc::default(), thread: Mutex::default() };
        learner.shared.state().learning = Learning::from_environment().unwrap_or_default();
        learner
    }

    pub fn learning(&self) -> Learning {
        self.shared.state().learning
    }

    pub fn set(&self, learning: Learning) {
        self.shared.state().learning = learning;
    }

    /// Keeps what rules find in a turn.
    pub fn learn_by_rules(&self, memory: &Memory, id: &TurnId, turn: &NewTurn) -> Result<(), MemoryError> {
        if self.learning() == Learning::Off {
            return Ok(());
        }
        memory.learn(id, turn, &RuleExtractor).map(drop)
    }

    /// Has the turn read by the model that answered it, as soon as there is time.
    pub fn learn_by_model(&self, told: Told) {
        {
            let mut state = self.shared.state();
            let asks = match state.learning {
                Learning::Model => true,
                Learning::Local => told.model.destination().is_none(),
                Learning::Rules | Learning::Off => false,
            };
            let unable = state.models.get(told.model.name()).is_some_and(|habits| habits.unable);
            if !asks
                || unable
                || !told.model.reads_system_prompt()
                || !ModelExtractor::has_something_to_read(&told.turn)
            {
                return;
            }
            state.waiting.push_back(told);
            if state.waiting.len() > MOST_WAITING {
                state.waiting.pop_front();
            }
        }
        self.shared.changed.notify_all();
        self.start();
    }

    /// Turns that wait, and the one that is read.
    pub fn unread(&self) -> usize {
        let state = self.shared.state();
        state.waiting.len() + usize::from(state.reading.is_some())
    }

    /// Waits until all turns are read; not longer than they may take, nor than until an interrupt.
    pub fn settle(&self, interrupt: &Interrupt) {
        let begin = Instant::now();
        let mut state = self.shared.state();
        while (state.reading.is_some() || !state.waiting.is_empty()) && !interrupt.is_set() && begin.elapsed() < LONGEST
        {
            (state, _) = self
                .shared
                .changed
                .wait_timeout(state, Duration::from_millis(50))
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn start(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_some() {
            return;
        }
        let (shared, memory) = (Arc::clone(&self.shared), Weak::clone(&self.memory));
        let spawned = thread::Builder::new().name("codriver-facts".to_owned()).spawn(move || {
            while let Some((told, cancellation)) = shared.next() {
                let read = catch_unwind(AssertUnwindSafe(|| shared.read(&told, &memory, &cancellation)));
                if read.is_err() {
                    tracing::error!("a bug stopped the reading of a turn for facts; the turn is kept");
                }
                drop(told);
                shared.state().reading = None;
                shared.changed.notify_all();
            }
        });
        match spawned {
            Ok(handle) => *thread = Some(handle),
            Err(error) => {
                tracing::warn!("facts are found by rules alone: {error}");
                self.shared.state().waiting.clear();
            }
        }
    }
}

/// What is being read is given up; the turn itself is kept long since.
impl Drop for Learner {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state();
            state.ended = true;
            state.waiting.clear();
            if let Some(reading) = &state.reading {
                reading.cancel();
            }
        }
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the reading of turns for facts ended in a panic");
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next turn, once there is one; `None` at the end.
    fn next(&self) -> Option<(Told, Cancellation)> {
        let waits = |state: &mut State| state.waiting.is_empty() && !state.ended;
        let mut state = self.changed.wait_while(self.state(), waits).unwrap_or_else(PoisonError::into_inner);
        let told = state.waiting.pop_front().filter(|_| !state.ended)?;
        let cancellation = Cancellation::new();
        state.reading = Some(cancellation.clone());
        Some((told, cancellation))
    }

    fn read(&self, told: &Told, memory: &Weak<Memory>, cancellation: &Cancellation) {
        let Some(memory) = memory.upgrade() else { return };
        let interrupted = cancellation.clone();
        let _guard = told.interrupt.on_interrupt(move || interrupted.cancel());
        let (done, wait) = channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                if wait.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
                    cancellation.cancel();
                }
            });
            self.ask(told, &memory, cancellation);
            drop(done);
        });
    }

    fn ask(&self, told: &Told, memory: &Memory, cancellation: &Cancellation) {
        let name = told.model.name().to_owned();
        let mut habits = self.state().models.get(&name).copied().unwrap_or_default();
        let Some(extractor) = ModelExtractor::new(told, memory) else { return };
        loop {
            let begin = Instant::now();
            let asked = extractor.ask(habits.form, cancellation);
            if let Some(prompt) = &asked.prompt {
                let milliseconds = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
                note(told, memory, (prompt, asked.tokens), asked.usage, milliseconds);
            }
            match asked.answer {
                Answer::Facts(facts) => {
                    habits.nonsense = 0;
                    if let Err(error) = memory.learn(&told.id, &told.turn, &extractor.found(facts)) {
                        tracing::warn!("what {name} found is not kept: {error}");
                    }
                }
                Answer::Nonsense(text) => {
                    habits.nonsense += 1;
                    habits.unable = habits.nonsense >= PATIENCE;
                    tracing::debug!("{name} was asked for facts, and answered {text:?}; those of the rules are kept");
                }
                Answer::Refused(reason) => match habits.form.next() {
                    Some(form) if !cancellation.is_cancelled() => {
                        tracing::debug!("{name} does not take this form of question: {reason}");
                        habits.form = form;
                        continue;
                    }
                    _ => {
                        tracing::warn!("{name} cannot be asked for facts, rules find them: {reason}");
                        habits.unable = true;
                    }
                },
                // Another time it may work.
                Answer::Failed(reason) => tracing::debug!("{name} was asked for facts in vain: {reason}"),
            }
            break;
        }
        self.state().models.insert(name, habits);
    }
}

/// What it cost, and what left the machine.
fn note(told: &Told, memory: &Memory, prompt: (&str, usize), usage: Usage, milliseconds: u64) {
    let conversation = &told.turn.conversation;
    ledger::note(memory, Some(conversation), told.model.as_ref(), "facts", prompt, usage, &UserData::default());
    let call = ModelCall {
        conversation: conversation.clone(),
        turn: Some(told.id.clone()),
        model: told.model.name().to_owned(),
        purpose: "facts".to_owned(),
        prompt_tokens: if usage.prompt_tokens > 0 { usage.prompt_tokens } else { prompt.1 },
        completion_tokens: usage.completion_tokens,
        milliseconds,
    };
    if let Err(error) = memory.record_call(&call) {
        tracing::warn!("a call of {} is not in the figures: {error}", call.model);
    }
}

/// Facts that were found already, as memory takes them in.
struct Found {
    name: String,
    facts: Vec<ExtractedFact>,
}

impl FactExtractor for Found {
    fn name(&self) -> &str {
        &self.name
    }

    fn extract(&self, _turn: &NewTurn) -> Result<Vec<ExtractedFact>, String> {
        Ok(self.facts.clone())
    }
}
