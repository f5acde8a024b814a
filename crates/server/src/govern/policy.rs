//! Policy sets: validate, put in force, and observe a resource for a while.

use crate::app::App;
use crate::directory::change::{self, Caller, Work};
use crate::error::{Failure, Refusal};
use crate::govern::why;
use crate::record as audit;
use crate::tenants::Served;
use chancery_core::decision::DecisionOutcome;
use chancery_core::event::{Change, Event, EventKind, EventOutcome, Part, PartClass};
use chancery_core::id::{DecisionId, EventId, Id as _, PolicySetId};
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun, Record};
use chancery_core::resource::ResourceSpec;
use chancery_core::time::Ttl;
use chancery_policy::{ManagementAction, PolicySet};
use chancery_store::change::{self as feed, Changed};
use chancery_store::{Page, PolicySetRecord, PolicySetSpec, record};
use serde::{Deserialize, Serialize};

/// Checks a text without storing it.
///
/// # Errors
/// What is wrong with it, with the line or the policy's id.
pub fn validate(text: &str) -> Result<PolicySet, Failure> {
    PolicySet::compile(text).map_err(|error| Refusal::Invalid(error.to_string()).into())
}

/// Puts a set in force as the next version; the one before is kept as the past.
///
/// # Errors
/// What is wrong with it; policy's refusal; somebody else was first.
pub async fn set(
    app: &App,
    served: &Served,
    caller: &Caller,
    text: &str,
    comment: &str,
) -> Result<PolicySetRecord, Failure> {
    let (record, work) = plan_set(app, served, caller, text, comment).await?;
    change::commit(app, caller, work).await?;
    Ok(record)
}

/// Plans what [`set`] does.
///
/// # Errors
/// As [`set`].
pub async fn plan_set(
    app: &App,
    served: &Served,
    caller: &Caller,
    text: &str,
    comment: &str,
) -> Result<(PolicySetRecord, Work), Failure> {
    let compiled = validate(text)?;
    change::permit(
        served,
        caller,
        ManagementAction::WritePolicy,
        (Noun::PolicySet, "*", None),
    )?;
    let tenant = served.tenant.id;
    let active = record::find_by_natural_key::<PolicySetSpec>(&app.db, tenant, PolicySetSpec::ACTIVE).await?;
    let active = active.ok_or_else(|| Failure::Internal("the tenant has no active policy set".to_owned()))?;
    let past = Record {
        state: Lifecycle::Retired,
        version: active.version + 1,
        generation: active.generation + 1,
        updated_at: caller.now,
        ..active
    };
    let next = Record {
        id: PolicySetId::generate(caller.now, &*app.random),
        name: next_name(app, served).await?,
        state: Lifecycle::Active,
        generation: 0,
        version: 1,
        created_at: caller.now,
        updated_at: caller.now,
        spec: PolicySetSpec {
            text: text.to_owned(),
            hash: compiled.hash().to_owned(),
            comment: comment.to_owned(),
        },
    };
    let event = event(app, served, caller, &next)?;
    let id = *next.id.as_bytes();
    let statements = vec![
        record::update(tenant, &past),
        record::insert(tenant, &next),
        feed::insert(tenant, Noun::PolicySet, id, 0, caller.now),
        audit::statement(served.keys.seal(), &event, &*app.random)?,
    ];
    let changed = Changed::Noun {
        noun: Noun::PolicySet,
        id,
        generation: 0,
    };
    let work = Work::on((Noun::PolicySet, &next.name), statements, vec![(tenant, changed)]);
    Ok((next, work))
}

/// Permits every scope of one resource for a while, within ceilings and grants: a slope into default deny. The
/// permit stands in the set for all to see and ends by itself.
///
/// # Errors
/// An unknown resource, more than 30 days, or as [`set`].
pub async fn observe(
    app: &App,
    served: &Served,
    caller: &Caller,
    resource: &str,
    lasting: Ttl,
) -> Result<PolicySetRecord, Failure> {
    if lasting > Ttl::from_days(30) || lasting == Ttl::ZERO {
        return Err(Refusal::Invalid("observe for 1 second to 30 days".to_owned()).into());
    }
    let resource = change::load::<ResourceSpec>(app, served.tenant.id, resource).await?;
    let until = caller.now.plus(lasting).to_string();
    let until = until.get(..19).unwrap_or_default();
    let id = format!("observe-{}-{}", resource.name, caller.now.as_seconds());
    let text = format!(
        "{}\n\n// Observing: everything within ceilings and grants is permitted at {} until {until}Z.\n\
         @id(\"{id}\")\npermit (principal is Agent, action in [Action::\"issue_token\", Action::\"call\"], resource in Resource::\"{}\")\n\
         when {{ context.now < datetime(\"{until}Z\") }};\n",
        served.policy.set.text().trim_end(),
        resource.name,
        resource.name,
    );
    set(
        app,
        served,
        caller,
        &text,
        &format!("observe {} until {until}Z", resource.name),
    )
    .await
}

/// The versions of a tenant's policy set, newest last.
///
/// # Errors
/// The database's.
pub async fn versions(app: &App, served: &Served) -> Result<Vec<PolicySetRecord>, Failure> {
    let page = Page {
        after: "",
        state: None,
        limit: 1_000,
    };
    let mut sets = record::list::<PolicySetSpec>(&app.db, served.tenant.id, &page).await?;
    sets.sort_by_key(|set| set.created_at);
    Ok(sets)
}

/// A case: a stored decision and what a set should make of it.
#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it is about.
    pub name: String,
    /// The stored decision.
    #[schema(value_type = String)]
    pub decision: DecisionId,
    /// What should come out: `permit` or `deny`.
    #[schema(value_type = String)]
    pub expect: DecisionOutcome,
}

/// What came out of a case.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    /// What it is about.
    pub name: String,
    /// What should have come out.
    pub expect: DecisionOutcome,
    /// What did.
    pub outcome: DecisionOutcome,
    /// Whether they are the same.
    pub passed: bool,
}

/// Evaluates stored decisions again, with the set in force or a candidate, by the very function that decides
/// live.
///
/// # Errors
/// A candidate that does not compile; a decision that is unknown or erased; policy's refusal.
pub async fn test(
    app: &App,
    served: &Served,
    caller: &Caller,
    (candidate, cases): (Option<&str>, &[Case]),
) -> Result<Vec<CaseResult>, Failure> {
    let candidate = candidate.map(validate).transpose()?;
    let set = candidate.as_ref().unwrap_or(&served.policy.set);
    let mut results = Vec::with_capacity(cases.len());
    for case in cases {
        let decision = why::decision(app, served, caller, case.decision).await?;
        let outcome = chancery_policy::evaluate_again(set, &decision.facts);
        let passed = outcome == case.expect;
        results.push(CaseResult {
            name: case.name.clone(),
            expect: case.expect,
            outcome,
            passed,
        });
    }
    Ok(results)
}

async fn next_name(app: &App, served: &Served) -> Result<Name, Failure> {
    let newest = served
        .policy
        .name
        .as_str()
        .strip_prefix("set-")
        .and_then(|number| number.parse::<u64>().ok());
    let mut number = newest.unwrap_or(0) + 1;
    loop {
        let name: Name = format!("set-{number}").parse().map_err(Failure::internal)?;
        if record::find_by_name::<PolicySetSpec>(&app.db, served.tenant.id, &name)
            .await?
            .is_none()
        {
            return Ok(name);
        }
        number += 1;
    }
}

fn event(app: &App, served: &Served, caller: &Caller, set: &PolicySetRecord) -> Result<Event, Failure> {
    Ok(Event {
        id: EventId::generate(caller.now, &*app.random),
        tenant: served.tenant.id,
        time: caller.now,
        kind: EventKind::Changed(Noun::PolicySet, Change::Activated),
        outcome: EventOutcome::Ok,
        actor: caller.actor.clone(),
        ids: vec![
            ("policy_set", set.id.to_string()),
            ("hash", set.spec.hash.clone()),
        ],
        decision: None,
        parts: vec![Part {
            name: "state",
            class: PartClass::Operational,
            content: serde_json::to_string(set).map_err(Failure::internal)?,
        }],
    })
}
