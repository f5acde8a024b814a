//! The rules of grants over random estates: a child never exceeds its parent, whatever is asked, and texts read
//! back as they were printed.
//!
//! The module says `cfg(test)`, which always holds here, so that the lints know its helpers for tests.

#[cfg(test)]
mod tests {
    use chancery_core::actor::MAX_CHAIN;
    use chancery_core::agent::{Agent, AgentSpec};
    use chancery_core::assurance::AgentAssurance;
    use chancery_core::authorization_details::{AuthorizationDetails, DetailTypeSpec};
    use chancery_core::blueprint::BlueprintSpec;
    use chancery_core::client::{ClientAuthenticationMethod, ClientSpec};
    use chancery_core::grant::{Grant, GrantSource, GrantSpec, Principal};
    use chancery_core::id::{
        AgentId, ClientId, DecisionId, DelegationId, GrantId, Id, ResourceId, TenantId, TokenId, UserId,
    };
    use chancery_core::issuer::{IssuerPurpose, KeySource, TrustedIssuerSpec};
    use chancery_core::lineage::{Lineage, Link};
    use chancery_core::name::Name;
    use chancery_core::noun::{Lifecycle, Noun, Record};
    use chancery_core::proposal::{Audience, Proposal, Subject};
    use chancery_core::resource::{Enforcement, Resource, ResourceSpec, ScopeSpec, TokenAlgorithm};
    use chancery_core::scope::{Authority, Scope, ScopeSet};
    use chancery_core::secret::TokenDigest;
    use chancery_core::tenant::{Tenant, TenantSpec};
    use chancery_core::time::{Timestamp, Ttl};
    use chancery_core::user::{User, UserSpec};
    use chancery_oauth::authentication::{AuthenticatedClient, ClientFacts, ClientSecret};
    use chancery_oauth::claims::OwnToken;
    use chancery_oauth::error::OAuthError;
    use chancery_oauth::grant::details::CheckedDetails;
    use chancery_oauth::grant::token_exchange::{OwnSubject, SubjectToken, token_exchange};
    use chancery_oauth::grant::{Directory, RequestContext, Target, VerifiedUser};
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    const NOW: Timestamp = Timestamp::from_seconds(1_768_478_400);
    const SCOPES: [&str; 4] = ["read", "write", "delete", "admin"];
    const RESOURCES: [&str; 3] = ["notes", "mail", "files"];

    /// Everything random about one request.
    #[derive(Clone, Debug)]
    struct Case {
        ceiling: Authority,
        blueprint: Option<Authority>,
        granted: Authority,
        held: ScopeSet,
        asked: Option<ScopeSet>,
        parent: Authority,
        parent_seconds: u64,
        grant_seconds: Option<u64>,
        agent_seconds: Option<u64>,
        lifetime: u64,
        depth: usize,
        resource: usize,
        for_chancery: bool,
        is_hop: bool,
        held_details: AuthorizationDetails,
        asked_details: AuthorizationDetails,
    }

    fn scopes() -> impl Strategy<Value = ScopeSet> {
        proptest::sample::subsequence(SCOPES.to_vec(), 0..=SCOPES.len())
            .prop_map(|scopes| scopes.into_iter().map(|scope| scope.parse().unwrap()).collect())
    }

    fn authority() -> impl Strategy<Value = Authority> {
        proptest::collection::vec(scopes(), RESOURCES.len()).prop_map(|sets| {
            RESOURCES
                .iter()
                .map(|name| name.parse().unwrap())
                .zip(sets)
                .collect()
        })
    }

    fn case() -> impl Strategy<Value = Case> {
        let limits = (
            authority(),
            proptest::option::of(authority()),
            authority(),
            scopes(),
            proptest::option::of(scopes()),
            authority(),
        );
        let times = (
            1..7_200_u64,
            proptest::option::of(1..7_200_u64),
            proptest::option::of(1..7_200_u64),
            1..7_200_u64,
        );
        let shape = (
            1..=MAX_CHAIN + 1,
            0..RESOURCES.len(),
            any::<bool>(),
            any::<bool>(),
        );
        let details = (
            details(),
            prop_oneof![Just(AuthorizationDetails::default()), details()],
        );
        (limits, times, shape, details).prop_map(|(limits, times, shape, details)| Case {
            ceiling: limits.0,
            blueprint: limits.1,
            granted: limits.2,
            held: limits.3,
            asked: limits.4.filter(|asked| !asked.is_empty()),
            parent: limits.5,
            parent_seconds: times.0,
            grant_seconds: times.1,
            agent_seconds: times.2,
            lifetime: times.3,
            depth: shape.0,
            resource: shape.1,
            for_chancery: shape.2,
            is_hop: shape.3,
            held_details: details.0,
            asked_details: details.1,
        })
    }

    const DETAILS: [&str; 3] = [
        r#"{"type":"payment","amount":1}"#,
        r#"{"type":"payment","amount":2}"#,
        r#"{"type":"copy"}"#,
    ];

    fn details() -> impl Strategy<Value = AuthorizationDetails> {
        proptest::sample::subsequence(DETAILS.to_vec(), 0..=DETAILS.len())
            .prop_map(|details| AuthorizationDetails::parse(&format!("[{}]", details.join(","))).unwrap())
    }

    fn detail_types() -> BTreeMap<chancery_core::authorization_details::DetailType, DetailTypeSpec> {
        let spec = |scope: &str| DetailTypeSpec {
            description: "x".to_owned(),
            schema: serde_json::json!({}),
            scopes: [scope.parse().unwrap()].into_iter().collect(),
            required: false,
        };
        BTreeMap::from([
            ("payment".parse().unwrap(), spec("write")),
            ("copy".parse().unwrap(), spec("read")),
        ])
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        NOW.plus(Ttl::from_seconds(seconds))
    }

    fn record<I: Id, S>(number: u8, named: &str, spec: S) -> Record<I, S> {
        Record {
            id: I::from_bytes([number; 16]),
            name: name(named),
            state: Lifecycle::Active,
            generation: u64::from(number),
            version: 1,
            created_at: NOW,
            updated_at: NOW,
            spec,
        }
    }

    fn tenant() -> Tenant {
        let base_url = "https://id.example".to_owned();
        record::<TenantId, _>(1, "default", TenantSpec { base_url })
    }

    fn agent(number: u8, case: &Case) -> Agent {
        let spec = AgentSpec {
            blueprint: case.blueprint.as_ref().map(|_| name("workers")),
            ceiling: case.ceiling.clone(),
            expires_at: case.agent_seconds.map(at),
            ..AgentSpec::default()
        };
        record::<AgentId, _>(number, &format!("agent-{number}"), spec)
    }

    const CALLER: u8 = 100;

    fn caller(case: &Case) -> AuthenticatedClient {
        let digest = TokenDigest::new([1; 32]);
        let client = ClientSpec::new(name("agent-100"), ClientAuthenticationMethod::ClientSecretBasic);
        let blueprint = |ceiling: &Authority| {
            let spec = BlueprintSpec {
                ceiling: ceiling.clone(),
                ..BlueprintSpec::default()
            };
            Arc::new(record(3, "workers", spec))
        };
        let facts = ClientFacts {
            tenant: Arc::new(tenant()),
            client: Arc::new(record::<ClientId, _>(2, "client", client)),
            agent: Arc::new(agent(CALLER, case)),
            blueprint: case.blueprint.as_ref().map(blueprint),
        };
        let stored = ClientSecret {
            digest,
            expires_at: None,
        };
        AuthenticatedClient::by_secret(facts, &digest, &[stored], NOW).unwrap()
    }

    fn resource(number: usize, case: &Case) -> Arc<Resource> {
        let named = RESOURCES[number];
        let spec = ResourceSpec {
            uri: format!("https://{named}.example").parse().unwrap(),
            scopes: SCOPES
                .iter()
                .map(|scope| (scope.parse().unwrap(), ScopeSpec::default()))
                .collect(),
            authorization_details_types: detail_types(),
            default_scopes: SCOPES.iter().map(|scope| scope.parse().unwrap()).collect(),
            upstream: None,
            tools: BTreeMap::new(),
            prompts: BTreeMap::new(),
            documents: BTreeMap::new(),
            holders: BTreeMap::from([("staff".to_owned(), case.held.clone())]),
            enforcement: Enforcement::Itself,
            owner: None,
            agent: None,
            algorithm: TokenAlgorithm::Es256,
            lifetime: Some(Ttl::from_seconds(case.lifetime)),
        };
        Arc::new(record::<ResourceId, _>(
            u8::try_from(10 + number).unwrap(),
            named,
            spec,
        ))
    }

    fn grants(case: &Case) -> Vec<Arc<Grant>> {
        let grant = |(number, (at_resource, scopes)): (usize, (&Name, &ScopeSet))| {
            let spec = GrantSpec {
                agent: name("agent-1"),
                principal: Principal::User(name("alice")),
                resource: Some(at_resource.clone()),
                connection: None,
                scopes: scopes.clone(),
                authorization_details_types: BTreeSet::new(),
                source: GrantSource::Consent,
                expires_at: case.grant_seconds.map(at),
                budget: None,
                hours: None,
            };
            Arc::new(record::<GrantId, _>(
                u8::try_from(20 + number).unwrap(),
                &format!("g{number}"),
                spec,
            ))
        };
        case.granted.iter().enumerate().map(grant).collect()
    }

    fn alice() -> VerifiedUser {
        let spec = UserSpec {
            issuer: name("corp"),
            subject: "alice".to_owned(),
            roles: BTreeSet::from([name("staff")]),
            groups: BTreeSet::new(),
            attributes: BTreeMap::new(),
            as_of: NOW,
        };
        VerifiedUser {
            user: Arc::new(record::<UserId, _>(4, "alice", spec) as User),
            guard: None,
        }
    }

    /// An agent token for Alice behind a chain of agents, the caller's or handed over to the caller.
    fn own_subject(case: &Case) -> OwnSubject {
        let mut agents: Vec<Arc<Agent>> = (1..=case.depth)
            .rev()
            .map(|number| Arc::new(agent(u8::try_from(number).unwrap(), case)))
            .collect();
        if !case.is_hop {
            agents[0] = Arc::new(agent(CALLER, case));
        }
        let lineage: Lineage = agents
            .iter()
            .map(|agent| Link {
                noun: Noun::Agent,
                id: *agent.id.as_bytes(),
                generation: agent.generation,
            })
            .collect();
        OwnSubject {
            token: Arc::new(OwnToken {
                id: TokenId::from_bytes([9; 16]),
                subject: Subject::User(UserId::from_bytes([4; 16])),
                audience: "https://id.example".to_owned(),
                scope: case.parent.to_string(),
                authorization_details: case.held_details.clone(),
                client: ClientId::from_bytes([8; 16]),
                actors: agents.iter().map(|agent| agent.id).collect(),
                may_act: case.is_hop.then(|| AgentId::from_bytes([CALLER; 16])),
                lineage,
                assurance: AgentAssurance::Secret,
                issued_at: NOW,
                expires_at: at(case.parent_seconds),
            }),
            audience: None,
            audience_agent: None,
            agents,
            user: Some(alice()),
            guards: Vec::new(),
        }
    }

    fn exchanged(case: &Case, subject: &SubjectToken) -> Result<Proposal, OAuthError> {
        let tenant = tenant();
        let details = CheckedDetails::new(case.asked_details.clone(), Vec::new());
        let context = RequestContext {
            tenant: &tenant,
            now: NOW,
            decision: DecisionId::from_bytes([5; 16]),
            delegation: DelegationId::from_bytes([6; 16]),
            details: Some(&details),
        };
        let resources = (0..RESOURCES.len()).map(|number| resource(number, case));
        let target = if case.for_chancery {
            Target::Chancery
        } else {
            Target::Resource(resource(case.resource, case))
        };
        let at_resource = name(RESOURCES[case.resource]);
        let scope = case.asked.as_ref().map(|asked| {
            if case.for_chancery {
                Authority::at(at_resource, asked.clone()).to_string()
            } else {
                asked.to_string()
            }
        });
        let directory = Directory {
            resources: resources.collect(),
            grants: grants(case),
        };
        token_exchange(
            context,
            &caller(case),
            subject,
            &target,
            scope.as_deref(),
            &directory,
        )
    }

    fn user_subject(case: &Case) -> SubjectToken {
        let issuer = TrustedIssuerSpec {
            issuer: "https://idp.example".to_owned(),
            purposes: [IssuerPurpose::Users].into_iter().collect(),
            audiences: vec!["chancery".to_owned()],
            keys: KeySource::Discovery,
            claims: chancery_core::issuer::ClaimMapping::default(),
            assertions: Vec::new(),
            sign_in: None,
        };
        SubjectToken::User {
            user: alice(),
            issuer: Arc::new(record(7, "corp", issuer)),
            expires_at: at(case.parent_seconds),
        }
    }

    /// What every limit of a proposal leaves of the scopes in question.
    fn left(proposal: &Proposal) -> Authority {
        let facts = &proposal.facts;
        let all = |name: &Name| facts.scopes[name].keys().cloned().collect::<ScopeSet>();
        facts
            .scopes
            .keys()
            .map(|name| (name.clone(), facts.limits.narrow(name, &all(name))))
            .collect()
    }

    proptest! {
        #[test]
        fn a_childs_scope_is_within_every_limit(case in case()) {
            let own = SubjectToken::Own(Box::new(own_subject(&case)));
            for (subject, parent) in [(own, Some(&case.parent)), (user_subject(&case), None)] {
                let Ok(proposal) = exchanged(&case, &subject) else { continue };
                let left = left(&proposal);
                prop_assert!(left.is_subset(&case.ceiling));
                prop_assert!(case.blueprint.as_ref().is_none_or(|ceiling| left.is_subset(ceiling)));
                prop_assert!(left.is_subset(&case.granted));
                prop_assert!(left.pairs().all(|(_, scope)| case.held.contains(scope)));
                prop_assert!(parent.is_none_or(|parent| left.is_subset(parent)));
                prop_assert!(proposal.facts.limits.grant.is_some() && proposal.facts.limits.holders.is_some());
                prop_assert_eq!(proposal.facts.limits.parent.is_some(), parent.is_some());
            }
        }

        #[test]
        fn a_child_has_no_detail_that_its_parent_lacks(case in case()) {
            let own = SubjectToken::Own(Box::new(own_subject(&case)));
            for (subject, held) in [(own, &case.held_details), (user_subject(&case), &AuthorizationDetails::default())] {
                let Ok(proposal) = exchanged(&case, &subject) else { continue };
                prop_assert!(proposal.plan.authorization_details.is_within(held));
                prop_assert!(proposal.plan.authorization_details.is_same(&case.asked_details));
                let asked = proposal.facts.asked.unwrap_or_default();
                for detail in proposal.plan.authorization_details.iter() {
                    let scope = &detail_types()[detail.kind()].scopes;
                    prop_assert!(asked.iter().any(|(_, asked)| scope.is_subset(asked)));
                }
            }
        }

        #[test]
        fn a_child_outlives_neither_parent_nor_grant_nor_agent(case in case()) {
            let own = SubjectToken::Own(Box::new(own_subject(&case)));
            for subject in [own, user_subject(&case)] {
                let Ok(proposal) = exchanged(&case, &subject) else { continue };
                let end = proposal.plan.expires_at;
                prop_assert!(end <= at(case.parent_seconds) && end > NOW);
                prop_assert!(case.agent_seconds.is_none_or(|seconds| end <= at(seconds)));
                let is_granted = proposal.plan.lineage.iter().any(|link| link.noun == Noun::Grant);
                prop_assert!(!is_granted || case.grant_seconds.is_none_or(|seconds| end <= at(seconds)));
            }
        }

        #[test]
        fn a_chain_only_grows_and_is_bounded(case in case()) {
            let own = own_subject(&case);
            let before: Vec<AgentId> = own.token.actors.clone();
            let lineage = own.token.lineage.clone();
            match exchanged(&case, &SubjectToken::Own(Box::new(own))) {
                Err(_) => {}
                Ok(proposal) => {
                    let after: Vec<AgentId> = proposal.plan.chain.iter().map(|link| link.id).collect();
                    prop_assert!(after.ends_with(&before) && after.len() <= MAX_CHAIN);
                    prop_assert_eq!(after.len(), before.len() + usize::from(case.is_hop));
                    prop_assert_eq!(after[0], AgentId::from_bytes([CALLER; 16]));
                    prop_assert_eq!(proposal.plan.delegation.is_some(), case.is_hop);
                    prop_assert!(lineage.iter().all(|link| proposal.plan.lineage.iter().any(|other| other == link)));
                    prop_assert_eq!(proposal.plan.subject, Subject::User(UserId::from_bytes([4; 16])));
                }
            }
            let too_long = case.depth + usize::from(case.is_hop) > MAX_CHAIN;
            let retried = exchanged(&case, &SubjectToken::Own(Box::new(own_subject(&case))));
            prop_assert!(!too_long || retried.is_err());
        }

        #[test]
        fn an_audience_never_widens(case in case()) {
            let proposal = exchanged(&case, &SubjectToken::Own(Box::new(own_subject(&case))));
            if let Ok(Proposal { plan, facts, .. }) = &proposal {
                if let Audience::Resource { name, .. } = &plan.audience {
                    prop_assert!(facts.scopes.keys().all(|other| other == name));
                }
                let left = left(proposal.as_ref().unwrap());
                prop_assert!(left.pairs().all(|(name, scope)| case.parent.allows(name, scope)));
            }
        }

        #[test]
        fn a_token_of_somebody_else_is_no_subject(case in case()) {
            let mut own = own_subject(&Case { is_hop: true, ..case.clone() });
            Arc::make_mut(&mut own.token).may_act = Some(AgentId::from_bytes([99; 16]));
            let subject = SubjectToken::Own(Box::new(own));
            prop_assert!(exchanged(&case, &subject).is_err());
        }

        #[test]
        fn names_print_what_they_parse(text in "[a-z0-9][a-z0-9._:@/-]{0,127}") {
            if let Ok(name) = text.parse::<Name>() {
                prop_assert_eq!(name.as_str(), text.as_str());
            }
        }

        #[test]
        fn ids_print_what_they_parse(bytes in any::<[u8; 16]>()) {
            let id = AgentId::from_bytes(bytes);
            prop_assert_eq!(id.to_string().parse::<AgentId>().unwrap(), id);
            prop_assert!(id.to_string().parse::<ClientId>().is_err());
            prop_assert!(id.to_string().parse::<Name>().is_err(), "an id is never a name");
        }

        #[test]
        fn scopes_and_authority_print_what_they_parse(authority in authority(), scope in "[!#-\\[\\]-~]{1,40}") {
            let text = authority.to_string();
            if !authority.is_empty() {
                let read = Authority::parse(&text).unwrap();
                prop_assert!(read.is_subset(&authority) && authority.is_subset(&read));
            }
            let set: ScopeSet = [scope.parse::<Scope>().unwrap()].into_iter().collect();
            prop_assert_eq!(ScopeSet::parse(&set.to_string()).unwrap(), set);
        }

        #[test]
        fn lineage_prints_what_it_parses(links in proptest::collection::vec((any::<[u8; 16]>(), any::<u64>(), 0..4_usize), 0..12)) {
            let nouns = [Noun::Tenant, Noun::Agent, Noun::Grant, Noun::Delegation];
            let lineage: Lineage = links
                .into_iter()
                .map(|(id, generation, noun)| Link { noun: nouns[noun], id, generation })
                .collect();
            let text = serde_json::to_string(&lineage).unwrap();
            prop_assert_eq!(serde_json::from_str::<Lineage>(&text).unwrap(), lineage);
        }
    }
}
