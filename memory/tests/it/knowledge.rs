use std::sync::Arc;

use codriver_memory::{FactId, Memory, MemoryError, NewChunk, Scope};

use crate::support::{Topics, folder};

fn chunk(title: &str, text: &str) -> NewChunk {
    NewChunk::new(title, text)
}

#[test]
fn the_same_fact_twice_is_one_fact() {
    let memory = Memory::in_memory(None).unwrap();
    let id = memory.remember("The fiscal year starts in April.", Scope::Global, "user").unwrap();
    assert_eq!(memory.remember("  the fiscal   YEAR starts in april ", Scope::Global, "agent").unwrap(), id);
    assert_ne!(memory.remember("The fiscal year ends in March.", Scope::Global, "user").unwrap(), id);
    assert_eq!(memory.facts(None).unwrap().len(), 2);
    assert!(matches!(memory.remember(" \n", Scope::Global, "user"), Err(MemoryError::EmptyFact)));
}

#[test]
fn session_facts_end_with_the_session() {
    let (_folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    memory.remember("The frame is called jan", Scope::Session, "agent").unwrap();
    memory.remember("Amounts are in euro", Scope::Global, "agent").unwrap();
    let scopes: Vec<Scope> = memory.facts(None).unwrap().into_iter().map(|fact| fact.scope).collect();
    assert_eq!(scopes, [Scope::Global, Scope::Session]);
    let statistics = memory.statistics().unwrap();
    assert_eq!((statistics.facts, statistics.session_facts, statistics.schema_version), (1, 1, 5));
    drop(memory);

    let memory = Memory::open(&path, None).unwrap();
    let texts: Vec<String> = memory.facts(None).unwrap().into_iter().map(|fact| fact.text).collect();
    assert_eq!(texts, ["Amounts are in euro"]);
}

/// Two identifiers that begin with the same four digits are there after some hundred facts: 65,536 are possible.
#[test]
fn what_names_two_facts_names_none() {
    let memory = Memory::in_memory(None).unwrap();
    let mut seen = std::collections::HashSet::new();
    let twice = (0..3_000).find_map(|number| {
        let id = memory.remember(&format!("fact number {number}"), Scope::Session, "user").unwrap();
        let begin = id.as_str()[..4].to_owned();
        (!seen.insert(begin.clone())).then(|| FactId::from(begin))
    });
    let twice = twice.expect("3,000 identifiers begin differently (less likely than 1 in 10^29)");
    let count = memory.facts(None).unwrap().len();
    for error in [memory.forget(&twice).unwrap_err(), memory.edit_fact(&twice, "something else").unwrap_err()] {
        assert!(matches!(&error, MemoryError::Ambiguous { matches, .. } if matches.len() == 2), "{error}");
    }
    assert_eq!(memory.facts(None).unwrap().len(), count);
}

#[test]
fn a_fact_is_forgotten_by_the_beginning_of_its_name() {
    let (_folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    let ids: Vec<FactId> = (0..40)
        .map(|number| memory.remember(&format!("fact number {number}"), Scope::Global, "user").unwrap())
        .collect();
    // A slip of a character names nothing, were it the beginning of one fact alone.
    for short in ["", "a", "7", &ids[3].as_str()[..3]] {
        let short = FactId::from(short);
        let refused = [
            memory.forget(&short).unwrap_err(),
            memory.edit_fact(&short, "something else").unwrap_err(),
            memory.pin_fact(&short, true).unwrap_err(),
            memory.promote_fact(&short, None).unwrap_err(),
            memory.fact(&short).unwrap_err(),
            memory.why(&short).unwrap_err(),
        ];
        for error in refused {
            assert!(
                matches!(error, MemoryError::ShortId { .. }) && error.to_string().contains("first 4 characters"),
                "{error}"
            );
        }
    }
    assert_eq!(memory.facts(None).unwrap().len(), 40);
    assert!(!memory.forget(&FactId::from("zzzz")).unwrap());
    assert!(memory.forget(&FactId::from(&ids[7].as_str()[..6])).unwrap());
    assert!(!memory.forget(&ids[7]).unwrap());
    let session = memory.remember("only now", Scope::Session, "user").unwrap();
    assert!(memory.forget(&session).unwrap());
    assert_eq!(
        memory.search("only now number 7", 50).unwrap().iter().filter(|hit| hit.text.ends_with(" 7")).count(),
        0
    );
    drop(memory);
    assert_eq!(Memory::open(&path, None).unwrap().facts(None).unwrap().len(), 39);
}

#[test]
fn a_forgotten_fact_can_be_learned_again() {
    let (_folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    let first = memory.remember("Boats sail", Scope::Global, "user").unwrap();
    assert!(memory.forget(&first).unwrap());
    let second = memory.remember("Boats sail", Scope::Global, "user").unwrap();
    assert_ne!(first, second);
    drop(memory);
    assert_eq!(Memory::open(&path, None).unwrap().facts(None).unwrap()[0].id, second);
}

#[test]
fn a_document_is_replaced_and_only_what_is_new_is_embedded() {
    let (_folder, path) = folder();
    let topics = Arc::new(Topics::default());
    let memory = Memory::open(&path, Some(topics.clone())).unwrap();
    let asked = || std::mem::take(&mut *topics.asked.lock().unwrap());
    let first = [chunk("Pets", "the dog"), chunk("Money", "the sales"), chunk("Sky", "the rain")];
    assert_eq!(memory.add_chunks("notes.md", &first, Scope::Global).unwrap(), 3);
    assert_eq!(asked().len(), 3);
    assert_eq!(memory.add_chunks("notes.md", &first, Scope::Global).unwrap(), 0);
    assert_eq!(asked().len(), 0);
    let second = [chunk("Pets", "the dog"), chunk("Money", "the income")];
    assert_eq!(memory.add_chunks("notes.md", &second, Scope::Global).unwrap(), 1);
    assert_eq!(asked(), ["Money\nthe income"]);
    let statistics = memory.statistics().unwrap();
    assert_eq!((statistics.chunks, statistics.embeddings), (2, 2));
    drop(memory);

    let memory = Memory::open(&path, Some(topics.clone())).unwrap();
    assert_eq!(memory.add_chunks("notes.md", &second, Scope::Global).unwrap(), 0);
    let hits = memory.search("kitten", 1).unwrap();
    assert_eq!(
        (hits[0].id.as_str(), hits[0].origin.as_str(), hits[0].title.as_str()),
        ("notes.md#0", "notes.md", "Pets")
    );
    assert_eq!(asked(), ["kitten"], "vectors come from the database");
    assert_eq!(memory.add_chunks("notes.md", &[], Scope::Global).unwrap(), 0);
    assert_eq!(memory.search("kitten", 1).unwrap(), []);
}

#[test]
fn documents_of_the_session_are_found_and_not_kept() {
    let (_folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    memory.add_chunks("cell 3", &[chunk("", "let walrus = 1;")], Scope::Session).unwrap();
    assert_eq!(memory.search("walrus", 3).unwrap()[0].scope, Scope::Session);
    drop(memory);
    assert_eq!(Memory::open(&path, None).unwrap().search("walrus", 3).unwrap(), []);
}
