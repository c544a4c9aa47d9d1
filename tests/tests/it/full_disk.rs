//! A disk that is really full: a file system of a few megabytes, mounted for one process and its children.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::kernel::binary;
use crate::models::{NAME, environment, serve, weights};

/// Runs a script in which `$disk` is a file system of `size` of its own, and `$codriver` the binary;
/// `None` where this user may not mount one.
fn on_a_disk_of(size: &str, folder: &Path, script: &str, change: impl FnOnce(&mut Command)) -> Option<Output> {
    let disk = folder.join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = format!("mount -t tmpfs -o size={size} none \"$disk\"");
    let run = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-euc", script]).current_dir(folder);
        command.env("disk", &disk).env("codriver", binary()).stdin(Stdio::null());
        command
    };
    if !run(&mount).output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no file system can be mounted here");
        return None;
    }
    let mut command = run(&format!("{mount}\n{script}"));
    change(&mut command);
    Some(command.output().unwrap())
}

#[test]
fn a_pull_that_fills_the_disk_is_continued_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(1_000_000);
    server.behave(|behaviour| behaviour.pause = Duration::from_millis(10));
    let script = format!(
        r#"
        export CODRIVER_DATA_DIR="$disk/data"
        staging="$disk/data/models/.pulling/owner--tiny"
        "$codriver" model pull {NAME} 2> first & pull=$!
        until [ "$(stat -c %s "$staging"/model.safetensors.*.part 2> /dev/null || echo 0)" -gt 100000 ]; do sleep 0.02; done
        cat /dev/zero > "$disk/filler" 2> /dev/null || true
        if wait $pull; then echo pulled; else echo failed; fi
        cat "$staging"/*.part | wc -c
        ls "$disk/data/models"
        "$codriver" model list | grep begun > /dev/null
        rm "$disk/filler"
        "$codriver" model pull {NAME} > /dev/null
        sha256sum < "$disk/data/models/owner/tiny/model.safetensors""#
    );
    let output =
        on_a_disk_of("70m", folder.path(), &script, |command| environment(command, folder.path(), Some(&server)));
    let Some(output) = output else { return };
    let said = std::fs::read_to_string(folder.path().join("first")).unwrap();
    assert!(output.status.success(), "{output:?}, {said}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[0], "failed", "{printed}");
    assert!(said.contains("not enough disk space") && said.contains("make room"), "{said}");
    let kept: u64 = lines[1].parse().unwrap();
    assert!((100_000..4_000_000).contains(&kept), "{kept} bytes are kept");
    let sum: String = Sha256::digest(weights(1_000_000)).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(lines.last().unwrap().starts_with(&sum), "{printed}");
    assert_eq!(server.ranges().last().unwrap().as_deref(), Some(format!("bytes={kept}-").as_str()));
}

#[test]
fn a_conversion_that_finds_no_room_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("model"));
    // The same on a disk that fills while the file is written: files may be no longer than that.
    for (size, limit) in [("80k", ""), ("4m", "trap '' XFSZ; ulimit -f 100;")] {
        let script = format!(
            r#"
            echo mine > "$disk/out.gguf"
            for command in "convert --type f32" "quantize --type f16"; do
                if ({limit} "$codriver" model $command ./model --force --output "$disk/out.gguf") 2>> said; then echo written; fi
            done
            cat "$disk/out.gguf"
            ls -A "$disk"
            "$codriver" model quantize ./model --type q8_0 --force --output "$disk/out.gguf" > /dev/null
            "$codriver" model info "$disk/out.gguf" | grep -c llama"#
        );
        let change = |command: &mut Command| environment(command, folder.path(), None);
        let Some(output) = on_a_disk_of(size, folder.path(), &script, change) else { return };
        let said = std::fs::read_to_string(folder.path().join("said")).unwrap();
        assert!(output.status.success(), "{output:?}, {said}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "mine\nout.gguf\n1\n", "{said}");
        assert_eq!(said.matches("the disk has no room for its 0.").count(), 2, "{said}");
        assert!(said.contains("make room") && said.contains("Nothing was written"), "{said}");
        std::fs::remove_dir(folder.path().join("disk")).unwrap();
        std::fs::remove_file(folder.path().join("said")).unwrap();
    }
}

/// A Llama of zeros, its tokens the 256 bytes: 180 kB in 32 bits, 90 in 16, 48 in 8.
pub fn write_model(folder: &Path) {
    let (hidden, wide, tokens) = (64, 64, 256);
    let mut tensors = vec![
        ("model.embed_tokens.weight".to_owned(), vec![tokens, hidden]),
        ("model.norm.weight".to_owned(), vec![hidden]),
    ];
    for (part, shape) in [
        ("self_attn.q_proj", vec![hidden, hidden]),
        ("self_attn.k_proj", vec![hidden, hidden]),
        ("self_attn.v_proj", vec![hidden, hidden]),
        ("self_attn.o_proj", vec![hidden, hidden]),
        ("mlp.gate_proj", vec![wide, hidden]),
        ("mlp.up_proj", vec![wide, hidden]),
        ("mlp.down_proj", vec![hidden, wide]),
        ("input_layernorm", vec![hidden]),
        ("post_attention_layernorm", vec![hidden]),
    ] {
        tensors.push((format!("model.layers.0.{part}.weight"), shape));
    }
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 1, "hidden_size": hidden,
        "intermediate_size": wide, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 32,
        "max_position_embeddings": 16384, "vocab_size": tokens, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "tie_word_embeddings": true, "hidden_act": "silu",
    });
    let visible = |byte: &u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let letters =
        (0..256).map(|byte| if visible(&byte) { byte } else { 256 + (0..byte).filter(|b| !visible(b)).count() as u32 });
    let vocabulary: Map<String, Value> = (0..)
        .zip(letters)
        .map(|(id, letter): (u32, u32)| (char::from_u32(letter).unwrap().to_string(), json!(id)))
        .collect();
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": bytes, "post_processor": null, "decoder": bytes,
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                   "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": [] },
    });
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join("model.safetensors"), zeros(&tensors)).unwrap();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
}

/// A safetensors file of zeros.
pub fn zeros(tensors: &[(String, Vec<usize>)]) -> Vec<u8> {
    let mut header = Map::new();
    let mut end = 0;
    for (name, shape) in tensors {
        let begin = end;
        end += 4 * shape.iter().product::<usize>();
        header.insert(name.clone(), json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, end] }));
    }
    let header = Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + end, 0);
    file
}
