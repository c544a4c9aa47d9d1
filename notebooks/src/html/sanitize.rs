//! Markdown and HTML that others wrote, made safe for a page.

use std::borrow::Cow;
use std::sync::OnceLock;

use ammonia::Builder;
use pulldown_cmark::{CodeBlockKind, CowStr, Event, Options, Parser, Tag, TagEnd, html::push_html};

use super::{code, escape};

/// Renders Markdown; `attachment` resolves `attachment:NAME` images to `data:` addresses.
pub fn markdown(text: &str, attachment: &dyn Fn(&str) -> Option<String>) -> String {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS | Options::ENABLE_FOOTNOTES;
    let mut events = Vec::new();
    let mut block: Option<(String, String)> = None;
    for event in Parser::new_ext(text, options) {
        match (event, &mut block) {
            (Event::Start(Tag::CodeBlock(kind)), _) => {
                let language = match kind {
                    CodeBlockKind::Fenced(language) => {
                        language.split_whitespace().next().unwrap_or_default().to_owned()
                    }
                    CodeBlockKind::Indented => String::new(),
                };
                block = Some((language, String::new()));
            }
            (Event::Text(text), Some((_, source))) => source.push_str(&text),
            (Event::End(TagEnd::CodeBlock), Some((language, source))) => {
                let code = code::highlight(source, language).unwrap_or_else(|| escape(source));
                events.push(Event::Html(format!("<pre class=\"listing\">{code}</pre>\n").into()));
                block = None;
            }
            (Event::Start(Tag::Image { link_type, dest_url, title, id }), _) => {
                let address = dest_url.strip_prefix("attachment:").and_then(attachment).map(CowStr::from);
                let dest_url = address.unwrap_or(dest_url);
                events.push(Event::Start(Tag::Image { link_type, dest_url, title, id }));
            }
            (event, _) => events.push(event),
        }
    }
    let mut rendered = String::new();
    push_html(&mut rendered, events.into_iter());
    html(&rendered)
}

/// Keeps what shows (tables, folds, colours, inline images), removes what acts.
pub fn html(untrusted: &str) -> String {
    static SANITIZER: OnceLock<Builder<'static>> = OnceLock::new();
    SANITIZER.get_or_init(sanitizer).clean(untrusted).to_string()
}

fn sanitizer() -> Builder<'static> {
    let mut builder = Builder::default();
    builder
        .add_tags(["details", "summary", "progress", "meter", "input", "section", "figure", "figcaption"])
        .add_generic_attributes(["class", "style", "role", "aria-label", "title"])
        .add_tag_attributes("details", ["open"])
        .add_tag_attributes("progress", ["value", "max"])
        .add_tag_attributes("meter", ["value", "max", "min"])
        .add_tag_attributes("table", ["border"])
        .add_tag_attributes("input", ["checked", "disabled"])
        .add_tag_attribute_values("input", "type", ["checkbox"])
        .add_url_schemes(["data"])
        .attribute_filter(filter_attribute);
    builder
}

/// `data:` addresses are for images in `img` only.
fn filter_attribute<'u>(element: &str, attribute: &str, value: &'u str) -> Option<Cow<'u, str>> {
    if attribute == "style" {
        let style = filter_style(value);
        return (!style.is_empty()).then_some(Cow::Owned(style));
    }
    let address = matches!(attribute, "href" | "src" | "cite");
    let data = value.trim_start().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
    let image = element == "img" && attribute == "src" && value.trim_start().starts_with("data:image/");
    (!(address && data) || image).then_some(Cow::Borrowed(value))
}

/// Keeps the declarations that only change how something looks. (ammonia's own filter
/// loses a function within a function, `var(--x, rgba(..))`.)
fn filter_style(style: &str) -> String {
    let kept = style.split(';').filter_map(|declaration| {
        let (property, value) = declaration.split_once(':')?;
        let (property, value) = (property.trim().to_ascii_lowercase(), value.trim());
        let lower = value.to_ascii_lowercase();
        let loads = ["url(", "image(", "image-set(", "expression(", "\\", "/*", "@", "<"]
            .iter()
            .any(|part| lower.contains(part));
        (STYLE_PROPERTIES.contains(&property.as_str()) && !loads).then(|| format!("{property}:{value}"))
    });
    kept.collect::<Vec<_>>().join(";")
}

/// What an output may style: how it looks, not where it lies on the page.
const STYLE_PROPERTIES: &[&str] = &[
    "align-items",
    "background",
    "background-color",
    "border",
    "border-bottom",
    "border-bottom-color",
    "border-collapse",
    "border-color",
    "border-left",
    "border-radius",
    "border-right",
    "border-spacing",
    "border-style",
    "border-top",
    "border-width",
    "box-sizing",
    "color",
    "column-gap",
    "cursor",
    "display",
    "flex",
    "flex-direction",
    "flex-grow",
    "flex-shrink",
    "flex-wrap",
    "font",
    "font-family",
    "font-size",
    "font-style",
    "font-variant-numeric",
    "font-weight",
    "gap",
    "grid-template-columns",
    "height",
    "justify-content",
    "letter-spacing",
    "line-height",
    "list-style",
    "list-style-type",
    "margin",
    "margin-bottom",
    "margin-left",
    "margin-right",
    "margin-top",
    "max-height",
    "max-width",
    "min-height",
    "min-width",
    "opacity",
    "overflow",
    "overflow-wrap",
    "overflow-x",
    "overflow-y",
    "padding",
    "padding-bottom",
    "padding-left",
    "padding-right",
    "padding-top",
    "row-gap",
    "tab-size",
    "text-align",
    "text-decoration",
    "text-overflow",
    "text-transform",
    "user-select",
    "vertical-align",
    "white-space",
    "width",
    "word-break",
    "word-wrap",
];
