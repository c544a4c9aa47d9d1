//! An interrupt always works, and costs no other language its state.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Channel, Client, Executed};
use crate::kernel::Kernel;

/// How long an interrupted cell may take to end.
const PROMPT: Duration = Duration::from_secs(10);

/// Runs `code`, interrupts it once it has run for `after`, and checks how it ends.
pub fn interrupt(client: &mut Client, code: &str, after: Duration) -> Executed {
    let id = client.send_execute_request(code);
    std::thread::sleep(after);
    let control = client.send(Channel::Control, "interrupt_request", json!({}));
    let started = Instant::now();
    let reply = client.recv(Channel::Control);
    assert_eq!(
        (reply.kind.as_str(), &reply.parent_id, &reply.content["status"]),
        ("interrupt_reply", &control, &json!("ok"))
    );

    // The control request's own busy and idle come in between.
    let mut outputs = Vec::new();
    let (mut cell_idle, mut control_idle) = (false, false);
    while !(cell_idle && control_idle) {
        let message = client.recv(Channel::Iopub);
        let idle = message.content["execution_state"] == "idle";
        if message.parent_id == control {
            control_idle |= idle;
        } else {
            assert_eq!(message.parent_id, id);
            cell_idle |= idle;
            if message.kind != "status" {
                outputs.push(message);
            }
        }
    }
    assert!(started.elapsed() < PROMPT, "{code} took {:?} to stop", started.elapsed());
    let reply = client.recv_shell_execute_reply();
    assert_eq!(reply.parent_id, id);
    Executed { reply: reply.content, outputs }
}

#[test]
fn a_shell_with_its_whole_process_group() {
    let mut kernel = Kernel::start();
    let marker = kernel.folder.path().join("survivor");
    let code = format!("%%bash\necho started\n(sleep 3; touch {}) &\nsleep 100 | cat", marker.display());
    let done = interrupt(&mut kernel.client, &code, Duration::from_secs(1));
    assert_eq!(done.error_name(), "Interrupted");
    assert!(done.stream("stdout").contains("started"));
    std::thread::sleep(Duration::from_secs(3));
    assert!(!marker.exists(), "a child of the shell lived on");
}

#[test]
fn a_query_and_its_tables_stay() {
    let mut kernel = Kernel::start();
    let client = &mut kernel.client;
    assert_eq!(client.execute("%sql CREATE TABLE kept AS SELECT 42 AS n").status(), "ok");
    let endless = "%sql SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 3";
    assert_eq!(interrupt(client, endless, Duration::from_secs(1)).error_name(), "Interrupted");
    assert!(client.execute("%sql SELECT n FROM kept").result().contains("42"));
}

#[test]
fn a_rust_cell_and_nothing_but_rusts_variables_go() {
    let mut kernel = Kernel::start();
    let client = &mut kernel.client;
    assert_eq!(client.execute("%sql CREATE TABLE kept AS SELECT 42 AS n").status(), "ok");
    assert_eq!(client.execute("let lost = 1;").status(), "ok");
    let done = interrupt(
        client,
        "loop { std::thread::sleep(std::time::Duration::from_millis(10)); }",
        Duration::from_secs(12),
    );
    assert_eq!(done.error_name(), "Interrupted");
    assert!(client.execute("%sql SELECT n FROM kept").result().contains("42"));
    assert_eq!(client.execute("1 + 1").result(), "2");
}

#[test]
fn by_signal_too_and_when_nothing_runs() {
    let mut kernel = Kernel::start();
    let process = nix::unistd::Pid::from_raw(i32::try_from(kernel.process.id()).unwrap());
    let client = &mut kernel.client;
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGINT).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(client.execute("!echo not interrupted").status(), "ok");

    let id = client.send_execute_request("!sleep 100");
    std::thread::sleep(Duration::from_millis(500));
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(client.finish(&id).error_name(), "Interrupted");
}
