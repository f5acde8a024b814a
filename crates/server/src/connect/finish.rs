//! The provider sends the browser back: answer → row → code → tokens → whose account → sealed, with the grant for the
//! agent that was named (RFC 6749 §4.1.2 to §4.1.4, RFC 9207).
//!
//! A death between the code and the commit leaves a token at the provider that nobody holds; the person begins again.

use super::begin::{
    Agreement, Begun, ChosenAccount, ConnectRefusal, Question, asked, granted, redirect_uri, state_digest,
    verifier,
};
use super::key::{next_account, owner_id};
use super::provider::ReadyProvider;
use super::tokens::HeldTokens;
use super::{account, bound_to, destination_fingerprint};
use crate::app::App;
use crate::directory::change;
use crate::error::Failure;
use crate::people::session::SignedIn;
use crate::tenants::Served;
use chancery_core::connected_account::{ConnectedAccount, ConnectedAccountSpec, ProviderAccount};
use chancery_core::connection::{ACCESS_TOKEN, Connection};
use chancery_core::event::Change;
use chancery_core::noun::Spec as _;
use chancery_core::time::Timestamp;
use chancery_oauth::provider::ProviderTokens;
use chancery_oauth::sign_in::SignInAnswer;
use chancery_store::begun_connect as begun;
use chancery_store::{connected_account as store, guard as guards, provider_token, record};
use std::sync::Arc;

/// An account that was connected.
#[derive(Debug)]
pub struct Connected {
    /// The account.
    pub account: ConnectedAccount,
    /// What was agreed to.
    pub question: Question,
}

/// Finishes what this session began.
///
/// # Errors
/// Why no account is connected.
pub async fn finish(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    answer: &SignInAnswer,
    now: Timestamp,
) -> Result<Connected, ConnectRefusal> {
    let tenant = served.tenant.id;

    // 1. What it answers. SECURITY: only the session that began it is told that there is such a thing.
    let state = state_digest(&answer.state);
    let key = (&state, signed_in.session.id);
    let row = begun::find(&app.db, tenant, key, now)
        .await
        .map_err(Failure::from)?;
    let row = row.ok_or(ConnectRefusal::Over)?;
    let agreed: Begun = serde_json::from_str(&row.content).map_err(|_| ConnectRefusal::Over)?;
    let agreement = agreed.agreement;
    let connection = app.directory.connections.find(tenant, row.connection).await?;
    let connection = connection.ok_or(ConnectRefusal::NotOffered)?;
    if account::fingerprint(&connection) != agreed.fingerprint {
        return Err(ConnectRefusal::Changed);
    }
    let question = asked_again(app, served, signed_in, (connection, &agreement), now).await?;
    let spec = question.spec()?.clone();
    let provider = ReadyProvider::of(app, served, (&question.connection, &spec), now).await?;
    if let Some(issuer) = &spec.issuer {
        answer.check_issuer(issuer, provider.endpoints.names_itself)?;
    }

    // 2. Once, whatever comes of it.
    let batch = app.batch(now).push(begun::finish(tenant, key, now));
    if !app.commit(batch, &[]).await?.is_committed() {
        return Err(ConnectRefusal::Over);
    }
    let code = answer.outcome.as_ref();
    let code = code.map_err(|error| ConnectRefusal::Provider(error.clone()))?;

    // 3. The tokens, and whose they are.
    let verifier = verifier(served, &answer.state);
    let redirect_uri = redirect_uri(served);
    let tokens = provider.redeem((code, &redirect_uri, &verifier)).await?;
    check_interface(&question, &tokens)?;
    let whose = provider.account(&tokens).await?;
    check_account(&question, &agreement, whose.as_ref())?;

    // 4. Sealed for exactly this owner, connection and destination, in one batch with the grant.
    let end = provider.end_of(&tokens, now);
    let account = store_tokens(
        app,
        served,
        signed_in,
        (&question, &agreement),
        (tokens, whose, end, &provider),
        now,
    )
    .await?;
    Ok(Connected { account, question })
}

/// What was agreed to, as it is now.
async fn asked_again(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    (connection, agreement): (Arc<Connection>, &Agreement),
    now: Timestamp,
) -> Result<Question, ConnectRefusal> {
    let agent = match agreement.agent {
        Some(agent) => app.directory.agents.find(served.tenant.id, agent).await?,
        None => None,
    };
    asked(app, served, signed_in, (connection, agent), now).await
}

/// An answer that names the account's interface must name one that the connection goes to.
fn check_interface(question: &Question, tokens: &ProviderTokens) -> Result<(), ConnectRefusal> {
    let is_named = question.spec()?.api_url_at.is_some();
    let named = tokens.api_url.as_deref();
    if is_named && !question.connection.spec.is_interface(named) {
        return Err(ConnectRefusal::OtherInterface(
            named.unwrap_or_default().to_owned(),
        ));
    }
    Ok(())
}

/// Another account than the one that is connected is taken only where the person said so. Nothing of it is kept.
fn check_account(
    question: &Question,
    agreement: &Agreement,
    now: Option<&ProviderAccount>,
) -> Result<(), ConnectRefusal> {
    let pinned = question.account.as_ref();
    let pinned = pinned.and_then(|view| view.account.spec.provider_account.as_ref());
    match (pinned, now) {
        (Some(before), found) if agreement.account != ChosenAccount::Any => {
            if found.is_some_and(|found| found.subject == before.subject) {
                return Ok(());
            }
            Err(ConnectRefusal::OtherAccount {
                before: before.shown().to_owned(),
                now: found.map_or("unknown", ProviderAccount::shown).to_owned(),
            })
        }
        (Some(_) | None, _) => Ok(()),
    }
}

async fn store_tokens(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    (question, agreement): (&Question, &Agreement),
    (tokens, whose, end, provider): (
        ProviderTokens,
        Option<ProviderAccount>,
        Option<Timestamp>,
        &ReadyProvider<'_>,
    ),
    now: Timestamp,
) -> Result<ConnectedAccount, ConnectRefusal> {
    let tenant = served.tenant.id;
    let caller = signed_in.caller(now);
    let connection = &question.connection;
    let fingerprint = destination_fingerprint(&connection.spec);
    let old = question.account.as_ref().map(|view| &view.account);
    let part = ACCESS_TOKEN.parse().map_err(Failure::internal)?;
    let spec = ConnectedAccountSpec {
        connection: connection.name.clone(),
        owner: question.owner.clone(),
        label: old.map(|old| old.spec.label.clone()).unwrap_or_default(),
        fingerprint: super::hexadecimal(&fingerprint),
        parts: [part].into(),
        expires_at: None,
        provider_account: whose,
        scopes: tokens.scopes.unwrap_or_default(),
    };
    let account = next_account(app, &caller, (None, old), spec)?;
    account
        .spec
        .check(&account.name)
        .map_err(|error| Failure::from(crate::error::Refusal::spec(&error)))?;
    let owner = owner_id(app, served, &account.spec.owner).await?;
    let bound = bound_to(tenant, (account.id, owner), (connection.id, fingerprint));
    let held = HeldTokens::new(tokens.access_token, tokens.refresh_token, &provider.endpoints);
    let sealed = held.seal(app, served, &bound)?;
    let (change, statement) = match old {
        None => (Change::Created, record::insert(tenant, &account)),
        Some(_) => (Change::SecretReset, record::update(tenant, &account)),
    };
    let mut work = change::recorded(app, served, &caller, &account, (change, statement))?;
    let (id, refreshable) = (account.id, held.refresh_token.is_some());
    work.statements.extend([
        served.keys.assert_current(),
        store::put_sealed(tenant, id, &sealed, now),
        provider_token::connect(tenant, id, (refreshable, end), now),
    ]);
    work.extend(granted(app, served, signed_in, (question, agreement), now)?);
    let mut relied = question.guards();
    relied.extend(signed_in.guards.iter().copied());
    work.statements.extend(guards::statements(tenant, &relied));
    change::commit(app, &caller, work).await?;
    Ok(account)
}
