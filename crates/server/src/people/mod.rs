//! People at their browsers: signing in, sessions, agreeing to what a client asks for, and taking it back. Use cases;
//! the pages are in `http/pages/`.

pub mod agents;
pub mod authorize;
pub mod browser;
pub mod built_in;
pub mod challenge;
pub mod code;
pub mod consent;
pub mod device;
pub mod hashing;
pub mod held_passkeys;
pub mod invitation;
pub mod issuer_secret;
pub mod local;
pub mod missing_grant;
pub mod offer;
pub mod passkey;
pub mod password;
pub mod pending;
pub mod session;
pub mod sign_in;
pub mod since;
pub mod webauthn;
