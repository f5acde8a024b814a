//! One exchange with a service that holds the root key. What is asked and what the answer means is the vault's
//! ([`chancery_vault::service`]); here it passes the fence like everything else.

use super::{Destination, Egress, EgressError, OutboundRequest, UrlSource};
use bytes::Bytes;
use chancery_core::secret::Secret;
use chancery_core::time::Timestamp;
use chancery_vault::{ServiceAnswer, ServiceRequest};
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

impl Egress {
    /// The time, for a request that is signed with it.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Sends a request to a key service and gives its answer, whatever its status.
    ///
    /// # Errors
    /// As [`Egress::send`].
    pub async fn ask_key_service(&self, request: &ServiceRequest) -> Result<ServiceAnswer, EgressError> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(request.content_type),
        );
        for (name, value) in &request.headers {
            let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| EgressError::Header)?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
        }
        let destination = Destination {
            tenant: None,
            source: UrlSource::Configured,
            url: &request.url,
        };
        let outbound = OutboundRequest {
            method: Method::POST,
            headers,
            body: Bytes::copy_from_slice(request.body.expose_secret()),
            max_response_bytes: MAX_ANSWER,
        };
        let answer = self.send(destination, outbound).await?;
        Ok(ServiceAnswer {
            status: answer.status.as_u16(),
            body: Secret::new(answer.body.to_vec()),
        })
    }
}

const MAX_ANSWER: usize = 64 * 1_024;
