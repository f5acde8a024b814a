//! Every URN and registered name of the standards in one place.

/// `grant_type` of RFC 6749 §4.4.
pub const CLIENT_CREDENTIALS: &str = "client_credentials";
/// `grant_type` of RFC 6749 §4.1.3.
pub const AUTHORIZATION_CODE: &str = "authorization_code";
/// `grant_type` of RFC 6749 §6.
pub const REFRESH_TOKEN: &str = "refresh_token";
/// `grant_type` of RFC 8693 §2.1.
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// `grant_type` of OpenID Connect CIBA §10.1.
pub const CIBA: &str = "urn:openid:params:grant-type:ciba";
/// `grant_type` of RFC 8628 §3.4.
pub const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// `grant_type` of RFC 7523 §2.1.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The profile of that grant for identity assertions (ID-JAG draft -04 §7.2).
pub const ID_JAG_PROFILE: &str = "urn:ietf:params:oauth:grant-profile:id-jag";
/// `client_assertion_type` of RFC 7523 §2.2.
pub const JWT_BEARER_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Token type of RFC 8693 §3: an OAuth access token.
pub const TOKEN_TYPE_ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// Token type of RFC 8693 §3: an OpenID Connect ID token.
pub const TOKEN_TYPE_ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
/// Token type of our own: a key that somebody set, which is no token of OAuth.
pub const TOKEN_TYPE_API_KEY: &str = "urn:chancery:token-type:api_key";
/// Token type of RFC 8693 §3: a JSON Web Token.
pub const TOKEN_TYPE_JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
