use std::cell::Cell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use codriver_tools::files::{EntryKind, FileError, FileText, LineRange, Query, Workspace, looks_secret};

use crate::support::{Outside, link, never, write};

fn workspace(path: &Path) -> Workspace {
    Workspace::open(path).unwrap()
}

fn read(path: &Path, name: &str) -> Result<FileText, FileError> {
    workspace(path).read(name, LineRange { first: 1, last: None }, 100, 10_000, &never)
}

fn lines(path: &Path, name: &str) -> Vec<String> {
    read(path, name).unwrap().lines
}

fn list(path: &Path, folder: &str, pattern: Option<&str>) -> Vec<String> {
    let listing = workspace(path).list(folder, pattern, 100, &never).unwrap();
    listing.entries.into_iter().map(|entry| entry.path).collect()
}

fn find(path: &Path, query: &str) -> Vec<String> {
    let result = workspace(path).search(".", &Query::literal(query).unwrap(), 100, &never).unwrap();
    result.matches.into_iter().map(|found| format!("{}:{}: {}", found.path, found.line, found.text)).collect()
}

/// Each way out that is refused here leads, outside the tools, to the secret: that is the
/// positive control.
#[test]
fn nothing_leads_out_of_the_workspace() {
    let outside = Outside::new();
    let root = &outside.workspace;
    link("../outside", root.join("folder"));
    link(outside.path(), root.join("absolute"));
    link("../outside/passwords.txt", root.join("file"));
    link("folder/passwords.txt", root.join("twice"));
    link("/proc/self/root", root.join("magic"));
    let secret = outside.path().join("passwords.txt");
    let through_root = format!("magic{}", secret.display());
    let ways = [
        "../outside/passwords.txt",
        "nothing/../../outside/passwords.txt",
        "./../outside/./passwords.txt",
        "folder/passwords.txt",
        "absolute/passwords.txt",
        "file",
        "twice",
        &through_root,
        secret.to_str().unwrap(),
    ];
    fs_err::create_dir(root.join("nothing")).unwrap();
    for way in ways {
        assert_eq!(fs_err::read_to_string(root.join(way)).unwrap(), Outside::SECRET, "control: {way}");
        let error = read(root, way).unwrap_err();
        assert!(matches!(error, FileError::Outside(_) | FileError::Io { .. }), "{way}: {error:?}");
        assert!(workspace(root).search(way, &Query::literal("secret").unwrap(), 9, &never).is_err(), "{way}");
    }
    for folder in ["..", "folder", "absolute", "/", "magic", "nothing/../.."] {
        assert!(fs_err::read_dir(root.join(folder)).is_ok(), "control: {folder}");
        assert!(workspace(root).list(folder, None, 9, &never).is_err(), "{folder}");
    }
    assert_eq!(find(root, "secret"), [""; 0]);
    assert_eq!(list(root, ".", Some("**/*.txt")), ["inside.txt"]);
    assert_eq!(list(root, ".", None), ["absolute", "file", "folder", "inside.txt", "magic", "nothing/", "twice"]);
    assert_eq!(lines(root, "inside.txt"), ["inside"]);
}

/// A folder that turns into a link out of the workspace and back, as fast as it can.
#[test]
fn swapping_a_folder_for_a_link_does_not_help() {
    let outside = Outside::new();
    let root = outside.workspace.clone();
    write(&root, "real/passwords.txt", "harmless");
    link(outside.path(), root.join("out"));
    link("real", root.join("swap"));
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let (root, stop) = (root.clone(), Arc::clone(&stop));
        move || {
            let mut swaps = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                let target = if swaps.is_multiple_of(2) { "out" } else { "real" };
                link(target, root.join("next"));
                fs_err::rename(root.join("next"), root.join("swap")).unwrap();
                swaps += 1;
            }
            swaps
        }
    });
    let (mut harmless, mut refused, mut control) = (0, 0, 0);
    for _ in 0..3000 {
        match read(&root, "swap/passwords.txt") {
            Ok(text) => {
                assert_eq!(text.lines, ["harmless"]);
                harmless += 1;
            }
            Err(FileError::Outside(_)) => refused += 1,
            Err(_) => {}
        }
        let plain = std::fs::read_to_string(root.join("swap/passwords.txt"));
        control += u32::from(plain.is_ok_and(|text| text == Outside::SECRET));
    }
    stop.store(true, Ordering::Relaxed);
    assert!(swapper.join().unwrap() > 100);
    assert!(harmless > 0 && refused > 0, "both were seen: {harmless} and {refused}");
    assert!(control > 0, "control: an ordinary read is fooled at times");
}

#[test]
fn links_within_the_workspace_work() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "data/2024/table.csv", "a,b");
    link("data/2024", folder.path().join("latest"));
    link("../data/2024/table.csv", folder.path().join("data/current.csv"));
    assert_eq!(lines(folder.path(), "latest/table.csv"), ["a,b"]);
    assert_eq!(lines(folder.path(), "data/current.csv"), ["a,b"]);
    assert_eq!(list(folder.path(), "latest", None), ["latest/table.csv"]);
    let absolute = folder.path().canonicalize().unwrap().join("data/../data/2024/table.csv");
    assert_eq!(lines(folder.path(), absolute.to_str().unwrap()), ["a,b"]);
}

#[test]
fn a_workspace_may_itself_be_behind_a_link() {
    let outside = Outside::new();
    let way = outside.folder.path().join("shortcut");
    link(&outside.workspace, &way);
    assert_eq!(lines(&way, "inside.txt"), ["inside"]);
    assert!(read(&way, "../outside/passwords.txt").is_err());
}

#[test]
fn secrets_are_listed_but_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in [
        ".env",
        ".env.local",
        "prod.env",
        "server.PEM",
        "keys/id_rsa",
        ".ssh/config",
        ".aws/credentials",
        "secrets.yaml",
    ] {
        write(root, name, "TOKEN=sesame");
        assert!(matches!(read(root, name), Err(FileError::Secret(_))), "{name}");
    }
    for name in [".env.example", "keys/id_rsa.pub", "environment.rs", "tokenizer.json", "keyboard.txt", "config.json"] {
        write(root, name, "TOKEN=sesame");
        assert_eq!(lines(root, name), ["TOKEN=sesame"], "{name}");
    }
    link(".env", root.join("innocent.txt"));
    link("keys", root.join("other"));
    assert!(matches!(read(root, "innocent.txt"), Err(FileError::Secret(_))));
    assert!(matches!(read(root, "other/id_rsa"), Err(FileError::Secret(_))));
    let result = workspace(root).search(".", &Query::literal("sesame").unwrap(), 100, &never).unwrap();
    assert_eq!((result.total, result.skipped_secret), (6, 8));
    assert!(list(root, ".", None).contains(&".env".to_owned()));
    assert!(read(root, ".env").unwrap_err().to_string().contains("looks like it holds secrets"));
    assert!(!looks_secret(Path::new("")));
}

#[test]
fn gits_own_files_are_closed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for repository in [".git", "vendor/.git"] {
        write(root, &format!("{repository}/config"), "[remote]\nurl = https://token@host/");
        assert!(read(root, &format!("{repository}/config")).is_err());
    }
    link(".git", root.join("storage"));
    assert!(matches!(read(root, "storage/config"), Err(FileError::Secret(_))));
    assert_eq!(find(root, "token"), [""; 0]);
    assert_eq!(list(root, ".", Some("config")), [""; 0]);
}

#[test]
fn ranges_and_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let text: String = (1..=1000).map(|number| format!("line {number}\n")).collect();
    write(root, "long.txt", &text);
    let read = |first, last, most_lines, most_bytes| {
        workspace(root).read("long.txt", LineRange { first, last }, most_lines, most_bytes, &never)
    };
    let piece = read(10, Some(12), 100, 10_000).unwrap();
    assert_eq!(piece.lines, ["line 10", "line 11", "line 12"]);
    assert_eq!((piece.total_lines, piece.last_line(), piece.has_more()), (Some(1000), 12, true));
    let capped = read(1, None, 100, 10_000).unwrap();
    assert_eq!((capped.lines.len(), capped.last_line(), capped.total_lines), (100, 100, Some(1000)));
    let small = read(1, None, 100, 50).unwrap();
    assert_eq!(small.lines.len(), 7, "{:?}", small.lines);
    let end = read(999, Some(5000), 100, 10_000).unwrap();
    assert_eq!((end.lines.len(), end.has_more()), (2, false));
    let error = read(1001, None, 100, 10_000).unwrap_err();
    assert_eq!(error.to_string(), "long.txt has 1,000 lines; line 1001 does not exist");
}

#[test]
fn one_endless_line_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "wide.json", format!("short\n{}\nlast", "é".repeat(3_000_000)));
    let text = read(folder.path(), "wide.json").unwrap();
    assert_eq!(text.total_lines, Some(3));
    assert!(
        text.lines[1].len() < 2100 && text.lines[1].ends_with("(6 MB more on this line)"),
        "{}",
        &text.lines[1][1900..]
    );
    assert_eq!(text.lines[2], "last");
    assert!(!text.lossy, "cutting a character in two is no fault of the file");
    write(folder.path(), "wide.txt", format!("{} needle {}", "x".repeat(500_000), "y".repeat(500_000)));
    let found = find(folder.path(), "needle");
    assert!(found[0].len() < 300 && found[0].contains(" needle "), "{found:?}");
}

#[test]
fn every_kind_of_text() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, "dos.txt", "\u{feff}one\r\ntwo\r\n");
    let dos = read(root, "dos.txt").unwrap();
    assert_eq!(dos.lines, ["one", "two"]);
    assert!(dos.carriage_returns && !dos.lossy);
    assert_eq!(find(root, "two"), ["dos.txt:2: two"]);
    write(root, "latin.txt", b"caf\xe9");
    let latin = read(root, "latin.txt").unwrap();
    assert_eq!((latin.lines, latin.lossy), (vec!["caf\u{fffd}".to_owned()], true));
    write(root, "empty.txt", "");
    let empty = read(root, "empty.txt").unwrap();
    assert_eq!((empty.lines.len(), empty.total_lines), (0, Some(0)));
    assert!(!empty.has_more());
    write(root, "blank.txt", "\n\n");
    assert_eq!(lines(root, "blank.txt"), ["", ""]);
}

#[test]
fn binary_files_are_named_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, "image.png", b"\x89PNG\r\n\x1a\n\0\0");
    write(root, "table.parquet", b"PAR1....");
    write(root, "blob.bin", b"abc\0def");
    let error = |name| read(root, name).unwrap_err().to_string();
    assert_eq!(error("image.png"), "image.png is a binary file (PNG image, 10 bytes), not text");
    assert!(error("table.parquet").contains("Parquet table"));
    assert!(error("blob.bin").contains("unknown kind"));
    let result = workspace(root).search(".", &Query::literal("def").unwrap(), 9, &never).unwrap();
    assert_eq!((result.total, result.skipped_binary), (0, 3));
}

#[test]
fn what_is_no_file_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, "sub/report.csv", "a");
    assert!(std::process::Command::new("mkfifo").arg(root.join("pipe")).status().unwrap().success());
    assert!(matches!(read(root, "pipe"), Err(FileError::Special(_))));
    let _listener = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    assert!(matches!(read(root, "socket"), Err(FileError::Special(_))));
    assert!(matches!(read(root, "sub"), Err(FileError::IsFolder(_))));
    assert!(matches!(read(root, "sub/report.csv/x"), Err(FileError::NotFolder(_))));
    assert_eq!(
        read(root, "sub/reprot.csv").unwrap_err().to_string(),
        "there is no sub/reprot.csv; did you mean sub/report.csv?"
    );
    assert_eq!(read(root, "nowhere/x").unwrap_err().to_string(), "there is no nowhere/x");
    assert!(matches!(read(root, "a\0b"), Err(FileError::InvalidArgument(_))));
    assert_eq!(find(root, "a"), ["sub/report.csv:1: a"], "the pipe does not hang the search");
    assert!(matches!(Workspace::open(&root.join("gone")), Err(FileError::Workspace(_))));
}

#[test]
fn ignored_files_stay_out() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, ".gitignore", "*.log\n/target/\n!keep.log\ndata/**/big\n");
    write(root, "sub/.gitignore", "local.txt\n!sub.log\n");
    for name in [
        "a.log",
        "keep.log",
        "target/x.txt",
        "src/target/x.txt",
        "sub/sub.log",
        "sub/b.log",
        "sub/local.txt",
        "local.txt",
        "data/1/big/x.txt",
    ] {
        write(root, name, "needle");
    }
    write(root, ".git/info/exclude", "private\n");
    write(root, "private/x.txt", "needle");
    assert_eq!(
        find(root, "needle"),
        ["keep.log:1: needle", "local.txt:1: needle", "src/target/x.txt:1: needle", "sub/sub.log:1: needle"]
    );
    assert_eq!(list(root, "sub", None), ["sub/.gitignore", "sub/sub.log"]);
    assert_eq!(lines(root, "a.log"), ["needle"], "one that is asked for by name is read");
    let inner = workspace(&root.join("sub")).list(".", None, 9, &never).unwrap();
    assert_eq!(inner.total, 2, "rules above the workspace count too: {inner:?}");
}

#[test]
fn listings() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["b.csv", "A.CSV", "src/main.rs", "src/deep/er.rs", "notes/report 1.md"] {
        write(root, name, "12345");
    }
    fs_err::create_dir(root.join("void")).unwrap();
    let listing = workspace(root).list("", None, 100, &never).unwrap();
    let shown: Vec<(&str, EntryKind)> = listing.entries.iter().map(|entry| (entry.path.as_str(), entry.kind)).collect();
    assert_eq!(
        shown,
        [
            ("A.CSV", EntryKind::File { bytes: 5 }),
            ("b.csv", EntryKind::File { bytes: 5 }),
            ("notes/", EntryKind::Folder { files: 1 }),
            ("src/", EntryKind::Folder { files: 2 }),
            ("void/", EntryKind::Folder { files: 0 }),
        ]
    );
    assert_eq!(list(root, ".", Some("*.csv")), ["A.CSV", "b.csv"]);
    assert_eq!(list(root, ".", Some("src/**/*.rs")), ["src/deep/er.rs", "src/main.rs"]);
    assert_eq!(list(root, "src", Some("*.rs")), ["src/deep/er.rs", "src/main.rs"]);
    assert_eq!(list(root, ".", Some("report")), ["notes/report 1.md"]);
    assert_eq!(list(root, "src/main.rs", None), ["src/main.rs"]);
    assert!(matches!(workspace(root).list(".", Some("[a"), 9, &never), Err(FileError::InvalidArgument(_))));
    let few = workspace(root).list(".", None, 2, &never).unwrap();
    assert_eq!((few.entries.len(), few.total), (2, 5));
}

#[test]
fn hostile_names_cannot_break_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in [
        &b"new\nline.txt"[..],
        b"\x1b[31mred.txt",
        b"not-utf8-\xff.txt",
        b"quote\".txt",
        "bidi\u{202e}txt.exe".as_bytes(),
    ] {
        fs_err::write(root.join(OsStr::from_bytes(name)), "needle").unwrap();
    }
    assert_eq!(
        list(root, ".", None),
        [
            r#""\033[31mred.txt""#,
            r#""bidi\342\200\256txt.exe""#,
            r#""new\nline.txt""#,
            r#""not-utf8-\377.txt""#,
            r#""quote\".txt""#
        ]
    );
    assert_eq!(find(root, "needle").len(), 5);
    assert_eq!(lines(root, "new\nline.txt"), ["needle"]);
    assert!(!read(root, "\u{1b}[31mgone").unwrap_err().to_string().contains('\u{1b}'));
}

#[test]
fn searching() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, "a.rs", "fn Main() {\n    main(a.b);\n}\n");
    write(root, "sub/b.rs", "// MAIN\nfn axb() {}\n");
    assert_eq!(find(root, "main"), ["a.rs:1: fn Main() {", "a.rs:2:     main(a.b);", "sub/b.rs:1: // MAIN"]);
    assert_eq!(find(root, "Main"), ["a.rs:1: fn Main() {"]);
    assert_eq!(find(root, "a.b"), ["a.rs:2:     main(a.b);"], "a literal is no expression");
    let regex = |query: &str| workspace(root).search("sub", &Query::regex(query).unwrap(), 9, &never).unwrap().total;
    assert_eq!(regex("a.b"), 1);
    assert_eq!(regex(r"^fn \w+\(\)"), 1);
    assert_eq!(regex("main"), 0);
    assert!(matches!(Query::regex("(a"), Err(FileError::InvalidArgument(_))));
    assert!(Query::literal("").is_err());
    // Would take forever in an engine that backtracks.
    write(root, "evil.txt", "a".repeat(30_000));
    assert_eq!(workspace(root).search("evil.txt", &Query::regex("(a*)*b").unwrap(), 9, &never).unwrap().total, 0);
    let many: String = "hit\n".repeat(500);
    write(root, "many.txt", many);
    let result = workspace(root).search(".", &Query::literal("hit").unwrap(), 10, &never).unwrap();
    assert_eq!((result.matches.len(), result.total, result.files_with_matches), (10, 500, 1));
}

#[test]
fn an_interrupt_ends_a_search_a_read_and_a_walk() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, "large.txt", "some text on a line\n".repeat(1_000_000));
    for number in 0..50 {
        write(root, &format!("folder{number}/x.txt"), "x");
    }
    let after = |calls: u32| {
        let left = Cell::new(calls);
        move || {
            left.set(left.get().saturating_sub(1));
            left.get() == 0
        }
    };
    let query = Query::literal("nowhere").unwrap();
    assert_eq!(workspace(root).search("large.txt", &query, 9, &after(5)), Err(FileError::Interrupted));
    let range = LineRange { first: 1, last: None };
    assert_eq!(workspace(root).read("large.txt", range, 9, 999, &after(5)), Err(FileError::Interrupted));
    assert_eq!(workspace(root).list(".", None, 9, &after(5)), Err(FileError::Interrupted));
}

#[test]
fn a_tree_without_end_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut path = root.to_path_buf();
    for _ in 0..100 {
        path.push("d");
    }
    fs_err::create_dir_all(&path).unwrap();
    link(root, path.join("loop"));
    link("self", root.join("self"));
    write(root, "file.txt", "x");
    assert_eq!(list(root, ".", Some("*.txt")), ["file.txt"]);
    assert!(read(root, "self").is_err());
}
