//! Ctrl-C in a terminal.

use crate::session::Interrupt;

/// Ctrl-C interrupts what runs; a second one ends the process.
pub(in crate::cli) fn interrupt_on_ctrl_c(interrupt: Interrupt) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if interrupt.is_set() {
                    std::process::exit(130);
                }
                let interrupt = interrupt.clone();
                tokio::task::spawn_blocking(move || interrupt.trigger());
            }
        });
    })?;
    Ok(())
}
