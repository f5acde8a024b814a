//! `me` where an owner is named: the person behind the command, by the name that the directory has for them.

use crate::connection::Connection;
use crate::print::field;
use anyhow::bail;
use serde_json::Value;

/// The owner that an argument means.
///
/// # Errors
/// `me` where it is not clear who that is.
pub(crate) async fn owner(argument: &str, connection: &Connection) -> anyhow::Result<String> {
    if argument != "me" {
        return Ok(argument.to_owned());
    }
    let me = connection.read("/me").await?;
    if let Some(user) = me.get("user").and_then(Value::as_str) {
        return Ok(user.to_owned());
    }
    let administrators: Vec<&str> = me
        .get("administrators")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if administrators.is_empty() {
        bail!(
            "nobody is known as `me`: {} is no person of the directory, and no administrator is enrolled\n\
             hint: chancery enrol --name YOU --code CODE (the server printed the code), or name the owner",
            field(&me, &["actor"])
        );
    }
    bail!(
        "`me` could be any of the administrators {}\nhint: name the owner",
        administrators.join(", ")
    );
}

/// The owner, if `me` is clear; nobody, if it is not.
pub(crate) async fn if_known(connection: &Connection) -> Option<String> {
    owner("me", connection).await.ok()
}
