//! A person's browser, as far as signing in and answering forms needs one: cookies of a host, redirects, plain forms.
//!
//! It reads pages as tags and takes a form's fields from them as a browser without scripts does. It runs no script,
//! loads no picture, knows no style, and forgets everything when it is dropped.

use super::client::loopback_http;
use anyhow::{Context as _, bail, ensure};
use http::StatusCode;
use http::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{RequestBuilder, Response};
use std::collections::BTreeMap;
use url::Url;

/// One browser of one person.
pub(crate) struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<(String, String), String>,
    page: Page,
}

/// What the window shows.
struct Page {
    address: Url,
    status: StatusCode,
    html: String,
}

/// A form of a page, filled in as the page has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    action: Url,
    is_post: bool,
    fields: Vec<Field>,
    buttons: Vec<Button>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: String,
    value: String,
    /// A box that is ticked or not; any other field is always sent.
    is_ticked: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Button {
    text: String,
    name: Option<String>,
    value: String,
}

impl Browser {
    /// A new one, at an empty page.
    ///
    /// # Errors
    /// As [`loopback_http`].
    pub(crate) fn open() -> anyhow::Result<Self> {
        Ok(Self {
            http: loopback_http()?,
            cookies: BTreeMap::new(),
            page: Page {
                address: Url::parse("about:blank")?,
                status: StatusCode::OK,
                html: String::new(),
            },
        })
    }

    /// Goes to an address, and on along redirects.
    ///
    /// # Errors
    /// Nothing answers there.
    pub(crate) async fn visit(&mut self, address: &str) -> anyhow::Result<()> {
        let address = Url::parse(address)?;
        let answer = self.ask(self.http.get(address.clone()), &address).await?;
        self.follow(address, answer).await
    }

    /// Where it is.
    pub(crate) fn address(&self) -> &Url {
        &self.page.address
    }

    /// The status that the page came with.
    pub(crate) fn status(&self) -> StatusCode {
        self.page.status
    }

    /// The words of the page, without its tags.
    pub(crate) fn words(&self) -> String {
        let mut words = Vec::new();
        for piece in pieces(&self.page.html) {
            if let Piece::Text(text) = piece {
                words.extend(plain(text).split_whitespace().map(str::to_owned));
            }
        }
        words.join(" ")
    }

    /// The form that has a button with this text.
    ///
    /// # Errors
    /// The page has none.
    pub(crate) fn form(&self, button: &str) -> anyhow::Result<Form> {
        let forms = forms(&self.page.html, &self.page.address)?;
        let has = |form: &Form| form.buttons.iter().any(|has| has.text == button);
        let found = forms.into_iter().find(has);
        found.with_context(|| format!("{} has no button `{button}`: {}", self.page.address, self.words()))
    }

    /// Presses a button of a form, and goes where that leads.
    ///
    /// # Errors
    /// Nothing answers there.
    pub(crate) async fn press(&mut self, form: &Form, button: &str) -> anyhow::Result<()> {
        let pressed = form.buttons.iter().find(|has| has.text == button);
        let pressed = pressed.context("the form has another button")?;
        let sent = form.fields.iter().filter(|field| field.is_ticked != Some(false));
        let mut pairs: Vec<(&str, &str)> = sent
            .map(|field| (field.name.as_str(), field.value.as_str()))
            .collect();
        pairs.extend(pressed.name.as_deref().map(|name| (name, pressed.value.as_str())));
        let mut address = form.action.clone();
        if !form.is_post {
            address.query_pairs_mut().clear().extend_pairs(pairs);
            return self.visit(address.as_str()).await;
        }
        let is_own = address.origin() == self.page.address.origin();
        let site = if is_own { "same-origin" } else { "cross-site" };
        let request = self.http.post(address.clone()).form(&pairs);
        let request = request.header("sec-fetch-site", site).header(ORIGIN, "null");
        let answer = self.ask(request, &address).await?;
        self.follow(address, answer).await
    }

    async fn follow(&mut self, mut address: Url, mut answer: Response) -> anyhow::Result<()> {
        for _ in 0..MAX_REDIRECTS {
            let next = answer
                .headers()
                .get(LOCATION)
                .filter(|_| is_redirect(answer.status()));
            let Some(next) = next else {
                self.page = Page {
                    address,
                    status: answer.status(),
                    html: answer.text().await?,
                };
                return Ok(());
            };
            address = address.join(next.to_str()?)?;
            answer = self.ask(self.http.get(address.clone()), &address).await?;
        }
        bail!("redirected in a circle")
    }

    async fn ask(&mut self, request: RequestBuilder, address: &Url) -> anyhow::Result<Response> {
        // As in any browser, cookies belong to a host and not to a port.
        let host = address.host_str().unwrap_or_default().to_owned();
        let own = self.cookies.iter().filter(|((of, _), _)| *of == host);
        let own: Vec<String> = own.map(|((_, name), value)| format!("{name}={value}")).collect();
        let request = if own.is_empty() {
            request
        } else {
            request.header(COOKIE, own.join("; "))
        };
        let answer = request.send().await?;
        for set in answer.headers().get_all(SET_COOKIE) {
            let (pair, attributes) = set.to_str()?.split_once(';').context("a cookie for ever")?;
            let (name, value) = pair.split_once('=').context("a cookie without a value")?;
            let key = (host.clone(), name.to_owned());
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, value.to_owned());
            }
        }
        Ok(answer)
    }
}

impl Form {
    /// Takes the tick away from a box.
    ///
    /// # Errors
    /// There is no such box.
    pub(crate) fn untick(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        self.find(name, value)?.is_ticked = Some(false);
        Ok(())
    }

    /// Chooses one of several.
    ///
    /// # Errors
    /// It is not among them.
    pub(crate) fn choose(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        for field in self.fields.iter_mut().filter(|field| field.name == name) {
            field.is_ticked = Some(false);
        }
        self.find(name, value)?.is_ticked = Some(true);
        Ok(())
    }

    /// Every value that fields of this name have.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|field| field.name == name);
        named.map(|field| field.value.as_str()).collect()
    }

    fn find(&mut self, name: &str, value: &str) -> anyhow::Result<&mut Field> {
        let mut fields = self.fields.iter_mut();
        let found = fields.find(|field| field.name == name && field.value == value);
        found.with_context(|| format!("the form has no {name} `{value}`"))
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status, StatusCode::FOUND | StatusCode::SEE_OTHER)
}

/// The forms of a page.
fn forms(html: &str, address: &Url) -> anyhow::Result<Vec<Form>> {
    let mut forms: Vec<Form> = Vec::new();
    let mut is_open = false;
    let mut in_button = false;
    for piece in pieces(html) {
        let tag = match piece {
            Piece::Text(text) => {
                let button = forms.last_mut().and_then(|form| form.buttons.last_mut());
                if let Some(button) = button.filter(|_| in_button) {
                    let both = format!("{} {}", button.text, plain(text).trim());
                    both.trim().clone_into(&mut button.text);
                }
                continue;
            }
            Piece::Tag(tag) => tag,
        };
        let (name, attributes) = read_tag(tag);
        match (name.as_str(), forms.last_mut().filter(|_| is_open)) {
            ("form", _) => {
                is_open = true;
                forms.push(Form {
                    action: address.join(attributes.get("action").map_or("", String::as_str))?,
                    is_post: attributes.get("method").is_some_and(|method| method == "post"),
                    fields: Vec::new(),
                    buttons: Vec::new(),
                });
            }
            ("/form", _) => is_open = false,
            ("/button", _) => in_button = false,
            ("input" | "textarea", Some(form)) => form.fields.extend(field(&attributes)),
            ("button", Some(form)) => {
                in_button = true;
                form.buttons.push(Button {
                    text: String::new(),
                    name: attributes.get("name").cloned(),
                    value: attributes.get("value").cloned().unwrap_or_default(),
                });
            }
            _ => {}
        }
    }
    ensure!(!is_open, "a form does not end");
    Ok(forms)
}

fn field(attributes: &BTreeMap<String, String>) -> Option<Field> {
    let kind = attributes.get("type").map_or("text", String::as_str);
    let is_box = matches!(kind, "checkbox" | "radio");
    Some(Field {
        name: attributes.get("name")?.clone(),
        value: attributes.get("value").cloned().unwrap_or_default(),
        is_ticked: is_box.then(|| attributes.contains_key("checked")),
    })
}

/// A tag without its brackets, or the text between two.
enum Piece<'a> {
    Tag(&'a str),
    Text(&'a str),
}

fn pieces(html: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    for (number, part) in html.split('<').enumerate() {
        if number == 0 {
            found.push(Piece::Text(part));
            continue;
        }
        // No value in these pages has a bracket: they are written as references.
        let (tag, text) = part.split_once('>').unwrap_or((part, ""));
        found.push(Piece::Tag(tag));
        found.push(Piece::Text(text));
    }
    found
}

fn read_tag(tag: &str) -> (String, BTreeMap<String, String>) {
    let (name, mut rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
    let mut attributes = BTreeMap::new();
    loop {
        rest = rest.trim_start();
        let end = rest.find(|letter: char| letter == '=' || letter.is_whitespace());
        let (name, after) = rest
            .split_at_checked(end.unwrap_or(rest.len()))
            .unwrap_or((rest, ""));
        if name.is_empty() {
            break;
        }
        let quoted = after
            .strip_prefix("=\"")
            .and_then(|quoted| quoted.split_once('"'));
        let (value, next) = quoted.unwrap_or(("", after));
        attributes.insert(name.to_owned(), plain(value));
        rest = next;
    }
    (name.to_owned(), attributes)
}

/// A text with its references resolved.
fn plain(text: &str) -> String {
    let mut plain = text.to_owned();
    for (reference, letter) in REFERENCES {
        plain = plain.replace(reference, letter);
    }
    plain
}

/// The references that pages use; the one of `&` itself comes last.
const REFERENCES: [(&str, &str); 8] = [
    ("&#60;", "<"),
    ("&#62;", ">"),
    ("&#34;", "\""),
    ("&#39;", "'"),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&amp;", "&"),
    ("&#38;", "&"),
];

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<h1>A &#38; B</h1><form action="/other"><button>Search</button></form>
        <form method="post" action="/here?a=1&#38;b=2"><input type="hidden" name="csrf" value="x&#34;y">
        <label><input type="checkbox" name="scope" value="read" checked> read</label>
        <input type="checkbox" name="scope" value="write">
        <button type="submit" name="answer" value="allow">Allow</button>
        <button name="answer" value="deny">Deny<span class="hidden"> it</span></button></form>"#;

    #[test]
    fn a_form_is_what_a_browser_would_send() {
        let address = Url::parse("http://127.0.0.1:1/page").unwrap();
        let all = forms(PAGE, &address).unwrap();
        let mut form = all.into_iter().nth(1).unwrap();
        assert!(form.is_post);
        assert_eq!(form.action.as_str(), "http://127.0.0.1:1/here?a=1&b=2");
        assert_eq!(form.values("csrf"), ["x\"y"]);
        let ticked = |form: &Form| {
            let boxes = form.fields.iter().filter_map(|field| field.is_ticked);
            boxes.collect::<Vec<_>>()
        };
        assert_eq!(ticked(&form), [true, false]);
        form.choose("scope", "write").unwrap();
        assert_eq!(ticked(&form), [false, true]);
        form.untick("scope", "write").unwrap();
        assert_eq!(ticked(&form), [false, false]);
        assert!(form.untick("scope", "delete").is_err());
        let texts: Vec<&str> = form.buttons.iter().map(|button| button.text.as_str()).collect();
        assert_eq!(texts, ["Allow", "Deny it"]);
    }

    #[test]
    fn a_form_that_does_not_end_is_no_form() {
        let address = Url::parse("http://127.0.0.1:1/").unwrap();
        assert!(forms("<form><input name=\"a\">", &address).is_err());
    }
}
