//! Facts: what is known, since when, from where, and what it replaced.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::project::ProjectKey;
use crate::records::{FactId, Scope, TurnId};

/// A fact that nobody spoke of for so long counts half.
const HALF_LIFE_DAYS: f32 = 90.0;

/// What a fact is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FactKind {
    /// Something that is so.
    #[default]
    Fact,
    /// How a person wants things done.
    Preference,
}

impl FactKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Fact => "fact",
            Self::Preference => "preference",
        }
    }

    pub(crate) fn of(name: &str) -> Self {
        if name == Self::Preference.name() { Self::Preference } else { Self::Fact }
    }
}

/// Where a fact holds: a scope and, for [`Scope::Project`], which project.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FactPlace {
    pub scope: Scope,
    pub project: ProjectKey,
}

impl FactPlace {
    /// `project` counts for facts of a project only.
    pub fn new(scope: Scope, project: &ProjectKey) -> Self {
        let project = if scope == Scope::Project { project.clone() } else { ProjectKey::none() };
        Self { scope, project }
    }
}

/// Of facts from before there were projects.
impl Default for FactPlace {
    fn default() -> Self {
        Self::new(Scope::Global, &ProjectKey::none())
    }
}

/// A fact to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct NewFact {
    pub text: String,
    pub scope: Scope,
    pub kind: FactKind,
    /// Who said it: an agent, `user`, a notebook, ...
    pub source: String,
    /// The turn it was said in.
    pub turn: Option<TurnId>,
    /// 0 to 1: how much it is worth beside others.
    pub importance: f32,
    pub pinned: bool,
    /// Why it is kept, in words.
    pub reason: String,
    /// A fact that this one makes untrue, where whoever found it says so: it becomes history, unless it is pinned or
    /// holds elsewhere. What the words of two facts show is seen without.
    pub replaces: Option<FactId>,
}

impl NewFact {
    /// What a person or an agent asked to be kept.
    pub fn new(text: &str, scope: Scope, source: &str) -> Self {
        Self {
            text: text.trim().to_owned(),
            scope,
            kind: FactKind::Fact,
            source: source.to_owned(),
            turn: None,
            importance: Fact::DEFAULT_IMPORTANCE,
            pinned: false,
            reason: format!("{source} asked to remember it"),
            replaces: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    pub id: FactId,
    pub text: String,
    pub scope: Scope,
    /// Of a fact of a project.
    pub project: ProjectKey,
    pub kind: FactKind,
    /// Who said it: an agent, `user`, a notebook, ...
    pub source: String,
    /// The turn it was said in, where it was.
    pub turn: Option<TurnId>,
    /// Why it is kept, in words.
    pub reason: String,
    /// 0 to 1: how much it was worth when it was last confirmed.
    pub importance: f32,
    /// Never decays and is never cleaned up.
    pub pinned: bool,
    /// Valid from then on.
    pub created_at: DateTime<Utc>,
    /// When it was last said.
    pub confirmed_at: DateTime<Utc>,
    /// `None` while it is valid.
    pub valid_until: Option<DateTime<Utc>>,
    /// The fact that took its place.
    pub superseded_by: Option<FactId>,
}

impl Fact {
    pub const DEFAULT_IMPORTANCE: f32 = 0.7;

    /// What the fact is worth now, 0 to 1: its importance, halved each 90 days in which nobody said
    /// it again; that of a pinned fact does not decay.
    pub fn weight(&self, now: DateTime<Utc>) -> f32 {
        if self.pinned {
            return 1.0;
        }
        let days = (now - self.confirmed_at).num_seconds().max(0) as f32 / 86_400.0;
        self.importance.clamp(0.0, 1.0) * 0.5_f32.powf(days / HALF_LIFE_DAYS)
    }
}

/// What became of a fact that was to be remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct Remembered {
    /// Of the fact as it is known now.
    pub id: FactId,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Nothing like it was known.
    New,
    /// It was known already, and is confirmed.
    Known,
    /// It contradicts these, which are history now, for the reason given with each.
    Replaced(Vec<(Fact, String)>),
}

/// Everything there is to say about why a fact is remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct FactHistory {
    pub fact: Fact,
    /// What was asked in the turn it comes from, and when.
    pub turn: Option<(String, DateTime<Utc>)>,
    /// What it replaced, the newest first.
    pub replaced: Vec<Fact>,
    /// What replaced it.
    pub replaced_by: Option<Fact>,
    /// Global facts that it stands before in its project.
    pub stands_before: Vec<Fact>,
}

/// Which facts a cleanup removes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CleanupRule {
    /// Facts whose [`Fact::weight`] is below this.
    pub least_weight: f32,
    /// Replaced facts older than this.
    pub history_days: i64,
}

impl Default for CleanupRule {
    fn default() -> Self {
        Self { least_weight: 0.05, history_days: 365 }
    }
}

/// A fact a cleanup removes, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleaned {
    pub fact: Fact,
    pub reason: String,
}
