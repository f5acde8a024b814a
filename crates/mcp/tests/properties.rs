//! The rules over random input: what is kept stays as it was, streams mean the same however they are cut, and texts read
//! back as they were printed.
//!
//! The module says `cfg(test)`, which always holds here, so that the lints know its helpers for tests.

#[cfg(test)]
mod tests {
    use chancery_core::json::{JsonLimits, parse_value};
    use chancery_mcp::list::{filter, items};
    use chancery_mcp::sse::encode;
    use chancery_mcp::{
        CanonicalRequest, Decoder, Envelope, Era, Event, Headers, InputSchema, Listing, Message, Revision,
        canonical, header_value, headers, policy_fields,
    };
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const LIMITS: JsonLimits = JsonLimits::of_bytes(1 << 20);

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::from),
            (-1e9..1e9_f64).prop_map(Value::from),
            "(?s).{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(".{0,8}", inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn object() -> impl Strategy<Value = Value> {
        prop::collection::btree_map(".{0,8}", value(), 0..5)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    }

    fn parsed(body: &[u8]) -> Message {
        Envelope::parse(body, LIMITS).unwrap().into_message()
    }

    /// Bytes that are often events.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just("\n".as_bytes().to_vec()),
            Just("\r".as_bytes().to_vec()),
            Just("\r\n".as_bytes().to_vec()),
            Just("\n\n".as_bytes().to_vec()),
            Just("data: {\"jsonrpc\":\"2.0\"}".as_bytes().to_vec()),
            Just("id: 1".as_bytes().to_vec()),
            Just(": \u{20ac}\u{1f600}".as_bytes().to_vec()),
            Just("\u{feff}".as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..6),
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    fn decoded(chunks: &[&[u8]], limit: usize) -> (Vec<Event>, Option<Vec<u8>>) {
        let mut decoder = Decoder::new(limit);
        let mut events = Vec::new();
        for chunk in chunks {
            if decoder.push(chunk, &mut events).is_err() {
                return (events, None);
            }
        }
        let tail = decoder.finish(&mut events);
        (events, Some(tail))
    }

    fn cut<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
    }

    proptest! {
        #[test]
        fn a_request_reads_back_as_it_was_printed(
            id in prop_oneof![(-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::from), "(?s).{0,9}".prop_map(Value::from)],
            method in "[!-~]{1,128}",
            params in prop::option::of(object()),
        ) {
            let mut message = json!({"jsonrpc": "2.0", "id": id, "method": method});
            if let Some(params) = &params {
                message["params"] = params.clone();
            }
            let text = message.to_string();
            let Message::Request(request) = parsed(text.as_bytes()) else {
                panic!("not a request");
            };
            prop_assert_eq!(request.id.as_json(), id.to_string());
            prop_assert_eq!(&request.method, &method);
            prop_assert_eq!(request.params.clone().map(Value::Object), params);
        }

        #[test]
        fn the_canonical_form_is_a_fixed_point_and_means_the_same(params in object()) {
            let first = canonical(&params).unwrap();
            let again = parse_value(&first, LIMITS).unwrap();
            prop_assert_eq!(canonical(&again).unwrap(), first);
            let text = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": params}).to_string();
            let Message::Request(request) = parsed(text.as_bytes()) else {
                panic!("not a request");
            };
            if let Ok(call) = CanonicalRequest::of(&request) {
                let Message::Request(sent) = parsed(call.body()) else {
                    panic!("not a request");
                };
                let same = CanonicalRequest::of(&sent).unwrap();
                prop_assert_eq!(same.body(), call.body());
                prop_assert_eq!(same.params_digest(), call.params_digest());
            }
        }

        #[test]
        fn policy_reads_the_same_before_and_after_canonical_form(arguments in object()) {
            let schema = InputSchema::compile(&json!({"type": "object"})).unwrap();
            let again = parse_value(&canonical(&arguments).unwrap(), LIMITS).unwrap();
            let of = |value: &Value| {
                let fields = policy_fields(&schema, value.as_object().unwrap());
                fields.map(|mut fields| { fields.sort_by(|one, other| one.0.cmp(&other.0)); fields })
            };
            let (before, after) = (of(&arguments), of(&again));
            prop_assert!(before.is_err() == after.is_err() && (before.is_err() || before == after));
        }

        #[test]
        fn filtering_keeps_the_bytes_of_what_is_kept(
            tools in prop::collection::vec((".{0,6}", value(), any::<bool>()), 0..8),
            extra in value(),
            is_private in any::<bool>(),
        ) {
            let list: Vec<Value> =
                tools.iter().map(|(name, more, _)| json!({"x": more, "name": name, "y": more})).collect();
            let text = json!({"jsonrpc": "2.0", "id": 1, "result": {"a": extra, "tools": list, "b": extra}}).to_string();
            let mut answers = tools.iter().map(|(_, _, keep)| *keep);
            let filtered = filter(Listing::Tools, text.as_bytes(), is_private, |_| answers.next().unwrap()).unwrap();

            let before = items(Listing::Tools, text.as_bytes()).unwrap();
            let kept: Vec<&str> = before.iter().zip(&tools).filter(|(_, tool)| tool.2).map(|(item, _)| item.text).collect();
            let after = items(Listing::Tools, filtered.body.as_bytes()).unwrap();
            prop_assert_eq!(after.iter().map(|item| item.text).collect::<Vec<_>>(), kept.clone());
            prop_assert_eq!((filtered.kept, filtered.dropped), (kept.len(), tools.len() - kept.len()));

            let mut expected: Value = serde_json::from_str(&text).unwrap();
            expected["result"]["tools"] = kept.iter().map(|item| serde_json::from_str::<Value>(item).unwrap()).collect();
            if is_private {
                expected["result"]["cacheScope"] = "private".into();
            } else if filtered.dropped == 0 {
                prop_assert_eq!(&*filtered.body, &*text);
            }
            prop_assert_eq!(serde_json::from_str::<Value>(&filtered.body).unwrap(), expected);
        }

        #[test]
        fn events_are_the_same_however_the_stream_is_cut(
            bytes in stream(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            limit in prop_oneof![Just(8_usize), Just(1 << 20)],
        ) {
            let whole = decoded(&[&bytes], limit);
            prop_assert_eq!(&decoded(&cut(&bytes, &cuts), limit), &whole);
            let singles: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(&decoded(&singles, limit), &whole);
        }

        #[test]
        fn all_bytes_of_a_stream_come_out_again(bytes in stream()) {
            let (events, tail) = decoded(&[&bytes], 1 << 20);
            let raw: Vec<u8> = events.into_iter().flat_map(|event| event.raw).chain(tail.unwrap()).collect();
            prop_assert_eq!(raw, bytes);
        }

        #[test]
        fn an_event_reads_back_as_it_was_written(id in prop::option::of("[^\r\n\0]{0,8}"), data in "[^\r]{0,40}") {
            let raw = encode(id.as_deref(), None, &data).unwrap();
            let (events, tail) = decoded(&[&raw], 1 << 20);
            prop_assert_eq!(events.len(), 1);
            prop_assert_eq!(events[0].id.as_deref(), id.as_deref());
            prop_assert_eq!(events[0].data.as_deref(), Some(data.as_str()));
            prop_assert_eq!(tail, Some(Vec::new()));
        }

        #[test]
        fn forwarded_headers_repeat_the_body(name in "[^\\p{C}]{1,30}") {
            let text = json!({"jsonrpc": "2.0", "id": 1, "method": "prompts/get", "params": {"name": name}}).to_string();
            let message = parsed(text.as_bytes());
            let era = Era::Stateless(Revision::V2026_07_28);
            let list = headers::upstream(era, &message, None).unwrap();
            let pairs: Vec<(&str, &[u8])> = list.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            prop_assert_eq!(headers::check(era, &message, &Headers::new(&pairs), None), Ok(()));
            prop_assert_eq!(header_value::decode(&list[2].1).unwrap(), name);
        }

        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Envelope::parse(&bytes, LIMITS);
            let _ = items(Listing::Tools, &bytes);
            let text = String::from_utf8_lossy(&bytes);
            let _ = chancery_mcp::ServerMessage::read(&text);
            let _ = header_value::decode(&text);
            if let Ok(schema) = serde_json::from_slice::<Value>(&bytes) {
                let _ = InputSchema::compile(&schema);
            }
        }
    }
}
