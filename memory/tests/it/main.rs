//! Memory as its callers use it, on real files and in real processes.

mod conversations;
mod damage;
mod durability;
mod encryption;
mod facts;
mod knowledge;
mod latency;
mod redaction;
mod scopes;
mod search;
mod shared;
mod support;
