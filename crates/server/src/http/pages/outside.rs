//! Text from outside on a page: what a client, an agent or an issuer calls itself. Askama escapes it for HTML; this
//! takes out what would make it look like something else (Unicode UTS #39, UAX #9): controls, marks that turn the
//! direction of text, and characters that are not seen.
//!
//! It does not judge what the text says: letters that look alike stay.

use std::fmt;

/// A text from outside that may stand on a page, in `<bdi>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    /// The text with what deceives replaced by `�`, at most 120 characters of it.
    pub fn new(text: &str) -> Self {
        Self::long(text, LONGEST)
    }

    /// The same with at most so many characters.
    pub fn long(text: &str, most: usize) -> Self {
        let mut shown: String = text.chars().take(most).map(visible).collect();
        if text.chars().nth(most).is_some() {
            shown.push('…');
        }
        Self(shown)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn visible(character: char) -> char {
    if character.is_control() || DECEIVE.iter().any(|range| range.contains(&character)) {
        char::REPLACEMENT_CHARACTER
    } else {
        character
    }
}

/// Soft hyphen, Arabic letter mark, Mongolian separators, zero-width and directional marks, line and paragraph
/// separators, embeddings and overrides, word joiners and isolates, fillers that show nothing, variation selectors,
/// interlinear marks, tags.
const DECEIVE: &[std::ops::RangeInclusive<char>] = &[
    '\u{00ad}'..='\u{00ad}',
    '\u{034f}'..='\u{034f}',
    '\u{061c}'..='\u{061c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff9}'..='\u{fffb}',
    '\u{e0000}'..='\u{e0fff}',
];
const LONGEST: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_or_hides_text_is_made_visible() {
        let shown = |text: &str| Shown::new(text).to_string();
        assert_eq!(shown("Payroll\u{202e}txt.exe"), "Payroll\u{fffd}txt.exe");
        assert_eq!(shown("a\u{200b}b\u{2066}c\u{0}d\ne"), "a�b�c�d�e");
        assert_eq!(shown("\u{e0041}\u{feff}"), "��");
    }

    #[test]
    fn letters_of_any_script_stay() {
        for text in ["Zoë Müller", "محمد", "שלום", "山田太郎", "Ōkami 🐺"] {
            assert_eq!(Shown::new(text).as_str(), text);
        }
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        assert_eq!(Shown::long("abcdef", 3).as_str(), "abc…");
        assert_eq!(Shown::long("abc", 3).as_str(), "abc");
        assert_eq!(Shown::new(&"x".repeat(500)).as_str().chars().count(), 121);
    }
}
