//! Policy texts: what compiles compiles again to the same, locks nobody out, and cannot give what the floor and
//! the limits refuse.

use chancery_core::noun::Noun;
use chancery_core::proposal::Facts;
use chancery_policy::PolicySet;
use chancery_policy::decide::evaluate;
use chancery_policy::manage::{self, ManagementAction, ManagementRequest, Manager};
use std::sync::LazyLock;

pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(set) = PolicySet::compile(text) else { return };
    let again = PolicySet::compile(set.text()).expect("a set that compiled compiles");
    assert_eq!((set.hash(), set.ids()), (again.hash(), again.ids()));

    let request = |manager| ManagementRequest {
        manager,
        noun: Noun::PolicySet,
        name: "*".to_owned(),
        owner: None,
        now: FACTS.now,
    };
    // The floor: whatever a set permits, agents change nothing.
    for action in CHANGES {
        let asked = request(Manager::Agent {
            name: FACTS.agent.name.clone(),
        });
        assert!(
            manage::decide(&set, &asked, action).is_err(),
            "an agent manages: {action:?}"
        );
    }
    assert!(
        manage::decide(&set, &request(Manager::Local), ManagementAction::WritePolicy).is_ok(),
        "nobody can repair this set"
    );

    for for_chancery in [false, true] {
        let (rows, _) = evaluate(&set, &FACTS, for_chancery);
        for row in rows.iter().filter(|row| row.given) {
            assert!(
                FACTS.limits.ceiling.allows(&row.resource, &row.scope),
                "a policy raised a ceiling"
            );
            assert!(row.policy == Some(true) && row.errors.is_empty());
        }
        assert_eq!(
            evaluate(&set, &FACTS, for_chancery).0,
            rows,
            "two evaluations, two decisions"
        );
    }
}

const CHANGES: [ManagementAction; 9] = [
    ManagementAction::Create,
    ManagementAction::Update,
    ManagementAction::RaiseCeiling,
    ManagementAction::Activate,
    ManagementAction::Suspend,
    ManagementAction::Retire,
    ManagementAction::Kill,
    ManagementAction::ResetSecret,
    ManagementAction::WritePolicy,
];

/// An agent that asks for one scope in its ceiling and one outside.
static FACTS: LazyLock<Facts> =
    LazyLock::new(|| serde_json::from_str(include_str!("../keys/facts.json")).expect("our own facts"));
