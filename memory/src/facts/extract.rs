//! Facts that a turn tells: who finds them, and the rules that find them where no model does.

use std::sync::LazyLock;

use regex::Regex;

use super::reach::{reach, says_a_name, says_everywhere};
use super::rules::{AN_ORDER, RULES};
use super::statement::Statement;
use super::wording::without_opening;
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

/// Where somebody corrects, what they speak of may be named without an article.
const CORRECTED: &str = "you corrected it";

/// What holds for the moment is no fact.
const PASSING: [&str; 16] = [
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
    "used to ",
];

struct Shapes {
    corrected: Regex,
    convention: Regex,
    task: Regex,
    joint: Regex,
    condition: Regex,
}

static SHAPES: LazyLock<Option<Shapes>> = LazyLock::new(|| {
    let shape = |pattern: &str| Regex::new(&format!("(?i){pattern}")).ok();
    Some(Shapes {
        corrected: shape(
            r"^(?P<fact>(?P<subject>[\p{L}\d_][\w.'’-]*(?: [\p{L}\d_][\w.'’-]*){0,4}?) (?:is|are|isn't|aren't|doesn't|starts?|begins?|ends?|takes?|costs?|lives?|runs?|has|have|moved|migrated|switched|changed) .{1,})$",
        )?,
        convention: shape(
            r"\b(?:units?|metric|imperial|si|currency|euros?|dollars|pounds|francs|yen|decimals?|decimal places|significant (?:digits|figures)|thousands|millions|percent|notation|format|iso(?: |-)?8601|24-hour|utc|time ?zone|separators?|indentation|tabs|spaces|snake_case|camelcase|pascalcase|type hints|docstrings|quotes|english|german|french|spanish|italian|portuguese|dutch|polish|chinese|japanese|short sentences|bullet points|plain language|present tense|american spelling|british spelling|style)\b",
        )?,
        // What is to be done once, with what is at hand.
        task: shape(
            r"\b(?:this|that|these|those|it|them|here|above|below|result|plot|chart|graph|query|function|script|cell|by|then|into|first|next|today|when|if)\b",
        )?,
        joint: shape(r",? (?:and|but|while|whereas)(?: also| that)? |, ")?,
        condition: shape(r"\b(?:if|when|whenever|unless|until|once|because|in case|provided)\b")?,
    })
});

impl FactExtractor for RuleExtractor {
    fn name(&self) -> &str {
        "rules"
    }

    fn extract(&self, turn: &NewTurn) -> Result<Vec<ExtractedFact>, String> {
        let sentences = sentences(&turn.request);
        Ok(sentences.iter().flat_map(|sentence| clauses(sentence)).filter_map(fact).collect())
    }
}

/// A sentence that tells several facts, in parts: what one part says may hold further than what another does.
fn clauses(sentence: &str) -> Vec<&str> {
    const BEGINNINGS: [&str; 9] = ["our ", "the ", "my ", "i ", "we ", "all ", "every ", "i'm ", "i’m "];
    let Some(shapes) = SHAPES.as_ref() else { return vec![sentence] };
    for joint in shapes.joint.find_iter(sentence) {
        let (Some(before), Some(after)) = (sentence.get(..joint.start()), sentence.get(joint.end()..)) else {
            continue;
        };
        // What holds on a condition does not hold without it.
        if shapes.condition.is_match(before) {
            break;
        }
        let lower = after.to_lowercase();
        if BEGINNINGS.iter().any(|begin| lower.starts_with(begin)) && fact(after).is_some() {
            return [clauses(before), clauses(after)].concat();
        }
    }
    vec![sentence]
}

fn fact(sentence: &str) -> Option<ExtractedFact> {
    let told = without_opening(sentence);
    let found = RULES.iter().find_map(|rule| Some((rule, rule.shape.captures(told)?.name("fact")?.as_str().trim())));
    let (told, kind, importance, says) = match found {
        Some((rule, told)) => {
            if (rule.definite && !is_lasting(told)) || (rule.says == AN_ORDER && !is_convention(told)) || asks(told) {
                return None;
            }
            (told, rule.kind, rule.importance, rule.says)
        }
        None if told.len() < sentence.len() => (correction(told)?, FactKind::Fact, 0.5, CORRECTED),
        None => return None,
    };
    if told.to_lowercase().starts_with("call me ") && !says_a_name(told) {
        return None;
    }
    Some(ExtractedFact {
        text: sentence_case(told),
        kind,
        scope: if says_everywhere(sentence) { reach(sentence) } else { reach(told) },
        importance,
        reason: says.to_owned(),
        replaces: None,
    })
}

/// Whether it says something definite, and not only of the moment.
fn is_lasting(told: &str) -> bool {
    let lower = told.to_lowercase();
    !PASSING.iter().any(|phrase| lower.contains(phrase))
        && Statement::read(told).is_some_and(|statement| statement.is_definite())
}

/// `remember who the client is` tells nothing.
fn asks(told: &str) -> bool {
    let first = told.split_whitespace().next().unwrap_or_default().to_lowercase();
    ["who", "what", "when", "where", "why", "how", "which", "whether", "whose", "this", "it", "me"]
        .contains(&first.as_str())
}

fn is_convention(told: &str) -> bool {
    let order = |shapes: &Shapes| {
        // `the metric system` is one, `the total` is something at hand.
        let at_hand = |(at, the): (usize, &str)| {
            let named = told.get(at + the.len()..).and_then(|rest| shapes.convention.find(rest));
            named.is_none_or(|found| found.start() > 0)
        };
        shapes.convention.is_match(told) && !shapes.task.is_match(told) && !told.match_indices(" the ").any(at_hand)
    };
    told.split_whitespace().count() <= 10 && SHAPES.as_ref().is_some_and(order)
}

/// What somebody says who sets something right: `no, staging runs on db9`.
fn correction(told: &str) -> Option<&str> {
    const POINTERS: [&str; 13] =
        ["it", "this", "that", "these", "those", "they", "he", "she", "there", "here", "you", "what", "which"];
    let found = SHAPES.as_ref()?.corrected.captures(told)?;
    let subject = found.name("subject")?.as_str().to_lowercase();
    let points = subject.split_whitespace().next().is_none_or(|first| POINTERS.contains(&first));
    let told = found.name("fact")?.as_str();
    (!points && is_lasting(told)).then_some(told)
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

    fn texts(request: &str) -> Vec<String> {
        found(request).into_iter().map(|(text, ..)| text).collect()
    }

    #[test]
    fn what_sets_something_right_is_found() {
        for (request, text) in [
            ("No, the staging database is on host db9.", "The staging database is on host db9"),
            ("no the staging database is on host db9", "The staging database is on host db9"),
            ("Nope - our deadline is Monday", "Our deadline is Monday"),
            ("Sorry, the port is 8081", "The port is 8081"),
            ("Correction: our currency is dollars", "Our currency is dollars"),
            ("actually the fiscal year starts in January now", "The fiscal year starts in January now"),
            ("It turns out that the timeout is 60 s", "The timeout is 60 s"),
            ("Oops, I meant the budget is 5000 euro", "The budget is 5000 euro"),
            ("No, staging is on host db9", "Staging is on host db9"),
            ("Actually, invoice numbers start at 1000", "Invoice numbers start at 1000"),
            ("We moved the archive from db7 to db9", "We moved the archive from db7 to db9"),
            ("The archive has moved to host db9", "The archive has moved to host db9"),
            (
                "The fiscal year doesn't start in July but in January",
                "The fiscal year doesn't start in July but in January",
            ),
        ] {
            assert_eq!(texts(request), [text], "{request}");
        }
    }

    #[test]
    fn who_somebody_is_and_how_things_are_to_be_done_is_found() {
        for request in [
            "I live in Berlin",
            "I'm based in New York",
            "I am from Lagos",
            "I work at Initech",
            "I'm working for the Nordic team",
            "Use metric units",
            "Write dates as ISO 8601",
            "Answer in English",
            "Use two decimal places for amounts",
            "Format numbers in thousands",
            "We now use Snowflake for analytics",
        ] {
            assert_eq!(texts(request), [request], "{request}");
        }
        assert_eq!(texts("Please use metric units"), ["Use metric units"]);
        assert_eq!(texts("Ok, please answer in German"), ["Answer in German"]);
    }

    #[test]
    fn each_part_of_a_sentence_holds_as_far_as_it_says() {
        let told = |request: &str| found(request).into_iter().map(|(text, _, scope)| (text, scope)).collect::<Vec<_>>();
        let (project, global) = (Scope::Project, Scope::Global);
        for (request, parts) in [
            (
                "My name is Ada and our fiscal year starts in October.",
                vec![("My name is Ada", global), ("Our fiscal year starts in October", project)],
            ),
            (
                "I prefer short answers, but the deadline is Friday",
                vec![("I prefer short answers", global), ("The deadline is Friday", project)],
            ),
            (
                "Remember that the currency is euro and the fiscal year starts in May, and I live in Berlin",
                vec![
                    ("The currency is euro", project),
                    ("The fiscal year starts in May", project),
                    ("I live in Berlin", project),
                ],
            ),
            (
                "My name is Ada and I run the Initech migration",
                vec![("My name is Ada and I run the Initech migration", project)],
            ),
            (
                "Remember that if the client is ACME, the discount is 10 %",
                vec![("If the client is ACME, the discount is 10 %", project)],
            ),
            ("Remember that salt and pepper are spices", vec![("Salt and pepper are spices", project)]),
            (
                "Remember that in all projects the currency is euro",
                vec![("In all projects the currency is euro", global)],
            ),
            ("Remember for all projects that the currency is euro", vec![("The currency is euro", global)]),
            ("Remember everywhere: the currency is euro", vec![("The currency is euro", global)]),
            ("I prefer ACME's invoices in short tables", vec![("I prefer ACME's invoices in short tables", project)]),
        ] {
            let parts: Vec<(String, Scope)> = parts.into_iter().map(|(text, scope)| (text.to_owned(), scope)).collect();
            assert_eq!(told(request), parts, "{request}");
        }
    }

    #[test]
    fn questions_commands_code_and_passing_states_are_no_facts() {
        for request in [
            "Which month was best?",
            "Do you remember that the year starts in April?",
            "Remember who the client is.",
            "Please remember what I said about it",
            "plot sales by region",
            "the result is wrong, try again",
            "the table is empty today",
            "```\n# remember that this is code\n```",
            "> remember that this is quoted",
            "The weather is nice",
            "fix the error: the port is 8080 in the error above",
            "Use the orders table",
            "Use a bar chart in thousands",
            "Write the total in euros",
            "Please format this in thousands",
            "Answer the question in English, then plot it",
            "No, it is on db9",
            "No, that is wrong",
            "No data is lost",
            "Actually, never mind",
            "Call me when the job is done",
            "The fiscal year used to start in July",
        ] {
            assert_eq!(found(request), [], "{request}");
        }
    }
}
