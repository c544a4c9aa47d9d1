//! Facts over time.

use std::sync::Arc;

use codriver_memory::{CleanupRule, FactId, FactKind, Memory, MemoryError, NewFact, Outcome, RuleExtractor, Scope};

use crate::support::{Topics, folder, turn};

fn texts(memory: &Memory) -> Vec<String> {
    memory.facts(None).unwrap().into_iter().map(|fact| fact.text).collect()
}

#[test]
fn what_contradicts_takes_the_place_and_the_history_is_kept() {
    let (_folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    let first = memory.remember("The fiscal year starts in April", Scope::Global, "user").unwrap();
    memory.remember("The server is fast", Scope::Global, "user").unwrap();
    let request = turn(&conversation, "Remember that the fiscal year begins in January.", "Noted");
    let id = memory.append_turn(&request).unwrap();
    let new = NewFact { turn: Some(id), ..NewFact::new("The fiscal year begins in January", Scope::Global, "user") };
    let second = memory.remember_fact(&new).unwrap();
    let Outcome::Replaced(replaced) = &second.outcome else { panic!("{second:?}") };
    assert_eq!((replaced.len(), &replaced[0].0.id), (1, &first));
    memory.remember("The server is old", Scope::Global, "user").unwrap();
    let expected = ["The server is fast", "The fiscal year begins in January", "The server is old"];
    assert_eq!(texts(&memory), expected);
    assert_eq!(memory.search("fiscal year", 5).unwrap().iter().filter(|hit| hit.kind == "fact").count(), 1);
    let third = memory.remember("the fiscal year starts in may", Scope::Global, "agent").unwrap();
    drop(memory);

    let memory = Memory::open(&path, None).unwrap();
    let history = memory.why(&FactId::from(third.short())).unwrap().unwrap();
    let replaced: Vec<&str> = history.replaced.iter().map(|fact| fact.text.as_str()).collect();
    assert_eq!(replaced, ["The fiscal year begins in January", "The fiscal year starts in April"]);
    assert!(history.fact.reason.contains("before January, now may"), "{}", history.fact.reason);
    let middle = memory.why(&second.id).unwrap().unwrap();
    assert_eq!(middle.replaced_by.unwrap().id, third);
    assert_eq!(middle.turn.unwrap().0, "Remember that the fiscal year begins in January.");
    assert!(middle.fact.valid_until.unwrap() >= middle.fact.created_at);
    assert_eq!(memory.replaced_facts().unwrap().len(), 2);
    // Forgotten is forgotten, whatever it said before.
    assert!(memory.forget(&third).unwrap());
    assert_eq!((memory.replaced_facts().unwrap().len(), memory.facts(None).unwrap().len()), (0, 2));
    assert_eq!(memory.why(&first).unwrap(), None);
}

#[test]
fn the_same_in_other_words_or_units_is_confirmed() {
    let memory = Memory::in_memory(None).unwrap();
    let id = memory.remember("The timeout is 30 s", Scope::Global, "user").unwrap();
    assert_eq!(memory.remember("The timeout is 0.5 minutes", Scope::Global, "agent").unwrap(), id);
    let embedded = Memory::in_memory(Some(Arc::new(Topics::default()))).unwrap();
    let id = embedded.remember("Sales are counted monthly by the team", Scope::Global, "user").unwrap();
    assert_eq!(embedded.remember("The team counts the sales monthly", Scope::Global, "user").unwrap(), id);
    // Close in meaning, and yet another number, another denial, other words.
    for other in
        ["Sales are counted monthly by the team 7", "Sales are not counted monthly by the team", "Turnover is high"]
    {
        assert_ne!(embedded.remember(other, Scope::Global, "user").unwrap(), id, "{other}");
    }
}

#[test]
fn facts_are_edited_pinned_and_cleaned_up() {
    let (_folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    let id = memory.remember("The report is due on Frday", Scope::Global, "user").unwrap();
    let edited = memory.edit_fact(&id, "The report is due on Friday").unwrap();
    assert!(matches!(edited.outcome, Outcome::Replaced(_)));
    assert_eq!(memory.edit_fact(&edited.id, "the report is due on friday").unwrap().outcome, Outcome::Known);
    assert!(matches!(memory.edit_fact(&edited.id, " "), Err(MemoryError::EmptyFact)));
    assert!(memory.pin_fact(&edited.id, true).unwrap().pinned);
    let faint = NewFact { importance: 0.01, ..NewFact::new("The window was open", Scope::Global, "agent") };
    memory.remember_fact(&faint).unwrap();
    let faint_and_pinned =
        NewFact { importance: 0.01, pinned: true, ..NewFact::new("Tea is at four", Scope::Global, "agent") };
    memory.remember_fact(&faint_and_pinned).unwrap();
    let planned = memory.cleanup(&CleanupRule::default(), false).unwrap();
    assert_eq!(planned.iter().map(|cleaned| cleaned.fact.text.as_str()).collect::<Vec<_>>(), ["The window was open"]);
    assert_eq!(texts(&memory).len(), 3, "a plan removes nothing");
    memory.cleanup(&CleanupRule { history_days: 0, ..CleanupRule::default() }, true).unwrap();
    drop(memory);
    let memory = Memory::open(&path, None).unwrap();
    assert_eq!(texts(&memory), ["The report is due on Friday", "Tea is at four"]);
    assert_eq!(memory.replaced_facts().unwrap(), []);
    assert!(memory.fact(&edited.id).unwrap().unwrap().pinned);
    assert!(!memory.pin_fact(&edited.id, false).unwrap().pinned);
}

#[test]
fn worth_decays_unless_a_fact_is_confirmed_or_pinned() {
    let memory = Memory::in_memory(None).unwrap();
    let id = memory.remember("Boats sail", Scope::Global, "user").unwrap();
    let fact = memory.fact(&id).unwrap().unwrap();
    let later = fact.confirmed_at + chrono::Duration::days(90);
    assert!((fact.weight(fact.confirmed_at) - 0.7).abs() < 1e-6 && (fact.weight(later) - 0.35).abs() < 1e-4);
    memory.remember("boats sail!", Scope::Global, "user").unwrap();
    assert!(memory.fact(&id).unwrap().unwrap().confirmed_at > fact.confirmed_at);
    assert_eq!(memory.pin_fact(&id, true).unwrap().weight(later), 1.0);
}

#[test]
fn whoever_finds_a_fact_may_say_what_it_replaces() {
    let memory = Memory::in_memory(None).unwrap();
    let old = memory.remember("Invoices go out on paper", Scope::Project, "user").unwrap();
    let new =
        |text: &str, scope, id: &FactId| NewFact { replaces: Some(id.clone()), ..NewFact::new(text, scope, "user") };
    let remembered = memory.remember_fact(&new("We send invoices by e-mail", Scope::Project, &old)).unwrap();
    assert!(matches!(&remembered.outcome, Outcome::Replaced(replaced) if replaced[0].0.id == old), "{remembered:?}");
    assert_eq!(texts(&memory), ["We send invoices by e-mail"]);
    assert_eq!(memory.why(&remembered.id).unwrap().unwrap().replaced[0].text, "Invoices go out on paper");
    // What is pinned, and what holds in another scope, stays.
    memory.pin_fact(&remembered.id, true).unwrap();
    memory.remember_fact(&new("Nobody sends anything", Scope::Project, &remembered.id)).unwrap();
    let other = memory.remember("Tea is at four", Scope::Global, "user").unwrap();
    memory.remember_fact(&new("Coffee comes first", Scope::Project, &other)).unwrap();
    assert_eq!(texts(&memory).len(), 4);
}

#[test]
fn what_a_person_sets_right_is_no_longer_in_force() {
    let memory = Memory::in_memory(None).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    let tell = |request: &str| {
        let told = turn(&conversation, request, "Noted.");
        let id = memory.append_turn(&told).unwrap();
        memory.learn(&id, &told, &RuleExtractor).unwrap();
    };
    for (before, after, now) in [
        (
            "The staging database is on host db7.",
            "No, the staging database is on host db9.",
            "The staging database is on host db9",
        ),
        (
            "The fiscal year starts in July.",
            "actually the fiscal year starts in January now",
            "The fiscal year starts in January now",
        ),
        (
            "Remember that the deadline is Friday",
            "Sorry, the deadline is Monday, not Friday",
            "The deadline is Monday, not Friday",
        ),
        ("I live in Berlin.", "Actually, I live in Paris these days", "I live in Paris these days"),
        ("I work at Initech", "By the way, I work at Globex now", "I work at Globex now"),
        ("The archive is on host db3", "We moved the archive to db4", "We moved the archive to db4"),
        ("Our currency is euro", "Correction: our currency is dollars", "Our currency is dollars"),
    ] {
        tell(before);
        assert_eq!(texts(&memory).len(), 1, "{before}: {:?}", texts(&memory));
        tell(after);
        assert_eq!(texts(&memory), [now]);
        for fact in memory.facts(None).unwrap() {
            memory.forget(&fact.id).unwrap();
        }
    }
}

#[test]
fn that_there_is_a_secret_is_no_fact() {
    let memory = Memory::in_memory(None).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    let key = "ghp_Zq3vX8nT5wYb2KdR7mHc4JfLs9GpAe6UxCiV";
    for request in [
        format!("My token is {key}"),
        format!("Remember that our token is {key}."),
        "The token is [redacted: GitHub token]".to_owned(),
        "My password is k8#mQ2!vz9Lp".to_owned(),
    ] {
        let told = turn(&conversation, &request, "Noted.");
        let id = memory.append_turn(&told).unwrap();
        assert_eq!(memory.learn(&id, &told, &RuleExtractor).unwrap(), [], "{request}");
    }
    assert_eq!(texts(&memory), [""; 0]);
}

#[test]
fn turns_teach_facts_once() {
    let (_folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    let told = turn(
        &conversation,
        "I prefer short answers. Remember that our currency is Swiss francs. How much was sold?",
        "Noted.",
    );
    let id = memory.append_turn(&told).unwrap();
    let learned = memory.learn(&id, &told, &RuleExtractor).unwrap();
    let found: Vec<(&str, FactKind, Scope)> =
        learned.iter().map(|(fact, _)| (fact.text.as_str(), fact.kind, fact.scope)).collect();
    assert_eq!(
        found,
        [
            ("I prefer short answers", FactKind::Preference, Scope::Global),
            ("Our currency is Swiss francs", FactKind::Fact, Scope::Project)
        ]
    );
    assert_eq!(memory.learn(&id, &told, &RuleExtractor).unwrap(), []);
    let why = memory.why(&learned[1].0.id).unwrap().unwrap();
    assert!(why.fact.reason.contains("you asked to remember it") && why.turn.unwrap().0.contains("Swiss francs"));
}
