//! What a question to the memory or to the documentation is about: its words without those that only ask.

use super::words;

/// Words with which people ask what they said before.
pub const REMEMBERED: &[&str] = &[
    "remember", "remembered", "recall", "remind", "know", "knew", "tell", "told", "say", "said", "saying", "mention", "mentioned", "note", "noted", "notes", "save", "saved", "store", "stored",
    "memory", "memories", "ask", "asked", "wrote", "written", "write", "decide", "decided", "agree", "agreed", "talk", "talked", "discussed", "discuss", "earlier", "previously", "again", "ever",
    "already", "anything", "something", "everything", "whatever", "forgot", "forget", "bring", "back", "fact", "facts", "taught", "learned", "search", "pull", "jog", "refresh", "i", "you", "we", "do", "did", "once",
];

/// Words with which people ask for help.
pub const DOCUMENTED: &[&str] = &[
    "docs", "doc", "documentation", "documented", "manual", "guide", "help", "page", "pages", "codriver", "explain", "learn", "read", "tell", "know", "teach", "tutorial", "instructions", "consult",
    "possible", "way", "explained", "say", "says", "anything", "something", "trying", "understand", "search", "describe", "work", "works", "i", "you", "we", "do", "does", "can", "could", "should",
];

/// Words with which any question begins or ends, and that say nothing of what it is about.
const FRAME: &[&str] = &[
    "a", "an", "the", "of", "to", "in", "on", "for", "about", "with", "at", "from", "by", "and", "or", "is", "are", "was", "were", "be", "am", "do", "does", "did", "have", "has", "had", "can", "could", "will",
    "would", "should", "may", "might", "i", "you", "we", "me", "us", "it", "that", "this", "these", "those", "there", "here", "what", "what's", "which", "who", "whom", "whose", "when", "where", "why", "how",
    "please", "pls", "your", "any", "some", "so", "if", "whether", "look", "up", "find", "show", "give", "check", "regarding", "concerning", "ok", "hey", "hi", "thanks", "need", "want", "like", "let", "let's",
    "i've", "i'm", "i'd", "you've", "we've", "one", "just", "quick", "quickly", "again", "through", "go", "see", "get", "time", "last", "things", "thing", "as",
];

/// The part of `request` that says what is asked about: from the first to the last word that is
/// neither in `asking` nor part of any question's frame. The whole request where nothing else is.
pub fn of(request: &str, asking: &[&str]) -> String {
    let words = words::split(request);
    let telling = |word: &words::Word| !FRAME.contains(&word.lower.as_str()) && !asking.contains(&word.lower.as_str());
    let Some(first) = words.iter().position(telling) else { return request.trim().to_owned() };
    let last = words.iter().rposition(telling).unwrap_or(first);
    // Inside, only the asking words go: articles and prepositions belong to what they stand in.
    let kept = words[first..=last].iter().filter(|word| !asking.contains(&word.lower.as_str()));
    kept.map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
}
