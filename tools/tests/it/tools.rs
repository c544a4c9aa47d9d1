//! The tools as an agent calls them.

use codriver_tools::{ToolDisplay, ToolError};
use serde_json::json;

use crate::support::{Outside, Repo, error, link, run, text, write};

#[test]
fn calculate_shows_what_it_calculated() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(text(folder.path(), "calculate", json!({"expression": " 15% of 240 "})), "15% of 240 = 36");
    assert_eq!(error(folder.path(), "calculate", json!({"expression": "1/0"})), "division by zero");
}

#[test]
fn list_files_in_words_and_as_a_table() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "sales.csv", "a,b\n1,2\n");
    write(folder.path(), "src/main.rs", "x");
    let output = run(folder.path(), "list_files", json!({})).unwrap();
    assert_eq!(output.text, "2 entries in the workspace:\nsales.csv  (8 bytes)\nsrc/  (1 file)");
    let ToolDisplay::Table { columns, rows, total_rows } = output.display else { panic!() };
    assert_eq!((columns, rows.len(), total_rows), (vec!["path".to_owned(), "size".to_owned()], 2, 2));
    assert_eq!(
        text(folder.path(), "list_files", json!({"pattern": "*.rs"})),
        "1 entry in the workspace match *.rs:\nsrc/main.rs  (1 byte)"
    );
    assert_eq!(
        text(folder.path(), "list_files", json!({"path": "src", "pattern": "*.py"})),
        "Nothing in src matches *.py."
    );
}

#[test]
fn read_file_numbers_lines_and_says_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "main.py", "import this\nprint(1)\n");
    let output = run(folder.path(), "read_file", json!({"path": "main.py"})).unwrap();
    assert_eq!(output.text, "main.py (2 lines, 21 bytes)\n1  import this\n2  print(1)");
    let code = ToolDisplay::Code { language: "python".to_owned(), source: "import this\nprint(1)".to_owned() };
    assert_eq!(output.display, code);
    write(folder.path(), "long.txt", "line\n".repeat(1500));
    let first = text(folder.path(), "read_file", json!({"path": "long.txt"}));
    assert!(first.starts_with("long.txt (1,500 lines, 7.5 KB), lines 1 to 400\n  1  line\n"), "{first}");
    assert!(first.ends_with("400  line\n… more follows; read on with start_line 401."), "{first}");
    let some = text(folder.path(), "read_file", json!({"path": "long.txt", "start_line": 1500.0, "end_line": null}));
    assert_eq!(some, "long.txt (1,500 lines, 7.5 KB), lines 1500 to 1500\n1500  line");
    let reversed = error(folder.path(), "read_file", json!({"path": "long.txt", "start_line": 5, "end_line": 4}));
    assert!(reversed.contains("end_line comes before start_line"), "{reversed}");
}

#[test]
fn search_files_says_where() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.txt", "x needle y\n");
    write(folder.path(), ".env", "needle=1");
    let found = text(folder.path(), "search_files", json!({"query": "needle"}));
    assert_eq!(
        found,
        "1 match in 1 file for \"needle\" (1 file searched):\na.txt:1: x needle y\nNot searched: 1 file that may hold secrets."
    );
    let nothing = text(folder.path(), "search_files", json!({"query": "^y", "regex": true}));
    assert!(nothing.starts_with("No line matches \"^y\" (1 file searched)."), "{nothing}");
}

#[test]
fn every_way_out_is_denied() {
    let outside = Outside::new();
    link("../outside", outside.workspace.join("way"));
    for (tool, arguments) in [
        ("read_file", json!({"path": "../outside/passwords.txt"})),
        ("read_file", json!({"path": "way/passwords.txt"})),
        ("list_files", json!({"path": "way"})),
        ("search_files", json!({"query": "secret", "path": "way"})),
    ] {
        let result = run(&outside.workspace, tool, arguments.clone());
        assert!(matches!(result, Err(ToolError::Denied(_))), "{tool} {arguments}: {result:?}");
    }
}

#[test]
fn git_status_in_words() {
    let repo = Repo::new();
    assert_eq!(
        text(repo.path(), "git_status", json!({})),
        "On branch main. Nothing has changed: the working tree is clean."
    );
    repo.write("README.md", "changed");
    repo.write("new.txt", "x");
    repo.write("staged.txt", "x");
    repo.stage("staged.txt");
    assert_eq!(
        text(repo.path(), "git_status", json!({})),
        "On branch main.\nStaged for commit (1):\n  new file: staged.txt\nChanged, not staged (1):\n  modified: README.md\nUntracked (1):\n  new.txt"
    );
    let folder = tempfile::tempdir().unwrap();
    assert!(error(folder.path(), "git_status", json!({})).contains("not in a git repository"));
}

#[test]
fn git_log_in_words_and_as_a_table() {
    let repo = Repo::new();
    repo.write("README.md", "2");
    let id = repo.commit_all("Second").to_string();
    let output = run(repo.path(), "git_log", json!({"max_count": 1})).unwrap();
    let short = &id[..7];
    assert_eq!(
        output.text,
        format!("The last commit:\n{short} 2023-11-15 00:14 Ada Lovelace: Second (main)\n… and older ones.")
    );
    let ToolDisplay::Table { rows, .. } = output.display else { panic!() };
    assert_eq!(rows, [[short, "2023-11-15 00:14", "Ada Lovelace", "Second (main)"]]);
    let of_path = text(repo.path(), "git_log", json!({"path": "src/lib.rs", "branch": "main"}));
    assert!(of_path.starts_with("1 commit on main that changed src/lib.rs:\n"), "{of_path}");
    assert!(error(repo.path(), "git_log", json!({"max_count": 0})).contains("at least 1"));
    assert!(error(repo.path(), "git_log", json!({"branch": "mian"})).contains("did you mean \"main\"?"));
    assert_eq!(error(Repo::empty().path(), "git_log", json!({})), "this repository has no commits yet");
}

#[test]
fn git_diff_in_words_and_as_a_diff() {
    let repo = Repo::new();
    repo.write("README.md", "one\n2\nthree\n");
    let output = run(repo.path(), "git_diff", json!({})).unwrap();
    assert!(
        output
            .text
            .starts_with("1 file changed, 1 insertion(+), 1 deletion(-):\n  README.md (modified, +1 -1)\n\ndiff --git"),
        "{}",
        output.text
    );
    assert!(matches!(output.display, ToolDisplay::Diff(patch) if patch.contains("-two\n+2\n")));
    repo.stage("README.md");
    repo.write("new.txt", "x");
    assert_eq!(
        text(repo.path(), "git_diff", json!({})),
        "No unstaged changes. 1 file staged: pass staged = true to see them. 1 entry untracked, which a diff does not show."
    );
    assert!(text(repo.path(), "git_diff", json!({"staged": true})).contains("-two\n+2"));
    assert_eq!(text(repo.path(), "git_diff", json!({"from": "HEAD", "to": "main"})), "No differences.");
    assert!(error(repo.path(), "git_diff", json!({"path": "/etc/passwd"})).contains("outside the workspace"));
}

/// The workspace is one folder of a larger repository.
#[test]
fn git_tools_stay_in_the_workspace() {
    let repo = Repo::new();
    repo.write("notebooks/a.txt", "a\n");
    repo.write("private/b.txt", "b\n");
    repo.commit_all("Both");
    repo.write("notebooks/a.txt", "A\n");
    repo.write("private/b.txt", "the secret\n");
    let workspace = repo.path().join("notebooks");
    let status = text(&workspace, "git_status", json!({}));
    assert!(status.contains("modified: a.txt") && !status.contains("private"), "{status}");
    for arguments in [json!({}), json!({"from": "HEAD"}), json!({"path": "."})] {
        let diff = text(&workspace, "git_diff", arguments);
        assert!(diff.contains("+A") && !diff.contains("private") && !diff.contains("secret"), "{diff}");
    }
    for arguments in [json!({"path": "../private"}), json!({"path": "../private/b.txt"})] {
        assert!(matches!(run(&workspace, "git_diff", arguments.clone()), Err(ToolError::Denied(_))));
        assert!(matches!(run(&workspace, "git_log", arguments), Err(ToolError::Denied(_))));
    }
    assert!(text(repo.path(), "git_diff", json!({})).contains("the secret"), "control: from the root it is there");
}

#[test]
fn secrets_stay_out_of_diffs() {
    let repo = Repo::new();
    repo.write(".env", "TOKEN=old\n");
    repo.commit_all("Oops");
    repo.write(".env", "TOKEN=sesame\n");
    repo.write("README.md", "visible\n");
    let diff = text(repo.path(), "git_diff", json!({}));
    assert!(diff.contains(".env (modified, contents withheld: it may hold secrets)"), "{diff}");
    assert!(diff.contains("+visible") && !diff.contains("TOKEN"), "{diff}");
    let between = text(repo.path(), "git_diff", json!({"from": "HEAD~1", "to": "HEAD"}));
    assert!(!between.contains("TOKEN"), "{between}");
}

/// A repository's configuration may claim that its files are anywhere.
#[test]
fn a_work_tree_elsewhere_is_not_followed() {
    let outside = Outside::new();
    let git = git2::Repository::init(&outside.workspace).unwrap();
    git.config().unwrap().set_str("core.worktree", outside.path().to_str().unwrap()).unwrap();
    let message = error(&outside.workspace, "git_status", json!({}));
    assert!(message.contains("another folder"), "{message}");
    git.config().unwrap().set_str("core.worktree", outside.folder.path().to_str().unwrap()).unwrap();
    let status = text(&outside.workspace, "git_status", json!({}));
    assert!(!status.contains("outside"), "{status}");
}

/// Escape codes and invisible characters, wherever they come from.
#[test]
fn nothing_a_tool_says_drives_a_terminal_or_hides() {
    const HOSTILE: &str = "needle \u{1b}[2J\u{1b}]0;title\u{7} \u{202e}desrever\u{e0041}";
    let repo = Repo::new();
    repo.write("README.md", format!("{HOSTILE}\n"));
    let calls = [
        ("read_file", json!({"path": "README.md"})),
        ("search_files", json!({"query": "needle"})),
        ("git_diff", json!({})),
    ];
    for (tool, arguments) in calls {
        let said = text(repo.path(), tool, arguments);
        assert!(said.contains("needle ^[[2J^[]0;title^G ‹U+202E›desrever‹U+E0041›"), "{tool}: {said:?}");
        assert!(!said.contains(['\u{1b}', '\u{7}', '\u{202e}', '\u{e0041}']), "{tool}: {said:?}");
    }
    repo.commit_all(&format!("Subject {HOSTILE}"));
    let said = text(repo.path(), "git_log", json!({}));
    assert!(said.contains("Subject needle ^[[2J") && !said.contains('\u{1b}'), "{said:?}");
    write(repo.path(), "emoji.txt", "👩‍💻 grün 日本");
    assert!(text(repo.path(), "read_file", json!({"path": "emoji.txt"})).ends_with("1  👩‍💻 grün 日本"));
}
