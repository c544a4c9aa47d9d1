//! Source code, cut along the tree that its grammar makes of it.

use std::time::Instant;

use tree_sitter::{Node, ParseOptions, Parser, Tree, TreeCursor};

use super::languages::{Grammar, is_attribute, is_comment};
use super::outline::{BUDGET, Outline, PARAGRAPH, Scope};
use super::text::{CLOSING, Text};

/// Levels told apart; below, lines are lines.
const DEEPEST: u32 = 250;

/// Places within a level: an item with its comments, the item itself, a paragraph of the comments.
const STEPS: u32 = 3;

/// `None` if the grammar is not done with the text by the deadline. Broken syntax is no obstacle: what the grammar
/// recognizes around it counts.
pub(super) fn outline(text: &Text<'_>, grammar: &Grammar, deadline: Instant) -> Option<Outline> {
    let tree = parse(text.source, grammar, deadline)?;
    let mut walker = Walker { text, grammar, outline: Outline::new(text), named: None };
    for line in 1..text.lines() {
        if text.line(line - 1).trim().is_empty() {
            walker.outline.cut(line, PARAGRAPH);
        }
    }
    walker.walk(&mut tree.walk());
    Some(walker.outline)
}

fn parse(source: &str, grammar: &Grammar, deadline: Instant) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(&grammar.language).ok()?;
    let mut late = |_: &tree_sitter::ParseState| Instant::now() > deadline;
    let options = ParseOptions::new().progress_callback(&mut late);
    let bytes = source.as_bytes();
    parser.parse_with_options(&mut |at, _| bytes.get(at..).unwrap_or_default(), None, Some(options))
}

struct Walker<'a, 'text> {
    text: &'a Text<'text>,
    grammar: &'a Grammar,
    outline: Outline,
    /// A definition whose wrapper (`export`, decorators) has its name already.
    named: Option<usize>,
}

/// The children of one node, as far as they were seen.
struct Level {
    depth: u32,
    scope: Option<usize>,
    /// Comments and attributes that wait for what they belong to.
    waiting: Option<Waiting>,
}

struct Waiting {
    first_line: usize,
    last_line: usize,
    /// Of the first attribute, which belongs to what follows, whatever is between.
    attributes: Option<usize>,
}

impl Walker<'_, '_> {
    /// Visits every node that may have to be cut, without recursion: a hostile tree is as deep as its text is long.
    fn walk(&mut self, cursor: &mut TreeCursor<'_>) {
        let mut levels = vec![Level { depth: 1, scope: None, waiting: None }];
        if !cursor.goto_first_child() {
            return;
        }
        while let Some(level) = levels.last_mut() {
            let node = cursor.node();
            let inner = self.visit(node, level);
            if inner.is_some() && cursor.goto_first_child() {
                levels.extend(inner);
                continue;
            }
            while !cursor.goto_next_sibling() {
                levels.pop();
                if levels.is_empty() || !cursor.goto_parent() {
                    return;
                }
            }
        }
    }

    /// Notes where a node may be cut off and what it is called. Gives the level of its children if it is too large.
    fn visit(&mut self, node: Node<'_>, level: &mut Level) -> Option<Level> {
        let (start, end) = (node.start_byte(), node.end_byte());
        let line = self.text.line_of(start);
        let line_start = self.text.start(line);
        let begins_line = self.text.slice(&(line_start..start)).trim().is_empty();
        if is_comment(node) || is_attribute(node) {
            if begins_line {
                let last_line = self.text.line_of(end.max(start + 1) - 1);
                self.wait(line, last_line, is_attribute(node).then_some(line), level);
            }
            return None;
        }
        let quality = level.depth * STEPS;
        let mut begins = if begins_line { line_start } else { start };
        let closes = self.text.slice(&(start..end)).chars().all(|character| CLOSING.contains(character));
        if begins_line && !closes && start < end {
            let waited =
                level.waiting.take().filter(|waiting| waiting.attributes.is_some() || waiting.last_line + 1 >= line);
            if let Some(waiting) = waited {
                begins = self.text.start(waiting.first_line);
                self.cut_before(waiting.first_line, waiting.attributes.unwrap_or(line), quality);
            } else {
                self.outline.cut(line, quality);
            }
        }
        let name = if self.named.take_if(|named| *named == node.id()).is_some() {
            None
        } else {
            (self.grammar.name)(node, self.text.source)
        };
        let mut scope = level.scope;
        if let Some(name) = name {
            if let Some(wrapped) = wrapped(node) {
                self.named = Some(wrapped.id());
            }
            scope = Some(self.outline.scopes.len());
            self.outline.scopes.push(Scope { range: self.text.content(&(begins..end)), name, parent: level.scope });
        }
        let tokens = self.text.tokens(&(start..end));
        (tokens > BUDGET / 2).then(|| Level { depth: (level.depth + 1).min(DEEPEST), scope, waiting: None })
    }

    /// A comment begins something of its own or goes on.
    fn wait(&mut self, line: usize, last_line: usize, attribute: Option<usize>, level: &mut Level) {
        match &mut level.waiting {
            Some(waiting) if waiting.attributes.is_some() || waiting.last_line + 1 >= line => {
                waiting.last_line = last_line;
                waiting.attributes = waiting.attributes.or(attribute);
            }
            waiting => {
                self.outline.cut(line, level.depth * STEPS);
                *waiting = Some(Waiting { first_line: line, last_line, attributes: attribute });
            }
        }
    }

    /// An item that begins at `item`, with its comments from `first` on: where both may be cut.
    fn cut_before(&mut self, first: usize, item: usize, quality: u32) {
        self.outline.cut(first, quality);
        self.outline.cut(item, quality + 1);
        for line in first + 1..item {
            let before = self.text.line(line - 1).trim();
            if before.chars().all(|character| "/*!#- ".contains(character)) {
                self.outline.cut(line, quality + 2);
            }
        }
    }
}

/// The definition inside `export` or below decorators.
fn wrapped(node: Node<'_>) -> Option<Node<'_>> {
    match node.kind() {
        "export_statement" => node.child_by_field_name("declaration"),
        "decorated_definition" => node.child_by_field_name("definition"),
        "expression_statement" => node.named_child(0),
        "statement" => {
            let mut cursor = node.walk();
            node.named_children(&mut cursor)
                .find(|child| child.kind().starts_with("create_") || matches!(child.kind(), "alter_table" | "insert"))
        }
        _ => None,
    }
}
