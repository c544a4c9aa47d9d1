//! Source text to tokens, as `jinja2.lexer` cuts it: white space control happens here.

use super::printing::is_space;
use super::{Error, Result};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) line: usize,
    pub(super) kind: TokenKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    Data(String),
    PrintBegin,
    PrintEnd,
    BlockBegin,
    BlockEnd,
    Name(String),
    Text(String),
    Int(i128),
    Float(f64),
    Operator(&'static str),
    End,
}

const LONGEST_SOURCE: usize = 4 << 20;

/// Longer operators before their beginnings.
const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".",
    ":", "|", ",", ";",
];

pub(super) fn tokenize(source: &str) -> Result<Vec<Token>> {
    if source.len() > LONGEST_SOURCE {
        return Err(Error::new(format!(
            "the template is {} bytes long; templates of at most {LONGEST_SOURCE} are read",
            source.len()
        )));
    }
    let mut source = source.replace("\r\n", "\n").replace('\r', "\n");
    if source.ends_with('\n') {
        source.pop();
    }
    let mut lexer = Lexer { source: &source, position: 0, line: 1, line_starting: true, tokens: Vec::new() };
    lexer.run()?;
    lexer.push(TokenKind::End);
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    position: usize,
    line: usize,
    /// Whether what was last read ended a line.
    line_starting: bool,
    tokens: Vec<Token>,
}

impl<'s> Lexer<'s> {
    fn run(&mut self) -> Result<()> {
        while self.position < self.source.len() {
            let rest = self.rest();
            let Some(begin) = first_tag(rest) else {
                self.push(TokenKind::Data(rest.to_string()));
                return Ok(());
            };
            let (data, tag) = rest.split_at(begin);
            if let Some((sign, length)) = raw_begin(tag) {
                self.data(data, sign, false);
                self.advance(begin + length);
                self.raw()?;
                continue;
            }
            let sign = tag[2..].chars().next().filter(|sign| matches!(sign, '-' | '+'));
            self.data(data, sign, tag.starts_with("{{"));
            self.advance(begin + 2 + usize::from(sign.is_some()));
            match &tag[..2] {
                "{#" => self.comment()?,
                "{{" => self.tag(TokenKind::PrintBegin, "}}", TokenKind::PrintEnd)?,
                _ => self.tag(TokenKind::BlockBegin, "%}", TokenKind::BlockEnd)?,
            }
        }
        Ok(())
    }

    fn rest(&self) -> &'s str {
        &self.source[self.position..]
    }

    fn push(&mut self, kind: TokenKind) {
        self.tokens.push(Token { line: self.line, kind });
    }

    fn advance(&mut self, length: usize) {
        let read = &self.rest()[..length];
        self.line += read.matches('\n').count();
        self.line_starting = read.ends_with('\n');
        self.position += length;
    }

    fn error(&self, message: impl Into<String>) -> Error {
        Error::new(message).at(self.line)
    }

    /// Text before a tag, without the white space that the tag's sign or `lstrip_blocks` takes.
    fn data(&mut self, text: &str, sign: Option<char>, print: bool) {
        let kept = match sign {
            Some('-') => text.trim_end_matches(is_space),
            None if !print => {
                let line_begin = text.rfind('\n').map_or(0, |position| position + 1);
                let blank = text[line_begin..].chars().all(is_space);
                if blank && (line_begin > 0 || self.line_starting) { &text[..line_begin] } else { text }
            }
            _ => text,
        };
        if !kept.is_empty() {
            self.push(TokenKind::Data(kept.to_string()));
        }
    }

    fn comment(&mut self) -> Result<()> {
        let end = self.rest().find("#}").ok_or_else(|| self.error("missing end of comment tag"))?;
        let sign = self.rest()[..end].chars().next_back();
        self.advance(end);
        self.close(2, sign);
        Ok(())
    }

    /// Reads a tag's closing marker of `length` bytes and the white space that it takes.
    fn close(&mut self, length: usize, sign: Option<char>) {
        let after = &self.rest()[length..];
        let space = match sign {
            Some('-') => after.len() - after.trim_start_matches(is_space).len(),
            Some('+') => 0,
            _ => usize::from(after.starts_with('\n')),
        };
        self.advance(length + space);
    }

    fn raw(&mut self) -> Result<()> {
        let rest = self.rest();
        let mut from = 0;
        while let Some(found) = rest[from..].find("{%") {
            let begin = from + found;
            if let Some((sign, end_sign, length)) = raw_end(&rest[begin..]) {
                self.data(&rest[..begin], sign, false);
                self.advance(begin + length - 2);
                self.close(2, end_sign);
                return Ok(());
            }
            from = begin + 2;
        }
        Err(self.error("missing end of raw directive"))
    }

    fn tag(&mut self, begin: TokenKind, end: &str, end_kind: TokenKind) -> Result<()> {
        self.push(begin);
        let mut open: Vec<&str> = Vec::new();
        loop {
            let rest = self.rest();
            let Some(character) = rest.chars().next() else { return Err(self.error("unexpected end of template")) };
            if open.is_empty() {
                let signed = rest.starts_with(['-', '+']) && rest[1..].starts_with(end);
                if signed && (character == '-' || end == "%}") {
                    self.push(end_kind);
                    self.advance(1);
                    self.close(2, Some(character));
                    return Ok(());
                }
                if rest.starts_with(end) {
                    self.push(end_kind);
                    // Only blocks take the line break after them.
                    self.close(2, if end == "%}" { None } else { Some('+') });
                    return Ok(());
                }
            }
            if is_space(character) {
                self.advance(rest.len() - rest.trim_start_matches(is_space).len());
            } else if character.is_ascii_digit() {
                self.number()?;
            } else if character == '_' || character.is_alphanumeric() {
                let length = rest.find(|other: char| other != '_' && !other.is_alphanumeric()).unwrap_or(rest.len());
                self.push(TokenKind::Name(rest[..length].to_string()));
                self.advance(length);
            } else if matches!(character, '\'' | '"') {
                self.string(character)?;
            } else {
                self.operator(&mut open)?;
            }
        }
    }

    fn number(&mut self) -> Result<()> {
        let rest = self.rest();
        let after_dot = self.source[..self.position].ends_with('.');
        let digits = |text: &str| {
            let end = text.find(|other: char| other != '_' && !other.is_ascii_digit()).unwrap_or(text.len());
            text[..end].trim_end_matches('_').len()
        };
        let whole = digits(rest);
        let mut end = whole;
        if !after_dot {
            if rest[end..].starts_with('.') && rest[end + 1..].starts_with(|next: char| next.is_ascii_digit()) {
                end += 1 + digits(&rest[end + 1..]);
            }
            if rest[end..].starts_with(['e', 'E']) {
                let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
                let exponent = &rest[end + 1 + sign..];
                if exponent.starts_with(|next: char| next.is_ascii_digit()) {
                    end += 1 + sign + digits(exponent);
                }
            }
        }
        let text = rest[..end].replace('_', "");
        if end > whole {
            let number = text.parse().map_err(|_| self.error(format!("bad number {text}")))?;
            self.push(TokenKind::Float(number));
            self.advance(end);
            return Ok(());
        }
        let radix = match rest.get(..2).map(str::to_ascii_lowercase).as_deref() {
            Some("0x") => 16,
            Some("0o") => 8,
            Some("0b") => 2,
            _ => 10,
        };
        let (text, end) = if radix == 10 {
            (text, end)
        } else {
            let body = &rest[2..];
            let length = body.find(|other: char| other != '_' && !other.is_digit(radix)).unwrap_or(body.len());
            (body[..length].replace('_', ""), 2 + length)
        };
        let number =
            i128::from_str_radix(&text, radix).map_err(|_| self.error(format!("bad number {}", &rest[..end])))?;
        self.push(TokenKind::Int(number));
        self.advance(end);
        Ok(())
    }

    fn string(&mut self, quote: char) -> Result<()> {
        let rest = self.rest();
        let mut escaped = false;
        let end = rest[1..].char_indices().find_map(|(position, character)| {
            if escaped {
                escaped = false;
                return None;
            }
            escaped = character == '\\';
            (character == quote).then_some(position + 1)
        });
        let end = end.ok_or_else(|| self.error("a string is not closed"))?;
        let text = unescape(&rest[1..end]).map_err(|message| self.error(message))?;
        self.push(TokenKind::Text(text));
        self.advance(end + 1);
        Ok(())
    }

    fn operator(&mut self, open: &mut Vec<&'static str>) -> Result<()> {
        let rest = self.rest();
        let Some(operator) = OPERATORS.into_iter().find(|operator| rest.starts_with(operator)) else {
            let character = rest.chars().next().unwrap_or_default();
            return Err(self.error(format!("unexpected char {character:?}")));
        };
        match operator {
            "(" => open.push(")"),
            "[" => open.push("]"),
            "{" => open.push("}"),
            ")" | "]" | "}" if open.pop() != Some(operator) => {
                return Err(self.error(format!("unexpected '{operator}'")));
            }
            _ => {}
        }
        self.push(TokenKind::Operator(operator));
        self.advance(operator.len());
        Ok(())
    }
}

fn first_tag(text: &str) -> Option<usize> {
    text.match_indices('{')
        .map(|(position, _)| position)
        .find(|position| text[position + 1..].starts_with(['%', '{', '#']))
}

/// `{% raw %}`: its sign and length, with the white space that `-%}` takes.
fn raw_begin(tag: &str) -> Option<(Option<char>, usize)> {
    let (sign, rest) = word_in_tag(tag, "raw")?;
    if let Some(rest) = rest.strip_prefix("-%}") {
        return Some((sign, tag.len() - rest.trim_start_matches(is_space).len()));
    }
    Some((sign, tag.len() - rest.strip_prefix("%}")?.len()))
}

/// `{% endraw %}`: its two signs, and its length without the white space after.
fn raw_end(tag: &str) -> Option<(Option<char>, Option<char>, usize)> {
    let (sign, rest) = word_in_tag(tag, "endraw")?;
    let end_sign = rest.chars().next().filter(|sign| matches!(sign, '-' | '+'));
    let rest = &rest[usize::from(end_sign.is_some())..];
    Some((sign, end_sign, tag.len() - rest.strip_prefix("%}")?.len()))
}

fn word_in_tag<'t>(tag: &'t str, word: &str) -> Option<(Option<char>, &'t str)> {
    let rest = tag.strip_prefix("{%")?;
    let sign = rest.chars().next().filter(|sign| matches!(sign, '-' | '+'));
    let rest = rest[usize::from(sign.is_some())..].trim_start_matches(is_space);
    Some((sign, rest.strip_prefix(word)?.trim_start_matches(is_space)))
}

/// Escapes as Python's `unicode-escape` reads them: what it does not know stays as it is.
fn unescape(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find('\\') {
        plain.push_str(&rest[..position]);
        rest = &rest[position + 1..];
        let Some(character) = rest.chars().next() else { return Err("\\ at end of string".to_string()) };
        let digits = |from: usize, most: usize, radix: u32| {
            let digits = rest[from..].bytes().take(most).take_while(|byte| char::from(*byte).is_digit(radix));
            from + digits.count()
        };
        let mut end = character.len_utf8();
        match character {
            '\n' => {}
            '\\' | '\'' | '"' => plain.push(character),
            'a' => plain.push('\u{7}'),
            'b' => plain.push('\u{8}'),
            'f' => plain.push('\u{c}'),
            'n' => plain.push('\n'),
            'r' => plain.push('\r'),
            't' => plain.push('\t'),
            'v' => plain.push('\u{b}'),
            '0'..='7' => {
                end = digits(0, 3, 8);
                plain.push(code_point(&rest[..end], 8)?);
            }
            'x' | 'u' | 'U' => {
                let most = match character {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                end = digits(1, most, 16);
                if end != most + 1 {
                    return Err(format!("truncated \\{character} escape"));
                }
                plain.push(code_point(&rest[1..end], 16)?);
            }
            'N' => return Err("\\N{..} escapes are not supported; write the character itself".to_string()),
            ascii if ascii.is_ascii() => plain.extend(['\\', ascii]),
            // Python escapes what is not ASCII first, which takes the backslash apart from its character.
            other => plain.push_str(&match u32::from(other) {
                code @ ..=0xff => format!("\\x{code:02x}"),
                code @ ..=0xffff => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
        }
        rest = &rest[end..];
    }
    plain.push_str(rest);
    Ok(plain)
}

fn code_point(digits: &str, radix: u32) -> Result<char, String> {
    let code = u32::from_str_radix(digits, radix).map_err(|error| error.to_string())?;
    char::from_u32(code).ok_or_else(|| format!("U+{code:04X} is not a character"))
}
