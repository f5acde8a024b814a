//! Names, scopes, authorities, ids, URIs, origins and lineages: what is read prints as it was written, and what
//! was printed reads back the same.

use chancery_audit::{Origin, VerifierKey};
use chancery_core::id::{AgentId, TokenId, UserId, display, parse_any};
use chancery_core::lineage::Lineage;
use chancery_core::name::Name;
use chancery_core::scope::{Authority, Scope, ScopeSet};
use chancery_core::uri::{ResourceUri, check_base_url};
use std::fmt::Display;
use std::str::FromStr;

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };

    same::<Name>(text);
    same::<Scope>(text);
    same::<ResourceUri>(text);
    same::<AgentId>(text);
    same::<UserId>(text);
    same::<TokenId>(text);
    same::<Origin>(text);
    same::<VerifierKey>(text);
    if let Some((noun, bytes)) = parse_any(text) {
        assert_eq!(display(noun, bytes), text);
        assert!(text.parse::<Name>().is_err(), "an id that is a name");
    }

    if let Ok(scopes) = ScopeSet::parse(text) {
        assert_eq!(ScopeSet::parse(&scopes.to_string()).as_ref(), Ok(&scopes));
        assert_eq!(scopes.to_string().len(), text.len(), "a scope was lost");
        assert!(scopes.len() <= 256);
    }
    if let Ok(authority) = Authority::parse(text) {
        assert_eq!(Authority::parse(&authority.to_string()).as_ref(), Ok(&authority));
        assert_eq!(authority.intersection(&authority), authority);
        assert!(
            authority
                .pairs()
                .all(|(name, scope)| authority.allows(name, scope))
        );
    }
    if let Ok(lineage) = serde_json::from_str::<Lineage>(text) {
        let printed = serde_json::to_string(&lineage).expect("prints");
        assert_eq!(
            serde_json::from_str::<Lineage>(&printed).expect("reads back"),
            lineage
        );
    }
    if let Ok(url) = check_base_url(text) {
        let loopback = url.scheme() == "http";
        assert!(url.scheme() == "https" || loopback, "an insecure base");
        assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
    }
}

/// What is read from a text prints as that text.
fn same<T: FromStr + Display>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text);
    }
}
