//! A cell's source, split into what runs it.
//!
//! A cell is one `%%magic`, a notebook's parameters, a question (`%sql?`), or lines: Rust, with
//! `%magic` and `!command` lines between its statements.

use super::parameters;

/// What a cell asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell<'code> {
    /// `%%name rest`, and the lines below it.
    Magic {
        name: &'code str,
        line: &'code str,
        body: &'code str,
    },
    /// `%name?`, `%%name?` or `?name`.
    Help {
        topic: &'code str,
    },
    /// `name = value` lines below `# Parameters`, as papermill writes them.
    Parameters(Vec<(String, String)>),
    Steps(Vec<Step<'code>>),
}

/// One part of a cell of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'code> {
    /// `first_line` counts from 0, in the cell.
    Rust { source: &'code str, first_line: usize },
    /// `%name rest`
    Magic { name: &'code str, line: &'code str },
    /// `!command`
    Shell { command: &'code str },
}

/// Splits `code`. `is_magic` tells which names are magics, which decides where Rust's `%` could
/// be meant.
pub fn parse<'code>(code: &'code str, is_magic: &dyn Fn(&str) -> bool) -> Cell<'code> {
    let trimmed = code.trim_start();
    if let Some(topic) = help_topic(trimmed.trim_end()) {
        return Cell::Help { topic };
    }
    if let Some(rest) = trimmed.strip_prefix("%%")
        && let Some((name, rest)) = split_name(rest)
    {
        let (line, body) = rest.split_once('\n').unwrap_or((rest, ""));
        return Cell::Magic { name, line: line.trim(), body };
    }
    if let Some(parameters) = parameters::parse(code) {
        return Cell::Parameters(parameters);
    }
    Cell::Steps(steps(code, is_magic))
}

/// The name and arguments of a line that is a `%magic` in form.
pub fn line_magic(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = split_name(line.trim_start().strip_prefix('%')?)?;
    Some((name, rest.trim()))
}

fn split_name(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|character: char| !(character.is_alphanumeric() || character == '_')).unwrap_or(text.len());
    let starts_well = text.starts_with(|character: char| character.is_alphabetic() || character == '_');
    let ends_well = text[end..].chars().next().is_none_or(char::is_whitespace);
    (starts_well && ends_well).then(|| text.split_at(end))
}

/// `name?` is left to Rust, where it is the try operator.
fn help_topic(code: &str) -> Option<&str> {
    let topic = match code.strip_prefix('?') {
        Some(topic) => topic.trim_start_matches('?').trim_start(),
        None => {
            code.strip_prefix('%').and(Some(code.trim_end_matches('?'))).filter(|topic| topic.len() < code.len())?
        }
    };
    let topic = topic.trim_start_matches('%');
    (!topic.is_empty() && topic.chars().all(|character| character.is_alphanumeric() || "_:".contains(character)))
        .then_some(topic)
}

fn steps<'code>(code: &'code str, is_magic: &dyn Fn(&str) -> bool) -> Vec<Step<'code>> {
    let mut steps = Vec::new();
    let mut scanner = Scanner::default();
    let mut rust_start = 0;
    let mut rust_line = 0;
    let mut offset = 0;
    for (number, line) in code.split_inclusive('\n').enumerate() {
        let step = if scanner.between_statements() { line_step(line.trim(), &scanner, is_magic) } else { None };
        if let Some(step) = step {
            push_rust(&mut steps, &code[rust_start..offset], rust_line);
            steps.push(step);
            rust_start = offset + line.len();
            rust_line = number + 1;
            scanner = Scanner::default();
        } else {
            scanner.read(line);
        }
        offset += line.len();
    }
    push_rust(&mut steps, &code[rust_start..], rust_line);
    steps
}

fn push_rust<'code>(steps: &mut Vec<Step<'code>>, source: &'code str, first_line: usize) {
    if !source.trim().is_empty() {
        steps.push(Step::Rust { source, first_line });
    }
}

fn line_step<'code>(line: &'code str, scanner: &Scanner, is_magic: &dyn Fn(&str) -> bool) -> Option<Step<'code>> {
    if let Some((name, rest)) = line_magic(line) {
        // After an expression without `;`, `%name` could be Rust's remainder.
        return (scanner.statement_ended || is_magic(name)).then_some(Step::Magic { name, line: rest });
    }
    let command = line.strip_prefix('!')?;
    (scanner.statement_ended && !command.trim().is_empty()).then_some(Step::Shell { command: command.trim() })
}

/// Follows Rust just closely enough to know where a statement may start.
struct Scanner {
    depth: usize,
    inside: Inside,
    /// The last thing read ends a statement (or nothing was read yet).
    statement_ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    String,
    RawString { hashes: usize },
    BlockComment { depth: usize },
}

impl Default for Scanner {
    fn default() -> Self {
        Self { depth: 0, inside: Inside::Code, statement_ended: true }
    }
}

impl Scanner {
    fn between_statements(&self) -> bool {
        self.depth == 0 && self.inside == Inside::Code
    }

    fn read(&mut self, line: &str) {
        // evcxr's own commands (`:dep serde`) are whole lines.
        if self.between_statements() && line.trim_start().starts_with(':') {
            self.statement_ended = true;
            return;
        }
        let characters: Vec<char> = line.chars().collect();
        let mut at = 0;
        while at < characters.len() {
            at += self.step(&characters[at..]);
        }
    }

    /// Reads one token's worth; returns how many characters it took.
    fn step(&mut self, rest: &[char]) -> usize {
        match self.inside {
            Inside::Code => self.code(rest),
            Inside::String => match rest {
                ['\\', _, ..] => 2,
                ['"', ..] => self.leave(1),
                _ => 1,
            },
            Inside::RawString { hashes } => {
                let closes = rest[0] == '"' && rest.len() > hashes && rest[1..=hashes].iter().all(|hash| *hash == '#');
                if closes { self.leave(1 + hashes) } else { 1 }
            }
            Inside::BlockComment { depth } => match rest {
                ['*', '/', ..] if depth == 1 => {
                    self.inside = Inside::Code;
                    2
                }
                ['*', '/', ..] => {
                    self.inside = Inside::BlockComment { depth: depth - 1 };
                    2
                }
                ['/', '*', ..] => {
                    self.inside = Inside::BlockComment { depth: depth + 1 };
                    2
                }
                _ => 1,
            },
        }
    }

    fn leave(&mut self, taken: usize) -> usize {
        self.inside = Inside::Code;
        taken
    }

    fn code(&mut self, rest: &[char]) -> usize {
        match rest {
            ['/', '/', ..] => return rest.len(),
            ['/', '*', ..] => {
                self.inside = Inside::BlockComment { depth: 1 };
                return 2;
            }
            [character, ..] if character.is_whitespace() => return 1,
            _ => {}
        }
        self.statement_ended = false;
        match rest {
            ['"', ..] => self.inside = Inside::String,
            ['r', '"', ..] => {
                self.inside = Inside::RawString { hashes: 0 };
                return 2;
            }
            ['r', '#', ..] => {
                let hashes = rest[1..].iter().take_while(|character| **character == '#').count();
                if rest.get(1 + hashes) == Some(&'"') {
                    self.inside = Inside::RawString { hashes };
                    return 2 + hashes;
                }
            }
            // A character, or else a lifetime.
            ['\'', '\\', _, '\'', ..] => return 4,
            ['\'', _, '\'', ..] => return 3,
            ['(' | '[' | '{', ..] => self.depth += 1,
            [')' | ']', ..] => self.depth = self.depth.saturating_sub(1),
            ['}', ..] => {
                self.depth = self.depth.saturating_sub(1);
                self.statement_ended = true;
            }
            [';', ..] => self.statement_ended = true,
            [character, ..] if character.is_alphanumeric() || *character == '_' => {
                return rest.iter().take_while(|character| character.is_alphanumeric() || **character == '_').count();
            }
            _ => {}
        }
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(code: &str) -> Cell<'_> {
        parse(code, &|name| matches!(name, "sql" | "git" | "lsmagic"))
    }

    fn steps_of(code: &str) -> Vec<Step<'_>> {
        match parsed(code) {
            Cell::Steps(steps) => steps,
            other => panic!("{code:?} is {other:?}"),
        }
    }

    #[test]
    fn a_cell_magic_takes_the_whole_cell() {
        let expected = Cell::Magic { name: "sql", line: "-o top", body: "SELECT 1;\n%not a magic" };
        assert_eq!(parsed("\n  %%sql -o top \nSELECT 1;\n%not a magic"), expected);
        assert_eq!(parsed("%%agent"), Cell::Magic { name: "agent", line: "", body: "" });
    }

    #[test]
    fn lines_mix_with_rust() {
        let code = "let a = 1;\n%git status\n!ls -l\na + 1\n";
        let expected = [
            Step::Rust { source: "let a = 1;\n", first_line: 0 },
            Step::Magic { name: "git", line: "status" },
            Step::Shell { command: "ls -l" },
            Step::Rust { source: "a + 1\n", first_line: 3 },
        ];
        assert_eq!(steps_of(code), expected);
    }

    #[test]
    fn rusts_own_signs_stay_rust() {
        for code in [
            "let c = a\n    % b;",
            "let c = a\n%b;",
            "let text = \"\n%git status\n\";",
            "let text = r#\"\n!rm \"-rf\"\n\"#;",
            "/* \n%git status\n*/ 1",
            "fn f() -> bool {\n    let x = true;\n!x\n}",
            "if a\n!b",
            "let quote = '\"'; let more = '\\''; foo(\n%git\n)",
            "value?",
        ] {
            assert_eq!(steps_of(code), [Step::Rust { source: code, first_line: 0 }], "{code}");
        }
    }

    #[test]
    fn a_magic_may_follow_a_final_expression() {
        assert_eq!(steps_of("a\n%lsmagic").len(), 2);
        assert_eq!(steps_of(":dep serde\n%unknown").len(), 2);
        assert_eq!(steps_of("'a: loop { break 'a }\n!ls").len(), 2);
    }

    #[test]
    fn questions_are_help() {
        for code in ["%sql?", "%%sql?", "?sql", "??sql", "?%%sql ", "%%sql??"] {
            assert_eq!(parsed(code), Cell::Help { topic: "sql" }, "{code}");
        }
        assert_eq!(parsed("?std::vec::Vec"), Cell::Help { topic: "std::vec::Vec" });
        assert!(matches!(parsed("%%agent what is this?"), Cell::Magic { .. }));
    }
}
