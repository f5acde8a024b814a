//! One message of MCP, from a client or a server: what is accepted means the same to another parser, what is sent
//! upstream is what was read, and a filtered listing has nothing that was not there.

use chancery_core::json::JsonLimits;
use chancery_mcp::list::{filter, items};
use chancery_mcp::{
    Call, CanonicalRequest, Envelope, Era, ErrorResponse, HeaderParameters, Headers, InputSchema, Listing,
    Message, Object, Request, Revision, ServerMessage, headers, policy_fields, secret_fields,
};
use serde_json::Value;

pub fn run(input: &[u8]) {
    client(input);
    server(input);
}

fn client(input: &[u8]) {
    let envelope = match Envelope::parse(input, LIMITS) {
        Ok(envelope) => envelope,
        Err(error) => {
            let body = ErrorResponse::of_envelope(&error).to_body();
            serde_json::from_slice::<Value>(&body).expect("an error is JSON");
            return;
        }
    };
    assert_eq!(envelope.body(), input);
    let message = envelope.message();
    let other: Object = serde_json::from_slice(input).expect("another parser refuses what we accept");
    // An object with this member is one text inside another to the other parser, whose library uses it for itself.
    if !contains(input, b"$serde_json::private") {
        assert_eq!(other.get("method").and_then(Value::as_str), message.method());
        assert_eq!(other.get("params").and_then(Value::as_object), message.params());
    }

    let _ = Era::of(message, &Headers::new(&[]));
    let era = Era::Stateless(Revision::V2026_07_28);
    let list = headers::upstream(era, message, None).expect("without annotations nothing contradicts");
    for (name, value) in &list {
        let is_visible = |byte: u8| byte == b'\t' || (0x20..=0x7e).contains(&byte);
        assert!(value.bytes().all(is_visible), "`{name}` breaks the line");
    }
    if message.method().is_some() {
        let pairs: Vec<(&str, &[u8])> = list
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        assert_eq!(headers::check(era, message, &Headers::new(&pairs), None), Ok(()));
    }
    if let Message::Request(request) = message {
        check_request(request);
    }
}

fn check_request(request: &Request) {
    for revision in Revision::SUPPORTED {
        if let Ok(Call::Decided(_)) = Call::of_request(request, revision.era()) {
            assert!(request.params.is_some(), "a target out of nothing");
        }
    }
    let Ok(canonical) = CanonicalRequest::of(request) else {
        return;
    };
    let wide = JsonLimits::of_bytes(1 << 20);
    let sent = Envelope::parse(canonical.body(), wide).expect("what is sent is a message");
    let Message::Request(again) = sent.message() else {
        panic!("a request became something else");
    };
    assert_eq!((&again.id, &again.method), (&request.id, &request.method));
    let twice = CanonicalRequest::of(again).expect("a canonical request is canonical");
    assert_eq!(
        twice.body(),
        canonical.body(),
        "the canonical form is no fixed point"
    );

    // The parameters serve as a schema and as arguments of it.
    let Some(arguments) = &request.params else { return };
    let Some(schema) = arguments.get("inputSchema") else {
        return;
    };
    let _ = HeaderParameters::of_schema(schema);
    if let Ok(schema) = InputSchema::compile(schema) {
        let _ = schema.validate(arguments);
        let secrets = secret_fields(&schema, arguments);
        for (name, _) in policy_fields(&schema, arguments).unwrap_or_default() {
            assert!(
                !secrets.contains(&format!("/{name}")),
                "`{name}` is secret and was read"
            );
        }
    }
}

fn server(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Ok(message) = ServerMessage::read(text)
        && let ServerMessage::Response { id: Some(id), .. } = &message
    {
        assert!(message.check_asked(&[]).is_err(), "nobody asked");
        assert!(message.answers(id));
    }
    for listing in [
        Listing::Tools,
        Listing::Prompts,
        Listing::Resources,
        Listing::ResourceTemplates,
    ] {
        let Ok(before) = items(listing, input) else {
            continue;
        };
        let keeps = |key: &str| key.len().is_multiple_of(2);
        let filtered = filter(listing, input, true, |item| keeps(&item.key)).expect("it was just read");
        let after = items(listing, filtered.body.as_bytes()).expect("what is filtered is a listing");
        let expected: Vec<_> = before.into_iter().filter(|item| keeps(&item.key)).collect();
        assert_eq!(after, expected, "what is kept is not what was");
        let again = filter(listing, filtered.body.as_bytes(), true, |_| true).expect("a listing");
        assert_eq!(again.body, filtered.body, "filtering twice changed the listing");
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

const LIMITS: JsonLimits = JsonLimits::of_bytes(1 << 14);
