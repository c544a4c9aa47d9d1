//! Cells that wait behind one that fails.

use serde_json::json;

use crate::client::Channel;
use crate::kernel::Kernel;

#[test]
fn queued_cells_are_aborted_after_an_error_and_later_ones_run() {
    let mut kernel = Kernel::start();
    let client = &mut kernel.client;
    let failing = client.send_execute_request("!sleep 0.3; exit 3");
    let queued: Vec<String> = (0..3).map(|_| client.send_execute_request("!echo must not run")).collect();
    let question = client.send(Channel::Shell, "is_complete_request", json!({ "code": "%lsmagic" }));

    assert_eq!(client.finish(&failing).status(), "error");
    for id in queued {
        let done = client.finish(&id);
        assert_eq!((done.status(), done.kinds()), ("aborted", vec![]));
    }
    // Questions are answered all the same.
    assert_eq!(client.recv_iopub_busy().parent_id, question);
    assert_eq!(client.recv_shell("is_complete_reply").content["status"], "complete");
    client.recv_iopub_idle();
    assert_eq!(client.execute("!echo runs").stream("stdout"), "runs\n");
}

#[test]
fn a_cell_sent_right_after_the_error_reply_runs() {
    let mut kernel = Kernel::start();
    for _ in 0..20 {
        assert_eq!(kernel.client.execute("!exit 1").status(), "error");
        assert_eq!(kernel.client.execute("!true").status(), "ok");
    }
}

#[test]
fn nothing_is_aborted_when_the_front_end_says_so() {
    let mut kernel = Kernel::start();
    let client = &mut kernel.client;
    let failing = client.send_execute_request_with("!sleep 0.3; exit 3", json!({ "stop_on_error": false }));
    let next = client.send_execute_request("!echo runs");
    assert_eq!(client.finish(&failing).status(), "error");
    assert_eq!(client.finish(&next).stream("stdout"), "runs\n");
}
