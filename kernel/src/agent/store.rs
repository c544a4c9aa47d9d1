//! The model store as people see it, in notebooks and in the terminal.

pub mod convert;
pub mod inputs;
pub mod template;
pub mod tokenize;

use std::path::Path;
use std::time::{Duration, Instant};

use codriver_inference::bench::BenchReport;
use codriver_inference::store::{
    Hub, ModelDetails, ModelStore, Phase, PullProgress, Pulled, Purpose, StoreError, StoredModel, UnfinishedPull,
    count_text, hugging_face_cache, size_text,
};
use codriver_inference::{MemoryEstimate, memory_estimate};

use super::secrets::Secrets;
use crate::render::{cards, table};
use crate::session::MimeBundle;
use crate::session::folders::data_folder;

/// Between two updates of a progress display.
const REFRESH: Duration = Duration::from_millis(200);

/// Over how long a download's speed is measured, in updates.
const SMOOTHING: f64 = 0.15;

/// `models` in the data folder, and the Hugging Face cache.
pub fn model_store() -> ModelStore {
    ModelStore::new(data_folder().join("models"), hugging_face_cache())
}

/// The hub of this user. A token that is in `.env` only counts too.
pub fn model_hub(workspace: &Path, offline: bool) -> Result<Hub, StoreError> {
    Ok(Hub::from_environment()?.with_offline(offline).or_token(Secrets::hub_token(workspace)))
}

/// The model of that name, or why there is none: the nearest name, how to get one.
pub fn find_model(name: &str, workspace: &Path) -> Result<StoredModel, String> {
    let store = model_store();
    store.find(name, workspace).map_err(|error| explain(&error, &store))
}

/// The model of that name, which must be one that answers.
pub fn find_generator(name: &str, workspace: &Path) -> Result<StoredModel, String> {
    let model = find_model(name, workspace)?;
    match model.purpose {
        Purpose::Generation => Ok(model),
        Purpose::Embedding => Err(format!("{name} turns text into vectors; it cannot answer")),
        Purpose::Reranking => Err(format!("{name} says how well a text answers a question; it cannot answer itself")),
        Purpose::Adapter => {
            Err(format!("{name} is an adapter; name the model it belongs to, and it: %model MODEL --adapter {name}"))
        }
    }
}

/// A store's error, with the nearest name where one is unknown.
pub fn explain(error: &StoreError, store: &ModelStore) -> String {
    let StoreError::Unknown { name } = error else { return error.to_string() };
    let names = store.names();
    let nearest = codriver_tools::nearest(name, names.iter().map(String::as_str));
    let hint = nearest.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    let get = match name.split('/').collect::<Vec<_>>().as_slice() {
        [owner, _] if !owner.is_empty() && !owner.starts_with(['.', '~']) => {
            let separator = if hint.is_empty() { ";" } else { "" };
            format!("{separator} `codriver model pull {name}` gets it from the hub")
        }
        _ => String::new(),
    };
    format!("{error}{hint}{get}")
}

/// All models with what their headers say, and pulls that were begun.
pub fn list_table(models: &[(StoredModel, Option<ModelDetails>)], unfinished: &[UnfinishedPull]) -> MimeBundle {
    let known = |text: Option<String>| text.unwrap_or_default();
    let complete = models.iter().map(|(model, details)| {
        let note = match details {
            _ if !model.missing.is_empty() => "incomplete: pull it again".to_owned(),
            None => "cannot be read: its info says why".to_owned(),
            Some(_) => model.place.to_string(),
        };
        vec![
            model.name.clone(),
            model.purpose.to_string(),
            known(details.as_ref().map(|details| count_text(details.parameters))),
            known(details.as_ref().and_then(main_type)),
            size_text(model.bytes),
            note,
        ]
    });
    let begun = unfinished.iter().map(|pull| {
        let come = format!("{} of {}", size_text(pull.done), size_text(pull.total));
        vec![
            pull.name.clone(),
            String::new(),
            String::new(),
            String::new(),
            come,
            "begun: pull it again to go on".to_owned(),
        ]
    });
    cards::table(
        &["model", "for", "parameters", "weights", "size", "where"],
        &complete.chain(begun).collect::<Vec<_>>(),
    )
}

/// What running a model takes when its window is full; `None` for what does not run here.
pub fn memory_needed(details: &ModelDetails) -> Option<MemoryEstimate> {
    if details.purpose == Purpose::Adapter { None } else { memory_estimate(&details.path).ok() }
}

/// What a model is, a line each.
pub fn info_table(details: &ModelDetails) -> MimeBundle {
    let weights: Vec<String> = match details.weights.as_slice() {
        [only] => vec![only.name.clone()],
        several => several.iter().map(|kind| format!("{} ({})", kind.name, count_text(kind.parameters))).collect(),
    };
    let number =
        |number: Option<u64>| number.map(|number| table::grouped(usize::try_from(number).unwrap_or(usize::MAX)));
    let template = match &details.template_error {
        Some(error) => format!("yes, but it cannot be used: {error}"),
        None if details.chat_template => "yes".to_owned(),
        None => "no: it continues text, and was not made for conversation".to_owned(),
    };
    let tools = details.tool_format.map(|format| match details.tools {
        true => format!("the template knows them; calls as {format} writes them"),
        false => format!("described in text, for the template does not know them; calls as {format} writes them"),
    });
    let is_text = details.purpose == Purpose::Generation;
    let origin = details.repository.as_ref().map(|repository| match &details.commit {
        Some(commit) => format!("{repository} at {}", commit.chars().take(12).collect::<String>()),
        None => repository.clone(),
    });
    let memory = memory_needed(details).map(|memory| {
        let whole = size_text(memory.total());
        format!("{whole} with all of a window of {} tokens in use", table::grouped(memory.window))
    });
    let rows = [
        ("name", Some(details.name.clone())),
        ("for", Some(details.purpose.to_string())),
        ("architecture", details.architecture.clone()),
        (
            "parameters",
            Some(match details.parameters {
                0 => "none: a vocabulary only".to_owned(),
                count => format!("{} ({})", count_text(count), table::grouped(count as usize)),
            }),
        ),
        ("weights", (!weights.is_empty()).then(|| weights.join(", "))),
        ("size on disk", Some(size_text(details.bytes))),
        ("memory", memory),
        ("layers", number(details.layers)),
        ("hidden size", number(details.hidden_size)),
        ("window", number(details.window).map(|tokens| format!("{tokens} tokens"))),
        ("vocabulary", number(details.vocabulary).map(|tokens| format!("{tokens} tokens"))),
        ("chat template", is_text.then_some(template)),
        ("tools", tools.filter(|_| is_text)),
        ("licence", details.licence.clone()),
        ("from", origin),
        ("format", Some(details.format.to_string())),
        ("path", Some(details.path.display().to_string())),
    ];
    let rows: Vec<Vec<String>> =
        rows.into_iter().filter_map(|(name, value)| Some(vec![name.to_owned(), value?])).collect();
    cards::table(&["model", ""], &rows)
}

/// How fast a model was: a line a test, and what it took beside time.
pub fn bench_table(report: &BenchReport) -> MimeBundle {
    let mut rows: Vec<Vec<String>> = report
        .tests
        .iter()
        .map(|test| {
            let runs: Vec<String> = test.runs.iter().map(|run| speed_text(*run)).collect();
            vec![test.test.clone(), speed_text(test.tokens_per_second), runs.join(", ")]
        })
        .collect();
    if let Some(test) = &report.concurrent {
        let detail = format!("{:.2} times the {} of one", test.ratio, speed_text(test.alone));
        rows.push(vec![format!("{} at once", test.requests), speed_text(test.tokens_per_second), detail]);
    }
    if let Some(test) = &report.second_turn {
        let detail = format!("{:.3} of the {:.2} s where nothing was read", test.ratio, test.cold);
        rows.push(vec!["second turn".to_owned(), format!("{:.2} s", test.second), detail]);
    }
    let memory = report.memory_bytes.map(|bytes| format!(", {} of memory", size_text(bytes))).unwrap_or_default();
    let title = format!("{} on {}; loaded in {:.2} s{memory}", report.model, report.device, report.load_seconds);
    let table = cards::table(&["test", "tokens/s", "runs"], &rows);
    let html = table.data.get("text/html").and_then(serde_json::Value::as_str).unwrap_or_default();
    MimeBundle::html(format!("<div>{}</div>{html}", table::escape(&title)), format!("{title}\n{}", table.text()))
}

fn speed_text(tokens_per_second: f64) -> String {
    if tokens_per_second < 10.0 { format!("{tokens_per_second:.2}") } else { format!("{tokens_per_second:.1}") }
}

/// The store's models with what their headers say; a file that can't be read stands alone.
pub fn with_details(store: &ModelStore) -> Vec<(StoredModel, Option<ModelDetails>)> {
    let models = store.list().into_iter();
    models.map(|model| (store.details(&model).ok(), model)).map(|(details, model)| (model, details)).collect()
}

fn main_type(details: &ModelDetails) -> Option<String> {
    let first = details.weights.first()?;
    Some(if details.weights.len() > 1 { format!("{} …", first.name) } else { first.name.clone() })
}

/// A pull as a bar: how far it is, how fast, how long it will take.
pub struct PullDisplay {
    name: String,
    shown: Option<Instant>,
    last: (Instant, u64),
    /// Bytes a second, smoothed.
    speed: Option<f64>,
}

impl PullDisplay {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), shown: None, last: (Instant::now(), 0), speed: None }
    }

    /// What to show now, if it is time to show something.
    pub fn update(&mut self, progress: &PullProgress) -> Option<MimeBundle> {
        let now = Instant::now();
        let loading = progress.phase == Phase::Loading;
        if self.shown.is_some_and(|shown| now - shown < REFRESH) && progress.done < progress.total {
            return None;
        }
        let seconds = (now - self.last.0).as_secs_f64();
        if loading && seconds > 0.0 && progress.done >= self.last.1 {
            let speed = (progress.done - self.last.1) as f64 / seconds;
            self.speed = Some(self.speed.map_or(speed, |before| before + SMOOTHING * (speed - before)));
        } else {
            self.speed = None;
        }
        self.last = (now, progress.done);
        self.shown = Some(now);
        Some(self.bundle(progress))
    }

    fn bundle(&self, progress: &PullProgress) -> MimeBundle {
        let (done, total) = (progress.done, progress.total);
        let percent = if total == 0 { 0 } else { (u128::from(done) * 100 / u128::from(total)).min(100) };
        let state = match &progress.phase {
            Phase::Asking => "asking the hub".to_owned(),
            Phase::Waiting => "another process pulls this model; waiting for it".to_owned(),
            Phase::Checking => format!("checking what is there of {}", progress.file),
            Phase::Retrying(reason) => format!("trying again: {reason}"),
            Phase::Loading => format!(
                "{} of {}{} · {}",
                size_text(done),
                size_text(total),
                self.pace(total - done.min(total)),
                progress.file
            ),
        };
        progress_bar(&self.name, percent, &state)
    }

    fn pace(&self, left: u64) -> String {
        match self.speed {
            Some(speed) if speed >= 1.0 => {
                format!(" · {}/s · {} left", size_text(speed as u64), time_text((left as f64 / speed) as u64))
            }
            _ => String::new(),
        }
    }
}

/// A bar under what is done, and how it stands.
pub fn progress_bar(name: &str, percent: u128, state: &str) -> MimeBundle {
    let bar = format!(
        "<div style=\"background:var(--jp-layout-color3,#ddd);border-radius:3px;height:6px;max-width:40em;margin:4px 0\">\
         <div style=\"background:var(--jp-brand-color1,#1976d2);border-radius:3px;height:6px;width:{percent}%\"></div></div>"
    );
    let html = format!(
        "<div><b>{}</b> <span style=\"color:var(--jp-ui-font-color2,#757575)\">{}</span>{bar}</div>",
        table::escape(name),
        table::escape(state)
    );
    MimeBundle::html(html, format!("{name}: {percent} % · {state}"))
}

/// How a pull ended.
pub fn pulled_text(pulled: &Pulled, elapsed: Duration) -> String {
    match pulled.received {
        0 => format!("{} is there, complete: {}", pulled.model.name, size_text(pulled.model.bytes)),
        bytes => {
            format!("{} is there: {} came in {}", pulled.model.name, size_text(bytes), time_text(elapsed.as_secs()))
        }
    }
}

/// `12 s`, `1 min 9 s`, `25 min`, `2 h 5 min`.
fn time_text(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..600 => format!("{} min {} s", seconds / 60, seconds % 60),
        600..3600 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
