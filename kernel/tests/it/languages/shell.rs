use std::time::{Duration, Instant};

use codriver::languages::shell::ShellEngine;
use codriver::session::OutputEvent;

use super::Recorded;

fn shell() -> ShellEngine {
    ShellEngine::new(std::env::temp_dir())
}

#[test]
fn output_is_streamed_in_pieces() {
    let recorded = Recorded::new();
    let script = "printf 'a'; sleep 0.3; printf '\\xc3'; sleep 0.1; printf '\\xa9\\n'; echo wrong >&2";
    shell().execute(script, &recorded.context).unwrap();
    assert_eq!(recorded.stdout(), "aé\n");
    assert_eq!(recorded.stderr(), "wrong\n");
    assert_eq!(recorded.events()[0], OutputEvent::Stdout("a".to_owned()));
}

#[test]
fn scripts_run_in_the_workspace_with_colours_and_no_input() {
    let folder = tempfile::tempdir().unwrap();
    let recorded = Recorded::new();
    ShellEngine::new(folder.path())
        .execute("pwd; echo -e '\\e[31mred\\e[0m'; cat; echo $CLICOLOR_FORCE", &recorded.context)
        .unwrap();
    let workspace = folder.path().canonicalize().unwrap();
    assert_eq!(recorded.stdout(), format!("{}\n\u{1b}[31mred\u{1b}[0m\n1\n", workspace.display()));
}

#[test]
fn exit_codes_and_signals_are_errors() {
    let error = shell().execute("echo before; exit 3", &Recorded::new().context).unwrap_err();
    assert!(error.value.contains("exit code 3"), "{error}");
    let error = shell().execute("kill -9 $$", &Recorded::new().context).unwrap_err();
    assert!(error.value.contains("SIGKILL"), "{error}");
    let error = ShellEngine::new("/no/such/folder").execute("true", &Recorded::new().context).unwrap_err();
    assert!(error.value.contains("/no/such/folder"), "{error}");
}

#[test]
fn an_interrupt_ends_the_whole_group() {
    let folder = tempfile::tempdir().unwrap();
    let recorded = Recorded::new();
    recorded.interrupt_when(|events| events.contains(&OutputEvent::Stdout("ready\n".to_owned())));
    let started = Instant::now();
    let script = "sh -c 'trap \"\" INT; while true; do date +%N > beat; sleep 0.05; done' & until [ -s beat ]; do sleep 0.02; done; echo ready; sleep 60";
    let error = ShellEngine::new(folder.path()).execute(script, &recorded.context).unwrap_err();
    assert_eq!(error.name, "Interrupted");
    assert!(started.elapsed() < Duration::from_secs(10));
    std::thread::sleep(Duration::from_millis(200));
    let beat = std::fs::read(folder.path().join("beat")).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(std::fs::read(folder.path().join("beat")).unwrap(), beat, "the background child still runs");
}

#[test]
fn a_stubborn_command_is_killed() {
    let recorded = Recorded::new();
    recorded.interrupt_when(|events| events.contains(&OutputEvent::Stdout("ready\n".to_owned())));
    let started = Instant::now();
    let error =
        shell().execute("trap '' INT TERM; echo ready; while true; do sleep 0.1; done", &recorded.context).unwrap_err();
    assert_eq!(error.name, "Interrupted");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_background_child_does_not_hold_the_cell() {
    let recorded = Recorded::new();
    let started = Instant::now();
    shell().execute("sleep 30 & echo started", &recorded.context).unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(recorded.stdout(), "started\n");
}

#[test]
fn much_output_arrives_whole() {
    let recorded = Recorded::new();
    shell().execute("head -c 5000000 /dev/zero | tr '\\0' 'x'", &recorded.context).unwrap();
    assert_eq!(recorded.stdout().len(), 5_000_000);
}
