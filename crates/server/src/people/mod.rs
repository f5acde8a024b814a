//! People at their browsers: signing in, sessions, agreeing to what a client asks for, and taking it back. Use cases;
//! the pages are in `http/pages/`.

pub mod session;
