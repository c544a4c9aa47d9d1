//! Everything that changes durable memory, as values: the database applies them, a journal
//! keeps them as lines until a database can.

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::project::{Project, ProjectKey};
use crate::records::{
    ConversationId, Fact, FactId, FactKind, FactPlace, ModelCall, NewChunk, NewDocument, NewToolRun, NewTurn, Sent,
    ToolRunId, TurnId,
};

/// One change. Applying it twice is the same as applying it once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    ConversationStarted {
        id: ConversationId,
        agent: String,
        notebook: String,
        #[serde(default)]
        project: ProjectKey,
    },
    ConversationReset {
        conversation: ConversationId,
    },
    /// So that people can be told which folder a project is.
    ProjectSeen {
        key: ProjectKey,
        root: String,
    },
    TurnAppended {
        id: TurnId,
        turn: NewTurn,
    },
    ToolRunStarted {
        id: ToolRunId,
        run: NewToolRun,
    },
    ToolRunFinished {
        id: ToolRunId,
        status: String,
        result: String,
        milliseconds: u64,
    },
    FactRemembered {
        id: FactId,
        text: String,
        source: String,
        #[serde(default)]
        details: FactDetails,
    },
    /// With all that it replaced.
    FactForgotten {
        #[serde(flatten)]
        fact: FactKey,
    },
    FactConfirmed {
        #[serde(flatten)]
        fact: FactKey,
    },
    FactPinned {
        #[serde(flatten)]
        fact: FactKey,
        pinned: bool,
    },
    ChunksReplaced {
        document: String,
        chunks: Vec<NewChunk>,
        #[serde(default)]
        place: FactPlace,
    },
    /// Replaces the note of that name; those before stay on record.
    NoteWritten {
        id: String,
        conversation: ConversationId,
        name: String,
        value: String,
    },
    Sent {
        id: String,
        sent: Sent,
    },
    ModelCalled {
        id: String,
        call: ModelCall,
    },
    DocumentsKept {
        documents: Vec<NewDocument>,
        place: FactPlace,
    },
    DocumentsRemoved {
        origins: Vec<String>,
        place: FactPlace,
    },
}

/// A fact that holds now. By content, since another process may know it by another identifier.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct FactKey {
    pub fingerprint: String,
    #[serde(default)]
    pub place: FactPlace,
}

impl FactKey {
    pub fn new(text: &str, place: FactPlace) -> Self {
        Self { fingerprint: fingerprint(text), place }
    }
}

/// What is known of a fact beside its text. The defaults are those of facts from before all this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct FactDetails {
    pub place: FactPlace,
    pub kind: FactKind,
    pub importance: f32,
    pub pinned: bool,
    pub turn: Option<TurnId>,
    pub reason: String,
    /// What it takes the place of.
    pub supersedes: Vec<FactKey>,
    /// When it was last said, in microseconds since 1970, if that was later than when it was first.
    pub confirmed_at: Option<i64>,
}

impl Default for FactDetails {
    fn default() -> Self {
        Self {
            place: FactPlace::default(),
            kind: FactKind::Fact,
            importance: Fact::DEFAULT_IMPORTANCE,
            pinned: false,
            turn: None,
            reason: String::new(),
            supersedes: Vec::new(),
            confirmed_at: None,
        }
    }
}

impl FactDetails {
    pub fn of(fact: &Fact) -> Self {
        Self {
            place: FactPlace::new(fact.scope, &fact.project),
            kind: fact.kind,
            importance: fact.importance,
            pinned: fact.pinned,
            turn: fact.turn.clone(),
            reason: fact.reason.clone(),
            supersedes: Vec::new(),
            confirmed_at: Some(fact.confirmed_at.timestamp_micros()),
        }
    }
}

impl Event {
    /// Whether the facts that hold are others after it.
    pub fn changes_facts(&self) -> bool {
        matches!(
            self,
            Self::FactRemembered { .. }
                | Self::FactForgotten { .. }
                | Self::FactConfirmed { .. }
                | Self::FactPinned { .. }
        )
    }

    /// The row with an identifier that it makes, by table; facts are known by what they say.
    pub fn makes(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::ConversationStarted { id, .. } => Some(("conversations", id.as_str())),
            Self::TurnAppended { id, .. } => Some(("turns", id.as_str())),
            Self::ToolRunStarted { id, .. } => Some(("tool_runs", id.as_str())),
            Self::NoteWritten { id, .. } => Some(("notes", id)),
            Self::Sent { id, .. } => Some(("sent", id)),
            Self::ModelCalled { id, .. } => Some(("model_calls", id)),
            _ => None,
        }
    }

    pub fn project_seen(project: &Project) -> Self {
        Self::ProjectSeen { key: project.key.clone(), root: project.root.display().to_string() }
    }
}

/// An event and when it happened, in microseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub at: i64,
    pub event: Event,
}

impl Entry {
    /// The fact as it is kept, where this is one that takes no other's place.
    pub fn new_fact(&self) -> Option<Fact> {
        let Event::FactRemembered { id, text, source, details } = &self.event else { return None };
        if !details.supersedes.is_empty() {
            return None;
        }
        let time = |microseconds| DateTime::from_timestamp_micros(microseconds).unwrap_or_default();
        Some(Fact {
            id: id.clone(),
            text: text.clone(),
            scope: details.place.scope,
            project: details.place.project.clone(),
            kind: details.kind,
            source: source.clone(),
            turn: details.turn.clone(),
            reason: details.reason.clone(),
            importance: details.importance,
            pinned: details.pinned,
            created_at: time(self.at),
            confirmed_at: time(details.confirmed_at.unwrap_or(self.at)),
            valid_until: None,
            superseded_by: None,
        })
    }

    pub fn now(event: Event) -> Self {
        Self { at: chrono::Utc::now().timestamp_micros(), event }
    }
}

/// Equal for texts that say the same but for case, spacing and a final full stop.
pub(crate) fn fingerprint(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    digest(words.join(" ").trim_end_matches(['.', '!']))
}

/// Names a text by its content; what vectors are kept by.
pub(crate) fn digest(text: &str) -> String {
    let bytes = Sha256::digest(text.as_bytes());
    bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
