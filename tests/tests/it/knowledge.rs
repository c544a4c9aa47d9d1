//! `%knowledge` and `codriver knowledge`: files and pages taken in, hostile ones too.

#[path = "../../../memory/tests/it/files.rs"]
#[allow(dead_code, reason = "memory's own tests use the rest")]
mod files;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::kernel::{Kernel, binary};
use files::pdf;

fn codriver(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(binary())
        .arg("knowledge")
        .args(arguments)
        .current_dir(folder)
        .env("CODRIVER_DATA_DIR", folder.join(".data"))
        .env("CODRIVER_PDF_SECONDS", "2")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What was printed, and that it went well.
fn done(folder: &Path, arguments: &[&str]) -> String {
    let output = codriver(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn write(folder: &Path, name: &str, contents: impl AsRef<[u8]>) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, contents).unwrap();
}

#[test]
fn a_folder_is_taken_in_listed_refreshed_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"];
        assert!(
            Command::new("git").args(identity).args(arguments).current_dir(folder).output().unwrap().status.success()
        );
    };
    write(folder, "src/lib.rs", "/// Adds.\npub fn add(a: u32, b: u32) -> u32 {\n    a + b\n}\n");
    write(folder, "docs/guide.md", "# Guide\n\nHow to add.\n");
    write(folder, ".env", "KEY=secret\n");
    git(&["init"]);
    git(&["add", "src", "docs"]);
    git(&["commit", "-m", "first"]);
    write(folder, "docs/guide.md", "# Guide\n\nHow to add numbers.\n");

    let added = done(folder, &["add", "."]);
    assert!(added.starts_with("documents: 2 added · 2 pieces of "), "{added}");
    assert!(added.contains("1 it looks like it holds secrets (.env)"), "{added}");
    let listed = done(folder, &["list"]);
    for words in ["docs/guide.md", "src/lib.rs", "Markdown", "Rust", "project"] {
        assert!(listed.contains(words), "{words} in {listed}");
    }
    let head = Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(folder).output().unwrap();
    let head = String::from_utf8(head.stdout).unwrap().trim().to_owned();
    let commit_of = |name: &str| {
        listed.lines().find(|line| line.contains(name)).is_some_and(|line| line.contains(&format!("{head}+")))
    };
    assert!(commit_of("guide.md") && !commit_of("lib.rs") && listed.contains(&head), "{listed}");
    let shown = done(folder, &["show", "src/lib.rs"]);
    assert!(shown.contains("1-4") && shown.contains("src/lib.rs › fn add"), "{shown}");

    std::fs::remove_file(folder.join("docs/guide.md")).unwrap();
    write(folder, "src/new.py", "def subtract(a, b):\n    return a - b\n");
    assert!(done(folder, &["list"]).contains("stale: gone"));
    let refreshed = done(folder, &["refresh"]);
    assert!(refreshed.starts_with("documents: 1 added, 1 gone, 1 unchanged"), "{refreshed}");
    // Elsewhere, the project's documents are not seen.
    assert!(done(folder, &["remove", "src"]).contains("2 documents are forgotten"));
    assert!(done(folder, &["list"]).contains("nothing was taken in yet"));
    let missing = codriver(folder, &["add", "nowhere"]);
    assert!(!missing.status.success() && said(&missing).contains("there is no nowhere"), "{missing:?}");
}

#[test]
fn a_hostile_pdf_file_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let good = pdf(&[&["A report about walruses"]]);
    write(folder, "good.pdf", &good);
    // A page tree that is its own parent: the library looks for the page's size for ever, or until its stack is used up.
    let endless =
        String::from_utf8(good.clone()).unwrap().replace("/MediaBox [0 0 612 792]", "/Nothing  [0 0 612 792]");
    let endless = endless.replace("<< /Type /Pages /Kids", "<< /Parent 2 0 R/Kids");
    write(folder, "endless.pdf", endless);
    write(folder, "torn.pdf", &good[..good.len() / 2]);
    write(folder, "notes.md", "# Notes\n\nAbout seals.\n");
    let output = codriver(folder, &["add", "."]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let printed = said(&output);
    assert!(printed.contains("documents: 2 added") && printed.contains("2 not read"), "{printed}");
    assert!(printed.contains("endless.pdf") && printed.contains("torn.pdf"), "{printed}");
    assert!(printed.contains("it brought the PDF reader down") || printed.contains("takes too long"), "{printed}");
    assert!(done(folder, &["show", "good.pdf"]).contains("page=1"));
}

/// Answers each path with a status, headers and a body, for ever.
fn serve(answer: impl Fn(&str) -> (u16, String, Vec<u8>) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut request = String::new();
            reader.read_line(&mut request).unwrap();
            let mut line = String::from("-");
            while line.trim() != "" {
                line.clear();
                reader.read_line(&mut line).unwrap();
            }
            let (status, headers, body) = answer(request.split(' ').nth(1).unwrap_or_default());
            let head = format!(
                "HTTP/1.1 {status} Status\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
                body.len()
            );
            // A client that has seen enough hangs up.
            if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
                continue;
            }
        }
    });
    address
}

#[test]
fn pages_are_fetched_with_care() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let address = serve(|path| match path {
        "/page" => (
            200,
            "Content-Type: text/html\r\n".to_owned(),
            b"<title>Seals</title><nav>menu</nav><p>Seals swim.</p>".to_vec(),
        ),
        "/moved" => (302, "Location: /page\r\n".to_owned(), Vec::new()),
        "/loop" => (302, "Location: /loop\r\n".to_owned(), Vec::new()),
        "/file" => (302, "Location: file:///etc/passwd\r\n".to_owned(), Vec::new()),
        "/table" => (200, "Content-Type: text/csv\r\n".to_owned(), b"name,weight\nAda,3\n".to_vec()),
        "/huge" => (200, "Content-Type: text/plain\r\n".to_owned(), vec![b'a'; 65 << 20]),
        _ => (404, String::new(), Vec::new()),
    });
    let url = |path: &str| format!("{address}{path}");
    let refused = codriver(folder, &["add", &url("/page")]);
    assert!(
        !refused.status.success() && said(&refused).contains("127.0.0.1, an address of this machine"),
        "{}",
        said(&refused)
    );
    for (path, reason) in [
        ("/loop", "from one address to the next"),
        ("/file", "only http and https are fetched"),
        ("/missing", "the server answered 404"),
        ("/huge", "it is larger than 64 MB"),
    ] {
        let failed = codriver(folder, &["add", "--allow-private", &url(path)]);
        assert!(!failed.status.success() && said(&failed).contains(reason), "{path}: {}", said(&failed));
    }
    let with_password = url("/page").replace("http://", "http://ada:lovelace@");
    let failed = codriver(folder, &["add", "--allow-private", &with_password]);
    assert!(!failed.status.success() && said(&failed).contains("leave it out"), "{}", said(&failed));
    for path in ["/moved", "/table"] {
        done(folder, &["add", "--allow-private", &url(path)]);
    }
    let listed = done(folder, &["list"]);
    assert!(listed.contains(&url("/moved")) && listed.contains("HTML") && listed.contains("CSV"), "{listed}");
    let shown = done(folder, &["show", &url("/moved")]);
    assert!(shown.contains("Seals swim.") && !shown.contains("menu"), "{shown}");
}

#[test]
fn a_notebook_shows_how_far_it_is_and_finds_what_it_read() {
    let mut kernel = Kernel::start();
    let folder = kernel.folder.path().to_owned();
    for number in 0..50 {
        write(
            &folder,
            &format!("book/chapter_{number:02}.md"),
            format!("# Chapter {number}\n\nThe animal of chapter {number} is the walrus.\n"),
        );
    }
    write(&folder, "book/<b>.md", "# <script>alert(1)</script>\n\nThe okapi lives here.\n");
    let client = &mut kernel.client;
    let done = client.execute("%knowledge add book");
    assert_eq!(done.status(), "ok");
    let shown = format!("{:?}", done.outputs);
    assert!(shown.contains("documents: 51 added") && shown.contains("51 pieces"), "{shown}");
    let found = client.execute("%memory search okapi");
    assert!(found.result().contains("okapi lives here"), "{}", found.result());
    let listed = client.execute("%knowledge list");
    let shown = format!("{:?}", listed.outputs);
    assert!(shown.contains("&lt;b&gt;.md") && !shown.contains("<b>.md</td>"), "names are escaped: {shown}");
    assert!(client.execute("%knowledge show 'book/<b>.md'").result().contains("1-3"));
    assert_eq!(client.execute("%knowledge remove book").status(), "ok");
    assert!(client.execute("%knowledge list").result().contains("nothing was taken in yet"));
    assert_eq!(client.execute("%knowledge add nowhere").error_name(), "KnowledgeError");
}
