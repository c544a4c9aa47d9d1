//! Parameter cells as papermill injects them with `--language python`.

/// `name = value` pairs, if the cell is `# Parameters` followed by nothing but such lines.
///
/// The first line is what tells: in Rust, `# Parameters` is no attribute and no comment.
pub fn parse(code: &str) -> Option<Vec<(String, String)>> {
    let mut lines = code.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.next()?.strip_prefix('#').filter(|title| title.trim_start().starts_with("Parameters"))?;
    lines.filter(|line| !line.starts_with('#')).map(assignment).collect()
}

fn assignment(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once('=')?;
    // `x: int = 1` carries a type.
    let name = name.split_once(':').map_or(name, |(name, _)| name).trim();
    super::interpolation::is_name(name).then(|| (name.to_owned(), literal(value.trim())))
}

/// A Python literal as text: strings lose their quotes, everything else stays as written.
fn literal(value: &str) -> String {
    let quoted =
        ['"', '\''].into_iter().find(|quote| value.len() >= 2 && value.starts_with(*quote) && value.ends_with(*quote));
    match (quoted, value) {
        (Some(_), _) => unescape(&value[1..value.len() - 1]),
        (None, "True") => "true".to_owned(),
        (None, "False") => "false".to_owned(),
        (None, "None") => "NULL".to_owned(),
        (None, _) => value.to_owned(),
    }
}

fn unescape(text: &str) -> String {
    let mut unescaped = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            unescaped.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => unescaped.push('\n'),
            Some('t') => unescaped.push('\t'),
            Some(escaped @ ('\\' | '"' | '\'')) => unescaped.push(escaped),
            Some(other) => unescaped.extend(['\\', other]),
            None => unescaped.push('\\'),
        }
    }
    unescaped
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn pairs(expected: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn reads_what_papermill_writes() {
        let code = "# Parameters\nregion = \"North \\\"1\\\"\"\nlimit = 10\nratio = 0.5\nloud = True\nnothing = None\n";
        let expected =
            [("region", "North \"1\""), ("limit", "10"), ("ratio", "0.5"), ("loud", "true"), ("nothing", "NULL")];
        assert_eq!(parse(code), pairs(&expected));
        assert_eq!(parse("# Parameters\n"), pairs(&[]));
    }

    #[test]
    fn leaves_code_alone() {
        for code in ["let x = 1;", "#[derive(Debug)]\nstruct A;", "# Parameters\nlet x = 1;", "x = 1", ""] {
            assert_eq!(parse(code), None, "{code}");
        }
    }
}
