use codriver::session::Interrupt;

use super::sql::{engine, rows};

#[test]
fn read_only_lets_queries_through() {
    let engine = engine(
        "create table sales as select 'a' as region, 1 as amount; create view v as from sales; create table other (x int)",
    );
    for sql in [
        "select * from sales",
        "SELECT s.region, sum(amount) FROM sales s JOIN other ON true GROUP BY ALL ORDER BY 1 LIMIT 5;",
        "with x as (select 1 as a) select * from x",
        "with recursive r(n) as (select 1 union all select n + 1 from r where n < 3) from r",
        "from v",
        "values (1), (2)",
        "describe sales",
        "show tables",
        "summarize sales",
        "explain select * from sales",
        "select * from range(3)",
        "select unnest([1, 2])",
        "select (select max(amount) from sales), upper('x')",
        "select * from information_schema.tables",
        "select * from duckdb_tables()",
        "describe select * from sales",
        "select region, row_number() over (order by amount) from sales",
        "-- a comment\nselect 1",
        "select * from main.sales",
    ] {
        let result = engine.query(sql, true, 10, &Interrupt::new());
        assert!(result.is_ok(), "{sql}: {:?}", result.err());
    }
}

#[test]
fn read_only_refuses_everything_else() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret.csv");
    std::fs::write(&secret, "a\n1\n").unwrap();
    let path = secret.display();
    let engine = engine("create table sales as select 1 as amount; create sequence s");
    // The same reads work where they are allowed: the refusals below are the guard's.
    assert!(engine.query(&format!("from '{path}'"), false, 10, &Interrupt::new()).is_ok());
    for sql in [
        format!("from '{path}'"),
        format!("select * from read_csv('{path}')"),
        format!("select * from read_text('{path}')"),
        format!("select * from \"{path}\""),
        format!("describe '{path}'"),
        format!("summarize '{path}'"),
        format!("with x as (from '{path}') from x"),
        format!("select (select max(a) from '{path}')"),
        format!("select (with \"{path}\" as (select 1) select 1), * from \"{path}\""),
        format!("select * from glob('{}/*')", folder.path().display()),
        format!("select * from sniff_csv('{path}')"),
        format!("select * from sales where amount in (select a from read_csv('{path}'))"),
        format!("select * from query('from ''{path}''')"),
        "select * from query_table('sales')".to_owned(),
        format!("explain from '{path}'"),
        format!("explain analyze select * from read_csv('{path}')"),
        format!("copy sales to '{path}'"),
        format!("attach '{path}.db' as x"),
        "pragma database_list".to_owned(),
        "set threads = 1".to_owned(),
        "create table x (a int)".to_owned(),
        "insert into sales values (2)".to_owned(),
        "delete from sales".to_owned(),
        "drop table sales".to_owned(),
        "update sales set amount = 0".to_owned(),
        "select 1; drop table sales".to_owned(),
        "install httpfs".to_owned(),
        "load httpfs".to_owned(),
        "select nextval('s')".to_owned(),
        "call pragma_version()".to_owned(),
        "begin".to_owned(),
        String::new(),
        "explain drop table sales".to_owned(),
        "with x as (select 1) insert into sales from x".to_owned(),
        "select getenv('HOME')".to_owned(),
        "select * from duckdb_secrets()".to_owned(),
        "checkpoint".to_owned(),
        format!("export database '{}'", folder.path().display()),
        "select * from read_blob('/etc/passwd')".to_owned(),
        format!("select * from read_json('{path}')"),
        format!("select * from parquet_scan('{path}')"),
    ] {
        let result = engine.query(&sql, true, 10, &Interrupt::new());
        assert!(result.is_err(), "{sql} was allowed");
    }
    assert_eq!(rows(&engine, "from sales"), vec![vec![Some("1".to_owned())]]);
}
