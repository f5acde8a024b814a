//! Which schemas speak about a place in the arguments (JSON Schema 2020-12 Core §10.2 and §10.3).
//!
//! Walks schema and arguments together: from the root through properties and items, and at each place through what
//! applies there as well: `$ref`, `allOf`, branches that match, conditions, dependencies. From this follow which
//! members are declared and which are secret. What the schemas demand of a value is the validator's part (`schema`).

use crate::envelope::Object;
use crate::subschema::escaped;
use jsonschema::{Validator, ValidatorMap};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A schema and what is needed to walk it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk<'s> {
    /// The whole schema.
    pub(crate) root: &'s Value,
    /// A validator for each branch, by its pointer; nothing if there are no branches.
    pub(crate) branches: Option<&'s ValidatorMap>,
    /// A validator for each pattern of `patternProperties`.
    pub(crate) patterns: &'s BTreeMap<String, Validator>,
    /// Which branches count.
    pub(crate) reading: Reading,
}

/// Which branches of `anyOf`, `oneOf` and conditions count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Those that the value at the place satisfies: what a branch declares is declared only where it holds.
    Matching,
    /// All: what is secret in one branch is secret in all.
    Any,
}

/// The schemas that speak about one place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place<'s> {
    schemas: Vec<At<'s>>,
}

/// A schema and its pointer in the whole.
#[derive(Clone, Debug)]
struct At<'s> {
    pointer: String,
    schema: &'s Value,
}

impl<'s> Place<'s> {
    /// The schemas that are objects.
    pub(crate) fn schemas(&self) -> impl Iterator<Item = &'s Object> {
        self.schemas.iter().filter_map(|at| at.schema.as_object())
    }

    /// Whether members that nobody declares are refused: `properties` stands here.
    pub(crate) fn is_closed(&self) -> bool {
        self.schemas()
            .any(|schema| schema.contains_key("properties") || schema.contains_key("patternProperties"))
    }
}

impl<'s> Walk<'s> {
    /// The place of the whole arguments.
    pub(crate) fn start(&self, value: &Value) -> Place<'s> {
        let root = At {
            pointer: String::new(),
            schema: self.root,
        };
        self.expanded(vec![root], value)
    }

    /// The place of a member; nothing if no schema here declares it.
    pub(crate) fn member(&self, place: &Place<'s>, name: &str, value: &Value) -> Option<Place<'s>> {
        let mut found = Vec::new();
        for at in &place.schemas {
            let Some(schema) = at.schema.as_object() else {
                continue;
            };
            let before = found.len();
            found.extend(at.child("properties", name));
            for (pattern, _) in members(schema, "patternProperties") {
                let matches = |validator: &Validator| validator.is_valid(&Value::from(name));
                if self.patterns.get(pattern).is_some_and(matches) {
                    found.extend(at.child("patternProperties", pattern));
                }
            }
            if found.len() == before {
                found.extend(at.keyword("additionalProperties"));
            }
        }
        if found.is_empty() {
            found.extend(place.keyword("unevaluatedProperties"));
        }
        let is_declared = found.iter().any(|at| at.schema != &Value::Bool(false));
        is_declared.then(|| self.expanded(found, value))
    }

    /// The place of an element of an array.
    pub(crate) fn element(&self, place: &Place<'s>, index: usize, value: &Value) -> Place<'s> {
        let mut found = Vec::new();
        for at in &place.schemas {
            let before = found.len();
            let position = index.to_string();
            found.extend(at.child("prefixItems", &position));
            // A list is how draft-07 writes `prefixItems`.
            if at.schema.get("items").is_some_and(Value::is_array) {
                found.extend(at.child("items", &position));
                if found.len() == before {
                    found.extend(at.keyword("additionalItems"));
                }
            } else if found.len() == before {
                found.extend(at.keyword("items"));
            }
            if self.reading == Reading::Any {
                found.extend(at.keyword("contains"));
            }
        }
        if found.is_empty() {
            found.extend(place.keyword("unevaluatedItems"));
        }
        self.expanded(found, value)
    }

    /// Adds to the schemas of a place all that apply to it as well.
    fn expanded(&self, start: Vec<At<'s>>, value: &Value) -> Place<'s> {
        let mut seen = BTreeSet::new();
        let mut schemas = Vec::new();
        let mut waiting = start;
        while let Some(at) = waiting.pop() {
            if seen.insert(at.pointer.clone()) {
                waiting.extend(self.applied(&at, value));
                schemas.push(at);
            }
        }
        Place { schemas }
    }

    fn applied(&self, at: &At<'s>, value: &Value) -> Vec<At<'s>> {
        let mut found = Vec::new();
        let Some(schema) = at.schema.as_object() else {
            return found;
        };
        if let Some(pointer) = schema.get("$ref").and_then(local_pointer) {
            let target = self.root.pointer(pointer);
            found.extend(target.map(|schema| At {
                pointer: pointer.to_owned(),
                schema,
            }));
        }
        found.extend(at.elements("allOf"));
        for keyword in ["anyOf", "oneOf"] {
            found.extend(
                at.elements(keyword)
                    .into_iter()
                    .filter(|branch| self.counts(branch, value)),
            );
        }
        found.extend(self.conditional(at, value));
        for keyword in ["dependentSchemas", "dependencies"] {
            for (name, dependent) in members(schema, keyword) {
                let is_met = self.reading == Reading::Any || value.get(name).is_some();
                if is_met && !dependent.is_array() {
                    found.extend(at.child(keyword, name));
                }
            }
        }
        found
    }

    fn conditional(&self, at: &At<'s>, value: &Value) -> Vec<At<'s>> {
        let Some(condition) = at.keyword("if") else {
            return Vec::new();
        };
        let (then, otherwise) = (at.keyword("then"), at.keyword("else"));
        let chosen = match self.reading {
            Reading::Any => [Some(condition), then, otherwise],
            Reading::Matching if self.counts(&condition, value) => [Some(condition), then, None],
            Reading::Matching => [otherwise, None, None],
        };
        chosen.into_iter().flatten().collect()
    }

    fn counts(&self, branch: &At<'s>, value: &Value) -> bool {
        if self.reading == Reading::Any {
            return true;
        }
        let validator = self
            .branches
            .and_then(|branches| branches.get(&format!("#{}", branch.pointer)));
        validator.is_some_and(|validator| validator.is_valid(value))
    }
}

impl<'s> Place<'s> {
    fn keyword<'a>(&'a self, keyword: &'a str) -> impl Iterator<Item = At<'s>> + 'a {
        self.schemas.iter().filter_map(move |at| at.keyword(keyword))
    }
}

impl At<'_> {
    fn keyword(&self, keyword: &str) -> Option<Self> {
        Some(Self {
            pointer: format!("{}/{keyword}", self.pointer),
            schema: self.schema.get(keyword)?,
        })
    }

    fn child(&self, keyword: &str, name: &str) -> Option<Self> {
        let schema = match self.schema.get(keyword)? {
            Value::Object(named) => named.get(name)?,
            Value::Array(list) => list.get(name.parse::<usize>().ok()?)?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
        Some(Self {
            pointer: format!("{}/{keyword}/{}", self.pointer, escaped(name)),
            schema,
        })
    }

    fn elements(&self, keyword: &str) -> Vec<Self> {
        let count = self
            .schema
            .get(keyword)
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        (0..count)
            .filter_map(|index| self.child(keyword, &index.to_string()))
            .collect()
    }
}

fn members<'a>(schema: &'a Object, keyword: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let named = schema.get(keyword).and_then(Value::as_object);
    named.into_iter().flat_map(Object::iter)
}

/// The pointer of a reference into the same document: `#` or `#/…`, without percent-encoding.
pub(crate) fn local_pointer(reference: &Value) -> Option<&str> {
    let pointer = reference.as_str()?.strip_prefix('#')?;
    let is_pointer = pointer.is_empty() || pointer.starts_with('/');
    (is_pointer && !pointer.contains('%')).then_some(pointer)
}
