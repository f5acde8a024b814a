//! The way out for e-mail: one relay that the operator named, spoken to by SMTP (RFC 5321) under TLS (RFC 8314 §3.3) or
//! STARTTLS (RFC 3207), and in the clear on loopback only. What a message says, and to whom, is the caller's.

use super::client;
use chancery_core::secret::Secret;
use chancery_core::time::Ttl;
use lettre::address::AddressError;
use lettre::message::{Mailbox, header::ContentType};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use std::path::PathBuf;

/// The relay and how to speak to it.
#[derive(Debug)]
pub struct MailConfig {
    /// `smtps://RELAY[:465]`, or `smtp://RELAY[:587]` for STARTTLS; before the host a user name, if it wants one.
    pub relay: String,
    /// The password of that user.
    pub password: Option<Secret<String>>,
    /// Whom messages are from: `Chancery <chancery@example.com>`.
    pub from: String,
}

/// Why e-mail cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum MailSetupError {
    /// The relay's URL is none, or of another scheme.
    #[error(
        "the mail relay is `smtps://HOST[:PORT]` or `smtp://HOST[:PORT]`, with a user name before the host if it needs one"
    )]
    Relay,
    /// The relay's URL holds a password, which would stand in process lists.
    #[error("the mail relay's URL holds a password; put it into a file and name that")]
    PasswordInUrl,
    /// A user name without a password, or a password without a user name.
    #[error("the mail relay has a user name or a password, and not both")]
    HalfCredentials,
    /// The sender is no address.
    #[error("`{0}` is no e-mail address")]
    From(String, #[source] AddressError),
    /// The extra certificate authorities.
    #[error(transparent)]
    Authorities(#[from] client::EgressSetupError),
    /// TLS refuses its configuration.
    #[error("cannot set up TLS to the mail relay")]
    Tls(#[from] lettre::transport::smtp::Error),
}

/// Why a message did not go out.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The recipient is no address.
    #[error("`{0}` is no e-mail address")]
    To(String, #[source] AddressError),
    /// The message cannot be made.
    #[error("the message cannot be made")]
    Message(#[from] lettre::error::Error),
    /// The relay cannot be reached, or refuses the message.
    #[error("the mail relay: {0}")]
    Relay(#[from] lettre::transport::smtp::Error),
}

/// A relay that takes messages.
#[derive(Debug)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mailer {
    /// Reads how to speak to the relay; speaks to nobody yet.
    ///
    /// # Errors
    /// Every rule of [`MailSetupError`].
    pub fn new(config: &MailConfig, extra_ca_file: Option<PathBuf>) -> Result<Self, MailSetupError> {
        let relay = Relay::parse(config)?;
        let from = config.from.parse();
        let from = from.map_err(|error| MailSetupError::From(config.from.clone(), error))?;
        let tls = relay.tls(extra_ca_file)?;
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&relay.host)
            .port(relay.port)
            .tls(tls)
            .timeout(Some(TIMEOUT.as_std()));
        if let Some(credentials) = relay.credentials {
            builder = builder.credentials(credentials);
        }
        Ok(Self {
            transport: builder.build(),
            from,
        })
    }

    /// Hands one message of plain text to the relay.
    ///
    /// # Errors
    /// Every rule of [`MailError`].
    pub async fn send(&self, to: &str, subject: &str, text: String) -> Result<(), MailError> {
        let address = to.parse().map_err(|error| MailError::To(to.to_owned(), error))?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, address))
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            .body(text)?;
        self.transport.send(message).await?;
        Ok(())
    }
}

/// The relay's URL, taken apart.
struct Relay {
    host: String,
    port: u16,
    is_wrapped: bool,
    credentials: Option<Credentials>,
}

impl Relay {
    fn parse(config: &MailConfig) -> Result<Self, MailSetupError> {
        let url = url::Url::parse(&config.relay).map_err(|_| MailSetupError::Relay)?;
        let (is_wrapped, port) = match url.scheme() {
            "smtps" => (true, 465),
            "smtp" => (false, 587),
            _ => return Err(MailSetupError::Relay),
        };
        if url.password().is_some() {
            return Err(MailSetupError::PasswordInUrl);
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(MailSetupError::Relay);
        }
        let credentials = match (url.username(), &config.password) {
            ("", None) => None,
            ("", Some(_)) | (_, None) => return Err(MailSetupError::HalfCredentials),
            (user, Some(password)) => {
                let user = percent_decoded(user).ok_or(MailSetupError::Relay)?;
                Some(Credentials::new(user, password.expose_secret().clone()))
            }
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or(MailSetupError::Relay)?;
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(port),
            is_wrapped,
            credentials,
        })
    }

    fn tls(&self, extra_ca_file: Option<PathBuf>) -> Result<Tls, MailSetupError> {
        // SECURITY: in the clear only where nobody can listen; elsewhere a relay without STARTTLS gets nothing.
        if !self.is_wrapped && self.is_loopback() {
            return Ok(Tls::None);
        }
        let mut builder =
            TlsParameters::builder(self.host.clone()).certificate_store(CertificateStore::WebpkiRoots);
        if let Some(path) = extra_ca_file {
            for certificate in client::authorities(path)? {
                builder = builder.add_root_certificate(Certificate::from_der(certificate.to_vec())?);
            }
        }
        let parameters = builder.build_rustls()?;
        Ok(if self.is_wrapped {
            Tls::Wrapper(parameters)
        } else {
            Tls::Required(parameters)
        })
    }

    fn is_loopback(&self) -> bool {
        let address: Option<std::net::IpAddr> = self.host.parse().ok();
        self.host == "localhost" || address.is_some_and(|address| address.is_loopback())
    }
}

/// The user name of a URL, where an `@` is written `%40`.
fn percent_decoded(text: &str) -> Option<String> {
    // As the value of a form, where only `+` means something else.
    let form = format!("v={}", text.replace('+', "%2B").replace('&', "%26"));
    let (_, value) = url::form_urlencoded::parse(form.as_bytes()).next()?;
    Some(value.into_owned())
}

/// How long the relay may take for one step.
const TIMEOUT: Ttl = Ttl::from_seconds(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(relay: &str, password: Option<&str>) -> Result<Relay, MailSetupError> {
        Relay::parse(&MailConfig {
            relay: relay.to_owned(),
            password: password.map(|password| Secret::new(password.to_owned())),
            from: "a@example.com".to_owned(),
        })
    }

    #[test]
    fn only_a_relay_on_loopback_is_spoken_to_in_the_clear() {
        let tls = |text: &str| relay(text, None).unwrap().tls(None).unwrap();
        assert!(matches!(tls("smtp://relay.example"), Tls::Required(_)));
        assert!(matches!(tls("smtps://relay.example"), Tls::Wrapper(_)));
        assert!(matches!(tls("smtps://127.0.0.1"), Tls::Wrapper(_)));
        for loopback in ["smtp://127.0.0.1:25", "smtp://localhost", "smtp://[::1]:2525"] {
            assert!(matches!(tls(loopback), Tls::None), "{loopback}");
        }
        assert!(matches!(tls("smtp://localhost.example"), Tls::Required(_)));
        assert!(matches!(tls("smtp://10.0.0.1"), Tls::Required(_)));
    }

    #[test]
    fn a_relay_has_both_halves_of_its_credentials_and_none_in_the_url() {
        let relay_of =
            |text, password| relay(text, password).map(|relay| (relay.port, relay.credentials.is_some()));
        assert_eq!(relay_of("smtp://relay.example", None).unwrap(), (587, false));
        assert_eq!(
            relay_of("smtps://me%40example.com@relay.example", Some("x")).unwrap(),
            (465, true)
        );
        let error = |text, password| relay_of(text, password).unwrap_err();
        assert!(matches!(
            error("smtps://me:secret@relay.example", None),
            MailSetupError::PasswordInUrl
        ));
        assert!(matches!(
            error("smtps://me@relay.example", None),
            MailSetupError::HalfCredentials
        ));
        assert!(matches!(
            error("smtps://relay.example", Some("x")),
            MailSetupError::HalfCredentials
        ));
        for text in [
            "relay.example",
            "https://relay.example",
            "smtp://",
            "smtp://relay.example?tls=none",
        ] {
            assert!(matches!(error(text, None), MailSetupError::Relay), "{text}");
        }
    }

    #[test]
    fn a_user_name_is_read_as_it_is_meant() {
        assert_eq!(percent_decoded("a%40b+c&d").as_deref(), Some("a@b+c&d"));
    }
}
