//! How a kernel ends, and that the next one starts.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::client::{Channel, Client};
use crate::kernel::{Kernel, binary, command, connection};

const PROMPT: Duration = Duration::from_secs(5);

#[test]
fn shutdown_replies_and_ends_even_while_a_cell_runs() {
    for (restart, code) in [
        (false, None),
        (true, Some("!sleep 100")),
        (false, Some("%sql SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 3")),
    ] {
        let mut kernel = Kernel::start();
        if let Some(code) = code {
            kernel.client.send_execute_request(code);
            std::thread::sleep(Duration::from_millis(500));
        }
        let id = kernel.client.send(Channel::Control, "shutdown_request", json!({ "restart": restart }));
        let reply = kernel.client.recv(Channel::Control);
        assert_eq!((reply.kind.as_str(), &reply.parent_id), ("shutdown_reply", &id));
        assert_eq!(reply.content, json!({ "status": "ok", "restart": restart }));
        let status = kernel.ended(PROMPT).expect("the kernel did not end");
        assert!(status.success(), "{status}");
    }
}

#[test]
fn starts_again_after_kill_9_in_the_middle_of_a_cell() {
    let mut kernel = Kernel::start();
    kernel.client.send_execute_request("!sleep 100");
    std::thread::sleep(Duration::from_millis(500));
    let folder = kernel.kill();
    let mut kernel = Kernel::start_in(folder);
    assert_eq!(kernel.client.execute("!echo again").stream("stdout"), "again\n");
}

#[test]
fn ends_on_sigterm() {
    let mut kernel = Kernel::start();
    kernel.client.execute("!true");
    kill(Pid::from_raw(i32::try_from(kernel.process.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(kernel.ended(PROMPT).expect("the kernel did not end").success());
}

#[test]
fn ends_when_its_parent_dies() {
    let folder = tempfile::tempdir().unwrap();
    let connection = connection();
    let kernel = command(folder.path(), &connection);
    let file = folder.path().join("connection.json");
    // A shell stands in for the Jupyter server: it starts the kernel, says its number, waits.
    let mut server = Command::new("bash")
        .args(["-c", "JPY_PARENT_PID=$$ \"$0\" kernel -f \"$1\" </dev/null & echo $!; sleep 1000"])
        .arg(kernel.get_program())
        .arg(file)
        .env("CODRIVER_DATA_DIR", folder.path().join("data"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid = Pid::from_raw(line.trim().parse().unwrap());
    let mut client = Client::connect(&connection);
    assert_eq!(client.execute("!echo up").stream("stdout"), "up\n");
    std::thread::sleep(Duration::from_millis(1200));
    kill(pid, None).expect("the kernel is alive while its parent is");

    server.kill().unwrap();
    server.wait().unwrap();
    let deadline = Instant::now() + PROMPT;
    while alive(pid) {
        assert!(Instant::now() < deadline, "the kernel outlived its parent");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Not a zombie either: in a container nobody may be there to reap it.
fn alive(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_broken_connection_file_is_said_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("connection.json");
    std::fs::write(&file, "{}").unwrap();
    let output = Command::new(binary()).args(["kernel", "-f"]).arg(&file).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("not a connection file"));
}
