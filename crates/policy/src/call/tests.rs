use super::*;
use crate::explain::explain;
use chancery_core::assurance::{AgentAssurance, UserAssurance};
use chancery_core::call::{AccountUse, Argument, CallAction, CallFacts, ConnectionFacts, ConnectionUse};
use chancery_core::connected_account::OwnerId;
use chancery_core::connection::{CredentialFlow, Handling, OwnerLevel};
use chancery_core::id::{
    AgentId, ClientId, ConnectedAccountId, ConnectionId, DecisionId, Id as _, ResourceId, TenantId, TokenId,
};
use chancery_core::lineage::Lineage;
use chancery_core::name::Name;
use chancery_core::proposal::{AgentFacts, GrantType, Limits, ResourceFacts, UserFacts};
use chancery_core::resource::Sensitivity;
use chancery_core::scope::{Authority, Scope};
use chancery_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn authority(text: &str) -> Authority {
    Authority::parse(text).unwrap()
}

fn needs(list: &[(&str, Sensitivity)]) -> BTreeMap<Name, BTreeMap<Scope, Sensitivity>> {
    let scopes = list
        .iter()
        .map(|(scope, sensitivity)| (scope.parse().unwrap(), *sensitivity));
    BTreeMap::from([(name("bank"), scopes.collect())])
}

/// The agent `bot` calls the tool `pay`, which needs `bank:pay`.
fn facts() -> Facts {
    Facts {
        tenant: name("default"),
        now: Timestamp::from_seconds(1_800_000_000),
        grant_type: None,
        call: Some(CallFacts {
            action: CallAction::CallTool,
            target: "pay".to_owned(),
            arguments: BTreeMap::new(),
            connection: None,
            host: None,
            method: None,
            path: None,
            obstacle: None,
        }),
        agent: AgentFacts {
            name: name("bot"),
            owner: None,
            blueprint: Some(name("workers")),
            tags: BTreeMap::new(),
        },
        delegated_by: None,
        client: name("bot-ci"),
        assurance: AgentAssurance::Runtime,
        instance: BTreeMap::new(),
        user: None,
        approval: None,
        chain: vec![name("bot"), name("planner")],
        resource: Some(ResourceFacts {
            name: name("bank"),
            owner: None,
        }),
        scopes: needs(&[("pay", Sensitivity::Write)]),
        asked: None,
        authorization_details: Vec::new(),
        limits: Limits {
            parent: Some(authority("bank:pay bank:read")),
            ceiling: authority("bank:pay bank:read"),
            grant: None,
            holders: None,
        },
    }
}

fn alice(assurance: UserAssurance) -> UserFacts {
    UserFacts {
        name: name("corp:alice"),
        issuer: name("corp"),
        roles: BTreeSet::from([name("staff")]),
        groups: BTreeSet::new(),
        attributes: BTreeMap::new(),
        as_of: Timestamp::from_seconds(1_799_999_990),
        assurance,
    }
}

fn with(arguments: &[(&str, Argument)]) -> Facts {
    let mut facts = facts();
    let arguments = arguments
        .iter()
        .cloned()
        .map(|(name, argument)| (name.to_owned(), argument));
    facts.call.as_mut().unwrap().arguments = arguments.collect();
    facts
}

fn through(connection: ConnectionFacts) -> Facts {
    let mut facts = facts();
    facts.call.as_mut().unwrap().connection = Some(connection);
    facts
}

fn github() -> ConnectionFacts {
    ConnectionFacts {
        name: name("github"),
        owner_level: OwnerLevel::Tenant,
        needs_account: true,
        account_owner: Some("tenant".to_owned()),
        granted: true,
        handling: Handling::BrokerOnly,
        flow: Some(CredentialFlow::ApiKey),
        scopes: BTreeSet::new(),
    }
}

fn plan(facts: &Facts) -> UsePlan {
    let connection = facts.call.as_ref().and_then(|call| call.connection.as_ref());
    UsePlan {
        tenant: TenantId::from_bytes([1; 16]),
        agent: AgentId::from_bytes([2; 16]),
        client: ClientId::from_bytes([3; 16]),
        user: None,
        token: TokenId::from_bytes([4; 16]),
        resource: facts.resource.as_ref().map(|_| ResourceId::from_bytes([5; 16])),
        connection: connection.map(|connection| ConnectionUse {
            connection: ConnectionId::from_bytes([6; 16]),
            account: connection.account_owner.as_ref().map(|_| AccountUse {
                id: ConnectedAccountId::from_bytes([7; 16]),
                owner: OwnerId::Tenant(TenantId::from_bytes([1; 16])),
                tokens: None,
            }),
            fingerprint: [8; 32],
        }),
        issued_at: facts.now,
        now: facts.now,
        lineage: Lineage::default(),
        guards: Vec::new(),
        spends: Vec::new(),
    }
}

fn decision(set: &PolicySet, facts: Facts) -> Decision {
    let plan = plan(&facts);
    let proposal = UseProposal {
        decision: DecisionId::from_bytes([9; 16]),
        facts,
        plan,
    };
    match decide_use(set, proposal) {
        UseVerdict::Permit(permit) => permit.decision().clone(),
        UseVerdict::Deny(decision) => *decision,
        UseVerdict::NeedsApproval(needed) => needed.decision,
    }
}

fn reason(set: &PolicySet, facts: Facts) -> Option<DenyReason> {
    decision(set, facts).reason
}

fn default_set() -> PolicySet {
    PolicySet::compile(crate::DEFAULT_POLICIES).unwrap()
}

fn set_with(policies: &str) -> PolicySet {
    PolicySet::compile(&format!("{}\n{policies}", crate::DEFAULT_POLICIES)).unwrap()
}

const UP_TO_100: &str = r#"
    @id("up-to-100") forbid (principal is Agent, action == Action::"call_tool", resource == Tool::"bank:pay")
    unless { context.arguments.number.hasTag("amount") && context.arguments.number.getTag("amount") <= 100 };"#;

#[test]
fn a_call_within_every_limit_is_permitted() {
    let decision = decision(&default_set(), facts());
    assert_eq!(
        (decision.outcome, decision.reason),
        (DecisionOutcome::Permit, None)
    );
    assert!(decision.rows[0].given);
    assert_eq!(
        decision.actions[0].policies,
        ["agents-call-what-their-tokens-carry"]
    );
}

#[test]
fn only_missing_scopes_can_be_cured_by_a_better_token() {
    let mut short = facts();
    short.limits.parent = Some(authority("bank:read"));
    let decision = decision(&default_set(), short.clone());
    assert_eq!(decision.reason, Some(DenyReason::InsufficientScope));
    assert_eq!(decision.missing_scopes().to_string(), "pay");
    // What no token could carry is no matter of the token.
    short.limits.ceiling = authority("bank:read");
    let refused = super::tests::decision(&default_set(), short);
    assert_eq!(refused.reason, Some(DenyReason::CallRefused));
    assert!(refused.missing_scopes().is_empty());
}

#[test]
fn every_limit_refuses_a_call() {
    let limits: [fn(&mut Limits); 3] = [
        |limits| limits.ceiling = Authority::default(),
        |limits| limits.grant = Some(Authority::default()),
        |limits| limits.holders = Some(Authority::default()),
    ];
    for limit in limits {
        let mut facts = facts();
        limit(&mut facts.limits);
        assert_eq!(reason(&default_set(), facts), Some(DenyReason::CallRefused));
    }
    let mut no_token = facts();
    no_token.limits.parent = None;
    assert_eq!(
        reason(&default_set(), no_token),
        Some(DenyReason::InsufficientScope)
    );
}

#[test]
fn sensitive_calls_need_a_person() {
    let mut facts = facts();
    facts.scopes = needs(&[("pay", Sensitivity::Sensitive), ("read", Sensitivity::Read)]);
    assert_eq!(
        reason(&default_set(), facts.clone()),
        Some(DenyReason::CallRefused)
    );
    facts.user = Some(alice(UserAssurance::Verified));
    assert_eq!(reason(&default_set(), facts), None);
}

#[test]
fn the_floor_holds_for_calls_though_a_policy_permits_everything() {
    let set = set_with(r#"@id("all") permit (principal, action, resource);"#);
    let mut claimed = through(github());
    claimed.assurance = AgentAssurance::Claimed;
    let refused = decision(&set, claimed.clone());
    assert_eq!(refused.reason, Some(DenyReason::CallRefused));
    assert!(refused.actions.iter().all(|row| !row.allowed));
    claimed.user = Some(alice(UserAssurance::Verified));
    assert_eq!(reason(&set, claimed), None);
    let mut asserted = through(github());
    asserted.user = Some(alice(UserAssurance::Asserted));
    assert!(decision(&set, asserted).actions.iter().all(|row| !row.allowed));
}

#[test]
fn what_stands_in_the_way_refuses_before_any_policy() {
    for (obstacle, expected) in [
        (Obstacle::NotMapped, DenyReason::NotMapped),
        (Obstacle::ManifestNotAccepted, DenyReason::ManifestNotAccepted),
        (Obstacle::ArgumentsRefused, DenyReason::ArgumentsRefused),
    ] {
        let mut facts = facts();
        facts.call.as_mut().unwrap().obstacle = Some(obstacle);
        assert!(!visible(&default_set(), &facts));
        assert_eq!(reason(&default_set(), facts), Some(expected));
    }
}

#[test]
fn a_connection_needs_a_grant_an_account_and_a_policy() {
    assert_eq!(reason(&default_set(), through(github())), None);
    let changed = |change: fn(&mut ConnectionFacts)| {
        let mut connection = github();
        change(&mut connection);
        through(connection)
    };
    let none = |facts| reason(&default_set(), facts);
    assert_eq!(
        none(changed(|c| c.granted = false)),
        Some(DenyReason::ConnectionNotGranted)
    );
    assert_eq!(
        none(changed(|c| c.account_owner = None)),
        Some(DenyReason::AccountMissing)
    );
    let public = changed(|c| (c.needs_account, c.account_owner) = (false, None));
    assert_eq!(none(public), None);
    let set = set_with(
        r#"@id("no") forbid (principal is Agent, action == Action::"use_connection", resource == Connection::"github");"#,
    );
    let refused = decision(&set, through(github()));
    assert_eq!(refused.reason, Some(DenyReason::ConnectionRefused));
    assert_eq!(refused.actions[1].policies, ["no"]);
}

/// The agent `bot` asks for the credential of a connection.
fn release(change: impl FnOnce(&mut ConnectionFacts)) -> Facts {
    let mut connection = ConnectionFacts {
        handling: Handling::Release,
        ..github()
    };
    change(&mut connection);
    let mut facts = through(connection);
    facts.resource = None;
    facts.scopes = BTreeMap::new();
    facts.limits.parent = None;
    let call = facts.call.as_mut().unwrap();
    call.action = CallAction::ReleaseCredential;
    call.target = "github".to_owned();
    call.host = Some("api.github.com".to_owned());
    facts
}

#[test]
fn a_credential_is_handed_out_by_an_action_of_its_own() {
    let permitted = decision(&default_set(), release(|_| ()));
    assert_eq!(permitted.reason, None);
    assert_eq!(permitted.actions.len(), 1);
    assert_eq!(
        (&*permitted.actions[0].action, &*permitted.actions[0].target),
        ("release_credential", "github")
    );
    // Whoever may use it may not have it by that.
    let set = set_with(
        r#"@id("no") forbid (principal is Agent, action == Action::"release_credential", resource == Connection::"github");"#,
    );
    assert_eq!(reason(&set, release(|_| ())), Some(DenyReason::ReleaseRefused));
    assert_eq!(reason(&set, through(github())), None);
    let only_use = r#"
        @id("use") permit (principal is Agent, action == Action::"use_connection", resource is Connection);
        @id("managed") permit (principal in Role::"administrator", action in Action::"manage", resource);
    "#;
    let only_use = PolicySet::compile(only_use).unwrap();
    assert_eq!(
        reason(&only_use, release(|_| ())),
        Some(DenyReason::ReleaseRefused)
    );
}

#[test]
fn no_policy_hands_out_what_is_for_the_broker_only() {
    let all = PolicySet::compile(r#"@id("all") permit (principal, action, resource);"#).unwrap();
    let refused = decision(&all, release(|c| c.handling = Handling::BrokerOnly));
    assert_eq!(refused.reason, Some(DenyReason::ReleaseRefused));
    assert_eq!(
        refused.actions[0].policies,
        ["floor:a-credential-is-handed-out-only-where-its-connection-says-so"]
    );
    assert_eq!(reason(&all, release(|_| ())), None);
}

#[test]
fn a_credential_is_handed_out_under_a_grant_and_where_there_is_one() {
    let refused = |change: fn(&mut ConnectionFacts)| reason(&default_set(), release(change));
    assert_eq!(
        refused(|c| c.granted = false),
        Some(DenyReason::ConnectionNotGranted)
    );
    assert_eq!(
        refused(|c| c.account_owner = None),
        Some(DenyReason::AccountMissing)
    );
    assert_eq!(
        refused(|c| (c.needs_account, c.account_owner) = (false, None)),
        Some(DenyReason::ReleaseRefused)
    );
}

#[test]
fn policies_see_flow_scopes_and_host_of_what_is_handed_out() {
    let set = set_with(
        r#"@id("ours") forbid (principal is Agent, action == Action::"release_credential", resource is Connection)
           unless { resource has flow && resource.flow == "authorization_code" && resource.scopes.contains("repo")
                    && context has host && context.host == "api.github.com" && !(context has path) };"#,
    );
    assert_eq!(reason(&set, release(|_| ())), Some(DenyReason::ReleaseRefused));
    let seen = release(|c| {
        c.flow = Some(CredentialFlow::AuthorizationCode);
        c.scopes.insert("repo".to_owned());
    });
    assert_eq!(reason(&set, seen), None);
}

#[test]
fn a_yes_can_be_asked_for_before_a_credential_is_handed_out() {
    let set = set_with(
        r#"@id("ask") forbid (principal is Agent, action == Action::"release_credential", resource is Connection)
           unless { context has approval };"#,
    );
    let facts = release(|_| ());
    let plan = plan(&facts);
    let proposal = UseProposal {
        decision: DecisionId::from_bytes([9; 16]),
        facts,
        plan,
    };
    assert!(matches!(decide_use(&set, proposal), UseVerdict::NeedsApproval(_)));
}

/// A permit to call does not hand anything out, and the other way round.
#[test]
fn a_plan_for_something_else_than_policy_saw_is_refused() {
    let refused = |facts: Facts, plan: UsePlan| {
        let proposal = UseProposal {
            decision: DecisionId::from_bytes([9; 16]),
            facts,
            plan,
        };
        assert!(matches!(
            decide_use(&default_set(), proposal),
            UseVerdict::Deny(_)
        ));
    };
    let (used, released) = (through(github()), release(|_| ()));
    refused(used.clone(), plan(&released));
    refused(released.clone(), plan(&used));
    // An action without its place, or in another's.
    let mut lost = released;
    lost.resource.clone_from(&used.resource);
    assert_eq!(
        evaluate_use(&default_set(), &lost).reason,
        Some(DenyReason::CallRefused)
    );
    let mut lost = used;
    lost.resource = None;
    assert_eq!(
        evaluate_use(&default_set(), &lost).reason,
        Some(DenyReason::CallRefused)
    );
}

/// Facts that policy saw and the plan that would be carried out are about the same connection.
#[test]
fn a_plan_with_another_connection_than_policy_saw_is_refused() {
    let facts = through(github());
    let proposal = |facts: Facts, plan| UseProposal {
        decision: DecisionId::from_bytes([9; 16]),
        facts,
        plan,
    };
    let refused = |proposal| match decide_use(&default_set(), proposal) {
        UseVerdict::Permit(_) => panic!("permitted"),
        UseVerdict::Deny(decision) => decision.reason,
        UseVerdict::NeedsApproval(_) => panic!("no policy reads a yes"),
    };
    let without = plan(&super::tests::facts());
    assert_eq!(
        refused(proposal(facts.clone(), without)),
        Some(DenyReason::ConnectionRefused)
    );
    let unseen = proposal(super::tests::facts(), plan(&facts));
    assert_eq!(refused(unseen), Some(DenyReason::ConnectionRefused));
    let mut no_account = plan(&facts);
    no_account.connection.as_mut().unwrap().account = None;
    assert_eq!(
        refused(proposal(facts, no_account)),
        Some(DenyReason::ConnectionRefused)
    );
}

#[test]
fn arguments_are_limited_by_policies() {
    let set = set_with(UP_TO_100);
    assert_eq!(reason(&set, with(&[("amount", Argument::Number(100))])), None);
    let over = decision(&set, with(&[("amount", Argument::Number(101))]));
    assert_eq!(over.reason, Some(DenyReason::CallRefused));
    assert_eq!(over.actions[0].policies, ["up-to-100"]);
    assert_eq!(over.actions[0].arguments, ["amount"]);
    // Another kind of argument is not the argument that was limited.
    assert_eq!(
        reason(&set, with(&[("amount", Argument::Text("1".to_owned()))])),
        Some(DenyReason::CallRefused)
    );
    assert_eq!(reason(&set, facts()), Some(DenyReason::CallRefused));
}

#[test]
fn every_kind_of_argument_can_be_read() {
    let set = set_with(
        r#"@id("odd") forbid (principal is Agent, action == Action::"call_tool", resource is Tool)
        unless {
          context.arguments.text.getTag("path") like "/public/*" &&
          context.arguments.decimal.getTag("rate").lessThan(decimal("1.5")) &&
          context.arguments.flag.getTag("dry") &&
          context.arguments.texts.getTag("to").containsAll(["a@example.com"])
        };"#
            .replace("unless {", "unless { context.arguments.text.hasTag(\"path\") && context.arguments.decimal.hasTag(\"rate\") && context.arguments.flag.hasTag(\"dry\") && context.arguments.texts.hasTag(\"to\") &&")
            .as_str(),
    );
    let arguments = |rate: &str| {
        with(&[
            ("path", Argument::Text("/public/a".to_owned())),
            ("rate", Argument::Decimal(rate.to_owned())),
            ("dry", Argument::Flag(true)),
            (
                "to",
                Argument::Texts(BTreeSet::from(["a@example.com".to_owned()])),
            ),
        ])
    };
    assert_eq!(reason(&set, arguments("1.4999")), None);
    assert_eq!(reason(&set, arguments("1.5000")), Some(DenyReason::CallRefused));
    // What Cedar cannot carry exactly is refused, never rounded.
    assert_eq!(
        reason(&set, arguments("1.49999")),
        Some(DenyReason::ArgumentsRefused)
    );
}

#[test]
fn an_evaluation_error_refuses_a_call() {
    let set = set_with(
        r#"@id("overflow") forbid (principal is Agent, action == Action::"call_tool", resource is Tool)
        when { context.hour + 9223372036854775807 + 1 > 0 };"#,
    );
    let refused = decision(&set, facts());
    assert_eq!(refused.reason, Some(DenyReason::CallRefused));
    assert!(!refused.actions[0].errors.is_empty() && !visible(&set, &facts()));
}

#[test]
fn policies_speak_of_the_scopes_that_a_target_needs() {
    let set = set_with(
        r#"@id("no-pay") forbid (principal is Agent, action in Action::"call", resource in Scope::"bank:pay");"#,
    );
    assert_eq!(reason(&set, facts()), Some(DenyReason::CallRefused));
    let mut reading = facts();
    reading.scopes = needs(&[("read", Sensitivity::Read)]);
    assert_eq!(reason(&set, reading), None);
}

#[test]
fn a_token_is_never_issued_on_the_facts_of_a_call_nor_used_on_those_of_a_token() {
    let (rows, reason) = crate::decide::evaluate(&default_set(), &facts(), false);
    assert!(reason.is_some() && rows.iter().all(|row| !row.given));
    let mut issue = facts();
    issue.call = None;
    issue.grant_type = Some(GrantType::ClientCredentials);
    assert_eq!(
        super::tests::reason(&default_set(), issue),
        Some(DenyReason::CallRefused)
    );
}

#[test]
fn a_stored_call_evaluates_again_to_the_same() {
    let set = set_with(UP_TO_100);
    for amount in [1, 1_000] {
        let decision = decision(&set, with(&[("amount", Argument::Number(amount))]));
        let stored = serde_json::to_string(&decision).unwrap();
        let read: Decision = serde_json::from_str(&stored).unwrap();
        assert_eq!(read, decision);
        assert_eq!(crate::evaluate_again(&set, &read.facts), decision.outcome);
    }
}

#[test]
fn an_explanation_names_the_target_and_the_argument_that_decided() {
    let decision = decision(&set_with(UP_TO_100), with(&[("amount", Argument::Number(500))]));
    let explanation = explain(&decision);
    assert!(
        explanation.summary.contains("call_tool pay at bank"),
        "{}",
        explanation.summary
    );
    let notes = explanation.notes.join("\n");
    assert!(
        notes.contains("forbidden by up-to-100") && notes.contains("amount = 500"),
        "{notes}"
    );
    assert_eq!(explanation.rows[1].len(), explanation.columns.len());
}

mod visibility;

/// Payments over 100 need a yes.
const PAYMENTS: &str = r#"@id("over-100") forbid (principal is Agent, action == Action::"call_tool", resource == Tool::"bank:pay")
    unless { context.arguments.number.hasTag("amount") && (context.arguments.number.getTag("amount") <= 100
             || (context has approval && context.approval.count >= 1)) };"#;

#[test]
fn a_payment_over_a_limit_needs_a_yes_and_a_small_one_does_not() {
    let set = set_with(PAYMENTS);
    let paying = |amount: i64| with(&[("amount", Argument::Number(amount))]);
    assert_eq!(reason(&set, paying(100)), None);
    assert_eq!(reason(&set, paying(101)), Some(DenyReason::ApprovalRequired));
    assert_eq!(reason(&set, with(&[])), Some(DenyReason::CallRefused));
    assert!(visible(&set, &with(&[])), "what a yes would permit is listed");
}

#[test]
fn a_token_that_lacks_scopes_is_told_so_before_anybody_is_asked() {
    let set = set_with(PAYMENTS);
    let mut facts = with(&[("amount", Argument::Number(500))]);
    facts.limits.parent = Some(authority("bank:read"));
    assert_eq!(reason(&set, facts), Some(DenyReason::InsufficientScope));
}
