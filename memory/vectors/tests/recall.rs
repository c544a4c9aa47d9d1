//! What is found, against comparing everything; and files that were damaged.

use std::path::Path;

use codriver_vectors::{Admit, Built, EXACT_BELOW, Generation, GenerationError, Vectors, dot, unit};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const DIMENSIONS: usize = 48;

fn random() -> (u64, StdRng) {
    let seed = std::env::var("CODRIVER_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    (seed, StdRng::seed_from_u64(seed))
}

/// Vectors around some centres, of unlike spread.
fn clustered(count: usize, random: &mut StdRng) -> Vec<Vec<f32>> {
    let mut vector =
        |spread: f32| -> Vec<f32> { (0..DIMENSIONS).map(|_| spread * random.random_range(-1.0..1.0f32)).collect() };
    let centres: Vec<Vec<f32>> = (0..100).map(|_| vector(1.0)).collect();
    (0..count)
        .map(|position| {
            let noise = vector(0.2 + (position % 7) as f32 / 8.0);
            unit(
                &noise
                    .iter()
                    .zip(&centres[position * 31 % 100])
                    .map(|(noise, centre)| noise + centre)
                    .collect::<Vec<_>>(),
            )
            .unwrap()
        })
        .collect()
}

fn filled(vectors: &[Vec<f32>]) -> Vectors {
    let mut filled = Vectors::new(DIMENSIONS);
    vectors.iter().enumerate().for_each(|(key, vector)| assert!(filled.insert(key as u64 * 3, vector)));
    filled
}

fn generation(vectors: &Vectors, path: &Path) -> Vectors {
    vectors.snapshot().build(7, 0, &|_| true, |built| built.write(path)).unwrap();
    let generation = Generation::open(path).unwrap();
    assert_eq!(generation.label(), 7);
    Vectors::with_base(generation)
}

fn recall(vectors: &Vectors, queries: &[Vec<f32>], admit: &Admit<'_>) -> f64 {
    let found = |query: &Vec<f32>| {
        let exact: Vec<u64> = vectors.exact(query, 10, admit).iter().map(|found| found.key).collect();
        let near = vectors.search(query, 10, 0, admit);
        assert!(near.is_sorted_by(|one, other| one.cosine >= other.cosine));
        near.iter().filter(|found| exact.contains(&found.key)).count() as f64 / exact.len() as f64
    };
    queries.iter().map(found).sum::<f64>() / queries.len() as f64
}

#[test]
fn the_graph_finds_nearly_all_of_the_nearest() {
    let (seed, mut random) = random();
    let folder = tempfile::tempdir().unwrap();
    let mut all = clustered(14_200, &mut random);
    let queries = all.split_off(14_000);
    let mut vectors = generation(&filled(&all[..12_000]), &folder.path().join("vectors"));
    assert_eq!((vectors.len(), vectors.fresh()), (12_000, 0));
    let share = recall(&vectors, &queries, &Admit::All);
    assert!(share > 0.97, "seed {seed}: {share}");

    // Replaced, removed and added since; the graph goes through what is removed.
    for (key, vector) in all.iter().enumerate().skip(11_000) {
        assert!(vectors.insert(key as u64 * 3, vector));
    }
    (0..1000).for_each(|key| assert!(vectors.remove(key * 3)));
    assert!(!vectors.remove(0) && !vectors.remove(1));
    assert_eq!(vectors.len(), 13_000);
    assert!(vectors.get(3).is_none() && dot(vectors.get(13_000 * 3).unwrap(), &all[13_000]) > 0.9999);
    let share = recall(&vectors, &queries, &Admit::All);
    assert!(share > 0.97, "seed {seed}: {share}");
    let odd = |key: u64| key % 2 == 1;
    let share = recall(&vectors, &queries, &Admit::Share(&odd, 0.5));
    assert!(share > 0.97, "seed {seed}: {share}");
    for found in vectors.search(&queries[0], 50, 0, &Admit::Share(&odd, 0.5)) {
        assert!(odd(found.key) && found.key >= 3000);
    }

    // Continued, then built without what was removed.
    let mut vectors = generation(&vectors, &folder.path().join("vectors"));
    assert_eq!(vectors.fresh(), 0);
    let share = recall(&vectors, &queries, &Admit::All);
    assert!(share > 0.97, "seed {seed}: {share}");
    assert_eq!(vectors.len(), 13_000);
    assert!(vectors.keys().all(|key| key >= 3000));
    (1000..4000).for_each(|key| assert!(vectors.remove(key * 3)));
    assert!(vectors.wants_generation());
}

#[test]
fn few_are_compared_one_by_one() {
    let (seed, mut random) = random();
    let all = clustered(EXACT_BELOW - 1, &mut random);
    let mut vectors = filled(&all);
    let query: Vec<f32> = (0..DIMENSIONS).map(|_| random.random_range(-1.0..1.0)).collect();
    let mut slow: Vec<(u64, f32)> =
        all.iter().enumerate().map(|(key, vector)| (key as u64 * 3, dot(&unit(&query).unwrap(), vector))).collect();
    slow.sort_by(|one, other| other.1.total_cmp(&one.1));
    let near: Vec<(u64, f32)> =
        vectors.search(&query, 20, 0, &Admit::All).iter().map(|found| (found.key, found.cosine)).collect();
    for (found, expected) in near.iter().zip(&slow) {
        assert!((found.1 - expected.1).abs() < 1e-6, "seed {seed}");
    }
    assert_eq!(near.len(), 20);
    let keys = [slow[500].0, slow[100].0, 1];
    let near: Vec<u64> = vectors.search(&query, 20, 0, &Admit::Keys(&keys)).iter().map(|found| found.key).collect();
    assert_eq!(near, [slow[100].0, slow[500].0], "seed {seed}");
    assert!(!vectors.insert(0, &[f32::NAN; DIMENSIONS]) && !vectors.insert(3, &[1.0; 3]) && vectors.get(0).is_none());
    assert!(vectors.search(&[0.0; DIMENSIONS], 3, 0, &Admit::All).is_empty());
    assert!(vectors.search(&[1.0; 3], 3, 0, &Admit::All).is_empty());
    assert!(vectors.search(&query, 0, 0, &Admit::All).is_empty());
}

#[test]
fn damage_is_noticed_before_anything_is_used() {
    let (seed, mut random) = random();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    let all = clustered(2000, &mut random);
    generation(&filled(&all), &path);
    let whole = fs_err::read(&path).unwrap();
    let damaged = |bytes: &[u8]| {
        fs_err::write(&path, bytes).unwrap();
        let mapped = Generation::open(&path).err();
        let held = Generation::from_bytes(bytes, &path).err();
        assert!(matches!(held, Some(GenerationError::Damaged { .. })));
        matches!(mapped, Some(GenerationError::Damaged { .. } | GenerationError::Io(_)))
    };
    for _ in 0..200 {
        let mut bytes = whole.clone();
        let place = random.random_range(0..bytes.len());
        // The rest of the header's page is not used by anything.
        let place = if (64..4096).contains(&place) { place % 64 } else { place };
        bytes[place] ^= 1 << random.random_range(0..8);
        assert!(damaged(&bytes), "seed {seed}, byte {place}");
    }
    for _ in 0..50 {
        let length = random.random_range(0..whole.len());
        assert!(damaged(&whole[..length]), "seed {seed}, {length} bytes");
    }
    assert!(damaged(b""));
    fs_err::write(&path, &whole).unwrap();
    assert_eq!(Generation::from_bytes(&whole, &path).unwrap().keys(), Generation::open(&path).unwrap().keys());
}

#[test]
fn changes_during_a_build_are_not_lost() {
    let (seed, mut random) = random();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vectors");
    let all = clustered(3000, &mut random);
    let mut vectors = filled(&all[..2000]);
    let snapshot = vectors.snapshot();
    vectors.insert(3, &all[2500]);
    vectors.insert(30_000, &all[2600]);
    assert!(vectors.remove(6));
    snapshot.build(1, 2, &|_| true, |built| built.write(&path)).unwrap();
    vectors.adopt(Generation::open(&path).unwrap());
    assert_eq!((vectors.len(), vectors.fresh()), (2000, 2), "seed {seed}");
    assert!(
        vectors.get(6).is_none()
            && vectors.get(3) == Some(&all[2500][..])
            && vectors.get(30_000) == Some(&all[2600][..])
    );
    assert_eq!(vectors.get(9), Some(&all[3][..]));
}

#[test]
fn building_can_be_stopped() {
    let (_, mut random) = random();
    let vectors = filled(&clustered(3000, &mut random));
    let stopped = vectors.snapshot().build(0, 2, &|done| done < 500, |_: &Built<'_>| Ok(())).err();
    assert!(matches!(stopped, Some(GenerationError::Stopped)));
}
