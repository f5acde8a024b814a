use super::*;
use chancery_core::approval::{ApprovalKind, Basis, Party, Requirement};
use chancery_core::id::{AgentId, ApprovalId, ClientId, Id as _, TenantId, UserId};
use chancery_core::lineage::Lineage;
use chancery_core::resource::Sensitivity;
use chancery_core::scope::Authority;
use chancery_core::time::Ttl;
use std::collections::BTreeSet;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn record(kind: ApprovalKind, user: Option<&str>, owner: &str) -> ApprovalRecord {
    ApprovalRecord {
        version: 1,
        id: ApprovalId::from_bytes([1; 16]),
        tenant: TenantId::from_bytes([1; 16]),
        subject: Asked {
            kind,
            agent: Party {
                id: AgentId::from_bytes([1; 16]),
                name: name("bot"),
            },
            owner: Some(name(owner)),
            client: Party {
                id: ClientId::from_bytes([1; 16]),
                name: name("bot-1"),
            },
            user: user.map(|user| Party {
                id: UserId::from_bytes([1; 16]),
                name: name(user),
            }),
            chain: Vec::new(),
            action: "issue_token".to_owned(),
            grant_type: None,
            resource: None,
            resource_owner: Some(name("group:bank")),
            hand_over_to: None,
            connection: None,
            call: None,
            scopes: Authority::parse("bank:pay").unwrap(),
            authorization_details: chancery_core::authorization_details::AuthorizationDetails::default(),
            sensitivity: Sensitivity::Sensitive,
            lifetime: Ttl::from_seconds(60),
            says: None,
        },
        basis: Basis::Itself,
        lineage: Lineage::default(),
        requirement: Requirement {
            count: 1,
            methods: BTreeSet::new(),
        },
        policy_set: String::new(),
        requested_at: Timestamp::from_seconds(1),
        expires_at: Timestamp::from_seconds(2),
        nonce: String::new(),
    }
}

fn person(person: &str, roles: &[&str], groups: &[&str]) -> Manager {
    Manager::User {
        name: name(person),
        roles: roles.iter().map(|role| name(role)).collect(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
    }
}

fn set(more: &str) -> PolicySet {
    PolicySet::compile(&format!("{}\n{more}", crate::DEFAULT_POLICIES)).unwrap()
}

fn may(set: &PolicySet, record: &ApprovalRecord, manager: &Manager, answer: ApprovalAnswer) -> bool {
    let now = Timestamp::from_seconds(1);
    decide(set, record, (manager, ApprovalMethod::Page), answer, now).is_ok()
}

/// Everybody may do everything, as far as the tenant is concerned.
const OPEN: &str = r#"@id("open") permit (principal, action, resource);"#;

#[test]
fn the_defaults_name_who_approves() {
    let (set, record) = (set(""), record(ApprovalKind::Token, Some("alice"), "group:lab"));
    let approves = |manager: &Manager| may(&set, &record, manager, ApprovalAnswer::Approve);
    assert!(approves(&person("bob", &[], &["lab"])), "answers for the agent");
    assert!(
        approves(&person("bob", &[], &["bank"])),
        "answers for the resource"
    );
    assert!(approves(&person("ada", &["administrator"], &[])));
    assert!(!approves(&person("carol", &["auditor"], &["other"])));
}

#[test]
fn nobody_approves_what_they_asked_for_or_own_alone_whatever_policy_permits() {
    let set = set(OPEN);
    let asked_for = record(ApprovalKind::Token, Some("alice"), "group:lab");
    let alice = person("alice", &["administrator"], &["lab", "bank"]);
    assert!(!may(&set, &asked_for, &alice, ApprovalAnswer::Approve));
    assert!(
        may(&set, &asked_for, &alice, ApprovalAnswer::Reject),
        "a no harms nobody"
    );
    let owned = record(ApprovalKind::Call, None, "alice");
    assert!(!may(&set, &owned, &alice, ApprovalAnswer::Approve));
    assert!(may(
        &set,
        &owned,
        &person("bob", &[], &[]),
        ApprovalAnswer::Approve
    ));
}

#[test]
fn agents_and_whoever_is_at_the_machine_never_approve() {
    let set = set(OPEN);
    let record = record(ApprovalKind::Token, Some("alice"), "group:lab");
    let agent = Manager::Agent { name: name("bot") };
    let other = Manager::Agent { name: name("judge") };
    for agent in [agent, other] {
        assert!(!may(&set, &record, &agent, ApprovalAnswer::Approve));
        assert!(!may(&set, &record, &agent, ApprovalAnswer::Reject));
    }
    assert!(!may(&set, &record, &Manager::Local, ApprovalAnswer::Approve));
    assert!(may(&set, &record, &Manager::Local, ApprovalAnswer::Reject));
}

#[test]
fn access_to_what_is_a_persons_own_is_given_by_that_person_alone() {
    let set = set(OPEN);
    let access = record(ApprovalKind::Access, Some("alice"), "alice");
    assert!(may(
        &set,
        &access,
        &person("alice", &[], &[]),
        ApprovalAnswer::Approve
    ));
    assert!(!may(
        &set,
        &access,
        &person("ada", &["administrator"], &[]),
        ApprovalAnswer::Approve
    ));
    // It counts as the person's own access, and not as somebody else's yes to it.
    assert!(is_own(&access.subject, &name("alice")) && !is_own(&access.subject, &name("ada")));
}

#[test]
fn sets_that_were_written_before_approvals_still_compile() {
    for old in [
        r#"@id("a") permit (principal is User, action, resource) when { resource.noun == "agent" && context.owns };"#,
        r#"@id("b") forbid (principal, action, resource) when { context.now > datetime("2100-01-01") };"#,
        r#"@id("c") permit (principal is Service, action, resource) when { resource.name like "a*" };"#,
    ] {
        set(old);
    }
}
