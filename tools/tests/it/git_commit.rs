use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use codriver_tools::git::{CommitOptions, Committed, DiffOptions, GitError, Head, commit, diff, status};

use crate::support::Repo;

fn options(message: &str) -> CommitOptions {
    CommitOptions { message: message.to_owned(), ..CommitOptions::default() }
}

fn all(message: &str) -> CommitOptions {
    CommitOptions { all: true, ..options(message) }
}

fn make(repo: &Repo, options: &CommitOptions) -> Result<Committed, GitError> {
    commit(repo.path(), options)
}

fn hook(repo: &Repo, folder: &str, name: &str) {
    repo.write(&format!("{folder}/{name}"), "#!/bin/sh\nexit 1\n");
    let path = repo.path().join(folder).join(name);
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn what_is_staged_is_committed_and_nothing_else() {
    let repo = Repo::new();
    repo.identify();
    repo.write("README.md", "staged\n");
    repo.stage("README.md");
    repo.write("src/lib.rs", "not staged\n");
    repo.write("new.txt", "untracked\n");
    let made = make(&repo, &options("Say it\n\n\nBecause.  \n\n")).unwrap();
    assert_eq!((made.commit.subject.as_str(), made.commit.body.as_str()), ("Say it", "Because."));
    assert_eq!(
        (made.commit.author.name.as_str(), made.commit.author.email.as_str()),
        ("Grace Hopper", "grace@example.com")
    );
    assert_eq!(made.diff.summary(), "1 file changed, 1 insertion(+), 3 deletions(-)");
    assert!(matches!(&made.head, Head::Branch { name, .. } if name == "main"));
    assert_eq!(made.notes, [""; 0]);
    let left: Vec<String> = status(repo.path()).unwrap().entries.into_iter().map(|entry| entry.path).collect();
    assert_eq!(left, ["new.txt", "src/lib.rs"]);
    // Git itself finds the repository whole.
    let check = Command::new("git").args(["fsck", "--strict"]).current_dir(repo.path()).output().unwrap();
    assert!(check.status.success(), "{check:?}");
    assert_eq!(repo.git.reflog("HEAD").unwrap().get(0).unwrap().message().unwrap(), Some("commit: Say it"));
}

#[test]
fn all_takes_changed_and_deleted_but_not_new_files() {
    let repo = Repo::new();
    repo.identify();
    repo.write("README.md", "changed\n");
    repo.remove("src/lib.rs");
    repo.write("new.txt", "untracked\n");
    let made = make(&repo, &all("All")).unwrap();
    let files: Vec<&str> = made.diff.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(files, ["README.md", "src/lib.rs"]);
    assert_eq!(made.notes, ["Files that git does not track yet were left out: `!git add` them first."]);
}

#[test]
fn the_first_commit() {
    let repo = Repo::empty();
    repo.identify();
    assert!(matches!(make(&repo, &options("Empty")), Err(GitError::NothingToCommit(_))));
    repo.write("a.txt", "a");
    repo.stage("a.txt");
    let made = make(&repo, &options("First")).unwrap();
    assert_eq!(made.commit.parents, [""; 0]);
    assert!(matches!(made.head, Head::Branch { name, .. } if name == "main"));
}

#[test]
fn nothing_to_commit_is_said() {
    let repo = Repo::new();
    repo.identify();
    repo.write("README.md", "changed\n");
    let error = make(&repo, &options("Nothing staged")).unwrap_err().to_string();
    assert!(error.contains("with -a"), "{error}");
    repo.write("README.md", "one\ntwo\nthree\n");
    repo.write("new.txt", "x");
    let error = make(&repo, &all("Only new files")).unwrap_err().to_string();
    assert!(error.contains("new files need `!git add` first"), "{error}");
    let empty = CommitOptions { allow_empty: true, ..options("Empty") };
    assert!(make(&repo, &empty).unwrap().diff.is_empty());
    for message in ["", "  \n\n "] {
        assert_eq!(make(&repo, &options(message)), Err(GitError::NoMessage));
    }
}

/// Runs in a process of its own, without the identity that the machine may have configured.
#[test]
fn without_an_identity_it_says_how_to_set_one() {
    const CHILD: &str = "CODRIVER_TEST_NO_IDENTITY";
    if std::env::var_os(CHILD).is_some() {
        let repo = Repo::new();
        repo.write("README.md", "changed\n");
        let error = make(&repo, &all("Anonymous")).unwrap_err();
        assert_eq!(error, GitError::NoIdentity);
        assert!(error.to_string().contains("git config user.name"));
        assert_eq!(
            repo.git.statuses(None).unwrap().get(0).unwrap().status(),
            git2::Status::WT_MODIFIED,
            "nothing was staged"
        );
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "git_commit::without_an_identity_it_says_how_to_set_one"])
        .env_clear()
        .env("HOME", home.path())
        .env("XDG_CONFIG_HOME", home.path())
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn hooks_are_not_passed_by_in_silence() {
    for name in ["pre-commit", "commit-msg", "prepare-commit-msg"] {
        let repo = Repo::new();
        repo.identify();
        repo.write("README.md", "changed\n");
        hook(&repo, ".git/hooks", name);
        let error = make(&repo, &all("Hooked")).unwrap_err();
        assert_eq!(error, GitError::Hook(name.to_owned()));
        assert!(
            diff(repo.path(), &DiffOptions { staged: true, ..DiffOptions::default() }).unwrap().is_empty(),
            "nothing was staged"
        );
        let made = make(&repo, &CommitOptions { no_verify: true, ..all("Hooked") }).unwrap();
        assert_eq!(made.notes, [format!("Hooks that were not run: {name}.")]);
    }
}

#[test]
fn hooks_elsewhere_count_and_samples_do_not() {
    let repo = Repo::new();
    repo.identify();
    repo.write(".git/hooks/pre-commit.sample", "#!/bin/sh\n");
    repo.write(".git/hooks/pre-commit", "not executable");
    hook(&repo, ".git/hooks", "post-commit");
    repo.write("README.md", "changed\n");
    assert_eq!(make(&repo, &all("Fine")).unwrap().notes, ["Hooks that were not run: post-commit."]);
    hook(&repo, "githooks", "pre-commit");
    repo.git.config().unwrap().set_str("core.hooksPath", "githooks").unwrap();
    repo.write("README.md", "changed again\n");
    assert_eq!(make(&repo, &all("Stopped")), Err(GitError::Hook("pre-commit".to_owned())));
}

#[test]
fn contents_that_need_a_filter_are_refused() {
    let repo = Repo::new();
    repo.identify();
    repo.write("data.bin", "pointer\n");
    repo.write(".gitattributes", "*.bin filter=lfs -text\n*.txt text\n");
    repo.commit_all("Attributes");
    repo.write("data.bin", "large contents\n");
    let error = make(&repo, &all("Large")).unwrap_err();
    assert_eq!(error, GitError::Filter { path: "data.bin".to_owned(), filter: "lfs".to_owned() });
    repo.remove("data.bin");
    assert!(make(&repo, &all("Without it")).is_ok(), "a deletion needs no filter");
}

#[test]
fn unsigned_commits_say_so() {
    let repo = Repo::new();
    repo.identify();
    repo.git.config().unwrap().set_bool("commit.gpgsign", true).unwrap();
    repo.write("README.md", "changed\n");
    let notes = make(&repo, &all("Unsigned")).unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("not signed")), "{notes:?}");
}

#[test]
fn a_merge_is_finished_once_conflicts_are_solved() {
    let repo = Repo::new();
    repo.identify();
    repo.branch("side");
    repo.write("README.md", "mine\n");
    let mine = repo.commit_all("Mine");
    repo.checkout("side");
    repo.write("README.md", "theirs\n");
    let theirs = repo.commit_all("Theirs");
    repo.checkout("main");
    let annotated = repo.git.find_annotated_commit(theirs).unwrap();
    repo.git.merge(&[&annotated], None, None).unwrap();
    let error = make(&repo, &options("Merge")).unwrap_err();
    assert_eq!(error, GitError::Conflicts(vec!["README.md".to_owned()]));
    assert_eq!(error.to_string(), "1 file still in conflict (README.md); edit them and `!git add` them, then commit");
    repo.write("README.md", "both\n");
    let again = git2::Repository::open(repo.path()).unwrap();
    let mut index = again.index().unwrap();
    index.add_path(Path::new("README.md")).unwrap();
    index.write().unwrap();
    let made = make(&repo, &options("Merge side")).unwrap();
    assert_eq!(made.commit.parents, [mine.to_string(), theirs.to_string()]);
    assert_eq!(status(repo.path()).unwrap().in_progress, None);
    assert!(status(repo.path()).unwrap().is_clean());
}

#[test]
fn a_rebase_is_left_to_git() {
    let repo = Repo::new();
    repo.identify();
    fs_err::create_dir(repo.path().join(".git/rebase-merge")).unwrap();
    assert_eq!(make(&repo, &options("In between")), Err(GitError::InProgress("rebase")));
}

#[test]
fn a_detached_head_moves() {
    let repo = Repo::new();
    repo.identify();
    let head = repo.git.head().unwrap().target().unwrap();
    repo.git.set_head_detached(head).unwrap();
    repo.write("README.md", "changed\n");
    let made = make(&repo, &all("Off branch")).unwrap();
    assert_eq!(made.head, Head::Detached { commit: made.commit.short_id.clone() });
    assert_eq!(repo.git.find_branch("main", git2::BranchType::Local).unwrap().get().target(), Some(head));
}

/// Files that a sparse checkout leaves out are not deleted ones.
#[test]
fn files_left_out_of_a_sparse_checkout_are_kept() {
    let repo = Repo::new();
    repo.identify();
    let git = |arguments: &[&str]| Command::new("git").args(arguments).current_dir(repo.path()).status().unwrap();
    assert!(git(&["sparse-checkout", "set", "--no-cone", "/README.md"]).success());
    assert!(!repo.path().join("src/lib.rs").exists(), "control: it is left out");
    assert!(status(repo.path()).unwrap().is_clean());
    for from in [None, Some("HEAD".to_owned())] {
        assert!(diff(repo.path(), &DiffOptions { from, ..DiffOptions::default() }).unwrap().is_empty());
    }
    repo.write("README.md", "changed\n");
    let kept = commit(repo.path(), &all("Sparse"))
        .map(|made| made.diff.files.into_iter().map(|file| file.path).collect::<Vec<_>>());
    assert_eq!(kept, Ok(vec!["README.md".to_owned()]));
    assert!(status(repo.path()).unwrap().is_clean());
}

#[test]
fn a_submodule_is_committed_as_what_is_checked_out() {
    let inner = Repo::new();
    let repo = Repo::new();
    repo.identify();
    let git = |arguments: &[&str]| Command::new("git").args(arguments).current_dir(repo.path()).output().unwrap();
    let added =
        git(&["-c", "protocol.file.allow=always", "submodule", "add", "-q", inner.path().to_str().unwrap(), "inner"]);
    assert!(added.status.success(), "{added:?}");
    make(&repo, &options("Add a submodule")).unwrap();
    inner.write("README.md", "newer\n");
    let newer = inner.commit_all("Newer");
    let pulled = git(&["-C", "inner", "-c", "protocol.file.allow=always", "pull", "-q"]);
    assert!(pulled.status.success(), "{pulled:?}");
    let made = make(&repo, &all("Move on")).unwrap();
    assert_eq!(made.diff.files.len(), 1);
    let tree = repo.git.head().unwrap().peel_to_tree().unwrap();
    assert_eq!(tree.get_name("inner").unwrap().id(), newer);
}
