//! Listings as a caller may see them (MCP tools, prompts, resources: "Listing"; 2026-07-28 "Caching").
//!
//! Items are dropped from the server's own bytes: what is kept, and every other member, stays byte for byte as it was.
//! In the stateless era a listing that was filtered for one caller says `"cacheScope":"private"`, so that no cache
//! gives it to another.
//!
//! A listing that cannot be read is an error, never passed: it could show what was to be dropped. A page without items
//! may still have a `nextCursor`.

use crate::members::{Members, MembersError, elements, place_of};
use crate::method::Listing;
use std::borrow::Cow;
use std::ops::Range;

/// One item of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// Its name or URI.
    pub key: String,
    /// The bytes that it was.
    pub text: &'a str,
}

/// A listing after it was filtered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filtered<'a> {
    /// The response to send; the very bytes of the server if nothing had to change.
    pub body: Cow<'a, str>,
    /// How many items are in it.
    pub kept: usize,
    /// How many are not.
    pub dropped: usize,
}

/// Why a listing cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The response, its result or an item is not an unambiguous object.
    #[error(transparent)]
    Members(MembersError),
    /// The response is neither a result nor an error.
    #[error("the response has not exactly one of `result` and `error`")]
    Outcome,
    /// The result has not the list that was asked for.
    #[error("the result has no `{0}`")]
    Missing(&'static str),
    /// An item has no name or URI.
    #[error("an item has no `{0}`")]
    Key(&'static str),
}

/// Drops the items that the caller may not see. `is_private` says whether the message is of the stateless era, where
/// the result must say that it is for this caller. An error of the server is handed on as it is.
///
/// # Errors
/// The listing cannot be read.
pub fn filter(
    listing: Listing,
    response: &[u8],
    is_private: bool,
    mut keeps: impl FnMut(&Item<'_>) -> bool,
) -> Result<Filtered<'_>, ListError> {
    let text = utf8(response)?;
    let Some(page) = Page::read(listing, text)? else {
        return Ok(Filtered {
            body: Cow::Borrowed(text),
            kept: 0,
            dropped: 0,
        });
    };
    let kept: Vec<&str> = page
        .items
        .iter()
        .filter(|item| keeps(item))
        .map(|item| item.text)
        .collect();
    let (kept_count, dropped) = (kept.len(), page.items.len() - kept.len());

    let mut changes = Vec::new();
    if dropped > 0 {
        changes.push((page.list, format!("[{}]", kept.join(","))));
    }
    if is_private {
        changes.extend(page.scope.made_private());
    }
    Ok(Filtered {
        body: replaced(text, changes),
        kept: kept_count,
        dropped,
    })
}

/// The items of a listing. An error of the server has none.
///
/// # Errors
/// The listing cannot be read.
pub fn items(listing: Listing, response: &[u8]) -> Result<Vec<Item<'_>>, ListError> {
    let page = Page::read(listing, utf8(response)?)?;
    Ok(page.map(|page| page.items).unwrap_or_default())
}

fn utf8(response: &[u8]) -> Result<&str, ListError> {
    std::str::from_utf8(response).map_err(|_| ListError::Members(MembersError::NotUtf8))
}

/// One page of a listing, and where its parts stand in the response.
struct Page<'a> {
    items: Vec<Item<'a>>,
    list: Range<usize>,
    scope: CacheScope,
}

/// What the result says of caches.
enum CacheScope {
    /// Already private.
    Private,
    /// Something else, at this place.
    Other(Range<usize>),
    /// Nothing; here it can be said.
    Unsaid(usize),
}

impl<'a> Page<'a> {
    /// Reads a response; nothing if it is an error.
    fn read(listing: Listing, text: &'a str) -> Result<Option<Self>, ListError> {
        let of = |error| ListError::Members(error);
        let response = Members::read_expecting(text, &["jsonrpc", "id", "result", "error"]).map_err(of)?;
        let result = match (response.find("result"), response.find("error")) {
            (Some(result), None) => result,
            (None, Some(_)) => return Ok(None),
            (Some(_), Some(_)) | (None, None) => return Err(ListError::Outcome),
        };
        let expected = [listing.member(), "cacheScope", "nextCursor"];
        let members = Members::read_expecting(result, &expected).map_err(of)?;
        let missing = ListError::Missing(listing.member());
        let list = members.find(listing.member()).ok_or(missing)?;
        let items = elements(list)
            .map_err(of)?
            .into_iter()
            .map(|item| read_item(listing, item));

        let malformed = ListError::Members(MembersError::Malformed);
        let scope = match members.find("cacheScope") {
            Some("\"private\"") => CacheScope::Private,
            Some(other) => CacheScope::Other(place_of(other, text).ok_or(malformed)?),
            // Just behind the opening brace.
            None => CacheScope::Unsaid(place_of(result, text).ok_or(malformed)?.start + 1),
        };
        Ok(Some(Self {
            items: items.collect::<Result<_, _>>()?,
            list: place_of(list, text).ok_or(malformed)?,
            scope,
        }))
    }
}

impl CacheScope {
    fn made_private(self) -> Option<(Range<usize>, String)> {
        match self {
            Self::Private => None,
            Self::Other(place) => Some((place, "\"private\"".to_owned())),
            // The result has another member: the list.
            Self::Unsaid(place) => Some((place..place, "\"cacheScope\":\"private\",".to_owned())),
        }
    }
}

fn read_item(listing: Listing, text: &str) -> Result<Item<'_>, ListError> {
    let members = Members::read_expecting(text, &[listing.key()]).map_err(ListError::Members)?;
    let key = members
        .find_text(listing.key())
        .ok_or(ListError::Key(listing.key()))?;
    Ok(Item { key, text })
}

/// A text with parts replaced; the text itself if there are none.
fn replaced(text: &str, mut changes: Vec<(Range<usize>, String)>) -> Cow<'_, str> {
    if changes.is_empty() {
        return Cow::Borrowed(text);
    }
    changes.sort_by_key(|(place, _)| place.start);
    let mut output = String::with_capacity(text.len() + 32);
    let mut done = 0;
    for (place, instead) in changes {
        output.push_str(text.get(done..place.start).unwrap_or_default());
        output.push_str(&instead);
        done = place.end;
    }
    output.push_str(text.get(done..).unwrap_or_default());
    Cow::Owned(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "{\"jsonrpc\":\"2.0\", \"id\":1,\r\n \"result\" : {\"tools\":[ {\"name\":\"a\", \"x\":1.50} ,\
        {\"title\":\"\\u0042\",\"name\":\"\\u0062\"},{\"name\":\"c\",\"inputSchema\":{\"maximum\":18446744073709551615}}],\
        \"nextCursor\":\"n\",\"cacheScope\":\"public\"} }";

    fn tools<'a>(text: &'a str, is_private: bool, names: &[&str]) -> Result<Filtered<'a>, ListError> {
        filter(Listing::Tools, text.as_bytes(), is_private, |item| {
            names.contains(&item.key.as_str())
        })
    }

    #[test]
    fn what_is_kept_stays_byte_for_byte() {
        let filtered = tools(PAGE, false, &["a", "c"]).unwrap();
        let expected = PAGE.replace(
            " {\"name\":\"a\", \"x\":1.50} ,{\"title\":\"\\u0042\",\"name\":\"\\u0062\"},",
            "{\"name\":\"a\", \"x\":1.50},",
        );
        assert_eq!(filtered.body, expected);
        assert_eq!((filtered.kept, filtered.dropped), (2, 1));
    }

    #[test]
    fn nothing_dropped_means_the_same_bytes() {
        let filtered = tools(PAGE, false, &["a", "b", "c"]).unwrap();
        assert!(matches!(filtered.body, Cow::Borrowed(body) if body == PAGE));
        let private = PAGE.replace("public", "private");
        let filtered = tools(&private, true, &["a", "b", "c"]).unwrap();
        assert!(matches!(filtered.body, Cow::Borrowed(_)));
    }

    #[test]
    fn a_list_for_one_caller_is_private() {
        let filtered = tools(PAGE, true, &["a", "b", "c"]).unwrap();
        assert_eq!(filtered.body, PAGE.replace("public", "private"));
        let silent = r#"{"jsonrpc":"2.0","id":1,"result":{ "tools":[{"name":"a"}]}}"#;
        let filtered = tools(silent, true, &[]).unwrap();
        assert_eq!(
            filtered.body,
            r#"{"jsonrpc":"2.0","id":1,"result":{"cacheScope":"private", "tools":[]}}"#
        );
        let odd = r#"{"jsonrpc":"2.0","id":1,"result":{"cacheScope":"priv\u0061te","tools":[]}}"#;
        assert_eq!(tools(odd, true, &[]).unwrap().body, odd.replace("\\u0061", "a"));
    }

    #[test]
    fn the_scope_may_stand_before_the_list() {
        let text = r#"{"jsonrpc":"2.0","id":1,"result":{"cacheScope":"public","tools":[{"name":"a"},{"name":"b"}],"ttlMs":5}}"#;
        let expected =
            r#"{"jsonrpc":"2.0","id":1,"result":{"cacheScope":"private","tools":[{"name":"b"}],"ttlMs":5}}"#;
        assert_eq!(tools(text, true, &["b"]).unwrap().body, expected);
    }

    #[test]
    fn each_listing_has_its_member_and_key() {
        for (listing, member, key) in [
            (Listing::Prompts, "prompts", "name"),
            (Listing::Resources, "resources", "uri"),
            (Listing::ResourceTemplates, "resourceTemplates", "uriTemplate"),
        ] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"{member}":[{{"{key}":"k"}}]}}}}"#);
            let found = items(listing, text.as_bytes()).unwrap();
            assert_eq!(found.first().map(|item| item.key.as_str()), Some("k"));
        }
    }

    #[test]
    fn an_error_of_the_server_is_handed_on() {
        let text = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"m"}}"#;
        assert_eq!(tools(text, true, &[]).unwrap().body, text);
    }

    #[test]
    fn what_could_hide_an_item_is_refused() {
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"tools":[{"name":"a"}]}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]},"result":{"tools":[{"name":"a"}]}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"Tools":[{"name":"a"}]}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]},"Result":{"tools":[{"name":"a"}]}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","name":"b"}]}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","NAME":"b"}]}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":1}]}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"title":"b"}]}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":["a"]}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":{"a":{}}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]},"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"[{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}]"#,
            "data: x",
            "",
        ] {
            assert!(tools(text, false, &["a", "b"]).is_err(), "{text}");
        }
        assert_eq!(
            filter(Listing::Tools, b"\xff", false, |_| true),
            Err(ListError::Members(MembersError::NotUtf8))
        );
    }
}
