//! Memory as its callers use it, on real files and in real processes.

mod conversations;
mod damage;
mod durability;
mod knowledge;
mod latency;
mod search;
mod shared;
mod support;
