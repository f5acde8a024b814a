//! A stand-in for the cloud that agents run in: an issuer of service account tokens, shaped like those that
//! Kubernetes projects into a pod (TokenRequest API: bound to service account and pod, one audience).
//!
//! It serves discovery and its JWKS where a Kubernetes API server has them, and `GET /token?…`, which takes the
//! place of reading the projected file inside a pod: any local program may ask. Never trust this issuer outside a
//! demonstration.

use super::listener::{Body, Bound, Serving, json, query_parameter, text};
use super::signer::Signer;
use super::{now, unique};
use aws_lc_rs::digest;
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The running runtime.
pub(crate) struct Runtime {
    issuer: Arc<Issuer>,
    serving: Serving,
}

impl Runtime {
    /// Starts on a loopback port, 0 for any. Tokens of the `/token` endpoint are for `default_audience` where the
    /// query names no other.
    ///
    /// # Errors
    /// If the port is taken.
    pub(crate) async fn start(port: u16, default_audience: String) -> anyhow::Result<Self> {
        let bound = Bound::to_loopback(port).await?;
        let signer = tokio::task::spawn_blocking(Signer::rs256).await??;
        let issuer = Arc::new(Issuer {
            url: bound.base(),
            signer,
            default_audience,
        });
        let shared = Arc::clone(&issuer);
        let serving = bound.serve(move |request| {
            let response = shared.answer(&request);
            async move { response }
        });
        Ok(Self { issuer, serving })
    }

    /// The issuer URL.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer.url
    }

    /// The token that a pod finds in its projected volume.
    ///
    /// # Errors
    /// If signing fails, which no input causes.
    pub(crate) fn service_account_token(
        &self,
        namespace: &str,
        service_account: &str,
        pod: &str,
        audience: &str,
        lifetime: Duration,
    ) -> anyhow::Result<String> {
        let workload = Workload {
            namespace,
            service_account,
            pod,
        };
        self.issuer.service_account_token(&workload, audience, lifetime)
    }

    /// Stops.
    pub(crate) async fn stop(self) {
        self.serving.stop().await;
    }
}

struct Workload<'a> {
    namespace: &'a str,
    service_account: &'a str,
    pod: &'a str,
}

struct Issuer {
    url: String,
    signer: Signer,
    default_audience: String,
}

impl Issuer {
    fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/.well-known/openid-configuration") => json(StatusCode::OK, &self.discovery()),
            (&Method::GET, "/openid/v1/jwks") => json(StatusCode::OK, &self.signer.key_set()),
            (&Method::GET, "/token") => self.token(request),
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    fn discovery(&self) -> Value {
        json!({
            "issuer": self.url,
            "jwks_uri": format!("{}/openid/v1/jwks", self.url),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.signer.algorithm_name()],
        })
    }

    /// `GET /token?service_account=NAME[&namespace=…][&pod=…][&audience=…]`: the token and nothing else, like the
    /// file in a pod.
    fn token<B>(&self, request: &Request<B>) -> Response<Body> {
        let Some(service_account) = query_parameter(request, "service_account") else {
            return text(
                StatusCode::BAD_REQUEST,
                "which one? ask for: /token?service_account=NAME&namespace=NAMESPACE&pod=POD\n",
            );
        };
        let namespace = query_parameter(request, "namespace").unwrap_or_else(|| "default".to_owned());
        let pod = query_parameter(request, "pod").unwrap_or_else(|| format!("{service_account}-0"));
        let audience = query_parameter(request, "audience").unwrap_or_else(|| self.default_audience.clone());

        let workload = Workload {
            namespace: &namespace,
            service_account: &service_account,
            pod: &pod,
        };
        match self.service_account_token(&workload, &audience, PROJECTED_LIFETIME) {
            Ok(token) => text(StatusCode::OK, token),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    fn service_account_token(
        &self,
        workload: &Workload<'_>,
        audience: &str,
        lifetime: Duration,
    ) -> anyhow::Result<String> {
        let Workload {
            namespace,
            service_account,
            pod,
        } = *workload;
        let now = now();
        let claims = json!({
            "iss": self.url,
            "sub": format!("system:serviceaccount:{namespace}:{service_account}"),
            "aud": [audience],
            "iat": now,
            "nbf": now,
            "exp": now.saturating_add(lifetime.as_secs()),
            "jti": unique()?,
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {
                    "name": service_account,
                    "uid": self.uid(&["serviceaccount", namespace, service_account]),
                },
                "pod": { "name": pod, "uid": self.uid(&["pod", namespace, pod]) },
            },
        });
        self.signer.sign(None, &claims)
    }

    /// The uid of an object: the same for the same object of the same cluster.
    fn uid(&self, path: &[&str]) -> String {
        let text = format!("{}/{}", self.url, path.join("/"));
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        let mut bytes = [0; 16];
        for (byte, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *byte = *from;
        }
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}

/// How long a token of the `/token` endpoint lives: the default of a projected volume.
const PROJECTED_LIFETIME: Duration = Duration::from_hours(1);
