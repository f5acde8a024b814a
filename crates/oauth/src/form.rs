//! Form bodies (`application/x-www-form-urlencoded`), read strictly: every parameter at most once
//! (RFC 6749 §3.2) but `resource` (RFC 8707 §2) and `audience` (RFC 8693 §2.1); empty values count as
//! absent (RFC 6749 §3.2).

use crate::error::OAuthError;
use chancery_core::secret::Secret;
use std::collections::HashMap;
use std::fmt;
use zeroize::Zeroize as _;

/// The parameters of one request. May hold secrets, so it prints only names and wipes values when dropped.
pub struct Parameters {
    single: HashMap<String, String>,
    resources: Vec<String>,
    audiences: Vec<String>,
}

impl Parameters {
    /// Reads a form body.
    ///
    /// # Errors
    /// `invalid_request`: too large, broken percent-encoding or UTF-8, a repeated parameter, or too many.
    pub fn parse(body: &[u8]) -> Result<Self, OAuthError> {
        if body.len() > MAX_BODY {
            return Err(OAuthError::invalid_request("the form is larger than 64 KiB"));
        }
        let mut parameters = Self {
            single: HashMap::new(),
            resources: Vec::new(),
            audiences: Vec::new(),
        };
        let pairs = body.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
        for (position, pair) in pairs.enumerate() {
            if position >= MAX_PARAMETERS {
                return Err(OAuthError::invalid_request(
                    "the form has more than 64 parameters",
                ));
            }
            let mut halves = pair.splitn(2, |&byte| byte == b'=');
            let name = decode(halves.next().unwrap_or_default())?;
            let value = decode(halves.next().unwrap_or_default())?;
            // No parameter may hold it (RFC 6749 appendix A), and not every database can.
            if value.contains('\0') || name.contains('\0') {
                return Err(OAuthError::invalid_request(
                    "a parameter holds the character U+0000",
                ));
            }
            parameters.add(name, value)?;
        }
        Ok(parameters)
    }

    /// Takes a parameter out, if it was sent with a value.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.single.remove(name)
    }

    /// Takes a secret parameter out.
    pub fn take_secret(&mut self, name: &str) -> Option<Secret<String>> {
        self.single.remove(name).map(Secret::new)
    }

    /// Takes a parameter that must be there.
    ///
    /// # Errors
    /// `invalid_request` with the given sentence.
    pub fn require(&mut self, name: &str, missing: &'static str) -> Result<String, OAuthError> {
        self.take(name)
            .ok_or_else(|| OAuthError::invalid_request(missing))
    }

    /// Takes every `resource`.
    pub fn take_resources(&mut self) -> Vec<String> {
        std::mem::take(&mut self.resources)
    }

    /// Takes every `audience`.
    pub fn take_audiences(&mut self) -> Vec<String> {
        std::mem::take(&mut self.audiences)
    }

    fn add(&mut self, name: String, value: String) -> Result<(), OAuthError> {
        if value.is_empty() {
            return Ok(());
        }
        match name.as_str() {
            "resource" => self.resources.push(value),
            "audience" => self.audiences.push(value),
            _ => {
                if self.single.insert(name, value).is_some() {
                    return Err(OAuthError::invalid_request("a parameter is sent more than once"));
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.single.keys()).finish()
    }
}

impl Drop for Parameters {
    fn drop(&mut self) {
        for value in self.single.values_mut() {
            value.zeroize();
        }
    }
}

/// Decodes one name or value: `+` is a space, `%` starts two hexadecimal digits, the whole is UTF-8.
///
/// # Errors
/// `invalid_request` when it is not so.
pub fn decode(text: &[u8]) -> Result<String, OAuthError> {
    const BROKEN: OAuthError = OAuthError::invalid_request("the form is not valid percent-encoded UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let high = rest.next().and_then(|&digit| hex(digit)).ok_or(BROKEN)?;
                let low = rest.next().and_then(|&digit| hex(digit)).ok_or(BROKEN)?;
                bytes.push(high << 4 | low);
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| BROKEN)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

const MAX_BODY: usize = 64 << 10;
const MAX_PARAMETERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_parameters_are_refused_but_resource_and_audience() {
        assert!(Parameters::parse(b"scope=a&scope=b").is_err());
        let mut parameters = Parameters::parse(b"resource=a&resource=b&audience=c&scope=x+y%2Bz").unwrap();
        assert_eq!(parameters.take_resources(), ["a", "b"]);
        assert_eq!(parameters.take_audiences(), ["c"]);
        assert_eq!(parameters.take("scope").as_deref(), Some("x y+z"));
    }

    #[test]
    fn an_empty_value_is_no_value() {
        let mut parameters = Parameters::parse(b"scope=&scope=&a").unwrap();
        assert_eq!(parameters.take("scope"), None);
    }

    #[test]
    fn broken_encoding_is_refused() {
        for body in [&b"a=%"[..], b"a=%4", b"a=%zz", b"a=%ff", b"a=\xff"] {
            assert!(Parameters::parse(body).is_err());
        }
    }

    #[test]
    fn a_parameter_with_nul_is_refused() {
        for body in [&b"audience=a%00b"[..], b"a%00=b", b"audience=\0"] {
            assert!(Parameters::parse(body).is_err());
        }
    }

    #[test]
    fn values_never_print() {
        let parameters = Parameters::parse(b"client_secret=marker").unwrap();
        assert!(!format!("{parameters:?}").contains("marker"));
    }
}
