//! Finds and ends the compilers that the evaluator started.

use std::collections::HashMap;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub fn end(id: i32) {
    if let Err(error) = kill(Pid::from_raw(id), Signal::SIGKILL) {
        tracing::debug!(%error, id, "the process had ended");
    }
}

/// Ends everything that `ancestor` started, directly or not, but what runs the same
/// program as itself, and what that started.
pub fn end_descendants(ancestor: i32) {
    let parents = parents();
    let program = program(ancestor);
    let descends = |id: i32| {
        let mut current = id;
        // A loop in a table read while it changed must not hang us.
        for _ in 0..64 {
            if program.is_some() && self::program(current) == program {
                return false;
            }
            match parents.get(&current) {
                Some(parent) if *parent == ancestor => return true,
                Some(parent) => current = *parent,
                None => return false,
            }
        }
        false
    };
    parents.keys().copied().filter(|id| descends(*id)).for_each(end);
}

fn program(id: i32) -> Option<PathBuf> {
    fs_err::read_link(format!("/proc/{id}/exe")).ok()
}

/// Each process' parent, from /proc.
fn parents() -> HashMap<i32, i32> {
    let Ok(entries) = fs_err::read_dir("/proc") else {
        return HashMap::new();
    };
    entries
        .filter_map(|entry| {
            let id: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let status = fs_err::read_to_string(format!("/proc/{id}/stat")).ok()?;
            // The name, in parentheses, may hold anything.
            let parent = status.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((id, parent))
        })
        .collect()
}
