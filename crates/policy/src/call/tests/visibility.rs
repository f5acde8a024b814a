//! Which calls read arguments, and which could be permitted with some.

use super::*;
use proptest::prelude::*;

#[test]
fn arguments_matter_only_where_a_policy_reads_them() {
    assert!(!default_set().reads_arguments(&facts()));
    let set = set_with(UP_TO_100);
    assert!(set.reads_arguments(&facts()));
    let mut other = facts();
    other.call.as_mut().unwrap().target = "balance".to_owned();
    assert!(!set.reads_arguments(&other));
    let set = set_with(
        r#"@id("c") forbid (principal is Agent, action == Action::"use_connection", resource is Connection)
        when { context.arguments.flag.hasTag("x") };"#,
    );
    assert!(set.reads_arguments(&through(github())) && !set.reads_arguments(&facts()));
}

#[test]
fn a_call_is_visible_unless_no_argument_could_make_it_permitted() {
    assert!(visible(&set_with(UP_TO_100), &facts()));
    let never = format!(
        "{UP_TO_100}\n{}",
        r#"
        @id("never") forbid (principal == Agent::"bot", action == Action::"call_tool", resource is Tool)
        when { context.depth > 1 };"#
    );
    assert!(!visible(&set_with(&never), &facts()));
    let mut short = facts();
    short.limits.parent = Some(authority("bank:read"));
    assert!(!visible(&set_with(UP_TO_100), &short));
}

/// A condition over the arguments `amount` (a number), `to` (a text) and `dry` (a flag), or without any.
fn condition() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (0..4_i64).prop_map(|limit| format!(
            "context.arguments.number.hasTag(\"amount\") && context.arguments.number.getTag(\"amount\") <= {limit}"
        )),
        Just("context.arguments.text.hasTag(\"to\") && context.arguments.text.getTag(\"to\") like \"a*\"".to_owned()),
        Just("context.arguments.flag.hasTag(\"dry\")".to_owned()),
        Just("context has user".to_owned()),
        Just("context.depth > 1".to_owned()),
        Just("principal in Blueprint::\"workers\"".to_owned()),
        Just("resource in Scope::\"bank:pay\"".to_owned()),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

fn policies() -> impl Strategy<Value = String> {
    let policy = (any::<bool>(), 0..3_u8, condition()).prop_map(|(forbid, head, condition)| {
        let effect = if forbid { "forbid" } else { "permit" };
        let head = match head {
            0 => "principal is Agent, action == Action::\"call_tool\", resource is Tool",
            1 => "principal == Agent::\"bot\", action in Action::\"call\", resource",
            _ => "principal is Agent, action == Action::\"use_connection\", resource is Connection",
        };
        format!("{effect} ({head}) when {{ {condition} }};")
    });
    proptest::collection::vec(policy, 0..5).prop_map(|policies| {
        let numbered = policies.iter().enumerate();
        let named = numbered.map(|(number, policy)| format!("@id(\"p{number}\") {policy}"));
        named.collect::<Vec<_>>().join("\n")
    })
}

/// The smallest set with which somebody can still repair policy.
const REPAIR: &str = "@id(\"repair\") permit (principal in Role::\"administrator\", action in Action::\"manage\", resource);\n";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is permitted with some arguments is visible; and where no policy reads arguments, what is visible
    /// is what is permitted.
    #[test]
    fn a_list_hides_nothing_that_could_be_called(
        policies in policies(),
        defaults in any::<bool>(),
        amount in proptest::option::of(0..5_i64),
        to in proptest::option::of("[ab]{1,2}"),
        dry in proptest::option::of(any::<bool>()),
        person in any::<bool>(),
        connected in any::<bool>(),
    ) {
        let base = if defaults { crate::DEFAULT_POLICIES } else { REPAIR };
        let set = PolicySet::compile(&format!("{base}\n{policies}")).unwrap();
        let mut facts = if connected { through(github()) } else { facts() };
        facts.user = person.then(|| alice(UserAssurance::Verified));
        let open = visible(&set, &facts);
        let reads = set.reads_arguments(&facts);
        let call = facts.call.as_mut().unwrap();
        call.arguments.extend(amount.map(|amount| ("amount".to_owned(), Argument::Number(amount))));
        call.arguments.extend(to.map(|to| ("to".to_owned(), Argument::Text(to))));
        call.arguments.extend(dry.map(|dry| ("dry".to_owned(), Argument::Flag(dry))));
        let permitted = reason(&set, facts).is_none();
        prop_assert!(open || !permitted);
        if !reads {
            prop_assert_eq!(open, permitted);
        }
    }
}
