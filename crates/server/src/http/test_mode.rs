//! The decision URL of test mode, `POST {base}/test/ciba?auth_req_id={auth_req_id}&action={allow|deny}`, as the OpenID
//! Foundation's tests of CIBA call it. It is routed only on a node in test mode.

use crate::app::App;
use crate::error::{Failure, Refusal};
use crate::http::error::problem;
use crate::http::tenant::RequestTenant;
use crate::test_mode;
use axum::extract::{Extension, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use chancery_oauth::form::Parameters;
use chancery_policy::ApprovalAnswer;
use std::sync::Arc;

/// `POST {base}/test/ciba`.
pub async fn decide(
    State(app): State<Arc<App>>,
    Extension(RequestTenant(served)): Extension<RequestTenant>,
    RawQuery(query): RawQuery,
) -> Response {
    let Some((handle, answer)) = read(query.as_deref().unwrap_or_default()) else {
        let said = "give `auth_req_id`, and `action` as `allow` or `deny`".to_owned();
        return problem(&Failure::from(Refusal::Invalid(said))).into_response();
    };
    match test_mode::answer(&app, &served, (&handle, answer)).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(failure) => problem(&failure).into_response(),
    }
}

fn read(query: &str) -> Option<(String, ApprovalAnswer)> {
    let mut parameters = Parameters::parse(query.as_bytes()).ok()?;
    let answer = match parameters.take("action")?.as_str() {
        "allow" => ApprovalAnswer::Approve,
        "deny" => ApprovalAnswer::Reject,
        _ => return None,
    };
    Some((parameters.take("auth_req_id")?, answer))
}
