//! Measuring a model's speed.

use codriver_inference::bench::{BenchOptions, MOST_REQUESTS, Unfinished, measure};
use codriver_inference::{CacheFormat, Cancellation, DeviceChoice, ModelError, WeightFormat};
use serde_json::json;

use crate::fixture::{config, write_json, write_random_model};

#[test]
fn each_test_has_its_runs_and_their_median() {
    let folder = tempfile::tempdir().unwrap();
    write_random_model(folder.path(), 51);
    let options =
        BenchOptions { prompts: vec![8, 16], generated: 4, concurrency: 3, ..BenchOptions::new(DeviceChoice::Cpu) };
    let cancellation = Cancellation::new();
    let mut told = Vec::new();
    let report =
        measure("random", folder.path(), &options, &cancellation, &mut |test| told.push(test.to_owned())).unwrap();
    let names: Vec<&str> = report.tests.iter().map(|test| test.test.as_str()).collect();
    assert_eq!(names, ["pp8", "pp16", "tg4"]);
    for test in &report.tests {
        let mut runs = test.runs.clone();
        runs.sort_by(f64::total_cmp);
        assert_eq!((runs.len(), runs[1]), (3, test.tokens_per_second));
        assert!(runs[0] > 0.0 && runs[2].is_finite(), "{test:?}");
    }
    assert!(report.load_seconds > 0.0 && report.ready_seconds > report.load_seconds, "{report:?}");
    assert!(report.device.starts_with("cpu: "), "{report:?}");
    assert_eq!(told.first().map(String::as_str), Some("loading"));
    assert_eq!(told.last().map(String::as_str), Some("3 requests at once, run 3 of 3"));
    let (concurrent, turn) = (report.concurrent.unwrap(), report.second_turn.unwrap());
    assert!(concurrent.requests == 3 && concurrent.ratio > 0.0 && concurrent.alone > 0.0, "{concurrent:?}");
    assert!(turn.prompt == 16 && turn.second > 0.0 && turn.cold > 0.0, "{turn:?}");

    // What is longer than the window is cut to it.
    let longer = BenchOptions { prompts: vec![1 << 20, 1 << 21], generated: 0, repeats: 1, ..options.clone() };
    let report = measure("random", folder.path(), &longer, &cancellation, &mut |_| {}).unwrap();
    assert_eq!(report.tests.iter().map(|test| test.test.as_str()).collect::<Vec<_>>(), ["pp1023"]);
    let stopped = measure("random", folder.path(), &options, &cancellation, &mut |test| {
        if test.starts_with("pp16") {
            cancellation.cancel();
        }
    });
    let Err(Unfinished { reason: ModelError::Cancelled, report: Some(finished) }) = stopped else {
        panic!("{stopped:?}")
    };
    assert_eq!(finished.tests.iter().map(|test| test.test.as_str()).collect::<Vec<_>>(), ["pp8"]);
    let stopped = measure("random", folder.path(), &options, &cancellation, &mut |_| {});
    assert!(matches!(stopped, Err(Unfinished { reason: ModelError::Cancelled, report: None })), "{stopped:?}");
}

#[test]
fn what_cannot_be_measured_is_said_before_anything_is() {
    let folder = tempfile::tempdir().unwrap();
    write_random_model(folder.path(), 52);
    let usual = BenchOptions { repeats: 1, ..BenchOptions::new(DeviceChoice::Cpu) };
    let measured =
        |options: &BenchOptions| measure("random", folder.path(), options, &Cancellation::new(), &mut |_| {});
    for concurrency in [MOST_REQUESTS + 1, usize::MAX] {
        let refused = measured(&BenchOptions { concurrency, ..usual.clone() }).unwrap_err();
        assert!(refused.report.is_none() && refused.to_string().contains("at most 256"), "{refused}");
    }
    let rounded = BenchOptions {
        prompts: vec![usize::MAX],
        generated: 8,
        concurrency: MOST_REQUESTS,
        quantization: Some(WeightFormat::Q8_0),
        cache_format: CacheFormat::F16,
        ..usual.clone()
    };
    let report = measured(&rounded).unwrap();
    assert_eq!(report.concurrent.unwrap().requests, MOST_REQUESTS);
    let mut small = config(258, 32, 2);
    for window in [1, 2, 33] {
        small["max_position_embeddings"] = json!(window);
        write_json(folder.path(), "config.json", &small);
        let refused = measured(&usual).unwrap_err().to_string();
        assert!(refused.contains(&format!("its window holds {window} token")), "{refused}");
    }
}
