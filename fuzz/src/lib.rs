//! What the fuzz targets do with an input: each calls the product as the edge does, and asserts an invariant,
//! so that a wrong answer is found as surely as a panic.
//!
//! One module for each target, called by the program of the same name in `targets/`. Valid and nearly valid
//! inputs stand in `corpus/`; those that need a signature are made by `examples/seeds.rs`.

#![forbid(unsafe_code)]

pub mod apply_file;
pub mod audit_export;
pub mod audit_proof;
pub mod broker_path;
pub mod client_authentication;
pub mod identifiers;
pub mod json;
pub mod jwk_set;
pub mod jwt;
pub mod jwt_claims;
pub mod mcp_message;
pub mod policy;
pub mod sse;
pub mod token_request;

/// An input of two parts: the `Authorization` header, if the first line is not empty, and the body.
fn header_and_body(input: &[u8]) -> Option<(Option<&str>, &[u8])> {
    let end = input.iter().position(|&byte| byte == b'\n')?;
    let (header, body) = input.split_at(end);
    let header = std::str::from_utf8(header).ok()?;
    Some(((!header.is_empty()).then_some(header), &body[1..]))
}

/// A form as another library reads it, without parameters that have no value.
fn form_of_another_library(body: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(body)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

/// The values of a parameter.
fn values<'a>(form: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let named = form.iter().filter(|(own, _)| own == name);
    named.map(|(_, value)| value.as_str()).collect()
}
