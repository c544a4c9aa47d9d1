//! Made-up sessions: tables, files and branches that requests are about.

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::phrases::Phrases;
use crate::{ColumnSchema, Environment, TableSchema};

/// A session with what people call its columns.
#[derive(Debug, Clone, Default)]
pub struct World {
    pub environment: Environment,
    pub tables: Vec<WorldTable>,
}

#[derive(Debug, Clone)]
pub struct WorldTable {
    pub name: String,
    pub columns: Vec<WorldColumn>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct WorldColumn {
    pub name: String,
    pub kind: ColumnKind,
    pub values: Vec<String>,
    pub synonyms: Vec<String>,
    pub highest: Vec<String>,
    pub lowest: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    Number,
    Text,
    Date,
    Flag,
}

/// A line of `worlds.txt`.
struct Pattern {
    names: Vec<String>,
    columns: Vec<ColumnPattern>,
}

struct ColumnPattern {
    names: Vec<String>,
    column: WorldColumn,
    /// The section of `contents.txt` its values come from.
    pool: Option<String>,
}

/// Makes worlds from the patterns that ship in the source.
pub struct Worlds {
    patterns: Vec<Pattern>,
}

impl Worlds {
    pub fn shipped() -> Self {
        let lines =
            include_str!("phrases/worlds.txt").lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        Self { patterns: lines.filter_map(pattern).collect() }
    }

    pub fn sample(&self, phrases: &Phrases, random: &mut impl Rng) -> World {
        let count = *[0, 1, 1, 1, 1, 2, 2, 2, 3, 3].choose(random).unwrap_or(&1);
        let mut tables: Vec<WorldTable> = Vec::new();
        for pattern in self.patterns.choose_multiple(random, count) {
            let table = table(pattern, phrases, random);
            if tables.iter().all(|other| other.name != table.name) {
                tables.push(table);
            }
        }
        let environment = Environment {
            tables: tables.iter().map(schema).collect(),
            files: files(random),
            branches: branches(random),
            variables: Vec::new(),
            last_error: random.random_bool(0.15).then(|| "error".to_owned()),
        };
        World { environment, tables }
    }
}

fn pattern(line: &str) -> Option<Pattern> {
    let (names, columns) = line.split_once(": ")?;
    Some(Pattern {
        names: names.split('/').map(|name| name.trim().to_owned()).collect(),
        columns: columns.split(';').filter_map(column_pattern).collect(),
    })
}

fn column_pattern(text: &str) -> Option<ColumnPattern> {
    let text = text.trim();
    let (names, rest) = text.split_once(' ')?;
    let kind = match rest.chars().next()? {
        'N' => ColumnKind::Number,
        'T' => ColumnKind::Text,
        'B' => ColumnKind::Flag,
        _ => ColumnKind::Date,
    };
    let part = |mark: char| -> Vec<String> {
        let Some((_, tail)) = rest.split_once(&format!(" {mark}")) else { return Vec::new() };
        let end = [" ~", " +", " -"].iter().filter_map(|other| tail.find(other)).min().unwrap_or(tail.len());
        tail[..end].split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
    };
    let values = rest
        .split_once('[')
        .and_then(|(_, tail)| tail.split_once(']'))
        .map(|(list, _)| list.split(',').map(|value| value.trim().to_owned()).collect())
        .unwrap_or_default();
    let pool = rest.split_once('!').map(|(_, tail)| tail.chars().take_while(|c| c.is_alphabetic()).collect());
    let column =
        WorldColumn { name: String::new(), kind, values, synonyms: part('~'), highest: part('+'), lowest: part('-') };
    Some(ColumnPattern { names: names.split('/').map(str::to_owned).collect(), column, pool })
}

fn table(pattern: &Pattern, phrases: &Phrases, random: &mut impl Rng) -> WorldTable {
    let base = pattern.names.choose(random).cloned().unwrap_or_default();
    let affix = |random: &mut dyn rand::RngCore| -> &'static str {
        ["data", "2024", "table", "archive", "log", "list"].choose(random).copied().unwrap_or("data")
    };
    let name = match random.random_range(0..12) {
        0 => format!("{}_{base}", ["raw", "shop", "my", "all", "app"].choose(random).unwrap_or(&"raw")),
        1 => format!("{base}_{}", affix(random)),
        2 => base.strip_suffix('s').unwrap_or(&base).to_owned(),
        _ => base.clone(),
    };
    let singular = base.strip_suffix('s').unwrap_or(&base);
    let mut chosen: Vec<&ColumnPattern> = pattern.columns.iter().filter(|_| random.random_bool(0.65)).collect();
    if chosen.len() < 3 {
        chosen = pattern.columns.iter().take(3).collect();
    }
    if random.random_bool(0.2) {
        chosen.shuffle(random);
    }
    let mut columns: Vec<WorldColumn> = Vec::new();
    for column in chosen {
        let mut made = named(column, singular, random);
        if let Some(pool) = &column.pool {
            let count = random.random_range(0..6);
            made.values = (0..count).map(|_| phrases.pick(pool, random)).collect();
            made.values.dedup();
        } else if random.random_bool(0.1) {
            made.values.clear();
        }
        if columns.iter().all(|other| other.name != made.name) {
            columns.push(made);
        }
    }
    WorldTable { name, columns }
}

fn named(pattern: &ColumnPattern, table: &str, random: &mut impl Rng) -> WorldColumn {
    let base = pattern.names.choose(random).cloned().unwrap_or_default();
    let mut synonyms = pattern.column.synonyms.clone();
    synonyms.extend(
        pattern.names.iter().filter(|name| **name != base && name.len() > 2).map(|name| name.replace('_', " ")),
    );
    let suffix = match pattern.column.kind {
        ColumnKind::Number => ["total", "value", "eur", "num"].choose(random),
        ColumnKind::Text => ["name", "code", "label"].choose(random),
        ColumnKind::Date => ["date", "at", "ts"].choose(random),
        ColumnKind::Flag => ["flag", "yn"].choose(random),
    };
    let name = match random.random_range(0..14) {
        0 if pattern.column.kind != ColumnKind::Flag => format!("{table}_{base}"),
        1 => format!("{base}_{}", suffix.unwrap_or(&"x")),
        2 => base.to_uppercase(),
        _ => base,
    };
    WorldColumn { name, synonyms, ..pattern.column.clone() }
}

fn schema(table: &WorldTable) -> TableSchema {
    let data_type = |kind| match kind {
        ColumnKind::Number => "DOUBLE",
        ColumnKind::Text => "VARCHAR",
        ColumnKind::Date => "DATE",
        ColumnKind::Flag => "BOOLEAN",
    };
    let columns = table
        .columns
        .iter()
        .map(|column| ColumnSchema {
            name: column.name.clone(),
            data_type: data_type(column.kind).to_owned(),
            values: column.values.clone(),
        })
        .collect();
    TableSchema { name: table.name.clone(), columns }
}

const FILES: &[&str] = &[
    "README.md",
    "src/main.rs",
    "src/lib.rs",
    "Cargo.toml",
    "data/sales.csv",
    "data/customers.csv",
    "docs/guide.md",
    "notes.txt",
    "analysis.ipynb",
    "scripts/load.py",
    "queries/report.sql",
    "config.yaml",
    "src/parser.rs",
    "tests/basic.rs",
    "LICENSE",
    "Makefile",
    "CHANGELOG.md",
    "src/utils/helpers.rs",
    "data/prices.json",
    "package.json",
    "web/index.html",
    "notes/meeting.md",
    "docs/install.md",
    "setup.py",
    "requirements.txt",
    ".gitignore",
    "deploy.sh",
    "src/model.py",
    "logs/server.log",
    "data/weather_2023.parquet",
    "todo.md",
    "src/config.rs",
    "docs/faq.md",
    "report_final.ipynb",
    "schema.sql",
    "budget.csv",
    "app/settings.toml",
    "lib/network.rs",
    "etl/clean_orders.py",
    "notebooks/explore.ipynb",
    "CONTRIBUTING.md",
    "docs/architecture.md",
    "bench/run.sh",
    "src/server.rs",
    "data/raw/users.json",
];

fn files(random: &mut impl Rng) -> Vec<String> {
    let count = random.random_range(0..14);
    let mut files: Vec<String> = FILES.choose_multiple(random, count).map(|path| (*path).to_owned()).collect();
    let mut folders: Vec<String> =
        files.iter().filter_map(|path| path.rsplit_once('/').map(|(folder, _)| format!("{folder}/"))).collect();
    folders.sort_unstable();
    folders.dedup();
    files.extend(folders);
    files
}

fn branches(random: &mut impl Rng) -> Vec<String> {
    const NAMES: &[&str] = &[
        "main",
        "master",
        "dev",
        "develop",
        "feature/login",
        "fix-typo",
        "release-1.2",
        "experiment",
        "staging",
        "feature/search",
        "hotfix",
        "refactor",
        "v2",
        "bugfix/crash",
        "docs-update",
        "wip",
    ];
    let count = random.random_range(0..5);
    NAMES.choose_multiple(random, count).map(|name| (*name).to_owned()).collect()
}
