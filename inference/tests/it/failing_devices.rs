//! GPUs that are lost or full, by a driver that says so (`reference/failing_device.c`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use codriver_inference::{
    Cancellation, DeviceChoice, Engine, Flow, LocalModel, ModelError, OpenOptions, SamplingParameters,
};
use serde_json::{Value, json};

use crate::fixture::write_random_model;

/// The file that tells the driver what to fail at.
const FAIL: &str = "CODRIVER_TEST_FAIL";
const DRIVER: &str = "CODRIVER_TEST_DRIVER";

#[test]
fn a_lost_device_ends_the_request_and_not_the_process() {
    with_failing_driver("a_lost_device_ends_the_request_and_not_the_process", lose_the_device);
}

#[test]
fn a_full_device_fails_the_request_that_needs_more_and_others_go_on() {
    with_failing_driver("a_full_device_fails_the_request_that_needs_more_and_others_go_on", fill_the_device);
}

/// Runs the rest of the test of this name in a process with the driver: devices are opened once in each.
fn with_failing_driver(test: &str, rest: fn(&Path)) {
    if let Some(file) = std::env::var_os(FAIL) {
        rest(Path::new(&file));
        eprintln!("survived");
        return;
    }
    let Some(driver) = software_driver() else {
        eprintln!("skipped: there is no software GPU; Debian's is mesa-vulkan-drivers");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let source = Path::new("tests/reference/failing_device.c");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(path("driver.so")).arg(source).status();
    assert!(compiled.unwrap().success());
    let icd = json!({ "file_format_version": "1.0.0",
                      "ICD": { "api_version": "1.1.0", "library_path": path("driver.so") } });
    std::fs::write(path("driver.json"), icd.to_string()).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("failing_devices::{test}"), "--nocapture"])
        .env("VK_DRIVER_FILES", path("driver.json"))
        .env("VK_ICD_FILENAMES", path("driver.json"))
        .env(DRIVER, driver)
        .env(FAIL, path("fail"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("survived"), "{output:?}");
}

/// Mesa's lavapipe, where the loader's manifests name it.
fn software_driver() -> Option<PathBuf> {
    let named = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].into_iter().filter_map(std::env::var_os);
    let named: Vec<PathBuf> = named.flat_map(|list| std::env::split_paths(&list).collect::<Vec<_>>()).collect();
    let folders =
        ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"].into_iter().filter_map(|path| std::fs::read_dir(path).ok());
    let found = folders.flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let driver = |manifest: PathBuf| {
        let manifest: Value = serde_json::from_slice(&std::fs::read(manifest).ok()?).ok()?;
        let library = PathBuf::from(manifest["ICD"]["library_path"].as_str()?);
        library.to_string_lossy().contains("lvp").then_some(library)
    };
    named.into_iter().chain(found).find_map(driver)
}

fn lose_the_device(file: &Path) {
    let folder = tempfile::tempdir().unwrap();
    write_random_model(folder.path(), 22);
    let open = |choice| LocalModel::open(folder.path(), choice);
    let model = open(DeviceChoice::Wgpu).unwrap();
    let prompt = model.tokens("Some text").unwrap();
    assert_eq!(model.engine(), Engine::Gpu);
    let expected = model.logits(&prompt).unwrap();
    let sampling = SamplingParameters { max_tokens: 200, temperature: 1.0, ..SamplingParameters::default() };
    let complete = |on_token: &mut dyn FnMut(usize)| {
        let mut tokens = 0;
        model.complete(&prompt, &sampling, &Cancellation::new(), &mut |_| {
            tokens += 1;
            on_token(tokens);
            Ok(Flow::Continue)
        })
    };
    let began = Instant::now();
    let error = complete(&mut |tokens| {
        if tokens == 3 {
            std::fs::write(file, "lost").unwrap();
        }
    });
    let errors = [
        error.unwrap_err(),
        complete(&mut |_| {}).unwrap_err(),
        model.logits(&prompt).unwrap_err(),
        open(DeviceChoice::Wgpu).map(drop).unwrap_err(),
    ];
    // The driver would work again, but what was opened on it is gone.
    std::fs::remove_file(file).unwrap();
    for error in errors.into_iter().chain([complete(&mut |_| {}).unwrap_err()]) {
        let text = error.to_string();
        assert!(matches!(error, ModelError::Device(_)) && text.contains("the GPU is lost"), "{text}");
        assert!(text.contains("--device cpu") && !text.contains('\n') && !text.contains("acktrace"), "{text}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    drop(model);
    let logits = open(DeviceChoice::Cpu).unwrap().logits(&prompt).unwrap();
    let apart = logits.concat().iter().zip(expected.concat()).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(apart < 1e-2, "{apart}");
}

/// Bytes of a buffer that a full device still makes: what a token needs is there, a long prompt's scores
/// want a larger one.
const SMALL: usize = 1 << 20;

fn fill_the_device(file: &Path) {
    let folder = tempfile::tempdir().unwrap();
    write_random_model(folder.path(), 23);
    let options = OpenOptions { device: DeviceChoice::Wgpu, cache_tokens: Some(4096), ..OpenOptions::default() };
    let model = LocalModel::open_with(folder.path(), &options).unwrap();
    assert_eq!(model.engine(), Engine::Gpu);
    let prompt = model.tokens("Some text").unwrap();
    let long: Vec<u32> = prompt.iter().copied().cycle().take(900).collect();
    let answer = |count: usize, tokens: &AtomicUsize| {
        let sampling = SamplingParameters { max_tokens: count, ..SamplingParameters::default() };
        let mut answer = Vec::new();
        model
            .complete(&prompt, &sampling, &Cancellation::new(), &mut |token| {
                answer.push(token);
                tokens.fetch_add(1, Ordering::SeqCst);
                Ok(Flow::Continue)
            })
            .map(|_| answer)
    };
    let expected = answer(300, &AtomicUsize::new(0)).unwrap();
    let written = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| answer(300, &written));
        while written.load(Ordering::SeqCst) < 5 {
            std::thread::yield_now();
        }
        std::fs::write(file, SMALL.to_string()).unwrap();
        for attempt in 0..3 {
            let found = model.logits(&long).map(|scores| scores.len());
            // What came free since may be enough.
            if attempt > 0 && found.is_ok() {
                break;
            }
            let error = found.unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, ModelError::NoRoom { .. }) && text.contains("the GPU has no memory"), "{text}");
        }
        assert_eq!(beside.join().unwrap().unwrap(), expected);
    });
    assert_eq!(answer(300, &AtomicUsize::new(0)).unwrap(), expected);
    // Where there is memory again, nothing is left of the failures.
    std::fs::remove_file(file).unwrap();
    let found = model.logits(&long).unwrap();
    let by_processor = LocalModel::open(folder.path(), DeviceChoice::Cpu).unwrap().logits(&long).unwrap();
    let apart = found.concat().iter().zip(by_processor.concat()).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(apart < 1e-2, "{apart}");
    assert_eq!(answer(300, &AtomicUsize::new(0)).unwrap(), expected);
}
