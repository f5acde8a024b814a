//! People at their browsers: signing in, sessions, agreeing to what a client asks for, and taking it back. Use cases;
//! the pages are in `http/pages/`.

pub mod agents;
pub mod issuer_secret;
pub mod session;
pub mod sign_in;
