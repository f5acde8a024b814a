//! The conformance suite of the engine layer: every scenario runs on SQLite and on PostgreSQL.
//!
//! `cargo xtask test` starts a throw-away PostgreSQL for it. The modules say `cfg(test)`, which always
//! holds here, so that the lints know their helpers for tests.

#[cfg(test)]
mod concurrency;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod expectations;
#[cfg(test)]
mod feed;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod model;
#[cfg(test)]
mod nouns;
#[cfg(test)]
mod postgres_engine;
#[cfg(test)]
mod postgres_tls;
#[cfg(test)]
mod sqlite_engine;
