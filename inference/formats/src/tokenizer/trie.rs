//! A prefix tree over bytes: which tokens does a text begin with?

/// Nodes whose edges lie beside each other, sorted by byte.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    edges: Vec<(u8, u32)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Node {
    /// The value of the key that ends here.
    value: Option<u32>,
    first_edge: u32,
    edge_count: u16,
}

impl Trie {
    /// Of equal keys the last one's value stays.
    pub(super) fn new(mut entries: Vec<(&[u8], u32)>) -> Self {
        entries.sort_by_key(|(key, _)| *key);
        let mut trie = Self { nodes: vec![Node::default()], edges: Vec::new() };
        // Nodes still without edges, with the sorted entries below them and their depth.
        let mut open: Vec<(usize, &[(&[u8], u32)], usize)> = vec![(0, &entries, 0)];
        while let Some((position, entries, depth)) = open.pop() {
            let ended = entries.partition_point(|(key, _)| key.len() <= depth);
            let (ending, longer) = entries.split_at(ended);
            let first_edge = trie.edges.len();
            for group in longer.chunk_by(|(left, _), (right, _)| left.get(depth) == right.get(depth)) {
                let Some(byte) = group.first().and_then(|(key, _)| key.get(depth)) else {
                    continue;
                };
                trie.edges.push((*byte, trie.nodes.len() as u32));
                open.push((trie.nodes.len(), group, depth + 1));
                trie.nodes.push(Node::default());
            }
            if let Some(node) = trie.nodes.get_mut(position) {
                node.value = ending.last().map(|(_, value)| *value);
                node.first_edge = first_edge as u32;
                node.edge_count = (trie.edges.len() - first_edge) as u16;
            }
        }
        trie
    }

    /// The keys that a text begins with, shortest first: their lengths and values.
    pub(super) fn prefixes<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = (usize, u32)> + 'a {
        self.walk(text).enumerate().filter_map(|(index, node)| Some((index + 1, node.value?)))
    }

    /// How many bytes of a text are the beginning of some key.
    pub(super) fn longest_path(&self, text: &[u8]) -> usize {
        self.walk(text).count()
    }

    /// The nodes that a text leads through.
    fn walk<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = Node> + 'a {
        let mut node = self.nodes.first().copied();
        text.iter().map_while(move |byte| {
            node = node.and_then(|node| self.child(node, *byte));
            node
        })
    }

    fn child(&self, node: Node, byte: u8) -> Option<Node> {
        let first = node.first_edge as usize;
        let edges = self.edges.get(first..first + usize::from(node.edge_count))?;
        let found = edges.binary_search_by_key(&byte, |(edge, _)| *edge).ok()?;
        let (_, target) = edges.get(found)?;
        self.nodes.get(*target as usize).copied()
    }
}
