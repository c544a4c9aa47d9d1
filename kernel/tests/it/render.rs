//! What git looks like, from real repositories.

use std::path::Path;

use codriver::render::{diff, git};
use codriver::session::MimeBundle;
use codriver_tools::git::{
    BlameOptions, CommitOptions, DiffOptions, LogOptions, blame, branches, commit, diff as changes, log, show, status,
};
use git2::{Repository, RepositoryInitOptions, Signature, Time};
use tempfile::TempDir;

/// A repository with two commits; the second by someone with a hostile name.
struct Repo {
    folder: TempDir,
    git: Repository,
}

const HOSTILE: &str = "<script>alert(1)</script> & \u{1b}[31mred\u{202e}";

impl Repo {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let git = Repository::init_opts(folder.path(), RepositoryInitOptions::new().initial_head("main")).unwrap();
        let repo = Self { folder, git };
        repo.write("a.rs", "fn one() {}\nfn two() {}\nfn three() {}\n");
        repo.write("old.txt", "a text that is long enough\nto be known again\nwhen it moves\n");
        repo.commit("Ada", "Start", 1_700_000_000);
        repo.write("a.rs", "fn one() {}\nfn TWO() {}\nfn three() {}\n");
        repo.commit(HOSTILE, &format!("Change {HOSTILE}\n\nBody {HOSTILE}"), 1_700_000_060);
        let mut config = repo.git.config().unwrap();
        config.set_str("user.name", "Grace").unwrap();
        config.set_str("user.email", "grace@example.com").unwrap();
        repo
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs_err::write(self.path().join(name), text).unwrap();
    }

    fn commit(&self, author: &str, message: &str, seconds: i64) {
        let mut index = self.git.index().unwrap();
        index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
        index.write().unwrap();
        let tree = self.git.find_tree(index.write_tree().unwrap()).unwrap();
        // libgit2 refuses < and > in a name; others that write commits do not.
        let name = author.replace(['<', '>'], "");
        let who = Signature::new(&name, "who@example.com", &Time::new(seconds, 60)).unwrap();
        let parent = self.git.head().ok().map(|head| head.peel_to_commit().unwrap());
        let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
        self.git.commit(Some("HEAD"), &who, &who, message, &tree, &parents).unwrap();
    }
}

fn html(bundle: &MimeBundle) -> &str {
    bundle.data["text/html"].as_str().unwrap()
}

/// Plain text without colours.
fn plain(bundle: &MimeBundle) -> String {
    strip_ansi_escapes::strip_str(bundle.text())
}

/// No markup and no terminal code from outside gets through.
#[track_caller]
fn is_safe(bundle: &MimeBundle) {
    let html = html(bundle);
    assert!(!html.contains("<script") && !html.contains('\u{1b}') && !html.contains('\u{202e}'), "{html}");
    for (open, close) in
        [("<div", "</div>"), ("<span", "</span>"), ("<table", "</table>"), ("<td", "</td>"), ("<tr", "</tr>")]
    {
        assert_eq!(html.matches(open).count(), html.matches(close).count(), "{open} in {html}");
    }
    let ours = [
        "\u{1b}[0m",
        "\u{1b}[1m",
        "\u{1b}[2m",
        "\u{1b}[31m",
        "\u{1b}[32m",
        "\u{1b}[33m",
        "\u{1b}[36m",
        "\u{1b}[1;31m",
        "\u{1b}[1;32m",
        "\u{1b}[1;33m",
        "\u{1b}[1;36m",
    ];
    for (position, _) in bundle.text().match_indices('\u{1b}') {
        assert!(ours.iter().any(|code| bundle.text()[position..].starts_with(code)), "{:?}", bundle.text());
    }
    assert!(!bundle.text().contains("\u{1b}[31mred") && !bundle.text().contains('\u{202e}'), "{:?}", bundle.text());
}

#[test]
fn a_diff_by_file_with_line_numbers() {
    let repo = Repo::new();
    let whole =
        changes(repo.path(), &DiffOptions { from: Some("HEAD~1..HEAD".to_owned()), ..DiffOptions::default() }).unwrap();
    let bundle = git::diff(&whole);
    is_safe(&bundle);
    let html = html(&bundle);
    assert!(html.contains("<b>a.rs</b>") && html.contains(">+1</span>") && html.contains(">−1</span>"), "{html}");
    assert!(html.contains("var(--jp-diff-added-color0,rgba("), "{html}");
    assert!(
        html.contains(">1</td>") && html.contains(">fn TWO() {}</td>") && html.contains(">fn two() {}</td>"),
        "{html}"
    );
    assert!(
        bundle.text().contains("\u{1b}[31m-fn two() {}\u{1b}[0m\n\u{1b}[32m+fn TWO() {}\u{1b}[0m\n"),
        "{:?}",
        bundle.text()
    );
    let stripped = plain(&bundle);
    assert!(stripped.contains(whole.patch.trim_end()), "the text is the patch, coloured: {stripped}");
}

#[test]
fn every_kind_of_change_has_its_heading() {
    let repo = Repo::new();
    fs_err::rename(repo.path().join("old.txt"), repo.path().join("new.txt")).unwrap();
    fs_err::remove_file(repo.path().join("a.rs")).unwrap();
    repo.write("bin", "\0\u{1}");
    repo.write("empty", "");
    repo.write("no-end", "x");
    let mut index = repo.git.index().unwrap();
    index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
    index.update_all(["*"], None).unwrap();
    index.write().unwrap();
    let bundle = git::diff(&changes(repo.path(), &DiffOptions { staged: true, ..DiffOptions::default() }).unwrap());
    is_safe(&bundle);
    let html = html(&bundle);
    for expected in [
        "<b>new.txt</b>",
        "from old.txt",
        "<b>a.rs</b>",
        "· deleted",
        "<b>bin</b>",
        "· binary",
        "<b>empty</b>",
        "· new file",
        "No newline at end of file",
    ] {
        assert!(html.contains(expected), "{expected} in {html}");
    }
}

#[test]
fn hostile_contents_are_shown_not_obeyed() {
    let patch = format!(
        "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,3 @@ {HOSTILE}\n --- not a name\n--- a removed line\n+++ an added line\n+{HOSTILE}\r\n"
    );
    let bundle = diff::unified(&patch);
    is_safe(&bundle);
    let html = html(&bundle);
    assert!(
        html.contains("&lt;script&gt;") && html.contains("‹U+202E›") && html.contains("^[[31m") && html.contains("^M"),
        "{html}"
    );
    assert!(html.contains(">+2</span>") && html.contains(">−1</span>"), "counts of the hunk decide, not looks: {html}");
    assert!(html.contains(">-- a removed line<") && html.contains(">++ an added line\n"), "{html}");
    assert_eq!(html.matches("<details").count(), 1, "{html}");
}

#[test]
fn line_ends_are_said_once_or_shown_where_they_differ() {
    let all = diff::unified("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n one\r\n-two\r\n+2\r\n");
    assert!(html(&all).contains("· CRLF line ends") && !html(&all).contains("^M"), "{}", html(&all));
    assert!(plain(&all).ends_with(" one\n-two\n+2^M"), "{}", plain(&all));
    let some = diff::unified("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n one\n-two\n+two\r\n");
    assert!(!html(&some).contains("CRLF") && html(&some).contains(">two^M</td>"), "{}", html(&some));
}

#[test]
fn other_unified_diffs_and_no_diffs() {
    let bundle = diff::unified(
        "--- one.txt\t2024-01-01\n+++ two.txt\n@@ -1 +1 @@\n-a\n+b\n--- three\n+++ three\n@@ -0,0 +1 @@\n+c\n",
    );
    let text = html(&bundle);
    assert!(text.contains("<b>two.txt</b>") && text.contains("<b>three</b>"), "{text}");
    assert_eq!(plain(&diff::unified("")), "No differences.");
    let nonsense = diff::unified(&format!("not a diff {HOSTILE}"));
    is_safe(&nonsense);
    for patch in [
        "@@ -1,9 +1,9 @@\n",
        "diff --git\n@@ -x +y @@\n",
        "diff --git a/é b/é\n",
        "+\n-\n\\",
        "@@ -1,99999999999999999999 +1 @@\n+x",
        "diff \n@@ -1 +1 @@\né",
    ] {
        is_safe(&diff::unified(patch));
    }
}

#[test]
fn a_huge_diff_is_bounded() {
    let body: String = (0..50_000).map(|number| format!("+line {number}\n")).collect();
    let bundle = diff::unified(&format!("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1,50000 @@\n{body}"));
    assert!(html(&bundle).len() < 400_000 && bundle.text().len() < 400_000);
    assert!(html(&bundle).contains("… 46,000 more lines"));
    assert!(plain(&bundle).ends_with("… 46,004 more lines"), "its header counts as well");
}

#[test]
fn status_in_groups() {
    let repo = Repo::new();
    let clean = git::status(&status(repo.path()).unwrap());
    assert_eq!(plain(&clean), "main\nNothing to commit, the working tree is clean.");
    repo.write("a.rs", "changed");
    repo.write("<b>.txt", "new");
    repo.write("staged.txt", "new");
    let mut index = repo.git.index().unwrap();
    index.add_path(Path::new("staged.txt")).unwrap();
    index.write().unwrap();
    let bundle = git::status(&status(repo.path()).unwrap());
    is_safe(&bundle);
    assert_eq!(
        plain(&bundle),
        "main\nStaged for commit (1):\n  new file  staged.txt\nChanged, not staged (1):\n  modified  a.rs\nUntracked (1):\n  <b>.txt"
    );
    assert!(html(&bundle).contains("&lt;b&gt;.txt") && !html(&bundle).contains("<b>.txt"));
}

#[test]
fn log_as_a_table() {
    let repo = Repo::new();
    repo.git.tag_lightweight("v1", repo.git.head().unwrap().peel_to_commit().unwrap().as_object(), false).unwrap();
    let found = log(repo.path(), &LogOptions::default()).unwrap();
    let bundle = git::log(&found);
    is_safe(&bundle);
    let html = html(&bundle);
    assert!(html.contains("HEAD → main") && html.contains(">v1</span>"), "{html}");
    assert!(html.contains("2023-11-14 23:14") && html.contains(" ago</span>"), "{html}");
    assert_eq!(html.matches("<tr>").count(), 3, "a heading and two commits: {html}");
    let text = plain(&bundle);
    let second = text.lines().nth(1).unwrap();
    assert_eq!(second, format!("{} 2023-11-14 23:13 Ada Start", found.commits[1].short_id));
    assert!(!text.contains(" ago"), "what changes with time stays out of the text");
}

#[test]
fn show_blame_branches_and_commit() {
    let repo = Repo::new();
    let bundle = git::show(&show(repo.path(), "HEAD", &DiffOptions::default()).unwrap());
    is_safe(&bundle);
    assert!(plain(&bundle).starts_with("commit ") && plain(&bundle).contains("+fn TWO() {}"));
    let file = git::show(&show(repo.path(), "HEAD~1:a.rs", &DiffOptions::default()).unwrap());
    assert_eq!(plain(&file), "HEAD~1:a.rs\nfn one() {}\nfn two() {}\nfn three() {}");

    repo.write("a.rs", "fn one() {}\nfn TWO() {}\nfn three() {}\nfn <four>() {}\n");
    let blamed = git::blame(&blame(repo.path(), "a.rs", &BlameOptions::default()).unwrap());
    is_safe(&blamed);
    let text = plain(&blamed);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[1].contains("Ada") && lines[1].ends_with("1  fn one() {}"), "{text}");
    assert!(lines[4].contains("not committed") && lines[4].ends_with("4  fn <four>() {}"), "{text}");
    assert!(html(&blamed).contains("not committed yet") && html(&blamed).contains("fn &lt;four&gt;"));

    repo.git.branch("topic", &repo.git.head().unwrap().peel_to_commit().unwrap(), false).unwrap();
    let listed = git::branches(&branches(repo.path()).unwrap());
    is_safe(&listed);
    assert!(plain(&listed).starts_with("* main ") && plain(&listed).contains("\n  topic "));

    let options = CommitOptions { message: "Four".to_owned(), all: true, ..CommitOptions::default() };
    let made = git::committed(&commit(repo.path(), &options).unwrap());
    is_safe(&made);
    assert!(plain(&made).contains("] Four\n1 file changed, 1 insertion(+)"), "{}", plain(&made));
}
