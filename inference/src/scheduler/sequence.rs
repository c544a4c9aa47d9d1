//! One request on its way: what is read of it, what is written, what comes next.

use std::time::Duration;

use codriver_grammar::{Beside, GrammarError, Next, TokenMask};

use super::lookup::Lookup;
use super::request::{Answer, Completion, Event, Interest, Reply, Request, Task};
use crate::guidance::refused;
use crate::models::decoder::DecoderConfig;
use crate::models::rotary::Regime;
use crate::network::{BLOCK, Block, Row, Rows, Segment, Token};
use crate::sampling::Sampler;
use crate::{FinishReason, ModelError, Priority};

/// A request and the sequence of its tokens.
pub(super) struct Sequence {
    pub(super) priority: Priority,
    /// Requests are numbered as they come.
    pub(super) arrival: u64,
    /// Whether it counts as one that waits: until it first runs.
    pub(super) is_new: bool,
    /// Tokens that were read for it, over again too, and those that each of its equals had been given before it came.
    pub(super) served: usize,
    /// The blocks of its positions, from the first on.
    pub(super) table: Vec<Block>,
    /// How many blocks of the table the pool keeps, as far as the pool wants to.
    pub(super) filed: usize,
    /// How many of the tokens are read, or need not be.
    pub(super) computed: usize,
    /// The prompt and the answer; in a step, guesses behind them.
    tokens: Vec<Token>,
    /// What the step that is computed reads, guesses among it.
    guessed: usize,
    work: Work,
    reply: Reply,
}

enum Work {
    Answer(Box<Writing>),
    /// After all tokens; those after the first so many are told.
    Scores {
        told: usize,
    },
}

/// An answer that is being written.
struct Writing {
    answer: Answer,
    /// Tokens written.
    count: usize,
    phase: Phase,
    /// The scores of the last step.
    scores: Option<Scores>,
    /// For how many tokens to come whole rows are asked for.
    whole: usize,
    lookup: Lookup,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The guide is asked what follows for certain.
    Ahead,
    /// The next token is chosen, once there are scores for it.
    Choose,
}

/// What a step found out: the scores after the sequence's last token at the time, and after each of
/// the tokens that were guessed to follow.
struct Scores {
    /// `guessed + 1` of them.
    rows: Rows,
    guessed: Vec<u32>,
    /// How many guesses were right, of those that are known to be.
    right: usize,
    /// How many tokens have come since.
    come: usize,
}

/// For how many tokens whole rows are asked for where the highest scores did not suffice.
const WHOLE: usize = 16;
/// How long a mask that is not ready is waited for, before other sequences go on without this one.
const PATIENCE: Duration = Duration::from_millis(1);

/// What became of a sequence.
pub(super) type Outcome = Result<Completion, ModelError>;

impl Sequence {
    pub(super) fn new(request: Request, reply: Reply, arrival: u64, served: usize, config: &DecoderConfig) -> Self {
        let regime = config.regime(request.prompt.len());
        let work = match request.task {
            Task::Scores => Work::Scores { told: 0 },
            Task::Answer(answer) => Work::Answer(Box::new(Writing {
                lookup: Lookup::new(answer.speculate),
                answer: *answer,
                count: 0,
                phase: Phase::Ahead,
                scores: None,
                whole: 0,
            })),
        };
        Self {
            priority: request.priority,
            arrival,
            is_new: true,
            served,
            table: Vec::new(),
            filed: 0,
            computed: 0,
            tokens: request.prompt.into_iter().map(|id| Token { id, regime }).collect(),
            guessed: 0,
            work,
            reply,
        }
    }

    /// What comes first of two: the more urgent, then the older.
    pub(super) fn rank(&self) -> (Priority, u64) {
        (self.priority, self.arrival)
    }

    pub(super) fn interest(&self) -> &Interest {
        &self.reply.interest
    }

    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Tokens that are to be read before anything can be chosen; 0 where there is something else to do.
    pub(super) fn unread(&self) -> usize {
        match &self.work {
            Work::Answer(writing) if writing.phase == Phase::Ahead || writing.scores.is_some() => 0,
            _ => self.tokens.len() - self.computed,
        }
    }

    /// Whether what is read before may be used: not where the scores after all tokens are asked for.
    pub(super) fn can_share(&self) -> bool {
        matches!(self.work, Work::Answer(_))
    }

    pub(super) fn end(self, outcome: Outcome) {
        match outcome {
            Ok(completion) => self.reply.send(Event::Ended(completion)),
            Err(error) => self.reply.fail(error),
        }
    }

    /// Forgets what was read, since its blocks are gone.
    pub(super) fn restart(&mut self) {
        (self.computed, self.filed) = (0, 0);
        if let Work::Answer(writing) = &mut self.work {
            writing.scores = None;
        }
    }

    /// A sequence that becomes long has other positions from its beginning on: true where it has just
    /// become so. A stretched base changes with every token; there, as in the reference, what is read
    /// stays as it was.
    pub(super) fn lengthen(&mut self, config: &DecoderConfig) -> bool {
        let is_long = |token: &Token| token.regime == Regime::Long;
        if config.regime(self.tokens.len()) != Regime::Long || self.tokens.first().is_none_or(is_long) {
            return false;
        }
        self.tokens.iter_mut().for_each(|token| token.regime = Regime::Long);
        true
    }

    /// How many of the next `most` tokens can be read in one step: those of one regime.
    pub(super) fn run(&self, most: usize) -> usize {
        let rest = self.tokens.get(self.computed..).unwrap_or_default();
        let regime = rest.first().map(|token| token.regime);
        rest.iter().take(most).take_while(|token| Some(token.regime) == regime).count()
    }

    /// Guesses tokens that may follow, which the next step reads too. `most` says how many guesses
    /// pay that are right so often.
    pub(super) fn guess(&mut self, most: impl Fn(f64) -> usize, config: &DecoderConfig) {
        let Work::Answer(writing) = &mut self.work else { return };
        let left = (writing.answer.limit - writing.count).saturating_sub(1);
        let guesses = writing.lookup.guess(&self.tokens, |rate| most(rate).min(left));
        let (known, regime) = (self.tokens.len(), self.tokens.last().map(|token| token.regime));
        let guesses =
            guesses.into_iter().zip(known + 1..).map(|(id, length)| Token { id, regime: config.regime(length) });
        self.tokens.extend(guesses.take_while(|token| Some(token.regime) == regime));
        self.guessed = self.tokens.len() - known;
    }

    /// Takes guesses back before the step.
    pub(super) fn forget_guesses(&mut self) {
        self.tokens.truncate(self.tokens.len() - self.guessed);
        self.guessed = 0;
    }

    pub(super) fn guessed(&self) -> usize {
        self.guessed
    }

    /// Blocks that the next step needs, which reads `count` tokens and the guesses.
    pub(super) fn blocks_for(&self, count: usize) -> usize {
        (self.computed + count + self.guessed).div_ceil(BLOCK)
    }

    /// What the next step reads: `count` tokens, and the guesses.
    pub(super) fn segment(&self, count: usize) -> Segment<'_> {
        let end = self.computed + count + self.guessed;
        let wanted = match &self.work {
            // Read again, a token's scores are not told again.
            Work::Scores { told } => (self.computed + count).saturating_sub(self.computed.max(*told)),
            Work::Answer(_) if end == self.tokens.len() => 1 + self.guessed,
            Work::Answer(_) => 0,
        };
        let temperature = match &self.work {
            Work::Answer(writing) if writing.whole == 0 => writing.answer.sampler.candidates_temperature(),
            _ => None,
        };
        let sequence = self.tokens.get(..end).unwrap_or_default();
        Segment { sequence, past: self.computed, blocks: &self.table, wanted, temperature }
    }

    /// Takes over what a step computed of [`Sequence::segment`].
    pub(super) fn read(&mut self, count: usize, rows: Rows) -> Option<Outcome> {
        let known = self.tokens.len() - self.guessed;
        let guessed: Vec<u32> = self.tokens.drain(known..).map(|token| token.id).collect();
        self.guessed = 0;
        self.computed += count;
        self.served += count;
        match &mut self.work {
            Work::Scores { told } => {
                match rows.into_whole() {
                    Ok(scores) if scores.is_empty() => {}
                    Ok(scores) => self.reply.send(Event::Scores(scores)),
                    Err(error) => return Some(Err(error)),
                }
                *told = self.computed.max(*told);
                let whole = Completion { reason: FinishReason::Length, tokens: 0 };
                (self.computed == self.tokens.len()).then_some(Ok(whole))
            }
            Work::Answer(writing) => {
                if self.computed == self.tokens.len() {
                    writing.scores = Some(Scores { rows, guessed, right: 0, come: 0 });
                }
                None
            }
        }
    }

    /// Writes as far as the last step's scores, and what the guide says, reach. Waits a little for a
    /// guide that is not ready.
    pub(super) fn advance(&mut self, config: &DecoderConfig) -> Option<Outcome> {
        loop {
            match self.write(config) {
                Ok(Written::More) => {}
                Ok(Written::Waiting) => return None,
                Ok(Written::Ended(completion)) => return Some(Ok(completion)),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn write(&mut self, config: &DecoderConfig) -> Result<Written, ModelError> {
        let Work::Answer(writing) = &mut self.work else { return Ok(Written::Waiting) };
        let vocabulary = config.vocab_size;
        match writing.phase {
            Phase::Ahead => {
                let Some(ahead) = ask(&mut writing.answer.guide, |guide| guide.ahead(PATIENCE))? else {
                    return Ok(Written::Waiting);
                };
                let ahead = ahead.unwrap_or_default();
                if let Some(warning) = ahead.warning {
                    self.reply.send(Event::Warning(warning.to_string()));
                }
                let left = writing.answer.limit - writing.count;
                let fits = ahead.forced.len() <= left;
                writing.phase = Phase::Choose;
                for token in ahead.forced.into_iter().take(left) {
                    self.push(token, config);
                }
                let Work::Answer(writing) = &self.work else { return Ok(Written::Waiting) };
                let ended = |reason| Ok(Written::Ended(Completion { reason, tokens: writing.count }));
                if ahead.is_whole && fits {
                    return ended(FinishReason::Stop);
                }
                if writing.count == writing.answer.limit {
                    return ended(FinishReason::Length);
                }
                Ok(Written::More)
            }
            Phase::Choose => {
                let Some(scores) = &mut writing.scores else { return Ok(Written::Waiting) };
                if scores.come != scores.right || Some(scores.come) >= scores.rows.count(vocabulary) {
                    writing.lookup.learn(scores.guessed.len(), scores.right);
                    writing.scores = None;
                    return Ok(Written::Waiting);
                }
                let Some(next) = ask(&mut writing.answer.guide, |guide| guide.next(PATIENCE))? else {
                    return Ok(Written::Waiting);
                };
                let allowed = match next.unwrap_or(Next::Any) {
                    Next::Any => None,
                    Next::Of(allowed) => Some(allowed),
                    Next::End => {
                        return Ok(Written::Ended(Completion { reason: FinishReason::Stop, tokens: writing.count }));
                    }
                };
                let (token, is_whole) = scores.choose(vocabulary, &mut writing.answer.sampler, allowed.as_ref())?;
                writing.whole = match (is_whole, &allowed) {
                    (false, _) => 0,
                    // What a mask leaves is seldom among the highest, and masks come one after the other.
                    (true, Some(_)) => 1,
                    (true, None) => writing.whole.checked_sub(1).unwrap_or(WHOLE),
                };
                if writing.answer.ends.contains(&token) {
                    let tokens = writing.count + 1;
                    return Ok(Written::Ended(Completion { reason: FinishReason::Stop, tokens }));
                }
                if let Some(guide) = &mut writing.answer.guide {
                    guide.commit(token).map_err(refused)?;
                }
                writing.phase = Phase::Ahead;
                self.push(token, config);
                Ok(Written::More)
            }
        }
    }

    /// Adds a token to the answer.
    fn push(&mut self, id: u32, config: &DecoderConfig) {
        self.tokens.push(Token { id, regime: config.regime(self.tokens.len() + 1) });
        self.reply.send(Event::Token(id));
        let Work::Answer(writing) = &mut self.work else { return };
        writing.count += 1;
        writing.answer.sampler.note(id);
        if let Some(scores) = &mut writing.scores {
            if scores.right == scores.come && scores.guessed.get(scores.come) == Some(&id) {
                // What was guessed is read already.
                scores.right += 1;
                self.computed += 1;
            }
            scores.come += 1;
        }
    }
}

impl Scores {
    /// Chooses the next token, and says whether that took all of the row's scores.
    fn choose(
        &mut self,
        vocabulary: usize,
        sampler: &mut Sampler,
        allowed: Option<&TokenMask>,
    ) -> Result<(u32, bool), ModelError> {
        let missing = || ModelError::Numeric("a row of scores is missing".to_owned());
        let row = match &mut self.rows {
            Rows::Whole(scores) => {
                let row = self.come * vocabulary..(self.come + 1) * vocabulary;
                return Ok((sampler.choose_among(scores.get_mut(row).ok_or_else(missing)?, allowed)?, true));
            }
            Rows::Apart(rows) => rows.get_mut(self.come).ok_or_else(missing)?,
        };
        if let Row::Highest(candidates, _) = &*row
            && let Some(token) = sampler.choose_of(candidates, allowed)
        {
            return Ok((token, false));
        }
        let mut whole = std::mem::replace(row, Row::Whole(Vec::new())).into_whole()?;
        Ok((sampler.choose_among(&mut whole, allowed)?, true))
    }
}

/// How far an answer came.
enum Written {
    More,
    /// Not further before something is computed.
    Waiting,
    Ended(Completion),
}

/// Asks the guide, if there is one: `Some(None)` where there is none, `None` where it has no answer yet.
fn ask<T>(
    guide: &mut Option<Beside>,
    question: impl FnOnce(&mut Beside) -> Result<Option<T>, GrammarError>,
) -> Result<Option<Option<T>>, ModelError> {
    let Some(guide) = guide else { return Ok(Some(None)) };
    Ok(question(guide).map_err(refused)?.map(Some))
}
