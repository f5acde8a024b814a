use super::*;
use chancery_core::approval::{ApprovalFacts, ApprovalMethod};
use chancery_core::assurance::{AgentAssurance, UserAssurance};
use chancery_core::authorization_details::{AuthorizationDetails, DetailFacts};
use chancery_core::call::Argument;
use chancery_core::id::{AgentId, ClientId, DecisionId, Id as _, TenantId};
use chancery_core::lineage::Lineage;
use chancery_core::proposal::{AgentFacts, GrantType, Limits, ResourceFacts, Subject, TokenPlan, UserFacts};
use chancery_core::resource::{Sensitivity, TokenAlgorithm};
use chancery_core::time::Timestamp;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn authority(text: &str) -> Authority {
    if text.is_empty() {
        Authority::default()
    } else {
        Authority::parse(text).unwrap()
    }
}

fn scopes_in_question(list: &[(&str, Sensitivity)]) -> BTreeMap<Name, BTreeMap<Scope, Sensitivity>> {
    let scopes = list
        .iter()
        .map(|(scope, sensitivity)| (scope.parse().unwrap(), *sensitivity))
        .collect();
    BTreeMap::from([(name("notes"), scopes)])
}

fn facts() -> Facts {
    Facts {
        tenant: name("default"),
        now: Timestamp::from_seconds(1_800_000_000),
        grant_type: Some(GrantType::ClientCredentials),
        call: None,
        agent: AgentFacts {
            name: name("bot"),
            owner: Some(name("ada")),
            blueprint: None,
            tags: BTreeMap::new(),
        },
        delegated_by: None,
        client: name("bot-ci"),
        assurance: AgentAssurance::Runtime,
        instance: BTreeMap::new(),
        user: None,
        approval: None,
        chain: vec![name("bot")],
        resource: Some(ResourceFacts {
            name: name("notes"),
            owner: None,
        }),
        scopes: scopes_in_question(&[("read", Sensitivity::Read)]),
        asked: Some(authority("notes:read")),
        authorization_details: Vec::new(),
        limits: Limits {
            parent: None,
            ceiling: authority("notes:read notes:write"),
            grant: Some(authority("notes:read notes:write")),
            holders: None,
        },
    }
}

fn alice() -> UserFacts {
    UserFacts {
        name: name("corp:alice"),
        issuer: name("corp"),
        roles: BTreeSet::from([name("writer")]),
        groups: BTreeSet::from(["Sales & Support".to_owned()]),
        attributes: BTreeMap::new(),
        as_of: Timestamp::from_seconds(1_799_999_990),
        assurance: UserAssurance::Verified,
    }
}

fn proposal(facts: Facts) -> Proposal {
    let resource = chancery_core::id::ResourceId::from_bytes([9; 16]);
    Proposal {
        decision: DecisionId::from_bytes([1; 16]),
        plan: TokenPlan {
            tenant: TenantId::from_bytes([2; 16]),
            issuer: "https://id.example".to_owned(),
            audience: Audience::Resource {
                id: resource,
                name: name("notes"),
                uri: "https://notes.example".parse().unwrap(),
            },
            subject: Subject::Agent(AgentId::from_bytes([3; 16])),
            agent: AgentId::from_bytes([3; 16]),
            client: ClientId::from_bytes([4; 16]),
            chain: Vec::new(),
            may_act: None,
            assurance: AgentAssurance::Runtime,
            authorization_details: AuthorizationDetails::default(),
            issued_at: facts.now,
            expires_at: facts.now,
            algorithm: TokenAlgorithm::Es256,
            lineage: Lineage::default(),
            guards: Vec::new(),
            spends: Vec::new(),
            delegation: None,
        },
        facts,
    }
}

fn default_set() -> PolicySet {
    PolicySet::compile(crate::DEFAULT_POLICIES).unwrap()
}

fn deny_reason(set: &PolicySet, facts: Facts) -> Option<DenyReason> {
    match decide(set, proposal(facts)) {
        Verdict::Permit(_) => None,
        Verdict::Deny(decision) => decision.reason,
        Verdict::NeedsApproval(needed) => needed.decision.reason,
    }
}

#[test]
fn a_permit_gives_exactly_what_every_limit_leaves() {
    let Verdict::Permit(permit) = decide(&default_set(), proposal(facts())) else {
        panic!()
    };
    assert_eq!(permit.given(), &authority("notes:read"));
    let row = &permit.decision().rows[0];
    assert_eq!(row.policies, ["agents-get-what-they-were-granted"]);
}

#[test]
fn a_named_scope_outside_the_ceiling_refuses_everything() {
    let mut facts = facts();
    facts.scopes = scopes_in_question(&[("read", Sensitivity::Read), ("delete", Sensitivity::Sensitive)]);
    facts.asked = Some(authority("notes:read notes:delete"));
    assert_eq!(deny_reason(&default_set(), facts), Some(DenyReason::ScopeRefused));
}

#[test]
fn default_scopes_are_narrowed_silently() {
    let mut facts = facts();
    facts.scopes = scopes_in_question(&[("read", Sensitivity::Read), ("delete", Sensitivity::Sensitive)]);
    facts.asked = None;
    let Verdict::Permit(permit) = decide(&default_set(), proposal(facts)) else {
        panic!()
    };
    assert_eq!(permit.given(), &authority("notes:read"));
}

#[test]
fn a_missing_grant_that_policy_would_permit_asks_for_consent() {
    let mut facts = facts();
    facts.user = Some(alice());
    facts.limits.holders = Some(authority("notes:read"));
    facts.limits.grant = Some(Authority::default());
    assert_eq!(
        deny_reason(&default_set(), facts.clone()),
        Some(DenyReason::ConsentRequired)
    );
    facts.limits.holders = Some(Authority::default());
    assert_eq!(deny_reason(&default_set(), facts), Some(DenyReason::ScopeRefused));
}

#[test]
fn an_asserted_user_cannot_be_delegated_from() {
    let mut facts = facts();
    facts.user = Some(UserFacts {
        assurance: UserAssurance::Asserted,
        ..alice()
    });
    assert_eq!(deny_reason(&default_set(), facts), Some(DenyReason::ScopeRefused));
}

#[test]
fn a_public_client_needs_a_user() {
    let mut facts = facts();
    facts.assurance = AgentAssurance::Claimed;
    assert_eq!(
        deny_reason(&default_set(), facts.clone()),
        Some(DenyReason::ScopeRefused)
    );
    facts.user = Some(alice());
    assert_eq!(deny_reason(&default_set(), facts), None);
}

#[test]
fn delegation_is_decided_and_bounded() {
    let mut facts = facts();
    facts.delegated_by = Some(name("planner"));
    facts.chain = vec![name("bot"), name("planner")];
    assert_eq!(deny_reason(&default_set(), facts.clone()), None);
    facts.chain = ["bot", "a", "b", "planner"].map(name).to_vec();
    assert_eq!(
        deny_reason(&default_set(), facts.clone()),
        Some(DenyReason::DelegationRefused)
    );
    facts.chain = vec![name("bot"), name("bot")];
    facts.delegated_by = Some(name("bot"));
    assert_eq!(
        deny_reason(&default_set(), facts),
        Some(DenyReason::DelegationRefused)
    );
}

#[test]
fn an_evaluation_error_is_a_deny() {
    let text = format!(
        "{}\n@id(\"overflow\") forbid (principal is Agent, action == Action::\"issue_token\", resource is Scope) \
         when {{ context.hour + 9223372036854775807 + 1 > 0 }};",
        crate::DEFAULT_POLICIES
    );
    let set = PolicySet::compile(&text).unwrap();
    let Verdict::Deny(decision) = decide(&set, proposal(facts())) else {
        panic!("an error must not permit")
    };
    assert!(!decision.rows[0].errors.is_empty());
}

#[test]
fn a_policy_that_reads_the_time_sees_it() {
    let rule = |operator: &str| {
        let text = format!(
            "{}\n@id(\"time\") forbid (principal is Agent, action == Action::\"issue_token\", resource is Scope) \
             when {{ context.now {operator} datetime(\"2001-01-01\") }};",
            crate::DEFAULT_POLICIES
        );
        let set = PolicySet::compile(&text).unwrap();
        matches!(decide(&set, proposal(facts())), Verdict::Permit(_))
    };
    assert_ne!(rule("<"), rule(">="));
}

#[test]
fn facts_fit_the_schema() {
    let mut facts = facts();
    facts.user = Some(alice());
    facts.delegated_by = Some(name("planner"));
    facts.chain = vec![name("bot"), name("planner")];
    facts.instance = BTreeMap::from([("pod".to_owned(), "web-1".to_owned())]);
    let schema = crate::set::schema().unwrap();
    facts.authorization_details = vec![payment(1)];
    let context = entities::issue_contexts(&facts, true).unwrap().remove(0);
    let request = cedar::Request::new(
        entities::uid(Kind::Agent, "bot"),
        entities::uid(Kind::Action, "issue_token"),
        entities::uid(Kind::Scope, "notes:read"),
        context,
        Some(&schema),
    );
    request.unwrap();
}

#[test]
fn a_decision_evaluates_again_to_the_same() {
    let set = default_set();
    let Verdict::Permit(permit) = decide(&set, proposal(facts())) else {
        panic!()
    };
    let stored = serde_json::to_string(permit.decision()).unwrap();
    let read: Decision = serde_json::from_str(&stored).unwrap();
    assert_eq!(&read, permit.decision());
    let (rows, reason) = evaluate(&set, &read.facts, false);
    assert_eq!((rows, reason), (read.rows, read.reason));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The slice decides as the whole set does.
    #[test]
    fn a_slice_decides_as_the_whole_set(
        kinds in proptest::collection::vec((0..8_u8, 0..3_u8, any::<bool>()), 0..12),
        who in 0..3_u8,
    ) {
        let mut text = crate::DEFAULT_POLICIES.to_owned();
        for (position, (kind, target, forbid)) in kinds.iter().enumerate() {
            let effect = if *forbid { "forbid" } else { "permit" };
            let head = match kind {
                0 => format!("principal == Agent::\"bot{target}\", action == Action::\"issue_token\", resource"),
                1 => format!("principal in Blueprint::\"b{target}\", action == Action::\"issue_token\", resource"),
                2 => format!("principal is Agent, action == Action::\"issue_token\", resource == Scope::\"notes:s{target}\""),
                3 => format!("principal, action in [Action::\"issue_token\"], resource in Resource::\"r{target}\""),
                4 => "principal is Agent, action == Action::\"issue_token\", resource is Scope".to_owned(),
                5 => format!("principal is Agent in Blueprint::\"b{target}\", action == Action::\"issue_token\", resource"),
                6 => format!("principal == Agent::\"bot{target}\", action == Action::\"delegate\", resource"),
                _ => format!("principal is Agent, action, resource is Scope in Resource::\"r{target}\""),
            };
            text = format!("{text}\n@id(\"p{position}\") {effect} ({head});");
        }
        let set = PolicySet::compile(&text).unwrap();
        let mut facts = facts();
        facts.agent.name = name(&format!("bot{who}"));
        facts.agent.blueprint = Some(name(&format!("b{who}")));
        let resource = name(&format!("r{who}"));
        let evaluator = Evaluator::new(&set, &facts).unwrap();
        let scope: Scope = format!("s{who}").parse().unwrap();
        let resources = [entities::scope_uid(&resource, &scope), entities::uid(Kind::Resource, resource.as_str())];
        let sliced = evaluator.ask("issue_token", &evaluator.principals, &resources);
        let request = cedar::Request::new(
            evaluator.principals[0].clone(), entities::uid(Kind::Action, "issue_token"), resources[0].clone(),
            evaluator.contexts[0].clone(), None,
        ).unwrap();
        let whole = answer(&set.authorizer.is_authorized(&request, &set.index.whole(), &evaluator.entities));
        prop_assert_eq!((sliced.allowed, sliced.policies), (whole.allowed, whole.policies));
    }
}

fn with_policy(policy: &str) -> PolicySet {
    PolicySet::compile(&format!("{}\n{policy}", crate::DEFAULT_POLICIES)).unwrap()
}

fn needed(set: &PolicySet, facts: Facts) -> NeedsApproval<TokenPlan> {
    match decide(set, proposal(facts)) {
        Verdict::NeedsApproval(needed) => *needed,
        other @ (Verdict::Permit(_) | Verdict::Deny(_)) => panic!("{other:?}"),
    }
}

fn yes(count: u32, methods: &[ApprovalMethod]) -> ApprovalFacts {
    ApprovalFacts {
        id: None,
        approvers: BTreeSet::from([name("carol")]),
        count,
        methods: methods.iter().copied().collect(),
        given_at: Timestamp::from_seconds(1_799_999_990),
    }
}

const NEEDS_A_YES: &str = r#"@id("yes") forbid (principal is Agent, action == Action::"issue_token", resource)
    unless { context has approval && context.approval.count >= 2 && context.approval.methods.contains("number")
             && context.approval.approvers.contains(User::"cfo") };"#;

#[test]
fn what_a_yes_would_permit_needs_approval_and_says_which() {
    let needed = needed(&with_policy(NEEDS_A_YES), facts());
    assert_eq!(needed.requirement.count, 2);
    assert_eq!(
        needed.requirement.methods,
        BTreeSet::from([ApprovalMethod::Number])
    );
    assert_eq!(needed.given, authority("notes:read"));
    assert_eq!(needed.decision.outcome, DecisionOutcome::Deny);
    assert_eq!(needed.decision.reason, Some(DenyReason::ApprovalRequired));
}

#[test]
fn a_real_yes_is_judged_as_it_is() {
    let set = with_policy(NEEDS_A_YES);
    let outcome = |approval: ApprovalFacts| {
        let facts = Facts {
            approval: Some(approval),
            ..facts()
        };
        deny_reason(&set, facts)
    };
    let mut enough = yes(2, &[ApprovalMethod::Number]);
    assert_eq!(outcome(enough.clone()), Some(DenyReason::ScopeRefused));
    enough.approvers.insert(name("cfo"));
    assert_eq!(outcome(enough.clone()), None);
    assert_eq!(
        outcome(ApprovalFacts {
            count: 1,
            ..enough.clone()
        }),
        Some(DenyReason::ScopeRefused)
    );
    let other_way = BTreeSet::from([ApprovalMethod::Page]);
    assert_eq!(
        outcome(ApprovalFacts {
            methods: other_way,
            ..enough
        }),
        Some(DenyReason::ScopeRefused)
    );
}

#[test]
fn a_yes_that_grows_old_is_not_remembered_as_fresh() {
    let set = with_policy(
        r#"@id("fresh") forbid (principal is Agent, action == Action::"issue_token", resource)
           unless { context has approval && context.approval.age < 60 };"#,
    );
    let at = |now: i64| Facts {
        approval: Some(yes(1, &[])),
        now: Timestamp::from_seconds(now),
        ..facts()
    };
    assert_eq!(deny_reason(&set, at(1_800_000_000)), None);
    assert_eq!(
        deny_reason(&set, at(1_800_000_100)),
        Some(DenyReason::ScopeRefused)
    );
}

#[test]
fn no_yes_turns_the_floor_or_another_limit() {
    let set = with_policy(NEEDS_A_YES);
    let claimed = Facts {
        assurance: AgentAssurance::Claimed,
        ..facts()
    };
    assert_eq!(deny_reason(&set, claimed), Some(DenyReason::ScopeRefused));
    let mut beyond = facts();
    beyond.limits.ceiling = Authority::default();
    assert_eq!(deny_reason(&set, beyond), Some(DenyReason::ScopeRefused));
    let mut ungranted = facts();
    ungranted.limits.grant = Some(Authority::default());
    assert_eq!(deny_reason(&set, ungranted), Some(DenyReason::ConsentRequired));
}

#[test]
fn what_cannot_be_evaluated_is_refused_and_nobody_is_asked() {
    let broken = r#"@id("broken") forbid (principal is Agent, action == Action::"issue_token", resource)
        when { context.hour + 9223372036854775807 > 0 && context.hour * 9223372036854775807 > 0 };"#;
    let set = with_policy(&format!("{NEEDS_A_YES}\n{broken}"));
    assert_eq!(deny_reason(&set, facts()), Some(DenyReason::ScopeRefused));
}

#[test]
fn sets_that_read_no_yes_never_ask_for_one() {
    let set =
        with_policy(r#"@id("no") forbid (principal is Agent, action == Action::"issue_token", resource);"#);
    assert_eq!(deny_reason(&set, facts()), Some(DenyReason::ScopeRefused));
}

fn payment(amount: i64) -> DetailFacts {
    DetailFacts {
        kind: "payment".parse().unwrap(),
        members: BTreeMap::from([("amount".to_owned(), Argument::Number(amount))]),
    }
}

#[test]
fn every_detail_is_asked_about_and_none_hides_behind_another() {
    let limit = r#"@id("small-payments") forbid (principal, action == Action::"issue_token", resource) when {
        context has authorization_detail && context.authorization_detail.type == "payment"
        && !(context.authorization_detail.members.number.hasTag("amount")
             && context.authorization_detail.members.number.getTag("amount") <= 100)
    };"#;
    let set = PolicySet::compile(&format!("{}\n{limit}", crate::DEFAULT_POLICIES)).unwrap();
    let with = |details: Vec<DetailFacts>| {
        let mut facts = facts();
        facts.authorization_details = details;
        deny_reason(&set, facts)
    };
    assert_eq!(with(Vec::new()), None);
    assert_eq!(with(vec![payment(100)]), None);
    for details in [
        vec![payment(101)],
        vec![payment(1), payment(101)],
        vec![payment(101), payment(1)],
        vec![DetailFacts {
            members: BTreeMap::new(),
            ..payment(1)
        }],
    ] {
        assert_eq!(with(details), Some(DenyReason::ScopeRefused));
    }
}

#[test]
fn the_types_of_details_are_seen_as_a_set() {
    let rule = r#"@id("no-payments") forbid (principal, action == Action::"issue_token", resource)
        when { context.authorization_details_types.contains("payment") };"#;
    let set = PolicySet::compile(&format!("{}\n{rule}", crate::DEFAULT_POLICIES)).unwrap();
    assert_eq!(deny_reason(&set, facts()), None);
    let mut facts = facts();
    facts.authorization_details = vec![payment(1)];
    assert_eq!(deny_reason(&set, facts), Some(DenyReason::ScopeRefused));
}
