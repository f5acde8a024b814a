//! Typed identifiers: sixteen bytes (UUID version 7, RFC 9562 §5.7), kept as bytes in the database
//! and written with a prefix that says the noun: `agt_` and 26 characters of Crockford base 32.

use crate::noun::Noun;
use crate::random::Random;
use crate::time::Timestamp;
use std::fmt;

/// Why a text is not an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The prefix is missing or is another noun's.
    #[error("not an id of this kind: it does not start with `{0}`")]
    Prefix(&'static str),
    /// The part after the prefix is not 26 characters of the alphabet, or is too large.
    #[error("malformed id")]
    Malformed,
}

/// What all identifiers share.
pub trait Id: Copy + Eq + Ord + std::hash::Hash + fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// The prefix of the text form, with its underscore.
    const PREFIX: &'static str;
    /// The id that these bytes are.
    fn from_bytes(bytes: [u8; 16]) -> Self;
    /// The bytes to store.
    fn as_bytes(&self) -> &[u8; 16];
    /// A new id: ordered by time, unpredictable in its last 74 bits.
    fn generate(now: Timestamp, random: &dyn Random) -> Self {
        Self::from_bytes(uuid_v7(now, random))
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl Id for $name {
            const PREFIX: &'static str = $prefix;
            fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }
            fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_id(f, $prefix, self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_id(f, $prefix, self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_id(text, $prefix).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A tenant.
    TenantId = "ten_";
    /// A trusted issuer.
    IssuerId = "iss_";
    /// A user.
    UserId = "usr_";
    /// An agent.
    AgentId = "agt_";
    /// A client of an agent; the text form is its `client_id`.
    ClientId = "cli_";
    /// A blueprint.
    BlueprintId = "blu_";
    /// A runtime binding.
    BindingId = "bnd_";
    /// A resource.
    ResourceId = "res_";
    /// A grant.
    GrantId = "grt_";
    /// A delegation: one hop from an agent to an agent.
    DelegationId = "dlg_";
    /// A policy set.
    PolicySetId = "pol_";
    /// A connection to a downstream provider.
    ConnectionId = "con_";
    /// A connected account.
    ConnectedAccountId = "acc_";
    /// A session: a person's sign-in in one browser.
    SessionId = "ses_";
    /// A family: everything issued on one authorization code.
    TokenFamilyId = "fam_";
    /// A passkey of a person.
    PasskeyId = "psk_";
    /// A registration rule.
    RegistrationRuleId = "rul_";
    /// An initial access token for registration.
    RegistrationTokenId = "rtk_";
    /// A pending authorization request.
    AuthorizationRequestId = "req_";
    /// A request for a person's yes.
    ApprovalId = "apr_";
    /// A message that goes out.
    MessageId = "msg_";
    /// A decision.
    DecisionId = "dec_";
    /// An issued token (`jti`). It shares its bytes with the decision that permitted it.
    TokenId = "tok_";
    /// An audit event.
    EventId = "evt_";
    /// A signing key (`kid`).
    KeyId = "key_";
    /// A batch of statements.
    BatchId = "bat_";
    /// A failed authentication, as shown to the caller and accepted by `why`.
    ReferenceId = "ref_";
    /// One process that serves.
    NodeId = "nod_";
}

impl From<DecisionId> for TokenId {
    fn from(decision: DecisionId) -> Self {
        Self(decision.0)
    }
}

/// The event that records a decision has the same bytes.
impl From<DecisionId> for EventId {
    fn from(decision: DecisionId) -> Self {
        Self(decision.0)
    }
}

impl From<TokenId> for DecisionId {
    fn from(token: TokenId) -> Self {
        Self(token.0)
    }
}

/// The text form of a noun's id held as bytes.
pub fn display(noun: Noun, bytes: [u8; 16]) -> String {
    struct Text(&'static str, [u8; 16]);
    impl fmt::Display for Text {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_id(f, self.0, self.1)
        }
    }
    Text(noun.id_prefix(), bytes).to_string()
}

/// The noun and bytes of an id whose kind is not known beforehand.
pub fn parse_any(text: &str) -> Option<(Noun, [u8; 16])> {
    let noun = Noun::from_id_prefix(text.get(..4)?)?;
    parse_id(text, noun.id_prefix()).ok().map(|bytes| (noun, bytes))
}

fn uuid_v7(now: Timestamp, random: &dyn Random) -> [u8; 16] {
    let millis = now.as_micros().div_euclid(1_000).max(0).cast_unsigned();
    uuid::Builder::from_unix_timestamp_millis(millis, &random.bytes())
        .into_uuid()
        .into_bytes()
}

fn write_id(f: &mut fmt::Formatter<'_>, prefix: &str, bytes: [u8; 16]) -> fmt::Result {
    f.write_str(prefix)?;
    let mut number = u128::from_be_bytes(bytes);
    let mut text = [b'0'; 26];
    for place in text.iter_mut().rev() {
        let digit = usize::try_from(number & 31).unwrap_or(0);
        *place = ALPHABET.get(digit).copied().unwrap_or(b'0');
        number >>= 5;
    }
    // PROOF: the alphabet is ASCII.
    f.write_str(std::str::from_utf8(&text).unwrap_or_default())
}

fn parse_id(text: &str, prefix: &'static str) -> Result<[u8; 16], IdError> {
    let digits = text.strip_prefix(prefix).ok_or(IdError::Prefix(prefix))?;
    if digits.len() != 26 {
        return Err(IdError::Malformed);
    }
    let mut number: u128 = 0;
    for byte in digits.bytes() {
        let digit = ALPHABET
            .iter()
            .position(|&letter| letter == byte)
            .ok_or(IdError::Malformed)?;
        if number >> 123 != 0 {
            return Err(IdError::Malformed);
        }
        number = (number << 5) | u128::try_from(digit).unwrap_or(0);
    }
    Ok(number.to_be_bytes())
}

/// Crockford's base 32 without i, l, o and u, in lower case.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::DangerSeededRandom;

    #[test]
    fn text_form_round_trips_and_sorts_by_time() {
        let random = DangerSeededRandom::new(1);
        let early = AgentId::generate(Timestamp::from_seconds(1), &random);
        let late = AgentId::generate(Timestamp::from_seconds(2), &random);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse(), Ok(early));
        assert_eq!(early.to_string().len(), 30);
    }

    #[test]
    fn another_nouns_id_is_refused() {
        let id = UserId::from_bytes([255; 16]).to_string();
        assert_eq!(id.parse::<AgentId>(), Err(IdError::Prefix("agt_")));
        assert_eq!(id.parse(), Ok(UserId::from_bytes([255; 16])));
    }

    #[test]
    fn overflow_and_foreign_characters_are_refused() {
        assert_eq!(
            "agt_zzzzzzzzzzzzzzzzzzzzzzzzzz".parse::<AgentId>(),
            Err(IdError::Malformed)
        );
        assert_eq!(
            "agt_0000000000000000000000000A".parse::<AgentId>(),
            Err(IdError::Malformed)
        );
        assert_eq!("agt_0".parse::<AgentId>(), Err(IdError::Malformed));
    }
}
