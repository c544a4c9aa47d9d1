//! Real folders and repositories to test on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use codriver_tools::{ToolContext, ToolError, ToolOutput, ToolRegistry, builtin};
use git2::{Repository, Signature, Time};
use serde_json::Value;
use tempfile::TempDir;

pub fn never() -> bool {
    false
}

pub fn write(folder: &Path, name: &str, contents: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, contents).unwrap();
}

pub fn link(target: impl AsRef<Path>, link: impl AsRef<Path>) {
    std::os::unix::fs::symlink(target, link).unwrap();
}

pub fn context(workspace: &Path) -> ToolContext {
    ToolContext { workspace: workspace.to_path_buf(), interrupted: Arc::new(|| false) }
}

pub fn registry() -> ToolRegistry {
    let mut registry = ToolRegistry::new();
    for tool in builtin() {
        registry.register(tool);
    }
    registry
}

pub fn run(workspace: &Path, tool: &str, arguments: Value) -> Result<ToolOutput, ToolError> {
    registry().run(tool, &arguments, &context(workspace))
}

pub fn text(workspace: &Path, tool: &str, arguments: Value) -> String {
    run(workspace, tool, arguments).unwrap().text
}

pub fn error(workspace: &Path, tool: &str, arguments: Value) -> String {
    run(workspace, tool, arguments).unwrap_err().to_string()
}

/// A repository whose commits have fixed authors and times, a minute apart.
pub struct Repo {
    pub folder: TempDir,
    pub git: Repository,
    clock: AtomicI64,
}

impl Repo {
    /// On branch `main`, without a commit.
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let git =
            Repository::init_opts(folder.path(), git2::RepositoryInitOptions::new().initial_head("main")).unwrap();
        Self { folder, git, clock: AtomicI64::new(1_700_000_000) }
    }

    /// With `README.md` ("one\ntwo\nthree\n") and `src/lib.rs` committed.
    pub fn new() -> Self {
        let repo = Self::empty();
        repo.write("README.md", "one\ntwo\nthree\n");
        repo.write("src/lib.rs", "pub fn answer() -> u32 {\n    42\n}\n");
        repo.commit_all("Start");
        repo
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        write(self.path(), name, contents);
    }

    pub fn remove(&self, name: &str) {
        fs_err::remove_file(self.path().join(name)).unwrap();
    }

    pub fn stage(&self, name: &str) {
        let mut index = self.git.index().unwrap();
        match self.path().join(name).symlink_metadata() {
            Ok(_) => index.add_path(Path::new(name)).unwrap(),
            Err(_) => index.remove_path(Path::new(name)).unwrap(),
        }
        index.write().unwrap();
    }

    pub fn commit_all(&self, message: &str) -> git2::Oid {
        let mut index = self.git.index().unwrap();
        index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
        index.update_all(["*"], None).unwrap();
        index.write().unwrap();
        let parents: Vec<git2::Commit<'_>> =
            self.git.head().ok().map(|head| head.peel_to_commit().unwrap()).into_iter().collect();
        self.commit_with(message, &parents.iter().collect::<Vec<_>>())
    }

    pub fn commit_with(&self, message: &str, parents: &[&git2::Commit<'_>]) -> git2::Oid {
        let tree = self.git.find_tree(self.git.index().unwrap().write_tree().unwrap()).unwrap();
        let seconds = self.clock.fetch_add(60, Ordering::SeqCst);
        let who = Signature::new("Ada Lovelace", "ada@example.com", &Time::new(seconds, 120)).unwrap();
        self.git.commit(Some("HEAD"), &who, &who, message, &tree, parents).unwrap()
    }

    pub fn identify(&self) {
        let mut config = self.git.config().unwrap();
        config.set_str("user.name", "Grace Hopper").unwrap();
        config.set_str("user.email", "grace@example.com").unwrap();
    }

    pub fn branch(&self, name: &str) {
        let head = self.git.head().unwrap().peel_to_commit().unwrap();
        self.git.branch(name, &head, false).unwrap();
    }

    pub fn checkout(&self, branch: &str) {
        self.git.set_head(&format!("refs/heads/{branch}")).unwrap();
        self.git.checkout_head(Some(git2::build::CheckoutBuilder::new().force())).unwrap();
    }
}

/// A folder with a secret, and a workspace beside it.
pub struct Outside {
    pub folder: TempDir,
    pub workspace: PathBuf,
}

impl Outside {
    pub const SECRET: &str = "the secret outside";

    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "outside/passwords.txt", Self::SECRET);
        write(folder.path(), "workspace/inside.txt", "inside");
        let workspace = folder.path().join("workspace");
        Self { folder, workspace }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("outside")
    }
}
