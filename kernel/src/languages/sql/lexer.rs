//! Where SQL's words, strings, comments and statements begin and end.

/// A piece of SQL, by byte offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    pub start: usize,
    pub end: usize,
    /// False for a string, quoted name or block comment that the text ends in.
    pub terminated: bool,
}

impl Token {
    pub fn text<'sql>(&self, sql: &'sql str) -> &'sql str {
        &sql[self.start..self.end]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    Word,
    QuotedName,
    String,
    Number,
    Symbol,
    Comment,
}

/// One statement of a cell, without its semicolon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    pub start: usize,
    pub end: usize,
    /// The first word in lower case; `(` for a parenthesized query.
    pub keyword: String,
    /// Whether a semicolon follows.
    pub terminated: bool,
}

impl Statement {
    /// The statement at its own line and column: what stands before it is blanked out, so
    /// that the positions DuckDB reports are positions in the cell.
    pub fn padded(&self, sql: &str) -> String {
        let before = &sql[..self.start];
        let column = before.chars().rev().take_while(|character| *character != '\n').count();
        let mut padded = "\n".repeat(before.matches('\n').count());
        padded.push_str(&" ".repeat(column));
        padded.push_str(&sql[self.start..self.end]);
        padded
    }
}

/// The statements of a cell; empty ones and lone comments are left out.
pub fn statements(sql: &str) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut current: Option<Statement> = None;
    for token in tokens(sql) {
        let text = token.text(sql);
        match (&mut current, token.kind) {
            (Some(_), TokenKind::Symbol) if text == ";" => {
                statements.extend(current.take().map(|statement| Statement { terminated: true, ..statement }));
            }
            (None, TokenKind::Symbol) if text == ";" => {}
            (None, TokenKind::Comment) => {}
            (Some(_), TokenKind::Comment) => {}
            (Some(statement), _) => statement.end = token.end,
            (None, _) => {
                current = Some(Statement {
                    start: token.start,
                    end: token.end,
                    keyword: text.to_lowercase(),
                    terminated: false,
                });
            }
        }
    }
    statements.extend(current);
    statements
}

pub fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut position = 0;
    while let Some(character) = sql[position..].chars().next() {
        if character.is_whitespace() {
            position += character.len_utf8();
            continue;
        }
        let (kind, length, terminated) = scan(&sql[position..], character);
        tokens.push(Token { kind, start: position, end: position + length, terminated });
        position += length;
    }
    tokens
}

/// The token at the beginning of `rest`: kind, length in bytes, whether it ends.
fn scan(rest: &str, first: char) -> (TokenKind, usize, bool) {
    let second = rest[first.len_utf8()..].chars().next();
    match (first, second) {
        ('-', Some('-')) => (TokenKind::Comment, rest.find('\n').unwrap_or(rest.len()), true),
        ('/', Some('*')) => ended(TokenKind::Comment, rest, block_comment(rest)),
        ('e' | 'E', Some('\'')) => {
            ended(TokenKind::String, rest, quoted(&rest[1..], '\'', true).map(|length| length + 1))
        }
        ('\'', _) => ended(TokenKind::String, rest, quoted(rest, '\'', false)),
        ('"', _) => ended(TokenKind::QuotedName, rest, quoted(rest, '"', false)),
        ('$', _) => match dollar_tag(rest) {
            Some(tag) => {
                let body = rest[tag.len()..].find(tag).map(|offset| offset + 2 * tag.len());
                ended(TokenKind::String, rest, body)
            }
            None => (TokenKind::Symbol, 1, true),
        },
        _ if first.is_alphabetic() || first == '_' => (
            TokenKind::Word,
            length_while(rest, |character| character.is_alphanumeric() || character == '_' || character == '$'),
            true,
        ),
        _ if first.is_ascii_digit() => (
            TokenKind::Number,
            length_while(rest, |character| character.is_alphanumeric() || character == '.' || character == '_'),
            true,
        ),
        _ => (TokenKind::Symbol, first.len_utf8(), true),
    }
}

fn ended(kind: TokenKind, rest: &str, length: Option<usize>) -> (TokenKind, usize, bool) {
    (kind, length.unwrap_or(rest.len()), length.is_some())
}

/// The length of a quoted run; a doubled quote (or, in `E''`, a backslash) escapes.
fn quoted(rest: &str, quote: char, backslash: bool) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((offset, character)) = characters.next() {
        if backslash && character == '\\' {
            characters.next();
        } else if character == quote {
            if characters.peek().is_some_and(|(_, next)| *next == quote) {
                characters.next();
            } else {
                return Some(offset + 1);
            }
        }
    }
    None
}

/// Block comments nest.
fn block_comment(rest: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut position = 0;
    while position < rest.len() {
        if rest[position..].starts_with("/*") {
            depth += 1;
            position += 2;
        } else if rest[position..].starts_with("*/") {
            depth -= 1;
            position += 2;
            if depth == 0 {
                return Some(position);
            }
        } else {
            position += rest[position..].chars().next().map_or(1, char::len_utf8);
        }
    }
    None
}

/// `$$` or `$tag$` at the beginning of `rest`.
fn dollar_tag(rest: &str) -> Option<&str> {
    let name = length_while(&rest[1..], |character| character.is_alphanumeric() || character == '_');
    let starts_with_digit = rest[1..].starts_with(|character: char| character.is_ascii_digit());
    (rest[1 + name..].starts_with('$') && !starts_with_digit).then(|| &rest[..name + 2])
}

fn length_while(text: &str, keep: impl Fn(char) -> bool) -> usize {
    text.find(|character| !keep(character)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(sql: &str) -> Vec<&str> {
        statements(sql).iter().map(|statement| &sql[statement.start..statement.end]).collect()
    }

    #[test]
    fn semicolons_in_strings_names_and_comments_do_not_split() {
        let sql = "select ';' as \"a;b\" -- c;d\n, $$;$$, $t$ ; $$ $t$, e'\\';' /* ; /* ; */ ; */ ; select 2;;  -- end";
        assert_eq!(split(sql), vec!["select ';' as \"a;b\" -- c;d\n, $$;$$, $t$ ; $$ $t$, e'\\';'", "select 2"]);
    }

    #[test]
    fn positions_survive_padding() {
        let sql = "select 1;\n -- é\n  select é";
        let second = &statements(sql)[1];
        assert_eq!(second.padded(sql), "\n\n  select é");
        assert_eq!(second.keyword, "select");
    }

    #[test]
    fn an_unfinished_string_is_known() {
        assert!(!tokens("select 'abc").last().unwrap().terminated);
        assert!(!tokens("select /* abc").last().unwrap().terminated);
        assert!(tokens("select 'it''s'").last().unwrap().terminated);
        assert_eq!(split(""), Vec::<&str>::new());
        assert_eq!(split("-- only a comment"), Vec::<&str>::new());
    }
}
