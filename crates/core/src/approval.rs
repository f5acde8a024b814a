//! Approvals: a person's yes to one canonical record (design, section 5, "Approval").
//!
//! The record holds everything that is approved. The page that a person sees, the hash that is kept, and what is done
//! in the end are all made from it. Text that an agent or client supplied stands in a field of its own. Who may
//! approve is policy's question and is not answered here, and nothing here hashes: it says which bytes are hashed.

mod text;

pub use text::AgentText;
use text::is_hidden;

use crate::actor::ChainLink;
use crate::authorization_details::AuthorizationDetails;
use crate::id::{
    AgentId, ApprovalId, ClientId, ConnectionId, ResourceId, TenantId, TokenFamilyId, TokenId, UserId,
};
use crate::lineage::Lineage;
use crate::name::Name;
use crate::proposal::GrantType;
use crate::resource::Sensitivity;
use crate::scope::Authority;
use crate::time::{Timestamp, Ttl};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What one person's yes is about. Every field is shown; nothing that is done comes from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRecord {
    /// The form of the record: 1.
    pub version: u8,
    /// Its id, which is the page's address and no capability.
    pub id: ApprovalId,
    /// The tenant.
    pub tenant: TenantId,
    /// What is asked.
    pub subject: Asked,
    /// What is carried along from the request until the yes is used.
    pub basis: Basis,
    /// Everything that the request hangs on: revoking any of it ends the request.
    pub lineage: Lineage,
    /// How many people must say yes, and in which way.
    pub requirement: Requirement,
    /// The hash of the policy set that asked for the yes.
    pub policy_set: String,
    /// When it was asked.
    pub requested_at: Timestamp,
    /// Until when a yes can be given.
    pub expires_at: Timestamp,
    /// Makes each record its own, though all else be equal.
    pub nonce: String,
}

/// What is asked: the same for every request for the same thing, however often it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// A token, a call, or access for the person who is asked.
    pub kind: ApprovalKind,
    /// The agent that asks.
    pub agent: Party<AgentId>,
    /// The accountable person or group of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Name>,
    /// The client it came in through.
    pub client: Party<ClientId>,
    /// The person that the agent acts for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Party<UserId>>,
    /// Every agent behind the request, the asking one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<ChainLink>,
    /// The action, as policies name it.
    pub action: String,
    /// How the token was asked for; none for a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_type: Option<GrantType>,
    /// The resource; none for an agent token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Party<ResourceId>>,
    /// The accountable person or group of the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_owner: Option<Name>,
    /// The agent that an agent token is handed over to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand_over_to: Option<Name>,
    /// The connection whose credential is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Party<ConnectionId>>,
    /// What is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<AskedCall>,
    /// The scopes that the token gets, or that the call needs.
    pub scopes: Authority,
    /// The authorization details that the token gets, each as it is.
    #[serde(default, skip_serializing_if = "AuthorizationDetails::is_empty")]
    pub authorization_details: AuthorizationDetails,
    /// The highest sensitivity of any of them.
    pub sensitivity: Sensitivity,
    /// How long what is given lives at most.
    pub lifetime: Ttl,
    /// What the agent or client says of it, in its own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says: Option<AgentText>,
}

/// A call that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedCall {
    /// The tool's or prompt's name, a document's URI, or `METHOD path`.
    pub target: String,
    /// The digest of the accepted definition of the tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// Every argument, as it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Value>,
    /// The request that is sent on, where it is one of HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Box<AskedRequest>>,
}

/// An HTTP request as it is sent on, but for the credential and for what only names the attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedRequest {
    /// The method.
    pub method: String,
    /// Scheme, host and port.
    pub origin: String,
    /// The whole path in its one spelling.
    pub path: String,
    /// The query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The headers of the caller.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<AskedBody>,
}

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedBody {
    /// How many bytes.
    pub bytes: u64,
    /// Their SHA-256, in hexadecimal.
    pub sha256: String,
    /// The body itself, where it is short text that looks as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl AskedBody {
    /// A body with this digest.
    pub fn new(body: &[u8], sha256: String) -> Self {
        let text = std::str::from_utf8(body).ok();
        let is_shown = |text: &&str| {
            let is_plain = |character| matches!(character, '\n' | '\r' | '\t') || !is_hidden(character);
            text.len() <= MAX_BODY_TEXT && text.chars().all(is_plain)
        };
        Self {
            bytes: body.len() as u64,
            sha256,
            text: text.filter(is_shown).map(str::to_owned),
        }
    }
}

/// Something with an id and a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party<I> {
    /// The id.
    pub id: I,
    /// The name.
    pub name: Name,
}

/// What kind of thing is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalKind {
    /// A token that policy gives only with a yes.
    Token,
    /// A call that policy permits only with a yes.
    Call,
    /// Access of an agent for a person who is not there: that person's own yes (OpenID Connect CIBA).
    Access,
}

impl ApprovalKind {
    /// The word that policies compare.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Call => "call",
            Self::Access => "access",
        }
    }
}

/// What a request for a token stood on: carried until the yes, since what was presented may be over by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The agent itself.
    Itself,
    /// A person who was proved when the request came.
    Person,
    /// A token of ours.
    Token(Box<ParentToken>),
    /// What a person agreed to: by a code, or by a refresh token.
    Agreement(Box<AgreementBasis>),
    /// A call, which comes with a token of its own when it is made again.
    Call,
}

/// What must be known of an agreement to issue a token on it later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreementBasis {
    /// The family that the token is issued in.
    pub family: TokenFamilyId,
    /// When nothing more is issued in it.
    pub expires_at: Timestamp,
    /// Whether it is the family's first token, with which the client gets what goes along with it.
    pub is_first: bool,
    /// The client, as it named itself, if it is to get an ID token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_token_for: Option<String>,
    /// Stands in the ID token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

/// What must be known of a token of ours to exchange it later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParentToken {
    /// Its id.
    pub id: TokenId,
    /// The person whose authority it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// The agent whose authority it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// What it is for.
    pub audience: String,
    /// Its scopes, as written.
    pub scope: String,
    /// Its authorization details.
    #[serde(default, skip_serializing_if = "AuthorizationDetails::is_empty")]
    pub authorization_details: AuthorizationDetails,
    /// The client it was issued to.
    pub client: ClientId,
    /// The agents behind it.
    pub actors: Vec<AgentId>,
    /// Who else may exchange it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_act: Option<AgentId>,
    /// What it hangs on.
    pub lineage: Lineage,
    /// How the agent was proved.
    pub assurance: crate::assurance::AgentAssurance,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// How many people must say yes, and in which way: found by policy with a yes that nobody has given yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// How many different people.
    pub count: u32,
    /// What each of them must do besides.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub methods: BTreeSet<ApprovalMethod>,
}

/// How somebody said yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalMethod {
    /// On the page, signed in.
    Page,
    /// With a token of theirs, at the interface.
    Interface,
    /// By choosing the number that the asking side shows.
    Number,
    /// By a passkey that signed the record's hash.
    Passkey,
}

impl ApprovalMethod {
    /// The word that policies compare.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Interface => "interface",
            Self::Number => "number",
            Self::Passkey => "passkey",
        }
    }

    /// Every method.
    pub const ALL: [Self; 4] = [Self::Page, Self::Interface, Self::Number, Self::Passkey];
}

/// What policies see of a yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalFacts {
    /// The record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ApprovalId>,
    /// Who said yes.
    pub approvers: BTreeSet<Name>,
    /// How many they are.
    pub count: u32,
    /// What every one of them did.
    pub methods: BTreeSet<ApprovalMethod>,
    /// When the last of them said it.
    pub given_at: Timestamp,
}

/// Where a request for a yes stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// Nobody has answered, or not enough people.
    Pending,
    /// Enough people said yes; it can be used once.
    Approved,
    /// Somebody said no.
    Denied,
    /// Nobody answered in time, or nobody used it in time, or what it hangs on is gone.
    Expired,
    /// It was used.
    Used,
}

impl ApprovalState {
    /// The word stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Used => "used",
        }
    }

    /// The state that a stored word names.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [
            Self::Pending,
            Self::Approved,
            Self::Denied,
            Self::Expired,
            Self::Used,
        ];
        all.into_iter().find(|state| state.as_str() == word)
    }
}

/// Why a record cannot be put before a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It does not fit on a page.
    #[error("what would have to be approved is longer than {MAX_RECORD} bytes, and does not fit on a page")]
    TooLong,
    /// A number in it has no canonical form.
    #[error("a number has no canonical form")]
    Number,
}

impl ApprovalRecord {
    /// The canonical text (RFC 8785): what is stored and shown.
    ///
    /// # Errors
    /// What does not fit on a page cannot be approved.
    pub fn to_text(&self) -> Result<String, RecordError> {
        let text = canonical(self)?;
        if text.len() > MAX_RECORD {
            return Err(RecordError::TooLong);
        }
        Ok(text)
    }

    /// The bytes whose SHA-256 is the record's hash: a prefix that no other hash of ours has, then the text.
    pub fn to_hash(text: &str) -> Vec<u8> {
        [HASH_PREFIX, text.as_bytes()].concat()
    }
}

/// The bytes whose SHA-256 is the challenge that a passkey signs with a yes to the record of this hash (WebAuthn §13.4.3:
/// unpredictable by its nonce). Record and nonce are enough to check it.
pub fn challenge(nonce: &[u8; 32], record_hash: &[u8; 32]) -> Vec<u8> {
    [CHALLENGE_PREFIX, nonce, record_hash].concat()
}

impl Asked {
    /// What a call does, in words that stand before its target.
    pub fn verb(&self) -> &'static str {
        match self.action.as_str() {
            "get_prompt" => "fetch the prompt",
            "read_resource" => "read the document",
            "request" => "send",
            _ => "call",
        }
    }

    /// The bytes whose SHA-256 names what is asked, so that nobody is asked for the same thing twice at once.
    ///
    /// # Errors
    /// A number without canonical form.
    pub fn to_identity(&self, tenant: TenantId) -> Result<Vec<u8>, RecordError> {
        let text = canonical(&(tenant, self))?;
        Ok([IDENTITY_PREFIX, text.as_bytes()].concat())
    }
}

fn canonical(value: &impl Serialize) -> Result<String, RecordError> {
    serde_json_canonicalizer::to_string(value).map_err(|_| RecordError::Number)
}

/// How long a person has to answer.
pub const PENDING_FOR: Ttl = Ttl::from_minutes(10);
/// The longest that a client may ask for.
pub const LONGEST_PENDING: Ttl = Ttl::from_minutes(60);
/// How long a yes can be used.
pub const USABLE_FOR: Ttl = Ttl::from_minutes(10);
/// How many people policy may ask for at most.
pub const MAX_COUNT: u32 = 5;
/// The longest record.
pub const MAX_RECORD: usize = 8 << 10;
/// The longest body of which the text is shown.
pub const MAX_BODY_TEXT: usize = 2 << 10;
/// The longest text of an agent, in characters.
pub const MAX_TEXT: usize = 200;

const HASH_PREFIX: &[u8] = b"chancery approval record 1\0";
const CHALLENGE_PREFIX: &[u8] = b"chancery approval challenge 1\0";
const IDENTITY_PREFIX: &[u8] = b"chancery approval asked 1\0";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id as _;
    use serde_json::json;

    fn record() -> ApprovalRecord {
        ApprovalRecord {
            version: 1,
            id: ApprovalId::from_bytes([1; 16]),
            tenant: TenantId::from_bytes([2; 16]),
            subject: Asked {
                kind: ApprovalKind::Call,
                agent: Party {
                    id: AgentId::from_bytes([3; 16]),
                    name: "planner".parse().unwrap(),
                },
                owner: None,
                client: Party {
                    id: ClientId::from_bytes([4; 16]),
                    name: "planner".parse().unwrap(),
                },
                user: None,
                chain: Vec::new(),
                action: "call_tool".to_owned(),
                grant_type: None,
                resource: None,
                resource_owner: None,
                hand_over_to: None,
                connection: None,
                call: Some(AskedCall {
                    target: "pay".to_owned(),
                    definition: None,
                    arguments: Some(json!({ "b": 1, "a": 2.50 })),
                    request: None,
                }),
                scopes: Authority::default(),
                authorization_details: AuthorizationDetails::default(),
                sensitivity: Sensitivity::Write,
                lifetime: Ttl::from_seconds(60),
                says: AgentText::clean("please"),
            },
            basis: Basis::Call,
            lineage: Lineage::default(),
            requirement: Requirement {
                count: 1,
                methods: BTreeSet::new(),
            },
            policy_set: "x".to_owned(),
            requested_at: Timestamp::from_seconds(1),
            expires_at: Timestamp::from_seconds(2),
            nonce: "n".to_owned(),
        }
    }

    #[test]
    fn the_text_is_canonical_and_reads_back() {
        let text = record().to_text().unwrap();
        assert!(text.contains(r#""arguments":{"a":2.5,"b":1}"#), "{text}");
        let read: ApprovalRecord = serde_json::from_str(&text).unwrap();
        assert_eq!(read.to_text().unwrap(), text);
        assert_eq!(read.id, record().id);
    }

    #[test]
    fn what_does_not_fit_on_a_page_has_no_text() {
        let mut long = record();
        if let Some(call) = &mut long.subject.call {
            call.arguments = Some(json!({ "a": "x".repeat(MAX_RECORD) }));
        }
        assert_eq!(long.to_text(), Err(RecordError::TooLong));
    }

    #[test]
    fn the_same_question_has_one_identity_whenever_it_is_asked() {
        let identity = |record: &ApprovalRecord| record.subject.to_identity(record.tenant).unwrap();
        let (first, mut later) = (record(), record());
        later.nonce = "m".to_owned();
        later.expires_at = Timestamp::from_seconds(9);
        assert_eq!(identity(&first), identity(&later));
        assert_ne!(first.to_text().unwrap(), later.to_text().unwrap());
        if let Some(call) = &mut later.subject.call {
            call.arguments = Some(json!({ "a": 2.5, "b": 2 }));
        }
        assert_ne!(identity(&first), identity(&later));
        let elsewhere = TenantId::from_bytes([9; 16]);
        assert_ne!(identity(&first), first.subject.to_identity(elsewhere).unwrap());
    }

    #[test]
    fn an_agents_text_cannot_dress_up_as_the_page() {
        let clean = |text: &str| AgentText::clean(text).map(|text| text.as_str().to_owned());
        let hostile =
            "\u{202e}evah\u{202c} <b>I</b>\r\n\r\n\tApproved\u{200b} by\u{0000} Ada\u{feff}\u{e0041}";
        assert_eq!(clean(hostile).unwrap(), "evah <b>I</b> Approved by Ada");
        assert_eq!(clean(" \u{200f}\n"), None);
        assert_eq!(clean(&"ä".repeat(500)).unwrap().chars().count(), MAX_TEXT);
        let stored = serde_json::to_string("a\u{202e}b").unwrap();
        assert!(serde_json::from_str::<AgentText>(&stored).is_err());
    }

    #[test]
    fn a_body_is_shown_where_it_looks_as_it_is_and_bound_everywhere() {
        let body = |bytes: &[u8]| AskedBody::new(bytes, "digest".to_owned());
        assert_eq!(body(b"{\n\t\"a\": 1\r\n}").text.unwrap(), "{\n\t\"a\": 1\r\n}");
        for hidden in ["a\u{202e}b", "a\u{200b}", "a\u{0}", "a\u{1b}[2K", "\u{2028}"] {
            assert_eq!(body(hidden.as_bytes()).text, None, "{hidden:?}");
        }
        assert_eq!(body(&[0xff, 0xfe]).text, None);
        let long = body("x".repeat(MAX_BODY_TEXT + 1).as_bytes());
        assert_eq!((long.bytes, long.text), (2_049, None));
    }

    #[test]
    fn a_hash_is_of_nothing_else() {
        let text = record().to_text().unwrap();
        assert!(ApprovalRecord::to_hash(&text).starts_with(b"chancery approval record 1\0{"));
    }
}
