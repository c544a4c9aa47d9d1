//! A copy of memory from a terminal while a notebook writes it.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;

use crate::kernel::{Kernel, binary};

fn memory(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    let output = command.arg("memory").args(arguments).env("CODRIVER_DATA_DIR", data).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn what_was_acknowledged_before_a_backup_is_in_it() {
    let mut kernel = Kernel::start();
    kernel.client.execute("%set started 1");
    let data = kernel.folder.path().join("data");
    let (acknowledged, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let client = &mut kernel.client;
        let (count, ended) = (&acknowledged, &done);
        scope.spawn(move || {
            for number in 0.. {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let cell = format!("%memory remember --scope global Customer {number} lives in street {}", number * 7);
                assert_eq!(client.execute(&cell).status(), "ok");
                count.store(number + 1, Ordering::SeqCst);
            }
        });
        for round in 0..3 {
            while acknowledged.load(Ordering::SeqCst) < 5 * (round + 1) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            let before = acknowledged.load(Ordering::SeqCst);
            let copy = data.with_file_name(format!("copy-{round}.duckdb"));
            memory(&data, &["backup", copy.to_str().unwrap()]);
            let other = data.with_file_name(format!("other-{round}"));
            memory(&other, &["restore", copy.to_str().unwrap()]);
            let stats: Value = serde_json::from_slice(&memory(&other, &["stats", "--json"]).stdout).unwrap();
            let restored = stats["memory"]["facts"].as_u64().unwrap();
            assert!(restored >= before, "{restored} of {before}");
        }
        let verified = memory(&data, &["verify"]);
        assert!(String::from_utf8_lossy(&verified.stdout).contains("a copy made just now"), "{verified:?}");
        done.store(true, Ordering::Relaxed);
    });
}
