use codriver_notebooks::{Bundle, Cell, Notebook, Output, StreamName, to_html};
use serde_json::{Value, json};

fn page(cells: Vec<Cell>) -> String {
    let mut notebook = Notebook::new();
    notebook.cells = cells;
    to_html(&notebook)
}

fn shown(data: Value) -> String {
    let Value::Object(data) = data else { panic!("an object") };
    let mut cell = Cell::code("1");
    cell.set_outputs(&[Output::Display { bundle: Bundle { data, ..Bundle::default() } }]);
    let page = page(vec![cell]);
    let start = page.find("<div class=\"outputs\">").unwrap();
    page[start..].to_owned()
}

#[test]
fn the_page_stands_alone() {
    let page = page(vec![Cell::markdown("# Sales <2026>"), Cell::code("let a = 1;")]);
    assert!(page.starts_with("<!DOCTYPE html>"));
    assert!(page.contains("<title>Sales &lt;2026&gt;</title>"), "{page}");
    assert!(page.contains("default-src 'none'"));
    assert!(
        !page.contains("<script") && !page.contains("<link") && !page.contains("http://") && !page.contains("https://")
    );
    assert!(page.contains("prefers-color-scheme: dark"));
    assert!(page.contains("--jp-layout-color1") && page.contains("--jp-content-font-color1"));
}

#[test]
fn languages_are_told_apart_and_coloured() {
    let page = page(vec![
        Cell::code("fn main() { println!(\"hi\"); }"),
        Cell::code("%%sql -o orders\nSELECT count(*) FROM t WHERE a < 3"),
        Cell::code("%%bash\nfor i in 1 2; do echo $i; done"),
        Cell::code("!ls -la"),
        Cell::code("%%agent --model starter\nhow many <orders> are there?"),
        Cell::code("%git status"),
    ]);
    for class in ["code rust", "code sql", "code bash", "code agent", "code magic"] {
        assert!(page.contains(&format!("<section class=\"cell {class}\">")), "{class}");
    }
    assert!(page.contains("<span class=\"magic-line\">%%sql -o orders</span>"));
    let body = &page[page.find("<main>").unwrap()..];
    assert!(body.contains("hl-keyword") && body.contains("hl-string"), "{body}");
    assert!(body.contains("how many &lt;orders&gt; are there?"));
    assert!(page.matches(".hl-keyword").count() >= 2, "colours for both themes");
}

#[test]
fn markdown_is_rendered_and_sanitized() {
    let page = page(vec![Cell::markdown(
        "| a | b |\n|---|---|\n| 1 | ~~2~~ |\n\n- [x] done\n\n```sql\nselect 1\n```\n\n<script>alert(1)</script>\n\n\
         <img src=x onerror=alert(2)>\n\n[bad](javascript:alert(3)) [worse](data:text/html,x)",
    )]);
    let body = &page[page.find("<main>").unwrap()..];
    assert!(body.contains("<th>a</th>") && body.contains("<del>2</del>") && body.contains("checkbox"), "{body}");
    assert!(body.contains("<pre class=\"listing\">"), "{body}");
    for evil in ["<script", "alert(1)", "onerror", "javascript:", "data:text/html"] {
        assert!(!body.contains(evil), "{evil}: {body}");
    }
}

#[test]
fn rich_outputs_are_kept_but_cannot_act() {
    let html = shown(json!({
        "text/plain": "fallback",
        "text/html": "<details open><summary>tool <b>sql</b></summary><table class=\"frame\"><tr><td style=\"color: var(--jp-error-color1, rgba(1,2,3,.5)); \
                      position: fixed; background: URL(https://evil.test/x)\">1</td></tr></table></details><iframe src=\"https://evil.test\"></iframe>\
                      <a href=\"JaVaScRiPt:alert(1)\" onclick=\"alert(2)\">x</a>",
    }));
    assert!(html.contains("<details open=\"\"><summary>"), "{html}");
    assert!(
        html.contains("class=\"frame\"") && html.contains("style=\"color:var(--jp-error-color1, rgba(1,2,3,.5))\""),
        "{html}"
    );
    for evil in ["position", "iframe", "onclick", "alert", "evil.test", "fallback"] {
        assert!(!html.contains(evil), "{evil}: {html}");
    }
}

#[test]
fn images_are_inline() {
    let svg = shown(json!({"image/svg+xml": "<svg xmlns='x'><script>1</script></svg>", "text/plain": "a \"plot\""}));
    assert!(svg.contains("<img src=\"data:image/svg+xml;charset=utf-8,%3Csvg%20"), "{svg}");
    assert!(svg.contains("alt=\"a &quot;plot&quot;\"") && !svg.contains("<script"));
    let png = shown(json!({"image/png": ["iVBO\n", "Rw0K\n"]}));
    assert!(png.contains("data:image/png;base64,iVBORw0K\""), "{png}");
}

#[test]
fn text_and_data_fall_back() {
    assert!(shown(json!({"text/markdown": "**bold**", "text/plain": "bold"})).contains("<strong>bold</strong>"));
    assert!(shown(json!({"text/plain": "a < b"})).contains("<pre>a &lt; b</pre>"));
    assert!(shown(json!({"application/json": {"a": 1}})).contains("&quot;a&quot;: 1"));
    assert!(shown(json!({"application/x-thing": "AAAA"})).contains("[application/x-thing]"));
}

#[test]
fn terminal_colours_become_themed_colours() {
    let mut cell = Cell::code("!cargo build");
    cell.set_outputs(&[
        Output::Stream {
            name: StreamName::Stdout,
            text: "10 %\r100 %\n\u{1b}[1;31mred <b>\u{1b}[0m\u{1b}[2K".to_owned(),
        },
        Output::Error {
            name: "E".to_owned(),
            value: "v".to_owned(),
            traceback: vec!["\u{1b}[32mgreen\u{1b}[0m".to_owned()],
        },
    ]);
    let page = page(vec![cell]);
    let body = &page[page.find("<main>").unwrap()..];
    assert!(body.contains("100 %\n") && !body.contains("10 %"), "{body}");
    assert!(body.contains("var(--ansi-red") && body.contains("red &lt;b&gt;"), "{body}");
    assert!(body.contains("<pre class=\"error\">") && body.contains("var(--ansi-green"), "{body}");
    assert!(!body.contains('\u{1b}'));
}

#[test]
fn attachments_are_shown() {
    let text = r#"{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "markdown", "id": "a",
        "metadata": {}, "attachments": {"a.png": {"image/png": "AAAA"}}, "source": "![dot](attachment:a.png)"}]}"#;
    let page = to_html(&Notebook::parse(text, "t").unwrap());
    assert!(page.contains("<img src=\"data:image/png;base64,AAAA\" alt=\"dot\""), "{page}");
}
