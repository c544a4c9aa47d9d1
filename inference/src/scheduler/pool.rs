//! Who uses which block, and what the blocks that nobody uses still hold.

use crate::network::{BLOCK, Block, Network, Token};

/// Gives out the blocks of the cache. What they hold is kept in a tree by the tokens that were
/// read, so that another sequence that begins alike need not read them again (Kwon et al. 2023;
/// Zheng et al. 2024); what was not used for the longest time is given up first.
pub(super) struct Pool {
    /// How many blocks there may be.
    limit: usize,
    /// How many blocks are kept that no sequence uses, once a request ends.
    kept: usize,
    blocks: Vec<State>,
    /// Blocks that hold nothing.
    free: Vec<Block>,
    /// The blocks of the tree that sequences begin with.
    beginnings: Vec<Block>,
    clock: u64,
}

#[derive(Default)]
struct State {
    /// Sequences that use the block.
    uses: usize,
    node: Option<Node>,
}

/// A block's place in the tree. One that is not full has no children.
struct Node {
    parent: Option<Block>,
    children: Vec<Block>,
    tokens: Vec<Token>,
    /// When it was last found.
    used: u64,
}

/// What the cache holds of a sequence.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Full blocks, from the beginning on.
    pub(super) blocks: Vec<Block>,
    /// A block of which the sequence goes on with so many positions.
    pub(super) part: Option<(Block, usize)>,
}

/// How many blocks are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockUse {
    /// Those there may be.
    pub limit: usize,
    /// Those that requests use.
    pub held: usize,
    /// Those that are kept for requests that begin alike.
    pub kept: usize,
}

impl Pool {
    pub(super) fn new(limit: usize, kept: usize) -> Self {
        Self { limit, kept, blocks: Vec::new(), free: Vec::new(), beginnings: Vec::new(), clock: 0 }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Blocks that can be taken.
    pub(super) fn available(&self) -> usize {
        self.limit.saturating_sub(self.blocks.iter().filter(|block| block.uses > 0).count())
    }

    /// The blocks that hold the longest beginning of a sequence, but for its last token: its scores
    /// are asked for. They are used from now on.
    pub(super) fn find(&mut self, sequence: &[Token]) -> Found {
        let mut rest = sequence.split_last().map_or(sequence, |(_, rest)| rest);
        let mut found = Found::default();
        while let Some((first, more)) = rest.split_at_checked(BLOCK) {
            let Some(block) = self.next(found.blocks.last().copied(), first) else { break };
            found.blocks.push(block);
            rest = more;
        }
        let common = |tokens: &[Token]| tokens.iter().zip(rest).take_while(|(held, token)| held == token).count();
        let children = self.children(found.blocks.last().copied()).iter();
        let parts = children.filter_map(|block| Some((*block, common(&self.node(*block)?.tokens))));
        found.part = parts.filter(|(_, common)| *common > 0).max_by_key(|(_, common)| *common);
        if let Some((block, _)) = found.part {
            self.hold(block);
        }
        found
    }

    /// The full block of these tokens after `parent`'s. It is used from now on.
    pub(super) fn next(&mut self, parent: Option<Block>, tokens: &[Token]) -> Option<Block> {
        let block = self.child(parent, tokens)?;
        self.hold(block);
        Some(block)
    }

    /// How many full blocks of a sequence's beginning are used already.
    pub(super) fn shared(&self, sequence: &[Token]) -> usize {
        let mut parent = None;
        let used = sequence.as_chunks::<BLOCK>().0.iter().map_while(|tokens| {
            parent = Some(self.child(parent, tokens).filter(|block| self.uses(*block) > 0)?);
            parent
        });
        used.count()
    }

    /// A block that holds nothing, to be used; `None` where all are used by sequences, or where the
    /// system has no memory for more.
    pub(super) fn take(&mut self, network: &mut dyn Network) -> Option<Block> {
        let mut without_memory = Vec::new();
        let taken = loop {
            let block = match self.free.pop() {
                Some(block) => block,
                None if self.blocks.len() < self.limit && without_memory.is_empty() => {
                    self.blocks.push(State::default());
                    (self.blocks.len() - 1) as Block
                }
                None => match self.oldest() {
                    Some(oldest) => {
                        self.remove(oldest);
                        continue;
                    }
                    None => break None,
                },
            };
            match network.provide(block) {
                Ok(()) => break Some(block),
                Err(_) => without_memory.push(block),
            }
        };
        self.free.extend(without_memory);
        if let Some(block) = taken {
            self.hold(block);
        }
        taken
    }

    /// Ends a sequence's use of a block.
    pub(super) fn release(&mut self, block: Block) {
        let Some(state) = self.blocks.get_mut(block as usize) else { return };
        state.uses = state.uses.saturating_sub(1);
        if state.uses == 0 && state.node.is_none() {
            self.free.push(block);
        }
    }

    /// Keeps what a block holds, the tokens after those of `parent`, to be found. Returns the block
    /// that the sequence is to use for them: another one may hold the same already.
    pub(super) fn keep(&mut self, parent: Option<Block>, block: Block, tokens: &[Token]) -> Block {
        if parent.is_some_and(|parent| self.node(parent).is_none()) {
            return block;
        }
        if let Some(same) = self.next(parent, tokens) {
            self.release(block);
            return same;
        }
        let siblings = self.children(parent).to_vec();
        let begins_with = |all: &[Token], part: &[Token]| all.starts_with(part);
        let known =
            siblings.iter().any(|other| self.node(*other).is_some_and(|node| begins_with(&node.tokens, tokens)));
        if known {
            return block;
        }
        for other in siblings {
            let is_part = self.node(other).is_some_and(|node| begins_with(tokens, &node.tokens));
            if is_part && self.uses(other) == 0 {
                self.remove(other);
            }
        }
        self.clock += 1;
        let node = Node { parent, children: Vec::new(), tokens: tokens.to_vec(), used: self.clock };
        if let Some(state) = self.blocks.get_mut(block as usize) {
            state.node = Some(node);
        }
        self.children_mut(parent).push(block);
        block
    }

    /// Forgets what a block holds, if no sequence uses it and nothing that is kept follows it.
    pub(super) fn forget(&mut self, block: Block) {
        if self.uses(block) == 0 && self.node(block).is_some_and(|node| node.children.is_empty()) {
            self.remove(block);
        }
    }

    /// Gives back the memory of what is kept beyond the limit for it, and of what holds nothing.
    pub(super) fn trim(&mut self, network: &mut dyn Network) {
        while self.usage().kept > self.kept {
            let Some(oldest) = self.oldest() else { break };
            self.remove(oldest);
        }
        for block in &self.free {
            network.discard(*block);
        }
    }

    pub(super) fn usage(&self) -> BlockUse {
        let held = self.blocks.iter().filter(|block| block.uses > 0).count();
        let kept = self.blocks.iter().filter(|block| block.uses == 0 && block.node.is_some()).count();
        BlockUse { limit: self.limit, held, kept }
    }

    fn hold(&mut self, block: Block) {
        self.clock += 1;
        let clock = self.clock;
        if let Some(state) = self.blocks.get_mut(block as usize) {
            state.uses += 1;
            if let Some(node) = &mut state.node {
                node.used = clock;
            }
        }
    }

    fn uses(&self, block: Block) -> usize {
        self.blocks.get(block as usize).map_or(0, |state| state.uses)
    }

    fn node(&self, block: Block) -> Option<&Node> {
        self.blocks.get(block as usize)?.node.as_ref()
    }

    fn child(&self, parent: Option<Block>, tokens: &[Token]) -> Option<Block> {
        let mut children = self.children(parent).iter().copied();
        children.find(|block| self.node(*block).is_some_and(|node| node.tokens == tokens))
    }

    fn children(&self, parent: Option<Block>) -> &[Block] {
        match parent {
            Some(parent) => self.node(parent).map_or(&[], |node| &node.children),
            None => &self.beginnings,
        }
    }

    fn children_mut(&mut self, parent: Option<Block>) -> &mut Vec<Block> {
        let node = parent.and_then(|parent| self.blocks.get_mut(parent as usize)?.node.as_mut());
        node.map_or(&mut self.beginnings, |node| &mut node.children)
    }

    /// Of the blocks that no sequence uses and none follows, the one that was not found for longest.
    /// Whoever uses a block uses those before it too: what follows an unused one is unused.
    fn oldest(&self) -> Option<Block> {
        let leaves = (0..).zip(&self.blocks).filter(|(_, state)| state.uses == 0).filter_map(|(block, state)| {
            let node = state.node.as_ref().filter(|node| node.children.is_empty())?;
            Some((node.used, block))
        });
        leaves.min().map(|(_, block)| block)
    }

    /// Takes a block that no sequence uses out of the tree.
    fn remove(&mut self, block: Block) {
        let Some(node) = self.blocks.get_mut(block as usize).and_then(|state| state.node.take()) else { return };
        self.children_mut(node.parent).retain(|child| *child != block);
        self.free.push(block);
    }
}

#[cfg(test)]
impl Pool {
    /// Whether each block is where it belongs, and nowhere else.
    pub(super) fn check(&self) {
        let mut places = vec![0; self.blocks.len()];
        self.free.iter().for_each(|block| places[*block as usize] += 1);
        let reachable = |parent: Option<Block>, places: &mut Vec<usize>| {
            for child in self.children(parent) {
                assert_eq!(self.node(*child).unwrap().parent, parent);
                places[*child as usize] += 1;
            }
        };
        reachable(None, &mut places);
        for block in (0..self.blocks.len() as Block).filter(|block| self.node(*block).is_some()) {
            reachable(Some(block), &mut places);
        }
        for (block, state) in self.blocks.iter().enumerate() {
            let only_used = state.uses > 0 && state.node.is_none();
            assert_eq!(places[block], usize::from(!only_used), "block {block}: {} uses", state.uses);
            assert!(state.uses == 0 || !self.free.contains(&(block as Block)));
        }
        assert!(self.blocks.len() <= self.limit);
    }
}
