//! The token request as bytes (RFC 6749 §3.2, §5.2): each malformation has its exact error, and none of them
//! is our fault.

use crate::estate::*;
use crate::harness::*;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use std::fmt::Write as _;

on_both_engines!(
    another_content_type_is_invalid_request,
    a_repeated_parameter_is_invalid_request,
    a_missing_grant_type_is_invalid_request,
    an_unknown_grant_is_unsupported,
    two_proofs_at_once_are_invalid_request,
    a_client_without_proof_is_invalid_client,
    basic_halves_are_form_decoded,
    a_malformed_basic_header_is_invalid_request,
    a_failed_basic_proof_is_challenged_and_a_failed_post_proof_is_not,
    no_answer_of_the_token_endpoint_is_stored,
    bytes_that_are_not_text_are_invalid_request,
    an_oversized_form_is_invalid_request,
    a_form_with_too_many_parameters_is_invalid_request,
    an_exchange_without_its_subject_is_invalid_request,
    a_token_has_one_audience,
    a_query_is_not_read_as_a_form,
    other_methods_are_refused,
);

const FORM: &str = "application/x-www-form-urlencoded";

async fn another_content_type_is_invalid_request(place: Place) {
    let estate = Estate::start(&place).await;
    for kind in [Some("application/json"), Some("text/plain"), None] {
        let mut request = Request::post("/token")
            .header("host", "id.example")
            .header("authorization", estate.basic("planner"));
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let request = request.body(Body::from("grant_type=client_credentials")).unwrap();
        let answer = estate.node.send(request).await;
        assert_eq!(answer.error(), (400, "invalid_request".to_owned()), "{kind:?}");
    }
    let request = Request::post("/token")
        .header("host", "id.example")
        .header("authorization", estate.basic("planner"))
        .header("content-type", format!("{FORM}; charset=UTF-8"));
    let body = Body::from("grant_type=client_credentials");
    assert_eq!(estate.node.send(request.body(body).unwrap()).await.status, 200);
}

async fn a_repeated_parameter_is_invalid_request(place: Place) {
    let estate = Estate::start(&place).await;
    for repeated in [
        "scope=read&scope=write",
        "scope=read&scope=read",
        "grant_type=client_credentials",
    ] {
        let body = format!("grant_type=client_credentials&resource={NOTES}&{repeated}");
        let answer = estate
            .node
            .raw_form("/token", body, Some(&estate.basic("planner")))
            .await;
        assert_eq!(answer.error(), (400, "invalid_request".to_owned()), "{repeated}");
    }
}

async fn a_missing_grant_type_is_invalid_request(place: Place) {
    let estate = Estate::start(&place).await;
    for body in ["", "grant_type=", "scope=read", "&&&", "grant_type"] {
        let answer = estate
            .node
            .raw_form("/token", body, Some(&estate.basic("planner")))
            .await;
        assert_eq!(answer.error(), (400, "invalid_request".to_owned()), "{body}");
    }
}

async fn an_unknown_grant_is_unsupported(place: Place) {
    let estate = Estate::start(&place).await;
    for grant in [
        "password",
        "implicit",
        "urn:ietf:params:oauth:grant-type:saml2-bearer",
        "CLIENT_CREDENTIALS",
    ] {
        let answer = estate.post("/token", "planner", &[("grant_type", grant)]).await;
        assert_eq!(
            answer.error(),
            (400, "unsupported_grant_type".to_owned()),
            "{grant}"
        );
    }
}

async fn two_proofs_at_once_are_invalid_request(place: Place) {
    let estate = Estate::start(&place).await;
    let (id, secret) = (estate.client_id("planner"), estate.secret("planner"));
    let header_and_secret = [
        ("grant_type", "client_credentials"),
        ("client_id", id),
        ("client_secret", secret),
    ];
    let answer = estate.post("/token", "planner", &header_and_secret).await;
    assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
    let assertion = estate.assertion("j", plain());
    let secret_and_assertion = [("client_id", id), ("client_secret", secret)];
    let answer = estate.asserted(&assertion, &secret_and_assertion).await;
    assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
}

async fn a_client_without_proof_is_invalid_client(place: Place) {
    let estate = Estate::start(&place).await;
    let id = estate.client_id("planner");
    let form = [("grant_type", "client_credentials"), ("client_id", id)];
    let answer = estate.node.form("/token", &form).await;
    assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
}

async fn basic_halves_are_form_decoded(place: Place) {
    let estate = Estate::start(&place).await;
    let encoded = estate.client_id("planner").replace('_', "%5F");
    let text = format!("{encoded}:{}", estate.secret("planner").replace('_', "%5F"));
    let header = format!("bAsIc {}", STANDARD.encode(text));
    let form = [("grant_type", "client_credentials"), ("resource", NOTES)];
    let answer = estate.node.form_with("/token", &form, Some(&header)).await;
    assert_eq!(answer.scope(), "read");
}

async fn a_malformed_basic_header_is_invalid_request(place: Place) {
    let estate = Estate::start(&place).await;
    let no_colon = format!("Basic {}", STANDARD.encode("planner"));
    let not_text = format!("Basic {}", STANDARD.encode(b"a:\xff"));
    let long = format!("Basic {}", STANDARD.encode(vec![b'a'; 8_000]));
    for header in ["Basic", "Basic !!!", "Bearer abc", &no_colon, &not_text, &long] {
        let form = [("grant_type", "client_credentials")];
        let answer = estate.node.form_with("/token", &form, Some(header)).await;
        assert_eq!(answer.error(), (400, "invalid_request".to_owned()), "{header}");
    }
}

async fn a_failed_basic_proof_is_challenged_and_a_failed_post_proof_is_not(place: Place) {
    let estate = Estate::start(&place).await;
    let form = [("grant_type", "client_credentials")];
    let header = basic(estate.client_id("planner"), "wrong");
    let answer = estate.node.form_with("/token", &form, Some(&header)).await;
    assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
    assert_eq!(
        answer.header("www-authenticate"),
        Some("Basic realm=\"https://id.example\"")
    );
    let id = estate.client_id("planner");
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", id),
        ("client_secret", "wrong"),
    ];
    let answer = estate.node.form("/token", &form).await;
    assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
    assert_eq!(answer.header("www-authenticate"), None);
}

async fn no_answer_of_the_token_endpoint_is_stored(place: Place) {
    let estate = Estate::start(&place).await;
    let given = estate.own("planner", &[("resource", NOTES)]).await;
    assert_eq!(given.status, 200);
    let refused = estate
        .own("planner", &[("resource", "https://nowhere.example")])
        .await;
    let failed = estate.node.raw_form("/token", "", None).await;
    for answer in [given, refused, failed] {
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

async fn bytes_that_are_not_text_are_invalid_request(place: Place) {
    let estate = Estate::start(&place).await;
    for bytes in [
        &b"grant_type=\xff"[..],
        b"grant_type=%ff",
        b"grant_type=%4",
        b"a=%zz",
        b"\xc3\x28=1",
    ] {
        let answer = estate
            .node
            .raw_form("/token", bytes, Some(&estate.basic("planner")))
            .await;
        assert_eq!(answer.error(), (400, "invalid_request".to_owned()), "{bytes:?}");
    }
    let request = Request::post("/token")
        .header("host", "id.example")
        .header("content-type", FORM)
        .header(
            "authorization",
            http::HeaderValue::from_bytes(b"Basic \xff").unwrap(),
        );
    let answer = estate
        .node
        .send(request.body(Body::from("grant_type=client_credentials")).unwrap())
        .await;
    assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
}

async fn an_oversized_form_is_invalid_request(place: Place) {
    let estate = Estate::start(&place).await;
    for size in [70_000, 3_000_000] {
        let body = format!("grant_type=client_credentials&x={}", "a".repeat(size));
        let answer = estate
            .node
            .raw_form("/token", body, Some(&estate.basic("planner")))
            .await;
        assert_eq!(answer.error(), (400, "invalid_request".to_owned()), "{size}");
    }
}

async fn a_form_with_too_many_parameters_is_invalid_request(place: Place) {
    let estate = Estate::start(&place).await;
    let mut body = "grant_type=client_credentials".to_owned();
    for number in 0..100 {
        write!(body, "&p{number}=1").unwrap();
    }
    let answer = estate
        .node
        .raw_form("/token", body, Some(&estate.basic("planner")))
        .await;
    assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
}

async fn an_exchange_without_its_subject_is_invalid_request(place: Place) {
    let estate = Estate::start(&place).await;
    let alice = estate.user("alice", &["staff"]);
    let none = [("grant_type", EXCHANGE)];
    let no_type = [("grant_type", EXCHANGE), ("subject_token", alice.as_str())];
    let saml = "urn:ietf:params:oauth:token-type:saml2";
    let wrong = [
        ("grant_type", EXCHANGE),
        ("subject_token", "x"),
        ("subject_token_type", saml),
    ];
    for form in [&none[..], &no_type, &wrong] {
        let answer = estate.post("/token", "planner", form).await;
        assert_eq!(answer.error(), (400, "invalid_request".to_owned()), "{form:?}");
    }
    for extra in [
        ("actor_token", "x"),
        ("actor_token_type", JWT),
        ("requested_token_type", ID_TOKEN),
    ] {
        let answer = estate
            .exchange_as("planner", (&alice, JWT), &[("resource", NOTES), extra])
            .await;
        assert_eq!(answer.error(), (400, "invalid_request".to_owned()), "{extra:?}");
    }
}

async fn a_token_has_one_audience(place: Place) {
    let estate = Estate::start(&place).await;
    let two = [("resource", NOTES), ("resource", MAIL)];
    let both = [("resource", NOTES), ("audience", "notes")];
    let fragment = [("resource", "https://notes.example/#x")];
    let relative = [("resource", "notes")];
    let unknown = [("audience", "nothing")];
    for form in [&two[..], &both, &fragment, &relative, &unknown] {
        let answer = estate.own("planner", form).await;
        assert_eq!(answer.error(), (400, "invalid_target".to_owned()), "{form:?}");
    }
}

async fn a_query_is_not_read_as_a_form(place: Place) {
    let estate = Estate::start(&place).await;
    let path = format!(
        "/token?grant_type=client_credentials&client_id={}",
        estate.client_id("planner")
    );
    let answer = estate.node.raw_form(&path, "", None).await;
    assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
}

async fn other_methods_are_refused(place: Place) {
    let estate = Estate::start(&place).await;
    for path in ["/token", "/introspect", "/revoke"] {
        assert_eq!(
            estate.node.get(path).await.problem(),
            (405, "wrong_method".to_owned()),
            "{path}"
        );
    }
}
