//! The sentences that tell facts.

use std::sync::LazyLock;

use regex::Regex;

use crate::records::FactKind;

/// What people say in so many words, and what it makes of what follows.
pub(super) struct Rule {
    pub shape: Regex,
    pub kind: FactKind,
    pub importance: f32,
    pub says: &'static str,
    /// Only where the sentence gives a property or a value of some kind.
    pub definite: bool,
}

/// The rule for what is said as an order: only an order that is no task is one.
pub(super) const AN_ORDER: &str = "you said how it is to be done";

pub(super) static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rule = |shape: &str, kind, importance, says, definite| {
        let shape = Regex::new(&format!("(?i)^{shape}$")).ok()?;
        Some(Rule { shape, kind, importance, says, definite })
    };
    use FactKind::{Fact, Preference};
    let rules = [
        rule(
            r"(?:please |and |also )*(?:remember|note|keep in mind|don'?t forget|do not forget)(?:,? (?:everywhere|globally|(?:for|in|across) (?:all|every)(?: of)?(?: my| our)? (?:projects?|notebooks?)))?(?: that|:|,)? (?P<fact>.{6,})",
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
        rule(
            r"(?P<fact>(?:my name is|i(?: am|'m|’m) called) .{2,60}|call me \S+(?: \S+){0,3})",
            Preference,
            0.9,
            "you said your name",
            false,
        ),
        rule(
            r"(?P<fact>i(?: am|'m|’m)? (?:now |currently |also )?(?:work|working|employed) (?:at|for|as|in|by) .{2,80})",
            Fact,
            0.7,
            "you said where you work",
            false,
        ),
        rule(
            r"(?P<fact>i(?: am|'m|’m)? (?:now |currently )?(?:(?:live|living|reside|based|located) (?:in|at|near|on)|come from|from) .{2,80})",
            Fact,
            0.7,
            "you said where you live",
            false,
        ),
        rule(
            r"(?P<fact>(?:we|our team) (?:now |always |currently )?use .{3,} (?:for|as) .{3,})",
            Preference,
            0.7,
            "you said what you use for it",
            false,
        ),
        rule(
            r"(?P<fact>(?:we|i|they) (?:have |'ve |’ve )?(?:just )?(?:moved|migrated|switched|changed|relocated) .{2,60} to .{2,60})",
            Fact,
            0.6,
            "you said what has changed",
            true,
        ),
        rule(
            r"(?P<fact>(?:the|our|my|all|every) .{2,60}? (?:is|are|isn't|isn’t|aren't|aren’t|doesn't|doesn’t|starts?|begins?|ends?|takes?|costs?|lives?|runs?|has|have|moved|migrated|switched|changed) .{1,})",
            Fact,
            0.5,
            "you said what it is",
            true,
        ),
        rule(
            r"(?:please,? )?(?P<fact>(?:always )?(?:use|write|format|express|answer|reply|respond|stick to|work in|keep to) .{2,80})",
            Preference,
            0.7,
            AN_ORDER,
            false,
        ),
    ];
    rules.into_iter().flatten().collect()
});
