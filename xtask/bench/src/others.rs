//! Other servers beside ours in the same run, on the same core and under the same load: what the package
//! registries have. Rauthy is not in one as a program and is left out.

use crate::report::{Report, say};
use crate::server::{free_address, memory, pinned, wait_until_ready};
use crate::{Plan, http, load};
use anyhow::Result;
use std::path::Path;
use std::rc::Rc;

/// oidc-provider on Node: client credentials, ES256 JWT, in memory.
pub(crate) async fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let Some(folder) = &plan.oidc_provider else {
        say("oidc-provider: not installed, not measured");
        return Ok(());
    };
    let address = free_address()?;
    let mut command = pinned(Path::new("node"));
    let mut child = command
        .arg(folder.join("serve.mjs"))
        .arg(address.to_string())
        .spawn()?;
    let process = child.id();
    let measured = async {
        wait_until_ready(address).await?;
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", "worker"),
            ("client_secret", "a-secret-of-the-benchmark-and-of-nothing-else"),
            ("resource", crate::scenario::RESOURCE),
            ("scope", "read"),
        ];
        let requests = Rc::new(vec![http::form(address, "/token", &fields)]);
        for connections in [1, 16, 64] {
            let outcome = load::run(address, &requests, connections, plan.span(), process).await?;
            report.add_load("others", "oidc-provider client_credentials", &outcome);
        }
        report.add(
            "others",
            "oidc-provider: memory under load",
            memory(process)?,
            "MiB",
        );
        anyhow::Ok(())
    }
    .await;
    child.kill()?;
    child.wait()?;
    measured
}
