use codriver_notebooks::{Bundle, Output, StreamName, to_terminal};
use serde_json::{Map, Value, json};

fn stream(text: &str) -> String {
    to_terminal(&Output::Stream { name: StreamName::Stdout, text: text.to_owned() })
}

fn display(data: Value) -> String {
    let data: Map<String, Value> = serde_json::from_value(data).unwrap();
    to_terminal(&Output::Display { bundle: Bundle { data, ..Bundle::default() } })
}

#[test]
fn text_ends_its_line_and_keeps_its_colours() {
    assert_eq!(stream("a"), "a\n");
    assert_eq!(stream("a\n"), "a\n");
    assert_eq!(stream(""), "");
    assert_eq!(stream("\u{1b}[31mred\u{1b}[0m"), "\u{1b}[31mred\u{1b}[0m\n");
}

#[test]
fn a_notebook_cannot_steer_the_terminal() {
    assert_eq!(stream("\u{1b}[2J\u{1b}]0;title\u{7}a\u{1b}]8;;x\u{1b}\\b\u{7}\u{1b}c\u{9b}1"), "ab1\n");
    assert_eq!(stream("unfinished \u{1b}[3"), "unfinished \n");
    assert_eq!(stream("unfinished \u{1b}"), "unfinished \n");
}

#[test]
fn progress_lines_settle() {
    assert_eq!(stream("1 %\r50 %\r100 %\ndone\r\nab\u{8}c"), "100 %\ndone\nac\n");
}

#[test]
fn the_plainest_rich_type_is_shown() {
    assert_eq!(display(json!({"text/html": "<b>x</b>", "text/plain": "x"})), "x\n");
    assert_eq!(display(json!({"text/markdown": ["# a\n", "b"]})), "# a\nb\n");
    assert_eq!(display(json!({"image/png": "AAAA", "text/html": "<img>"})), "[image/png, text/html]\n");
    assert_eq!(display(json!({})), "");
    assert_eq!(display(json!({"text/html": "", "text/plain": []})), "", "a display that was taken back");
}

#[test]
fn an_error_without_a_traceback_still_says_something() {
    let error = Output::Error { name: "SqlError".to_owned(), value: "no table".to_owned(), traceback: vec![] };
    assert_eq!(to_terminal(&error), "SqlError: no table\n");
}
