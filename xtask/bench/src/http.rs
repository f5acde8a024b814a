//! As much HTTP/1.1 as a load generator needs: prepared requests over a connection kept alive, and answers with
//! a `Content-Length` or in chunks, which are left as they are. Nothing is allocated per request beyond the answer's bytes.

use anyhow::{Context as _, Result, bail};
use std::fmt::Write as _;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection kept alive.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    head: String,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name).map(str::to_owned)
    }
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(8_192),
        })
    }

    /// Sends a prepared request and reads its answer.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            self.more().await?;
            if let Some(head) = find(&self.buffer, b"\r\n\r\n") {
                return self.rest(head + 4).await;
            }
        }
    }

    async fn rest(&mut self, start: usize) -> Result<Answer> {
        let head = String::from_utf8_lossy(self.buffer.get(..start).unwrap_or_default()).into_owned();
        let status = head
            .get(9..12)
            .and_then(|code| code.parse().ok())
            .context("no status")?;
        if header(&head, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            while !self.buffer.ends_with(b"\r\n0\r\n\r\n") {
                self.more().await?;
            }
            let body = self.buffer.get(start..).unwrap_or_default().to_vec();
            return Ok(Answer { status, head, body });
        }
        let length = header(&head, "content-length").and_then(|length| length.parse::<usize>().ok());
        // 202 and 204 have no body, and need not say so.
        let length = length.or((status == 202 || status == 204).then_some(0));
        let end = start + length.context("an answer of unknown length")?;
        while self.buffer.len() < end {
            self.more().await?;
        }
        let body = self.buffer.get(start..end).unwrap_or_default().to_vec();
        Ok(Answer { status, head, body })
    }

    async fn more(&mut self) -> Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }
}

fn header<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
    found.map(|(_, value)| value.trim())
}

/// A prepared POST of a form.
pub(crate) fn form(address: SocketAddr, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    let body = pairs.join("&");
    format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A prepared GET.
pub(crate) fn read(address: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes()
}

/// A prepared request with the cookie of a browser.
pub(crate) fn with_cookie(mut request: Vec<u8>, cookie: &str) -> Vec<u8> {
    if let Some(line) = find(&request, b"\r\n") {
        let header = format!("\r\nCookie: {cookie}");
        request.splice(line..line, header.into_bytes());
    }
    request
}

/// A value as it stands in a form or a query.
pub(crate) fn encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::{encoded, find, read, with_cookie};

    #[test]
    fn forms_are_encoded_and_heads_found() {
        assert_eq!(encoded("http://a/b c"), "http%3A%2F%2Fa%2Fb%20c");
        assert_eq!(find(b"HTTP/1.1 200 OK\r\n\r\nx", b"\r\n\r\n"), Some(15));
        let request = with_cookie(read(([127, 0, 0, 1], 80).into(), "/"), "a=b");
        assert_eq!(
            String::from_utf8(request).unwrap(),
            "GET / HTTP/1.1\r\nCookie: a=b\r\nHost: 127.0.0.1:80\r\n\r\n"
        );
    }
}
