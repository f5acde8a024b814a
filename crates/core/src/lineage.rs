//! Lineage: everything that something issued hangs on, each with its generation; and the guards that a
//! commit asserts again.

use crate::id::Id;
use crate::noun::Noun;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One thing that an issued token hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// The kind of thing.
    pub noun: Noun,
    /// Its id.
    pub id: [u8; 16],
    /// Its generation when the token was issued. The token is valid only while this is the current one.
    pub generation: u64,
}

/// All links of a token, oldest first. In a token: a list of `id.generation`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lineage(Vec<Link>);

/// A row that a decision relied on, at the version it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Guard {
    /// The kind of row.
    pub noun: Noun,
    /// Its id.
    pub id: [u8; 16],
    /// The version that was relied on.
    pub version: u64,
}

impl Lineage {
    /// Adds a link unless it is already there.
    pub fn push(&mut self, link: Link) {
        if !self.0.contains(&link) {
            self.0.push(link);
        }
    }

    /// Adds all links of another lineage.
    pub fn extend(&mut self, other: &Self) {
        for link in &other.0 {
            self.push(*link);
        }
    }

    /// The links in order.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.0.iter()
    }

    /// How many links.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first id of a kind.
    pub fn first<I: Id>(&self, noun: Noun) -> Option<I> {
        self.0
            .iter()
            .find(|link| link.noun == noun)
            .map(|link| I::from_bytes(link.id))
    }
}

impl FromIterator<Link> for Lineage {
    fn from_iter<T: IntoIterator<Item = Link>>(links: T) -> Self {
        let mut lineage = Self::default();
        for link in links {
            lineage.push(link);
        }
        lineage
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}",
            crate::id::display(self.noun, self.id),
            self.generation
        )
    }
}

impl Link {
    fn parse(text: &str) -> Option<Self> {
        let (id, generation) = text.split_once('.')?;
        let (noun, id) = crate::id::parse_any(id)?;
        // One spelling for each number, so that a link has one text.
        let number: u64 = generation.parse().ok()?;
        (number.to_string() == generation).then_some(Self {
            noun,
            id,
            generation: number,
        })
    }
}

impl Serialize for Lineage {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

impl<'de> Deserialize<'de> for Lineage {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let parse =
            |text: &String| Link::parse(text).ok_or_else(|| serde::de::Error::custom("malformed lineage"));
        texts.iter().map(parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lineage_prints_what_it_parses() {
        let lineage: Lineage = [
            Link {
                noun: Noun::Tenant,
                id: [1; 16],
                generation: 0,
            },
            Link {
                noun: Noun::Agent,
                id: [2; 16],
                generation: 7,
            },
        ]
        .into_iter()
        .collect();
        let text = serde_json::to_string(&lineage).unwrap();
        assert_eq!(serde_json::from_str::<Lineage>(&text).unwrap(), lineage);
        assert!(text.contains("agt_") && text.contains(".7"));
        assert!(serde_json::from_str::<Lineage>(&text.replace(".7", ".07")).is_err());
    }
}
