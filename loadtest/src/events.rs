//! Server-Sent Events as a client reads them (HTML standard, section 9.2.6).
//!
//! The tool's own on purpose, as `codec` is. Pure: bytes go in, the data of events comes out.

/// The state between two reads of one stream.
#[derive(Debug, Default)]
pub struct Events {
    /// Of a line that has come in part.
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The event has a name: the server tells something of its own accord.
    named: bool,
}

/// An event that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message; its data is [`Events::data`].
    Message,
    /// One with another name than that of a message.
    Named,
}

impl Events {
    /// Takes bytes off the front of `input` and returns the next event, or `None` once all of it
    /// is used up.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Event> {
        if !self.has_data {
            self.data.clear();
        }
        while let Some(end) = input.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&input[..end], &input[end + 1..]);
            *input = rest;
            let event = if self.line.is_empty() {
                self.take(line)
            } else {
                self.line.extend_from_slice(line);
                let line = std::mem::take(&mut self.line);
                let event = self.take(&line);
                self.line = line;
                self.line.clear();
                event
            };
            if event.is_some() {
                return event;
            }
        }
        self.line.extend_from_slice(input);
        *input = &[];
        None
    }

    /// The data of the event that has just come.
    pub fn data(&mut self) -> &mut Vec<u8> {
        &mut self.data
    }

    fn take(&mut self, line: &[u8]) -> Option<Event> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            let (heard, named) = (self.has_data, self.named);
            (self.has_data, self.named) = (false, false);
            return heard.then_some(if named { Event::Named } else { Event::Message });
        }
        if let Some(data) = line.strip_prefix(b"data:") {
            match self.has_data {
                true => self.data.push(b'\n'),
                false => self.data.clear(),
            }
            self.has_data = true;
            let data = data.strip_prefix(b" ").unwrap_or(data);
            self.data.extend_from_slice(data);
        }
        if let Some(name) = line.strip_prefix(b"event:") {
            let name = name.strip_prefix(b" ").unwrap_or(name);
            // That is how an event without a name is called too.
            self.named = !matches!(name, b"" | b"message");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_any_split_of_the_stream() {
        let stream = b"retry: 5\nid: a-0\n\n:\nid: a-1\nevent: message\ndata: one\n\nevent: gap\ndata: {}\n\n\
                       id: a-2\ndata: two\ndata:\ndata:  three\n\ndata: no end";
        for step in 1..stream.len() {
            let (mut events, mut heard) = (Events::default(), Vec::new());
            for mut bytes in stream.chunks(step) {
                while let Some(event) = events.next(&mut bytes) {
                    let data = String::from_utf8(events.data().clone()).unwrap();
                    heard.push((event, data));
                }
            }
            let wanted = [
                (Event::Message, "one".to_owned()),
                (Event::Named, "{}".to_owned()),
                (Event::Message, "two\n\n three".to_owned()),
            ];
            assert_eq!(heard, wanted, "step {step}");
        }
    }
}
