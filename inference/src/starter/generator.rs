//! Writes dialogues: a request about a made-up session, and the call that answers it.

mod answers;
mod arithmetic;
mod conditions;
mod queries;
mod requests;

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::linking::{Linked, Numbering, Period, Piece, Referent, link};
use super::notation::{Keyword, Kind, Token, kind_of};
use super::phrases::Phrases;
use super::worlds::{World, Worlds};

/// Longer requests are written again, in bytes.
const LONGEST_REQUEST: usize = 260;

/// A prompt and the tokens that should follow it.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    pub prompt: Vec<Piece>,
    pub target: Vec<Piece>,
    /// The request as typed, for people who look at samples.
    pub request: String,
}

/// One element of a call, by name; resolved to a reference once the request is linked.
#[derive(Debug, Clone, PartialEq)]
enum Want {
    Keyword(Keyword),
    Table(String),
    Column {
        table: String,
        name: String,
    },
    Value(String),
    Constant(String),
    Literal(String),
    Period(Period),
    File(String),
    Folder(String),
    Glob(String),
    Branch(String),
    /// The word that starts, and the one that ends, at a byte of the request.
    SpanStart(usize),
    SpanEnd(usize),
    /// The word with which these words of the request start, and the one with which they end.
    SaidStart(String),
    SaidEnd(String),
    Expression(String),
    Code,
}

/// A request in words and its call.
struct Request {
    text: String,
    call: Vec<Want>,
}

/// An endless, seeded source of examples.
pub struct Generator {
    phrases: Phrases,
    worlds: Worlds,
    random: ChaCha8Rng,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self { phrases: Phrases::shipped(), worlds: Worlds::shipped(), random: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// The next example; most are calls, the others answers from results.
    pub fn next_example(&mut self) -> Example {
        loop {
            let example = if self.random.random_bool(0.07) {
                Some(answers::example(&self.phrases, &mut self.random))
            } else {
                self.call_example()
            };
            if let Some(example) = example {
                return example;
            }
        }
    }

    /// `None` where linking did not find what the call needs, or the request is too long.
    fn call_example(&mut self) -> Option<Example> {
        let (linked, target) = self.linked_call()?;
        let mut prompt = linked.prompt;
        if self.random.random_bool(0.1) {
            drop_word(&mut prompt, &mut self.random);
        }
        Some(Example { prompt, target: target.into_iter().map(Piece::Token).collect(), request: linked.request })
    }

    /// A request about a made-up session, linked, and the tokens of its call. What is asked is drawn
    /// first, so that what fits few sessions is not asked less.
    pub(super) fn linked_call(&mut self) -> Option<(Linked, Vec<Token>)> {
        const SESSIONS: usize = 30;
        let query = self.random.random_bool(0.5);
        let section = if query { queries::section(&mut self.random) } else { requests::section(&mut self.random) };
        (0..SESSIONS).find_map(|_| self.call_about(section, query))
    }

    fn call_about(&mut self, section: &'static str, query: bool) -> Option<(Linked, Vec<Token>)> {
        let world = self.worlds.sample(&self.phrases, &mut self.random);
        let request = self.request(section, query, &world)?;
        if request.text.len() > LONGEST_REQUEST {
            return None;
        }
        let random = &mut self.random;
        let mut numbering = Numbering::with(|pool| pool.shuffle(random));
        let linked = link(&request.text, &world.environment, &mut numbering);
        let spelled = request.call.iter().any(|want| matches!(want, Want::Expression(_)));
        if request.call.first() == Some(&Want::Keyword(Keyword::Calculate))
            && !spelled
            && linked.references.values().any(|referent| matches!(referent, Referent::Expression(_)))
        {
            return None;
        }
        let target = request.call.iter().map(|want| resolve(want, &linked)).collect::<Option<Vec<_>>>()?;
        Some((linked, target))
    }

    fn request(&mut self, section: &'static str, query: bool, world: &World) -> Option<Request> {
        let mut request = if query {
            queries::request(section, world, &self.phrases, &mut self.random)?
        } else {
            requests::request(section, world, &self.phrases, &mut self.random)?
        };
        self.dress(&mut request);
        request.call.push(Want::Keyword(Keyword::End));
        Some(request)
    }

    /// Politeness, capitals and full stops, as people happen to write them.
    fn dress(&mut self, request: &mut Request) {
        let declined = request.call.first() == Some(&Want::Keyword(Keyword::Decline));
        let mut lead = String::new();
        if self.random.random_bool(if declined { 0.1 } else { 0.15 }) {
            lead = format!("{} ", self.phrases.pick("polite", &mut self.random));
        }
        // Spans are byte offsets: what goes in front moves them.
        for want in &mut request.call {
            if let Want::SpanStart(offset) | Want::SpanEnd(offset) = want {
                *offset += lead.len();
            }
        }
        request.text.insert_str(0, &lead);
        let spanned = request.call.iter().any(|want| matches!(want, Want::SpanEnd(_) | Want::Code));
        if !spanned && self.random.random_bool(0.1) {
            request.text.push(' ');
            request.text.push_str(&self.phrases.pick("tail", &mut self.random));
        }
        let spans = request
            .call
            .iter()
            .any(|want| matches!(want, Want::SpanEnd(_) | Want::SaidEnd(_) | Want::Code | Want::Literal(_)));
        if !spans && self.random.random_bool(0.08) {
            // As into a search box.
            request.text = request
                .text
                .split(' ')
                .filter(|word| !matches!(*word, "the" | "a" | "an" | "our" | "me" | "all"))
                .collect::<Vec<_>>()
                .join(" ");
        }
        if !spans && self.random.random_bool(0.25) {
            request.text = request.text.to_lowercase();
        } else if self.random.random_bool(0.3)
            && let Some(first) = request.text.get(..1)
        {
            let upper = first.to_uppercase();
            request.text.replace_range(..1, &upper);
        }
        let asks =
            ["what", "which", "how", "who", "where", "when", "is ", "are ", "do ", "does ", "why", "can", "could"]
                .iter()
                .any(|word| request.text.to_lowercase().starts_with(word));
        if asks && self.random.random_bool(0.7) {
            request.text.push('?');
        } else if self.random.random_bool(0.2) {
            request.text.push('.');
        }
        if !spans && self.random.random_bool(0.06) {
            slip(&mut request.text, &mut self.random);
        }
    }
}

/// Leaves out one unmarked word of the request, as if the writer had: no one word should decide.
fn drop_word(prompt: &mut Vec<Piece>, random: &mut impl Rng) {
    const DECISIVE: &[&str] = &[
        "not", "no", "without", "except", "staged", "last", "first", "latest", "least", "most", "lowest", "highest",
        "smallest", "largest",
    ];
    let start = prompt.iter().position(|piece| *piece == Piece::Token(Keyword::User.token())).unwrap_or(prompt.len());
    let word = |position: usize| matches!(&prompt[position], Piece::Text(text) if !DECISIVE.contains(&text.as_str()));
    let unmarked =
        |position: usize| matches!(&prompt[position - 1], Piece::Token(token) if kind_of(*token) == Some(Kind::Word));
    let candidates: Vec<usize> =
        (start + 1..prompt.len()).filter(|position| word(*position) && unmarked(*position)).collect();
    if candidates.len() > 4
        && let Some(position) = candidates.choose(random)
    {
        prompt.remove(*position);
    }
}

/// Swaps or drops a letter, as fingers do.
fn slip(text: &mut String, random: &mut impl Rng) {
    let letters: Vec<usize> = text
        .char_indices()
        .filter(|(position, c)| {
            c.is_ascii_lowercase() && text[position + 1..].starts_with(|next: char| next.is_ascii_lowercase())
        })
        .map(|(position, _)| position)
        .collect();
    if let Some(position) = letters.choose(random).copied() {
        if random.random_bool(0.5) {
            text.remove(position);
        } else {
            let letter = text.remove(position);
            text.insert(position + 1, letter);
        }
    }
}

fn resolve(want: &Want, linked: &Linked) -> Option<Token> {
    let find = |wanted: &dyn Fn(&Referent) -> bool| {
        linked.references.iter().find(|(_, referent)| wanted(referent)).map(|(token, _)| *token)
    };
    match want {
        Want::Keyword(keyword) => Some(keyword.token()),
        Want::Table(name) => find(&|referent| matches!(referent, Referent::Table(table) if table == name)),
        Want::Column { table, name } => find(
            &|referent| matches!(referent, Referent::Column { table_name, name: column, .. } if table_name == table && column == name),
        ),
        Want::Value(text) => find(&|referent| matches!(referent, Referent::Value { text: value, .. } if value == text)),
        Want::Constant(text) => find(&|referent| matches!(referent, Referent::Constant(value) if value == text)),
        Want::Literal(text) => find(&|referent| matches!(referent, Referent::Literal(value) if value == text)),
        Want::Period(period) => find(&|referent| matches!(referent, Referent::Period(value) if value == period)),
        Want::File(path) => find(&|referent| matches!(referent, Referent::File(value) if value == path)),
        Want::Folder(path) => find(&|referent| matches!(referent, Referent::Folder(value) if value == path)),
        Want::Glob(glob) => find(&|referent| matches!(referent, Referent::Glob(value) if value == glob)),
        Want::Branch(name) => find(&|referent| matches!(referent, Referent::Branch(value) if value == name)),
        Want::Expression(text) => find(&|referent| matches!(referent, Referent::Expression(value) if value == text)),
        Want::SaidStart(text) => {
            let said = linked.request.rfind(text.as_str())?;
            find(&|referent| matches!(referent, Referent::Word { start, .. } if *start == said))
        }
        Want::SaidEnd(text) => {
            let said = linked.request.rfind(text.as_str())? + text.len();
            find(&|referent| matches!(referent, Referent::Word { end, .. } if *end == said))
        }
        Want::Code => find(&|referent| matches!(referent, Referent::Code(_))),
        Want::SpanStart(offset) => {
            find(&|referent| matches!(referent, Referent::Word { start, .. } if start == offset))
        }
        Want::SpanEnd(offset) => find(&|referent| matches!(referent, Referent::Word { end, .. } if end == offset)),
    }
}

fn plural(word: &str) -> String {
    match word {
        _ if word.ends_with('s') => word.to_owned(),
        _ if word.ends_with(|c: char| c.is_ascii_digit()) => word.to_owned(),
        _ => match word.strip_suffix('y').filter(|base| !base.ends_with(['a', 'e', 'o', 'u'])) {
            Some(base) => format!("{base}ies"),
            None => format!("{word}s"),
        },
    }
}

fn singular(word: &str) -> String {
    super::words::stem(word)
}
