//! Messages that are not what they should be.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::client::Channel;
use crate::kernel::Kernel;

const QUIET: Duration = Duration::from_millis(300);

#[test]
fn a_wrong_signature_is_dropped_and_the_kernel_goes_on() {
    let mut kernel = Kernel::start();
    let client = &mut kernel.client;
    let victim = kernel.folder.path().join("victim");
    let code = json!({ "code": format!("!touch {}", victim.display()) });
    let (_, wrong) = client.frames("execute_request", &code, "not the key");
    client.send_frames(Channel::Shell, wrong);
    let (_, mut unsigned) = client.frames("execute_request", &code, "not the key");
    unsigned[1] = Bytes::new();
    client.send_frames(Channel::Shell, unsigned);
    let (_, wrong) = client.frames("shutdown_request", &json!({ "restart": false }), "not the key");
    client.send_frames(Channel::Control, wrong);

    assert!(client.recv_within(Channel::Iopub, QUIET).is_none());
    assert!(!victim.exists());
    assert_eq!(client.execute("!echo still here").stream("stdout"), "still here\n");
}

#[test]
fn malformed_frames_are_dropped_and_the_kernel_goes_on() {
    let mut kernel = Kernel::start();
    let client = &mut kernel.client;
    let key = "a key for tests";
    let good = |client: &crate::client::Client| client.frames("execute_request", &json!({ "code": "1" }), key).1;
    let signed =
        |client: &crate::client::Client, kind: &str, content: serde_json::Value| client.frames(kind, &content, key).1;
    let mut cases: Vec<Vec<Bytes>> = vec![
        vec![Bytes::from("nonsense")],
        vec![Bytes::new()],
        vec![Bytes::from("<IDS|MSG>")],
        vec![Bytes::from("<IDS|MSG>"), Bytes::from("00"), Bytes::from("{}")],
        vec![Bytes::from(vec![0xff; 1 << 20])],
        signed(client, "no_such_request", json!({})),
        // Well formed and signed, but with fields of the wrong type.
        signed(client, "complete_request", json!({ "code": 1, "cursor_pos": "x" })),
        signed(client, "history_request", json!({ "hist_access_type": [], "n": -5 })),
        signed(client, "is_complete_request", json!({})),
        signed(client, "inspect_request", json!({ "code": "ä", "cursor_pos": 9_999_999 })),
    ];
    for part in 2..6 {
        for junk in ["", "null", "[", "\"text\"", "\u{0}"] {
            let mut frames = good(client);
            frames[part] = Bytes::copy_from_slice(junk.as_bytes());
            cases.push(frames);
        }
    }
    let mut deep = good(client);
    deep[5] = Bytes::from(format!("{}{}", "[".repeat(200_000), "]".repeat(200_000)));
    cases.push(deep);
    for frames in cases {
        for channel in [Channel::Shell, Channel::Control, Channel::Stdin] {
            client.send_frames(channel, frames.clone());
        }
    }
    // What was well formed is answered, then this.
    let last = client.send(Channel::Shell, "kernel_info_request", json!({}));
    while client.recv(Channel::Shell).parent_id != last {}
    while client.recv_within(Channel::Iopub, QUIET).is_some() {}
    assert_eq!(client.execute("!echo still here").stream("stdout"), "still here\n");
    assert_eq!(client.heartbeat("ping"), b"ping");
}

#[test]
fn a_client_that_speaks_another_protocol_hurts_nobody() {
    use std::io::Write;
    let connection = crate::kernel::connection();
    let folder = tempfile::tempdir().unwrap();
    let mut process = crate::kernel::command(folder.path(), &connection).spawn().unwrap();
    let mut client = crate::client::Client::connect(&connection);
    for port in ["shell_port", "iopub_port", "stdin_port", "control_port", "hb_port"] {
        let port = u16::try_from(connection[port].as_u64().unwrap()).unwrap();
        for junk in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[]] {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.write_all(junk).unwrap();
        }
    }
    assert_eq!(client.execute("!echo still here").stream("stdout"), "still here\n");
    assert_eq!(client.heartbeat("ping"), b"ping");
    process.kill().unwrap();
    process.wait().unwrap();
}
