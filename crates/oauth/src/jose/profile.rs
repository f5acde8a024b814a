//! What a token must be to be accepted as one of a kind (RFC 8725 §3.11, §3.12).
//!
//! A profile fixes type, algorithms, issuer, subject, audience, claims and times. There is one for
//! each kind of token, so that a token of one kind is never taken for another. A profile borrows what
//! it expects and costs nothing to build for each check.
//!
//! It holds no rules on the meaning of further claims (`nonce`, `azp`, `htm`, pinned runtime claims):
//! those belong to the callers. Neither does it remember `jti`: single use is decided at commit.

use super::algorithm::Algorithm;
use chancery_core::time::Ttl;

/// The rules for one kind of token.
#[derive(Clone, Copy, Debug)]
pub struct Profile<'a> {
    pub(super) typ: TypeRule,
    pub(super) algorithms: &'a [Algorithm],
    pub(super) issuer: IssuerRule<'a>,
    pub(super) subject: SubjectRule<'a>,
    pub(super) audience: AudienceRule<'a>,
    pub(super) required: &'static [&'static str],
    pub(super) forbidden: &'static [&'static str],
    pub(super) max_age: Option<Ttl>,
    pub(super) max_lifetime: Option<Ttl>,
    pub(super) leeway: Ttl,
    pub(super) allows_embedded_key: bool,
}

/// What `typ` must be. Compared as media types: without regard to case, `application/` understood
/// (RFC 7515 §4.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeRule {
    /// One of these, and present.
    Exactly(&'static [&'static str]),
    /// Absent or one of these.
    AbsentOr(&'static [&'static str]),
}

/// What `iss` must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuerRule<'a> {
    /// This string, byte for byte.
    Exactly(&'a str),
    /// Not looked at: something else names the issuer.
    Unchecked,
}

/// What `sub` must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectRule<'a> {
    /// Any string.
    Any,
    /// This string.
    Exactly(&'a str),
    /// A SPIFFE ID with a path in this trust domain (SPIFFE ID §2).
    SpiffeIdIn(&'a str),
}

/// What `aud` must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudienceRule<'a> {
    /// Includes this value.
    Contains(&'a str),
    /// Includes at least one of these values.
    ContainsAny(&'a [String]),
    /// This value alone, as a string or as an array of one.
    Sole(&'a str),
    /// This value alone and as a string.
    SoleString(&'a str),
    /// Not looked at.
    Unchecked,
}

impl<'a> Profile<'a> {
    /// A profile with every algorithm, any subject, `exp` required, no limit on age or lifetime and
    /// no leeway.
    pub const fn new(typ: TypeRule, issuer: IssuerRule<'a>, audience: AudienceRule<'a>) -> Self {
        Self {
            typ,
            algorithms: Algorithm::ALL,
            issuer,
            subject: SubjectRule::Any,
            audience,
            required: &["exp"],
            forbidden: &[],
            max_age: None,
            max_lifetime: None,
            leeway: Ttl::ZERO,
            allows_embedded_key: false,
        }
    }

    /// An access token (RFC 9068 §2, §4): `typ` must be `at+jwt`. Ours, or one of an issuer that
    /// follows the RFC.
    pub const fn access_token(issuer: &'a str, audience: &'a str) -> Self {
        Self {
            required: &["iss", "exp", "aud", "sub", "client_id", "iat", "jti"],
            leeway: NODE_SKEW,
            ..Self::new(
                TypeRule::Exactly(&["at+jwt"]),
                IssuerRule::Exactly(issuer),
                AudienceRule::Contains(audience),
            )
        }
    }

    /// A client's assertion of itself (RFC 7523 §3; OIDC Core §9 for `jti`).
    ///
    /// `aud` must be our issuer as the sole value and a string: RFC 7523bis demands the sole value,
    /// and the FAPI 2.0 tests demand that an array is refused. `typ` is not demanded of clients
    /// that comply on the audience. A lifetime of at most an hour bounds how long `jti` is kept.
    pub const fn client_assertion(client_id: &'a str, our_issuer: &'a str) -> Self {
        Self {
            subject: SubjectRule::Exactly(client_id),
            required: &["iss", "sub", "aud", "exp", "jti"],
            max_lifetime: Some(HOUR),
            leeway: OUTSIDE_SKEW,
            ..Self::new(
                TypeRule::AbsentOr(&["JWT", "client-authentication+jwt"]),
                IssuerRule::Exactly(client_id),
                AudienceRule::SoleString(our_issuer),
            )
        }
    }

    /// An ID token of a trusted issuer (OIDC Core §2, §3.1.3.7). A security event or logout token,
    /// which older issuers send under the same `typ`, is told apart by `events` (OIDC Back-Channel
    /// Logout §2.4).
    pub const fn id_token(issuer: &'a str, audiences: &'a [String]) -> Self {
        Self {
            required: &["iss", "sub", "aud", "exp", "iat"],
            forbidden: &["events"],
            leeway: OUTSIDE_SKEW,
            ..Self::new(
                TypeRule::AbsentOr(&["JWT"]),
                IssuerRule::Exactly(issuer),
                AudienceRule::ContainsAny(audiences),
            )
        }
    }

    /// An access token of a trusted issuer that need not follow RFC 9068.
    pub const fn issuer_access_token(issuer: &'a str, audiences: &'a [String]) -> Self {
        Self {
            typ: TypeRule::AbsentOr(&["JWT", "at+jwt"]),
            ..Self::id_token(issuer, audiences)
        }
    }

    /// A platform's token for what runs there: Kubernetes, a cloud identity, a CI job.
    pub const fn runtime_token(issuer: &'a str, audiences: &'a [String]) -> Self {
        Self {
            required: &["iss", "sub", "aud", "exp", "iat"],
            forbidden: &["events"],
            leeway: OUTSIDE_SKEW,
            ..Self::new(
                TypeRule::AbsentOr(&["JWT"]),
                IssuerRule::Exactly(issuer),
                AudienceRule::ContainsAny(audiences),
            )
        }
    }

    /// A JWT-SVID used to authenticate (SPIFFE JWT-SVID §2, §3; OAuth SPIFFE client authentication):
    /// keys of the trust domain, subject in that domain, our issuer as the only audience.
    pub const fn jwt_svid(trust_domain: &'a str, our_issuer: &'a str) -> Self {
        Self {
            algorithms: Algorithm::JWT_SVID,
            subject: SubjectRule::SpiffeIdIn(trust_domain),
            required: &["sub", "aud", "exp"],
            leeway: OUTSIDE_SKEW,
            ..Self::new(
                TypeRule::AbsentOr(&["JWT", "JOSE"]),
                IssuerRule::Unchecked,
                AudienceRule::Sole(our_issuer),
            )
        }
    }

    /// A trusted issuer's assertion about a person, as a grant (RFC 7523 §3): for us alone, by our issuer (7523bis), short,
    /// and with an id, since it is used once.
    pub const fn assertion(issuer: &'a str, our_issuer: &'a str) -> Self {
        Self {
            required: &["iss", "sub", "aud", "exp", "iat", "jti"],
            max_lifetime: Some(HOUR),
            leeway: OUTSIDE_SKEW,
            ..Self::new(
                TypeRule::AbsentOr(&["JWT", "authorization-grant+jwt"]),
                IssuerRule::Exactly(issuer),
                AudienceRule::Sole(our_issuer),
            )
        }
    }

    /// An identity assertion authorization grant (ID-JAG draft -04 §3).
    pub const fn id_jag(issuer: &'a str, our_issuer: &'a str) -> Self {
        Self {
            required: &["iss", "sub", "aud", "client_id", "jti", "exp", "iat"],
            max_lifetime: Some(HOUR),
            leeway: OUTSIDE_SKEW,
            ..Self::new(
                TypeRule::Exactly(&["oauth-id-jag+jwt"]),
                IssuerRule::Exactly(issuer),
                AudienceRule::Sole(our_issuer),
            )
        }
    }

    /// A proof of possession (RFC 9449 §4.2, §4.3), checked with the key in its own header.
    pub const fn dpop_proof() -> Self {
        Self {
            required: &["jti", "htm", "htu", "iat"],
            max_age: Some(MINUTE),
            leeway: OUTSIDE_SKEW,
            allows_embedded_key: true,
            ..Self::new(
                TypeRule::Exactly(&["dpop+jwt"]),
                IssuerRule::Unchecked,
                AudienceRule::Unchecked,
            )
        }
    }

    /// The same, with these algorithms only.
    #[must_use]
    pub const fn with_algorithms(self, algorithms: &'a [Algorithm]) -> Self {
        Self { algorithms, ..self }
    }

    /// The same, with this rule for the subject.
    #[must_use]
    pub const fn with_subject(self, subject: SubjectRule<'a>) -> Self {
        Self { subject, ..self }
    }

    /// The same, requiring exactly these claims.
    #[must_use]
    pub const fn with_required(self, required: &'static [&'static str]) -> Self {
        Self { required, ..self }
    }

    /// The same, refusing tokens with any of these claims.
    #[must_use]
    pub const fn with_forbidden(self, forbidden: &'static [&'static str]) -> Self {
        Self { forbidden, ..self }
    }

    /// The same, refusing tokens issued longer ago than this; `iat` becomes required.
    #[must_use]
    pub const fn with_max_age(self, max_age: Ttl) -> Self {
        Self {
            max_age: Some(max_age),
            ..self
        }
    }

    /// The same, refusing tokens made to live longer than this, from `iat` or else from now.
    #[must_use]
    pub const fn with_max_lifetime(self, max_lifetime: Ttl) -> Self {
        Self {
            max_lifetime: Some(max_lifetime),
            ..self
        }
    }

    /// The same, with this much allowance between clocks, for `exp`, `nbf` and `iat` alike.
    #[must_use]
    pub const fn with_leeway(self, leeway: Ttl) -> Self {
        Self { leeway, ..self }
    }
}

impl TypeRule {
    /// Whether a `typ` follows the rule.
    pub(super) fn admits(self, typ: Option<&str>) -> bool {
        let (Self::Exactly(list) | Self::AbsentOr(list)) = self;
        match typ {
            Some(typ) => list
                .iter()
                .any(|allowed| short_media_type(typ).eq_ignore_ascii_case(allowed)),
            None => matches!(self, Self::AbsentOr(_)),
        }
    }
}

/// `typ` without a leading `application/`, if what follows has no other slash.
fn short_media_type(typ: &str) -> &str {
    match typ.split_once('/') {
        Some((kind, rest)) if kind.eq_ignore_ascii_case("application") && !rest.contains('/') => rest,
        Some(_) | None => typ,
    }
}

/// Nodes refuse service beyond one second of skew to the database: two nodes differ by at most two.
const NODE_SKEW: Ttl = Ttl::from_seconds(2);

/// What FAPI 2.0 asks us to accept from clocks of others (Security Profile §5.3.2.1).
const OUTSIDE_SKEW: Ttl = Ttl::from_seconds(10);

const MINUTE: Ttl = Ttl::from_seconds(60);

const HOUR: Ttl = Ttl::from_seconds(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_type_is_compared_as_a_media_type() {
        let rule = TypeRule::Exactly(&["at+jwt"]);
        for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/at+JWT"] {
            assert!(rule.admits(Some(typ)), "{typ}");
        }
        for typ in [
            "JWT",
            "at+jwt ",
            "text/at+jwt",
            "application/x/at+jwt",
            "at",
            "",
            "application/",
        ] {
            assert!(!rule.admits(Some(typ)), "{typ}");
        }
        assert!(!rule.admits(None));
    }

    #[test]
    fn type_may_be_absent_only_where_the_rule_says_so() {
        let rule = TypeRule::AbsentOr(&["JWT"]);
        assert!(rule.admits(None) && rule.admits(Some("jwt")));
        assert!(!rule.admits(Some("at+jwt")) && !rule.admits(Some("")));
    }
}
