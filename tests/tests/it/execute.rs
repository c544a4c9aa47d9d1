//! One cell after the other.

use serde_json::json;

use crate::kernel::Kernel;

#[test]
fn kernel_info_on_shell_and_control_and_a_heartbeat_that_echoes() {
    let mut kernel = Kernel::start();
    let info = kernel.client.request("kernel_info", json!({}));
    assert_eq!(info["status"], "ok");
    assert_eq!(info["implementation"], "codriver");
    let language = &info["language_info"];
    assert_eq!(
        (&language["name"], &language["mimetype"], &language["file_extension"]),
        (&json!("rust"), &json!("text/x-rust"), &json!(".rs"))
    );
    for payload in ["ping", "", "{\"any\": \"thing\"}"] {
        assert_eq!(kernel.client.heartbeat(payload), payload.as_bytes());
    }
    let comms = kernel.client.request("comm_info", json!({ "target_name": "jupyter.widget" }));
    assert_eq!(comms, json!({ "status": "ok", "comms": {} }));
}

#[test]
fn a_cell_is_busy_input_result_reply_idle() {
    let mut kernel = Kernel::start();
    let client = &mut kernel.client;
    let id = client.send_execute_request("%sql SELECT 6 * 7 AS answer");
    assert_eq!(client.recv_iopub_busy().parent_id, id);
    let input = client.recv_iopub("execute_input");
    assert_eq!(input.content, json!({ "code": "%sql SELECT 6 * 7 AS answer", "execution_count": 1 }));
    let result = client.recv_iopub("execute_result");
    assert_eq!(result.content["execution_count"], 1);
    assert!(result.content["data"]["text/plain"].as_str().unwrap().contains("42"));
    assert!(result.content["data"]["text/html"].as_str().unwrap().contains("<table"));
    assert_eq!(client.recv_iopub_idle().parent_id, id);
    let reply = client.recv_shell_execute_reply().content;
    assert_eq!((&reply["status"], &reply["execution_count"]), (&json!("ok"), &json!(1)));
}

#[test]
fn languages_share_a_cell_and_a_session() {
    let mut kernel = Kernel::start();
    let client = &mut kernel.client;
    let done = client.execute("let part = 40;\n!echo from the shell\n%sql SELECT 1 AS one\npart + 2");
    assert_eq!(done.status(), "ok", "{done:#?}");
    assert_eq!(done.stream("stdout"), "from the shell\n");
    assert_eq!(done.of_kind("display_data").count(), 1);
    assert_eq!(done.result(), "42");
    assert_eq!(client.execute("part").result(), "40");
}

#[test]
fn a_thousand_quick_cells() {
    let mut kernel = Kernel::start();
    for number in 1..=1000 {
        let done = kernel.client.execute(&format!("%sql SELECT {number} * 2 AS n"));
        assert_eq!(done.status(), "ok");
        assert_eq!(done.reply["execution_count"], number);
        assert!(done.result().contains(&(number * 2).to_string()));
    }
}

#[test]
fn silence_history_and_user_expressions() {
    let mut kernel = Kernel::start();
    let client = &mut kernel.client;
    let silent = client.execute_with("!echo hello", json!({ "silent": true }));
    assert_eq!((silent.status(), silent.kinds()), ("ok", vec![]));

    let unstored = client.execute_with("!echo hello", json!({ "store_history": false }));
    assert_eq!((unstored.stream("stdout").as_str(), &unstored.reply["execution_count"]), ("hello\n", &json!(0)));

    let expressions = json!({ "user_expressions": { "good": "%sql SELECT 7 AS n", "bad": "%sql SELECT FROM" } });
    let done = client.execute_with("%set x 1", expressions);
    assert_eq!(done.reply["execution_count"], 1);
    let expressions = &done.reply["user_expressions"];
    assert!(expressions["good"]["data"]["text/plain"].as_str().unwrap().contains('7'));
    assert_eq!(expressions["bad"]["status"], "error");

    let history =
        client.request("history", json!({ "hist_access_type": "tail", "n": 10, "raw": true, "output": false }));
    let inputs: Vec<_> = history["history"].as_array().unwrap().iter().map(|entry| &entry[2]).collect();
    assert_eq!(inputs, [&json!("%set x 1")]);
}

#[test]
fn parameters_and_values_stand_in_for_names() {
    let mut kernel = Kernel::start();
    let client = &mut kernel.client;
    assert_eq!(client.execute("# Parameters\nregion = \"North\"\nlimit = 3\n").status(), "ok");
    let done = client.execute("%%sql\nSELECT '{{region}}' || {{limit}} AS both");
    assert!(done.result().contains("North3"), "{done:#?}");
    // A value that looks like a name stays a value.
    client.execute("%set trick {{region}}");
    client.execute("%set raw '{{' || 'x}}'");
    assert!(client.execute("!echo '{{trick}} {{unknown}}'").stream("stdout").contains("North {{unknown}}"));
}

#[test]
fn unknown_magics_and_wrong_flags_are_errors_that_help() {
    let mut kernel = Kernel::start();
    let client = &mut kernel.client;
    let unknown = client.execute("%%slq\nSELECT 1");
    assert_eq!(unknown.error_name(), "UnknownMagic");
    assert!(unknown.reply["evalue"].as_str().unwrap().contains("%%sql"));
    assert_eq!(client.execute("%%sql --limt 3\nSELECT 1").error_name(), "UsageError");
    let help = client.execute("%sql --help");
    assert!(help.stream("stdout").contains("--limit"), "{help:#?}");
    assert_eq!(client.execute("%lsmagic").status(), "ok");
    assert!(client.execute("%clear").kinds().contains(&"clear_output"));
}

#[test]
fn help_is_one_page() {
    let mut kernel = Kernel::start();
    for code in ["%%agent?", "%sql?", "?git"] {
        let done = kernel.client.execute(code);
        let payload = done.reply["payload"].as_array().unwrap();
        assert_eq!(payload.len(), 1, "{done:#?}");
        assert_eq!(payload[0]["source"], "page");
        assert!(payload[0]["data"]["text/plain"].as_str().unwrap().contains("Usage"));
    }
}
