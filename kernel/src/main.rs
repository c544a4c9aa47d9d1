//! The one binary. It is also what evcxr starts to run user code and to wrap rustc.

use std::process::ExitCode;

fn main() -> ExitCode {
    codriver::languages::rust::runtime_hook();
    codriver::cli::main()
}
