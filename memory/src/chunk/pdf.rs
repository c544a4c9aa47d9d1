//! The text of PDF files.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pdf_extract::{Document, PlainTextOutput, output_doc_page};

/// Pages read of one file.
const MOST_PAGES: usize = 5_000;

/// The text of each page; one that cannot be read is empty.
///
/// The library panics on files that break the rules, which is contained, and on hostile ones it may exhaust stack, memory
/// and time, which is not: run this in a process of its own, under limits.
pub fn pages(bytes: &[u8]) -> Result<Vec<String>, String> {
    let mut document = contained(|| Document::load_mem(bytes).map_err(|error| error.to_string()))?;
    if document.is_encrypted() {
        // Many files are encrypted with an empty password, so that they open but do not print.
        contained(|| document.decrypt("").map_err(|_| "it is encrypted with a password".to_owned()))?;
    }
    let numbers: Vec<u32> = contained(|| Ok(document.get_pages().into_keys().take(MOST_PAGES).collect()))?;
    let mut reasons = Vec::new();
    let mut texts = Vec::with_capacity(numbers.len());
    for number in numbers {
        let read = contained(|| {
            let mut text = String::new();
            let mut output = PlainTextOutput::new(&mut text);
            output_doc_page(&document, &mut output, number).map_err(|error| error.to_string())?;
            Ok(text)
        });
        texts.push(read.unwrap_or_else(|reason| {
            reasons.push(reason);
            String::new()
        }));
    }
    match reasons.into_iter().next() {
        Some(reason) if texts.iter().all(|text| text.trim().is_empty()) => Err(reason),
        _ if texts.iter().all(|text| text.trim().is_empty()) => Err("no page has text: they may be scans".to_owned()),
        _ => Ok(texts),
    }
}

fn contained<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        Err(format!("it breaks the rules of PDF ({})", message.unwrap_or_else(|| "no reason given".to_owned())))
    })
}
