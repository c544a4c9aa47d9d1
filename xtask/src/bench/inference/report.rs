//! The table.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Options;
use super::measure::{Case, Engine, Figures, Models, Test};
use super::peers::{Peer, Peers};

/// All that was measured.
pub struct Report<'a> {
    pub options: &'a Options,
    pub models: &'a Models,
    pub peers: &'a Peers,
    pub figures: &'a Figures,
    /// Bytes a second, a number each round.
    pub bandwidths: &'a [f64],
}

/// A line: two figures and what their ratio should be.
struct Row {
    name: String,
    ours: Option<f64>,
    beside: String,
    theirs: Option<f64>,
    goal: Option<Goal>,
}

#[derive(Clone, Copy)]
enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn holds(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(least) => ratio >= least,
            Self::AtMost(most) => ratio <= most,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!(">= {least}"),
            Self::AtMost(most) => format!("<= {}", (most * 1e3).round() / 1e3),
        }
    }
}

/// Bytes beyond weights and cache that the goal allows.
const ALLOWED: f64 = 200e6;

impl Report<'_> {
    pub fn text(&self) -> String {
        let mut text = String::new();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let _ = writeln!(
            text,
            "medians of {} rounds on {cores} cores; memory read at {:.1} GB/s by all of them\n",
            self.options.rounds,
            median(self.bandwidths.to_vec()).unwrap_or_default() / 1e9
        );
        for (peer, description) in self.peers.descriptions() {
            let _ = writeln!(text, "{peer}: {description}");
        }
        let _ = writeln!(text, "\n{:44} {:>10}  {:24} {:>10}  {:>7}  goal", "", "codriver", "beside", "", "ratio");
        let mut section = String::new();
        for (title, row) in self.rows() {
            if title != section {
                let _ = writeln!(text, "{title}");
                section = title;
            }
            let ratio = row.ratio();
            let verdict = match (ratio, row.goal) {
                (_, None) => String::new(),
                (Some(ratio), Some(goal)) if goal.holds(ratio) => format!("{} met", goal.text()),
                (Some(_), Some(goal)) => format!("{} MISSED", goal.text()),
                (None, Some(goal)) => format!("{} not measured", goal.text()),
            };
            let ratio =
                ratio.map_or(
                    "-".to_owned(),
                    |ratio| if ratio < 0.1 { format!("{ratio:.4}") } else { format!("{ratio:.2}") },
                );
            let _ = writeln!(
                text,
                "  {:42} {:>10}  {:24} {:>10}  {ratio:>7}  {verdict}",
                row.name,
                shown(row.ours),
                row.beside,
                shown(row.theirs)
            );
        }
        text
    }

    /// Medians and all runs.
    pub fn json(&self) -> Value {
        let runs = self.figures.iter().map(
            |((case, engine), runs)| json!({ "case": case.to_string(), "engine": engine.to_string(), "runs": runs }),
        );
        let rows = self.rows().into_iter().map(|(title, row)| {
            json!({
                "section": title, "name": row.name, "codriver": row.ours, "beside": row.beside, "theirs": row.theirs,
                "ratio": row.ratio(), "goal": row.goal.map(Goal::text),
                "met": row.ratio().zip(row.goal).map(|(ratio, goal)| goal.holds(ratio)),
            })
        });
        let peers = self.peers.descriptions().map(|(peer, built)| json!({ "peer": peer.to_string(), "built": built }));
        json!({
            "rows": rows.collect::<Vec<_>>(),
            "runs": runs.collect::<Vec<_>>(),
            "peers": peers.collect::<Vec<_>>(),
            "bandwidths": self.bandwidths,
        })
    }

    fn rows(&self) -> Vec<(String, Row)> {
        let cases = self.models.cases(self.options);
        cases
            .iter()
            .flat_map(|case| {
                let rows = match case.test {
                    Test::Generation => self.generation(case),
                    Test::Concurrency => self.concurrency(case),
                    Test::Conversation => self.conversation(case),
                    Test::Embeddings => self.embeddings(case),
                };
                let title = format!("{} {}", case.shape, case.format);
                rows.into_iter().map(move |row| (title.clone(), row))
            })
            .collect()
    }

    /// The median of an engine's figure.
    fn figure(&self, case: &Case, engine: Engine, name: &str) -> Option<f64> {
        let runs = self.figures.get(&(case.clone(), engine))?;
        median(runs.iter().filter_map(|run| run.get(name).copied()).collect())
    }

    /// A row of a figure of ours and a peer's.
    fn beside(&self, case: &Case, peer: Peer, figure: &str, name: &str, goal: Option<Goal>) -> Row {
        Row {
            name: name.to_owned(),
            ours: self.figure(case, Engine::Codriver, figure),
            beside: peer.to_string(),
            theirs: self.figure(case, Engine::Peer(peer), figure),
            goal,
        }
    }

    /// The peers of a case among those asked for, even if they are missing.
    fn peers_of(&self, case: &Case) -> impl Iterator<Item = Peer> {
        self.options.peers.iter().copied().filter(|peer| peer.takes(case.test, &case.format))
    }

    fn generation(&self, case: &Case) -> Vec<Row> {
        let mut rows = Vec::new();
        for peer in self.peers_of(case) {
            let yardstick = peer == Peer::LlamaCpp;
            let goal = |goal| yardstick.then_some(goal);
            let prompt = format!("prompt of {}, tokens/s", self.options.prompt);
            rows.push(self.beside(case, peer, "answer", "answer, tokens/s", goal(Goal::AtLeast(1.0))));
            rows.push(self.beside(case, peer, "prompt", &prompt, goal(Goal::AtLeast(0.8))));
            rows.push(self.beside(case, peer, "load", "load, s", goal(Goal::AtMost(1.0))));
            rows.push(self.beside(case, peer, "ready", "load and a first token, s", None));
        }
        let Some(checkpoint) = self.models.checkpoint(case) else { return rows };
        let answer = self.figure(case, Engine::Codriver, "answer");
        let bandwidth = median(self.bandwidths.to_vec());
        rows.push(Row {
            name: "weights read by the answer, GB/s".to_owned(),
            ours: answer.map(|speed| speed * checkpoint.bytes / 1e9),
            beside: "memory, read".to_owned(),
            theirs: bandwidth.map(|bandwidth| bandwidth / 1e9),
            goal: None,
        });
        // Keys and values in 16 bits, as llama.cpp holds them.
        let cache = 2.0 * checkpoint.cached * (self.options.prompt + self.options.generate) as f64;
        rows.push(Row {
            name: "resident memory, MB".to_owned(),
            ours: self.figure(case, Engine::Codriver, "memory").map(|bytes| bytes / 1e6),
            beside: "weights + cache + 200 MB".to_owned(),
            theirs: Some((checkpoint.bytes + cache + ALLOWED) / 1e6),
            goal: Some(Goal::AtMost(1.0)),
        });
        for peer in self.peers_of(case) {
            let mut row = self.beside(case, peer, "memory", "resident memory, MB", None);
            row.ours = row.ours.map(|bytes| bytes / 1e6);
            row.theirs = row.theirs.map(|bytes| bytes / 1e6);
            rows.push(row);
        }
        rows
    }

    fn concurrency(&self, case: &Case) -> Vec<Row> {
        let count = self.options.concurrency;
        let against_one = |engine: Engine, goal| Row {
            name: format!("{engine}, {count} requests, tokens/s"),
            ours: self.figure(case, engine, "many"),
            beside: "one request".to_owned(),
            theirs: self.figure(case, engine, "one"),
            goal,
        };
        let mut rows = vec![against_one(Engine::Codriver, Some(Goal::AtLeast(3.0)))];
        for peer in self.peers_of(case) {
            rows.push(against_one(Engine::Peer(peer), None));
            rows.push(self.beside(case, peer, "many", &format!("{count} requests, tokens/s"), None));
        }
        rows
    }

    fn conversation(&self, case: &Case) -> Vec<Row> {
        let second = |engine: Engine, goal| Row {
            name: format!("{engine}, second turn's first token, s"),
            ours: self.figure(case, engine, "second"),
            beside: "first turn's".to_owned(),
            theirs: self.figure(case, engine, "cold"),
            goal,
        };
        let mut rows = vec![second(Engine::Codriver, Some(Goal::AtMost(0.15)))];
        rows.extend(self.peers_of(case).map(|peer| second(Engine::Peer(peer), None)));
        rows
    }

    fn embeddings(&self, case: &Case) -> Vec<Row> {
        let mut rows = Vec::new();
        for peer in self.peers_of(case) {
            let least = if peer == Peer::SentenceTransformers { 1.5 } else { 1.0 };
            let texts = format!("{} texts, texts/s", self.options.texts);
            rows.push(self.beside(case, peer, "texts", &texts, Some(Goal::AtLeast(least))));
            let mut single = self.beside(case, peer, "latency", "one text, ms", Some(Goal::AtMost(1.0 / least)));
            single.ours = single.ours.map(|seconds| seconds * 1e3);
            single.theirs = single.theirs.map(|seconds| seconds * 1e3);
            rows.push(single);
            rows.push(self.beside(case, peer, "load", "load, s", None));
        }
        rows.push(Row {
            name: "least cosine to the peers' vectors".to_owned(),
            ours: self
                .peers_of(case)
                .filter_map(|peer| self.figure(case, Engine::Peer(peer), "cosine"))
                .reduce(f64::min),
            beside: "the same vector".to_owned(),
            theirs: Some(1.0),
            goal: Some(Goal::AtLeast(0.999_999)),
        });
        rows
    }
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.ours.zip(self.theirs).map(|(ours, theirs)| ours / theirs)
    }
}

/// Four digits.
fn shown(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value >= 999.5 => format!("{value:.0}"),
        Some(value) if value >= 9.995 => format!("{value:.1}"),
        Some(value) if value >= 0.9995 => format!("{value:.3}"),
        Some(value) => format!("{value:.4}"),
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}
