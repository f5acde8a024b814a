//! Every operation of the administration interface: what OpenAPI describes, and what a test holds against the
//! router.

use crate::http::api::caller::ApiScope;

/// One operation.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// The method, in lower case.
    pub method: &'static str,
    /// The path below `/api/v1`, with `{parameters}`.
    pub path: &'static str,
    /// The scope that a token needs; `None` where the request is its own proof, or public.
    pub scope: Option<ApiScope>,
    /// One line.
    pub summary: &'static str,
    /// The schema of the body, if there is one.
    pub body: Option<&'static str>,
    /// The status of success.
    pub success: u16,
    /// Query parameters: name and meaning.
    pub query: &'static [(&'static str, &'static str)],
}

/// A collection of nouns, with the schema of what is specific to them.
pub const COLLECTIONS: &[(&str, &str)] = &[
    ("agents", "AgentSpec"),
    ("blueprints", "BlueprintSpec"),
    ("clients", "ClientSpec"),
    ("connections", "ConnectionSpec"),
    ("grants", "GrantSpec"),
    ("registration_rules", "RegistrationRuleSpec"),
    ("resources", "ResourceSpec"),
    ("runtime_bindings", "RuntimeBindingSpec"),
    ("trusted_issuers", "TrustedIssuerSpec"),
    ("users", "UserSpec"),
];

/// Operations that are not about one collection.
pub const OPERATIONS: &[Operation] = &[
    public("get", "/openapi.json", "this description"),
    with_body(
        "post",
        "/apply",
        ApiScope::Write,
        "apply a document of nouns in one batch",
        "Document",
    )
    .query(PLAN),
    get(
        "/export",
        ApiScope::Read,
        "everything stored, as a document for apply",
    ),
    post(
        "/kill/{noun}/{name}",
        ApiScope::Kill,
        "stop a noun and everything that hangs on it, at once",
    )
    .query(DRY_RUN),
    get(
        "/approvals",
        ApiScope::Read,
        "requests for a person's yes that the caller may answer or look at, the newest first",
    )
    .query(APPROVALS),
    get(
        "/approvals/{id}",
        ApiScope::Read,
        "one request: the whole record, and what people answered",
    ),
    with_body(
        "post",
        "/approvals/{id}/approve",
        ApiScope::Write,
        "say yes, as a person whom policy lets",
        "Approving",
    ),
    with_body(
        "post",
        "/approvals/{id}/deny",
        ApiScope::Write,
        "say no",
        "Rejecting",
    ),
    get(
        "/resources/{name}/manifest",
        ApiScope::Read,
        "what the MCP server behind a resource shows: what is accepted and what is in quarantine",
    ),
    Operation {
        method: "post",
        path: "/resources/{name}/manifest",
        scope: Some(ApiScope::Write),
        summary: "accept what was seen last of a tool, prompt or resource",
        body: Some("Acceptance"),
        success: 204,
        query: &[],
    },
    get(
        "/connected_accounts",
        ApiScope::Read,
        "connected accounts in order of names, each with what can be said of it now in `status`",
    )
    .query(LIST),
    Operation {
        method: "post",
        path: "/connected_accounts",
        scope: Some(ApiScope::Write),
        summary: "make an account with its credential, or replace the credential of the owner's account",
        body: Some("NewAccount"),
        success: 201,
        query: &[],
    },
    get(
        "/connected_accounts/{name}",
        ApiScope::Read,
        "one account by name or id",
    ),
    with_body(
        "put",
        "/connected_accounts/{name}/credential",
        ApiScope::Write,
        "replace the credential; what was built on the one before ends",
        "NewCredential",
    ),
    post(
        "/connected_accounts/{name}/activate",
        ApiScope::Write,
        "put an account into use, or back into it",
    ),
    post(
        "/connected_accounts/{name}/suspend",
        ApiScope::Kill,
        "stop an account until it is activated again",
    ),
    post(
        "/connected_accounts/{name}/retire",
        ApiScope::Write,
        "disconnect: end an account for good and delete its credential",
    ),
    get(
        "/users/{name}/passkeys",
        ApiScope::Read,
        "passkeys of a person, without anything that helps to use one",
    ),
    Operation {
        method: "post",
        path: "/users/{name}/passkeys/{id}/remove",
        scope: Some(ApiScope::Kill),
        summary: "remove a passkey of a person, and end everything that hangs on the person",
        body: None,
        success: 204,
        query: &[],
    },
    get(
        "/sessions",
        ApiScope::Read,
        "sessions of people in order of names, without their secrets",
    )
    .query(LIST),
    Operation {
        method: "post",
        path: "/sessions/{name}/retire",
        scope: Some(ApiScope::Kill),
        summary: "sign somebody out: end a session and everything that hangs on it",
        body: None,
        success: 204,
        query: &[],
    },
    Operation {
        method: "put",
        path: "/connections/{name}/secret",
        scope: Some(ApiScope::Write),
        summary: "set the secret with which we prove ourselves at the provider of a connection",
        body: Some("SecretToSet"),
        success: 204,
        query: &[],
    },
    Operation {
        method: "put",
        path: "/trusted_issuers/{name}/secret",
        scope: Some(ApiScope::Write),
        summary: "set the secret with which we prove ourselves where people sign in",
        body: Some("SecretToSet"),
        success: 204,
        query: &[],
    },
    with_body(
        "post",
        "/bindings/test",
        ApiScope::Read,
        "compare a runtime's token with every binding",
        "TokenToTest",
    ),
    with_body(
        "post",
        "/bindings/github",
        ApiScope::Write,
        "look up the immutable ids of a GitHub repository",
        "Repository",
    ),
    with_body(
        "post",
        "/clients/{name}/adopt",
        ApiScope::Write,
        "give a client that made itself known to an agent, and put it into use; by name, id or metadata URL",
        "Adoption",
    ),
    get(
        "/registration_tokens",
        ApiScope::Read,
        "initial access tokens in order of names; never the token itself",
    )
    .query(LIST),
    Operation {
        method: "post",
        path: "/registration_tokens",
        scope: Some(ApiScope::Write),
        summary: "make a token with which clients of one agent register themselves; it is in `token`, once",
        body: Some("NewRegistrationToken"),
        success: 201,
        query: &[],
    },
    post(
        "/registration_tokens/{name}/retire",
        ApiScope::Write,
        "end an initial access token",
    ),
    get("/me", ApiScope::Read, "who calls, by the name that owns things"),
    with_body(
        "post",
        "/upstreams/inspect",
        ApiScope::Write,
        "look at an MCP server and propose what to store for it; nothing is stored",
        "ServerToInspect",
    ),
    get("/policy", ApiScope::Read, "the policy set in force"),
    with_body(
        "put",
        "/policy",
        ApiScope::Write,
        "put a policy set in force",
        "PolicyText",
    ),
    with_body(
        "post",
        "/policy/validate",
        ApiScope::Read,
        "check policies without storing them",
        "PolicyText",
    ),
    with_body(
        "post",
        "/policy/test",
        ApiScope::Audit,
        "evaluate stored decisions again",
        "PolicyTest",
    ),
    get(
        "/policy/versions",
        ApiScope::Read,
        "the versions of the policy set",
    ),
    with_body(
        "post",
        "/policy/observe",
        ApiScope::Write,
        "permit everything within limits for a while",
        "Observation",
    ),
    get(
        "/why/{id}",
        ApiScope::Audit,
        "why a decision, token or failed authentication came out so",
    ),
    get(
        "/keys",
        ApiScope::Read,
        "the keys that sign access tokens and ID tokens",
    ),
    with_body(
        "post",
        "/keys/rotate",
        ApiScope::Write,
        "publish a new signing key",
        "Rotation",
    ),
    with_body(
        "post",
        "/vault/rotate",
        ApiScope::Write,
        "rotate the tenant's key, or the root key: begin, or take one small step further",
        "VaultRotation",
    ),
    get(
        "/backup",
        ApiScope::Audit,
        "a copy of an SQLite database (on the server's own machine, in the system tenant)",
    ),
    get(
        "/restore",
        ApiScope::Read,
        "the restore that the data last went through",
    ),
    post(
        "/restore/confirm",
        ApiScope::Write,
        "confirm that what a restore lost has been looked at: the tenant issues again",
    ),
    Operation {
        method: "post",
        path: "/enrol",
        scope: None,
        summary: "become an administrator with the one-time code",
        body: Some("Enrolment"),
        success: 201,
        query: &[],
    },
    get(
        "/tenants",
        ApiScope::Read,
        "tenants with state and base URL (in the system tenant)",
    ),
    post(
        "/tenants/{name}/activate",
        ApiScope::Write,
        "put a tenant back into use (in the system tenant)",
    ),
    post(
        "/tenants/{name}/suspend",
        ApiScope::Kill,
        "stop a tenant (in the system tenant)",
    ),
    post(
        "/tenants/{name}/retire",
        ApiScope::Write,
        "end a tenant for good (in the system tenant)",
    ),
    Operation {
        method: "post",
        path: "/tenants",
        scope: Some(ApiScope::Write),
        summary: "make a tenant (in the system tenant)",
        body: Some("NewTenant"),
        success: 201,
        query: &[],
    },
    get(
        "/calls",
        ApiScope::Audit,
        "calls through gateway and broker with how they ended, newest first",
    )
    .query(CALLS),
    get(
        "/audit/events",
        ApiScope::Audit,
        "events as sentences, newest first",
    )
    .query(EVENTS),
    get("/audit/events/{id}", ApiScope::Audit, "one event with its parts"),
    get(
        "/audit/events/{id}/proof",
        ApiScope::Audit,
        "a proof that an event is in the log",
    ),
    Operation {
        method: "delete",
        path: "/audit/events/{id}/parts/{part}",
        scope: Some(ApiScope::Write),
        summary: "erase one part of an event; every proof stays valid",
        body: None,
        success: 204,
        query: &[],
    },
    get(
        "/audit/export",
        ApiScope::Audit,
        "the log for offline verification, as JSON lines",
    ),
    get(
        "/audit/log",
        ApiScope::Read,
        "the log's public key and newest checkpoint",
    ),
];

impl Operation {
    const fn query(self, query: &'static [(&'static str, &'static str)]) -> Self {
        Self { query, ..self }
    }
}

const fn public(method: &'static str, path: &'static str, summary: &'static str) -> Operation {
    Operation {
        method,
        path,
        scope: None,
        summary,
        body: None,
        success: 200,
        query: &[],
    }
}

const fn get(path: &'static str, scope: ApiScope, summary: &'static str) -> Operation {
    Operation {
        method: "get",
        path,
        scope: Some(scope),
        summary,
        body: None,
        success: 200,
        query: &[],
    }
}

const fn post(path: &'static str, scope: ApiScope, summary: &'static str) -> Operation {
    Operation {
        method: "post",
        path,
        scope: Some(scope),
        summary,
        body: None,
        success: 200,
        query: &[],
    }
}

const fn with_body(
    method: &'static str,
    path: &'static str,
    scope: ApiScope,
    summary: &'static str,
    body: &'static str,
) -> Operation {
    Operation {
        method,
        path,
        scope: Some(scope),
        summary,
        body: Some(body),
        success: 200,
        query: &[],
    }
}

const LIST: &[(&str, &str)] = &[
    ("limit", "at most so many, 1 to 500; default 100"),
    ("cursor", "where the page before ended"),
    ("state", "only this state"),
];
const APPROVALS: &[(&str, &str)] = &[
    ("limit", "at most so many are looked at, 1 to 200; default 50"),
    ("cursor", "where the page before ended"),
    (
        "state",
        "`pending` (default), `approved`, `denied`, `expired` or `used`",
    ),
];
const PLAN: &[(&str, &str)] = &[("plan", "`true`: only say what would change")];
const DRY_RUN: &[(&str, &str)] = &[("dry_run", "`true`: only say what would stop")];
const CALLS: &[(&str, &str)] = &[
    ("limit", "at most so many, 1 to 500; default 50"),
    (
        "cursor",
        "where the page before ended; a page may be short, or empty, and not be the last",
    ),
    ("agent", "only of this agent, by name or id"),
    ("user", "only for this person, by name or id"),
    ("resource", "only at this resource, by name or id"),
    ("tool", "only of this tool, prompt, document or request"),
    ("since", "only decided at this moment or later, RFC 3339"),
    ("until", "only decided before this moment, RFC 3339"),
    ("denied", "`true`: only those that were refused"),
];
const EVENTS: &[(&str, &str)] = &[
    ("limit", "at most so many, 1 to 500; default 50"),
    ("cursor", "where the page before ended"),
    (
        "kind",
        "only this kind; all that start with it if it ends with a dot",
    ),
    ("id", "only events whose leaf names this id"),
];
