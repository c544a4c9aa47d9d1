//! The pool of blocks by itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::network::Arithmetic;
use super::{VOCABULARY, fresh_seed, prompt};
use crate::models::decoder::DecoderConfig;
use crate::models::rotary::Regime;
use crate::network::{BLOCK, Block, Limits, Token};
use crate::scheduler::pool::Pool;

/// Sequences come, grow, share, fail and go; each block is in one place at any time, and what is
/// found is what was kept.
#[test]
fn blocks_are_never_lost_or_mixed_up() {
    let seed = fresh_seed();
    let mut random = StdRng::seed_from_u64(seed);
    let config = DecoderConfig { vocab_size: VOCABULARY, ..DecoderConfig::default() };
    let limits = Limits { sequences: 1, tokens: 1 };
    let mut network =
        Arithmetic { config, limits, blocks: HashMap::new(), memory: 7, sight: None, probe: Arc::default() };
    let mut pool = Pool::new(8, 4);
    let token = |id| Token { id, regime: Regime::Usual };
    let beginnings: Vec<Vec<u32>> = (0..3).map(|_| prompt(&mut random, 300)).collect();
    let mut held: Vec<(Vec<Token>, Vec<Block>)> = Vec::new();
    let (mut shared, mut refused) = (0, 0);
    for _ in 0..3000 {
        if held.len() < 4 && random.random_bool(0.6) {
            let mut tokens = beginnings[random.random_range(0..3)][..random.random_range(1..300)].to_vec();
            tokens.extend(prompt(&mut random, 20));
            let tokens: Vec<Token> = tokens.into_iter().map(token).collect();
            let found = pool.find(&tokens);
            shared += found.blocks.len();
            let mut table = found.blocks;
            if let Some((part, positions)) = found.part {
                assert!(positions > 0 && positions <= BLOCK && table.len() * BLOCK + positions < tokens.len());
                pool.release(part);
            }
            while table.len() < tokens.len().div_ceil(BLOCK)
                && let Some(block) = pool.take(&mut network)
            {
                assert!(!held.iter().any(|(_, other)| other.contains(&block)) && !table.contains(&block));
                let start = table.len() * BLOCK;
                let block_tokens = &tokens[start..tokens.len().min(start + BLOCK)];
                let block = if block_tokens.len() == BLOCK || random.random_bool(0.5) {
                    pool.keep(table.last().copied(), block, block_tokens)
                } else {
                    block
                };
                table.push(block);
            }
            refused += usize::from(table.len() < tokens.len().div_ceil(BLOCK));
            held.push((tokens, table));
        } else if !held.is_empty() {
            let (_, table) = held.swap_remove(random.random_range(0..held.len()));
            let failed = random.random_bool(0.2);
            table.iter().rev().for_each(|block| pool.release(*block));
            if failed {
                table.iter().rev().for_each(|block| pool.forget(*block));
            }
        } else {
            pool.trim(&mut network);
            assert!(pool.usage().kept <= 4 && pool.usage().held == 0, "seed {seed}");
        }
        pool.check();
        let distinct: HashSet<Block> = held.iter().flat_map(|(_, table)| table).copied().collect();
        assert_eq!(pool.usage().held, distinct.len(), "seed {seed}");
    }
    assert!(shared > 100 && refused > 10, "seed {seed}: {shared}, {refused}");
}
