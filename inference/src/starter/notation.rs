//! The starter's call notation: a small vocabulary of keywords and references.
//!
//! The model never spells a name. The prompt marks every table, column, value, number,
//! file, branch and word with a *reference* token (`<table1>`, `<number2>`, ...), and a call
//! is a sequence of keywords and references: `<sql> <table1> <by> <text2> <sum> <number1> <end>`.
//! Names therefore reach a tool exactly as they exist, whatever their spelling.

/// A token's index in the starter's vocabulary.
pub type Token = u32;

macro_rules! keywords {
    ($($name:ident),* $(,)?) => {
        /// Fixed words of the notation. Their discriminant is their token.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Keyword { $($name),* }

        impl Keyword {
            pub const ALL: &'static [Keyword] = &[$(Keyword::$name),*];
        }
    };
}

keywords! {
    // Structure.
    Padding, Unknown, Tables, Error, User, Call, End, Result, Failed, Answer, Rows,
    // Tools.
    Sql, DescribeTable, GitStatus, GitLog, GitDiff, ListFiles, ReadFile, SearchFiles, RunRust,
    Calculate, Remember, Recall, ExplainError, SearchDocs, Decline,
    // Queries: what is selected.
    All, Columns, Distinct, Count, CountDistinct, Sum, Average, Minimum, Maximum, By, Month, Year,
    // Conditions.
    Where, Is, IsNot, Above, Below, AtLeast, AtMost, Between, Contains, Missing, Present, During, After, Since, Before,
    // Order and limit.
    Ascending, Descending, Limit, One, Few,
    // Git and files.
    Staged, Previous, First,
    // Arithmetic.
    Plus, Minus, Times, Over, Power, PercentOf, SquareRoot, Square,
    // More of queries.
    And, Or, Having, True, False, Day, Week, Quarter, StartsWith, EndsWith,
    // More of arithmetic: more and less by a percentage, what is left over, one number as a
    // percentage of another, the way from one to another in percent.
    Increase, Decrease, Remainder, Share, Change,
}

impl Keyword {
    pub const fn token(self) -> Token {
        self as Token
    }
}

/// What a reference stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Table,
    /// Columns, by what can be done with them.
    Number,
    Text,
    Date,
    /// A value that exists in a text column.
    Value,
    /// A number in the request.
    Constant,
    /// A quoted or otherwise literal string in the request.
    Literal,
    /// A day, month, quarter or year in the request.
    Period,
    File,
    Folder,
    Glob,
    Branch,
    /// A word of the request, to mark where a span starts and ends.
    Word,
    /// An arithmetic expression in the request.
    Expression,
    /// Source code in the request.
    Code,
    /// A cell or line of a tool's result.
    Cell,
    /// A column that is true or false.
    Flag,
}

impl Kind {
    pub const ALL: &'static [(Kind, u32)] = &[
        (Kind::Table, 6),
        (Kind::Number, 24),
        (Kind::Text, 24),
        (Kind::Date, 10),
        (Kind::Value, 10),
        (Kind::Constant, 8),
        (Kind::Literal, 5),
        (Kind::Period, 6),
        (Kind::File, 10),
        (Kind::Folder, 6),
        (Kind::Glob, 4),
        (Kind::Branch, 6),
        (Kind::Word, 48),
        (Kind::Expression, 3),
        (Kind::Code, 3),
        (Kind::Cell, 24),
        (Kind::Flag, 8),
    ];

    /// How many references of this kind a prompt can hold.
    pub fn capacity(self) -> u32 {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or(0, |(_, capacity)| *capacity)
    }

    /// The token of the reference numbered `index` (from 0).
    pub fn token(self, index: u32) -> Token {
        let mut base = Keyword::ALL.len() as Token;
        for (kind, capacity) in Self::ALL {
            if *kind == self {
                break;
            }
            base += capacity;
        }
        base + index.min(self.capacity().saturating_sub(1))
    }
}

/// Tokens below this are keywords and references; above are word pieces.
pub fn first_piece() -> Token {
    Keyword::ALL.len() as Token + Kind::ALL.iter().map(|(_, capacity)| capacity).sum::<u32>()
}

/// The kind of a reference token, `None` for keywords and word pieces.
pub fn kind_of(token: Token) -> Option<Kind> {
    let mut base = Keyword::ALL.len() as Token;
    for (kind, capacity) in Kind::ALL {
        if token >= base && token < base + capacity {
            return Some(*kind);
        }
        base += capacity;
    }
    None
}

/// How keywords and references are spelled in `tokenizer.json`, in token order.
pub fn special_names() -> Vec<String> {
    let keywords = Keyword::ALL.iter().map(|keyword| format!("<{}>", format!("{keyword:?}").to_lowercase()));
    let references = Kind::ALL.iter().flat_map(|(kind, capacity)| {
        (1..=*capacity).map(move |index| format!("<{}{index}>", format!("{kind:?}").to_lowercase()))
    });
    keywords.chain(references).collect()
}
