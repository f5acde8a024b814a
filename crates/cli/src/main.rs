//! The `chancery` command: reading arguments, calling the server, printing for people or as JSON.

mod account;
mod add;
mod agent;
mod apply;
mod approval;
mod audit;
mod backup;
mod binding;
mod calls;
mod client;
mod connection;
mod credentials;
mod demo;
mod dev;
mod doctor;
mod enrol;
mod key;
mod kill;
mod logging;
mod login;
mod loopback;
mod mcp;
mod me;
mod noun;
mod policy;
mod print;
mod provider;
mod registration;
mod resource;
mod root_key;
mod run;
mod sample;
mod scan;
mod serve;
mod session;
mod shorthand;
mod snippet;
mod tenant;
mod token;
mod tokens;
mod upstream;
mod user;
mod vault;
mod why;
mod wire;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Issues, observes and revokes what AI agents may do.
#[derive(Debug, Parser)]
#[command(name = "chancery", version, about, propagate_version = true)]
struct Arguments {
    #[command(flatten)]
    connection: connection::ConnectionArguments,
    /// Print JSON instead of tables and sentences.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve: the authorization server, policy, directory and audit log.
    Serve(serve::ServeArguments),
    /// Play the whole story on this machine: a stolen key and none to steal, proof, decisions, a delegation, a kill, the log.
    Demo(demo::DemoArguments),
    /// Serve with the sample identity provider, runtime and notes server around it.
    Dev(dev::DevArguments),
    /// Check URL, TLS, clock, permissions, database and proxy headers, and print the fix.
    Doctor(doctor::DoctorArguments),
    /// Bring the database schema up to date without serving.
    Migrate(serve::DatabaseArguments),
    /// Become the first administrator with the one-time code of the first start.
    Enrol(enrol::EnrolArguments),
    /// Print a new one-time enrolment code. Needs the root key and the database.
    Recover(enrol::RecoverArguments),
    /// Sign in at a server by the browser, on this machine or another; commands with --url then act as you.
    Login(login::LoginArguments),
    /// Sign out at a server: what `login` was given is revoked and removed.
    Logout(login::LogoutArguments),
    /// Put an MCP server behind the gateway: look at its tools, propose scopes, store them with its key.
    Add(add::AddArguments),
    /// Name static keys in .env files and MCP client configurations, and print the commands that replace them.
    Scan(scan::ScanArguments),
    /// Start a program as an agent: a local proxy proves it and renews its tokens. Ends with what the program ends with.
    Run(run::RunArguments),
    /// Bridges between programs that speak MCP on standard input and output, and HTTP.
    Mcp(mcp::McpArguments),
    /// Print configuration for a client, ready to paste, without a secret.
    Snippet(snippet::SnippetArguments),
    /// What agents called, as sentences.
    Calls(calls::CallsArguments),
    /// Apply a file of nouns, or show with --plan what it would change.
    Apply(apply::ApplyArguments),
    /// Print everything stored as a file for `apply`.
    Export(apply::ExportArguments),
    /// Agents: list, show, create, allow, activate, suspend, retire.
    Agent(agent::AgentArguments),
    /// Clients of agents.
    Client(client::ClientArguments),
    /// How clients that make themselves known come to agents: rules, and initial access tokens.
    Registration(registration::RegistrationArguments),
    /// Users: list, show, create a local one, reset what somebody signs in with.
    User(user::UserArguments),
    /// Trusted issuers.
    Issuer(noun::NounArguments),
    /// Runtime bindings, and testing a token against them.
    Binding(binding::BindingArguments),
    /// Resources.
    Resource(resource::ResourceArguments),
    /// Blueprints.
    Blueprint(noun::NounArguments),
    /// Grants.
    Grant(noun::NounArguments),
    /// Connections to downstream providers.
    Connection(provider::ProviderArguments),
    /// Connected accounts: set a key, list, show, disconnect.
    Account(account::AccountArguments),
    /// People's sessions: list, revoke.
    Session(session::SessionArguments),
    /// What signing in at a trusted issuer needs: the secret that proves this server there.
    SignIn(session::SignInArguments),
    /// What waits for a person's yes: list, show, approve, deny.
    Approval(approval::ApprovalArguments),
    /// Policy sets: validate, set, show, test, observe.
    Policy(policy::PolicyArguments),
    /// Why a decision, a token or a failed authentication came out as it did.
    Why(why::WhyArguments),
    /// Stop an agent, client, user, issuer, grant, blueprint, connection or account at once.
    Kill(kill::KillArguments),
    /// Get, introspect or revoke a token as a client would.
    Token(token::TokenArguments),
    /// Keys that sign access tokens and ID tokens: list, rotate.
    Key(key::KeyArguments),
    /// The vault: rotate a tenant's key or the root key, make a new root key.
    Vault(vault::VaultArguments),
    /// Copy the database while it serves (SQLite). The root key is not in the copy.
    Backup(backup::BackupArguments),
    /// Continue from a backup: a new log generation, every token dead; or confirm that it was looked at.
    Restore(backup::RestoreArguments),
    /// Tenants: list, create, suspend, activate, retire.
    Tenant(tenant::TenantArguments),
    /// Print the description of the administration interface (OpenAPI), as docs/openapi.json has it.
    #[command(hide = true)]
    Openapi,
    /// The agent that `demo` starts as a program of its own.
    #[command(hide = true)]
    SampleAgent,
    /// The audit log: list, show, export, prove, verify.
    Audit(audit::AuditArguments),
}

/// Every request allocates on one thread and frees on another; musl's own allocator is slow at both.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        print::failure(&anyhow::anyhow!("another TLS provider is installed already"));
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            print::failure(&error.into());
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(arguments)) {
        Ok(code) => code,
        Err(error) => {
            print::failure(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments {
        connection,
        json,
        command,
    } = arguments;
    let output = print::Output { json };
    let open = || connection.open();
    let done = match command {
        // These end with a code of their own.
        Command::Run(arguments) => return run::run(arguments, &connection).await,
        Command::Scan(arguments) => return scan::run(&arguments, output),
        Command::Mcp(arguments) => return mcp::run(arguments, &connection, output).await,
        Command::Add(arguments) => add::run(arguments, &connection.open()?, output).await,
        Command::Snippet(arguments) => snippet::run(arguments, &connection.open()?, output).await,
        Command::Calls(arguments) => calls::run(arguments, &connection.open()?, output).await,
        Command::Serve(arguments) => Box::pin(serve::run(arguments)).await,
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Dev(arguments) => dev::run(arguments).await,
        Command::Doctor(arguments) => doctor::run(arguments, output).await,
        Command::Migrate(arguments) => serve::migrate(arguments).await,
        Command::Enrol(arguments) => enrol::run(arguments, &connection.open()?, output).await,
        Command::Login(arguments) => login::login(arguments, connection.url(), output).await,
        Command::Logout(arguments) => login::logout(arguments, connection.url(), output).await,
        Command::Recover(arguments) => enrol::recover(arguments).await,
        Command::Apply(arguments) => apply::run(arguments, &connection.open()?, output).await,
        Command::Export(arguments) => apply::export(arguments, &connection.open()?).await,
        Command::Agent(arguments) => agent::run(arguments, &connection.open()?, output).await,
        Command::Client(arguments) => client::run(arguments, &connection.open()?, output).await,
        Command::Registration(arguments) => registration::run(arguments, &connection.open()?, output).await,
        Command::User(arguments) => user::run(arguments, &open()?, output).await,
        Command::Issuer(arguments) => noun::run("trusted_issuers", arguments, &open()?, output).await,
        Command::Binding(arguments) => binding::run(arguments, &connection.open()?, output).await,
        Command::Resource(arguments) => resource::run(arguments, &connection.open()?, output).await,
        Command::Blueprint(arguments) => noun::run("blueprints", arguments, &open()?, output).await,
        Command::Grant(arguments) => noun::run("grants", arguments, &connection.open()?, output).await,
        Command::Connection(arguments) => provider::run(arguments, &open()?, output).await,
        Command::Account(arguments) => account::run(arguments, &connection.open()?, output).await,
        Command::Session(arguments) => session::run(arguments, &connection.open()?, output).await,
        Command::SignIn(arguments) => session::sign_in(arguments, &connection.open()?, output).await,
        Command::Approval(arguments) => approval::run(arguments, &connection.open()?, output).await,
        Command::Policy(arguments) => policy::run(arguments, &connection.open()?, output).await,
        Command::Why(arguments) => why::run(arguments, &connection.open()?, output).await,
        Command::Kill(arguments) => kill::run(arguments, &connection.open()?, output).await,
        Command::Token(arguments) => token::run(arguments, &connection.open()?, output).await,
        Command::Key(arguments) => key::run(arguments, &connection.open()?, output).await,
        Command::Vault(arguments) => vault::run(arguments, &connection, output).await,
        Command::Backup(arguments) => backup::backup(arguments, &connection.open()?).await,
        Command::Restore(arguments) => backup::restore(arguments, &connection, output).await,
        Command::Tenant(arguments) => tenant::run(arguments, &connection.open()?, output).await,
        Command::Openapi => {
            print_openapi();
            Ok(())
        }
        Command::SampleAgent => demo::agent::run().await,
        Command::Audit(arguments) => audit::run(arguments, &connection, output).await,
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn print_openapi() {
    let document = chancery_server::http::api::openapi::document("https://chancery.example");
    print::json(&document);
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn no_option_of_a_command_shares_its_name_with_a_global_one() {
        let mut command = Arguments::command();
        command.build();
        let globals: Vec<String> = options(&command).collect();
        assert!(globals.contains(&"token-file".to_owned()));
        let mut below = Vec::new();
        own_options(&Arguments::command(), &mut below);
        for (place, name) in below {
            assert!(
                !globals.contains(&name),
                "`{place} --{name}` hides the global option"
            );
        }
    }

    #[test]
    fn a_token_to_ask_about_is_not_the_token_to_ask_with() {
        for verb in ["introspect", "revoke"] {
            let words = [
                "chancery",
                "--token-file",
                "mine",
                "token",
                verb,
                "--token",
                "theirs",
            ];
            let parsed = Arguments::try_parse_from(words).unwrap();
            let printed = format!("{parsed:?}");
            assert!(printed.contains("token_file: Some(\"mine\")"), "{printed}");
            assert!(printed.contains("token: \"theirs\""), "{printed}");
        }
    }

    fn options(command: &clap::Command) -> impl Iterator<Item = String> {
        let global = command
            .get_arguments()
            .filter(|argument| argument.is_global_set());
        global.filter_map(|argument| argument.get_long().map(str::to_owned))
    }

    /// Options that commands define themselves. The command is not built, so that nothing is inherited yet.
    fn own_options(command: &clap::Command, found: &mut Vec<(String, String)>) {
        for below in command.get_subcommands() {
            let name = |argument: &clap::Arg| argument.get_long().map(str::to_owned);
            let own = below.get_arguments().filter_map(name);
            found.extend(own.map(|option| (below.get_name().to_owned(), option)));
            own_options(below, found);
        }
    }
}
