use serde_json::json;

use super::answering::Findings;
use super::call::{self, Call};
use super::generator::Generator;
use super::grammar::State;
use super::linking::{Linked, Numbering, Period, Referent, link};
use super::notation::{Keyword, Kind, Token, kind_of};
use super::topic;
use crate::{ColumnSchema, Environment, TableSchema};

#[test]
fn every_call_the_generator_writes_is_admitted_and_complete() {
    let mut generator = Generator::new(rand::random());
    let mut seen = 0;
    while seen < 2000 {
        let Some((linked, target)) = generator.linked_call() else { continue };
        let mut state = State::Start;
        for token in &target {
            state = state
                .after(*token, &linked.references)
                .unwrap_or_else(|| panic!("{state:?} does not admit {token} for {:?}", linked.request));
        }
        assert_eq!(state, State::Done, "{:?}", linked.request);
        let call = call::read(&target, &linked);
        assert!(
            call.arguments.as_object().is_some_and(|arguments| arguments.values().all(|value| value != "")),
            "{:?}: {call:?}",
            linked.request
        );
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
        Keyword::Sql.token(),
        table,
        Keyword::All.token(),
        Keyword::Where.token(),
        north,
        Keyword::Where.token(),
        amount,
        Keyword::Above.token(),
        number,
        Keyword::Where.token(),
        date,
        Keyword::Since.token(),
        march,
        Keyword::Descending.token(),
        amount,
        Keyword::End.token(),
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
    assert!(found("run this: println!(\"{}\", 1 + 1);", &|referent| *referent
        == Referent::Code("println!(\"{}\", 1 + 1);".into())));
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
    let environment = Environment {
        tables: vec![TableSchema { name: "by_region".into(), columns: vec![column] }],
        ..Environment::default()
    };
    let mentioned = |request: &str| {
        link(request, &environment, &mut Numbering::in_order()).mentions.iter().any(|mention| mention.strength > 1)
    };
    assert!(!mentioned("total amount by region"));
    assert!(mentioned("show by_region"));
}

#[test]
fn arithmetic_is_written_with_the_parentheses_it_needs() {
    let expression = |request: &str, build: &dyn Fn(&dyn Fn(&str) -> Token) -> Vec<Token>| {
        let linked = linked(request);
        let number = |text: &str| token(&linked, &|referent| *referent == Referent::Constant(text.into()));
        let mut tokens = vec![Keyword::Calculate.token()];
        tokens.extend(build(&number));
        tokens.push(Keyword::End.token());
        let end = tokens.iter().try_fold(State::Start, |state, token| state.after(*token, &linked.references));
        assert_eq!(end, Some(State::Done), "{request}");
        call::read(&tokens, &linked).arguments["expression"].as_str().unwrap_or_default().to_owned()
    };
    let word = |keyword: Keyword| keyword.token();
    assert_eq!(
        expression("add 12 and thirty-four, then halve it: divide by 2", &|n| vec![
            n("12"),
            word(Keyword::Plus),
            n("34"),
            word(Keyword::Result),
            word(Keyword::Over),
            n("2")
        ]),
        "(12 + 34) / 2"
    );
    assert_eq!(
        expression("the mean of 3, 5 and 10", &|n| vec![word(Keyword::Average), n("3"), n("5"), n("10")]),
        "(3 + 5 + 10) / 3"
    );
    assert_eq!(
        expression("2.5 million plus 19 percent", &|n| vec![n("2500000"), word(Keyword::Increase), n("19")]),
        "2500000 * (1 + 19 / 100)"
    );
    assert_eq!(
        expression("growth from two hundred and fifty to 300", &|n| vec![word(Keyword::Change), n("250"), n("300")]),
        "(300 - 250) / 250 * 100"
    );
    assert_eq!(expression("half of 90", &|n| vec![n("90"), word(Keyword::Over), n("2")]), "90 / 2");
}

#[test]
fn queries_say_flags_alternatives_averages_and_groups_of_groups() {
    let linked = linked(
        "active rows in the north or south above average, amount by region and active, more than 3, called Smith",
    );
    let column =
        |wanted: &str| token(&linked, &|referent| matches!(referent, Referent::Column { name, .. } if name == wanted));
    let value =
        |wanted: &str| token(&linked, &|referent| matches!(referent, Referent::Value { text, .. } if text == wanted));
    let table = token(&linked, &|referent| *referent == Referent::Table("orders".into()));
    let three = token(&linked, &|referent| *referent == Referent::Constant("3".into()));
    let smith = token(
        &linked,
        &|referent| matches!(referent, Referent::Word { start, end } if &linked.request[*start..*end] == "Smith"),
    );
    let k = |keyword: Keyword| keyword.token();
    let tokens = vec![
        k(Keyword::Sql),
        table,
        k(Keyword::By),
        column("region"),
        column("is_active"),
        k(Keyword::Sum),
        column("Total Amount"),
        k(Keyword::Times),
        column("id"),
        k(Keyword::And),
        k(Keyword::Count),
        k(Keyword::Where),
        value("north"),
        k(Keyword::Or),
        value("south"),
        k(Keyword::Where),
        column("is_active"),
        k(Keyword::True),
        k(Keyword::Where),
        column("Total Amount"),
        k(Keyword::Above),
        k(Keyword::Average),
        k(Keyword::Having),
        k(Keyword::Above),
        three,
        k(Keyword::Descending),
        k(Keyword::End),
    ];
    let end = tokens.iter().try_fold(State::Start, |state, token| state.after(*token, &linked.references));
    assert_eq!(end, Some(State::Done));
    let expected = "SELECT region, is_active, SUM(\"Total Amount\" * id), COUNT(*) FROM orders WHERE (region = 'north' OR region = 'south') AND is_active \
        AND \"Total Amount\" > (SELECT AVG(\"Total Amount\") FROM orders) GROUP BY region, is_active HAVING SUM(\"Total Amount\" * id) > 3 ORDER BY SUM(\"Total Amount\" * id) DESC";
    assert_eq!(call::read(&tokens, &linked).arguments["query"], expected);
    let named = vec![
        k(Keyword::Sql),
        table,
        k(Keyword::All),
        k(Keyword::Where),
        column("region"),
        k(Keyword::Is),
        smith,
        smith,
        k(Keyword::End),
    ];
    assert_eq!(call::read(&named, &linked).arguments["query"], "SELECT * FROM orders WHERE lower(region) = 'smith'");
}

#[test]
fn forms_and_short_names_of_a_word_are_linked() {
    let mentioned = |request: &str, name: &str| {
        let environment = Environment {
            tables: vec![TableSchema {
                name: "t".into(),
                columns: vec![ColumnSchema { name: name.into(), data_type: "BIGINT".into(), values: Vec::new() }],
            }],
            ..Environment::default()
        };
        link(request, &environment, &mut Numbering::in_order())
            .mentions
            .iter()
            .any(|mention| mention.strength > 1 && kind_of(mention.token) == Some(Kind::Number))
    };
    assert!(mentioned("people aged over 40", "age"));
    assert!(mentioned("the quantity sold", "qty"));
    assert!(mentioned("mean temperature", "temp"));
    assert!(mentioned("the best rated ones", "rating"));
    assert!(!mentioned("the country with most people", "count"));
    assert!(!mentioned("show the page", "age"));
}

#[test]
fn questions_to_the_memory_are_what_they_are_about() {
    assert_eq!(topic::of("What did I tell you about the deploy window?", topic::REMEMBERED), "deploy window");
    assert_eq!(topic::of("Do you remember which port the gateway uses", topic::REMEMBERED), "port the gateway uses");
    assert_eq!(topic::of("how do I attach a bigger model in codriver?", topic::DOCUMENTED), "attach a bigger model");
    assert_eq!(topic::of("what is it", topic::REMEMBERED), "what is it");
}

#[test]
fn days_and_quarters_are_read_as_people_write_them() {
    let period = |request: &str| {
        linked(request).references.into_values().find_map(|referent| match referent {
            Referent::Period(period) => Some(period),
            _ => None,
        })
    };
    assert_eq!(period("rows after March 5, 2024"), Some(Period::Day("2024-03-05".into())));
    assert_eq!(period("rows on 21 June 2023"), Some(Period::Day("2023-06-21".into())));
    assert_eq!(period("in the second quarter of 2022"), Some(Period::Quarter { year: Some(2022), quarter: 2 }));
    assert_eq!(period("in may"), Some(Period::Month { year: None, month: 5 }));
}

#[test]
fn results_are_read_as_the_tools_write_them() {
    let table = Findings::read(Keyword::Sql, "region | total\nnorth | 12\nsouth | 7\n(2 rows)");
    assert_eq!((table.rows, table.cells), (2, vec!["north".to_owned(), "12".into(), "south".into(), "7".into()]));
    let log = Findings::read(
        Keyword::GitLog,
        "The last 2 commits:\nabc 2024-01-01 10:00 Ada: start\ndef 2024-01-01 09:00 Ada: before\n… and older ones.",
    );
    assert_eq!(log.rows, 2);
    assert_eq!(
        Findings::read(Keyword::GitStatus, "On branch main. Nothing has changed: the working tree is clean.").rows,
        0
    );
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
    let orders = vec![
        column("id", "BIGINT", &[]),
        column("region", "VARCHAR", &["north", "south"]),
        column("Total Amount", "DECIMAL(10,2)", &[]),
        column("ordered_at", "DATE", &[]),
        column("is_active", "BOOLEAN", &[]),
    ];
    let readings = vec![column("room", "VARCHAR", &["lab", "attic"]), column("temperature", "DOUBLE", &[])];
    let environment = Environment {
        tables: vec![
            TableSchema { name: "orders".into(), columns: orders },
            TableSchema { name: "readings".into(), columns: readings },
        ],
        files: ["README.md", "src/main.rs", "data/orders.csv"].map(str::to_owned).to_vec(),
        branches: vec!["main".to_owned()],
        ..Environment::default()
    };
    let linked = link(request, &environment, &mut Numbering::in_order());
    assert_eq!(linked.prompt.last(), Some(&super::Piece::Token(Keyword::Call.token())));
    linked
}
