//! The devices models run on.

use codriver_inference::device::{list, resolve};
use codriver_inference::sampling::Sampler;
use codriver_inference::{
    CacheFormat, Cancellation, CompletionOptions, DeviceChoice, Engine, Flow, LocalModel, OpenOptions,
    SamplingParameters,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::fixture::{TEMPLATE, write_random_chat_model, write_random_model};
use crate::reference::fresh_seed;

#[test]
fn names_are_devices() {
    assert_eq!("CPU".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cpu);
    assert_eq!("vulkan".parse::<DeviceChoice>().unwrap(), DeviceChoice::Wgpu);
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
    if let Err(error) = resolve(DeviceChoice::Cuda) {
        let lacking = if cfg!(feature = "cuda") { "libcuda" } else { "--features cuda" };
        assert!(error.to_string().contains(lacking), "{error}");
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
        model.logits(&model.tokens("Some text for both").unwrap()).unwrap()
    };
    for (cpu, gpu) in logits(DeviceChoice::Cpu).iter().zip(&logits(DeviceChoice::Wgpu)) {
        let scale = cpu.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        for (cpu, gpu) in cpu.iter().zip(gpu) {
            assert!((cpu - gpu).abs() < 1e-3 * scale, "{cpu} and {gpu}");
        }
    }
}

#[test]
fn weights_are_rounded_on_a_gpu_as_on_the_processor() {
    if let Err(error) = resolve(DeviceChoice::Wgpu) {
        return eprintln!("skipped: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let seed = fresh_seed();
    write_random_model(folder.path(), seed);
    let open = |device, format: Option<&str>| {
        let quantization = format.map(|format| format.parse().unwrap());
        LocalModel::open_with(folder.path(), &OpenOptions { device, quantization, ..OpenOptions::default() })
    };
    let scores = |device, format| {
        let model = open(device, format).unwrap();
        assert_eq!(model.engine() == Engine::Gpu, device == DeviceChoice::Wgpu);
        model.logits(&model.tokens("What rounded weights say, wherever they are").unwrap()).unwrap().concat()
    };
    let length = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>().sqrt();
    let apart = |one: &[f32], other: &[f32]| {
        length(&one.iter().zip(other).map(|(one, other)| one - other).collect::<Vec<_>>()) / length(other)
    };
    let exact = scores(DeviceChoice::Cpu, None);
    // The processor rounds what it multiplies with integers to 8 bits, too.
    for (format, allowed) in [("bf16", 1e-4), ("q8_0", 0.02), ("q4_0", 0.02)] {
        let (cpu, gpu) = (scores(DeviceChoice::Cpu, Some(format)), scores(DeviceChoice::Wgpu, Some(format)));
        let (between, rounding) = (apart(&gpu, &cpu), apart(&gpu, &exact));
        println!("{format}: {between} apart, {rounding} from exact");
        assert!(between < allowed, "seed {seed}, {format}: {between}");
        // What is not rounded would be exact.
        assert!(rounding > 1e-4, "seed {seed}, {format}: {rounding}");
    }
    let refused = open(DeviceChoice::Wgpu, Some("q5_k")).err().unwrap().to_string();
    assert!(refused.contains("q4_k") && refused.contains("--device cpu"), "{refused}");
}

#[test]
fn keys_and_values_are_rounded_on_a_gpu_as_on_the_processor() {
    if let Err(error) = resolve(DeviceChoice::Wgpu) {
        return eprintln!("skipped: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let seed = fresh_seed();
    write_random_model(folder.path(), seed);
    let open = |device, cache_format| {
        let model =
            LocalModel::open_with(folder.path(), &OpenOptions { device, cache_format, ..OpenOptions::default() });
        let model = model.unwrap();
        assert_eq!(model.engine() == Engine::Gpu, device == DeviceChoice::Wgpu);
        model
    };
    let scores = |device, format| {
        let model = open(device, format);
        let scores = model.logits(&model.tokens(&"What keys and values say. ".repeat(8)).unwrap()).unwrap().concat();
        (scores, model.load().block_size)
    };
    let length = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>().sqrt();
    let apart = |one: &[f32], other: &[f32]| {
        length(&one.iter().zip(other).map(|(one, other)| one - other).collect::<Vec<_>>()) / length(other)
    };
    let (exact, whole) = scores(DeviceChoice::Wgpu, CacheFormat::F32);
    for (format, size) in [(CacheFormat::F16, 0.5), (CacheFormat::Q8, 0.5)] {
        let ((cpu, _), (gpu, block)) = (scores(DeviceChoice::Cpu, format), scores(DeviceChoice::Wgpu, format));
        let (between, rounding) = (apart(&gpu, &cpu), apart(&gpu, &exact));
        println!("{format}: {between} apart, {rounding} from exact; {block} bytes a block, {whole} in 32 bits");
        // A number in the middle of two may become either; what was not rounded would be exact.
        assert!(rounding > 1e-5 && between < rounding / 2.0, "seed {seed}, {format}: {between} and {rounding}");
        // Heads of four dimensions: their scales take as much as their bytes.
        assert_eq!(block as f64, size * whole as f64, "{format}");
    }
}

#[test]
fn a_gpus_highest_scores_give_the_tokens_of_all_of_them() {
    if let Err(error) = resolve(DeviceChoice::Wgpu) {
        return eprintln!("skipped: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let seed = fresh_seed();
    write_random_chat_model(folder.path(), seed, TEMPLATE, 3000);
    let model = LocalModel::open(folder.path(), DeviceChoice::Wgpu).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let usual = SamplingParameters { max_tokens: 12, ..SamplingParameters::default() };
    let cases = [
        usual.clone(),
        SamplingParameters { temperature: 0.7, top_k: 40, ..usual.clone() },
        SamplingParameters { temperature: 0.05, top_p: 0.9, ..usual.clone() },
        SamplingParameters { temperature: 0.2, min_p: 0.1, ..usual.clone() },
        SamplingParameters { temperature: 0.05, ..usual.clone() },
        SamplingParameters { temperature: 1.0, ..usual.clone() },
        SamplingParameters { temperature: 0.7, top_k: 1000, ..usual.clone() },
        SamplingParameters { temperature: 0.1, repetition_penalty: 1.3, ..usual },
    ];
    let answers = cases.map(|parameters| {
        let parameters = SamplingParameters { seed: random.random(), ..parameters };
        let prompt: Vec<u32> = (0..random.random_range(1..40)).map(|_| random.random_range(0..257)).collect();
        (parameters, prompt)
    });
    // All at once: rows of every kind in a step.
    std::thread::scope(|scope| {
        for (parameters, prompt) in &answers {
            let model = &model;
            scope.spawn(move || {
                let mut found = Vec::new();
                let options = CompletionOptions { ignore_end: true, ..CompletionOptions::default() };
                let mut keep = |token| {
                    found.push(token);
                    Ok(Flow::Continue)
                };
                model.complete_with(prompt, parameters, &options, &Cancellation::new(), &mut keep).unwrap();
                let mut sampler = Sampler::new(parameters, prompt).unwrap();
                let mut sequence = prompt.clone();
                for _ in 0..parameters.max_tokens {
                    let mut row = model.logits(&sequence).unwrap().pop().unwrap();
                    sequence.push(sampler.choose(&mut row).unwrap());
                }
                assert_eq!(found, sequence[prompt.len()..], "seed {seed}, {parameters:?}");
            });
        }
    });
}
