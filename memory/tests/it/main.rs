//! Memory as its callers use it, on real files and in real processes.

mod collections;
mod conversations;
mod damage;
mod durability;
mod figures;
mod knowledge;
mod latency;
mod search;
mod shared;
mod support;
