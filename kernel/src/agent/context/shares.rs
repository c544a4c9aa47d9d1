//! How a window is shared out.

/// A part of the window, in the order in which they are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    System,
    Tools,
    Request,
    Pinned,
    Turns,
    Session,
    Retrieved,
    Examples,
}

impl Section {
    /// Those that can hold less than there is.
    pub const PACKED: [Self; 5] = [Self::Pinned, Self::Turns, Self::Session, Self::Retrieved, Self::Examples];
    pub const ALL: [Self; 8] = [
        Self::System,
        Self::Tools,
        Self::Request,
        Self::Pinned,
        Self::Turns,
        Self::Session,
        Self::Retrieved,
        Self::Examples,
    ];

    /// As [`ItemDetails`](codriver_memory::ItemDetails) has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Tools => "tools",
            Self::Request => "request",
            Self::Pinned => "pinned",
            Self::Turns => "turns",
            Self::Session => "session",
            Self::Retrieved => "retrieved",
            Self::Examples => "examples",
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Self::System => "the system prompt",
            Self::Tools => "the tools",
            Self::Request => "the request",
            Self::Pinned => "what is pinned",
            Self::Turns => "earlier turns",
            Self::Session => "the session's state",
            Self::Retrieved => "what was retrieved",
            Self::Examples => "examples",
        }
    }

    /// Whether a section of that name is always there, whole.
    pub fn is_fixed(name: &str) -> bool {
        [Self::System, Self::Tools, Self::Request].iter().any(|section| section.name() == name)
    }
}

/// Tokens by section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// What there is for all sections that are packed.
    pub available: usize,
}

/// However large the window: more than this costs time and money, and attention wanders.
const MOST: usize = 32_000;

impl Shares {
    /// `window` without what the answer may take and what is always there.
    pub fn new(window: usize, answer: usize, fixed: usize) -> Self {
        Self { available: window.saturating_sub(answer).saturating_sub(fixed).min(MOST) }
    }

    /// The section's share; what it leaves unused goes to the others.
    pub fn of(&self, section: Section) -> usize {
        let percent = match section {
            Section::System | Section::Tools | Section::Request => 100,
            Section::Pinned => 50,
            Section::Turns => 40,
            Section::Session => 30,
            Section::Retrieved => 25,
            Section::Examples => 10,
        };
        (self.available * percent / 100).min(self.most(section))
    }

    /// What the section takes at most, of what others leave unused too.
    pub fn most(&self, section: Section) -> usize {
        match section {
            Section::System | Section::Tools | Section::Request => usize::MAX,
            Section::Pinned => MOST,
            Section::Turns => 16_000,
            Section::Session => 8_000,
            Section::Retrieved => 6_000,
            Section::Examples => 2_000,
        }
    }
}
