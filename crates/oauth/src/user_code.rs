//! The user code of device authorization (RFC 8628 §6.1): eight letters that a person reads from one screen and types
//! at another. No vowels, so that it spells nothing, and nothing that looks like something else.
//!
//! Twenty letters in eight places are 34 bits: enough only because a code lives for minutes and guesses are counted.

use chancery_core::random::Random;
use std::fmt;

/// A user code.
#[derive(Clone, PartialEq, Eq)]
pub struct UserCode(String);

impl UserCode {
    /// A new one, each letter as likely as any other.
    pub fn generate(random: &dyn Random) -> Self {
        let mut letters = String::with_capacity(LENGTH);
        while letters.len() < LENGTH {
            let byte: [u8; 1] = random.bytes();
            let letter = byte.into_iter().filter(|byte| *byte < FAIR).find_map(letter);
            letters.extend(letter);
        }
        Self(letters)
    }

    /// A code as a person types it: in any case, with whatever stands between the letters.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let typed = text.chars().filter(|character| character.is_alphanumeric());
        let letters: String = typed.map(|character| character.to_ascii_uppercase()).collect();
        let is_code = letters.len() == LENGTH && letters.chars().all(|letter| LETTERS.contains(letter));
        is_code.then_some(Self(letters))
    }

    /// The letters alone.
    pub fn letters(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserCode {
    /// In two halves, as people read it aloud.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = self.0.split_at_checked(LENGTH / 2).unwrap_or((&self.0, ""));
        write!(f, "{first}-{second}")
    }
}

impl fmt::Debug for UserCode {
    /// SECURITY: whoever reads it from a log could answer in the person's place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserCode(..)")
    }
}

fn letter(byte: u8) -> Option<char> {
    LETTERS.chars().nth(usize::from(byte) % LETTERS.len())
}

const LETTERS: &str = "BCDFGHJKLMNPQRSTVWXZ";
const LENGTH: usize = 8;
/// The largest multiple of twenty that a byte holds: what is above would favour the first letters.
const FAIR: u8 = 240;
const LONGEST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use chancery_core::random::DangerSeededRandom;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn a_code_reads_back_however_it_is_typed() {
        let code = UserCode::parse("WDJB-MJHT").unwrap();
        assert_eq!(code.to_string(), "WDJB-MJHT");
        for typed in ["wdjbmjht", " WDJB MJHT ", "wdjb–mjht", "w-d-j-b-m-j-h-t"] {
            assert_eq!(UserCode::parse(typed), Some(code.clone()), "{typed}");
        }
        for other in [
            "",
            "WDJB-MJH",
            "WDJB-MJHTT",
            "WDJB-MJHA",
            "WDJB-MJH0",
            "ＷDJB-MJH",
            &"-".repeat(40),
        ] {
            assert_eq!(UserCode::parse(other), None, "{other}");
        }
        assert_eq!(format!("{code:?}"), "UserCode(..)");
    }

    #[test]
    fn every_letter_is_as_likely_as_any_other() {
        let random = DangerSeededRandom::new(7);
        let mut seen: BTreeMap<char, u32> = BTreeMap::new();
        let codes: BTreeSet<String> = (0..2_000)
            .map(|_| {
                let code = UserCode::generate(&random);
                code.letters()
                    .chars()
                    .for_each(|letter| *seen.entry(letter).or_default() += 1);
                assert_eq!(UserCode::parse(&code.to_string()), Some(code.clone()));
                code.to_string()
            })
            .collect();
        assert_eq!((codes.len(), seen.len()), (2_000, 20));
        // 16,000 letters, 800 of each; without the bound the first sixteen would have 812 and the others 750.
        assert!(seen.values().all(|count| (680..920).contains(count)), "{seen:?}");
    }
}
