//! Decisions on management requests: who may look at or change the directory, policies and records.

use crate::entities::{self, Kind};
use crate::set::PolicySet;
use cedar_policy::{self as cedar, Entity, RestrictedExpression as Value};
use chancery_core::name::Name;
use chancery_core::noun::Noun;
use chancery_core::time::Timestamp;
use chancery_core::user::ADMINISTRATOR;
use std::collections::BTreeSet;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manager {
    /// A person, with roles and groups.
    User {
        /// The name.
        name: Name,
        /// Roles held.
        roles: BTreeSet<Name>,
        /// Groups the person is in.
        groups: BTreeSet<String>,
    },
    /// An agent.
    Agent {
        /// The name.
        name: Name,
    },
    /// Somebody on the server's own machine, through the local socket: an administrator.
    Local,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagementRequest {
    /// Who asks.
    pub manager: Manager,
    /// The kind of record.
    pub noun: Noun,
    /// The record's name, or `*` for the collection.
    pub name: String,
    /// Who answers for the record: a user's name or `group:NAME`.
    pub owner: Option<Name>,
    /// The request's moment.
    pub now: Timestamp,
}

/// What may be done to records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManagementAction {
    /// Look at a record.
    View,
    /// Read the audit log.
    ReadAudit,
    /// Read a decision.
    ReadDecision,
    /// Make a record.
    Create,
    /// Change a record.
    Update,
    /// Raise the most an agent may ever be given.
    RaiseCeiling,
    /// Put a record into use.
    Activate,
    /// Stop a record.
    Suspend,
    /// End a record for good.
    Retire,
    /// Stop a record at once with all that hangs on it.
    Kill,
    /// Replace a client's secret.
    ResetSecret,
    /// Change the policy set.
    WritePolicy,
    /// Change who holds a role or what a role holds.
    WriteRole,
    /// Erase a part of an event.
    Erase,
    /// Rotate a signing key.
    RotateKey,
    /// Set the credential of a connected account, or give it up.
    Connect,
    /// Say where credentials and calls go.
    WriteDestination,
    /// Accept what an MCP server shows of itself.
    AcceptManifest,
    /// Give a client that made itself known to an agent.
    AdoptClient,
}

impl ManagementAction {
    /// The action's name in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::ReadAudit => "read_audit",
            Self::ReadDecision => "read_decision",
            Self::Create => "create",
            Self::Update => "update",
            Self::RaiseCeiling => "raise_ceiling",
            Self::Activate => "activate",
            Self::Suspend => "suspend",
            Self::Retire => "retire",
            Self::Kill => "kill",
            Self::ResetSecret => "reset_secret",
            Self::WritePolicy => "write_policy",
            Self::WriteRole => "write_role",
            Self::Erase => "erase",
            Self::RotateKey => "rotate_key",
            Self::Connect => "connect",
            Self::WriteDestination => "write_destination",
            Self::AcceptManifest => "accept_manifest",
            Self::AdoptClient => "adopt_client",
        }
    }
}

impl Manager {
    /// The principal.
    pub(crate) fn entity(&self) -> Option<Entity> {
        let parents = self.parents();
        match self {
            Self::User { name, .. } => {
                let text = |key: &str, value: &str| (key.to_owned(), Value::new_string(value.to_owned()));
                let attributes = [text("issuer", ""), text("assurance", "verified")];
                let uid = entities::uid(Kind::User, name.as_str());
                Entity::new_with_tags(uid, attributes, parents, []).ok()
            }
            Self::Agent { name } => {
                Entity::new_with_tags(entities::uid(Kind::Agent, name.as_str()), [], parents, []).ok()
            }
            Self::Local => Entity::new_with_tags(entities::uid(Kind::Service, "local"), [], parents, []).ok(),
        }
    }

    /// What the principal is in.
    pub(crate) fn parents(&self) -> Vec<cedar::EntityUid> {
        match self {
            Self::User { roles, groups, .. } => {
                let roles = roles.iter().map(|role| entities::uid(Kind::Role, role.as_str()));
                roles
                    .chain(groups.iter().map(|group| entities::uid(Kind::Group, group)))
                    .collect()
            }
            Self::Agent { .. } => Vec::new(),
            Self::Local => vec![entities::uid(Kind::Role, ADMINISTRATOR)],
        }
    }

    /// Whether it answers for what this owner answers for.
    pub(crate) fn owns(&self, owner: Option<&Name>) -> bool {
        let (Self::User { name, groups, .. }, Some(owner)) = (self, owner) else {
            return false;
        };
        owner == name
            || owner
                .as_str()
                .strip_prefix("group:")
                .is_some_and(|group| groups.contains(group))
    }
}

/// Proof that policy permitted one management action. Only [`decide`] builds one.
#[derive(Debug)]
pub struct ManagementPermit {
    action: ManagementAction,
    policies: Vec<String>,
}

impl ManagementPermit {
    /// What was permitted.
    pub fn action(&self) -> ManagementAction {
        self.action
    }

    /// The policies that permitted it.
    pub fn policies(&self) -> &[String] {
        &self.policies
    }
}

/// A management request that policy refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy does not permit `{action}` on this {what}")]
pub struct ManagementDenied {
    /// What was asked.
    pub action: &'static str,
    /// On what kind of thing.
    pub what: &'static str,
    /// The policies that forbade it; empty if none permitted it.
    pub policies: Vec<String>,
}

/// Decides on a management request.
///
/// # Errors
/// [`ManagementDenied`] when no policy permits it, one forbids it, or one fails to evaluate.
pub fn decide(
    set: &PolicySet,
    request: &ManagementRequest,
    action: ManagementAction,
) -> Result<ManagementPermit, ManagementDenied> {
    let denied = |policies| ManagementDenied {
        action: action.as_str(),
        what: request.noun.as_str(),
        policies,
    };
    let Some(response) = ask(set, request, action) else {
        return Err(denied(Vec::new()));
    };
    let mut policies: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
    policies.sort();
    // SECURITY: any evaluation error refuses, see `decide::answer`.
    let allowed =
        response.decision() == cedar::Decision::Allow && response.diagnostics().errors().next().is_none();
    if allowed {
        Ok(ManagementPermit { action, policies })
    } else {
        Err(denied(policies))
    }
}

fn ask(set: &PolicySet, request: &ManagementRequest, action: ManagementAction) -> Option<cedar::Response> {
    let principal = request.manager.entity()?;
    let mut principals = vec![principal.uid()];
    principals.extend(request.manager.parents());
    let record = record(request)?;
    let resources = [record.uid()];
    let action = entities::uid(Kind::Action, action.as_str());
    let slice = set.index.slice(&action, &principals, &resources);
    let entities = set.actions.clone().add_entities([principal, record], None).ok()?;
    let context = cedar::Context::from_pairs([
        (
            "owns".to_owned(),
            Value::new_bool(request.manager.owns(request.owner.as_ref())),
        ),
        ("now".to_owned(), entities::datetime(request.now)),
    ])
    .ok()?;
    let [resource] = resources;
    let request = cedar::Request::new(principals.first()?.clone(), action, resource, context, None).ok()?;
    Some(set.authorizer.is_authorized(&request, &slice, &entities))
}

/// The principals that must always be able to repair policy.
pub(crate) fn repairers() -> [Manager; 2] {
    let name = |text: &str| text.parse::<Name>().ok();
    let user = name("administrator-check").map(|user| Manager::User {
        name: user,
        roles: name(ADMINISTRATOR).into_iter().collect(),
        groups: BTreeSet::new(),
    });
    [Manager::Local, user.unwrap_or(Manager::Local)]
}

/// The request that a repairer must be permitted.
pub(crate) fn repair_request(manager: Manager) -> ManagementRequest {
    ManagementRequest {
        manager,
        noun: Noun::PolicySet,
        name: "*".to_owned(),
        owner: None,
        now: Timestamp::from_seconds(0),
    }
}

fn record(request: &ManagementRequest) -> Option<Entity> {
    let text = |key: &str, value: &str| (key.to_owned(), Value::new_string(value.to_owned()));
    let attributes = [text("noun", request.noun.as_str()), text("name", &request.name)];
    let id = format!("{}:{}", request.noun, request.name);
    Entity::new_with_tags(entities::uid(Kind::Record, &id), attributes, [], []).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> PolicySet {
        PolicySet::compile(crate::DEFAULT_POLICIES).unwrap()
    }

    fn request(manager: Manager, owner: Option<&str>) -> ManagementRequest {
        ManagementRequest {
            manager,
            noun: Noun::Agent,
            name: "bot".to_owned(),
            owner: owner.map(|owner| owner.parse().unwrap()),
            now: Timestamp::from_seconds(1),
        }
    }

    fn user(name: &str, roles: &[&str]) -> Manager {
        let roles = roles.iter().map(|role| role.parse().unwrap()).collect();
        Manager::User {
            name: name.parse().unwrap(),
            roles,
            groups: BTreeSet::from(["sales".to_owned()]),
        }
    }

    #[test]
    fn agents_never_manage_even_if_a_policy_permits_it() {
        let text = format!(
            "{}\n@id(\"all\") permit (principal, action, resource);",
            crate::DEFAULT_POLICIES
        );
        let set = PolicySet::compile(&text).unwrap();
        let agent = request(
            Manager::Agent {
                name: "bot".parse().unwrap(),
            },
            None,
        );
        assert!(decide(&set, &agent, ManagementAction::Update).is_err());
        assert!(decide(&set, &agent, ManagementAction::WritePolicy).is_err());
        assert!(decide(&set, &agent, ManagementAction::Connect).is_err());
        assert!(decide(&set, &agent, ManagementAction::WriteDestination).is_err());
    }

    #[test]
    fn administrators_change_and_auditors_only_look() {
        let admin = request(user("ada", &["administrator"]), None);
        let auditor = request(user("eve", &["auditor"]), None);
        assert!(decide(&set(), &admin, ManagementAction::Create).is_ok());
        assert!(
            decide(
                &set(),
                &request(Manager::Local, None),
                ManagementAction::WritePolicy
            )
            .is_ok()
        );
        assert!(decide(&set(), &auditor, ManagementAction::ReadAudit).is_ok());
        assert!(decide(&set(), &auditor, ManagementAction::Suspend).is_err());
    }

    #[test]
    fn owners_stop_their_own_agents_and_no_others() {
        let own = request(user("bob", &[]), Some("bob"));
        let by_group = request(user("bob", &[]), Some("group:sales"));
        let foreign = request(user("bob", &[]), Some("carol"));
        assert!(decide(&set(), &own, ManagementAction::Kill).is_ok());
        assert!(decide(&set(), &by_group, ManagementAction::Suspend).is_ok());
        assert!(decide(&set(), &foreign, ManagementAction::Kill).is_err());
        assert!(decide(&set(), &own, ManagementAction::Update).is_err());
    }

    #[test]
    fn an_administrator_cannot_raise_the_ceiling_of_an_agent_they_own() {
        let admin = user("ada", &["administrator"]);
        assert!(
            decide(
                &set(),
                &request(admin.clone(), Some("bob")),
                ManagementAction::RaiseCeiling
            )
            .is_ok()
        );
        assert!(
            decide(
                &set(),
                &request(admin, Some("ada")),
                ManagementAction::RaiseCeiling
            )
            .is_err()
        );
    }
}
