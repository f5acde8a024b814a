//! Why: a decision, a token or a failed authentication explained.

use crate::app::App;
use crate::directory::change::{self, Caller};
use crate::error::{Failure, Refusal};
use crate::tenants::Served;
use chancery_audit::{PartRecord, PartState};
use chancery_core::decision::Decision;
use chancery_core::id::{DecisionId, EventId, Id as _, ReferenceId, TokenId};
use chancery_core::noun::Noun;
use chancery_policy::ManagementAction;
use chancery_policy::explain::{Explanation, explain};
use chancery_store::event;
use serde::Serialize;
use serde_json::Value;

/// What is known about a decision, token or failure.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// A decision of policy.
    Decision {
        /// Its id.
        id: DecisionId,
        /// As a table.
        explanation: Explanation,
        /// As stored.
        decision: Box<Decision>,
    },
    /// A caller that could not be authenticated.
    AuthenticationFailed {
        /// The reference that the caller was given.
        reference: ReferenceId,
        /// What was wrong.
        reason: String,
        /// What the caller said it was.
        client_id: Option<String>,
    },
}

/// Explains a decision (`dec_…`), a token (`tok_…`, its `jti`) or a reference (`ref_…`).
///
/// # Errors
/// Nothing known under this id; the decision was erased; policy's refusal.
pub async fn why(app: &App, served: &Served, caller: &Caller, asked: &str) -> Result<Why, Failure> {
    change::permit(
        served,
        caller,
        ManagementAction::ReadDecision,
        (Noun::PolicySet, asked, None),
    )?;
    let unknown = || {
        Refusal::Invalid(format!(
            "nothing is known of `{asked}`: give a decision, a token id or a reference"
        ))
    };
    if let Ok(reference) = asked.parse::<ReferenceId>() {
        let counted = || {
            Refusal::Invalid(format!(
                "nothing is recorded under `{asked}`: it may be one of many that were only counted, see \
                 `chancery audit list --kind authentication.failures_omitted`"
            ))
        };
        let parts = parts(app, served, EventId::from_bytes(*reference.as_bytes()))
            .await?
            .ok_or_else(counted)?;
        let reason: Value = part(&parts, "reason")
            .and_then(|text| serde_json::from_str(text).ok())
            .ok_or_else(unknown)?;
        let text = |name: &str| reason.get(name).and_then(Value::as_str).map(str::to_owned);
        return Ok(Why::AuthenticationFailed {
            reference,
            reason: text("reason").unwrap_or_default(),
            client_id: text("client_id"),
        });
    }
    let id = match (asked.parse::<DecisionId>(), asked.parse::<TokenId>()) {
        (Ok(decision), _) => decision,
        (_, Ok(token)) => DecisionId::from(token),
        _ => return Err(unknown().into()),
    };
    let decision = decision(app, served, caller, id).await?;
    Ok(Why::Decision {
        id,
        explanation: explain(&decision),
        decision: Box::new(decision),
    })
}

/// A stored decision.
///
/// # Errors
/// As [`why`].
pub async fn decision(
    app: &App,
    served: &Served,
    caller: &Caller,
    id: DecisionId,
) -> Result<Decision, Failure> {
    change::permit(
        served,
        caller,
        ManagementAction::ReadDecision,
        (Noun::PolicySet, "*", None),
    )?;
    let found = stored(app, served, id).await?;
    found.ok_or_else(|| Refusal::Invalid(format!("decision {id} is unknown, or was erased")).into())
}

/// A stored decision, for the person that it is about: whoever calls this checks that.
///
/// # Errors
/// The database's.
pub(crate) async fn stored(app: &App, served: &Served, id: DecisionId) -> Result<Option<Decision>, Failure> {
    let Some(parts) = parts(app, served, EventId::from(id)).await? else {
        return Ok(None);
    };
    let read = |text: &str| serde_json::from_str(text).map_err(Failure::internal);
    part(&parts, "decision").map(read).transpose()
}

async fn parts(app: &App, served: &Served, id: EventId) -> Result<Option<Vec<PartRecord>>, Failure> {
    let Some(row) = event::find(&app.db, served.tenant.id, id).await? else {
        return Ok(None);
    };
    serde_json::from_str(&row.parts)
        .map(Some)
        .map_err(Failure::internal)
}

fn part<'a>(parts: &'a [PartRecord], name: &str) -> Option<&'a str> {
    let found = parts.iter().find(|part| part.name == name)?;
    match &found.state {
        PartState::Present { content, .. } => Some(content),
        PartState::Erased { .. } => None,
    }
}
