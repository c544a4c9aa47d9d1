//! What a fact says of what, so that two facts can be compared: rules on its words, and rather none than a wrong one.

use std::sync::LazyLock;

use regex::Regex;

use super::quantity::Value;
use super::wording::{plain, set_right, subject};

/// A fact that says something of one thing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statement {
    /// What it speaks of, in small letters, without articles.
    subject: String,
    /// How the value belongs to it: `is`, `start in`, ...
    relation: String,
    value: Value,
    /// As it was written, for people.
    said: String,
    negated: bool,
    /// Such a thing has one value only, whatever kind of value it is.
    single: bool,
    /// The subject may be a person or another name, of whom many things are true.
    named_subject: bool,
}

/// How two facts stand to each other.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Relation {
    /// They say the same in other words or units.
    Same,
    /// Both cannot be right; why, in words.
    Contradiction(String),
    Unrelated,
}

/// Compares a new fact with an old one. Only those of the same [`Statement::topic`] are related.
pub(super) fn compare(new: &Statement, old: &Statement) -> Relation {
    if new.topic() != old.topic() && !is_move(new, old) {
        return Relation::Unrelated;
    }
    let subject = &new.subject;
    match (new.value == old.value, new.negated == old.negated) {
        (true, true) => Relation::Same,
        (true, false) => {
            Relation::Contradiction(format!("one says of \"{subject}\" what the other denies: {}", new.said))
        }
        (false, true) if !new.negated && new.excludes(old) => Relation::Contradiction(format!(
            "both say what holds for \"{subject}\": before {}, now {}",
            old.said, new.said
        )),
        _ => Relation::Unrelated,
    }
}

/// Whether one of them says that what the other places is elsewhere now.
fn is_move(new: &Statement, old: &Statement) -> bool {
    let moves = [&new.relation, &old.relation].iter().any(|relation| *relation == MOVED);
    moves && new.place().is_some() && new.place() == old.place() && !new.negated && !old.negated
}

/// Nouns of what has one value at a time, and that no adjective is said of.
const PROPERTIES: [&str; 41] = [
    "name",
    "deadline",
    "port",
    "hostname",
    "currency",
    "language",
    "version",
    "owner",
    "branch",
    "timezone",
    "time zone",
    "format",
    "path",
    "directory",
    "url",
    "address",
    "e-mail",
    "email",
    "budget",
    "limit",
    "timeout",
    "encoding",
    "editor",
    "theme",
    "manager",
    "maintainer",
    "license",
    "licence",
    "separator",
    "delimiter",
    "indentation",
    "birthday",
    "job",
    "role",
    "employer",
    "threshold",
    "colour",
    "color",
    "price",
    "goal",
    "default",
];

/// Something is elsewhere, or another thing, from then on: `we moved the archive to db9`.
const MOVED: &str = "move to";

/// What ends when something moves, or changes.
const PLACES: [&str; 26] = [
    "is",
    "is on",
    "is in",
    "is at",
    "is due",
    "is due on",
    "is due in",
    "is stored in",
    "is located in",
    "is based in",
    "is kept in",
    "is hosted on",
    "is deployed to",
    "start in",
    "start on",
    "start at",
    "end in",
    "end on",
    "end at",
    "run on",
    "run in",
    "live on",
    "live in",
    "happen on",
    "happen in",
    MOVED,
];

struct Shapes {
    over: Regex,
    choice: Regex,
    name: Regex,
    equals: Regex,
    moved: Regex,
    is: Regex,
    verb: Regex,
}

static SHAPES: LazyLock<Option<Shapes>> = LazyLock::new(|| {
    let shape = |pattern: &str| Regex::new(pattern).ok();
    Some(Shapes {
        over: shape(
            r"^(?i:i|we|the user|the team)(?: do)?(?P<not> not)? (?i:prefers?|likes?|wants?) (?P<value>.+?) (?i:over|to|rather than|instead of|more than) (?P<other>.+)$",
        )?,
        choice: shape(
            r"^(?:(?i:i|we|the user|the team) )?(?i:do )?(?P<not>(?i:not |never ))?(?i:prefers?|uses?|using|likes?|wants?|write|stick to) (?P<value>.+) (?i:for|as|when) (?P<subject>.+)$",
        )?,
        name: shape(r"^(?i:my name is|call me|i am called) (?P<value>.+)$")?,
        equals: shape(
            r"^(?P<subject>[^=:]{1,60}?)\s*(?::=|==?|:)\s+(?P<value>.+)$|^(?P<subject2>[\w.-]{1,60})=(?P<value2>\S+)$",
        )?,
        moved: shape(
            r"^(?:(?i:we|i|they|the team) (?:have |had )?(?:just )?(?:moved|migrated|switched|changed|relocated) (?P<subject>.+?)|(?P<subject2>.+?) (?:has |have |was |were )?(?:just )?(?:been )?(?:moved|migrated|switched|changed|relocated))(?: (?:over|away))?(?: from .+?)? to (?P<value>.+)$",
        )?,
        is: shape(
            r"^(?P<subject>.+?) (?i:am|is|are|was|were|will be|equals?|means?)(?: (?P<not>not|no longer|never))?(?: (?i:now|currently|always|still))?(?: (?P<how>called|named|set to|due on|due in|due|in|on|at|from|with|written in|stored in|located in|based in|kept in|hosted on|deployed to|owned by|run by|maintained by|led by|managed by))? (?P<value>.+)$",
        )?,
        verb: shape(
            r"^(?P<subject>.+?) (?:(?i:does|do|did|will) (?P<not>not )?)?(?P<verb>start|begin|end|finish|run|live|reside|work|open|close|expire|happen|default|belong|point|listen|deploy|ship|cost|weigh|take|last|need|require|contain|have|has|store|use)(?:s|es)? (?:(?P<how>in|on|at|to|from|until|under) )?(?P<value>.+)$",
        )?,
    })
});

impl Statement {
    pub fn read(text: &str) -> Option<Self> {
        let shapes = SHAPES.as_ref()?;
        let text = plain(text);
        if text.split_whitespace().count() > 30 || text.contains('\n') {
            return None;
        }
        if let Some(found) = shapes.name.captures(&text) {
            return Some(Self::new("my name", "is", found.name("value")?.as_str(), false).single());
        }
        if let Some(found) = shapes.over.captures(&text) {
            let (value, other) = (subject(found.name("value")?.as_str()), subject(found.name("other")?.as_str()));
            let both = if value < other { format!("{value} or {other}") } else { format!("{other} or {value}") };
            return Some(Self::new(&both, "choice", &value, found.name("not").is_some()).single());
        }
        if let Some(found) = shapes.choice.captures(&text) {
            let about = subject(found.name("subject")?.as_str());
            return Some(
                Self::new(&about, "choice", found.name("value")?.as_str(), found.name("not").is_some()).single(),
            );
        }
        if let Some(found) = shapes.moved.captures(&text) {
            let about = found.name("subject").or_else(|| found.name("subject2"))?.as_str();
            return Some(Self::new(about, MOVED, found.name("value")?.as_str(), false));
        }
        if let Some(found) = shapes.is.captures(&text) {
            let about = found.name("subject")?.as_str();
            let how = found.name("how").map(|how| how.as_str().to_lowercase());
            let named = matches!(how.as_deref(), Some("called" | "named" | "set to"));
            let relation = match how.as_deref() {
                None | Some("set to") => "is".to_owned(),
                Some("named") => "is called".to_owned(),
                Some(how) => format!("is {how}"),
            };
            let (value, negated) =
                set_right(found.name("value")?.as_str(), how.as_deref(), found.name("not").is_some());
            let statement = Self::new(about, &relation, value, negated);
            return Some(if named || is_property(about) { statement.single() } else { statement });
        }
        if let Some(found) = shapes.verb.captures(&text) {
            let verb = match found.name("verb")?.as_str() {
                "begin" => "start",
                "finish" => "end",
                "has" => "have",
                verb => verb,
            };
            let how = found.name("how").map_or("", |how| how.as_str());
            let (value, negated) = set_right(found.name("value")?.as_str(), Some(how), found.name("not").is_some());
            return Some(Self::new(
                found.name("subject")?.as_str(),
                format!("{verb} {how}").trim_end(),
                value,
                negated,
            ));
        }
        let found = shapes.equals.captures(&text)?;
        let about = found.name("subject").or_else(|| found.name("subject2"))?.as_str();
        let value = found.name("value").or_else(|| found.name("value2"))?.as_str();
        let plausible = about.split_whitespace().count() <= 5 && !about.contains("//") && !value.starts_with("//");
        plausible.then(|| Self::new(about, "is", value, false).single())
    }

    /// Whether it says something that a person would want to be kept: a property, or a value of a kind.
    pub fn is_definite(&self) -> bool {
        self.single || !self.value.is_words()
    }

    /// What it speaks of, and how the value belongs to it.
    pub fn topic(&self) -> [&str; 2] {
        [&self.subject, &self.relation]
    }

    /// What it is found by where something may have moved.
    pub fn place(&self) -> Option<&str> {
        PLACES.contains(&self.relation.as_str()).then_some(self.subject.as_str())
    }

    fn new(about: &str, relation: &str, value: &str, negated: bool) -> Self {
        let value = value.trim().trim_matches(['`', '"', '\'']);
        let lower = about.trim().to_lowercase();
        let determined = ["the ", "our ", "my ", "this ", "its ", "all ", "each ", "every "]
            .iter()
            .any(|word| lower.starts_with(word))
            // One lives in one place, and is many things.
            || (["i", "we"].contains(&lower.as_str()) && relation.contains(' '));
        let named_subject = !determined && about.split_whitespace().count() <= 2 && !lower.ends_with('s');
        Self {
            subject: subject(about),
            relation: relation.to_owned(),
            value: Value::read(value),
            said: value.to_owned(),
            negated,
            single: false,
            named_subject,
        }
    }

    fn single(mut self) -> Self {
        self.single = true;
        self
    }

    fn excludes(&self, other: &Self) -> bool {
        let many_names = self.named_subject && self.value.is_name();
        (self.single && other.single) || (self.value.excludes(&other.value) && !many_names)
    }
}

fn is_property(about: &str) -> bool {
    let lower = about.to_lowercase();
    let head = lower.split(" of ").next().unwrap_or_default();
    PROPERTIES.iter().any(|noun| head.ends_with(noun)) || lower.contains("default ")
}

#[cfg(test)]
mod tests {
    use super::{Relation, Statement};

    fn compare(new: &str, old: &str) -> Relation {
        let (Some(new), Some(old)) = (Statement::read(new), Statement::read(old)) else { return Relation::Unrelated };
        super::compare(&new, &old)
    }

    #[track_caller]
    fn contradict(old: &str, new: &str) {
        assert!(matches!(compare(new, old), Relation::Contradiction(_)), "{old} / {new}: {:?}", compare(new, old));
        assert!(matches!(compare(old, new), Relation::Contradiction(_)), "{new} / {old}: {:?}", compare(old, new));
    }

    #[test]
    fn another_value_of_the_same_thing_contradicts() {
        contradict("The fiscal year starts in April", "the fiscal year begins in January.");
        contradict("The deadline is Friday", "Actually, the deadline is now Monday");
        contradict("Amounts are in euro", "Amounts are in dollars");
        contradict("timeout = 30 s", "The timeout is 60 seconds");
        contradict("Our database is PostgreSQL", "our database is MySQL");
        contradict("Our database is called warehouse", "our database is named sales_dwh");
        contradict("I prefer tabs over spaces", "I prefer spaces over tabs");
        contradict("I prefer tabs for indentation", "We use spaces for indentation");
        contradict("My name is Ada", "Call me Grace");
        contradict("The cache is enabled", "The cache is disabled");
        contradict("The build takes 3 minutes", "The build takes 5 minutes");
        contradict("The owner of the orders table is Ada", "The owner of the orders table is Grace Hopper");
        contradict("Reports are stored in /data/reports", "Reports are stored in /srv/reports");
        contradict("The staging database is on host db7", "No, the staging database is on host db9.");
        contradict("The staging database is on db7", "the staging database is now on host db9");
        contradict("The gateway listens on port 8080", "Sorry, the gateway listens on 8081");
        contradict("The fiscal year starts in July", "actually the fiscal year starts in January now");
        contradict("The fiscal year starts in July", "The fiscal year now starts in January instead.");
        contradict("The fiscal year starts in July", "Our fiscal year starts in January, not July");
        contradict("The fiscal year starts in July", "Our fiscal year doesn't start in July but in January");
        contradict("The deadline is Friday", "Correction: the deadline isn't Friday but Monday");
        contradict("I live in Berlin", "I live in Paris these days");
        contradict("I work at Initech", "By the way, I work at Globex now");
    }

    #[test]
    fn what_moved_is_no_longer_where_it_was() {
        contradict("The staging database is on host db7", "We moved the staging database to db9");
        contradict("The staging database is on host db7", "the staging database has moved from db7 to db9");
        contradict("The fiscal year starts in July", "We changed the fiscal year from July to January");
        contradict("We moved the archive to db9", "The archive lives on db11");
        contradict("The report is due on Friday", "The report was moved to Monday");
    }

    #[test]
    fn a_denial_contradicts_what_it_denies() {
        contradict("The orders table is partitioned by day", "The orders table isn't partitioned by day");
        contradict("The server is reachable", "the server is no longer reachable");
        contradict("Use Pandas for plots", "Never use Pandas for plots");
    }

    #[test]
    fn the_same_in_other_words_is_the_same() {
        for (one, other) in [
            ("The timeout is 30 s", "the timeout is 0.5 minutes"),
            ("The fiscal year starts in April", "Remember that our fiscal year begins in april."),
            ("timeout: 30s", "timeout = 30 seconds"),
            ("My name is Ada", "Call me Ada"),
            ("The database is on host db9", "No, the database is now on db9"),
            ("The fiscal year starts in January", "the fiscal year starts in January, not in July"),
        ] {
            assert_eq!(compare(one, other), Relation::Same, "{one} / {other}");
        }
    }

    #[test]
    fn what_can_both_be_true_is_left_alone() {
        for (one, other) in [
            ("The server is fast", "The server is old"),
            ("Our database is PostgreSQL", "our database is called sales_dwh"),
            ("Our database is PostgreSQL", "our database is slow"),
            ("Alice is German", "Alice is Catholic"),
            ("We use PostgreSQL", "We use Redis"),
            ("I prefer dark themes", "I prefer Python"),
            ("The server is not fast", "The server is old"),
            ("The orders table has 3 columns", "The orders table is large"),
            ("The deadline of the report is Friday", "The deadline of the audit is Monday"),
            ("The build takes 3 minutes", "The build needs 4 GB"),
            ("fact number 7", "fact number 8"),
            ("Boats sail", "Boats float"),
            ("My dog is old", "My dog is brown"),
            ("My colleagues are Ada and Grace", "The office is in Paris"),
            ("see https://example.com", "see https://example.org"),
            ("We moved the reports to S3", "The reports are owned by Ada"),
            ("We moved the archive to db9", "The index is on db7"),
            ("The archive was moved to db9", "The archive takes 3 minutes"),
            ("I am German", "I am Catholic"),
            ("No data is lost", "Data is large"),
        ] {
            assert_eq!(compare(one, other), Relation::Unrelated, "{one} / {other}");
        }
    }
}
