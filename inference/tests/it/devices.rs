//! The devices models run on.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use codriver_inference::device::{list, resolve};
use codriver_inference::{Cancellation, DeviceChoice, Flow, LocalModel, ModelError, SamplingParameters};
use serde_json::{Value, json};

use crate::fixture::write_random_model;

#[test]
fn names_are_devices() {
    assert_eq!("CPU".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cpu);
    assert_eq!(
        "vulkan".parse::<DeviceChoice>().unwrap(),
        DeviceChoice::Wgpu
    );
    let error = "tpu".parse::<DeviceChoice>().unwrap_err().to_string();
    assert!(error.contains("cpu, wgpu and cuda"), "{error}");
    for choice in [DeviceChoice::Cpu, DeviceChoice::Wgpu, DeviceChoice::Cuda] {
        assert_eq!(choice.to_string().parse::<DeviceChoice>().unwrap(), choice);
    }
}

#[test]
fn what_is_there_is_listed_and_what_is_not_is_an_error() {
    let lines = list();
    assert!(lines[0].starts_with("cpu: "), "{lines:?}");
    assert!(lines.len() > 1, "the GPU, or that there is none: {lines:?}");
    resolve(DeviceChoice::Cpu).unwrap();
    if !cfg!(feature = "cuda") {
        assert!(
            resolve(DeviceChoice::Cuda)
                .unwrap_err()
                .to_string()
                .contains("--features cuda")
        );
    }
}

#[test]
fn a_gpu_computes_what_the_cpu_computes() {
    if let Err(error) = resolve(DeviceChoice::Wgpu) {
        eprintln!("skipped: {error}");
        assert!(error.to_string().contains("--device cpu"), "{error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    write_random_model(folder.path(), 21);
    let logits = |choice| {
        let model = LocalModel::open(folder.path(), choice).unwrap();
        model
            .logits(&model.tokens("Some text for both").unwrap())
            .unwrap()
    };
    for (cpu, gpu) in logits(DeviceChoice::Cpu)
        .iter()
        .zip(&logits(DeviceChoice::Wgpu))
    {
        let scale = cpu
            .iter()
            .fold(0.0_f32, |largest, value| largest.max(value.abs()));
        for (cpu, gpu) in cpu.iter().zip(gpu) {
            assert!((cpu - gpu).abs() < 1e-3 * scale, "{cpu} and {gpu}");
        }
    }
}

/// While a file of this name is there, the device is lost (`reference/losing_device.c`).
const LOSE: &str = "CODRIVER_TEST_LOSE_DEVICE";
const DRIVER: &str = "CODRIVER_TEST_DRIVER";

#[test]
fn a_lost_device_ends_the_request_and_not_the_process() {
    if let Some(file) = std::env::var_os(LOSE) {
        return lose_the_device(Path::new(&file));
    }
    let Some(driver) = software_driver() else {
        eprintln!("skipped: there is no software GPU; Debian's is mesa-vulkan-drivers");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/losing_device.c");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(path("driver.so")).arg(source).status();
    assert!(compiled.unwrap().success());
    let icd = json!({ "file_format_version": "1.0.0",
                      "ICD": { "api_version": "1.1.0", "library_path": path("driver.so") } });
    std::fs::write(path("driver.json"), icd.to_string()).unwrap();
    // A process of its own: devices are opened once in each.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "devices::a_lost_device_ends_the_request_and_not_the_process", "--nocapture"])
        .env("VK_DRIVER_FILES", path("driver.json"))
        .env("VK_ICD_FILENAMES", path("driver.json"))
        .env(DRIVER, driver)
        .env(LOSE, path("lost"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("survived"), "{output:?}");
}

/// Mesa's lavapipe, where the loader's manifests name it.
fn software_driver() -> Option<PathBuf> {
    let named = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].into_iter().filter_map(std::env::var_os);
    let named: Vec<PathBuf> = named.flat_map(|list| std::env::split_paths(&list).collect::<Vec<_>>()).collect();
    let folders = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"].into_iter().filter_map(|path| std::fs::read_dir(path).ok());
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
            std::fs::write(file, "").unwrap();
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
    eprintln!("survived");
}
