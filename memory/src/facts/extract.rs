//! Facts that a turn tells: who finds them, and the rules that find them where no model does.

use std::sync::LazyLock;

use regex::Regex;

use super::statement::Statement;
use crate::records::{FactId, FactKind, NewTurn, Scope};

/// Finds what is worth keeping in a turn. The rules here are one; a model can be another.
pub trait FactExtractor: Send + Sync {
    /// What it is called where people ask why a fact is known.
    fn name(&self) -> &str;

    /// The facts that the person told in the turn. What tools or pages said is not to be trusted with it.
    fn extract(&self, turn: &NewTurn) -> Result<Vec<ExtractedFact>, String>;
}

/// A fact found in a turn.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtractedFact {
    /// A sentence that stands on its own.
    pub text: String,
    pub kind: FactKind,
    pub scope: Scope,
    /// 0 to 1.
    pub importance: f32,
    /// By which rule, or from which words.
    pub reason: String,
    /// A known fact that it makes untrue.
    pub replaces: Option<FactId>,
}

/// Reads what people say in so many words: `remember that`, `I prefer`, `our ... is`, `from now on`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RuleExtractor;

/// Longer sentences tell a story, not a fact.
const LONGEST: usize = 240;

struct Rule {
    shape: Regex,
    kind: FactKind,
    importance: f32,
    says: &'static str,
    /// Only where the sentence gives a property or a value of some kind.
    definite: bool,
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rule = |shape: &str, kind, importance, says, definite| {
        let shape = Regex::new(&format!("(?i)^{shape}$")).ok()?;
        Some(Rule { shape, kind, importance, says, definite })
    };
    use FactKind::{Fact, Preference};
    let rules = [
        rule(
            r"(?:please |and |also )*(?:remember|note|keep in mind|don'?t forget|do not forget)(?: that|:|,)? (?P<fact>.{6,})",
            Fact,
            0.9,
            "you asked to remember it",
            false,
        ),
        rule(
            r"(?:from now on|in (?:the )?future|going forward)[,:]? (?P<fact>.{6,})",
            Preference,
            0.8,
            "you said how it is to be from now on",
            false,
        ),
        rule(
            r"(?:please )?(?P<fact>(?:always|never) .{6,})",
            Preference,
            0.8,
            "you said what is to be done always, or never",
            false,
        ),
        rule(
            r"(?P<fact>(?:i|we) (?:always |usually |really |much )?(?:prefer|like|dislike|hate) .{3,})",
            Preference,
            0.8,
            "you said what you prefer",
            false,
        ),
        rule(r"(?P<fact>(?:my name is|call me|i am called) .{2,60})", Preference, 0.9, "you said your name", false),
        rule(r"(?P<fact>i (?:work|am working) (?:at|for|as|in) .{2,})", Fact, 0.7, "you said where you work", false),
        rule(
            r"(?P<fact>(?:we|our team) (?:always )?use .{3,} (?:for|as) .{3,})",
            Preference,
            0.7,
            "you said what you use for it",
            false,
        ),
        rule(
            r"(?:by the way, |fyi:? |note: |actually,? )?(?P<fact>(?:the|our|my|all|every) .{2,60}? (?:is|are|starts?|begins?|ends?|takes?|costs?|lives?|runs?|has|have) .{1,})",
            Fact,
            0.5,
            "you said what it is",
            true,
        ),
    ];
    rules.into_iter().flatten().collect()
});

/// What holds for the moment is no fact.
const PASSING: [&str; 15] = [
    "today",
    "right now",
    "at the moment",
    "this time",
    "just now",
    "yesterday",
    "wrong",
    "broken",
    "empty",
    "missing",
    "failing",
    "result",
    "error",
    "above",
    "below",
];

const EVERYWHERE: [&str; 6] =
    ["in all projects", "in every project", "in all notebooks", "in every notebook", "everywhere", "in general"];
const HERE: [&str; 5] =
    ["in this project", "in this repository", "in this repo", "in this notebook", "for this project"];

impl FactExtractor for RuleExtractor {
    fn name(&self) -> &str {
        "rules"
    }

    fn extract(&self, turn: &NewTurn) -> Result<Vec<ExtractedFact>, String> {
        Ok(sentences(&turn.request).iter().filter_map(|sentence| fact(sentence)).collect())
    }
}

fn fact(sentence: &str) -> Option<ExtractedFact> {
    let (rule, told) =
        RULES.iter().find_map(|rule| Some((rule, rule.shape.captures(sentence)?.name("fact")?.as_str().trim())))?;
    let lower = told.to_lowercase();
    let contains = |phrases: &[&str]| phrases.iter().any(|phrase| lower.contains(phrase));
    if rule.definite && (contains(&PASSING) || !Statement::read(told).is_some_and(|statement| statement.is_definite()))
    {
        return None;
    }
    let about_a_person = ["i ", "my ", "call me "].iter().any(|begin| lower.starts_with(begin));
    let everywhere = contains(&EVERYWHERE) || (rule.kind == FactKind::Preference && about_a_person && !contains(&HERE));
    Some(ExtractedFact {
        text: sentence_case(told),
        kind: rule.kind,
        scope: if everywhere { Scope::Global } else { Scope::Project },
        importance: rule.importance,
        reason: rule.says.to_owned(),
        replaces: None,
    })
}

/// Sentences that state something: without code, quotations, questions and what is longer than a fact.
pub fn sentences(text: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with("```") {
            in_code = !in_code;
            continue;
        }
        if in_code || line.starts_with('>') {
            continue;
        }
        let line = line.trim_start_matches(['-', '*', '#', ' ']);
        let mut begin = 0;
        let ends = line
            .match_indices(['.', '!', '?', ';'])
            .filter(|(end, _)| line.get(end + 1..).is_none_or(|rest| rest.is_empty() || rest.starts_with(' ')));
        for end in ends.map(|(end, _)| end + 1).chain([line.len()]) {
            let sentence = line.get(begin..end).unwrap_or_default().trim();
            begin = end;
            if !sentence.is_empty() && sentence.len() <= LONGEST && !sentence.ends_with('?') {
                sentences.push(sentence.trim_end_matches(['.', '!', ';']).to_owned());
            }
        }
    }
    sentences
}

fn sentence_case(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{FactExtractor, RuleExtractor};
    use crate::records::{ConversationId, FactKind, NewTurn, Scope};

    fn found(request: &str) -> Vec<(String, FactKind, Scope)> {
        let turn = NewTurn {
            conversation: ConversationId::from("c"),
            request: request.to_owned(),
            answer: "Remember that answers tell nothing. I prefer to be ignored.".to_owned(),
            model: String::new(),
            messages: Vec::new(),
            context: Vec::new(),
            prompt_tokens: 0,
            completion_tokens: 0,
            milliseconds: 0,
            prompt: String::new(),
        };
        RuleExtractor.extract(&turn).unwrap().into_iter().map(|fact| (fact.text, fact.kind, fact.scope)).collect()
    }

    #[test]
    fn what_a_person_says_of_the_project_and_of_themselves_is_found() {
        use FactKind::{Fact, Preference};
        for (request, text, kind, scope) in [
            (
                "Please remember that the fiscal year starts in April.",
                "The fiscal year starts in April",
                Fact,
                Scope::Project,
            ),
            ("I prefer short answers", "I prefer short answers", Preference, Scope::Global),
            (
                "I prefer tabs for indentation in this project.",
                "I prefer tabs for indentation in this project",
                Preference,
                Scope::Project,
            ),
            ("call me Ada", "Call me Ada", Preference, Scope::Global),
            ("From now on, give amounts in thousands", "Give amounts in thousands", Preference, Scope::Project),
            ("never delete files without asking", "Never delete files without asking", Preference, Scope::Project),
            ("We use DuckDB for analytics.", "We use DuckDB for analytics", Preference, Scope::Project),
            (
                "How much was sold? By the way, our currency is Swiss francs.",
                "Our currency is Swiss francs",
                Fact,
                Scope::Project,
            ),
        ] {
            assert_eq!(found(request), [(text.to_owned(), kind, scope)], "{request}");
        }
    }

    #[test]
    fn questions_commands_code_and_passing_states_are_no_facts() {
        for request in [
            "Which month was best?",
            "Do you remember that the year starts in April?",
            "plot sales by region",
            "the result is wrong, try again",
            "the table is empty today",
            "```\n# remember that this is code\n```",
            "> remember that this is quoted",
            "The weather is nice",
            "fix the error: the port is 8080 in the error above",
        ] {
            assert_eq!(found(request), [], "{request}");
        }
    }
}
