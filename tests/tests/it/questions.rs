//! Completion, inspection, is-complete; and questions the kernel asks.

use serde_json::{Value, json};

use crate::client::{Channel, Client};
use crate::kernel::Kernel;

fn complete(client: &mut Client, code: &str) -> (Vec<String>, u64, u64) {
    let reply = client.request("complete", json!({ "code": code, "cursor_pos": code.chars().count() }));
    assert_eq!(reply["status"], "ok");
    let matches = reply["matches"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
    (matches, reply["cursor_start"].as_u64().unwrap(), reply["cursor_end"].as_u64().unwrap())
}

#[test]
fn magics_complete() {
    let mut kernel = Kernel::start();
    let client = &mut kernel.client;
    assert_eq!(complete(client, "%%age"), (vec!["%%agent".to_owned()], 0, 5));
    assert_eq!(complete(client, "%lsm"), (vec!["%lsmagic".to_owned()], 0, 4));
    assert_eq!(complete(client, "%%sql --lim"), (vec!["--limit".to_owned()], 6, 11));
    assert_eq!(complete(client, "%model a-model --kv q"), (vec!["q8_0".to_owned()], 20, 21));
    assert_eq!(complete(client, "%model a-model --k").0, ["--kv"]);
    assert_eq!(complete(client, "%git sta"), (vec!["status".to_owned()], 5, 8));
    assert_eq!(complete(client, "let x = 1;\n%lsm"), (vec!["%lsmagic".to_owned()], 11, 15));
}

#[test]
fn tables_and_columns_complete_at_code_points() {
    let mut kernel = Kernel::start();
    let client = &mut kernel.client;
    client.execute("%sql CREATE TABLE großhandel (umsatz INTEGER)");
    let (matches, start, end) = complete(client, "%%sql\n-- 𝄞 äöü\nSELECT ums");
    assert!(matches.contains(&"umsatz".to_owned()), "{matches:?}");
    assert_eq!((start, end), (22, 25));
    let (matches, ..) = complete(client, "%%sql\nSELECT * FROM gro");
    assert!(matches.contains(&"großhandel".to_owned()), "{matches:?}");
}

#[test]
fn paths_complete() {
    let mut kernel = Kernel::start();
    std::fs::create_dir_all(kernel.folder.path().join("reports/yearly")).unwrap();
    std::fs::write(kernel.folder.path().join("reports/year.csv"), "").unwrap();
    let (matches, start, _) = complete(&mut kernel.client, "!cat reports/ye");
    assert_eq!((matches, start), (vec!["reports/year.csv".to_owned(), "reports/yearly/".to_owned()], 5));
}

#[test]
fn inspection_finds_magics_and_tables() {
    let mut kernel = Kernel::start();
    let client = &mut kernel.client;
    client.execute("%sql CREATE TABLE sales (amount INTEGER)");
    let inspect = |client: &mut Client, code: &str, cursor: usize| {
        client.request("inspect", json!({ "code": code, "cursor_pos": cursor, "detail_level": 0 }))
    };
    let magic = inspect(client, "%%sql\nSELECT 1", 4);
    assert_eq!((&magic["status"], &magic["found"]), (&json!("ok"), &json!(true)));
    assert!(magic["data"]["text/plain"].as_str().unwrap().contains("--limit"));
    let table = inspect(client, "%%sql\nSELECT * FROM sales", 24);
    assert!(table["data"]["text/plain"].as_str().unwrap().contains("amount"), "{table}");
    let nothing = inspect(client, "%%sql\nSELECT zzz", 15);
    assert_eq!((&nothing["found"], &nothing["data"]), (&json!(false), &json!({})));
}

#[test]
fn completeness_of_every_kind_of_cell() {
    let mut kernel = Kernel::start();
    let samples = [
        ("1 + 1", "complete"),
        ("fn main() {", "incomplete"),
        ("let x = );", "invalid"),
        ("%lsmagic", "complete"),
        ("!ls", "complete"),
        ("%sql?", "complete"),
        ("%%sql\nSELECT 1", "complete"),
        ("%%sql\nSELECT (1", "incomplete"),
        ("%%sql", "incomplete"),
        ("%%agent", "incomplete"),
        ("%%agent what is in my tables?", "complete"),
        ("let x = 1;\n%lsmagic\nx + 1", "complete"),
        ("%lsmagic\nfn f() {", "incomplete"),
    ];
    for (code, expected) in samples {
        let reply = kernel.client.request("is_complete", json!({ "code": code }));
        assert_eq!(reply["status"], expected, "{code}");
    }
}

#[test]
fn the_kernel_asks_through_stdin() {
    let mut kernel = Kernel::start();
    let client = &mut kernel.client;
    let ask = |client: &mut Client, answer: &str| {
        let id = client.send_execute_request_with("%set --ask --password token", json!({ "allow_stdin": true }));
        let question = client.recv(Channel::Stdin);
        assert_eq!((question.kind.as_str(), &question.parent_id), ("input_request", &id));
        assert_eq!(question.content["password"], Value::Bool(true));
        client.send(Channel::Stdin, "input_reply", json!({ "value": answer }));
        client.finish(&id)
    };
    assert_eq!(ask(client, "s3cret").status(), "ok");
    assert_eq!(client.execute("!echo {{token}}").stream("stdout"), "s3cret\n");
    // A dismissed box is an empty answer, and that is a no.
    assert_eq!(ask(client, "").error_name(), "NoAnswer");

    // Nobody to ask: an error at once, not a wait.
    let denied = client.execute_with("%set --ask token", json!({ "allow_stdin": false }));
    assert_eq!(denied.error_name(), "NoAnswer");

    // An interrupt ends the wait.
    let id = client.send_execute_request_with("%set --ask token", json!({ "allow_stdin": true }));
    assert_eq!(client.recv(Channel::Stdin).kind, "input_request");
    let process = nix::unistd::Pid::from_raw(i32::try_from(kernel.process.id()).unwrap());
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(kernel.client.finish(&id).status(), "error");
}
