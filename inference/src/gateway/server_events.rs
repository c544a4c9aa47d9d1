//! Server-sent events, taken apart as the bytes come.

/// Collects bytes and gives out the data of each event that is complete.
///
/// Lines may end in `\n`, `\r\n` or `\r` and chunks may split anything, a UTF-8
/// character included.
#[derive(Default)]
pub(super) struct ServerEvents {
    line: Vec<u8>,
    after_return: bool,
    data: Option<String>,
}

impl ServerEvents {
    /// Takes the next bytes and returns the events they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut events = Vec::new();
        for &byte in bytes {
            let follows_return = std::mem::take(&mut self.after_return);
            match byte {
                b'\n' if follows_return => {}
                b'\n' => self.end_line(&mut events),
                b'\r' => {
                    self.after_return = true;
                    self.end_line(&mut events);
                }
                byte => self.line.push(byte),
            }
        }
        events
    }

    /// The event a server did not end with an empty line, if there is one.
    pub(super) fn finish(mut self) -> Option<String> {
        let mut events = Vec::new();
        self.end_line(&mut events);
        events.pop().or(self.data)
    }

    fn end_line(&mut self, events: &mut Vec<String>) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            events.extend(self.data.take());
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        // llama.cpp reports a failure in the middle of a stream under the field `error`.
        if matches!(field, "data" | "error") {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ServerEvents;

    #[test]
    fn every_split_gives_the_same_events() {
        let stream = ": hello\r\nevent: x\r\ndata: {\"a\":\"é東\"}\r\n\r\ndata: one\ndata: two\n\n\ndata: [DONE]\n";
        for at in 0..=stream.len() {
            let mut events = ServerEvents::default();
            let (head, tail) = stream.as_bytes().split_at(at);
            let mut seen = events.push(head);
            seen.extend(events.push(tail));
            seen.extend(events.finish());
            assert_eq!(seen, ["{\"a\":\"é東\"}", "one\ntwo", "[DONE]"], "split at {at}");
        }
    }
}
