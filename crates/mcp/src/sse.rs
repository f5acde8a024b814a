//! Server-sent events, taken apart without changing them (WHATWG HTML §9.2, "Server-sent events").
//!
//! Bytes go in as they arrive; out come whole events with the very bytes that they were. However the bytes are cut, the
//! events are the same, and all bytes together are the stream. Fields are read as a browser reads them.
//!
//! Does not reconnect, and does not know JSON-RPC (`server_message`).

use std::fmt;

/// One event, up to and with its blank line. Comments and keep-alives are events without data.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// The bytes that it was.
    pub raw: Vec<u8>,
    /// Its `id`, if it has one.
    pub id: Option<String>,
    /// Its type; without one it is a `message`.
    pub event: Option<String>,
    /// Its data; an event without is not dispatched.
    pub data: Option<String>,
}

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// An event is longer than the limit.
    #[error("an event is longer than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

/// Why an event cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// `id` or the type has a line break, or `id` has a NUL.
    #[error("an id or a type of an event has no line breaks")]
    LineBreak,
}

/// Takes a stream apart.
pub struct Decoder {
    limit: usize,
    raw: Vec<u8>,
    line_start: usize,
    fields: Fields,
    last_break: Option<Break>,
    waiting: Waiting,
    is_first_line: bool,
    is_over: bool,
}

/// How a line ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Break {
    Lf,
    Cr,
    CrLf,
}

/// What the byte before leaves open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// Nothing.
    Nothing,
    /// A line ended with CR; LF belongs to the same break.
    LineEnd,
    /// The blank line of an event whose lines end with CRLF began with CR.
    EventEnd,
    /// An event ended with CR; LF is the rest of that break and opens the next event's bytes.
    AfterEvent,
}

#[derive(Default)]
struct Fields {
    id: Option<String>,
    event: Option<String>,
    data: Option<String>,
}

impl Decoder {
    /// A decoder at the start of a stream, for events of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            raw: Vec::new(),
            line_start: 0,
            fields: Fields::default(),
            last_break: None,
            waiting: Waiting::Nothing,
            is_first_line: true,
            is_over: false,
        }
    }

    /// Takes the next bytes and adds the events that they complete.
    ///
    /// # Errors
    /// An event is too long. The events before it are there; nothing more comes.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), SseError> {
        for &byte in bytes {
            if self.is_over {
                return Err(SseError::TooLarge { limit: self.limit });
            }
            self.take(byte, events);
            self.is_over |= self.raw.len() > self.limit;
        }
        if self.is_over {
            return Err(SseError::TooLarge { limit: self.limit });
        }
        Ok(())
    }

    /// Ends the stream: the bytes after the last event, which a reader discards. They are not to be handed on where
    /// events are filtered: a careless reader takes them for an event.
    pub fn finish(mut self, events: &mut Vec<Event>) -> Vec<u8> {
        if self.waiting == Waiting::EventEnd {
            self.dispatch(events);
        }
        self.raw
    }

    fn take(&mut self, byte: u8, events: &mut Vec<Event>) {
        let waiting = std::mem::replace(&mut self.waiting, Waiting::Nothing);
        let is_line_feed = byte == b'\n';
        match waiting {
            Waiting::LineEnd if is_line_feed => {
                self.last_break = Some(Break::CrLf);
                self.keep(byte);
                return;
            }
            Waiting::AfterEvent if is_line_feed => {
                self.keep(byte);
                return;
            }
            Waiting::EventEnd if is_line_feed => {
                self.raw.push(byte);
                self.dispatch(events);
                return;
            }
            Waiting::EventEnd => self.dispatch(events),
            Waiting::LineEnd | Waiting::AfterEvent | Waiting::Nothing => {}
        }
        match byte {
            b'\n' => self.end_line(Break::Lf, events),
            b'\r' => self.end_line(Break::Cr, events),
            _ => self.raw.push(byte),
        }
    }

    /// A byte of a line break that is already over.
    fn keep(&mut self, byte: u8) {
        self.raw.push(byte);
        self.line_start = self.raw.len();
    }

    fn end_line(&mut self, ended_by: Break, events: &mut Vec<Event>) {
        let line = self.raw.get(self.line_start..).unwrap_or_default();
        let line = if std::mem::take(&mut self.is_first_line) {
            line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line)
        } else {
            line
        };
        let is_blank = line.is_empty();
        if !is_blank {
            self.fields.read(&String::from_utf8_lossy(line));
        }
        let byte = if ended_by == Break::Lf { b'\n' } else { b'\r' };
        self.keep(byte);

        match (is_blank, ended_by) {
            (true, Break::Cr) if self.last_break == Some(Break::CrLf) => self.waiting = Waiting::EventEnd,
            (true, Break::Cr) => {
                self.dispatch(events);
                self.waiting = Waiting::AfterEvent;
            }
            (true, Break::Lf | Break::CrLf) => self.dispatch(events),
            (false, Break::Cr) => {
                self.last_break = Some(Break::Cr);
                self.waiting = Waiting::LineEnd;
            }
            (false, Break::Lf | Break::CrLf) => self.last_break = Some(ended_by),
        }
    }

    fn dispatch(&mut self, events: &mut Vec<Event>) {
        // The byte that ends an event may be the one that is too many.
        if self.raw.len() > self.limit {
            self.is_over = true;
            return;
        }
        let fields = std::mem::take(&mut self.fields);
        self.line_start = 0;
        self.last_break = None;
        events.push(Event {
            raw: std::mem::take(&mut self.raw),
            id: fields.id,
            event: fields.event,
            data: fields.data,
        });
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("waiting_bytes", &self.raw.len())
            .finish_non_exhaustive()
    }
}

impl Fields {
    fn read(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "event" => self.event = Some(value.to_owned()),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            // A comment, `retry`, or what nobody knows.
            _ => {}
        }
    }
}

/// Data are of the server's answer and do not print.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("bytes", &self.raw.len())
            .field("id", &self.id)
            .field("event", &self.event)
            .field("has_data", &self.data.is_some())
            .finish()
    }
}

impl Event {
    /// The event with other data, where a listing was filtered. `retry` and comments are not kept.
    ///
    /// # Errors
    /// Its id or type cannot be written.
    pub fn with_data(&self, data: &str) -> Result<Vec<u8>, EncodeError> {
        encode(self.id.as_deref(), self.event.as_deref(), data)
    }
}

/// Writes an event.
///
/// # Errors
/// `id` or `event` has a line break, or `id` has a NUL.
pub fn encode(id: Option<&str>, event: Option<&str>, data: &str) -> Result<Vec<u8>, EncodeError> {
    let mut output = String::with_capacity(data.len() + 32);
    for (name, value) in [("id", id), ("event", event)] {
        let Some(value) = value else { continue };
        // An id with NUL would be ignored; a type may have one.
        if value.contains(['\r', '\n']) || (name == "id" && value.contains('\0')) {
            return Err(EncodeError::LineBreak);
        }
        output.push_str(name);
        output.push_str(": ");
        output.push_str(value);
        output.push('\n');
    }
    for line in data.replace("\r\n", "\n").split(['\r', '\n']) {
        output.push_str("data: ");
        output.push_str(line);
        output.push('\n');
    }
    output.push('\n');
    Ok(output.into_bytes())
}

/// U+FEFF in UTF-8, which is dropped at the start of a stream.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(chunks: &[&[u8]]) -> (Vec<Event>, Vec<u8>) {
        let mut decoder = Decoder::new(1 << 16);
        let mut events = Vec::new();
        for chunk in chunks {
            decoder.push(chunk, &mut events).unwrap();
        }
        let tail = decoder.finish(&mut events);
        (events, tail)
    }

    fn data(text: &str) -> Vec<String> {
        let (events, _) = decode(&[text.as_bytes()]);
        events.into_iter().filter_map(|event| event.data).collect()
    }

    #[test]
    fn the_examples_of_the_standard() {
        let stream =
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n";
        let (events, tail) = decode(&[stream.as_bytes()]);
        let read: Vec<_> = events
            .iter()
            .map(|event| (event.data.as_deref(), event.id.as_deref()))
            .collect();
        assert_eq!(
            read,
            [
                (None, None),
                (Some("first event"), Some("1")),
                (Some("second event"), Some(""))
            ]
        );
        assert_eq!(tail, b"data:  third event\n");
        assert_eq!(data("data\n\ndata\ndata\n\ndata:"), ["", "\n"]);
        assert_eq!(data("data:test\n\ndata: test\n\n"), ["test", "test"]);
        assert_eq!(data("data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
    }

    #[test]
    fn lines_end_with_lf_cr_or_both() {
        for line_break in ["\n", "\r", "\r\n"] {
            let text = "event: message~data: a~data: b~~data: c~~".replace('~', line_break);
            let (events, tail) = decode(&[text.as_bytes()]);
            let found: Vec<_> = events.iter().filter_map(|event| event.data.as_deref()).collect();
            assert_eq!(found, ["a\nb", "c"], "{line_break:?}");
            let raw: Vec<u8> = events
                .iter()
                .flat_map(|event| event.raw.clone())
                .chain(tail)
                .collect();
            assert_eq!(raw, text.as_bytes());
        }
    }

    #[test]
    fn an_event_is_there_as_soon_as_its_blank_line_is() {
        let mut decoder = Decoder::new(100);
        for (text, expected) in [("data: a\n\n", 1), ("data: b\r\r", 2), ("data: c\r\n\r\n", 3)] {
            let mut events = Vec::new();
            decoder.push(text.as_bytes(), &mut events).unwrap();
            assert_eq!(events.len(), 1, "{expected}");
        }
    }

    #[test]
    fn a_line_break_or_a_character_may_be_cut() {
        let text = "id: 7\r\ndata: \u{20ac}\u{1f600}\r\n\r\ndata: b\r\n\r\n".as_bytes();
        let whole = decode(&[text]);
        for cut in 0..=text.len() {
            let (one, other) = text.split_at(cut);
            assert_eq!(decode(&[one, other]), whole, "{cut}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(decode(&bytes), whole);
        assert_eq!(whole.0[0].data.as_deref(), Some("\u{20ac}\u{1f600}"));
        assert!(whole.1.is_empty());
    }

    #[test]
    fn fields_are_read_as_a_browser_reads_them() {
        let (events, _) =
            decode(&["\u{feff}data: a\nid: x\0y\nretry: 5\nDATA: no\n data: no\ndatax: no\n\n".as_bytes()]);
        assert_eq!(
            (events[0].data.as_deref(), events[0].id.as_deref()),
            (Some("a"), None)
        );
        let (events, _) = decode(&["data: a\n\n\u{feff}data: b\n\n".as_bytes()]);
        assert_eq!(events[1].data, None);
        let (events, _) = decode(&[b"data: \xff\n\n"]);
        assert_eq!(events[0].data.as_deref(), Some("\u{fffd}"));
    }

    #[test]
    fn an_unfinished_event_is_no_event() {
        let (events, tail) = decode(&[b"data: a\n\ndata: {\"result\":{}}\n"]);
        assert_eq!(events.len(), 1);
        assert_eq!(tail, b"data: {\"result\":{}}\n");
        let (events, tail) = decode(&[b"data: a\r\n\r"]);
        assert_eq!((events.len(), tail.len()), (1, 0));
    }

    #[test]
    fn an_event_over_the_limit_ends_the_stream() {
        let mut decoder = Decoder::new(16);
        let mut events = Vec::new();
        let too_large = Err(SseError::TooLarge { limit: 16 });
        assert_eq!(
            decoder.push(b"data: a\n\ndata: 0123456789abcdef\n\n", &mut events),
            too_large
        );
        assert_eq!(events.len(), 1);
        assert_eq!(decoder.push(b"\n\ndata: b\n\n", &mut events), too_large);
        assert_eq!(events.len(), 1);
    }

    #[test]
    fn an_event_of_one_byte_over_the_limit_is_no_event() {
        for (text, limit) in [("data: a\n\n", 9), ("data: a\r\r", 9), ("data: a\r\n\r\n", 11)] {
            let mut events = Vec::new();
            assert!(Decoder::new(limit).push(text.as_bytes(), &mut events).is_ok());
            assert_eq!(events.len(), 1);
            assert!(
                Decoder::new(limit - 1)
                    .push(text.as_bytes(), &mut events)
                    .is_err()
            );
            assert_eq!(events.len(), 1, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let raw = encode(Some("7"), Some("message"), "{\"a\":1}\r\nb\rc\n").unwrap();
        let (events, tail) = decode(&[&raw]);
        assert!(tail.is_empty());
        assert_eq!(events[0].id.as_deref(), Some("7"));
        assert_eq!(events[0].event.as_deref(), Some("message"));
        assert_eq!(events[0].data.as_deref(), Some("{\"a\":1}\nb\nc\n"));
        assert_eq!(
            events[0].with_data("x").unwrap(),
            b"id: 7\nevent: message\ndata: x\n\n"
        );
    }

    #[test]
    fn an_id_cannot_smuggle_a_field() {
        for id in ["1\ndata: x", "1\r"] {
            assert_eq!(encode(Some(id), None, "a"), Err(EncodeError::LineBreak));
            assert_eq!(encode(None, Some(id), "a"), Err(EncodeError::LineBreak));
        }
        assert_eq!(encode(Some("\0"), None, "a"), Err(EncodeError::LineBreak));
    }

    #[test]
    fn a_type_with_nul_is_written_as_it_was_read() {
        let (events, _) = decode(&[b"event: a\0b\ndata: 1\n\n"]);
        assert_eq!(events[0].with_data("2").unwrap(), b"event: a\0b\ndata: 2\n\n");
    }

    #[test]
    fn data_do_not_print() {
        let (events, _) = decode(&[b"data: s3cr3t\n\n"]);
        assert!(!format!("{events:?}").contains("s3cr3t"));
    }
}
