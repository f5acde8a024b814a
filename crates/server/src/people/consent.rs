//! Consent: the person sees exactly what a client asks for, takes away what is too much, says for how long, and that
//! becomes a grant and a code in one batch. A request is answered once, in the session that it was shown in.

use super::authorize::{agreed, answered, location};
use super::code;
use super::device;
use super::offer::{self, Asked, Offer, OfferError};
use super::pending::{AnswerTo, Pending};
use super::session::SignedIn;
use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::error::{Failure, Refusal};
use crate::issue::arrival::{Arrival, Source};
use crate::record;
use crate::tenants::Served;
use chancery_core::authorization_details::AuthorizationDetails;
use chancery_core::event::{Change, EventOutcome};
use chancery_core::grant::{Grant, GrantSource, GrantSpec, Principal};
use chancery_core::id::{AuthorizationRequestId, GrantId, Id as _};
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun, Record};
use chancery_core::scope::{Authority, ScopeSet};
use chancery_core::time::{Timestamp, Ttl};
use chancery_oauth::authentication::ClientFacts;
use chancery_oauth::error::{ErrorCode, OAuthError};
use chancery_oauth::grant::Target;
use chancery_oauth::grant::details::{has_detail, known, needs_detail};
use chancery_store::authorization as store;
use chancery_store::{Outcome, count_use, record as records};
use std::collections::BTreeSet;

/// A request that waits, with what may be offered.
#[derive(Debug)]
pub struct Question {
    /// What was asked.
    pub pending: Pending,
    /// By whom.
    pub client: ClientFacts,
    /// What may be offered.
    pub offer: Offer,
}

/// What a person answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Yes, to this much and for so long.
    Allow(Allowed),
    /// No.
    Deny,
}

/// How much is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Scopes, each as `resource:scope`.
    pub scopes: Vec<String>,
    /// Authorization details, each by its place in what is asked.
    pub details: Vec<usize>,
    /// For how long; until it is taken back if not said.
    pub lasts: Option<Ttl>,
    /// How many tokens may be issued on it.
    pub budget: Option<u64>,
}

/// The request that waits in this session.
///
/// # Errors
/// Another person's request is as unknown as one that was answered, is over or never was.
pub async fn load(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    id: AuthorizationRequestId,
    now: Timestamp,
) -> Result<Question, OfferError> {
    let key = (id, signed_in.session.id);
    let found = store::find_request(&app.db, served.tenant.id, key, now).await;
    let text = found.map_err(Failure::from)?.ok_or_else(gone)?;
    // What a version before kept in another form is over.
    let pending: Pending = serde_json::from_str(&text).map_err(|_| gone())?;
    let arrival = Arrival {
        now,
        // Not known here, and looked at only where a client's document is read again.
        source: Source::Others,
    };
    let client = offer::client(app, served, &pending.client_id, arrival).await?;
    let asked = Asked {
        client: &client,
        resource: pending.asked.resource.as_ref(),
        scope: pending.asked.scope.as_deref(),
        details: pending.asked.details.as_ref(),
    };
    let offer = offer::offer(app, served, signed_in, asked, now).await?;
    Ok(Question {
        pending,
        client,
        offer,
    })
}

/// Answers a request, and gives where the browser goes with the answer.
///
/// # Errors
/// As [`load`]; an answer that was given before; a fact that changed.
pub async fn answer(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    (id, reply): (AuthorizationRequestId, Reply),
    now: Timestamp,
) -> Result<String, OfferError> {
    let question = load(app, served, signed_in, id, now).await?;
    let key = (id, signed_in.session.id);
    let once = store::answer_request(served.tenant.id, key, now);
    let allowed = match reply {
        Reply::Allow(allowed) => allowed,
        Reply::Deny => return deny(app, served, signed_in, (&question, once), now).await,
    };
    let (chosen, details) = detailed(&question.offer, chosen(&question.offer, &allowed)?, &allowed)?;
    if chosen.is_empty() && !question.offer.rows.is_empty() {
        // Nothing of it is a no.
        return deny(app, served, signed_in, (&question, once), now).await;
    }
    let mut statements = vec![once];
    let mut changed = Vec::new();
    for (resource, scopes) in chosen.iter() {
        let work = grant(
            app,
            served,
            signed_in,
            (&question.client, &question.offer, resource, scopes),
            &allowed,
            now,
        )?;
        statements.extend(work.statements);
        changed.extend(work.changed);
    }
    let about = (&question.client, &question.pending);
    let agreed = agreed(&question.offer, chosen, details);
    Ok(code::issue(app, served, signed_in, about, (agreed, statements, changed), now).await?)
}

/// The scopes that the person left, all of them among those that were offered.
pub(super) fn chosen(offer: &Offer, allowed: &Allowed) -> Result<Authority, Failure> {
    let mut authority = Authority::default();
    for wanted in &allowed.scopes {
        // SECURITY: what is not on offer now is not given, whatever the form says.
        let row = offer
            .offered()
            .find(|row| format!("{}:{}", row.resource, row.scope) == *wanted);
        let row = row.ok_or(Refusal::Invalid(
            "the form asks for a scope that is not offered".to_owned(),
        ))?;
        authority.insert(row.resource.clone(), row.scope.clone());
    }
    Ok(authority)
}

/// The details that the person left, and the scopes with them: a detail goes where one of its scopes is taken away, and a
/// scope that is given only along with a detail goes with its last one.
fn detailed(
    offer: &Offer,
    chosen: Authority,
    allowed: &Allowed,
) -> Result<(Authority, AuthorizationDetails), Failure> {
    let Target::Resource(resource) = &offer.target else {
        return Ok((chosen, AuthorizationDetails::default()));
    };
    // SECURITY: as for scopes, what is not on offer now is not given.
    let offered: BTreeSet<usize> = offer.offered_details().map(|(place, ..)| place).collect();
    if !allowed.details.iter().all(|place| offered.contains(place)) {
        return Err(Refusal::Invalid("the form asks for a detail that is not offered".to_owned()).into());
    }
    let scopes = chosen.scopes_at(&resource.name);
    let mut place = 0..;
    let details = offer.details.filtered(|detail| {
        let is_left = place.next().is_some_and(|place| allowed.details.contains(&place));
        is_left && known(resource, detail).is_ok_and(|spec| spec.scopes.is_subset(&scopes))
    });
    let kept: ScopeSet = scopes
        .iter()
        .filter(|scope| !needs_detail(resource, scope) || has_detail(resource, &details, scope))
        .cloned()
        .collect();
    let chosen = if kept.is_empty() {
        Authority::default()
    } else {
        Authority::at(resource.name.clone(), kept)
    };
    Ok((chosen, details))
}

async fn deny(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    (question, once): (&Question, chancery_store::Statement),
    now: Timestamp,
) -> Result<String, OfferError> {
    let event = answered(
        app,
        served,
        signed_in,
        &question.client,
        EventOutcome::Denied,
        now,
    );
    let recorded = record::statement(served.keys.seal(), &event, &*app.random)?;
    let mut batch = app.batch(now).push(once).push(recorded);
    let onward = match &question.pending.answer {
        AnswerTo::Redirect { redirect, state, .. } => {
            let error = OAuthError::new(ErrorCode::AccessDenied, "the person said no");
            location(served, (&redirect.uri, state.as_deref()), Err(&error))
        }
        AnswerTo::Device(asks) => {
            batch = batch.push(device::denied(served, asks, now));
            device::DENIED_PATH.to_owned()
        }
    };
    match app.commit(batch, &[]).await? {
        Outcome::Committed => Ok(onward),
        Outcome::Refused { .. } => Err(gone().into()),
    }
}

/// The grant that the answer makes or changes at one resource. There is one for each agent, person and resource.
pub(super) fn grant(
    app: &App,
    served: &Served,
    signed_in: &SignedIn,
    (client, offer, resource, scopes): (&ClientFacts, &Offer, &Name, &ScopeSet),
    allowed: &Allowed,
    now: Timestamp,
) -> Result<change::Work, Failure> {
    let tenant = served.tenant.id;
    let caller = signed_in.caller(now);
    let fresh = GrantSpec {
        agent: client.agent.name.clone(),
        principal: Principal::User(signed_in.user.name.clone()),
        resource: Some(resource.clone()),
        connection: None,
        scopes: scopes.clone(),
        // The very details that the person agrees to are kept with what is issued on this answer, and not here.
        authorization_details_types: BTreeSet::new(),
        source: GrantSource::Consent,
        expires_at: allowed.lasts.map(|lasts| now.plus(lasts)),
        budget: allowed.budget,
        hours: None,
    };
    let Some(old) = offer.grant_at(resource) else {
        return first_grant(app, served, &caller, fresh);
    };
    if !old.state.is_active() {
        // Somebody stopped it: that is not for the person to undo.
        return Err(Refusal::Lifecycle {
            noun: Noun::Grant,
            from: old.state,
            to: Lifecycle::Active,
        }
        .into());
    }
    let asked: ScopeSet = offer
        .rows
        .iter()
        .filter(|row| row.resource == *resource)
        .map(|row| row.scope.clone())
        .collect();
    let spec = combined(&old.spec, fresh, &asked, now);
    if spec == old.spec {
        return Ok(change::Work::default());
    }
    let is_less = !old.spec.scopes.is_subset(&spec.scopes)
        || spec
            .expires_at
            .is_some_and(|end| old.spec.expires_at.is_none_or(|before| end < before))
        || spec.budget != old.spec.budget;
    let record = Grant {
        generation: old.generation + u64::from(is_less),
        version: old.version + 1,
        updated_at: now,
        spec,
        ..Grant::clone(old)
    };
    let statement = records::update(tenant, &record);
    change::recorded(app, served, &caller, &record, (Change::Updated, statement))
}

/// A grant where there was none.
///
/// # Errors
/// The record does not fit an event.
pub(crate) fn first_grant(
    app: &App,
    served: &Served,
    caller: &Caller,
    spec: GrantSpec,
) -> Result<change::Work, Failure> {
    let now = caller.now;
    let id = GrantId::generate(now, &*app.random);
    let record = Record {
        id,
        name: id
            .to_string()
            .replace('_', "-")
            .parse()
            .map_err(Failure::internal)?,
        state: Lifecycle::Active,
        generation: 0,
        version: 1,
        created_at: now,
        updated_at: now,
        spec,
    };
    let statement = records::insert(served.tenant.id, &record);
    let mut work = change::recorded(app, served, caller, &record, (Change::Created, statement))?;
    work.statements.push(count_use(served.tenant.id, id));
    Ok(work)
}

/// What the grant becomes. Scopes that were not asked for stay; those that were are as answered now. An administrator's
/// grant that is in force keeps its own limits and only grows.
fn combined(old: &GrantSpec, fresh: GrantSpec, asked: &ScopeSet, now: Timestamp) -> GrantSpec {
    if !old.is_open(now) {
        return fresh;
    }
    if old.source != GrantSource::Consent {
        return GrantSpec {
            scopes: old.scopes.union(&fresh.scopes),
            ..old.clone()
        };
    }
    let kept: ScopeSet = old
        .scopes
        .iter()
        .filter(|scope| !asked.contains(scope))
        .cloned()
        .collect();
    GrantSpec {
        scopes: kept.union(&fresh.scopes),
        ..fresh
    }
}

fn gone() -> Failure {
    Refusal::Invalid("this request was answered, is over, or is not yours".to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(source: GrantSource, scopes: &str, expires_at: Option<Timestamp>) -> GrantSpec {
        GrantSpec {
            agent: "planner".parse().unwrap(),
            principal: Principal::User("alice".parse().unwrap()),
            resource: Some("notes".parse().unwrap()),
            connection: None,
            scopes: ScopeSet::parse(scopes).unwrap(),
            authorization_details_types: BTreeSet::new(),
            source,
            expires_at,
            budget: None,
            hours: None,
        }
    }

    #[test]
    fn an_answer_changes_what_was_asked_and_nothing_else() {
        let now = Timestamp::from_seconds(1_000);
        let after = |old: &GrantSpec, chosen: &str, asked: &str| {
            let fresh = spec(GrantSource::Consent, chosen, None);
            combined(old, fresh, &ScopeSet::parse(asked).unwrap(), now)
                .scopes
                .to_string()
        };
        let own = spec(GrantSource::Consent, "delete read", None);
        assert_eq!(after(&own, "write", "read write"), "delete write");
        let theirs = spec(GrantSource::Administrator, "delete read", None);
        assert_eq!(after(&theirs, "write", "read write"), "delete read write");
        let over = spec(GrantSource::Administrator, "delete", Some(now));
        assert_eq!(after(&over, "read", "read write"), "read");
    }
}
