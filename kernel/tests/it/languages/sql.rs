use std::time::{Duration, Instant};

use codriver::languages::sql::{SqlEngine, SqlOptions};
use codriver::languages::{CellError, Completeness};
use codriver::session::{Interrupt, OutputEvent};

use super::{Recorded, plain};

pub fn engine(setup: &str) -> SqlEngine {
    let engine = SqlEngine::open().unwrap();
    run(&engine, setup).unwrap();
    engine
}

fn run(engine: &SqlEngine, sql: &str) -> Result<String, CellError> {
    let outcome = engine.execute(sql, &SqlOptions::default(), &Recorded::new().context)?;
    Ok(outcome.result.map(|bundle| bundle.text().to_owned()).unwrap_or_default())
}

pub fn rows(engine: &SqlEngine, sql: &str) -> Vec<Vec<Option<String>>> {
    engine.query(sql, false, 1000, &Interrupt::new()).unwrap().rows
}

#[test]
fn values_are_duckdbs_own_text() {
    let engine = engine("");
    let frame = engine
        .query(
            "select 1.50::decimal(9,2) a, date '2024-02-29' b, [1, null] c, {'k': 'v'} d, null e, 'NULL' f, interval 3 day g,
                    '\\xAA'::blob h, 0.1::float i, true j, timestamp '2024-01-01 10:00:00.5' k, 170141183460469231731687303715884105727 l,
                    uuid '00000000-0000-0000-0000-000000000001' m, map {'a': 1} n, 'x'::enum('x', 'y') o, timestamptz '2024-01-01 00:00:00+00' is not null p",
            false,
            10,
            &Interrupt::new(),
        )
        .unwrap();
    let types: Vec<&str> = frame.columns.iter().map(|column| column.data_type.as_str()).collect();
    assert_eq!(&types[..4], ["DECIMAL(9,2)", "DATE", "INTEGER[]", "STRUCT(k VARCHAR)"]);
    let values: Vec<Option<&str>> = frame.rows[0].iter().map(Option::as_deref).collect();
    assert_eq!(
        values,
        vec![
            Some("1.50"),
            Some("2024-02-29"),
            Some("[1, NULL]"),
            Some("{'k': v}"),
            None,
            Some("NULL"),
            Some("3 days"),
            Some("\\xAA"),
            Some("0.1"),
            Some("true"),
            Some("2024-01-01 10:00:00.5"),
            Some("170141183460469231731687303715884105727"),
            Some("00000000-0000-0000-0000-000000000001"),
            Some("{a=1}"),
            Some("x"),
            Some("true"),
        ]
    );
}

#[test]
fn rows_are_limited_and_counted() {
    let engine = engine("");
    let options = SqlOptions { limit: 3, output: None };
    let outcome = engine
        .execute("select range as n from range(12345) order by n desc", &options, &Recorded::new().context)
        .unwrap();
    let bundle = outcome.result.unwrap();
    assert!(bundle.text().ends_with("12,345 rows × 1 column (first 3 shown)"), "{}", bundle.text());
    assert!(bundle.text().contains("12344") && !bundle.text().contains("12341"), "{}", bundle.text());
    assert!(bundle.data["text/html"].as_str().unwrap().contains("<table"));
    let none = engine.query("select 1 where false", false, 0, &Interrupt::new()).unwrap();
    assert_eq!((none.total_rows, none.rows.len(), none.columns.len()), (0, 0, 1));
}

#[test]
fn the_last_result_of_several_statements_is_shown() {
    let engine = engine("create table t (a int); insert into t values (1), (2); -- two\n");
    assert!(run(&engine, "select 1 as one; select sum(a) as total from t;").unwrap().contains("total"));
    assert!(run(&engine, "select 7 as seven; drop table t;").unwrap().contains("seven"));
    assert_eq!(run(&engine, "create table u (a int)").unwrap(), "");
    assert_eq!(run(&engine, "insert into u values (1), (2), (3)").unwrap(), "3 rows inserted");
    assert!(run(&engine, "with w as (select 4 as a) insert into u from w").is_ok());
    assert_eq!(rows(&engine, "select count(*) from u"), vec![vec![Some("4".to_owned())]]);
    for sql in [
        "describe u",
        "show tables",
        "summarize u",
        "explain select * from u",
        "pragma table_info('u')",
        "pivot u on a using count(*)",
        "from u",
        "values (1)",
        "(select 1)",
        "table u",
        "explain analyze select 1",
    ] {
        assert!(!run(&engine, sql).unwrap().is_empty(), "{sql}");
    }
}

#[test]
fn errors_point_into_the_cell() {
    let engine = engine("create table sales (region varchar, amount double)");
    let error = run(&engine, "select 1;\n\nselect region,\n  amont\nfrom sales").unwrap_err();
    assert_eq!(error.name, "SqlError");
    let shown = plain(&error.traceback);
    assert!(shown.contains("--> line 4, column 3") && shown.contains("4 |   amont\n  |   ^^^^^"), "{shown}");
    let syntax = plain(&run(&engine, "select 1; selec 2").unwrap_err().traceback);
    assert!(syntax.contains("line 1, column 11") && syntax.contains("^^^^^"), "{syntax}");
    let conversion = plain(
        &run(&engine, "insert into sales values ('x', 1);\nselect region::int from sales").unwrap_err().traceback,
    );
    assert!(conversion.contains("line 2"), "{conversion}");
    let missing = plain(&run(&engine, "from nowhere").unwrap_err().traceback);
    assert!(missing.contains("^^^^^^^"), "{missing}");
}

#[test]
fn a_kept_frame_is_a_table_for_later_cells() {
    let engine = engine("create table t as select range as n from range(10)");
    let keep = |sql: &str, name: &str| {
        engine.execute(sql, &SqlOptions { limit: 2, output: Some(name.to_owned()) }, &Recorded::new().context)
    };
    let shown = keep("set threads = 2; select n, n * 2 as twice from t order by n desc;", "kept").unwrap();
    assert!(shown.result.unwrap().text().ends_with("10 rows × 2 columns (first 2 shown)"));
    assert_eq!(rows(&engine, "select max(twice) from kept"), vec![vec![Some("18".to_owned())]]);
    keep("select * from kept where n < 3", "kept").unwrap();
    assert_eq!(engine.frame("kept", 100).unwrap().total_rows, 3);
    assert!(keep("select 1", "no name; drop table t").is_err());
    assert!(keep("drop table t", "x").is_err());
    let error = keep("select\n wrong from t", "x").unwrap_err();
    assert!(plain(&error.traceback).contains("line 2, column 2"), "{:?}", error.traceback);
}

#[test]
fn an_interrupt_stops_a_query_and_nothing_else() {
    let engine = engine("create table kept as select 1 as a");
    let recorded = Recorded::new();
    recorded.interrupt_after(900);
    let started = Instant::now();
    let sql = "select sum(a.range * b.range % 7) from range(1000000) a, range(1000000) b";
    let error = engine.execute(sql, &SqlOptions::default(), &recorded.context).unwrap_err();
    assert_eq!(error.name, "Interrupted");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(rows(&engine, "from kept"), vec![vec![Some("1".to_owned())]]);
    let displays: Vec<String> = (recorded.events().into_iter())
        .filter_map(|event| match event {
            OutputEvent::Display { bundle, .. } | OutputEvent::UpdateDisplay { bundle, .. } => {
                Some(bundle.text().to_owned())
            }
            _ => None,
        })
        .collect();
    assert!(displays.first().unwrap().starts_with("running for"), "{displays:?}");
    assert_eq!(displays.last().unwrap(), "");
}

#[test]
fn transactions_span_cells() {
    let engine = engine("create table t (a int)");
    run(&engine, "begin; insert into t values (1)").unwrap();
    assert_eq!(engine.schema().len(), 1);
    run(&engine, "rollback").unwrap();
    assert!(rows(&engine, "from t").is_empty());
}

#[test]
fn files_are_relative_to_the_workspace() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data.csv"), "a,b\n1,x\n2,y\n").unwrap();
    let engine = SqlEngine::open_in(folder.path()).unwrap();
    assert_eq!(rows(&engine, "select count(*) from 'data.csv'"), vec![vec![Some("2".to_owned())]]);
    assert_eq!(rows(&engine, "select b from read_csv('data.csv') where a = 2"), vec![vec![Some("y".to_owned())]]);
}

#[test]
fn extensions_are_never_fetched() {
    let engine = engine("");
    let settings = rows(
        &engine,
        "select value from duckdb_settings() where name in ('autoinstall_known_extensions', 'autoload_known_extensions')",
    );
    assert_eq!(settings, vec![vec![Some("false".to_owned())]; 2]);
}

#[test]
fn the_schema_lists_values_of_small_text_columns() {
    let engine = engine(
        "create table sales as select ['north', 'south'][1 + range % 2] as region, range::varchar as id, range as n from range(1000);
         create schema other; create table other.t (x date); create temp table mine (a int); create view v as select 1 as one",
    );
    let schema = engine.schema();
    let names: Vec<&str> = schema.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(["sales", "other.t", "mine", "v"].iter().all(|name| names.contains(name)), "{names:?}");
    let sales = schema.iter().find(|table| table.name == "sales").unwrap();
    assert_eq!(sales.columns[0].values, vec!["north", "south"]);
    assert!(sales.columns[1].values.is_empty() && sales.columns[2].values.is_empty());
    assert_eq!(sales.columns[2].data_type, "BIGINT");
}

fn completions(engine: &SqlEngine, code: &str) -> Vec<String> {
    let cursor = code.find('|').unwrap();
    let completions = engine.complete(&code.replace('|', ""), cursor);
    completions.matches.into_iter().map(|completion| completion.text).collect()
}

#[test]
fn completion_knows_tables_columns_keywords_and_functions() {
    let engine = engine(
        "create table sales (region varchar, amount double, \"odd name\" int); create table stores (city varchar)",
    );
    assert_eq!(completions(&engine, "select * from s|"), vec!["sales", "stores"]);
    assert_eq!(completions(&engine, "select sales.a| from sales"), vec!["amount"]);
    assert_eq!(completions(&engine, "select x.| from sales x"), vec!["region", "amount", "\"odd name\""]);
    assert_eq!(completions(&engine, "select reg| from sales")[0], "region");
    assert!(!completions(&engine, "select ci| from sales").contains(&"city".to_owned()));
    assert!(completions(&engine, "sel|").contains(&"select".to_owned()));
    assert!(completions(&engine, "SEL|").contains(&"SELECT".to_owned()));
    assert!(completions(&engine, "select date_tr|").contains(&"date_trunc".to_owned()));
    assert!(completions(&engine, "select 'sal|").is_empty());
    let completed = engine.complete("select é from sal", "select é from sal".len());
    assert_eq!((completed.start, completed.end), (15, 18));
}

#[test]
fn inspection_shows_tables_and_functions() {
    let engine = engine("create table sales as select 'north' as region, 1 as amount");
    let table = engine.inspect("sales").unwrap().text().to_owned();
    assert!(table.contains("region") && table.contains("VARCHAR") && table.contains("north"), "{table}");
    let function = engine.inspect("date_trunc").unwrap().text().to_owned();
    assert!(function.contains("date_trunc(part VARCHAR, timestamp DATE)"), "{function}");
    assert!(engine.inspect("no_such_thing").is_none());
}

#[test]
fn completeness_is_judged_by_the_parser() {
    let engine = engine("");
    for sql in [
        "select 1",
        "select 1;",
        "create table x (a int)",
        "",
        "from nowhere",
        "select 1; select 2",
        "-- only a comment",
    ] {
        assert_eq!(engine.is_complete(sql), Completeness::Complete, "{sql}");
    }
    for sql in ["select 'abc", "select (1", "select * from", "select 1 +", "select /* x", "select a,"] {
        assert!(
            matches!(engine.is_complete(sql), Completeness::Incomplete { .. }),
            "{sql}: {:?}",
            engine.is_complete(sql)
        );
    }
    for sql in ["selec 1", "select from where;", "select 1 select 2 from from;"] {
        assert_eq!(engine.is_complete(sql), Completeness::Invalid, "{sql}");
    }
}
