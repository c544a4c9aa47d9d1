//! The devices models run on.

use codriver_inference::device::{list, resolve};
use codriver_inference::{DeviceChoice, LocalModel};

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
