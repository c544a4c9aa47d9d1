//! A kernel process of our own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Client;

/// A running kernel with a client, and the folder that holds its data. Killed when dropped.
pub struct Kernel {
    pub process: Child,
    pub client: Client,
    pub folder: TempDir,
}

impl Kernel {
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap())
    }

    /// Starts with the data an earlier kernel left in `folder`.
    pub fn start_in(folder: TempDir) -> Self {
        Self::start_with(folder, |_| {})
    }

    pub fn start_with(folder: TempDir, change: impl FnOnce(&mut Command)) -> Self {
        let connection = connection();
        let mut command = command(folder.path(), &connection);
        change(&mut command);
        let process = command.spawn().unwrap();
        Self { process, client: Client::connect(&connection), folder }
    }

    /// Waits for the process to end by itself.
    pub fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    /// kill -9, and what is left in the folder.
    pub fn kill(mut self) -> TempDir {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if self.process.try_wait().unwrap().is_none() {
            self.process.kill().unwrap();
            self.process.wait().unwrap();
        }
    }
}

/// The command that serves `connection`, its data below `folder`, working in `folder`.
pub fn command(folder: &Path, connection: &Value) -> Command {
    let file = folder.join("connection.json");
    std::fs::write(&file, connection.to_string()).unwrap();
    let mut command = Command::new(binary());
    command
        .args(["kernel", "-f"])
        .arg(file)
        .current_dir(folder)
        .env("CODRIVER_DATA_DIR", folder.join("data"))
        .env_remove("JPY_PARENT_PID")
        .stdin(Stdio::null());
    command
}

pub fn connection() -> Value {
    // All five are held at once, so that they differ.
    let listeners: Vec<TcpListener> = (0..5).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let port = |index: usize| listeners[index].local_addr().unwrap().port();
    json!({
        "ip": "127.0.0.1", "transport": "tcp", "signature_scheme": "hmac-sha256", "key": "a key for tests",
        "shell_port": port(0), "iopub_port": port(1), "stdin_port": port(2), "control_port": port(3), "hb_port": port(4),
        "kernel_name": "codriver",
    })
}

/// The binary that was built into the same target folder as this test.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().and_then(Path::parent).unwrap().join("codriver");
    assert!(binary.exists(), "{} is not there: run `cargo build --release` first", binary.display());
    binary
}
