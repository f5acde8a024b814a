//! A call whose person has no account to use is answered with the page where one is connected, by era (design,
//! section 5). The call that is made again finds it.

use crate::app::App;
use crate::connect::lack;
use crate::error::{Failure, Refusal};
use crate::gateway::answer::Rejection;
use crate::tenants::Served;
use chancery_core::decision::Decision;
use chancery_mcp::elicitation::{Lack, Visit};
use chancery_mcp::envelope::{Message, Request};
use chancery_mcp::era::Era;
use chancery_mcp::method::Method;

/// The answer to a request that was refused for lack of an account. `None` if no page cures it.
///
/// # Errors
/// The database's.
pub(super) async fn refused(
    app: &App,
    served: &Served,
    (request, client): (&Request, (Era, bool)),
    decision: &Decision,
) -> Result<Option<Rejection>, Failure> {
    let lack = lack::of_decision(app, served, decision).await?;
    Ok(lack.and_then(|lack| visit(request, client, &lack)))
}

/// What is told of a call that was permitted and has nothing to go out with.
pub(super) fn unsent(rejection: Rejection, message: &Message, client: (Era, bool)) -> Rejection {
    let Rejection::Failure(Failure::Refused(lack)) = &rejection else {
        return rejection;
    };
    let visit = match message {
        Message::Request(request) => visit(request, client, lack),
        Message::Notification(_) | Message::Response(_) => None,
    };
    visit.unwrap_or(rejection)
}

fn visit(request: &Request, (era, opens_urls): (Era, bool), lack: &Refusal) -> Option<Rejection> {
    let Refusal::NotConnected {
        connection,
        url,
        decision,
    } = lack
    else {
        return None;
    };
    let visit = Visit {
        id: decision.to_string(),
        url: url.clone(),
        message: format!(
            "The person must connect an account at {connection}, then make the same call again (decision {decision}). \
             Connect at"
        ),
        lack: Lack::Account,
    };
    let (id, method) = (&request.id, request.method.as_str());
    if method == Method::ToolsCall.as_str() {
        return Some(Rejection::Denied(visit.answer(id, era, opens_urls).0));
    }
    let asks_for_input = [Method::PromptsGet, Method::ResourcesRead];
    let error = if asks_for_input.iter().any(|known| known.as_str() == method) {
        match visit.error(id, era, opens_urls) {
            Some(error) => error,
            None => return Some(Rejection::Denied(visit.answer(id, era, opens_urls).0)),
        }
    } else {
        visit.unopened(id, era, opens_urls)
    };
    Some(Rejection::malformed(error, Some(era)))
}
