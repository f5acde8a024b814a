//! The name of a log: what its checkpoints begin with (C2SP `tlog-checkpoint`, line 1).
//!
//! A tenant's log has a name, and each of its generations is a log of its own: `<name>/<generation>`.
//! A restore begins a new generation, so that no checkpoint ever contradicts an earlier one of the
//! same origin.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a text is not the origin of one of our logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// The name is empty, longer than 200 bytes, or has characters other than visible ASCII; or it
    /// has a `+`, which key names must not have (C2SP `signed-note`, Format).
    #[error("a log's name is 1 to 200 visible ASCII characters without `+`")]
    Name,
    /// What follows the last `/` is not a generation: a decimal number from 1.
    #[error("an origin ends with `/` and the generation, a number from 1")]
    Generation,
}

/// The origin of one generation of a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    log: String,
    generation: u64,
}

impl Origin {
    /// The origin of a generation, from 1, of the log with this name: by recommendation the URL
    /// below which its tiles are served, without scheme and without trailing slash.
    ///
    /// # Errors
    /// [`OriginError`].
    pub fn new(log: &str, generation: u64) -> Result<Self, OriginError> {
        let is_name = |byte: u8| byte.is_ascii_graphic() && byte != b'+';
        if log.is_empty() || log.len() > 200 || !log.bytes().all(is_name) {
            return Err(OriginError::Name);
        }
        if generation == 0 {
            return Err(OriginError::Generation);
        }
        Ok(Self {
            log: log.to_owned(),
            generation,
        })
    }

    /// The name that all generations of the log share.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// Which generation.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The origin of another generation of the same log.
    #[must_use]
    pub fn with_generation(&self, generation: u64) -> Self {
        Self {
            log: self.log.clone(),
            generation,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.log, self.generation)
    }
}

impl FromStr for Origin {
    type Err = OriginError;
    fn from_str(text: &str) -> Result<Self, OriginError> {
        let (log, digits) = text.rsplit_once('/').ok_or(OriginError::Generation)?;
        let generation: u64 = digits.parse().map_err(|_| OriginError::Generation)?;
        if generation.to_string() != digits {
            return Err(OriginError::Generation);
        }
        Self::new(log, generation)
    }
}

impl Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let origin = Origin::new("id.example/t/acme/log", 2).unwrap();
        assert_eq!(origin.to_string(), "id.example/t/acme/log/2");
        assert_eq!(origin.to_string().parse(), Ok(origin));
    }

    #[test]
    fn malformed_origins_are_refused() {
        for text in [
            "", "log", "log/0", "log/01", "log/+1", "/1", "a b/1", "a+b/1", "ä/1", "log/",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
