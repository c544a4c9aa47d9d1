//! Cutting: what the pieces are, that nothing is lost, and that nothing panics.

use std::path::{Path, PathBuf};

use codriver_memory::chunk::{
    BUDGET, Chunk, ChunkError, Kind, Place, chunk, chunk_pages, chunk_table, chunk_text, decode,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::files::{parquet, pdf};

fn titles(chunks: &[Chunk]) -> Vec<&str> {
    chunks.iter().map(|chunk| chunk.title.as_str()).collect()
}

fn whole(chunks: &[Chunk]) -> String {
    chunks.iter().map(|chunk| chunk.text.as_str()).collect()
}

/// The piece that has these words, which only one may have.
fn with<'a>(chunks: &'a [Chunk], words: &str) -> &'a Chunk {
    let found: Vec<&Chunk> = chunks.iter().filter(|chunk| chunk.text.contains(words)).collect();
    assert_eq!(found.len(), 1, "{words:?} in {:?}", titles(chunks));
    found[0]
}

fn lines(chunk: &Chunk) -> (usize, usize) {
    match chunk.place {
        Place::Lines { first, last } => (first, last),
        ref other => panic!("{other:?}"),
    }
}

/// A function that is worth a piece of its own.
fn long(body: &str) -> String {
    (0..9).map(|line| format!("        {body}_{line}(alpha, beta, gamma);\n")).collect()
}

#[test]
fn rust_is_cut_at_items_and_members() {
    let source = format!(
        "//! About parsing.\n\nuse std::fmt;\n\n/// A parser.\n///\n/// It parses.\n#[derive(Debug)]\npub struct Parser {{ at: usize }}\n\n\
         impl Parser {{\n    /// Goes one step.\n    #[inline]\n    pub fn step(&mut self) {{\n{}    }}\n\n    // Private.\n    fn back(&self) {{\n{}    }}\n}}\n\n\
         mod inner {{\n    fn helper() {{\n{}    }}\n}}\n",
        long("forward"),
        long("backward"),
        long("assist")
    );
    let chunks = chunk_text("src/parser.rs", Kind::Rust, &source);
    assert_eq!(whole(&chunks), source);
    let step = with(&chunks, "forward_0");
    assert_eq!(step.title, "src/parser.rs › impl Parser › fn step");
    assert!(
        step.text.contains("/// Goes one step.\n    #[inline]") && step.text.contains("forward_8"),
        "{}",
        step.text
    );
    let back = with(&chunks, "backward_0");
    assert_eq!(back.title, "src/parser.rs › impl Parser › fn back");
    assert!(back.text.trim_start().starts_with("// Private."), "{}", back.text);
    assert!(with(&chunks, "assist_0").title.starts_with("src/parser.rs › mod inner"));
    let parser = with(&chunks, "/// A parser.");
    assert!(
        parser.text.contains("#[derive(Debug)]\npub struct Parser") && parser.title.ends_with("struct Parser"),
        "{parser:?}"
    );
    let (first, last) = lines(step);
    let expected: Vec<&str> = source.lines().skip(first - 1).take(last + 1 - first).collect();
    assert_eq!(expected.join("\n").trim(), step.text.trim());
}

#[test]
fn a_long_function_is_split_and_its_parts_say_what_they_belong_to() {
    let body: String =
        (0..120).map(|line| format!("    let value_{line} = compute(value_{line}, {line});\n")).collect();
    let source =
        format!("/// Computes.\nfn enormous(input: u32) -> u32 {{\n{body}    value_119\n}}\n\nfn tiny() {{}}\n");
    let chunks = chunk_text("lib.rs", Kind::Rust, &source);
    assert_eq!(whole(&chunks), source);
    assert!(chunks.len() > 5);
    assert!(
        chunks[0].text.starts_with("/// Computes.\nfn enormous") && chunks[0].title == "lib.rs › fn enormous",
        "{:?}",
        chunks[0]
    );
    assert_eq!(chunks[1].title, "lib.rs › fn enormous (2)");
    let tiny = with(&chunks, "fn tiny");
    assert_eq!(tiny.title, "lib.rs › fn tiny");
    assert!(!tiny.text.contains("value_"));
}

#[test]
fn every_language_names_what_it_defines() {
    let cases: [(Kind, String, &[(&str, &str)]); 6] = [
        (
            Kind::Python,
            format!(
                "\"\"\"Module.\"\"\"\nimport os\n\n\nclass Store:\n    \"\"\"Keeps.\"\"\"\n\n    @property\n    def size(self):\n{}\n    # Adds.\n    def add(self, item):\n{}\n\n@cache\ndef main():\n{}",
                long("measure"),
                long("insert"),
                long("start")
            ),
            &[("measure_0", "class Store › def size"), ("insert_0", "class Store › def add"), ("start_0", "def main")],
        ),
        (
            Kind::JavaScript,
            format!(
                "// Setup.\nimport x from 'y';\n\nexport class Cart {{\n  total() {{\n{}  }}\n  clear() {{\n{}  }}\n}}\n\nexport const load = async () => {{\n{}}};\n",
                long("sum"),
                long("drop"),
                long("get")
            ),
            &[("sum_0", "class Cart › total"), ("drop_0", "class Cart › clear"), ("get_0", "load")],
        ),
        (
            Kind::TypeScript,
            format!(
                "export interface Shape {{ area(): number }}\n\nnamespace Geometry {{\n  export function scale(by: number): void {{\n{}  }}\n}}\n\n/** Draws. */\nexport abstract class Pen {{\n  abstract down(): void;\n  draw(): void {{\n{}  }}\n}}\n",
                long("grow"),
                long("line")
            ),
            &[("grow_0", "namespace Geometry"), ("line_0", "class Pen")],
        ),
        (
            Kind::Tsx,
            format!(
                "export function App(): JSX.Element {{\n{}  return <Frame title=\"x\"><b>hello</b></Frame>;\n}}\n",
                long("use")
            ),
            &[("use_0", "function App")],
        ),
        (
            Kind::Shell,
            format!(
                "#!/bin/bash\nset -e\n\n# Deploys.\ndeploy() {{\n{}}}\n\nfunction rollback {{\n{}}}\n",
                long("push").replace(['(', ')', ';'], ""),
                long("pull").replace(['(', ')', ';'], "")
            ),
            &[("push_0", "deploy()"), ("pull_0", "rollback()")],
        ),
        (
            Kind::Sql,
            format!(
                "-- Money.\nCREATE TABLE shop.orders (\n{}  total DECIMAL\n);\n\nCREATE VIEW monthly AS\nSELECT\n{}  1 AS one\nFROM shop.orders;\n",
                (0..25).map(|column| format!("  column_{column} INTEGER NOT NULL,\n")).collect::<String>(),
                (0..25).map(|column| format!("  sum(column_{column}) AS sum_{column},\n")).collect::<String>()
            ),
            &[("column_0 INTEGER", "table shop.orders"), ("AS sum_0,", "view monthly")],
        ),
    ];
    for (kind, source, expected) in cases {
        let chunks = chunk_text("file", kind, &source);
        assert_eq!(whole(&chunks), source, "{kind:?}");
        for (words, title) in expected {
            let found = with(&chunks, words);
            assert!(
                found.title.contains(title),
                "{kind:?}: {words} is in {:?}, all: {:?}",
                found.title,
                titles(&chunks)
            );
        }
    }
}

#[test]
fn small_things_share_a_piece_and_say_so() {
    let source: String = (0..40).map(|number| format!("const LIMIT_{number}: usize = {number};\n")).collect();
    let chunks = chunk_text("limits.rs", Kind::Rust, &source);
    assert_eq!(whole(&chunks), source);
    assert!(chunks.len() < 10, "{:?}", titles(&chunks));
    assert!(
        chunks[0].title.starts_with("limits.rs › const LIMIT_0, const LIMIT_1,") && chunks[0].title.ends_with('…'),
        "{}",
        chunks[0].title
    );
}

#[test]
fn markdown_keeps_the_path_of_headings_and_whole_blocks() {
    let prose = "Every sentence of this paragraph says something that is rather long. ".repeat(8);
    let code: String = (0..30).map(|line| format!("run --step {line} --verbose\n")).collect();
    let table: String = (0..30).map(|row| format!("| name {row} | value {row} |\n")).collect();
    let source = format!(
        "---\ntitle: Guide\n---\n\n# Guide\n\n{prose}\n\n## Install\n\n### From source\n\n{prose}\n\n```bash\n# not a heading\n{code}```\n\n## Options\n\n| name | value |\n|---|---|\n{table}\nEnd.\n"
    );
    let chunks = chunk_text("guide.md", Kind::Markdown, &source);
    assert_eq!(whole(&chunks), source);
    let code = with(&chunks, "run --step 0");
    assert!(code.title.starts_with("guide.md › Guide › Install › From source"), "{}", code.title);
    assert!(code.text.contains("--step 29 "), "a code block stays whole");
    let table = with(&chunks, "| name 0 |");
    assert!(table.title.starts_with("guide.md › Guide › Options"), "{}", table.title);
    assert!(table.text.contains("| name 29 |"), "a table stays whole");
    assert!(!titles(&chunks).iter().any(|title| title.contains("not a heading")));
}

#[test]
fn notebooks_are_cut_by_cell_with_what_came_out() {
    let notebook = serde_json::json!({
        "nbformat": 4, "nbformat_minor": 5,
        "metadata": {"language_info": {"name": "python"}},
        "cells": [
            {"cell_type": "markdown", "id": "a1", "metadata": {}, "source": ["# Sales\n"]},
            {"cell_type": "markdown", "id": "a2", "metadata": {}, "source": "## By region\nWe group by region."},
            {"cell_type": "code", "id": "a3", "metadata": {}, "execution_count": 1, "source": ["df.groupby('region')\n", "  .sum()"], "outputs": [
                {"output_type": "stream", "name": "stderr", "text": ["\u{1b}[31mwarning\u{1b}[0m: slow\n"]},
                {"output_type": "execute_result", "metadata": {}, "execution_count": 1, "data": {"text/plain": ["north 12\n", "south 30"], "image/png": "iVBOR"}}]},
            {"cell_type": "code", "id": "a4", "metadata": {}, "execution_count": 2, "source": "1/0", "outputs": [
                {"output_type": "error", "ename": "ZeroDivisionError", "evalue": "division by zero", "traceback": []}]},
            {"cell_type": "code", "id": "a5", "metadata": {}, "execution_count": null, "source": "", "outputs": []},
            {"cell_type": "code", "id": "a6", "metadata": {}, "execution_count": null, "source": "%%sql\nSELECT 1", "outputs": [
                {"output_type": "display_data", "metadata": {}, "data": {"text/html": "<table><tr><th>one</th></tr><tr><td>41</td></tr></table>"}}]},
        ]
    });
    let chunks = chunk("sales.ipynb", Kind::Notebook, notebook.to_string().as_bytes()).unwrap();
    let grouped = with(&chunks, "groupby");
    assert_eq!(grouped.title, "sales.ipynb › Sales › By region › cell 3");
    assert_eq!(grouped.place, Place::Cell { number: 3, id: Some("a3".to_owned()) });
    for words in ["warning: slow", "south 30", "[image/png]"] {
        assert!(grouped.text.contains(words), "{words} in {}", grouped.text);
    }
    assert!(with(&chunks, "1/0").text.contains("ZeroDivisionError: division by zero"));
    assert!(with(&chunks, "SELECT 1").text.contains("| 41"));
    assert_eq!(chunks.len(), 4, "{:?}", titles(&chunks));
    assert!(matches!(chunk("x.ipynb", Kind::Notebook, b"[1, 2"), Err(ChunkError::Notebook(_))));
    assert!(matches!(chunk("x.ipynb", Kind::Notebook, b"{}"), Err(ChunkError::Notebook(_))));
}

#[test]
fn pages_of_the_web_lose_what_stands_around() {
    let page = "<!DOCTYPE html><html><head><title>Rust  book</title><style>p{color:red}</style></head><body><nav><a>Home</a></nav>\
        <header>Banner</header><main><h1>Ownership</h1><p>Each value has an <b>owner</b>.</p><h2>Moves</h2><p>A move&nbsp;takes it.</p>\
        <pre>let a = 1;\n  let b = a;</pre><ul><li>one<li>two</ul><table><tr><th>x</th><td>1</td></tr></table><script>alert(1)</script></main>\
        <footer>© nobody</footer></body></html>";
    let chunks = chunk("https://example.org/a", Kind::Html, page.as_bytes()).unwrap();
    let text = whole(&chunks);
    for words in ["Each value has an owner.", "let a = 1;\n  let b = a;", "- one\n- two", "| x | 1"] {
        assert!(text.contains(words), "{words:?} in {text}");
    }
    for words in ["Home", "Banner", "nobody", "alert", "color"] {
        assert!(!text.contains(words), "{words:?} in {text}");
    }
    assert!(chunks[0].title.starts_with("https://example.org/a › Rust book › Ownership"), "{:?}", titles(&chunks));
}

#[test]
fn every_encoding_of_text_is_read() {
    let text = "Grüße aus Köln\nzweite Zeile\n";
    let utf_16 = |bytes: fn(u16) -> [u8; 2], mark: bool| -> Vec<u8> {
        let mark: &[u16] = if mark { &[0xfeff] } else { &[] };
        mark.iter().copied().chain(text.encode_utf16()).flat_map(bytes).collect()
    };
    let latin_1: Vec<u8> = text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect();
    let encodings = [
        text.as_bytes().to_vec(),
        [b"\xef\xbb\xbf", text.as_bytes()].concat(),
        utf_16(u16::to_le_bytes, true),
        utf_16(u16::to_be_bytes, true),
        utf_16(u16::to_le_bytes, false),
        utf_16(u16::to_be_bytes, false),
        latin_1,
    ];
    for (number, bytes) in encodings.iter().enumerate() {
        assert_eq!(decode(bytes).as_deref(), Some(text), "encoding {number}");
    }
    let mut random = StdRng::seed_from_u64(1);
    let noise: Vec<u8> = (0..4096).map(|_| random.random()).collect();
    assert_eq!(decode(&noise), None);
    assert_eq!(decode(b"\x7fELF\0\0\0\x01\x02"), None);
    assert!(matches!(chunk("a.rs", Kind::Rust, b"fn\0main"), Err(ChunkError::Binary)));
    assert_eq!(chunk("a.txt", Kind::Text, b"").unwrap(), []);
}

#[test]
fn long_lines_and_no_lines_are_bounded() {
    let sentence = "This sentence goes on for a while and then it ends. ";
    let cases = [
        sentence.repeat(4_000),
        "x".repeat(300_000),
        "日本語の文章です。".repeat(10_000),
        format!("var a=[{}];", "1234,".repeat(50_000)),
        "a\n".repeat(100_000),
        " ".repeat(200_000),
        "\n".repeat(200_000),
        "\u{301}".repeat(10_000),
    ];
    for source in cases {
        for kind in [Kind::Text, Kind::Markdown, Kind::Python] {
            let chunks = chunk_text("long", kind, &source);
            assert_eq!(whole(&chunks), source);
            let longest = chunks.iter().map(|chunk| chunk.text.len()).max().unwrap();
            assert!(
                longest <= 16 * 1024,
                "{longest} bytes in a piece of {:?}",
                source.chars().take(20).collect::<String>()
            );
        }
    }
    let chunks = chunk_text("long", Kind::Text, &sentence.repeat(100));
    assert!(chunks.iter().all(|chunk| chunk.text.trim_end().ends_with('.')), "cut behind sentences");
}

#[test]
fn nesting_without_end_is_no_danger() {
    let deep = |open: &str, close: &str, times: usize| format!("{}{}", open.repeat(times), close.repeat(times));
    let cases = [
        (Kind::Rust, deep("(", ")", 50_000)),
        (Kind::Rust, deep("mod a {\n", "}\n", 5_000)),
        (Kind::Python, deep("[", "]", 50_000)),
        (Kind::Python, (0..1_500).map(|level| format!("{}if x:\n", " ".repeat(level))).collect()),
        (Kind::JavaScript, deep("{", "}", 50_000)),
        (Kind::TypeScript, deep("a<", ">", 20_000)),
        (Kind::Tsx, deep("<a>", "</a>", 20_000)),
        (Kind::Sql, format!("SELECT {}", deep("(", ")", 20_000))),
        (Kind::Shell, deep("$(", ")", 20_000)),
        (Kind::Markdown, deep("> ", "", 20_000)),
        (Kind::Markdown, (0..2_000).map(|level| format!("{}- a\n", " ".repeat(level))).collect()),
        (Kind::Markdown, deep("[", "](", 20_000)),
    ];
    for (kind, source) in cases {
        let started = std::time::Instant::now();
        let chunks = chunk_text("deep", kind, &source);
        assert_eq!(whole(&chunks), source, "{kind:?}");
        assert!(started.elapsed().as_secs() < 30, "{kind:?} took {:?}", started.elapsed());
    }
    let page = deep("<div><p>", "</p></div>", 3_000);
    assert!(chunk("deep", Kind::Html, page.replace("</p>", "x</p>").as_bytes()).is_ok());
    let notebook = format!("{{\"cells\": {}}}", deep("[", "]", 50_000));
    assert!(chunk("deep", Kind::Notebook, notebook.as_bytes()).is_err());
}

/// Files of this repository and of the standard library.
fn real_files() -> Vec<PathBuf> {
    let root = Path::new("..");
    let mut files: Vec<PathBuf> = ignore::WalkBuilder::new(root)
        .build()
        .flatten()
        .map(ignore::DirEntry::into_path)
        .filter(|path| path.is_file() && path.metadata().is_ok_and(|metadata| metadata.len() < 300_000))
        .collect();
    let sysroot = std::process::Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let library = PathBuf::from(String::from_utf8(sysroot.stdout).unwrap().trim()).join("lib/rustlib/src/rust/library");
    for file in [
        "alloc/src/vec/mod.rs",
        "core/src/num/int_macros.rs",
        "std/src/collections/hash/map.rs",
        "core/src/macros/mod.rs",
    ] {
        files.extend(Some(library.join(file)).filter(|path| path.is_file()));
    }
    files.sort();
    files
}

#[test]
fn the_pieces_of_real_files_are_the_files() {
    let (mut pieces, mut within) = (0, 0);
    for path in real_files() {
        let bytes = std::fs::read(&path).unwrap();
        let kind = Kind::of(&path, &bytes[..bytes.len().min(512)]);
        if matches!(kind, Kind::Notebook | Kind::Html | Kind::Pdf | Kind::Parquet) {
            continue;
        }
        let Some(text) = decode(&bytes) else { continue };
        let chunks = chunk_text("file", kind, &text);
        assert_eq!(whole(&chunks), text, "{}", path.display());
        let mut line = 0;
        for piece in &chunks {
            let (first, last) = lines(piece);
            assert!(first > 0 && first <= last && first >= line, "{}: {first}-{last} after {line}", path.display());
            line = last;
            pieces += 1;
            within += usize::from(piece.text.len() <= 6 * BUDGET);
        }
    }
    assert!(pieces > 2_000, "{pieces}");
    assert!(within * 100 >= pieces * 99, "{within} of {pieces} are of a reasonable size");
}

#[test]
fn files_broken_by_chance_are_cut_all_the_same() {
    let seed =
        std::env::var("CODRIVER_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("CODRIVER_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let files: Vec<(Kind, Vec<u8>)> = real_files()
        .into_iter()
        .map(|path| (Kind::of(&path, b""), std::fs::read(path).unwrap()))
        .filter(|(kind, bytes)| !matches!(kind, Kind::Pdf | Kind::Parquet) && !bytes.is_empty() && bytes.len() < 60_000)
        .collect();
    let kinds = [
        Kind::Rust,
        Kind::Python,
        Kind::Sql,
        Kind::JavaScript,
        Kind::TypeScript,
        Kind::Tsx,
        Kind::Shell,
        Kind::Markdown,
        Kind::Notebook,
        Kind::Html,
        Kind::Text,
    ];
    for round in 0..250 {
        let (kind, mut bytes) = files[random.random_range(0..files.len())].clone();
        // Now and then a file is not what its name says.
        let kind = if random.random_bool(0.3) { kinds[random.random_range(0..kinds.len())] } else { kind };
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..=bytes.len());
            let end = random.random_range(at..=bytes.len().min(at + 400));
            match random.random_range(0..4) {
                0 => drop(bytes.drain(at..end)),
                1 => {
                    let copied = bytes[at..end].to_vec();
                    let to = random.random_range(0..=bytes.len());
                    drop(bytes.splice(to..to, copied));
                }
                2 => bytes.truncate(at.max(1)),
                _ => {
                    let marks = [
                        "{",
                        "}",
                        "\"",
                        "'",
                        "/*",
                        "`",
                        "\u{1F600}",
                        "\r\n",
                        "(((",
                        "<",
                        "$(",
                        "\\",
                        "#\n",
                        "```\n",
                        "\t",
                    ];
                    let mark = marks[random.random_range(0..marks.len())].bytes();
                    drop(bytes.splice(at..at, mark));
                }
            }
        }
        let Some(text) = decode(&bytes) else { continue };
        let told = format!("seed {seed}, round {round}, {kind:?}");
        if matches!(kind, Kind::Html | Kind::Notebook) {
            // Broken JSON is an error; a broken page is a page.
            assert!(chunk("broken", kind, &bytes).is_ok() || kind == Kind::Notebook, "{told}");
        } else {
            let chunks = if kind.is_table() {
                chunk_text("broken", Kind::Text, &text)
            } else {
                chunk_text("broken", kind, &text)
            };
            assert_eq!(whole(&chunks), text, "{told}");
        }
    }
}

#[test]
fn tables_are_told_by_their_columns_and_a_sample() {
    let folder = tempfile::tempdir().unwrap();
    let stop = || false;
    // A name that would be a pattern, and one that would end the query.
    for name in ["sales [1].csv", "it's*.csv"] {
        let file = folder.path().join(name);
        let rows: String = (0..250).map(|row| format!("{row},region {},{}.5\n", row % 4, row * 2)).collect();
        std::fs::write(&file, format!("id,region,amount\n{rows}")).unwrap();
        let chunks = chunk_table(name, Kind::Csv, &file, &stop).unwrap();
        let text = whole(&chunks);
        for words in [
            "table of 3 columns and 250 rows",
            "id BIGINT, 0 to 249",
            "region VARCHAR, region 0 to region 3",
            "amount DOUBLE",
            "0 | region 0 | 0.5",
        ] {
            assert!(text.contains(words), "{words:?} in {text}");
        }
        assert!(!text.contains("5 | region 1 |"), "only the first rows");
    }
    let lines = folder.path().join("events.jsonl");
    std::fs::write(&lines, "{\"kind\": \"click\", \"at\": 1}\n{\"kind\": null, \"at\": 2}\n").unwrap();
    let text = whole(&chunk_table("events.jsonl", Kind::JsonLines, &lines, &stop).unwrap());
    assert!(text.contains("2 columns and 2 rows") && text.contains("50 % NULL"), "{text}");
    let binary = folder.path().join("numbers.parquet");
    parquet(&binary);
    let text = whole(&chunk_table("numbers.parquet", Kind::Parquet, &binary, &stop).unwrap());
    assert!(text.contains("2 columns and 1000 rows") && text.contains("square BIGINT, 0 to 998001"), "{text}");
    std::fs::write(&binary, b"PAR1 and then nothing of the kind").unwrap();
    assert!(matches!(chunk_table("numbers.parquet", Kind::Parquet, &binary, &stop), Err(ChunkError::Table(_))));
    let wide = folder.path().join("wide.tsv");
    let names: Vec<String> = (0..800).map(|column| format!("measurement_{column}")).collect();
    std::fs::write(&wide, format!("{}\n{}\n", names.join("\t"), vec!["1"; 800].join("\t"))).unwrap();
    let chunks = chunk_table("wide.tsv", Kind::Tsv, &wide, &stop).unwrap();
    assert!(chunks.len() > 10 && whole(&chunks).contains("measurement_799"), "{}", chunks.len());
    assert!(chunks.iter().all(|chunk| chunk.text.len() <= 6 * BUDGET));
}

#[test]
fn pdf_files_are_cut_by_page() {
    let long = "Ownership is a set of rules that govern how a program manages memory.";
    let bytes = pdf(&[&["Chapter one", long], &["Chapter two", "Borrowing"]]);
    let chunks = chunk("book.pdf", Kind::Pdf, &bytes).unwrap();
    let one = with(&chunks, "Chapter one");
    assert_eq!((one.title.as_str(), &one.place), ("book.pdf › page 1", &Place::Page { number: 1 }));
    assert!(one.text.contains("manages memory."), "{}", one.text);
    assert_eq!(with(&chunks, "Borrowing").place, Place::Page { number: 2 });
    assert_eq!(chunk_pages("x", &[String::new()]), []);

    // Broken files are errors or less text, never a panic. (Hostile ones are read in a process of their own.)
    let mut random = StdRng::seed_from_u64(7);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    for _ in 0..200 {
        let mut broken = bytes.clone();
        for _ in 0..random.random_range(1..20) {
            let at = random.random_range(0..broken.len());
            broken[at] = random.random();
        }
        broken.truncate(random.random_range(1..=broken.len()));
        let outcome = chunk("broken.pdf", Kind::Pdf, &broken);
        assert!(outcome.is_ok() || matches!(outcome, Err(ChunkError::Pdf(_))));
    }
    std::panic::set_hook(hook);
}

#[test]
fn what_a_file_is_by_its_name_and_its_beginning() {
    let kind = |name: &str, beginning: &str| Kind::of(Path::new(name), beginning.as_bytes());
    assert_eq!(kind("a/B.RS", ""), Kind::Rust);
    assert_eq!(kind("run", "#!/usr/bin/env python3\n"), Kind::Python);
    assert_eq!(kind("run", "#!/bin/sh -e\n"), Kind::Shell);
    assert_eq!(kind("paper", "%PDF-1.7\n"), Kind::Pdf);
    assert_eq!(kind("page", "<!DOCTYPE html>\n"), Kind::Html);
    assert_eq!(kind("Makefile", "all:\n"), Kind::Text);
    assert_eq!(kind("config.toml", ""), Kind::Text);
    assert_eq!(Kind::of_content_type("text/html; charset=utf-8"), Some(Kind::Html));
    assert_eq!(Kind::of_content_type("text/plain"), None);
}
