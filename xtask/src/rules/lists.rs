//! What is allowed where: the tables behind the rules. Each list is sorted; a change here is a change of the
//! architecture and is reviewed as one.

/// A crate of the product.
#[derive(Debug)]
pub struct Crate {
    /// Its folder under `crates/`.
    pub name: &'static str,
    /// Its package.
    pub package: &'static str,
    /// Folders of the crates that it may depend on.
    pub sees: &'static [&'static str],
    /// Whether it is pure: no input or output, no clock, nothing asynchronous.
    pub is_pure: bool,
}

/// Every crate, and the arrows between them. A tenth needs an ADR.
pub const CRATES: &[Crate] = &[
    Crate {
        name: "core",
        package: "chancery-core",
        sees: &[],
        is_pure: true,
    },
    Crate {
        name: "oauth",
        package: "chancery-oauth",
        sees: &["core"],
        is_pure: true,
    },
    Crate {
        name: "policy",
        package: "chancery-policy",
        sees: &["core"],
        is_pure: true,
    },
    Crate {
        name: "vault",
        package: "chancery-vault",
        sees: &["core"],
        is_pure: true,
    },
    Crate {
        name: "audit",
        package: "chancery-audit",
        sees: &["core"],
        is_pure: true,
    },
    Crate {
        name: "mcp",
        package: "chancery-mcp",
        sees: &["core"],
        is_pure: true,
    },
    Crate {
        name: "store",
        package: "chancery-store",
        sees: &["core"],
        is_pure: false,
    },
    Crate {
        name: "server",
        package: "chancery-server",
        sees: &["core", "oauth", "policy", "vault", "audit", "mcp", "store"],
        is_pure: false,
    },
    Crate {
        name: "cli",
        package: "chancery",
        sees: &["audit", "core", "server"],
        is_pure: false,
    },
];

/// Dependencies that belong to some crates only, as written in manifests.
pub const EXCLUSIVE: &[(&str, &[&str])] = &[
    ("argon2", &["server"]),
    ("axum", &["server"]),
    ("cedar-policy", &["policy"]),
    ("clap", &["cli"]),
    ("deadpool-postgres", &["store"]),
    ("reqwest", &["server", "cli"]),
    ("rmcp", &["cli"]),
    ("rpassword", &["cli"]),
    ("rusqlite", &["store"]),
    ("tokio-postgres", &["store"]),
    ("tokio-postgres-rustls", &["store"]),
    ("tower-http", &["server"]),
    ("utoipa-axum", &["server"]),
    ("webauthn-rs", &["server"]),
];

/// What no pure crate may have below it, however deep.
pub const NEVER_BELOW_PURE: &[&str] = &[
    "async-std",
    "axum",
    "clap",
    "deadpool",
    "h2",
    "http",
    "hyper",
    "libsqlite3-sys",
    "mio",
    "postgres-protocol",
    "reqwest",
    "rusqlite",
    "rustls",
    "smol",
    "socket2",
    "tokio",
    "tokio-postgres",
    "tower",
];

/// What pure code never names: the world. Paths, or single words.
pub const NEVER_IN_PURE: &[&str] = &[
    "Instant",
    "SystemTime",
    "async",
    "await",
    "std::env",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Paths that may be named only in files whose path starts with one of the places. Each with the reason.
pub const ONLY_IN: &[OnlyIn] = &[
    OnlyIn {
        paths: &[
            "aws_lc_rs::aead",
            "aws_lc_rs::agreement",
            "aws_lc_rs::rsa",
            "aws_lc_rs::signature",
        ],
        within: &["crates/"],
        places: &[
            "crates/audit/src/",
            "crates/cli/src/sample/",
            "crates/oauth/src/jose/",
            "crates/server/src/keys.rs",
            "crates/vault/src/",
        ],
        why: "ciphers and signatures are used by `vault`, `oauth::jose`, `audit` and the server's `keys` only (and by the sample's issuers)",
    },
    OnlyIn {
        paths: &[
            "rusqlite",
            "tokio_postgres",
            "deadpool_postgres",
            "tokio_postgres_rustls",
        ],
        within: &["crates/"],
        places: &["crates/store/src/db/"],
        why: "engines differ only in `store::db`",
    },
    OnlyIn {
        paths: &["reqwest", "hyper::client", "hyper_util::client"],
        within: &["crates/server/"],
        places: &["crates/server/src/egress/"],
        why: "`egress` is the only way out",
    },
    OnlyIn {
        paths: &["jsonwebtoken", "reqwest", "rmcp"],
        within: &["crates/cli/"],
        places: &["crates/cli/src/sample/", "crates/cli/tests/"],
        why: "only the sample's parties, and clients in tests, bring libraries of their own",
    },
    OnlyIn {
        paths: &[
            "tokio::net",
            "std::net::TcpStream",
            "std::net::ToSocketAddrs",
            "std::net::UdpSocket",
        ],
        within: &["crates/server/"],
        places: &["crates/server/src/egress/", "crates/server/src/listener/"],
        why: "sockets are `listener`'s and `egress`'s",
    },
    OnlyIn {
        paths: HTTP_TYPES,
        within: &["crates/server/"],
        places: HTTP_PLACES,
        why: "a use case never names an HTTP type",
    },
    OnlyIn {
        paths: &["DangerSeededRandom"],
        within: &["crates/"],
        places: &["crates/core/src/random.rs"],
        why: "a seeded random source is for tests",
    },
    OnlyIn {
        paths: &["std::env"],
        within: &["crates/"],
        places: &["crates/cli/src/"],
        why: "the environment is read at the edge, in `cli`",
    },
    OnlyIn {
        paths: &["webauthn_rs"],
        within: &["crates/"],
        places: &["crates/server/src/people/webauthn.rs"],
        why: "one file sees webauthn-rs and its crypto stack, so that it can be replaced",
    },
    OnlyIn {
        paths: &["argon2"],
        within: &["crates/"],
        places: &["crates/server/src/people/hashing.rs"],
        why: "passwords are hashed in one place, on a few threads",
    },
    OnlyIn {
        paths: &["cedar_policy"],
        within: &["crates/"],
        places: &["crates/policy/src/"],
        why: "only `policy` sees Cedar",
    },
    OnlyIn {
        paths: &["SigningKey", "sign_compact", "chancery_oauth::jose::SigningKey"],
        within: &["crates/cli/", "crates/server/"],
        places: &[
            "crates/server/src/keys.rs",
            "crates/server/src/connect/private_key.rs",
        ],
        why: "`keys` is the only place that signs tokens, and `private_key` the only one that signs with what was uploaded",
    },
    OnlyIn {
        paths: &[
            "chancery_vault::open",
            "chancery_vault::sealed::open",
            "vault::open",
        ],
        within: &["crates/cli/", "crates/server/"],
        places: OPENS_SEALED,
        why: "what is sealed is opened in listed files only",
    },
    OnlyIn {
        paths: &[
            "chancery_store::event::insert",
            "store::event::insert",
            "event::insert",
        ],
        within: &["crates/cli/", "crates/server/"],
        places: &["crates/server/src/record.rs"],
        why: "`record` is the only writer of audit",
    },
];

/// One such limit.
#[derive(Debug)]
pub struct OnlyIn {
    /// The paths: each also with anything below it, and as the last words of a longer path if it is one word.
    pub paths: &'static [&'static str],
    /// Where the limit holds.
    pub within: &'static [&'static str],
    /// Where the paths may be named all the same.
    pub places: &'static [&'static str],
    /// Why.
    pub why: &'static str,
}

/// What a use case never names.
pub const HTTP_TYPES: &[&str] = &[
    "axum",
    "chancery_server::http",
    "crate::http",
    "http",
    "http_body",
    "http_body_util",
    "hyper",
    "hyper_util",
    "tower",
    "tower_http",
    "utoipa_axum",
];

/// Where HTTP is spoken.
pub const HTTP_PLACES: &[&str] = &[
    "crates/server/src/egress/",
    "crates/server/src/http/",
    "crates/server/src/listener/",
    // Puts the router on the sockets.
    "crates/server/src/node.rs",
];

/// Paths that files below a place never name, though others may.
pub const NEVER_IN: &[NeverIn] = &[
    NeverIn {
        place: "crates/server/src/http/",
        paths: &[
            "chancery_store::Batch",
            "chancery_store::Db",
            "chancery_store::Statement",
            "chancery_store::change",
            "chancery_store::db",
            "chancery_store::guard",
            "chancery_store::key",
            "chancery_store::lease",
            "chancery_store::log",
            "chancery_store::record",
            "chancery_vault",
            "crate::record",
        ],
        why: "`http` calls a use case, which loads, writes and signs",
    },
    NeverIn {
        place: "crates/cli/src/sample/",
        paths: &["chancery_audit", "chancery_core", "chancery_server"],
        why: "the sample's parties are foreign software and know nothing of Chancery",
    },
];

/// One such limit.
#[derive(Debug)]
pub struct NeverIn {
    /// Where it holds: what a file's path starts with.
    pub place: &'static str,
    /// What is not named there.
    pub paths: &'static [&'static str],
    /// Why.
    pub why: &'static str,
}

/// Files that open what the vault sealed: credentials in `connect::open`, signing keys and a former MAC key in `keys`, the
/// secret for a trusted issuer in `people`.
pub const OPENS_SEALED: &[&str] = &[
    "crates/server/src/connect/open.rs",
    "crates/server/src/keys.rs",
    "crates/server/src/keys/rotation.rs",
    "crates/server/src/people/issuer_secret.rs",
];

/// Files that look into a `Secret`. A file that is not here may not, and one
/// that no longer does leaves the list.
pub const EXPOSES_SECRET: &[&str] = &[
    "crates/cli/src/credentials.rs",
    "crates/cli/src/enrol.rs",
    "crates/cli/src/mcp/wrap.rs",
    "crates/cli/src/root_key.rs",
    "crates/cli/src/run/mod.rs",
    "crates/cli/src/serve.rs",
    "crates/cli/src/vault.rs",
    "crates/core/src/secret.rs",
    "crates/oauth/src/request/client.rs",
    "crates/server/src/approve/backchannel.rs",
    "crates/server/src/approve/notice.rs",
    "crates/server/src/connect/begin.rs",
    "crates/server/src/connect/client_secret.rs",
    "crates/server/src/connect/federated.rs",
    "crates/server/src/connect/inspect.rs",
    "crates/server/src/connect/key.rs",
    "crates/server/src/connect/open.rs",
    "crates/server/src/connect/private_key.rs",
    "crates/server/src/connect/provider.rs",
    "crates/server/src/connect/source.rs",
    "crates/server/src/connect/tokens.rs",
    "crates/server/src/directory/apply.rs",
    "crates/server/src/directory/secret.rs",
    "crates/server/src/egress/key_service.rs",
    "crates/server/src/egress/mail.rs",
    "crates/server/src/egress/openid.rs",
    "crates/server/src/egress/provider.rs",
    "crates/server/src/gateway/credential.rs",
    "crates/server/src/govern/enrol.rs",
    "crates/server/src/http/api/directory.rs",
    "crates/server/src/http/api/nouns.rs",
    "crates/server/src/http/api/registration.rs",
    "crates/server/src/http/api/vault.rs",
    "crates/server/src/http/device.rs",
    "crates/server/src/http/pages/cookie.rs",
    "crates/server/src/http/pages/credentials.rs",
    "crates/server/src/http/pages/enrol.rs",
    "crates/server/src/http/registration.rs",
    "crates/server/src/http/vault.rs",
    "crates/server/src/issue/agreement.rs",
    "crates/server/src/issue/assertion.rs",
    "crates/server/src/issue/authenticate.rs",
    "crates/server/src/issue/credential.rs",
    "crates/server/src/issue/device.rs",
    "crates/server/src/issue/id_token.rs",
    "crates/server/src/issue/introspect.rs",
    "crates/server/src/issue/proposed.rs",
    "crates/server/src/issue/refresh.rs",
    "crates/server/src/issue/revoke.rs",
    "crates/server/src/issue/subject.rs",
    "crates/server/src/issue/token.rs",
    "crates/server/src/keys.rs",
    "crates/server/src/keys/rotation.rs",
    "crates/server/src/keys/tag.rs",
    "crates/server/src/kms/mod.rs",
    "crates/server/src/people/browser.rs",
    "crates/server/src/people/code.rs",
    "crates/server/src/people/device.rs",
    "crates/server/src/people/hashing.rs",
    "crates/server/src/people/invitation.rs",
    "crates/server/src/people/issuer_secret.rs",
    "crates/server/src/people/password.rs",
    "crates/server/src/people/session.rs",
    "crates/server/src/people/sign_in.rs",
    "crates/server/src/registration/register.rs",
    "crates/server/src/registration/token.rs",
    "crates/server/src/setup.rs",
    "crates/vault/src/derive.rs",
    "crates/vault/src/root.rs",
    "crates/vault/src/sealed.rs",
    "crates/vault/src/service/aws.rs",
    "crates/vault/src/service/azure.rs",
    "crates/vault/src/service/google.rs",
    "crates/vault/src/service/text.rs",
    "crates/vault/src/service/transit.rs",
    "crates/vault/src/tenant.rs",
    "crates/vault/src/wrapping.rs",
];

/// Words that say nothing about what a file or item is.
pub const VAGUE: &[&str] = &[
    "common",
    "helper",
    "helpers",
    "manager",
    "managers",
    "misc",
    "util",
    "utilities",
    "utils",
];

/// Names that hold a vague word and mean it, or are a foreign trait's, each with the file and the reason.
pub const NOT_VAGUE: &[(&str, &str, &str)] = &[
    (
        "crates/cli/examples/gateway_client.rs",
        "get_info",
        "a method of rmcp's `ClientHandler`",
    ),
    ("crates/policy/src/manage.rs", "Manager", MANAGES),
    ("crates/server/src/http/api/caller.rs", "manager", MANAGES),
];
const MANAGES: &str = "the person who manages: a principal of policy";

/// The longest a file may be, without its tests.
pub const LINES: usize = 500;
