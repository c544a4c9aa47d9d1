//! Memory as its callers use it, on real files and in real processes.

mod chunks;
mod conversations;
mod damage;
mod durability;
mod files;
mod knowledge;
mod latency;
mod search;
mod shared;
mod support;
