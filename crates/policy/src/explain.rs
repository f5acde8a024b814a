//! The `why` table of a decision: one row for each scope, one column for each limit, and in words what
//! was missing and what would have permitted it.

use chancery_core::authorization_details::DetailFacts;
use chancery_core::call::Argument;
use chancery_core::decision::{ActionRow, Decision, DecisionOutcome, DenyReason, ScopeRow};
use serde::Serialize;

/// A decision as a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// One sentence: what came out.
    pub summary: String,
    /// Column titles.
    pub columns: Vec<&'static str>,
    /// One row for each scope.
    pub rows: Vec<Vec<String>>,
    /// What was missing, and what would have permitted it.
    pub notes: Vec<String>,
}

/// Explains a decision.
pub fn explain(decision: &Decision) -> Explanation {
    let rows = decision.rows.iter().map(cells).collect();
    let mut notes: Vec<String> = decision
        .reason
        .iter()
        .map(|reason| describe(*reason, decision))
        .collect();
    notes.extend(decision.rows.iter().filter_map(|row| note(row, decision)));
    notes.extend(decision.actions.iter().map(|row| action_note(row, decision)));
    notes.extend(decision.facts.authorization_details.iter().map(detail_note));
    let mut rows: Vec<Vec<String>> = rows;
    rows.extend(decision.actions.iter().map(action_cells));
    Explanation {
        summary: summary(decision),
        columns: vec![
            "scope", "asked", "parent", "ceiling", "grant", "holders", "policy", "given",
        ],
        rows,
        notes,
    }
}

/// A detail that the token was to have, with what policies saw of it.
fn detail_note(detail: &DetailFacts) -> String {
    let members = detail.members.iter();
    let seen: Vec<String> = members
        .map(|(name, argument)| format!("{name} = {}", argument_text(argument)))
        .collect();
    if seen.is_empty() {
        return format!("with an authorization detail of type {}", detail.kind);
    }
    format!(
        "with an authorization detail of type {}: {}",
        detail.kind,
        seen.join(", ")
    )
}

fn summary(decision: &Decision) -> String {
    let facts = &decision.facts;
    let verb = match decision.outcome {
        DecisionOutcome::Permit => "was permitted",
        DecisionOutcome::Deny => "was refused",
    };
    let whom = facts
        .user
        .as_ref()
        .map_or_else(|| "itself".to_owned(), |user| user.name.to_string());
    let place = facts.resource.as_ref().map(|resource| &resource.name);
    let what = match (&facts.call, place) {
        (Some(call), Some(resource)) => format!("{} {} at {resource}", call.action.as_str(), call.target),
        (Some(call), None) => format!("{} {}", call.action.as_str(), call.target),
        (None, Some(resource)) => format!("a token for {resource}"),
        (None, None) => "an agent token".to_owned(),
    };
    format!(
        "agent {} {verb} {what}, acting for {whom}, by policy set {}",
        facts.agent.name, decision.policy_set
    )
}

fn cells(row: &ScopeRow) -> Vec<String> {
    let mark = |value: Option<bool>| match value {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "-",
    };
    let policy = match (row.policy, row.policies.as_slice()) {
        (Some(allowed), [_, ..]) => format!("{} ({})", mark(Some(allowed)), row.policies.join(", ")),
        (value, _) => mark(value).to_owned(),
    };
    vec![
        format!("{}:{}", row.resource, row.scope),
        if row.asked { "yes" } else { "-" }.to_owned(),
        mark(row.parent).to_owned(),
        mark(row.ceiling).to_owned(),
        mark(row.grant).to_owned(),
        mark(row.holders).to_owned(),
        policy,
        if row.given { "yes" } else { "NO" }.to_owned(),
    ]
}

/// The row of the call, or of the connection that it needs: policy alone has a say in it.
fn action_cells(row: &ActionRow) -> Vec<String> {
    let mark = if row.allowed { "yes" } else { "NO" };
    let policy = if row.policies.is_empty() {
        mark.to_owned()
    } else {
        format!("{mark} ({})", row.policies.join(", "))
    };
    let mut cells = vec![format!("{} {}", row.action, row.target), "yes".to_owned()];
    cells.extend(["-", "-", "-", "-"].map(str::to_owned));
    cells.extend([policy, mark.to_owned()]);
    cells
}

/// What policy said of the call, with the arguments that it looked at.
fn action_note(row: &ActionRow, decision: &Decision) -> String {
    let what = format!("{} {}", row.action, row.target);
    let verdict = match (row.allowed, row.errors.as_slice(), row.policies.as_slice()) {
        (_, [_, ..], _) => format!("a policy failed to evaluate: {}", row.errors.join("; ")),
        (true, [], _) => format!("permitted by {}", row.policies.join(", ")),
        (false, [], []) => "no policy permits it".to_owned(),
        (false, [], [_, ..]) => format!("forbidden by {}", row.policies.join(", ")),
    };
    let given = decision.facts.call.as_ref().map(|call| &call.arguments);
    let seen: Vec<String> = row
        .arguments
        .iter()
        .map(|name| match given.and_then(|given| given.get(name)) {
            Some(argument) => format!("{name} = {}", argument_text(argument)),
            None => format!("{name} is missing"),
        })
        .collect();
    if seen.is_empty() {
        format!("{what}: {verdict}")
    } else {
        format!("{what}: {verdict}; arguments looked at: {}", seen.join(", "))
    }
}

fn argument_text(argument: &Argument) -> String {
    match argument {
        Argument::Text(text) => format!("{text:?}"),
        Argument::Number(number) => number.to_string(),
        Argument::Decimal(text) => text.clone(),
        Argument::Flag(flag) => flag.to_string(),
        Argument::Texts(texts) => format!("{texts:?}"),
    }
}

fn describe(reason: DenyReason, decision: &Decision) -> String {
    let agent = &decision.facts.agent.name;
    match reason {
        DenyReason::ScopeRefused => {
            "a scope that was asked for by name is refused, so nothing is given".to_owned()
        }
        DenyReason::NothingLeft => "no scope is left after all limits".to_owned(),
        DenyReason::DelegationRefused => format!(
            "policy does not permit `delegate` from {} to {agent}",
            decision
                .facts
                .delegated_by
                .as_ref()
                .map_or("-", |name| name.as_str()),
        ),
        DenyReason::AgentTokenRefused => format!("policy does not permit `mint_agent_token` to {agent}"),
        DenyReason::ConsentRequired => "no grant covers this; consent would permit it".to_owned(),
        DenyReason::BudgetUsedUp => format!(
            "every limit and policy permits it, but the budget of the grant is used up; an administrator may raise \
             `budget` of the grant to {agent}"
        ),
        DenyReason::InsufficientScope => format!(
            "only the token lacks scopes: ask for `{}` when it is issued",
            decision.missing_scopes()
        ),
        DenyReason::CallRefused => "a limit or policy refuses the call".to_owned(),
        DenyReason::NotMapped => {
            "nothing says which scopes this needs; add it to the resource's `tools`, `prompts`, `documents` or routes"
                .to_owned()
        }
        DenyReason::ManifestNotAccepted => {
            "the tool was not shown yet, or is not the one that was accepted: list the server's tools once, or look at \
             what changed and accept its new manifest"
                .to_owned()
        }
        DenyReason::ReleaseRefused => {
            "the credential is not handed out: the connection's `handling` is not `release`, it has none, or policy \
             does not permit `release_credential`; calls can go through the broker or gateway instead"
                .to_owned()
        }
        DenyReason::ConnectionRefused => "policy does not permit `use_connection`".to_owned(),
        DenyReason::ConnectionNotGranted => {
            format!("no grant lets {agent} use the connection for this principal; grant it with `connection`")
        }
        DenyReason::AccountMissing => {
            "there is no account to use: `chancery account set CONNECTION`, also if it needs consent again; at an OAuth \
             provider the person connects one at `{base}/connect/CONNECTION?agent=AGENT`"
                .to_owned()
        }
        DenyReason::ApprovalRequired => {
            "policy permits it only with a person's yes, which was asked for".to_owned()
        }
        DenyReason::ArgumentsRefused => {
            "the arguments do not fit the tool's schema, or cannot be evaluated".to_owned()
        }
    }
}

fn note(row: &ScopeRow, decision: &Decision) -> Option<String> {
    let facts = &decision.facts;
    let scope = format!("{}:{}", row.resource, row.scope);
    let user = facts.user.as_ref().map_or("itself", |user| user.name.as_str());
    let agent = &facts.agent.name;
    let text = match row.refused_by()? {
        "parent" => {
            format!("{scope}: the presented token does not carry it; ask for it when that token is issued")
        }
        "ceiling" => format!(
            "{scope}: outside the ceiling of {agent} (or of its blueprint); an administrator may raise it: \
             chancery agent allow {agent} {scope}"
        ),
        "grant" => format!("{scope}: no active grant gives it to {agent} for {user}"),
        "holders" => format!(
            "{scope}: {user} does not hold it, so cannot delegate it; see the holders of {}",
            row.resource
        ),
        _ if !row.errors.is_empty() => {
            format!("{scope}: a policy failed to evaluate: {}", row.errors.join("; "))
        }
        _ if row.policies.is_empty() => format!("{scope}: no policy permits it"),
        _ => format!("{scope}: forbidden by {}", row.policies.join(", ")),
    };
    Some(text)
}
