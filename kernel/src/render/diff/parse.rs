//! Reading the format of `git diff`, and of any tool that prints unified diffs.

/// What changed in one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileDiff<'a> {
    pub title: String,
    /// The name it had, if another.
    pub from: Option<String>,
    /// `new file`, `deleted`, `binary`, ...
    pub notes: Vec<String>,
    pub hunks: Vec<Hunk<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk<'a> {
    pub old_start: usize,
    pub new_start: usize,
    /// What stands after the second `@@`: often the function it is in.
    pub context: &'a str,
    pub lines: Vec<Line<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    pub sign: Sign,
    /// Without the sign.
    pub text: &'a str,
}

/// What a line of a diff is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    Header,
    Hunk,
    Context,
    Added,
    Removed,
    /// `\ No newline at end of file`
    Note,
}

impl FileDiff<'_> {
    pub fn count(&self, sign: Sign) -> usize {
        self.hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| line.sign == sign).count()
    }
}

/// The files of a diff; none if it is no diff.
pub fn parse(patch: &str) -> Vec<FileDiff<'_>> {
    let mut files: Vec<FileDiff<'_>> = Vec::new();
    for (sign, line) in signs(patch) {
        if sign == Sign::Header && (line.starts_with("diff ") || starts_file(&files, line)) {
            files.push(FileDiff { title: titled(line), ..FileDiff::default() });
        }
        let Some(file) = files.last_mut() else {
            continue;
        };
        match sign {
            Sign::Header => file.header(line),
            Sign::Hunk => file.hunks.extend(hunk(line)),
            Sign::Context | Sign::Added | Sign::Removed | Sign::Note => {
                let marked = sign != Sign::Note && !line.is_empty();
                let text = if marked { line.get(1..).unwrap_or_default() } else { line.trim_start_matches("\\ ") };
                if let Some(hunk) = file.hunks.last_mut() {
                    hunk.lines.push(Line { sign, text });
                }
            }
        }
    }
    for file in &mut files {
        file.fold_line_ends();
    }
    files
}

/// Each line with what it is. Inside a hunk the counts of its header decide, so that a
/// removed line `-- x` is not taken for the name of a file.
pub fn signs(patch: &str) -> impl Iterator<Item = (Sign, &str)> {
    let (mut old, mut new) = (0_usize, 0_usize);
    let mut in_hunk = false;
    let patch = patch.strip_suffix('\n').unwrap_or(patch);
    patch.split('\n').map(move |line| {
        let first = line.bytes().next();
        let sign = match first {
            Some(b'\\') if in_hunk => Sign::Note,
            Some(b'+') if new > 0 => Sign::Added,
            Some(b'-') if old > 0 => Sign::Removed,
            // Some tools strip the blank of an empty line.
            Some(b' ') | None if old > 0 && new > 0 => Sign::Context,
            _ => match ranges(line) {
                Some((_, counts, _)) => {
                    (old, new) = counts;
                    in_hunk = true;
                    return (Sign::Hunk, line);
                }
                None => {
                    (old, new, in_hunk) = (0, 0, false);
                    Sign::Header
                }
            },
        };
        match sign {
            Sign::Added => new -= 1,
            Sign::Removed => old -= 1,
            Sign::Context => (old, new) = (old - 1, new - 1),
            Sign::Header | Sign::Hunk | Sign::Note => {}
        }
        (sign, line)
    })
}

/// A diff without `diff --git` lines starts a file with `--- name`.
fn starts_file(files: &[FileDiff<'_>], line: &str) -> bool {
    line.starts_with("--- ") && files.last().is_none_or(|file| !file.hunks.is_empty())
}

impl FileDiff<'_> {
    /// Says once, not on each line, that all lines end in CR LF.
    fn fold_line_ends(&mut self) {
        let lines = || self.hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| line.sign != Sign::Note);
        if lines().next().is_none() || !lines().all(|line| line.text.ends_with('\r')) {
            return;
        }
        self.notes.push("CRLF line ends".to_owned());
        for line in self.hunks.iter_mut().flat_map(|hunk| &mut hunk.lines) {
            line.text = line.text.strip_suffix('\r').unwrap_or(line.text);
        }
    }

    fn header(&mut self, line: &str) {
        let name = |line: &str| line.split('\t').next().unwrap_or(line).to_owned();
        if let Some(to) = line.strip_prefix("+++ ") {
            if to != "/dev/null" {
                self.title = without_prefix(&name(to), "b/");
            }
        } else if let Some(from) = line.strip_prefix("--- ") {
            if from != "/dev/null" {
                self.title = without_prefix(&name(from), "a/");
            }
        } else if let Some(from) = line.strip_prefix("rename from ").or_else(|| line.strip_prefix("copy from ")) {
            self.from = Some(from.to_owned());
        } else if let Some(to) = line.strip_prefix("rename to ").or_else(|| line.strip_prefix("copy to ")) {
            self.title = to.to_owned();
        } else if line.starts_with("new file mode") {
            self.notes.push("new file".to_owned());
        } else if line.starts_with("deleted file mode") {
            self.notes.push("deleted".to_owned());
        } else if let Some(mode) = line.strip_prefix("old mode ") {
            self.notes.push(format!("mode {mode}"));
        } else if let Some(mode) = line.strip_prefix("new mode ") {
            match self.notes.last_mut().filter(|note| note.starts_with("mode ")) {
                Some(note) => note.push_str(&format!(" → {mode}")),
                None => self.notes.push(format!("mode {mode}")),
            }
        } else if line.starts_with("Binary files ") || line.starts_with("GIT binary patch") {
            self.notes.push("binary".to_owned());
        }
    }
}

/// The name in `diff --git a/name b/name`. Only needed where no other line has it: then
/// both halves are the same name.
fn titled(line: &str) -> String {
    let names = line.strip_prefix("diff --git ").unwrap_or(line);
    let half = names.len() / 2;
    match (names.get(..half), names.get(half + 1..)) {
        (Some(first), Some(second)) if without_prefix(first, "a/") == without_prefix(second, "b/") => {
            without_prefix(second, "b/")
        }
        _ => names.to_owned(),
    }
}

/// `b/name` is `name`, also in quotes.
fn without_prefix(name: &str, prefix: &str) -> String {
    match name.strip_prefix('"').and_then(|quoted| quoted.strip_prefix(prefix)) {
        Some(quoted) => format!("\"{quoted}"),
        None => name.strip_prefix(prefix).unwrap_or(name).to_owned(),
    }
}

fn hunk(line: &str) -> Option<Hunk<'_>> {
    let ((old_start, new_start), _, context) = ranges(line)?;
    Some(Hunk { old_start, new_start, context, lines: Vec::new() })
}

/// Where a hunk starts, how many lines it has, and its context, from `@@ -1,2 +3,4 @@ context`.
fn ranges(line: &str) -> Option<((usize, usize), (usize, usize), &str)> {
    let (ranges, context) = line.strip_prefix("@@ -")?.split_once(" @@")?;
    let (old, new) = ranges.split_once(" +")?;
    let range = |text: &str| -> Option<(usize, usize)> {
        let (start, count) = text.split_once(',').unwrap_or((text, "1"));
        Some((start.parse().ok()?, count.parse().ok()?))
    };
    let ((old_start, old_count), (new_start, new_count)) = (range(old)?, range(new)?);
    Some(((old_start, new_start), (old_count, new_count), context.trim_start()))
}
