//! Markdown, cut at headings first, then between blocks; a code block or a table stays whole if it can.

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::outline::{Outline, Scope, WITHIN};
use super::text::Text;

/// Quality of the place before a block; a heading's is its level, a nested block's is worse.
const BLOCK: u32 = 100;

/// Levels of nested blocks told apart.
const DEEPEST: u32 = 100;

pub(super) fn outline(text: &Text<'_>) -> Outline {
    let mut outline = Outline::new(text);
    let mut sections = Sections::default();
    let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut nesting = 0_u32;
    let mut heading: Option<(u32, usize, String)> = None;
    for (event, range) in Parser::new_ext(text.source, options).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level, .. }) if nesting == 0 => {
                heading = Some((number(level), range.start, String::new()))
            }
            Event::End(TagEnd::Heading(_)) => {
                if let Some((level, start, name)) = heading.take() {
                    sections.begin(&mut outline, text, level, start, name);
                }
            }
            Event::Text(words) | Event::Code(words) => {
                if let Some((_, _, name)) = &mut heading {
                    name.push_str(&words);
                }
            }
            Event::Start(tag) if is_block(&tag) => {
                outline.cut(text.line_of(range.start), BLOCK + 2 * nesting.min(DEEPEST));
                if matches!(tag, Tag::CodeBlock(_) | Tag::Table(_)) {
                    keep_whole(&mut outline, text, &range);
                }
                nesting += 1;
            }
            Event::End(end) if is_block_end(&end) => nesting = nesting.saturating_sub(1),
            _ => {}
        }
    }
    sections.end(&mut outline, text);
    outline
}

/// The lines of a block are cut only if it is very large.
pub(super) fn keep_whole(outline: &mut Outline, text: &Text<'_>, range: &Range<usize>) {
    let trimmed = text.trimmed(range);
    let (first, last) = (text.line_of(trimmed.start), text.line_of(trimmed.end.max(1) - 1));
    for cut in outline.cuts.iter_mut().take(last + 1).skip(first + 1) {
        *cut = WITHIN;
    }
}

/// Headings become scopes that end where the next of their rank begins.
#[derive(Default)]
pub(super) struct Sections {
    /// Level and scope, outermost first.
    open: Vec<(u32, usize)>,
}

impl Sections {
    /// A heading of this level (1 is the highest) begins at a byte.
    pub fn begin(&mut self, outline: &mut Outline, text: &Text<'_>, level: u32, start: usize, name: String) {
        self.close(outline, text, level, start);
        outline.cut(text.line_of(start), level);
        let name = if name.trim().is_empty() { "…".to_owned() } else { name };
        let parent = self.open.last().map(|(_, scope)| *scope);
        self.open.push((level, outline.scopes.len()));
        outline.scopes.push(Scope { range: start..start, name, parent });
    }

    /// The text is over.
    pub fn end(&mut self, outline: &mut Outline, text: &Text<'_>) {
        self.close(outline, text, 0, text.source.len());
    }

    fn close(&mut self, outline: &mut Outline, text: &Text<'_>, level: u32, end: usize) {
        while let Some((_, scope)) = self.open.pop_if(|(open, _)| *open >= level) {
            if let Some(scope) = outline.scopes.get_mut(scope) {
                scope.range = text.content(&(scope.range.start..end));
            }
        }
    }
}

fn number(level: HeadingLevel) -> u32 {
    level as u32
}

fn is_block(tag: &Tag<'_>) -> bool {
    matches!(
        tag,
        Tag::Paragraph
            | Tag::BlockQuote(_)
            | Tag::CodeBlock(_)
            | Tag::HtmlBlock
            | Tag::List(_)
            | Tag::Item
            | Tag::Table(_)
            | Tag::FootnoteDefinition(_)
            | Tag::MetadataBlock(_)
            | Tag::DefinitionList
    )
}

fn is_block_end(end: &TagEnd) -> bool {
    matches!(
        end,
        TagEnd::Paragraph
            | TagEnd::BlockQuote(_)
            | TagEnd::CodeBlock
            | TagEnd::HtmlBlock
            | TagEnd::List(_)
            | TagEnd::Item
            | TagEnd::Table
            | TagEnd::FootnoteDefinition
            | TagEnd::MetadataBlock(_)
            | TagEnd::DefinitionList
    )
}
