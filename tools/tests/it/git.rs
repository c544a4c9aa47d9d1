use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use codriver_tools::git::{
    BlameOptions, Change, DiffOptions, GitError, Head, LabelKind, LogOptions, Shown, Status, Upstream, blame, branches,
    diff, interruptible, log, show, status,
};

use crate::support::{Repo, link, never};

fn described(status: &Status) -> Vec<String> {
    status
        .entries
        .iter()
        .map(|entry| {
            let from = entry.from.as_ref().map(|from| format!("{from} -> ")).unwrap_or_default();
            let staged = entry.staged.map_or("-", Change::describe);
            let unstaged = entry.unstaged.map_or("-", Change::describe);
            let untracked = if entry.untracked { " untracked" } else { "" };
            format!("{from}{}: {staged}, {unstaged}{untracked}", entry.path)
        })
        .collect()
}

fn patch(repo: &Repo, options: DiffOptions) -> String {
    diff(repo.path(), &options).unwrap().patch
}

fn subjects(folder: &Path, options: &LogOptions) -> Vec<String> {
    log(folder, options).unwrap().commits.into_iter().map(|commit| commit.subject).collect()
}

#[test]
fn status_tells_staged_from_changed() {
    let repo = Repo::new();
    repo.write("old.txt", "some text that is long enough\nto be known again\n");
    repo.write("gone.txt", "x");
    repo.commit_all("More");
    assert!(status(repo.path()).unwrap().is_clean());
    repo.write("README.md", "one\n2\nthree\n");
    repo.stage("README.md");
    repo.write("README.md", "one\n2\n3\n");
    fs_err::rename(repo.path().join("old.txt"), repo.path().join("new.txt")).unwrap();
    repo.stage("old.txt");
    repo.stage("new.txt");
    repo.remove("gone.txt");
    repo.write("added.rs", "x");
    repo.stage("added.rs");
    repo.write("loose/a.txt", "x");
    let status = status(repo.path()).unwrap();
    assert_eq!(
        described(&status),
        [
            "README.md: modified, modified",
            "added.rs: new file, -",
            "gone.txt: -, deleted",
            "loose/: -, - untracked",
            "old.txt -> new.txt: renamed, -",
        ]
    );
    assert!(matches!(status.head, Head::Branch { name, upstream: None, .. } if name == "main"));
}

#[test]
fn paths_are_seen_from_the_folder() {
    let repo = Repo::new();
    repo.write("src/deep/x.rs", "x");
    repo.commit_all("Deep");
    repo.write("src/deep/x.rs", "y");
    repo.write("README.md", "changed");
    let status = status(&repo.path().join("src")).unwrap();
    assert_eq!(described(&status), ["../README.md: -, modified", "deep/x.rs: -, modified"]);
    assert_eq!(status.entries.iter().map(|entry| entry.inside).collect::<Vec<_>>(), [false, true]);
    let diff =
        diff(&repo.path().join("src/deep"), &DiffOptions { paths: vec!["x.rs".to_owned()], ..DiffOptions::default() });
    assert_eq!(diff.unwrap().files[0].path, "x.rs");
}

#[test]
fn a_folder_without_a_repository() {
    let folder = tempfile::tempdir().unwrap();
    let error = status(folder.path()).unwrap_err();
    assert!(matches!(error, GitError::NotARepository(_)));
    assert!(error.to_string().ends_with("is not in a git repository; `!git init` in a cell makes one"), "{error}");
    assert!(log(folder.path(), &LogOptions::default()).is_err());
    assert!(diff(folder.path(), &DiffOptions::default()).is_err());
    assert!(branches(folder.path()).is_err());
}

#[test]
fn a_repository_without_commits() {
    let repo = Repo::empty();
    repo.write("a.txt", "a\n");
    assert_eq!(described(&status(repo.path()).unwrap()), ["a.txt: -, - untracked"]);
    assert_eq!(status(repo.path()).unwrap().head, Head::Unborn { name: "main".to_owned() });
    assert_eq!(log(repo.path(), &LogOptions::default()), Err(GitError::NoCommits));
    assert_eq!(show(repo.path(), "HEAD", &DiffOptions::default()), Err(GitError::NoCommits));
    assert_eq!(blame(repo.path(), "a.txt", &BlameOptions::default()), Err(GitError::NoCommits));
    assert_eq!(branches(repo.path()).unwrap().branches, []);
    repo.stage("a.txt");
    assert!(patch(&repo, DiffOptions { staged: true, ..DiffOptions::default() }).contains("+a"));
}

#[test]
fn a_detached_head() {
    let repo = Repo::new();
    let first = repo.git.head().unwrap().target().unwrap();
    repo.write("README.md", "more");
    repo.commit_all("Second");
    repo.git.set_head_detached(first).unwrap();
    let short = first.to_string()[..7].to_owned();
    assert_eq!(status(repo.path()).unwrap().head, Head::Detached { commit: short });
    let log = log(repo.path(), &LogOptions::default()).unwrap();
    assert_eq!(log.commits.len(), 1);
    assert_eq!(log.commits[0].labels[0].name, "HEAD");
    assert!(branches(repo.path()).unwrap().branches.iter().all(|branch| !branch.is_head));
}

#[test]
fn a_bare_repository() {
    let repo = Repo::new();
    let folder = tempfile::tempdir().unwrap();
    let bare = git2::build::RepoBuilder::new().bare(true).clone(repo.path().to_str().unwrap(), folder.path()).unwrap();
    assert!(bare.is_bare());
    assert_eq!(
        status(folder.path()).unwrap_err().to_string(),
        "this is a bare repository: it has no files to compare, only commits"
    );
    assert!(matches!(diff(folder.path(), &DiffOptions::default()), Err(GitError::Bare(_))));
    assert_eq!(subjects(folder.path(), &LogOptions::default()), ["Start"]);
    assert!(matches!(show(folder.path(), "main:README.md", &DiffOptions::default()), Ok(Shown::File { .. })));
    assert_eq!(blame(folder.path(), "README.md", &BlameOptions::default()).unwrap().lines.len(), 3);
}

#[test]
fn log_in_order_with_labels_and_bounds() {
    let repo = Repo::new();
    for number in 1..=4 {
        repo.write("README.md", format!("version {number}"));
        repo.commit_all(&format!("Version {number}\n\nBecause of {number}.\n"));
    }
    repo.branch("feature/x");
    let head = repo.git.head().unwrap().peel_to_commit().unwrap();
    repo.git.tag_lightweight("v1", head.as_object(), false).unwrap();
    let all = log(repo.path(), &LogOptions::default()).unwrap();
    assert_eq!(all.commits.len(), 5);
    assert!(!all.more);
    let newest = &all.commits[0];
    assert_eq!((newest.subject.as_str(), newest.body.as_str()), ("Version 4", "Because of 4."));
    assert_eq!(newest.author.name, "Ada Lovelace");
    assert_eq!(newest.authored.to_rfc3339(), "2023-11-15T00:17:20+02:00");
    let labels: Vec<_> = newest.labels.iter().map(|label| (label.kind, label.name.as_str())).collect();
    assert_eq!(labels, [(LabelKind::Head, "main"), (LabelKind::Branch, "feature/x"), (LabelKind::Tag, "v1")]);
    let two = log(repo.path(), &LogOptions { max_count: 2, ..LogOptions::default() }).unwrap();
    assert_eq!((two.commits.len(), two.more), (2, true));
    assert_eq!(newest.parents, [all.commits[1].id.clone()]);
}

#[test]
fn log_of_a_path_a_branch_and_a_range() {
    let repo = Repo::new();
    repo.branch("feature");
    repo.write("src/new.rs", "x");
    repo.commit_all("On main");
    repo.checkout("feature");
    repo.write("README.md", "feature\n");
    repo.commit_all("On feature");
    let of = |path: Option<&str>, revision: Option<&str>| {
        let (path, revision) = (path.map(str::to_owned), revision.map(str::to_owned));
        log(repo.path(), &LogOptions { path, revision, ..LogOptions::default() })
            .map(|log| log.commits.into_iter().map(|commit| commit.subject).collect::<Vec<_>>())
    };
    assert_eq!(of(None, None).unwrap(), ["On feature", "Start"]);
    assert_eq!(of(None, Some("main")).unwrap(), ["On main", "Start"]);
    assert_eq!(of(None, Some("main..feature")).unwrap(), ["On feature"]);
    assert_eq!(of(None, Some("feature..main")).unwrap(), ["On main"]);
    assert_eq!(of(None, Some("main~1")).unwrap(), ["Start"]);
    assert_eq!(of(Some("src"), Some("main")).unwrap(), ["On main", "Start"]);
    assert_eq!(of(Some("README.md"), None).unwrap(), ["On feature", "Start"]);
    assert_eq!(of(Some("src/lib.rs"), None).unwrap(), ["Start"]);
    assert_eq!(
        of(None, Some("featrue")).unwrap_err().to_string(),
        "there is no branch, tag or commit named \"featrue\"; did you mean \"feature\"?"
    );
    assert!(of(Some("REDME.md"), None).unwrap_err().to_string().contains("did you mean README.md?"));
    assert!(matches!(of(Some("../x"), None), Err(GitError::Outside(..))));
    assert!(of(None, Some("main..nowhere")).is_err());
    assert!(of(None, Some("")).is_err());
}

#[test]
fn merges_in_the_log_of_a_path() {
    let repo = Repo::new();
    repo.branch("side");
    repo.write("a.txt", "a");
    let on_main = repo.commit_all("A");
    repo.checkout("side");
    repo.write("b.txt", "b");
    let on_side = repo.commit_all("B");
    repo.checkout("main");
    repo.write("b.txt", "b");
    repo.stage("b.txt");
    let parents = [repo.git.find_commit(on_main).unwrap(), repo.git.find_commit(on_side).unwrap()];
    repo.commit_with("Merge side", &[&parents[0], &parents[1]]);
    assert_eq!(subjects(repo.path(), &LogOptions::default()), ["Merge side", "B", "A", "Start"]);
    let of_b = LogOptions { path: Some("b.txt".to_owned()), ..LogOptions::default() };
    assert_eq!(subjects(repo.path(), &of_b), ["B"], "the merge has nothing of its own");
    let Shown::Commit { diff, .. } = show(repo.path(), "HEAD", &DiffOptions::default()).unwrap() else { panic!() };
    assert_eq!(diff.files[0].path, "b.txt", "a merge is shown against its first parent");
}

#[test]
fn diffs_between_all_the_states() {
    let repo = Repo::new();
    repo.write("README.md", "one\nTWO\nthree\n");
    repo.stage("README.md");
    repo.write("README.md", "one\nTWO\nTHREE\n");
    let unstaged = patch(&repo, DiffOptions::default());
    assert!(unstaged.contains("-three\n+THREE\n") && !unstaged.contains("+TWO"), "{unstaged}");
    assert!(unstaged.starts_with("diff --git a/README.md b/README.md\nindex "), "{unstaged}");
    let staged = patch(&repo, DiffOptions { staged: true, ..DiffOptions::default() });
    assert!(staged.contains("-two\n+TWO\n") && !staged.contains("THREE"), "{staged}");
    let both = diff(repo.path(), &DiffOptions { from: Some("HEAD".to_owned()), ..DiffOptions::default() }).unwrap();
    assert!(both.patch.contains("-two\n-three\n+TWO\n+THREE\n"), "{}", both.patch);
    assert_eq!(both.summary(), "1 file changed, 2 insertions(+), 2 deletions(-)");
    repo.commit_all("Upper");
    let between = |from: &str, to: Option<&str>| {
        patch(&repo, DiffOptions { from: Some(from.to_owned()), to: to.map(str::to_owned), ..DiffOptions::default() })
    };
    assert_eq!(between("HEAD~1", Some("HEAD")), between("HEAD~1..HEAD", None));
    assert_eq!(between("HEAD~1", Some("HEAD")), between("HEAD~1..", None));
    assert!(between("HEAD", Some("HEAD~1")).contains("-TWO"));
    assert_eq!(between("HEAD", None), "");
}

#[test]
fn a_three_dot_range_starts_where_branches_parted() {
    let repo = Repo::new();
    repo.branch("feature");
    repo.write("main.txt", "m");
    repo.commit_all("Main");
    repo.checkout("feature");
    repo.write("feature.txt", "f");
    repo.commit_all("Feature");
    let files = |range: &str| -> Vec<String> {
        let options = DiffOptions { from: Some(range.to_owned()), ..DiffOptions::default() };
        diff(repo.path(), &options).unwrap().files.into_iter().map(|file| file.path).collect()
    };
    assert_eq!(files("main...feature"), ["feature.txt"]);
    assert_eq!(files("main..feature"), ["feature.txt", "main.txt"]);
}

#[test]
fn diffs_are_the_ones_git_prints() {
    let repo = Repo::new();
    repo.write("moved.txt", "a file with enough\nlines in it\nto be found again\nwhen it moves\n");
    repo.write("bin.dat", b"\0\x01\x02");
    repo.write("no-end.txt", "a\nb");
    repo.write("dos.txt", "one\r\ntwo\r\n");
    repo.commit_all("More");
    fs_err::rename(repo.path().join("moved.txt"), repo.path().join("renamed.txt")).unwrap();
    repo.write("bin.dat", b"\0\x01\x03");
    repo.write("no-end.txt", "a\nc");
    repo.write("dos.txt", "one\r\n2\r\n");
    repo.write("empty.txt", "");
    for name in ["moved.txt", "renamed.txt", "bin.dat", "no-end.txt", "dos.txt", "empty.txt"] {
        repo.stage(name);
    }
    let ours = patch(&repo, DiffOptions { staged: true, ..DiffOptions::default() });
    let output = std::process::Command::new("git")
        .args(["-c", "core.abbrev=7", "diff", "--cached", "--no-color", "--no-ext-diff"])
        .current_dir(repo.path())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert_eq!(ours, String::from_utf8(output.stdout).unwrap());
    assert!(
        ours.contains("rename to renamed.txt") && ours.contains("No newline at end of file") && ours.contains("+2\r\n")
    );
}

#[test]
fn a_large_diff_is_cut_and_counted() {
    let repo = Repo::new();
    for name in ["a.txt", "b.txt"] {
        repo.write(name, "old line\n".repeat(500));
    }
    repo.commit_all("Large");
    for name in ["a.txt", "b.txt"] {
        repo.write(name, "new line\n".repeat(500));
    }
    let whole = diff(repo.path(), &DiffOptions::default()).unwrap();
    assert_eq!((whole.omitted_bytes, whole.files.len()), (0, 2));
    let cut = diff(repo.path(), &DiffOptions { max_bytes: 1000, ..DiffOptions::default() }).unwrap();
    assert!(cut.patch.len() <= 1000 && cut.patch.ends_with('\n'));
    assert_eq!(cut.patch.len() + cut.omitted_bytes, whole.patch.len());
    assert_eq!(cut.files, whole.files, "files and their counts are whole");
}

#[test]
fn a_path_that_git_does_not_know() {
    let repo = Repo::new();
    let of = |path: &str| diff(repo.path(), &DiffOptions { paths: vec![path.to_owned()], ..DiffOptions::default() });
    assert_eq!(of("README.md").unwrap().patch, "");
    assert_eq!(of("src").unwrap().patch, "");
    assert_eq!(of(".").unwrap().patch, "");
    assert_eq!(of("src/lib.r").unwrap_err().to_string(), "git knows no file src/lib.r; did you mean src/lib.rs?");
    assert_eq!(of("lib.rs").unwrap_err().to_string(), "git knows no file lib.rs; did you mean src/lib.rs?");
    assert!(matches!(of("../x"), Err(GitError::Outside(..))));
    assert!(matches!(of("/etc/passwd"), Err(GitError::Outside(..))));
    // A pathspec would match everything here; a path matches nothing.
    repo.write("README.md", "x");
    assert!(of("*").is_err());
    assert!(of(":(top)").is_err());
    assert_eq!(of(repo.path().canonicalize().unwrap().join("README.md").to_str().unwrap()).unwrap().files.len(), 1);
}

#[test]
fn file_names_that_are_not_text() {
    let repo = Repo::new();
    for name in [&b"latin-\xe9.txt"[..], b"new\nline.txt", b"\x1b[31mred.txt", "grün.txt".as_bytes()] {
        fs_err::write(repo.path().join(OsStr::from_bytes(name)), "x\n").unwrap();
    }
    let shown: Vec<String> = status(repo.path()).unwrap().entries.into_iter().map(|entry| entry.path).collect();
    assert_eq!(shown, [r#""\033[31mred.txt""#, r#""latin-\351.txt""#, r#""new\nline.txt""#, "grün.txt"]);
    repo.commit_all("Names");
    let Shown::Commit { diff, .. } = show(repo.path(), "HEAD", &DiffOptions::default()).unwrap() else { panic!() };
    assert_eq!(diff.files.len(), 4);
    assert!(!diff.patch.contains('\u{1b}') && !diff.patch.contains("new\nline"), "{}", diff.patch);
}

#[test]
fn branches_with_what_they_follow() {
    let origin = Repo::new();
    let folder = tempfile::tempdir().unwrap();
    let clone = git2::Repository::clone(origin.path().to_str().unwrap(), folder.path()).unwrap();
    origin.write("README.md", "theirs");
    origin.commit_all("Theirs");
    clone.find_remote("origin").unwrap().fetch(&["main"], None, None).unwrap();
    let who = git2::Signature::new("A", "a@b.c", &git2::Time::new(1_700_000_500, 0)).unwrap();
    {
        let head = clone.head().unwrap().peel_to_commit().unwrap();
        for message in ["Mine", "Mine too"] {
            let head = clone.head().unwrap().peel_to_commit().unwrap();
            clone.commit(Some("HEAD"), &who, &who, message, &head.tree().unwrap(), &[&head]).unwrap();
        }
        clone.branch("topic", &head, false).unwrap();
    }
    let found = branches(folder.path()).unwrap();
    let names: Vec<_> =
        found.branches.iter().map(|branch| (branch.name.as_str(), branch.remote, branch.is_head)).collect();
    assert_eq!(names, [("main", false, true), ("topic", false, false), ("origin/main", true, false)]);
    let upstream = Upstream { name: "origin/main".to_owned(), ahead_behind: Some((2, 1)) };
    assert_eq!(found.branches[0].upstream, Some(upstream.clone()));
    assert_eq!(found.branches[0].subject, "Mine too");
    assert_eq!(found.branches[1].upstream, None);
    assert!(
        matches!(status(folder.path()).unwrap().head, Head::Branch { upstream: Some(seen), .. } if seen == upstream)
    );
    clone.find_reference("refs/remotes/origin/main").unwrap().delete().unwrap();
    let gone = Upstream { name: "origin/main".to_owned(), ahead_behind: None };
    assert_eq!(branches(folder.path()).unwrap().branches[0].upstream, Some(gone));
}

#[test]
fn blame_knows_who_wrote_each_line() {
    let repo = Repo::new();
    repo.write("README.md", "one\nTWO\nthree\n");
    let second = repo.commit_all("Louder");
    let of = |options: BlameOptions| {
        let blame = blame(repo.path(), "README.md", &options).unwrap();
        let line = |line: &codriver_tools::git::BlameLine| {
            let subject = line.origin.as_ref().map_or("-", |origin| origin.subject.as_str());
            format!("{} {subject}: {}", line.number, line.text)
        };
        blame.lines.iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(of(BlameOptions::default()), ["1 Start: one", "2 Louder: TWO", "3 Start: three"]);
    assert_eq!(of(BlameOptions { first_line: Some(2), last_line: Some(2) }), ["2 Louder: TWO"]);
    assert_eq!(of(BlameOptions { first_line: Some(3), last_line: Some(99) }), ["3 Start: three"]);
    repo.write("README.md", "zero\none\nTWO\nthree\n");
    assert_eq!(of(BlameOptions::default()), ["1 -: zero", "2 Start: one", "3 Louder: TWO", "4 Start: three"]);
    repo.write("README.md", "one\r\nTWO\r\nthree\r\n");
    assert_eq!(of(BlameOptions::default()), ["1 Start: one", "2 Louder: TWO", "3 Start: three"]);
    let origin = blame(repo.path(), "README.md", &BlameOptions::default()).unwrap().lines[1].origin.clone().unwrap();
    assert!(second.to_string().starts_with(&origin.short_id));
    assert!(matches!(blame(repo.path(), "src", &BlameOptions::default()), Err(GitError::IsFolder(_))));
    let unknown = blame(repo.path(), "README", &BlameOptions::default()).unwrap_err().to_string();
    assert_eq!(unknown, "git knows no file README in the last commit; did you mean README.md?");
    let outside = BlameOptions { first_line: Some(9), last_line: None };
    assert_eq!(
        blame(repo.path(), "README.md", &outside).unwrap_err().to_string(),
        "git: README.md has 3 lines, no line 9"
    );
}

#[test]
fn show_commits_tags_files_and_folders() {
    let repo = Repo::new();
    let who = git2::Signature::new("Ada", "a@b.c", &git2::Time::new(1_700_000_000, 0)).unwrap();
    let head = repo.git.head().unwrap().peel_to_commit().unwrap();
    repo.git.tag("v1", head.as_object(), &who, "First release", false).unwrap();
    let shown = |revision: &str| show(repo.path(), revision, &DiffOptions::default());
    let Shown::Commit { commit, tag_message, diff } = shown("v1").unwrap() else { panic!() };
    assert_eq!((commit.subject.as_str(), tag_message.as_deref()), ("Start", Some("First release")));
    assert_eq!(diff.summary(), "2 files changed, 6 insertions(+)");
    assert!(matches!(shown(&commit.id[..8]).unwrap(), Shown::Commit { tag_message: None, .. }));
    assert_eq!(
        shown("HEAD:README.md").unwrap(),
        Shown::File { name: "HEAD:README.md".to_owned(), text: "one\ntwo\nthree\n".to_owned() }
    );
    let Shown::Folder { entries, .. } = shown("HEAD:").unwrap() else { panic!() };
    assert_eq!(entries, ["README.md", "src/"]);
    assert!(matches!(shown("nope"), Err(GitError::UnknownRevision { .. })));
    assert!(matches!(shown("HEAD:nope"), Err(GitError::UnknownRevision { .. })));
}

#[test]
fn conflicts_are_shown() {
    let repo = Repo::new();
    repo.branch("side");
    repo.write("README.md", "mine\n");
    repo.commit_all("Mine");
    repo.checkout("side");
    repo.write("README.md", "theirs\n");
    let theirs = repo.commit_all("Theirs");
    repo.checkout("main");
    let theirs = repo.git.find_annotated_commit(theirs).unwrap();
    repo.git.merge(&[&theirs], None, None).unwrap();
    let status = status(repo.path()).unwrap();
    assert_eq!(status.in_progress, Some("merge"));
    assert_eq!(status.conflicted().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), ["README.md"]);
    assert_eq!(diff(repo.path(), &DiffOptions::default()).unwrap().files[0].change, Change::Conflicted);
}

#[test]
fn a_folder_link_leads_git_nowhere() {
    let repo = Repo::new();
    let outside = tempfile::tempdir().unwrap();
    fs_err::write(outside.path().join("x.txt"), "secret").unwrap();
    link(outside.path(), repo.path().join("out"));
    repo.commit_all("Link");
    fs_err::write(outside.path().join("x.txt"), "changed secret").unwrap();
    assert!(status(repo.path()).unwrap().is_clean());
    assert!(diff(repo.path(), &DiffOptions { paths: vec!["out/x.txt".to_owned()], ..DiffOptions::default() }).is_err());
}

#[test]
fn times_that_are_no_times() {
    let repo = Repo::new();
    let tree = repo.git.head().unwrap().peel_to_tree().unwrap().id();
    let object = format!("tree {tree}\nauthor A <a@b.c> 99999999999999999 +9959\ncommitter  <> -1 -0000\n\n\u{7}\n");
    let id = repo.git.odb().unwrap().write(git2::ObjectType::Commit, object.as_bytes()).unwrap();
    repo.git.set_head_detached(id).unwrap();
    let log = log(repo.path(), &LogOptions::default()).unwrap();
    assert_eq!(log.commits.len(), 1, "{log:?}");
}

#[test]
fn an_interrupt_ends_the_wait() {
    let start = Instant::now();
    let slow = || {
        std::thread::sleep(Duration::from_secs(5));
        Ok(())
    };
    assert_eq!(interruptible(&|| true, slow), Err(GitError::Interrupted));
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(interruptible(&never, || Ok(7)), Ok(7));
    assert_eq!(interruptible(&never, || Err::<(), _>(GitError::NoCommits)), Err(GitError::NoCommits));
}
