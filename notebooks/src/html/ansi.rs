//! Terminal text as HTML.

use ansi_to_html::Converter;

use crate::terminal::{settle_lines, strip_controls};

/// Colours become CSS variables (`--ansi-red`, ...) so that they follow the theme.
pub fn to_html(text: &str) -> String {
    let text = strip_controls(&settle_lines(text), true);
    Converter::new()
        .four_bit_var_prefix(Some("ansi-".to_owned()))
        .convert(&text)
        .unwrap_or_else(|_| super::escape(&strip_controls(&text, false)))
}
