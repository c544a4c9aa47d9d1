use serde_json::json;

use super::answering::Findings;
use super::call::{self, Call};
use super::generator::Generator;
use super::grammar::State;
use super::linking::{Linked, Numbering, Referent, link};
use super::notation::{Keyword, Token};
use crate::{ColumnSchema, Environment, TableSchema};

#[test]
fn every_call_the_generator_writes_is_admitted_and_complete() {
    let mut generator = Generator::new(rand::random());
    let mut seen = 0;
    while seen < 2000 {
        let Some((linked, target)) = generator.linked_call() else { continue };
        let mut state = State::Start;
        for token in &target {
            state = state.after(*token, &linked.references).unwrap_or_else(|| panic!("{state:?} does not admit {token} for {:?}", linked.request));
        }
        assert_eq!(state, State::Done, "{:?}", linked.request);
        let call = call::read(&target, &linked);
        assert!(call.arguments.as_object().is_some_and(|arguments| arguments.values().all(|value| value != "")), "{:?}: {call:?}", linked.request);
        seen += 1;
    }
}

#[test]
fn a_call_with_names_renders_sql_that_says_them_as_they_are() {
    let linked = linked("orders in the North region above 1,200.50 since March 2024, most expensive first");
    let find = |wanted: &dyn Fn(&Referent) -> bool| token(&linked, wanted);
    let table = find(&|referent| matches!(referent, Referent::Table(_)));
    let amount = find(&|referent| matches!(referent, Referent::Column { name, .. } if name == "Total Amount"));
    let date = find(&|referent| matches!(referent, Referent::Column { name, .. } if name == "ordered_at"));
    let north = find(&|referent| matches!(referent, Referent::Value { .. }));
    let number = find(&|referent| matches!(referent, Referent::Constant(text) if text == "1200.50"));
    let march = find(&|referent| matches!(referent, Referent::Period(_)));
    let tokens = [
        Keyword::Sql.token(), table, Keyword::All.token(), Keyword::Where.token(), north, Keyword::Where.token(), amount, Keyword::Above.token(), number,
        Keyword::Where.token(), date, Keyword::Since.token(), march, Keyword::Descending.token(), amount, Keyword::End.token(),
    ];
    let expected = r#"SELECT * FROM orders WHERE region = 'north' AND "Total Amount" > 1200.50 AND ordered_at >= DATE '2024-03-01' ORDER BY "Total Amount" DESC"#;
    assert_eq!(call::read(&tokens, &linked), Call { tool: Some("sql"), arguments: json!({ "query": expected }) });
}

#[test]
fn files_folders_and_code_are_found_however_they_are_named() {
    let found = |request: &str, wanted: &dyn Fn(&Referent) -> bool| linked(request).references.values().any(wanted);
    assert!(found("what does the readme say", &|referent| *referent == Referent::File("README.md".into())));
    assert!(found("open main.rs", &|referent| *referent == Referent::File("src/main.rs".into())));
    assert!(found("list the src folder", &|referent| *referent == Referent::Folder("src".into())));
    assert!(found("all rust files", &|referent| *referent == Referent::Glob("*.rs".into())));
    assert!(found("run this: println!(\"{}\", 1 + 1);", &|referent| *referent == Referent::Code("println!(\"{}\", 1 + 1);".into())));
    assert!(found("what is (3 + 4) * 12", &|referent| *referent == Referent::Expression("(3 + 4) * 12".into())));
    assert!(!found("open the diary", &|referent| matches!(referent, Referent::File(_))));
}

#[test]
fn where_no_table_is_named_its_column_names_it() {
    let linked = linked("average temperature per room");
    let readings = token(&linked, &|referent| *referent == Referent::Table("readings".into()));
    assert!(linked.mentions.iter().any(|mention| mention.token == readings));
}

#[test]
fn a_frame_called_by_something_is_not_meant_by_those_words() {
    let column = ColumnSchema { name: "orders".into(), data_type: "BIGINT".into(), values: Vec::new() };
    let environment = Environment { tables: vec![TableSchema { name: "by_region".into(), columns: vec![column] }], ..Environment::default() };
    let mentioned = |request: &str| link(request, &environment, &mut Numbering::in_order()).mentions.iter().any(|mention| mention.strength > 1);
    assert!(!mentioned("total amount by region"));
    assert!(mentioned("show by_region"));
}

#[test]
fn results_are_read_as_the_tools_write_them() {
    let table = Findings::read(Keyword::Sql, "region | total\nnorth | 12\nsouth | 7\n(2 rows)");
    assert_eq!((table.rows, table.cells), (2, vec!["north".to_owned(), "12".into(), "south".into(), "7".into()]));
    let log = Findings::read(Keyword::GitLog, "The last 2 commits:\nabc 2024-01-01 10:00 Ada: start\ndef 2024-01-01 09:00 Ada: before\n… and older ones.");
    assert_eq!(log.rows, 2);
    assert_eq!(Findings::read(Keyword::GitStatus, "On branch main. Nothing has changed: the working tree is clean.").rows, 0);
    assert_eq!(Findings::read(Keyword::Calculate, "15% of 240 = 36").cells, ["36"]);
    assert!(Findings::read(Keyword::Sql, "error: there is no table").failed);
}

fn token(linked: &Linked, wanted: &dyn Fn(&Referent) -> bool) -> Token {
    linked.references.iter().find(|(_, referent)| wanted(referent)).map(|(token, _)| *token).expect("it is linked")
}

fn linked(request: &str) -> Linked {
    let column = |name: &str, data_type: &str, values: &[&str]| ColumnSchema {
        name: name.to_owned(),
        data_type: data_type.to_owned(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    let orders = vec![column("id", "BIGINT", &[]), column("region", "VARCHAR", &["north", "south"]), column("Total Amount", "DECIMAL(10,2)", &[]), column("ordered_at", "DATE", &[])];
    let readings = vec![column("room", "VARCHAR", &["lab", "attic"]), column("temperature", "DOUBLE", &[])];
    let environment = Environment {
        tables: vec![TableSchema { name: "orders".into(), columns: orders }, TableSchema { name: "readings".into(), columns: readings }],
        files: ["README.md", "src/main.rs", "data/orders.csv"].map(str::to_owned).to_vec(),
        branches: vec!["main".to_owned()],
        ..Environment::default()
    };
    let linked = link(request, &environment, &mut Numbering::in_order());
    assert_eq!(linked.prompt.last(), Some(&super::Piece::Token(Keyword::Call.token())));
    linked
}
