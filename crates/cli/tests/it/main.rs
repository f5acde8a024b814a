//! The real binary, as people use it: what a newcomer types, and the bridges between clients and the gateway.

#[cfg(test)]
mod bridge;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod five_commands;
#[cfg(test)]
mod login;
#[cfg(test)]
mod notes;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod scan;
#[cfg(test)]
mod user;
#[cfg(test)]
mod world;
#[cfg(test)]
mod wrap;
