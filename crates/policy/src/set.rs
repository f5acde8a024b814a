//! Policy sets: parsed, validated strictly against the schema, and indexed, once.

use crate::call::known::Known;
use crate::manage::{self, ManagementAction};
use crate::memory::{Evaluation, Memory};
use crate::slice::Index;
use cedar_policy as cedar;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;

/// A tenant's policies together with the floor, ready to decide.
pub struct PolicySet {
    text: String,
    hash: String,
    pub(crate) index: Index,
    pub(crate) memory: Memory<Evaluation>,
    pub(crate) calls: Memory<Option<Arc<Known>>>,
    pub(crate) authorizer: cedar::Authorizer,
    pub(crate) actions: cedar::Entities,
    lines: HashMap<String, Vec<cedar::Entity>>,
    pub(crate) schema: cedar::Schema,
}

/// Why a set of policies is refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The text is not Cedar.
    #[error("the policies do not parse: {0}")]
    Syntax(String),
    /// The text is Cedar but does not fit the schema. Each line names a policy.
    #[error("the policies do not fit the schema:\n{}", .0.join("\n"))]
    Schema(Vec<String>),
    /// A policy has no `@id`, so that decisions could not name it.
    #[error("policy number {0} has no `@id(\"…\")` annotation")]
    Unnamed(usize),
    /// Two policies have one id, or an id takes the floor's prefix.
    #[error("policy id `{0}` is used twice or is reserved")]
    Repeated(String),
    /// Templates are not supported in sets.
    #[error("the set has a template (a policy with `?principal` or `?resource`); write the policy out")]
    Template,
    /// Over 4 MiB of text.
    #[error("the policies are larger than 4 MiB")]
    TooLarge,
    /// Nobody could change policies any more.
    #[error("with this set no administrator could change policies again")]
    LocksEverybodyOut,
    /// The built-in schema or floor is broken; a bug of ours.
    #[error("the built-in policies are broken: {0}")]
    BuiltIn(String),
}

impl PolicySet {
    /// Parses, validates and indexes a set.
    ///
    /// # Errors
    /// The first kind of fault found, see [`PolicyError`].
    pub fn compile(text: &str) -> Result<Self, PolicyError> {
        if text.len() > 4 << 20 {
            return Err(PolicyError::TooLarge);
        }
        let schema = schema()?;
        let floor = parse(FLOOR).and_then(|set| named(&set, true))?;
        let own = parse(text).and_then(|set| named(&set, false))?;
        let whole = cedar::PolicySet::from_policies(own.iter().chain(&floor).cloned())
            .map_err(|error| PolicyError::Repeated(error.to_string()))?;
        validate(&schema, &whole)?;
        let actions = schema
            .action_entities()
            .map_err(|error| PolicyError::BuiltIn(error.to_string()))?;
        let set = Self {
            text: text.to_owned(),
            hash: hash(text),
            index: Index::build(floor.into_iter().chain(own), &actions),
            memory: Memory::default(),
            calls: Memory::default(),
            authorizer: cedar::Authorizer::new(),
            lines: lines(&actions),
            actions,
            schema,
        };
        set.check_repairable()?;
        Ok(set)
    }

    /// The text as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The hash that decisions record: 16 hexadecimal characters of text and floor (FNV-1a, 64 bit, over
    /// both). It names the set in the log; integrity comes from the log itself.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The ids of all policies, the floor's first.
    pub fn ids(&self) -> Vec<String> {
        self.index.ids()
    }

    /// An action and the groups that it is in.
    pub(crate) fn action(&self, name: &str) -> &[cedar::Entity] {
        self.lines.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    fn check_repairable(&self) -> Result<(), PolicyError> {
        for manager in manage::repairers() {
            let request = manage::repair_request(manager);
            if manage::decide(self, &request, ManagementAction::WritePolicy).is_err() {
                return Err(PolicyError::LocksEverybodyOut);
            }
        }
        Ok(())
    }
}

impl fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySet")
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

fn lines(actions: &cedar::Entities) -> HashMap<String, Vec<cedar::Entity>> {
    let line = |action: &cedar::Entity| {
        let groups = actions.ancestors(&action.uid()).into_iter().flatten();
        let groups = groups.filter_map(|group| actions.get(group)).cloned();
        std::iter::once(action.clone()).chain(groups).collect()
    };
    let id = |action: &cedar::Entity| action.uid().id().unescaped().to_owned();
    actions.iter().map(|action| (id(action), line(action))).collect()
}

pub(crate) fn schema() -> Result<cedar::Schema, PolicyError> {
    cedar::Schema::from_str(crate::SCHEMA).map_err(|error| PolicyError::BuiltIn(error.to_string()))
}

fn parse(text: &str) -> Result<cedar::PolicySet, PolicyError> {
    cedar::PolicySet::from_str(text).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(|error| describe(text, error)).collect();
        PolicyError::Syntax(lines.join("\n"))
    })
}

fn describe(text: &str, error: &cedar::ParseError) -> String {
    use miette::Diagnostic as _;
    let offset = error
        .labels()
        .and_then(|mut labels| labels.next())
        .map(|label| label.offset());
    match offset.and_then(|offset| text.get(..offset)) {
        Some(before) => format!("line {}: {error}", before.matches('\n').count() + 1),
        None => error.to_string(),
    }
}

/// The policies of a parsed set, each under the id of its `@id` annotation.
fn named(set: &cedar::PolicySet, floor: bool) -> Result<Vec<cedar::Policy>, PolicyError> {
    if set.templates().next().is_some() {
        return Err(PolicyError::Template);
    }
    let mut named = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for (position, policy) in set.policies().enumerate() {
        let id = policy
            .annotation("id")
            .ok_or(PolicyError::Unnamed(position + 1))?
            .to_owned();
        if !seen.insert(id.clone()) || id.starts_with("floor:") != floor {
            return Err(PolicyError::Repeated(id));
        }
        named.push(policy.new_id(cedar::PolicyId::new(id)));
    }
    Ok(named)
}

fn validate(schema: &cedar::Schema, set: &cedar::PolicySet) -> Result<(), PolicyError> {
    let validator = cedar::Validator::new(schema.clone());
    let result = validator.validate(set, cedar::ValidationMode::Strict);
    let errors: Vec<String> = result.validation_errors().map(ToString::to_string).collect();
    if errors.is_empty() {
        Ok(())
    } else {
        Err(PolicyError::Schema(errors))
    }
}

fn hash(text: &str) -> String {
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in FLOOR.bytes().chain([0]).chain(text.bytes()) {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    format!("{state:016x}")
}

const FLOOR: &str = include_str!("../../../policies/floor.cedar");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_set_compiles() {
        let set = PolicySet::compile(crate::DEFAULT_POLICIES).unwrap();
        assert!(set.ids().iter().any(|id| id == "administrators-manage"));
        assert_eq!(set.hash().len(), 16);
    }

    #[test]
    fn a_set_that_locks_everybody_out_is_refused() {
        let text = r#"@id("none") permit (principal is Agent, action == Action::"issue_token", resource);"#;
        assert!(matches!(
            PolicySet::compile(text),
            Err(PolicyError::LocksEverybodyOut)
        ));
        let text = format!(
            "{}\n@id(\"no\") forbid (principal, action == Action::\"write_policy\", resource);",
            crate::DEFAULT_POLICIES
        );
        assert!(matches!(
            PolicySet::compile(&text),
            Err(PolicyError::LocksEverybodyOut)
        ));
    }

    #[test]
    fn faults_name_the_policy_or_the_line() {
        assert!(matches!(
            PolicySet::compile("permit (principal, action, resource);"),
            Err(PolicyError::Unnamed(1))
        ));
        let Err(PolicyError::Syntax(text)) = PolicySet::compile("\n\nnonsense") else {
            panic!()
        };
        assert!(text.contains("line 3"), "{text}");
        let wrong = r#"@id("x") permit (principal, action == Action::"issue_token", resource) when { principal.salary > 3 };"#;
        assert!(matches!(PolicySet::compile(wrong), Err(PolicyError::Schema(_))));
        let reserved = r#"@id("floor:x") permit (principal, action, resource);"#;
        assert!(matches!(
            PolicySet::compile(reserved),
            Err(PolicyError::Repeated(_))
        ));
    }
}
