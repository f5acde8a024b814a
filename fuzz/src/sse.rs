//! A stream of server-sent events: however it is cut, the events are the same, and all bytes come out again.

use chancery_mcp::{Decoder, Event};

pub fn run(input: &[u8]) {
    let Some((&step, stream)) = input.split_first() else {
        return;
    };
    let whole = decode(&[stream]);
    let chunks: Vec<&[u8]> = stream.chunks(usize::from(step % 7) + 1).collect();
    assert_eq!(decode(&chunks), whole, "a cut changed the events");

    let (events, tail) = whole;
    let Some(tail) = tail else { return };
    let raw: Vec<u8> = events
        .iter()
        .flat_map(|event| event.raw.clone())
        .chain(tail)
        .collect();
    assert_eq!(raw, stream, "bytes were lost or made");
    for event in &events {
        assert!(event.raw.len() <= LIMIT, "an event over the limit was read");
        let Some(data) = &event.data else { continue };
        let written = event.with_data(data).expect("what was read can be written");
        let (again, rest) = decode(&[&written]);
        if let Some(rest) = rest {
            assert!(rest.is_empty());
            assert_eq!(
                (again.len(), again[0].data.as_ref(), &again[0].id),
                (1, Some(data), &event.id)
            );
        }
    }
}

fn decode(chunks: &[&[u8]]) -> (Vec<Event>, Option<Vec<u8>>) {
    let mut decoder = Decoder::new(LIMIT);
    let mut events = Vec::new();
    for chunk in chunks {
        if decoder.push(chunk, &mut events).is_err() {
            return (events, None);
        }
    }
    let tail = decoder.finish(&mut events);
    (events, Some(tail))
}

const LIMIT: usize = 256;
