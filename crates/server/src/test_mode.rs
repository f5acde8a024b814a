//! Test mode: what suites of tests need and a server for people must never do. Servers on this machine may be called
//! over http, also where a client names them, and whoever knows a handle answers for the person who is asked (the
//! decision URL of the OpenID Foundation's CIBA tests).
//!
//! SECURITY: it exists only while nobody but this machine can reach the node: it listens on loopback, its public URL is
//! loopback, and it believes no proxy. It changes no rule of policy: an answer is the person's, and is judged so.

use crate::app::App;
use crate::approve::answer::{self, Given};
use crate::approve::sealed;
use crate::directory::change::Caller;
use crate::egress::{AllowedHost, AllowedTarget};
use crate::error::{Failure, Refusal};
use crate::node::NodeConfig;
use crate::tenants::Served;
use chancery_core::actor::Actor;
use chancery_core::approval::{ApprovalKind, ApprovalMethod};
use chancery_core::uri::is_loopback;
use chancery_policy::{ApprovalAnswer, Manager};
use chancery_store::approval;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Why a node does not start in test mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TestModeError {
    /// Others could reach it.
    #[error("test mode listens on loopback only, not on {0}")]
    Listen(SocketAddr),
    /// It would speak for a name that others know.
    #[error("in test mode the public URL is on loopback, not `{0}`")]
    PublicUrl(String),
    /// Others could reach it through a proxy.
    #[error("test mode believes no proxy; leave out --trusted-proxies")]
    Proxies,
}

/// Whether a node may be in test mode.
///
/// # Errors
/// What makes it reachable from elsewhere.
pub fn check(listen: SocketAddr, public_url: &str, has_proxies: bool) -> Result<(), TestModeError> {
    if !listen.ip().is_loopback() {
        return Err(TestModeError::Listen(listen));
    }
    if !is_on_loopback(public_url) {
        return Err(TestModeError::PublicUrl(public_url.to_owned()));
    }
    if has_proxies {
        return Err(TestModeError::Proxies);
    }
    Ok(())
}

/// Opens the way to this machine, if the configuration asks for test mode, and says so loudly.
///
/// # Errors
/// As [`check`].
pub(crate) fn apply(config: &mut NodeConfig) -> Result<(), Failure> {
    if !config.test_mode {
        return Ok(());
    }
    check(config.listen, &config.public_url, !config.proxies.is_empty()).map_err(Failure::start)?;
    tracing::warn!("{WARNING}");
    let hosts = [
        url::Host::Domain("localhost".to_owned()),
        url::Host::Ipv4(Ipv4Addr::LOCALHOST),
        url::Host::Ipv6(Ipv6Addr::LOCALHOST),
    ];
    config.allowed_hosts.extend(hosts.map(|host| AllowedHost {
        target: AllowedTarget::Host { host, port: None },
        tenant: None,
        for_client_urls: true,
    }));
    Ok(())
}

/// Answers a request for access in the name of the person whom it is put to.
///
/// # Errors
/// A handle of nothing that one person alone can give; one that was answered; what the answer of a person would meet.
pub async fn answer(
    app: &App,
    served: &Served,
    (handle, given): (&str, ApprovalAnswer),
) -> Result<(), Failure> {
    let now = app.serving_now()?;
    let tenant = served.tenant.id;
    if !is_on_loopback(&served.tenant.spec.base_url) {
        return Err(unknown());
    }
    let row = approval::find_by_digest(&app.db, tenant, &sealed::digest(handle)).await?;
    let row = row.ok_or_else(unknown)?;
    let record = sealed::open(app, served, &row, now).await?.ok_or_else(unknown)?;
    let asked = &record.subject;
    let user = asked.user.as_ref().filter(|_| asked.kind == ApprovalKind::Access);
    let user = user.ok_or_else(unknown)?;

    let caller = Caller {
        actor: Actor::User(user.id),
        // Roles and groups are read from what is stored.
        manager: Manager::User {
            name: user.name.clone(),
            roles: BTreeSet::new(),
            groups: BTreeSet::new(),
        },
        now,
        once: None,
    };
    let given = Given {
        id: row.id,
        answer: given,
        method: ApprovalMethod::Interface,
        number: row.number,
        reason: Some(REASON),
        signed: None,
    };
    answer::give(app, served, &caller, given).await.map(|_| ())
}

fn is_on_loopback(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| is_loopback(&url))
}

fn unknown() -> Failure {
    Refusal::Unknown {
        what: "approval",
        name: "this auth_req_id".to_owned(),
    }
    .into()
}

/// What is said at every start.
pub const WARNING: &str = "TEST MODE: any program on this machine can answer for people, and clients can make this \
server call it; never keep anything real here";

const REASON: &str = "answered at the decision URL of test mode";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_mode_is_for_a_node_that_nobody_else_can_reach() {
        let of = |listen: &str, url: &str, proxies| check(listen.parse().unwrap(), url, proxies);
        for (listen, url) in [
            ("127.0.0.1:8440", "http://127.0.0.1:8440"),
            ("[::1]:8440", "http://localhost:8440"),
            ("127.0.0.1:8440", "https://id.localhost"),
        ] {
            assert_eq!(of(listen, url, false), Ok(()), "{listen} {url}");
        }
        for listen in ["0.0.0.0:8440", "[::]:8440", "192.168.0.1:8440", "8.8.8.8:443"] {
            let refused = of(listen, "http://127.0.0.1:8440", false);
            assert_eq!(refused, Err(TestModeError::Listen(listen.parse().unwrap())));
        }
        for url in [
            "https://id.example",
            "https://127.0.0.1.evil.example",
            "http://localhost.evil.example",
            "",
        ] {
            let refused = of("127.0.0.1:8440", url, false);
            assert_eq!(refused, Err(TestModeError::PublicUrl(url.to_owned())));
        }
        let refused = of("127.0.0.1:8440", "http://127.0.0.1:8440", true);
        assert_eq!(refused, Err(TestModeError::Proxies));
    }
}
