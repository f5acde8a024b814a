//! A browser of the tests' own: it keeps cookies as a browser does, follows redirects within the server, and submits
//! forms of the pages it was shown with what they carry.

use crate::harness::*;
use axum::body::Body;
use http::Request;
use std::collections::BTreeMap;

/// A browser at one node.
#[derive(Clone, Debug)]
pub(crate) struct Browser {
    node: Chancery,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn at(node: &Chancery) -> Self {
        Self {
            node: node.clone(),
            cookies: BTreeMap::new(),
        }
    }

    /// The same browser, at another node.
    pub(crate) fn through(&self, node: &Chancery) -> Self {
        Self {
            node: node.clone(),
            cookies: self.cookies.clone(),
        }
    }

    /// One GET, nothing followed.
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        let request = self.request("GET", path).body(Body::empty()).unwrap();
        self.send(request).await
    }

    /// GET, and on along redirects that stay on the server.
    pub(crate) async fn visit(&mut self, path: &str) -> Answer {
        let mut answer = self.get(path).await;
        for _ in 0..10 {
            let Some(next) = answer.header("location").and_then(local) else {
                return answer;
            };
            answer = self.get(&next).await;
        }
        panic!("redirected in a circle");
    }

    /// Submits a form as the page's own browser does.
    pub(crate) async fn submit(&mut self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        let own = [("sec-fetch-site", "same-origin"), ("origin", "null")];
        self.submit_from(path, pairs, &own).await
    }

    /// Submits a form with headers of the test's own.
    pub(crate) async fn submit_from(
        &mut self,
        path: &str,
        pairs: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        let mut request = self
            .request("POST", path)
            .header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "id.example");
        if !self.cookies.is_empty() {
            let pairs: Vec<String> = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request = request.header("cookie", pairs.join("; "));
        }
        request
    }

    async fn send(&mut self, request: Request<Body>) -> Answer {
        let answer = self.node.send(request).await;
        for set in answer.headers.get_all("set-cookie") {
            let (name, rest) = set.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }
}

/// The path of an address on the server itself.
fn local(location: &str) -> Option<String> {
    if location.starts_with('/') {
        return Some(location.to_owned());
    }
    location.strip_prefix(BASE).map(str::to_owned)
}

/// The value of a hidden field on a page.
pub(crate) fn hidden(page: &str, name: &str) -> String {
    let from = page
        .split(&format!("name=\"{name}\" value=\""))
        .nth(1)
        .unwrap_or_else(|| panic!("no `{name}` in {page}"));
    from.split('"').next().unwrap().to_owned()
}

/// The token of the page's forms.
pub(crate) fn csrf(answer: &Answer) -> String {
    hidden(&answer.text(), "csrf")
}

/// A parameter of an address.
pub(crate) fn parameter(location: &str, name: &str) -> Option<String> {
    let url = url::Url::parse(location).unwrap();
    let mut found = url.query_pairs().filter(|(named, _)| named == name);
    found.next().map(|(_, value)| value.into_owned())
}
