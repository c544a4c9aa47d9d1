//! Memory as its callers use it, on real files and in real processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::get_unwrap)]

mod backup;
mod chunks;
mod collection_faults;
mod collection_keys;
mod collections;
mod conversations;
mod damage;
mod durability;
mod embedding;
mod encryption;
mod facts;
mod faults;
mod figures;
mod files;
mod index;
mod ingest;
mod inspection;
mod knowledge;
mod latency;
mod rankings;
mod redaction;
mod scopes;
mod search;
mod shared;
mod support;
