//! `codriver model` and `%model` on models of a hub.

#[path = "../../../inference/tests/it/store/hub.rs"]
#[allow(dead_code, reason = "the engine's own tests use the rest")]
mod hub;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::full_disk::{write_model, zeros};
use crate::interrupt::interrupt;
use crate::kernel::{Kernel, binary};
use hub::{HubServer, TOKEN};

pub const NAME: &str = "owner/tiny";

/// A safetensors file of zeros.
pub fn weights(numbers: usize) -> Vec<u8> {
    let header = json!({ "w": { "dtype": "F32", "shape": [numbers], "data_offsets": [0, numbers * 4] } }).to_string();
    let mut weights = (header.len() as u64).to_le_bytes().to_vec();
    weights.extend(header.as_bytes());
    weights.resize(weights.len() + numbers * 4, 0);
    weights
}

/// A hub with one model, whose weights are zeros.
pub fn serve(numbers: usize) -> HubServer {
    let weights = weights(numbers);
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64,
        "max_position_embeddings": 4096, "vocab_size": 32000,
    });
    let (config, settings) = (config.to_string(), json!({ "chat_template": "{{ tools }}{{ messages }}" }).to_string());
    let files: [(&str, &[u8]); 4] = [
        ("config.json", config.as_bytes()),
        ("tokenizer.json", b"{}"),
        ("tokenizer_config.json", settings.as_bytes()),
        ("model.safetensors", &weights),
    ];
    HubServer::start(NAME, &files)
}

fn command(folder: &Path, server: Option<&HubServer>, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("model").args(arguments).current_dir(folder).stdin(Stdio::null());
    environment(&mut command, folder, server);
    command
}

pub fn environment(command: &mut Command, folder: &Path, server: Option<&HubServer>) {
    command
        .env("CODRIVER_DATA_DIR", folder.join("data"))
        .env("HF_HOME", folder.join("hf"))
        .env("HF_ENDPOINT", server.map_or("http://127.0.0.1:1", |server| &server.address));
    for name in ["HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN_PATH"] {
        command.env_remove(name);
    }
}

fn codriver(folder: &Path, server: Option<&HubServer>, arguments: &[&str]) -> Output {
    command(folder, server, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_model_is_pulled_listed_described_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(100_000);
    server.behave(|behaviour| behaviour.gated = true);
    let refused = codriver(folder.path(), Some(&server), &["pull", NAME]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("accept its licence"), "{refused:?}");

    std::fs::write(folder.path().join(".env"), format!("HF_TOKEN={TOKEN}\n")).unwrap();
    let pulled = codriver(folder.path(), Some(&server), &["pull", NAME]);
    assert!(pulled.status.success(), "{pulled:?}");
    let path = folder.path().join("data/models/owner/tiny");
    assert_eq!(text(&pulled.stdout), format!("{}\n", path.display()));
    assert!(!text(&pulled.stderr).contains(TOKEN));

    let listed = text(&codriver(folder.path(), None, &["list"]).stdout);
    assert!(listed.contains(NAME) && listed.contains("100K") && listed.contains("F32"), "{listed}");
    let info = codriver(folder.path(), None, &["info", "tiny", "--json"]);
    let info: Value = serde_json::from_slice(&info.stdout).unwrap();
    let expected = json!(["LlamaForCausalLM", 100_000, 4096, 32000, "apache-2.0", true, true]);
    let found: Vec<&Value> =
        ["architecture", "parameters", "window", "vocabulary", "licence", "chat_template", "tools"]
            .iter()
            .map(|key| &info[*key])
            .collect();
    assert_eq!(json!(found), expected);

    let unknown = codriver(folder.path(), None, &["info", "owner/tinny"]);
    assert!(text(&unknown.stderr).contains("did you mean \"owner/tiny\""), "{unknown:?}");
    let unasked = codriver(folder.path(), None, &["rm", NAME]);
    assert!(!unasked.status.success() && text(&unasked.stderr).contains("--yes"), "{unasked:?}");
    assert!(codriver(folder.path(), None, &["rm", "--yes", NAME]).status.success());
    assert!(!path.exists());
}

#[test]
fn a_pull_that_is_killed_leaves_no_model_and_is_continued() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(200_000);
    server.behave(|behaviour| behaviour.pause = Duration::from_millis(50));
    for signal in [Signal::SIGKILL, Signal::SIGINT] {
        let asked = server.ranges().len();
        let mut child = command(folder.path(), Some(&server), &["pull", NAME]).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while server.ranges().len() == asked && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(500));
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let stopped = Instant::now();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), (signal == Signal::SIGINT).then_some(130));
        assert!(stopped.elapsed() < Duration::from_secs(2));
        let listed: Value = serde_json::from_slice(&codriver(folder.path(), None, &["list", "--json"]).stdout).unwrap();
        assert_eq!(listed["models"], json!([]));
        assert!(listed["unfinished"][0]["done"].as_u64().unwrap() > 50_000, "{listed}");
    }
    server.behave(|behaviour| behaviour.pause = Duration::ZERO);
    assert!(codriver(folder.path(), Some(&server), &["pull", NAME]).status.success());
    let ranges = server.ranges();
    assert!(ranges[1..].iter().all(Option::is_some), "{ranges:?}");
    assert_eq!(codriver(folder.path(), Some(&server), &["pull", NAME, "--offline"]).status.code(), Some(0));
}

#[test]
fn in_a_notebook_a_pull_shows_its_progress_and_can_be_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(200_000);
    server.behave(|behaviour| behaviour.pause = Duration::from_millis(100));
    let path = folder.path().to_owned();
    let mut kernel = Kernel::start_with(folder, |command| environment(command, &path, Some(&server)));
    let client = &mut kernel.client;
    let stopped = interrupt(client, &format!("%model pull {NAME}"), Duration::from_secs(2));
    assert_eq!(stopped.error_name(), "Interrupted");
    let updates = stopped.kinds().iter().filter(|kind| **kind == "update_display_data").count();
    assert!((3..40).contains(&updates), "{updates} updates in two seconds");
    let shown = stopped.of_kind("update_display_data").last().unwrap();
    assert!(shown["data"]["text/plain"].as_str().unwrap().contains(" of 800 kB"), "{shown}");

    let listed = client.execute("%model list");
    assert!(listed.result().contains("starter") && listed.result().contains("begun"), "{listed:#?}");
    server.behave(|behaviour| behaviour.pause = Duration::ZERO);
    assert_eq!(client.execute(&format!("%model pull {NAME}")).status(), "ok");
    assert!(client.execute("%model info tiny").result().contains("LlamaForCausalLM"));
    assert!(client.execute("%model tiny").result().contains("tiny on cpu"));
    let denied = client.execute(&format!("%model rm {NAME}"));
    assert!(denied.error_name() == "ModelError" && path.join("data/models/owner/tiny").exists());
    assert!(client.execute(&format!("%model rm --yes {NAME}")).result().contains("is deleted"));
    let wrong = client.execute("%model pull not/a/name");
    assert!(wrong.reply["evalue"].as_str().unwrap().contains("owner/name:Q4_K_M"), "{wrong:#?}");
}

#[test]
fn in_a_notebook_models_are_measured_and_take_adapters() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    write_model(&path.join("model"));
    let settings = json!({ "chat_template": "{{ messages[-1].content }}" });
    std::fs::write(path.join("model/tokenizer_config.json"), settings.to_string()).unwrap();
    for (name, output) in [("fits", 64), ("misfit", 65)] {
        let module = "base_model.model.model.layers.0.self_attn.q_proj";
        let tensors = [("lora_A", vec![2, 64]), ("lora_B", vec![output, 2])];
        let tensors = tensors.map(|(part, shape)| (format!("{module}.{part}.weight"), shape));
        let config = json!({ "peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"] });
        std::fs::create_dir(path.join(name)).unwrap();
        std::fs::write(path.join(name).join("adapter_config.json"), config.to_string()).unwrap();
        std::fs::write(path.join(name).join("adapter_model.safetensors"), zeros(&tensors)).unwrap();
    }
    let mut kernel = Kernel::start_with(folder, |command| environment(command, &path, None));
    let client = &mut kernel.client;
    let measured = client.execute("%model bench ./model --repeats 1");
    assert_eq!(measured.status(), "ok");
    let updates = measured.of_kind("update_display_data");
    let shown = updates.last().unwrap();
    for kind in ["text/plain", "text/html"] {
        let table = shown["data"][kind].as_str().unwrap();
        assert!(
            ["pp128", "pp512", "tg128", "tokens/s", "loaded in"].iter().all(|part| table.contains(part)),
            "{table}"
        );
    }
    assert!(client.execute("%model ./model --adapter ./fits").result().contains("with "), "the adapter is named");
    let answered = client.execute("%%agent --max-tokens 3\nHello");
    assert_eq!(answered.status(), "ok", "{answered:#?}");
    assert_eq!(client.execute("%model ./model --adapter ./misfit").status(), "ok");
    let refused = client.execute("%%agent --max-tokens 3\nHello");
    assert!(refused.reply["evalue"].as_str().unwrap().contains("adapter_model.safetensors"), "{refused:#?}");
    let absent = client.execute("%model ./model --adapter ./nowhere");
    assert!(absent.reply["evalue"].as_str().unwrap().contains("adapter_config.json"), "{absent:#?}");
    let chosen = client.execute("%model ./model --quant q8_0 --kv q8_0");
    assert!(chosen.result().contains("as Q8_0, keys and values as q8_0, on cpu"), "{chosen:#?}");
    let answered = client.execute("%%agent --max-tokens 3\nHello");
    assert_eq!(answered.status(), "ok", "{answered:#?}");
    let mut ask = Command::new(binary());
    ask.args(["ask", "--model", "./model", "--quant", "q8_0", "--kv", "q8_0", "--device", "cpu", "--max-tokens", "3"]);
    environment(ask.arg("Hello").current_dir(&path).stdin(Stdio::null()), &path, None);
    let answered = ask.output().unwrap();
    assert!(answered.status.success(), "{answered:?}");
    for (cell, said) in [
        ("%model --kv f16", "belong to a model"),
        ("%model starter --kv f16", "only of local models"),
        ("%model starter --quant q8_0", "only those of local models"),
        ("%model ./model --kv q3", "f32, f16 and q8_0"),
    ] {
        let refused = client.execute(cell);
        assert!(refused.reply["evalue"].as_str().unwrap().contains(said), "{cell}: {refused:#?}");
    }
}

#[test]
fn what_cannot_be_measured_is_a_mistake_of_usage() {
    let folder = tempfile::tempdir().unwrap();
    let huge = "18446744073709551615";
    for (option, value, said) in [
        ("-c", "257", "0..=256"),
        ("-c", huge, "0..=256"),
        ("-n", huge, "0..=4294967295"),
        ("-p", huge, "0..=4294967295"),
        ("--quant", "q3", "q8_0"),
    ] {
        let output = codriver(folder.path(), None, &["bench", "./model", option, value]);
        assert_eq!(output.status.code(), Some(2), "{option} {value}: {output:?}");
        let error = text(&output.stderr).to_lowercase();
        assert!(output.stdout.is_empty() && error.contains(said), "{option} {value}: {error}");
    }
}

#[test]
fn in_a_notebook_files_are_written_and_read_and_a_deleted_model_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(100_000);
    let path = folder.path().to_owned();
    write_model(&path.join("model"));
    std::fs::write(path.join("t.jinja"), "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}").unwrap();
    std::fs::write(path.join("m.json"), r#"[{"role": "user", "content": "Grüße"}]"#).unwrap();
    let mut kernel = Kernel::start_with(folder, |command| environment(command, &path, Some(&server)));
    let client = &mut kernel.client;
    let written = client.execute("%model quantize ./model --type q8_0");
    assert_eq!(written.status(), "ok", "{written:#?}");
    let end = written.of_kind("update_display_data").last().unwrap()["data"]["text/plain"].clone();
    assert!(end.as_str().unwrap().contains("%model ./model-Q8_0.gguf uses it"), "{end}");
    assert!(client.execute("%model ./model-Q8_0.gguf").result().contains("on cpu"));
    let ids = client.execute("%model tokenize --model model-Q8_0.gguf --text 'Hello there' --json");
    let of_folder = client.execute("%model tokenize --model ./model --text 'Hello there' --json");
    assert!(ids.result().starts_with('[') && ids.result() == of_folder.result(), "{ids:#?}");
    assert_eq!(client.execute("%model template --template t.jinja --messages m.json").result(), "<user>Grüße");
    for (cell, said) in [
        ("%model quantize ./model --type q8_0", "--force"),
        ("%model convert ./model --output nowhere/x.gguf", "not a folder"),
        ("%model tokenize --model ./model --file -", "no standard input"),
        ("%model template --template t.jinja --messages t.jinja", "not JSON"),
        ("%model lst", "%model list"),
    ] {
        let refused = client.execute(cell);
        let reason = refused.reply["evalue"].as_str().unwrap();
        assert!(reason.contains(said) && refused.of_kind("display_data").next().is_none(), "{cell}: {refused:#?}");
    }
    std::fs::remove_file(path.join("model-Q8_0.gguf")).unwrap();
    assert!(client.execute("%model").result().contains("is not there any more"));
    assert_eq!(client.execute(&format!("%model pull {NAME}")).status(), "ok");
    assert!(client.execute("%model tiny").result().contains("tiny on cpu"));
    assert!(client.execute("%model rm --yes tiny").result().contains("think with the starter now"));
    assert!(client.execute("%model").result().starts_with("starter on"));
}

#[test]
fn a_template_prints_the_prompt_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "t.jinja",
        "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}\
         {% if tools %}{{ tools | length }} tools{% endif %}{% if add_generation_prompt %}[{{ who }}]{% endif %}",
    );
    write("m.json", r#"[{"role": "user", "content": "é\n"}]"#);
    write("request.json", r#"{"messages": [{"role": "user", "content": "x"}], "tools": [{}, {}]}"#);
    write("bad.json", "{");
    let run = |arguments: &[&str]| {
        codriver(folder.path(), None, &[&["template", "--template", "t.jinja"], arguments].concat())
    };
    let printed = run(&["--messages", "m.json", "--bos", "<s>", "--eos", "</s>", "--set", "who=\"me\""]);
    assert_eq!(text(&printed.stdout), "<s>[user]é\n</s>[me]", "{printed:?}");
    assert_eq!(text(&run(&["--messages", "m.json", "--no-generation-prompt"]).stdout), "[user]é\n");
    assert_eq!(text(&run(&["--messages", "request.json"]).stdout), "[user]x2 tools[]");

    let mut child = command(folder.path(), None, &["template", "--template", "t.jinja", "--messages", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"[]").unwrap();
    assert_eq!(text(&child.wait_with_output().unwrap().stdout), "[]");

    for (arguments, code, said) in [
        (&["--messages", "bad.json"][..], 1, "bad.json: not JSON"),
        (&["--messages", "absent.json"], 1, "absent.json"),
        (&["--messages", "t.jinja"], 1, "not JSON"),
        (&["--messages", "m.json", "--tools", "-", "--template", "-"], 2, "--template"),
        (&["--messages", "m.json", "--set", "x"], 2, "name=json"),
        (&["--messages", "m.json", "--set", "x=y"], 2, "quote text twice"),
        (&[], 2, "--messages"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty() && text(&output.stderr).contains(said), "{arguments:?}: {output:?}");
    }
}

#[test]
fn tokens_are_printed_on_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let token = |id: u32, content: &str| {
        json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true })
    };
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [token(2, "[BOS]"), token(3, "[UNK]")],
        "normalizer": null, "pre_tokenizer": { "type": "Whitespace" }, "decoder": null,
        "post_processor": { "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "[BOS]", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
            "special_tokens": { "[BOS]": { "id": "[BOS]", "ids": [2], "tokens": ["[BOS]"] } } },
        "model": { "type": "WordLevel", "vocab": { "hello": 0, "world": 1, "[BOS]": 2, "[UNK]": 3 }, "unk_token": "[UNK]" },
    });
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(folder.path().join("text.txt"), "world\n").unwrap();
    std::fs::write(folder.path().join("latin1.txt"), b"caf\xe9").unwrap();
    let run = |arguments: &[&str]| {
        codriver(folder.path(), None, &[&["tokenize", "--model", "tokenizer.json"], arguments].concat())
    };
    let printed = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    };
    assert_eq!(printed(&["--text", "hello world"]), "0 1\n");
    assert_eq!(printed(&["--text", "hello there", "--special"]), "2 0 3\n");
    assert_eq!(printed(&["--file", "text.txt", "--special", "--json"]), "[2,1]\n");
    assert_eq!((printed(&["--text", ""]), printed(&["--text", "", "--json"])), ("\n".to_owned(), "[]\n".to_owned()));
    assert_eq!(text(&codriver(folder.path(), None, &["tokenize", "--model", ".", "--text", "world"]).stdout), "1\n");
    for (arguments, code, said) in [
        (&["tokenize", "--model", "absent", "--text", "x"][..], 1, "absent"),
        (&["tokenize", "--model", "text.txt", "--text", "x"], 1, "text.txt"),
        (&["tokenize", "--model", ".", "--file", "latin1.txt"], 1, "latin1.txt"),
        (&["tokenize", "--model", "."], 2, "--text"),
        (&["tokenize", "--model", ".", "--text", "x", "--file", "y"], 2, "--file"),
    ] {
        let output = codriver(folder.path(), None, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty() && text(&output.stderr).contains(said), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_conversion_overwrites_nothing_and_names_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    std::fs::create_dir(&model).unwrap();
    std::fs::write(model.join("config.json"), r#"{"model_type":"mamba","architectures":["MambaForCausalLM"]}"#)
        .unwrap();
    std::fs::write(model.join("model.safetensors"), [&2_u64.to_le_bytes()[..], b"{}"].concat()).unwrap();
    std::fs::write(folder.path().join("model-Q8_0.gguf"), "mine").unwrap();
    for (arguments, code, said) in [
        (&["quantize", "./model", "--type", "q8_0"][..], 1, "--force"),
        (&["convert", "./model"], 1, "mamba"),
        (&["quantize", "./model", "--type", "q8_0", "--force"], 1, "mamba"),
        (&["quantize", "./model"], 2, "--type"),
        (&["quantize", "./model", "--type", "q4_k_m"], 1, "mamba"),
        (&["quantize", "./model", "--type", "q4_k_x"], 2, "Q4_K_M"),
        (&["convert", "./model", "--type", "iq1_s"], 2, "not written"),
        (&["convert", "absent"], 1, "absent"),
    ] {
        let output = codriver(folder.path(), None, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty() && text(&output.stderr).contains(said), "{arguments:?}: {output:?}");
    }
    assert_eq!(std::fs::read(folder.path().join("model-Q8_0.gguf")).unwrap(), b"mine");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else was left there");
}
