//! Tables in files, told by their columns and a sample: nobody asks for a million rows by meaning.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use duckdb::types::ValueRef;
use duckdb::{Config, Connection, Row};

use super::outline::BUDGET;
use super::{Chunk, Kind, Place};

/// Rows shown, and letters of a value.
const SAMPLE: usize = 5;
const LONGEST_VALUE: usize = 60;

/// How long the columns of a large table are looked at before the rest goes unsaid.
const LOOKING: Duration = Duration::from_secs(20);

/// What is said of a column.
struct Column {
    name: String,
    data_type: String,
    /// Smallest and largest value, share of NULL: of the whole table, where there was time.
    range: Option<(String, String)>,
    missing: Option<f64>,
}

pub(super) fn chunk(
    name: &str,
    kind: Kind,
    file: &Path,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Chunk>, String> {
    let table = Table::open(kind, file)?;
    let mut columns = table.columns()?;
    let sample = table.sample()?;
    let rows = table.in_time(stop, |connection| Table::summarize(connection, &mut columns));
    Ok(told(name, &columns, &sample, rows))
}

/// A file as the table `data` of a database that can reach nothing else.
struct Table {
    connection: Connection,
    /// The file under a name without characters that would be a pattern.
    _folder: tempfile::TempDir,
}

impl Table {
    fn open(kind: Kind, file: &Path) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let link = folder.path().join("data");
        let target = fs_err::canonicalize(file).map_err(|error| error.to_string())?;
        std::os::unix::fs::symlink(target, &link).map_err(|error| error.to_string())?;
        let path = link.display().to_string().replace('\'', "''");
        let reader = match kind {
            Kind::Parquet => format!("read_parquet('{path}')"),
            Kind::JsonLines => format!("read_ndjson('{path}')"),
            Kind::Tsv => format!("read_csv('{path}', delim = '\\t')"),
            _ => format!("read_csv('{path}')"),
        };
        let connection = (|| {
            let config = Config::default()
                .enable_autoload_extension(false)?
                .with("autoinstall_known_extensions", "false")?
                .with("allow_community_extensions", "false")?
                .with("memory_limit", "512MB")?
                .with("temp_directory", "")?
                .threads(1)?;
            let connection = Connection::open_in_memory_with_flags(config)?;
            let rules = format!(
                "SET allowed_paths = ['{path}']; SET enable_external_access = false; SET lock_configuration = true"
            );
            connection.execute_batch(&rules)?;
            connection.execute_batch(&format!("CREATE VIEW data AS SELECT * FROM {reader}"))?;
            Ok(connection)
        })();
        Ok(Self { connection: connection.map_err(explain)?, _folder: folder })
    }

    fn columns(&self) -> Result<Vec<Column>, String> {
        let read = |row: &Row<'_>| Ok(Column { name: row.get(0)?, data_type: row.get(1)?, range: None, missing: None });
        let mut statement =
            self.connection.prepare("SELECT column_name, column_type FROM (DESCRIBE data)").map_err(explain)?;
        let rows = statement.query_map([], read).map_err(explain)?;
        rows.collect::<duckdb::Result<_>>().map_err(explain)
    }

    /// The first rows, as text.
    fn sample(&self) -> Result<Vec<Vec<String>>, String> {
        let sql = format!("SELECT COLUMNS(*)::VARCHAR FROM data LIMIT {SAMPLE}");
        let mut statement = self.connection.prepare(&sql).map_err(explain)?;
        let mut rows = statement.query([]).map_err(explain)?;
        let mut sample = Vec::new();
        while let Some(row) = rows.next().map_err(explain)? {
            let count = row.as_ref().column_count();
            sample.push((0..count).map(|column| value(row, column)).collect());
        }
        Ok(sample)
    }

    /// How many rows there are; what else is known is put into the columns.
    fn summarize(connection: &Connection, columns: &mut [Column]) -> duckdb::Result<u64> {
        let rows: i64 = connection.query_row("SELECT count(*) FROM data", [], |row| row.get(0))?;
        let sql = "SELECT min, max, null_percentage::DOUBLE FROM (SUMMARIZE data)";
        let mut statement = connection.prepare(sql)?;
        let mut summary = statement.query([])?;
        for column in columns {
            let Some(row) = summary.next()? else { break };
            let (least, most): (Option<String>, Option<String>) = (row.get(0)?, row.get(1)?);
            column.range = least.zip(most);
            column.missing = row.get::<_, Option<f64>>(2)?;
        }
        Ok(u64::try_from(rows).unwrap_or(0))
    }

    /// `None` if it took too long, was stopped or failed: the columns and the sample are worth having without it.
    fn in_time<T>(
        &self,
        stop: &(dyn Fn() -> bool + Sync),
        work: impl FnOnce(&Connection) -> duckdb::Result<T>,
    ) -> Option<T> {
        let handle = self.connection.interrupt_handle();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let (done, end) = (&done, Instant::now() + LOOKING);
            let watcher = scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    if stop() || Instant::now() > end {
                        handle.interrupt();
                    }
                    thread::park_timeout(Duration::from_millis(20));
                }
            });
            let result = work(&self.connection);
            done.store(true, Ordering::Relaxed);
            watcher.thread().unpark();
            result.inspect_err(|error| tracing::debug!(%error, "a table was not summarized")).ok()
        })
    }
}

/// The first piece says what the table is and shows rows; wide tables list their columns in further ones.
fn told(name: &str, columns: &[Column], sample: &[Vec<String>], rows: Option<u64>) -> Vec<Chunk> {
    let rows = rows.map_or_else(
        || "many rows (not counted)".to_owned(),
        |rows| if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") },
    );
    let count = if columns.len() == 1 { "1 column".to_owned() } else { format!("{} columns", columns.len()) };
    let mut lines: Vec<String> = columns.iter().map(described).collect();
    if !sample.is_empty() {
        lines.push("first rows:".to_owned());
        lines.push(columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(" | "));
        lines.extend(sample.iter().map(|row| row.join(" | ")));
    }
    let mut texts = vec![format!("table of {count} and {rows}")];
    for mut line in lines {
        line.truncate(line.floor_char_boundary(4 * BUDGET));
        match texts.last_mut() {
            Some(last) if last.len() + line.len() <= 4 * BUDGET => {
                last.push('\n');
                last.push_str(&line);
            }
            _ => texts.push(line),
        }
    }
    let title = |part: usize| if part == 0 { name.to_owned() } else { format!("{name} ({})", part + 1) };
    texts.into_iter().enumerate().map(|(part, text)| Chunk { title: title(part), text, place: Place::Whole }).collect()
}

fn described(column: &Column) -> String {
    let mut text = format!("{} {}", column.name, column.data_type);
    if let Some((least, most)) = &column.range {
        text.push_str(&if least == most {
            format!(", always {}", short(least))
        } else {
            format!(", {} to {}", short(least), short(most))
        });
    }
    if let Some(missing) = column.missing.filter(|missing| *missing > 0.0) {
        text.push_str(&format!(", {missing:.0} % NULL"));
    }
    text
}

fn value(row: &Row<'_>, column: usize) -> String {
    match row.get_ref(column) {
        Ok(ValueRef::Text(bytes)) => short(&String::from_utf8_lossy(bytes)),
        _ => "NULL".to_owned(),
    }
}

fn short(value: &str) -> String {
    let line = value.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST_VALUE) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None => line,
    }
}

fn explain(error: duckdb::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
