//! A kernel whose Jupyter server died must not stay behind.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Pid, getppid};

const POLL: Duration = Duration::from_millis(500);

/// Returns when the process that started this one is gone. Never, unless `JPY_PARENT_PID` is
/// set: a kernel started by hand may outlive its shell.
pub async fn death() {
    let announced = std::env::var("JPY_PARENT_PID").ok().and_then(|pid| pid.parse().ok()).map(Pid::from_raw);
    let Some(announced) = announced else { return std::future::pending().await };
    // The number may mean nothing here (a server in another container), and the launcher in
    // between may be the real parent: watch both, each only if it was there to begin with.
    let parent = getppid();
    let watch_announced = exists(announced);
    loop {
        tokio::time::sleep(POLL).await;
        if getppid() != parent || (watch_announced && !exists(announced)) {
            return;
        }
    }
}

fn exists(pid: Pid) -> bool {
    pid.as_raw() > 0 && kill(pid, None) != Err(Errno::ESRCH)
}
