//! A kernel process of our own.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
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

/// Five ports of this process, which no one else gets before it ends: not from the system, which gives out those from
/// 32768 on by itself, nor another test, as each has a file that is locked.
pub fn connection() -> Value {
    static RESERVED: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let folder = std::env::temp_dir().join("codriver-test-ports");
    std::fs::create_dir_all(&folder).unwrap();
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let first = (20_000..32_000).step_by(5).find(|first| {
        let lock = File::create(folder.join(first.to_string())).unwrap();
        let is_ours = lock.try_lock().is_ok() && (*first..first + 5).all(is_free);
        if is_ours {
            RESERVED.lock().unwrap().push(lock);
        }
        is_ours
    });
    let first = first.expect("five free ports from 20000 to 32000");
    json!({
        "ip": "127.0.0.1", "transport": "tcp", "signature_scheme": "hmac-sha256", "key": "a key for tests",
        "shell_port": first, "iopub_port": first + 1, "stdin_port": first + 2, "control_port": first + 3,
        "hb_port": first + 4, "kernel_name": "codriver",
    })
}

/// The binary that was built into the same target folder as this test.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().and_then(Path::parent).unwrap().join("codriver");
    assert!(binary.exists(), "{} is not there: run `cargo build --release` first", binary.display());
    binary
}
