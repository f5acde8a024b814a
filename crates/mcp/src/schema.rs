//! Arguments against the input schema of a tool (MCP tools, "Tool"; JSON Schema 2020-12 and draft-07).
//!
//! The world is closed: wherever the schema has `properties`, a member that it does not declare is refused, also where
//! the schema does not say so. Only an `additionalProperties` or `unevaluatedProperties` that allows more opens it.
//! Nothing is fetched, patterns are matched in linear time, and a schema that cannot be compiled is an error, so that
//! its tool cannot be called with arguments that were decided on.
//!
//! Dialects: 2020-12 (also where none is named), 2019-09 and draft-07. References lead into the schema itself. What is
//! read for policy is in `fields`.

use crate::declared::{Place, Reading, Walk, local_pointer};
use crate::envelope::Object;
use crate::subschema::{children, escaped};
use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator, ValidatorMap};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A compiled input schema.
#[derive(Debug)]
pub struct InputSchema {
    root: Value,
    validator: Validator,
    branches: Option<ValidatorMap>,
    patterns: BTreeMap<String, Validator>,
}

/// Why a schema cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The schema is not an object.
    #[error("the schema is not an object")]
    NotAnObject,
    /// `$schema` names another dialect than 2020-12, 2019-09 or draft-07.
    #[error("the dialect of the schema is not supported")]
    Dialect,
    /// Too many schemas inside, or too deep.
    #[error("the schema is too large")]
    TooLarge,
    /// A reference that does not lead into the schema itself, or leads to what is no schema.
    #[error("a reference does not lead to a part of the schema")]
    Reference,
    /// References that lead in a circle without entering the value.
    #[error("references lead in a circle")]
    ReferenceLoop,
    /// References and branches that multiply beyond measure.
    #[error("references and branches multiply beyond measure")]
    TooComplex,
    /// A keyword that changes what references mean: an inner `$id` or `$schema`, dynamic or recursive references,
    /// or, in draft-07, a reference beside other schemas.
    #[error("the schema has a keyword that is not supported")]
    Keyword,
    /// The schema is not valid in its dialect, or a pattern cannot be matched in linear time.
    #[error("the schema is not valid in its dialect")]
    Invalid,
}

/// Why arguments are refused. Says where, never what stands there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the argument `{path}` {fault}")]
pub struct ArgumentError {
    /// A JSON Pointer into the arguments (RFC 6901), cut if it is long.
    pub path: String,
    /// The rule that broke.
    pub fault: ArgumentFault,
}

/// Which rule arguments break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentFault {
    /// The schema does not declare the member.
    #[error("is not declared")]
    Undeclared,
    /// The value does not satisfy a keyword of the schema.
    #[error("does not satisfy `{keyword}`")]
    Unsatisfied {
        /// The keyword.
        keyword: String,
    },
}

impl InputSchema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// The rule that the schema breaks.
    pub fn compile(schema: &Value) -> Result<Self, SchemaError> {
        if !schema.is_object() {
            return Err(SchemaError::NotAnObject);
        }
        let draft = dialect(schema)?;
        let survey = Survey::of(schema, draft)?;
        survey.check_references(schema)?;
        survey.check_cost(schema)?;

        let options = jsonschema::options()
            .with_draft(draft)
            .offline()
            .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN));
        let validator = options.build(schema).map_err(|_| SchemaError::Invalid)?;
        let branches = survey.has_branches.then(|| options.build_map(schema)).transpose();
        let mut patterns = BTreeMap::new();
        for pattern in survey.patterns {
            let one = serde_json::json!({ "pattern": pattern });
            patterns.insert(pattern, options.build(&one).map_err(|_| SchemaError::Invalid)?);
        }
        Ok(Self {
            root: schema.clone(),
            validator,
            branches: branches.map_err(|_| SchemaError::Invalid)?,
            patterns,
        })
    }

    /// Checks arguments.
    ///
    /// # Errors
    /// The first rule that they break, and where.
    pub fn validate(&self, arguments: &Object) -> Result<(), ArgumentError> {
        let value = Value::Object(arguments.clone());
        self.validator
            .validate(&value)
            .map_err(|error| unsatisfied(&error))?;

        let walk = self.walk(Reading::Matching);
        check_declared(&walk, &walk.start(&value), &value, "")
    }

    pub(crate) const fn walk(&self, reading: Reading) -> Walk<'_> {
        Walk {
            root: &self.root,
            branches: self.branches.as_ref(),
            patterns: &self.patterns,
            reading,
        }
    }
}

fn check_declared(
    walk: &Walk<'_>,
    place: &Place<'_>,
    value: &Value,
    path: &str,
) -> Result<(), ArgumentError> {
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                let path = format!("{path}/{}", escaped(name));
                match walk.member(place, name, inner) {
                    Some(place) => check_declared(walk, &place, inner, &path)?,
                    None if place.is_closed() => {
                        return Err(ArgumentError {
                            path: cut(&path),
                            fault: ArgumentFault::Undeclared,
                        });
                    }
                    None => {}
                }
            }
        }
        Value::Array(elements) => {
            for (index, inner) in elements.iter().enumerate() {
                let place = walk.element(place, index, inner);
                check_declared(walk, &place, inner, &format!("{path}/{index}"))?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Ok(())
}

fn unsatisfied(error: &ValidationError<'_>) -> ArgumentError {
    let mut path = error.instance_path().as_str().to_owned();
    if let ValidationErrorKind::Required { property } = error.kind() {
        path = format!("{path}/{}", escaped(property.as_str().unwrap_or_default()));
    }
    ArgumentError {
        path: cut(&path),
        fault: ArgumentFault::Unsatisfied {
            keyword: error.kind().keyword().to_owned(),
        },
    }
}

fn cut(path: &str) -> String {
    path.chars().take(MAX_PATH).collect()
}

fn dialect(schema: &Value) -> Result<Draft, SchemaError> {
    let Some(name) = schema.get("$schema") else {
        return Ok(Draft::Draft202012);
    };
    match name.as_str().map(|name| name.trim_end_matches('#')) {
        Some("https://json-schema.org/draft/2020-12/schema") => Ok(Draft::Draft202012),
        Some("https://json-schema.org/draft/2019-09/schema") => Ok(Draft::Draft201909),
        Some("http://json-schema.org/draft-07/schema" | "https://json-schema.org/draft-07/schema") => {
            Ok(Draft::Draft7)
        }
        Some(_) | None => Err(SchemaError::Dialect),
    }
}

/// What stands in a schema.
#[derive(Debug, Default)]
struct Survey {
    pointers: BTreeSet<String>,
    references: Vec<String>,
    patterns: BTreeSet<String>,
    has_branches: bool,
}

impl Survey {
    fn of(root: &Value, draft: Draft) -> Result<Self, SchemaError> {
        let mut survey = Self::default();
        let mut waiting = vec![(String::new(), root, 0_usize)];
        while let Some((pointer, schema, depth)) = waiting.pop() {
            let inner = children(schema);
            survey.read(schema, pointer.is_empty(), draft, !inner.is_empty())?;
            for child in inner {
                survey.has_branches |= BRANCHES.contains(&child.keyword);
                waiting.push((format!("{pointer}{}", child.pointer), child.schema, depth + 1));
            }
            survey.pointers.insert(pointer);
            if survey.pointers.len() + waiting.len() > MAX_SCHEMAS || depth > MAX_DEPTH {
                return Err(SchemaError::TooLarge);
            }
        }
        Ok(survey)
    }

    fn read(
        &mut self,
        schema: &Value,
        is_root: bool,
        draft: Draft,
        has_inner: bool,
    ) -> Result<(), SchemaError> {
        let Value::Object(members) = schema else {
            return Ok(());
        };
        let is_foreign = |name: &&str| members.contains_key(*name);
        if DYNAMIC.iter().any(is_foreign) || (!is_root && ["$id", "$schema"].iter().any(is_foreign)) {
            return Err(SchemaError::Keyword);
        }
        if let Some(patterns) = members.get("patternProperties").and_then(Value::as_object) {
            self.patterns.extend(patterns.keys().cloned());
        }
        if let Some(reference) = members.get("$ref") {
            // Draft-07 ignores what stands beside a reference: it would be declared and never checked.
            if draft == Draft::Draft7 && has_inner && !has_only_definitions(schema) {
                return Err(SchemaError::Keyword);
            }
            let pointer = local_pointer(reference).ok_or(SchemaError::Reference)?;
            self.references.push(pointer.to_owned());
        }
        Ok(())
    }

    fn check_references(&self, root: &Value) -> Result<(), SchemaError> {
        let leads = |pointer: &String| self.pointers.contains(pointer) && root.pointer(pointer).is_some();
        if self.references.iter().all(leads) {
            return Ok(());
        }
        Err(SchemaError::Reference)
    }

    /// How many schemas look at one value, at most, from each place; without end in a circle.
    fn check_cost(&self, root: &Value) -> Result<(), SchemaError> {
        let mut costs = BTreeMap::new();
        for pointer in &self.pointers {
            cost(root, pointer, &mut costs)?;
        }
        Ok(())
    }
}

fn has_only_definitions(schema: &Value) -> bool {
    children(schema)
        .iter()
        .all(|child| matches!(child.keyword, "$defs" | "definitions"))
}

fn cost(root: &Value, pointer: &str, costs: &mut BTreeMap<String, Option<u64>>) -> Result<u64, SchemaError> {
    match costs.get(pointer) {
        Some(Some(known)) => return Ok(*known),
        Some(None) => return Err(SchemaError::ReferenceLoop),
        None => {}
    }
    costs.insert(pointer.to_owned(), None);
    let schema = root.pointer(pointer).unwrap_or(&Value::Null);
    let mut sum = 1_u64;
    for child in children(schema) {
        if IN_PLACE.contains(&child.keyword) {
            sum = sum.saturating_add(cost(root, &format!("{pointer}{}", child.pointer), costs)?);
        }
    }
    if let Some(target) = schema.get("$ref").and_then(local_pointer) {
        sum = sum.saturating_add(cost(root, target, costs)?);
    }
    if sum > MAX_COST {
        return Err(SchemaError::TooComplex);
    }
    costs.insert(pointer.to_owned(), Some(sum));
    Ok(sum)
}

/// Keywords whose schemas look at the same value.
const IN_PLACE: &[&str] = &[
    "allOf",
    "anyOf",
    "dependencies",
    "dependentSchemas",
    "else",
    "if",
    "not",
    "oneOf",
    "then",
];

/// Keywords whose schemas count only where they match.
const BRANCHES: &[&str] = &["anyOf", "if", "oneOf"];

/// Keywords whose meaning depends on how a schema was reached.
const DYNAMIC: &[&str] = &[
    "$dynamicAnchor",
    "$dynamicRef",
    "$recursiveAnchor",
    "$recursiveRef",
];

/// The most schemas in one.
const MAX_SCHEMAS: usize = 4_096;

/// How deep they nest.
const MAX_DEPTH: usize = 32;

/// The most schemas that look at one value.
const MAX_COST: u64 = 1_024;

/// The largest compiled pattern, in bytes.
const MAX_PATTERN: usize = 1 << 20;

/// How much of a path is repeated.
const MAX_PATH: usize = 256;

#[cfg(test)]
mod tests;
