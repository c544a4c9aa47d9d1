//! What was run is known later, in this session and in the next.

use serde_json::{Value, json};

use crate::client::Client;
use crate::kernel::Kernel;

fn history(client: &mut Client, request: Value) -> Vec<(u64, u64, String)> {
    let reply = client.request("history", request);
    let entry =
        |entry: &Value| (entry[0].as_u64().unwrap(), entry[1].as_u64().unwrap(), entry[2].as_str().unwrap().to_owned());
    reply["history"].as_array().unwrap().iter().map(entry).collect()
}

fn inputs(entries: Vec<(u64, u64, String)>) -> Vec<String> {
    entries.into_iter().map(|(_, _, input)| input).collect()
}

#[test]
fn tail_range_and_search() {
    let mut kernel = Kernel::start();
    let client = &mut kernel.client;
    for code in ["%set a 1", "%set b 2", "%set a 1", "%%bash\necho [x]"] {
        client.execute(code);
    }
    let tail = history(client, json!({ "hist_access_type": "tail", "n": 2 }));
    assert_eq!(inputs(tail.clone()), ["%set a 1", "%%bash\necho [x]"]);
    assert_eq!(tail.iter().map(|entry| entry.1).collect::<Vec<_>>(), [3, 4]);

    let session = tail[0].0;
    for session in [json!(session), json!(0)] {
        let range = json!({ "hist_access_type": "range", "session": session, "start": 2, "stop": 4 });
        assert_eq!(inputs(history(client, range)), ["%set b 2", "%set a 1"]);
    }
    let search = |pattern: &str, more: Value| {
        let mut request = json!({ "hist_access_type": "search", "pattern": pattern });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    assert_eq!(history(client, search("%set*", json!({}))).len(), 3);
    assert_eq!(inputs(history(client, search("%set ?*", json!({ "unique": true })))), ["%set b 2", "%set a 1"]);
    assert_eq!(inputs(history(client, search("%set*", json!({ "n": 1 })))), ["%set a 1"]);
    assert_eq!(history(client, search("*bash*", json!({}))).len(), 1);
    let with_output = client.request("history", json!({ "hist_access_type": "tail", "n": 1, "output": true }));
    assert_eq!(with_output["history"][0][2], json!(["%%bash\necho [x]", null]));
}

#[test]
fn survives_kill_9_and_is_shared_by_two_kernels() {
    let mut first = Kernel::start();
    first.client.execute("%set first 1");
    let folder = first.kill();
    // A write that was cut off must not hide what comes after it.
    let file = folder.path().join("data/history.jsonl");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.extend_from_slice(b"\n{\"session\": 1, \"li");
    std::fs::write(&file, bytes).unwrap();

    let mut second = Kernel::start_in(folder);
    second.client.execute("%set second 2");
    let entries = history(&mut second.client, json!({ "hist_access_type": "tail", "n": 10 }));
    assert_eq!(inputs(entries.clone()), ["%set first 1", "%set second 2"]);
    assert!(entries[0].0 < entries[1].0, "sessions are numbered apart");
    let previous = json!({ "hist_access_type": "range", "session": -1, "start": 0 });
    assert_eq!(inputs(history(&mut second.client, previous)), ["%set first 1"]);

    // Another kernel at the same time, on the same files.
    let data = second.folder.path().join("data");
    let mut third = Kernel::start_with(tempfile::tempdir().unwrap(), |command| {
        command.env("CODRIVER_DATA_DIR", &data);
    });
    assert_eq!(third.client.execute("%set third 3").status(), "ok");
    assert_eq!(second.client.execute("%set fourth 4").status(), "ok");
    let folder = second.kill();
    drop(third);
    let mut last = Kernel::start_in(folder);
    let entries = inputs(history(&mut last.client, json!({ "hist_access_type": "tail", "n": 10 })));
    assert_eq!(entries, ["%set first 1", "%set second 2", "%set third 3", "%set fourth 4"]);
}
