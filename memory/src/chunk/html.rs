//! Pages of the web: what they say, cut at their headings, without what stands around it.

use std::ops::Range;

use scraper::{Html, Node, Selector};

use super::markdown::{Sections, keep_whole};
use super::outline::Outline;
use super::text::Text;
use super::{Chunk, Place, STEP};

/// Navigation, machinery and what is not shown.
const BOILERPLATE: [&str; 22] = [
    "script", "style", "noscript", "template", "nav", "header", "footer", "aside", "form", "button", "select", "input",
    "svg", "canvas", "iframe", "object", "video", "audio", "dialog", "head", "menu", "map",
];
const ROLES: [&str; 7] = ["navigation", "banner", "contentinfo", "search", "complementary", "menu", "dialog"];

/// Elements that begin and end a line of their own.
const BLOCKS: [&str; 26] = [
    "p",
    "div",
    "section",
    "article",
    "main",
    "ul",
    "ol",
    "li",
    "dl",
    "dt",
    "dd",
    "table",
    "tr",
    "blockquote",
    "pre",
    "figure",
    "figcaption",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "details",
    "summary",
];

/// Quality of the place before a block, behind headings.
const BLOCK: u32 = 100;

pub(super) fn chunk(name: &str, source: &str) -> Vec<Chunk> {
    let html = Html::parse_document(source);
    let page = Page::read(&html);
    let title = first(&html, "title").map(|title| title.split_whitespace().collect::<Vec<_>>().join(" "));
    let name =
        title.filter(|title| !title.is_empty()).map_or_else(|| name.to_owned(), |title| format!("{name}{STEP}{title}"));
    let text = Text::new(&page.text);
    let mut outline = Outline::new(&text);
    for block in &page.blocks {
        outline.cut(text.line_of(*block), BLOCK);
    }
    for whole in &page.whole {
        keep_whole(&mut outline, &text, whole);
    }
    let mut sections = Sections::default();
    for (level, start, heading) in page.headings {
        sections.begin(&mut outline, &text, level, start, heading);
    }
    sections.end(&mut outline, &text);
    let pieces = outline.chunks(&name, &text).into_iter();
    pieces
        .map(|piece| Chunk { text: piece.text.trim().to_owned(), place: Place::Whole, ..piece })
        .filter(|piece| !piece.text.is_empty())
        .collect()
}

fn first(html: &Html, selector: &str) -> Option<String> {
    let selector = Selector::parse(selector).ok()?;
    html.select(&selector).next().map(|element| element.text().collect())
}

/// A page as plain text, and where its parts begin.
#[derive(Default)]
struct Page {
    text: String,
    blocks: Vec<usize>,
    /// Level, beginning, words.
    headings: Vec<(u32, usize, String)>,
    /// What should not be cut: preformatted text and tables.
    whole: Vec<Range<usize>>,
    /// White space is kept.
    preformatted: usize,
    heading: Option<(u32, usize)>,
    tables: Vec<usize>,
}

impl Page {
    fn read(html: &Html) -> Self {
        let content = ["main", "[role=main]", "article"].iter().find_map(|selector| {
            let selector = Selector::parse(selector).ok()?;
            let mut found = html.select(&selector);
            // Several articles are a list of teasers: the page is what is meant then.
            found.next().filter(|_| found.next().is_none())
        });
        let root = content.map_or_else(|| html.tree.root(), |element| *element);
        let mut page = Self::default();
        let mut node = root;
        // No recursion: a hostile page is nested as deep as it is long.
        loop {
            let entered = page.open(node.value());
            if entered && let Some(child) = node.first_child() {
                node = child;
                continue;
            }
            if entered {
                page.close(node.value());
            }
            loop {
                if node.id() == root.id() {
                    return page;
                }
                if let Some(next) = node.next_sibling() {
                    node = next;
                    break;
                }
                let Some(parent) = node.parent() else { return page };
                page.close(parent.value());
                node = parent;
            }
        }
    }

    /// False if what is inside does not count.
    fn open(&mut self, node: &Node) -> bool {
        match node {
            Node::Text(text) => self.words(text),
            Node::Element(element) => {
                let name = element.name();
                let hidden = element.attr("hidden").is_some() || element.attr("aria-hidden") == Some("true");
                if BOILERPLATE.contains(&name)
                    || element.attr("role").is_some_and(|role| ROLES.contains(&role))
                    || hidden
                {
                    return false;
                }
                if BLOCKS.contains(&name) {
                    self.begin_block(name);
                }
                match name {
                    "br" => self.text.push('\n'),
                    "li" => self.text.push_str("- "),
                    "td" | "th" => self.text.push_str(" | "),
                    "img" => {
                        if let Some(words) = element.attr("alt").filter(|words| !words.trim().is_empty()) {
                            self.words(&format!(" [image: {words}] "));
                        }
                    }
                    "pre" => self.preformatted += 1,
                    "table" => self.tables.push(self.text.len()),
                    _ => {}
                }
                if let Some(level) = level(name) {
                    self.heading = Some((level, self.text.len()));
                }
            }
            _ => {}
        }
        true
    }

    fn close(&mut self, node: &Node) {
        let Node::Element(element) = node else { return };
        let name = element.name();
        match name {
            "pre" => self.preformatted = self.preformatted.saturating_sub(1),
            "table" => {
                if let Some(start) = self.tables.pop() {
                    self.whole.push(start..self.text.len());
                }
            }
            _ => {}
        }
        if level(name).is_some()
            && let Some((level, start)) = self.heading.take()
        {
            let words = self.text.get(start..).unwrap_or_default().trim().to_owned();
            if !words.is_empty() {
                self.headings.push((level, start, words));
            }
        }
        if name == "pre"
            && let Some(start) = self.blocks.last()
        {
            self.whole.push(*start..self.text.len());
        }
        if BLOCKS.contains(&name) && !self.text.ends_with('\n') && !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    /// Rows and items stand close, other blocks apart.
    fn begin_block(&mut self, name: &str) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        let close = matches!(name, "li" | "tr" | "dt" | "dd" | "summary");
        if !close && !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
        if self.tables.is_empty() {
            self.blocks.push(self.text.len());
        }
    }

    fn words(&mut self, words: &str) {
        if self.preformatted > 0 {
            return self.text.push_str(words);
        }
        for (position, word) in words.split_whitespace().enumerate() {
            let apart = position > 0 || words.starts_with(char::is_whitespace);
            if apart && !self.text.ends_with([' ', '\n']) && !self.text.is_empty() {
                self.text.push(' ');
            }
            self.text.push_str(word);
        }
        if words.ends_with(char::is_whitespace) && !self.text.ends_with([' ', '\n']) && !self.text.is_empty() {
            self.text.push(' ');
        }
    }
}

fn level(name: &str) -> Option<u32> {
    ["h1", "h2", "h3", "h4", "h5", "h6"].iter().position(|heading| *heading == name).map(|position| position as u32 + 1)
}
