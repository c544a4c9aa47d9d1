//! Rich output, in order with what the cell prints.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Shows `content` of type `mime` and returns a handle that can replace it.
pub fn display(mime: &str, content: &str) -> Display {
    Bundle::new().with(mime, content).show()
}

/// Shows HTML.
pub fn html(content: &str) -> Display {
    display("text/html", content)
}

/// Shows Markdown.
pub fn markdown(content: &str) -> Display {
    display("text/markdown", content)
}

/// One output in several MIME types; the front end picks the richest it knows.
#[derive(Debug, Clone, Default)]
pub struct Bundle {
    parts: Vec<(String, String)>,
}

impl Bundle {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a representation. Text as it is; binary types (`image/png`) in base64.
    #[must_use]
    pub fn with(mut self, mime: &str, content: &str) -> Self {
        self.parts.push((mime.to_owned(), content.to_owned()));
        self
    }

    /// Shows the bundle below what was printed so far.
    pub fn show(self) -> Display {
        let display = Display { id: new_id() };
        send("display", &display.id, &self);
        display
    }
}

/// Something shown, which can be replaced while the cell runs and after.
#[derive(Debug, Clone)]
pub struct Display {
    id: String,
}

impl Display {
    pub fn update(&self, mime: &str, content: &str) {
        self.update_bundle(Bundle::new().with(mime, content));
    }

    pub fn update_bundle(&self, bundle: Bundle) {
        send("update", &self.id, &bundle);
    }
}

/// Displays travel inside stdout, as an escape sequence that says its own length, so that
/// they stay in order with the text around them.
fn send(kind: &str, id: &str, bundle: &Bundle) {
    let mut stdout = std::io::stdout().lock();
    let message = if std::env::var_os(super::SOCKET).is_some() {
        let mut payload = Vec::new();
        put(&mut payload, id);
        for (mime, content) in &bundle.parts {
            put(&mut payload, mime);
            put(&mut payload, content);
        }
        let mut message = format!("\u{1b}]codriver;{kind};{}\u{7}", payload.len()).into_bytes();
        message.extend(payload);
        message
    } else {
        let plain = bundle.parts.iter().find(|(mime, _)| mime == "text/plain").or(bundle.parts.first());
        plain.map(|(_, content)| format!("{content}\n").into_bytes()).unwrap_or_default()
    };
    // There is nobody to tell when the notebook is gone.
    if stdout.write_all(&message).and_then(|()| stdout.flush()).is_err() {
        std::process::exit(0);
    }
}

fn put(buffer: &mut Vec<u8>, text: &str) {
    buffer.extend((text.len() as u32).to_be_bytes());
    buffer.extend(text.as_bytes());
}

/// Unlike any other in the notebook, whichever cell or process made it.
fn new_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos());
    format!("cell-{}-{now}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
