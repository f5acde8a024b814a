//! What binds a form, or a challenge, to the browser of somebody who is not signed in: a secret in a cookie, and a tag that
//! only we can have made for it.

use super::session::{from_hexadecimal, hexadecimal};
use crate::setup::sha256;
use crate::tenants::Served;
use chancery_core::secret::Secret;

/// The token that a form for this browser carries.
pub fn form_token(served: &Served, browser: &Secret<String>) -> String {
    hexadecimal(&served.keys.page_tag(&message(browser)))
}

/// Whether this is the token of a form for this browser, in constant time.
pub fn is_form_token(served: &Served, browser: &Secret<String>, token: &str) -> bool {
    from_hexadecimal(token).is_some_and(|tag| served.keys.is_page_tag(&message(browser), &tag))
}

/// What stands for the browser where its secret must not.
pub fn digest(browser: &Secret<String>) -> [u8; 32] {
    sha256(browser.expose_secret().as_bytes())
}

fn message(browser: &Secret<String>) -> Vec<u8> {
    [b"browser form ".as_slice(), &digest(browser)].concat()
}
