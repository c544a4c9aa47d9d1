//! Tests of the crate as its users see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::get_unwrap)]

mod file;
mod gallery;
mod html;
mod run;
mod terminal;
