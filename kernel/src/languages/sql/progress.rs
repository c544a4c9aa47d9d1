//! Says that a long query is still running.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::session::{MimeBundle, Output};

/// Queries shorter than this show nothing.
const PATIENCE: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_millis(500);

/// Shows the elapsed time while it lives, and takes it away at the end.
pub struct Progress {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    pub fn start(output: &Output) -> Self {
        let (stop, stopped) = channel::<()>();
        let output = output.clone();
        let thread = std::thread::spawn(move || {
            let started = Instant::now();
            if stopped.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let display = output.live_display(elapsed(started));
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                display.update(elapsed(started));
            }
            display.update(MimeBundle::html("", ""));
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the progress display ended in a panic");
        }
    }
}

fn elapsed(started: Instant) -> MimeBundle {
    let text = format!("running for {:.1} s", started.elapsed().as_secs_f32());
    MimeBundle::html(format!("<em style=\"color: var(--jp-ui-font-color2, #777)\">{text}</em>"), text)
}
