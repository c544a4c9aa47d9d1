//! Terminal colours as HTML.

use super::table::escape;

/// `text` with its ANSI colours as spans; everything else is escaped or dropped.
pub fn to_html(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    let mut style = Style::default();
    let mut open = false;
    let mut rest = text;
    while let Some(position) = rest.find('\u{1b}') {
        push_text(&mut html, &rest[..position], &style, &mut open);
        let (sequence, after) = escape_sequence(&rest[position..]);
        if let Some(codes) = sequence {
            if open {
                html.push_str("</span>");
                open = false;
            }
            style.apply(codes);
        }
        rest = after;
    }
    push_text(&mut html, rest, &style, &mut open);
    if open {
        html.push_str("</span>");
    }
    html
}

fn push_text(html: &mut String, text: &str, style: &Style, open: &mut bool) {
    let shown: String =
        text.chars().filter(|character| !character.is_control() || matches!(character, '\n' | '\t')).collect();
    if shown.is_empty() {
        return;
    }
    if !*open && *style != Style::default() {
        html.push_str(&format!("<span style=\"{}\">", style.css()));
        *open = true;
    }
    html.push_str(&escape(&shown));
}

/// Splits off the escape sequence at the beginning: its colour codes if it has any, and
/// what follows it.
fn escape_sequence(text: &str) -> (Option<&str>, &str) {
    let body = &text[1..];
    if let Some(parameters) = body.strip_prefix('[') {
        return match parameters.find(|character: char| ('@'..='~').contains(&character)) {
            Some(end) => {
                let codes = parameters[end..].starts_with('m').then(|| &parameters[..end]);
                (codes, &parameters[end + 1..])
            }
            None => (None, ""),
        };
    }
    if let Some(command) = body.strip_prefix(']') {
        let bell = command.find('\u{7}').map(|end| end + 1);
        let terminator = command.find("\u{1b}\\").map(|end| end + 2);
        let end = bell.into_iter().chain(terminator).min().unwrap_or(command.len());
        return (None, &command[end..]);
    }
    let skipped = body.chars().next().map_or(0, char::len_utf8);
    (None, &body[skipped..])
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Style {
    foreground: Option<String>,
    background: Option<String>,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    strike: bool,
    inverse: bool,
}

impl Style {
    fn apply(&mut self, codes: &str) {
        let mut numbers =
            codes.split([';', ':']).map(|code| if code.is_empty() { Some(0) } else { code.parse::<u16>().ok() });
        while let Some(code) = numbers.next() {
            match code.unwrap_or(u16::MAX) {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 => self.underline = true,
                7 => self.inverse = true,
                9 => self.strike = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                27 => self.inverse = false,
                29 => self.strike = false,
                code @ 30..=37 => self.foreground = Some(named(code - 30)),
                38 => self.foreground = extended(&mut numbers),
                39 => self.foreground = None,
                code @ 40..=47 => self.background = Some(named(code - 40)),
                48 => self.background = extended(&mut numbers),
                49 => self.background = None,
                code @ 90..=97 => self.foreground = Some(named(code - 90 + 8)),
                code @ 100..=107 => self.background = Some(named(code - 100 + 8)),
                _ => {}
            }
        }
    }

    fn css(&self) -> String {
        let mut css = String::new();
        let (foreground, background) = match self.inverse {
            true => (
                Some(self.background.clone().unwrap_or_else(|| "var(--jp-layout-color0, #fff)".to_owned())),
                Some(self.foreground.clone().unwrap_or_else(|| "var(--jp-content-font-color1, #000)".to_owned())),
            ),
            false => (self.foreground.clone(), self.background.clone()),
        };
        for (name, value) in [("color", foreground), ("background-color", background)] {
            if let Some(value) = value {
                css.push_str(&format!("{name}: {value}; "));
            }
        }
        let flags = [
            (self.bold, "font-weight: bold; "),
            (self.dim, "opacity: 0.7; "),
            (self.italic, "font-style: italic; "),
            (self.underline, "text-decoration: underline; "),
            (self.strike, "text-decoration: line-through; "),
        ];
        flags.iter().filter(|(set, _)| *set).for_each(|(_, rule)| css.push_str(rule));
        css.trim_end().to_owned()
    }
}

/// The sixteen named colours, readable on light and dark grounds.
fn named(index: u16) -> String {
    const COLORS: [(&str, &str); 16] = [
        ("black", "#3e424d"),
        ("red", "#e75c58"),
        ("green", "#00a250"),
        ("yellow", "#c79a00"),
        ("blue", "#208ffb"),
        ("magenta", "#d160c4"),
        ("cyan", "#36a3a6"),
        ("white", "#a5aab5"),
        ("black-intense", "#282c36"),
        ("red-intense", "#b22b31"),
        ("green-intense", "#007427"),
        ("yellow-intense", "#b27d12"),
        ("blue-intense", "#0065ca"),
        ("magenta-intense", "#a03196"),
        ("cyan-intense", "#258f8f"),
        ("white-intense", "#a1a6b2"),
    ];
    let (name, fallback) = COLORS[usize::from(index.min(15))];
    format!("var(--jp-ansi-{name}, {fallback})")
}

/// `38;5;n` and `38;2;r;g;b`.
fn extended(numbers: &mut impl Iterator<Item = Option<u16>>) -> Option<String> {
    match numbers.next().flatten()? {
        5 => Some(match numbers.next().flatten()?.min(255) {
            index @ 0..=15 => named(index),
            index @ 16..=231 => {
                let level = |step: u16| if step == 0 { 0 } else { 55 + 40 * step };
                let index = index - 16;
                format!("rgb({}, {}, {})", level(index / 36), level(index / 6 % 6), level(index % 6))
            }
            index => {
                let gray = 8 + 10 * (index - 232);
                format!("rgb({gray}, {gray}, {gray})")
            }
        }),
        2 => {
            let mut channel = || numbers.next().flatten().map(|value| value.min(255));
            Some(format!("rgb({}, {}, {})", channel()?, channel()?, channel()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_spans_and_text_is_escaped() {
        assert_eq!(
            to_html("a\u{1b}[1;31m<b>\u{1b}[0m & c"),
            "a<span style=\"color: var(--jp-ansi-red, #e75c58); font-weight: bold;\">&lt;b&gt;</span> &amp; c"
        );
        assert_eq!(to_html("\u{1b}[38;5;196mx\u{1b}[m"), "<span style=\"color: rgb(255, 0, 0);\">x</span>");
        assert_eq!(to_html("\u{1b}[48;2;1;2;3mx"), "<span style=\"background-color: rgb(1, 2, 3);\">x</span>");
    }

    #[test]
    fn other_sequences_vanish() {
        assert_eq!(to_html("a\u{1b}[2K\u{1b}]0;title\u{7}b\u{1b}(\r\u{8}"), "ab");
        assert_eq!(to_html("cut\u{1b}[31"), "cut");
        assert_eq!(to_html("\u{1b}"), "");
    }

    #[test]
    fn codes_cannot_smuggle_markup() {
        let html = to_html("\u{1b}[31\"><script>mx\u{1b}[38;5;99999mz");
        assert!(!html.contains("<script"), "{html}");
    }
}
