//! What a cell shows, and how much of it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::Channel;
use crate::kernel::Kernel;

#[test]
fn fifty_megabytes_are_cut_and_said_to_be() {
    let mut kernel = Kernel::start();
    let done = kernel.client.execute("!head -c 50000000 /dev/zero | tr '\\0' 'x' | fold -w 99; echo END");
    assert_eq!(done.status(), "ok");
    let kept = done.stream("stdout");
    assert!((1_900_000..=2_000_000).contains(&kept.len()), "{} bytes were kept", kept.len());
    assert!(kept.starts_with("xxx") && !kept.contains("END"));
    let notice = done.stream("stderr");
    assert_eq!(notice.matches("output cut").count(), 1, "{notice}");
    assert!(notice.contains("2.0 MB kept, 48.5 MB dropped"), "{notice}");
    // The next cell is not cut.
    assert_eq!(kernel.client.execute("!echo short").stream("stdout"), "short\n");
}

#[test]
fn text_streams_while_the_cell_runs_and_small_pieces_are_joined() {
    let mut kernel = Kernel::start();
    let client = &mut kernel.client;
    let started = Instant::now();
    let id = client.send_execute_request("!printf 'hello, '; printf world; sleep 4; echo ' later'");
    client.recv_iopub_busy();
    client.recv_iopub("execute_input");
    let first = client.recv_iopub("stream");
    assert_eq!(
        (first.parent_id.as_str(), &first.content),
        (id.as_str(), &json!({ "name": "stdout", "text": "hello, world" }))
    );
    assert!(started.elapsed() < Duration::from_millis(3500));
    assert_eq!(client.recv_iopub("stream").content["text"], " later\n");
    client.recv_iopub_idle();
    client.recv_shell_execute_reply();
}

#[test]
fn ten_thousand_lines_come_in_few_messages_and_in_order() {
    let mut kernel = Kernel::start();
    let done = kernel.client.execute("!seq 10000");
    let expected: String = (1..=10_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(done.stream("stdout"), expected);
    assert!(done.outputs.len() < 50, "{} messages", done.outputs.len());
}

#[test]
fn nothing_is_published_after_idle() {
    let mut kernel = Kernel::start();
    kernel.client.execute("!(sleep 0.3; echo late) & echo early");
    let late = kernel.client.recv_within(Channel::Iopub, Duration::from_secs(1));
    assert!(late.is_none(), "{late:?}");
}

#[test]
fn a_client_that_stops_reading_does_not_stop_the_kernel() {
    let mut kernel = Kernel::start();
    let connection: serde_json::Value =
        serde_json::from_slice(&std::fs::read(kernel.folder.path().join("connection.json")).unwrap()).unwrap();
    // Connected and subscribed, but its socket is never read again.
    let _stalled = crate::client::Client::connect(&connection);
    let started = Instant::now();
    for _ in 0..20 {
        let done = kernel.client.execute("!head -c 1900000 /dev/zero | tr '\\0' 'y'");
        assert_eq!(done.status(), "ok");
    }
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}
