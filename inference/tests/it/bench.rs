//! Measuring a model's speed.

use codriver_inference::bench::{BenchOptions, measure};
use codriver_inference::{Cancellation, DeviceChoice, ModelError};

use crate::fixture::write_random_model;

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
    assert!(matches!(stopped, Err(ModelError::Cancelled)));
}
