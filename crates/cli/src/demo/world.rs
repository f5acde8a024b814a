//! The demo's world: Chancery on a free loopback port with a data directory of its own, and the sample parties.

use crate::connection::{Connection, Refused};
use crate::print::{self, field};
use crate::sample::Surroundings;
use crate::{apply, logging, serve};
use anyhow::{Context as _, anyhow};
use chancery_server::egress::AllowedHost;
use chancery_server::keys::RootKey;
use chancery_server::limits::CallLimits;
use chancery_server::listener::{Limits, TrustedProxies};
use chancery_server::node::{GITHUB_API, Node, NodeConfig, World};
use chancery_server::people::password::KnownPasswords;
use chancery_server::store::db::DatabaseUrl;
use chancery_server::world::SystemRandom;
use hyper::Method;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// Everything that runs during a demo.
pub(crate) struct DemoWorld {
    /// The base URL of Chancery.
    pub(crate) base: String,
    /// The parties around it.
    pub(crate) around: Surroundings,
    /// The local socket: the administrator.
    pub(crate) admin: Connection,
    /// The public URL: everybody else.
    pub(crate) public: Connection,
    directory: tempfile::TempDir,
    node: Node,
}

/// An answer of the token endpoint.
pub(crate) enum Answer {
    /// A token.
    Token(Value),
    /// A refusal, as the client sees it.
    Refused(Refused),
}

impl DemoWorld {
    /// Starts everything.
    ///
    /// # Errors
    /// A part that does not start.
    pub(crate) async fn start(database: Option<&str>) -> anyhow::Result<Self> {
        logging::start("warn,rmcp=off", false);
        let directory = tempfile::tempdir().context("no temporary directory")?;
        let base = format!("http://127.0.0.1:{}", serve::free_port()?);
        let socket = directory.path().join("chancery.sock");
        let checkpoints = directory.path().join("checkpoints");
        let database = match database {
            Some(url) => url.parse()?,
            None => DatabaseUrl::sqlite(directory.path().join("chancery.db")),
        };
        let config = NodeConfig {
            database,
            root: RootKey::generate(&SystemRandom)?.into(),
            public_url: base.clone(),
            listen: base.trim_start_matches("http://").parse()?,
            socket: Some(socket.clone()),
            next_root: None,
            metrics: None,
            call_limits: CallLimits::default(),
            tls: None,
            proxies: TrustedProxies::default(),
            limits: Limits::default(),
            allowed_hosts: vec![AllowedHost::new("127.0.0.1".parse()?)],
            extra_ca_file: None,
            checkpoint_file: Some(checkpoints),
            checkpoint_url: None,
            approval_webhook: None,
            mail: None,
            approval_mail_to: None,
            known_passwords: KnownPasswords::default(),
            github_api: GITHUB_API.to_owned(),
            test_mode: false,
        };
        let node = Node::start(config, World::default()).await?;
        let around = Surroundings::start(base.clone(), None).await?;
        let (admin, public) = (Connection::to_socket(socket), Connection::to_url(&base)?);
        Ok(Self {
            base,
            around,
            admin,
            public,
            directory,
            node,
        })
    }

    /// Applies the demo's file, gives Chancery the desk's key, and limits refunds.
    ///
    /// # Errors
    /// The server's refusal.
    pub(crate) async fn apply(&self) -> anyhow::Result<Value> {
        let applied = apply::send(&self.admin, &apply::parse(&self.file())?, false).await?;
        let key = json!({ "name": "desk-key", "connection": "desk", "owner": "tenant",
            "values": { "key": self.around.desk.key() } });
        self.admin.send(Method::POST, "/connected_accounts", &key).await?;
        let policies = field(&self.admin.read("/policy").await?, &["text"]);
        let (refunds, payments) = (include_str!("refunds.cedar"), include_str!("payments.cedar"));
        let text = format!("{policies}\n{refunds}\n{payments}");
        let limited = json!({ "text": text, "comment": "refunds up to 100, payments with a yes" });
        self.admin.send(Method::PUT, "/policy", &limited).await?;
        Ok(applied)
    }

    /// Where the desk is reached through the gateway.
    pub(crate) fn desk_behind_gateway(&self) -> String {
        format!("{}/mcp/desk", self.base)
    }

    /// The `client_id` of the application that people let in.
    ///
    /// # Errors
    /// The server's refusal.
    pub(crate) async fn clerk_client(&self) -> anyhow::Result<String> {
        Ok(field(&self.admin.read("/clients/clerk-app").await?, &["id"]))
    }

    /// The demo's file, with the URLs of this run.
    pub(crate) fn file(&self) -> String {
        include_str!("demo.toml")
            .replace("{idp}", self.around.identity_provider.issuer())
            .replace("{cluster}", self.around.runtime.issuer())
            .replace("{notes}", &self.around.notes.url())
            .replace("{desk}", self.around.desk.base())
            .replace("{drive}", self.around.drive.base())
            .replace("{base}", &self.base)
    }

    /// The token that a pod of an agent finds mounted.
    ///
    /// # Errors
    /// The sample runtime's.
    pub(crate) fn runtime_token(&self, service_account: &str) -> anyhow::Result<String> {
        let pod = format!("{service_account}-7d4b9");
        self.around.runtime.service_account_token(
            "prod",
            service_account,
            &pod,
            &self.base,
            Duration::from_mins(10),
        )
    }

    /// Asks the token endpoint with a pod's token as the only proof.
    ///
    /// # Errors
    /// No answer at all.
    pub(crate) async fn token(&self, service_account: &str, form: &[(&str, &str)]) -> anyhow::Result<Answer> {
        let proof = self.runtime_token(service_account)?;
        let mut all = vec![
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", proof.as_str()),
        ];
        all.extend_from_slice(form);
        match self.public.form("/token", &all).await {
            Ok(answer) => Ok(Answer::Token(answer)),
            Err(error) => error.downcast::<Refused>().map(Answer::Refused),
        }
    }

    /// A file in the demo's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Prints URLs and commands to go on with.
    pub(crate) fn describe(&self) {
        let (idp, runtime) = (
            self.around.identity_provider.issuer(),
            self.around.runtime.issuer(),
        );
        let socket = self.path("chancery.sock");
        print::line(&format!("\nchancery           {}", self.base));
        print::line(&format!("identity provider  {idp}"));
        print::line(&format!("agents' runtime    {runtime}"));
        print::line(&format!("notes (MCP)        {}", self.around.notes.url()));
        print::line(&format!("desk (MCP)         {}", self.desk_behind_gateway()));
        print::line(&format!("\nexport CHANCERY_SOCKET={}", socket.display()));
        print::line("chancery agent list; chancery audit list");
        print::line(&format!(
            "curl -s {}/.well-known/oauth-authorization-server",
            self.base
        ));
        print::line(&format!(
            "POD=$(curl -s '{runtime}/token?namespace=prod&service_account=planner'); \\\n\
             ALICE=$(curl -s -X POST '{idp}/login?user=alice&format=text'); \\\n\
             curl -s {}/token -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange \\\n\
             \x20 -d client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer -d client_assertion=$POD \\\n\
             \x20 -d subject_token_type=urn:ietf:params:oauth:token-type:id_token -d subject_token=$ALICE \\\n\
             \x20 -d resource={} -d scope=read",
            self.base,
            self.around.notes.url()
        ));
    }

    /// Stops everything.
    pub(crate) async fn stop(self) {
        self.around.shutdown().await;
        self.node.stop().await;
    }
}

impl Answer {
    /// The token.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) fn given(self) -> anyhow::Result<Value> {
        match self {
            Self::Token(token) => Ok(token),
            Self::Refused(refused) => Err(refused.into()),
        }
    }

    /// The refusal.
    ///
    /// # Errors
    /// A token was given.
    pub(crate) fn refused(self) -> anyhow::Result<Refused> {
        match self {
            Self::Token(_) => Err(anyhow!("a token was given that must not be given")),
            Self::Refused(refused) => Ok(refused),
        }
    }
}
