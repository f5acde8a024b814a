//! When an authorization request began that led to signing in: a moment that only we can have written, for this very
//! request.

use super::session::{from_hexadecimal, hexadecimal};
use crate::setup::sha256;
use crate::tenants::Served;
use chancery_core::time::Timestamp;

/// The request's parameters with the moment.
pub fn join(served: &Served, query: &str, now: Timestamp) -> String {
    let micros = now.as_micros();
    let tag = hexadecimal(&served.keys.page_tag(&message(query, micros)));
    format!("{query}{MARK}{micros}.{tag}")
}

/// The parameters without it, and the moment if it is one of ours.
pub fn split<'a>(served: &Served, query: &'a str) -> (&'a str, Option<Timestamp>) {
    let Some((asked, mark)) = query.rsplit_once(MARK) else {
        return (query, None);
    };
    let read = || {
        let (micros, tag) = mark.split_once('.')?;
        let micros: i64 = micros.parse().ok()?;
        let tag = from_hexadecimal(tag)?;
        let is_ours = served.keys.is_page_tag(&message(asked, micros), &tag);
        is_ours.then(|| Timestamp::from_micros(micros))
    };
    (asked, read())
}

fn message(query: &str, micros: i64) -> Vec<u8> {
    let digest = sha256(query.as_bytes());
    [b"since ".as_slice(), &micros.to_be_bytes(), &digest].concat()
}

const MARK: &str = "&chancery_since=";
