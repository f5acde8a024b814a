//! What a policy reads of the context, found in the policy's own text: which arguments of a call, so that they are
//! made unambiguous wherever a decision depends on them, and are named where one is explained; and whether it reads
//! the time, which is dear to give to Cedar.

use cedar_policy as cedar;
use serde_json::Value;
use std::collections::BTreeSet;

/// The arguments that a policy names. `None` if it reads none; a set without names if it reads them in some other
/// way than by name.
pub(crate) fn arguments(policy: &cedar::Policy) -> Option<BTreeSet<String>> {
    // What cannot be looked into is taken to read them.
    let Ok(policy) = policy.to_json() else {
        return Some(BTreeSet::new());
    };
    let mut walk = Walk::of(ARGUMENTS);
    walk.value(policy.get("conditions").unwrap_or(&Value::Null));
    walk.reads.then_some(walk.names)
}

/// Whether a policy reads this attribute of the context, or the whole context.
pub(crate) fn attribute(policy: &cedar::Policy, name: &'static str) -> bool {
    let Ok(policy) = policy.to_json() else {
        return true;
    };
    let mut walk = Walk::of(name);
    walk.value(policy.get("conditions").unwrap_or(&Value::Null));
    walk.reads
}

/// The people whom a policy names anywhere.
pub(crate) fn people(policy: &cedar::Policy) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if let Ok(policy) = policy.to_json() {
        named(&policy, &mut found);
    }
    found
}

fn named(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| named(item, found)),
        Value::Object(members) => {
            if members.get("type").and_then(Value::as_str) == Some("User") {
                found.extend(members.get("id").and_then(Value::as_str).map(str::to_owned));
            }
            members.values().for_each(|member| named(member, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[derive(Debug)]
struct Walk {
    attribute: &'static str,
    reads: bool,
    names: BTreeSet<String>,
}

impl Walk {
    const fn of(attribute: &'static str) -> Self {
        Self {
            attribute,
            reads: false,
            names: BTreeSet::new(),
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.value(item)),
            Value::Object(members) => {
                for (operator, operands) in members {
                    self.operation(operator, operands);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn operation(&mut self, operator: &str, operands: &Value) {
        match operator {
            // A literal: nothing is read, whatever it looks like.
            "Value" => {}
            // The whole context, by itself.
            "Var" => self.reads |= operands == "context",
            "." | "has" if of_context(operands) => {
                self.reads |= operands.get("attr").and_then(Value::as_str) == Some(self.attribute);
            }
            "getTag" | "hasTag" => {
                self.name(operands);
                self.value(operands);
            }
            _ => self.value(operands),
        }
    }

    /// Notes the tag's name, if the tag is one of an argument and is written out.
    fn name(&mut self, operands: &Value) {
        let mut inner = Self::of(self.attribute);
        inner.value(operands.get("left").unwrap_or(&Value::Null));
        let name = operands.get("right").and_then(|right| right.get("Value"));
        if inner.reads {
            self.names.extend(name.and_then(Value::as_str).map(str::to_owned));
        }
    }
}

/// Whether an attribute is taken of `context` itself.
fn of_context(operands: &Value) -> bool {
    let left = operands.get("left").and_then(|left| left.get("Var"));
    left.and_then(Value::as_str) == Some("context")
}

const ARGUMENTS: &str = "arguments";
/// The exact time.
pub(crate) const NOW: &str = "now";
/// The yes of people.
pub(crate) const APPROVAL: &str = "approval";
/// How long ago the issuer vouched for a person.
pub(crate) const AGE: &str = "user_facts_age";

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr as _;

    fn of(condition: &str) -> Option<Vec<String>> {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        let policy = cedar::Policy::from_str(&text).unwrap();
        arguments(&policy).map(|names| names.into_iter().collect())
    }

    #[test]
    fn arguments_are_found_by_name_at_any_depth() {
        let condition = r#"context.hour > 3 && !(context.arguments.number.hasTag("amount")
            && context.arguments.number.getTag("amount") <= 100 || context["arguments"].text.getTag("to") like "*@a")"#;
        assert_eq!(of(condition), Some(vec!["amount".to_owned(), "to".to_owned()]));
    }

    #[test]
    fn other_facts_are_no_arguments() {
        for condition in [
            "context.hour > 3",
            "context has user && context.user.assurance == \"verified\"",
            r#"context.instance.hasTag("arguments") && resource.name == "context.arguments""#,
            r#"principal.hasTag("amount")"#,
        ] {
            assert_eq!(of(condition), None, "{condition}");
        }
    }

    #[test]
    fn whatever_might_read_arguments_is_taken_to() {
        for condition in [
            "context == {a: 1}",
            "context has arguments",
            "(if true then context else context).arguments.number.hasTag(resource.name)",
            "[context].contains(context)",
            "context.arguments.number.hasTag(resource.name)",
        ] {
            assert_eq!(of(condition), Some(Vec::new()), "{condition}");
        }
    }

    #[test]
    fn whatever_might_read_the_time_is_taken_to() {
        let reads = |condition: &str| {
            let text = format!("permit (principal, action, resource) when {{ {condition} }};");
            attribute(&cedar::Policy::from_str(&text).unwrap(), NOW)
        };
        for condition in [
            r#"context.now < datetime("2100-01-01")"#,
            r#"context["n\u{6f}w"] < datetime("2100-01-01")"#,
            "context has now",
            "context == {a: 1}",
            r#"(if true then context else context).now < datetime("2100-01-01")"#,
        ] {
            assert!(reads(condition), "{condition}");
        }
        for condition in [
            "context.hour > 3",
            r#"context.client == "now""#,
            "principal has now",
        ] {
            assert!(!reads(condition), "{condition}");
        }
    }
}
