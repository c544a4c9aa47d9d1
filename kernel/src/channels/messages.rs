//! The contents of replies that do not depend on the session.

use serde_json::{Value, json};

use super::wire::Request;
use crate::languages::CellError;

pub fn kernel_info() -> Value {
    json!({
        "status": "ok",
        "protocol_version": "5.4",
        "implementation": "codriver",
        "implementation_version": env!("CARGO_PKG_VERSION"),
        "banner": concat!(
            "Codriver ", env!("CARGO_PKG_VERSION"),
            ": Rust, %%sql, %%bash and %%agent cells. %lsmagic lists the magics, %help shows how to start."
        ),
        "language_info": {
            "name": "rust",
            "version": env!("CARGO_PKG_RUST_VERSION"),
            "mimetype": "text/x-rust",
            "file_extension": ".rs",
            "pygments_lexer": "rust",
            "codemirror_mode": "rust",
            "nbconvert_exporter": "script",
        },
        "help_links": [
            { "text": "Codriver", "url": env!("CARGO_PKG_REPOSITORY") },
            { "text": "The Rust Book", "url": "https://doc.rust-lang.org/book/" },
            { "text": "Rust's standard library", "url": "https://doc.rust-lang.org/std/" },
            { "text": "evcxr commands", "url": "https://github.com/evcxr/evcxr/blob/main/COMMON.md" },
            { "text": "DuckDB SQL", "url": "https://duckdb.org/docs/stable/sql/introduction" },
        ],
        "debugger": false,
        "supported_features": [],
    })
}

pub fn shutdown_reply(request: &Request) -> Value {
    json!({ "status": "ok", "restart": request.flag("restart", false) })
}

pub fn no_debugger(request: &Request) -> Value {
    json!({
        "type": "response",
        "request_seq": request.integer("seq").unwrap_or(0),
        "seq": 0,
        "success": false,
        "command": request.text("command"),
        "message": "this kernel has no debugger",
    })
}

/// The content of an `error` output, and the fields of a failed reply.
pub fn error(error: &CellError) -> Value {
    json!({ "ename": error.name, "evalue": error.value, "traceback": error.traceback })
}
