//! Small pieces of text that tools and renderers share.

/// A path as git shows it: as it is where that is safe to print, else in double quotes
/// with C escapes, so that a hostile name can neither break a line nor drive a terminal.
pub fn quote_path(path: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(path)
        && !text.chars().any(|character| is_unprintable(character) || character == '"' || character == '\\')
    {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for chunk in path.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => quoted.push_str("\\\""),
                '\\' => quoted.push_str("\\\\"),
                '\n' => quoted.push_str("\\n"),
                '\r' => quoted.push_str("\\r"),
                '\t' => quoted.push_str("\\t"),
                character if is_unprintable(character) => {
                    let mut buffer = [0; 4];
                    for byte in character.encode_utf8(&mut buffer).bytes() {
                        quoted.push_str(&format!("\\{byte:03o}"));
                    }
                }
                character => quoted.push(character),
            }
        }
        for byte in chunk.invalid() {
            quoted.push_str(&format!("\\{byte:03o}"));
        }
    }
    quoted.push('"');
    quoted
}

/// Text in which nothing is hidden: control characters show as terminals name them (`^M`,
/// `^[`), characters that turn the text around or cannot be seen as their code. Line ends
/// and tabs stay. What comes from files, commits or models goes through here before a
/// terminal or a model reads it.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            '\u{7f}' => shown.push_str("^?"),
            '\0'..='\u{1f}' => shown.extend(['^', char::from(character as u8 + b'@')]),
            hidden if is_unprintable(hidden) => shown.push_str(&format!("‹U+{:04X}›", hidden as u32)),
            other => shown.push(other),
        }
    }
    shown
}

/// Whether a character moves the cursor, hides itself or turns the text around (control
/// characters, Unicode's bidirectional overrides and invisible tags) instead of showing
/// something. The joiners that emoji and some scripts need are not among them.
pub fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `1 file`, `2 files`.
pub fn count(number: usize, noun: &str) -> String {
    let plural = match noun {
        noun if number == 1 => noun.to_owned(),
        noun if noun.ends_with("ch") => format!("{noun}es"),
        noun => match noun.strip_suffix("ry") {
            Some(stem) => format!("{stem}ries"),
            None => format!("{noun}s"),
        },
    };
    format!("{} {plural}", thousands(number as u64))
}

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `512 bytes`, `1.5 KB`, `20 MB`: powers of 1,000, as disks are sold.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KB", "MB", "GB", "TB", "PB"];
    if number < 1000 {
        return count(usize::try_from(number).unwrap_or(0), "byte");
    }
    let mut value = number as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(value < 10.0);
    let shown = format!("{value:.digits$}");
    format!("{} {}", shown.strip_suffix(".0").unwrap_or(&shown), UNITS[unit])
}

/// At most `limit` bytes of `text`, cut between characters.
pub fn prefix(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}
