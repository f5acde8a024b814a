//! Text that an agent or client supplied for a page. It says nothing of whether the text is true.

use super::MAX_TEXT;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Text of an agent or client: one line, at most 200 characters, nothing that changes how text around it is read.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct AgentText(String);

impl AgentText {
    /// What remains of a text after everything is taken out that has no place on a page: control characters, marks
    /// of direction, invisible characters. `None` if nothing remains.
    pub fn clean(text: &str) -> Option<Self> {
        let mut clean = String::new();
        for character in text.chars() {
            let character = if character.is_whitespace() { ' ' } else { character };
            let is_double_space = character == ' ' && (clean.is_empty() || clean.ends_with(' '));
            if !is_hidden(character) && !is_double_space {
                clean.push(character);
            }
        }
        let clean: String = clean.chars().take(MAX_TEXT).collect();
        let clean = clean.trim_end();
        (!clean.is_empty()).then(|| Self(clean.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AgentText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl<'de> Deserialize<'de> for AgentText {
    /// A stored text is clean, or it is not what was stored.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::clean(&text)
            .filter(|clean| clean.0 == text)
            .ok_or_else(|| serde::de::Error::custom("a text is not clean"))
    }
}

/// Characters that nobody sees, or that change how others are seen (Unicode, UAX #9 §2; UTS #39 §3).
pub(super) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffd}' | '\u{e0000}'..='\u{e0fff}'
        )
}
