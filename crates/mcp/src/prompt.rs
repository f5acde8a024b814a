//! The arguments of `prompts/get`, against what the prompt declares (MCP prompts, "Prompt": `arguments` with `name` and
//! `required`; "Getting a Prompt": every value is a text). Closed-world, as for tools: what is not declared is refused.

use crate::envelope::Object;
use crate::fields::Field;
use crate::manifest::Descriptor;
use serde_json::Value;

/// Why the arguments of a prompt are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// The prompt does not say which arguments it takes in a way that can be read.
    #[error("the prompt's own list of arguments cannot be read")]
    Declaration,
    /// An argument that the prompt does not declare.
    #[error("the prompt has no argument `{0}`")]
    Undeclared(String),
    /// An argument that is not a text.
    #[error("the argument `{0}` is not a text")]
    Type(String),
    /// An argument that the prompt needs.
    #[error("the argument `{0}` is missing")]
    Missing(String),
}

/// The arguments that policy reads.
///
/// # Errors
/// The first rule that they break.
pub fn fields(prompt: &Descriptor, arguments: &Object) -> Result<Vec<(String, Field)>, PromptError> {
    let declared = declared(prompt)?;
    if let Some((name, _)) = declared
        .iter()
        .find(|(name, is_required)| *is_required && !arguments.contains_key(*name))
    {
        return Err(PromptError::Missing((*name).to_owned()));
    }
    let read = |(name, value): (&String, &Value)| {
        if !declared.iter().any(|(declared, _)| declared == name) {
            return Err(PromptError::Undeclared(name.clone()));
        }
        let text = value.as_str().ok_or_else(|| PromptError::Type(name.clone()))?;
        Ok((name.clone(), Field::Text(text.to_owned())))
    };
    arguments.iter().map(read).collect()
}

/// The names that a prompt declares, and whether each must be there.
fn declared(prompt: &Descriptor) -> Result<Vec<(&str, bool)>, PromptError> {
    let items = match prompt.prompt_arguments() {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(PromptError::Declaration),
    };
    let all: Option<Vec<_>> = items.iter().map(declaration).collect();
    all.ok_or(PromptError::Declaration)
}

fn declaration(item: &Value) -> Option<(&str, bool)> {
    let is_required = match item.get("required") {
        None => false,
        Some(required) => required.as_bool()?,
    };
    Some((item.get("name")?.as_str()?, is_required))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::Listing;
    use serde_json::json;

    fn of(declared: &Value, arguments: Value) -> Result<Vec<(String, Field)>, PromptError> {
        let text = json!({ "name": "letter", "arguments": declared }).to_string();
        let prompt = Descriptor::parse(Listing::Prompts, text.as_bytes()).unwrap();
        let Value::Object(arguments) = arguments else {
            panic!("no object");
        };
        fields(&prompt, &arguments)
    }

    #[test]
    fn a_prompt_takes_the_texts_that_it_declares_and_nothing_else() {
        let declared = json!([{ "name": "to", "required": true }, { "name": "tone" }]);
        let fields = of(&declared, json!({ "to": "bob" })).unwrap();
        assert_eq!(fields, [("to".to_owned(), Field::Text("bob".to_owned()))]);
        for (arguments, error) in [
            (json!({}), PromptError::Missing("to".to_owned())),
            (
                json!({ "to": "bob", "cc": "eve" }),
                PromptError::Undeclared("cc".to_owned()),
            ),
            (json!({ "to": ["bob"] }), PromptError::Type("to".to_owned())),
            (
                json!({ "to": "bob", "tone": null }),
                PromptError::Type("tone".to_owned()),
            ),
        ] {
            assert_eq!(of(&declared, arguments), Err(error));
        }
    }

    #[test]
    fn a_declaration_that_cannot_be_read_permits_nothing() {
        for declared in [
            json!({}),
            json!("x"),
            json!([{ "required": true }]),
            json!([{ "name": "a", "required": "no" }]),
        ] {
            assert_eq!(of(&declared, json!({})), Err(PromptError::Declaration));
        }
        assert_eq!(of(&Value::Null, json!({})), Ok(Vec::new()));
    }
}
