//! The binary as people start it.

#[cfg(test)]
mod demo;
