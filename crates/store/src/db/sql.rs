//! SQL text for two engines: placeholders, and the few keywords of a schema that differ.
//!
//! Placeholders are written `?1`, `?2` and rewritten to `$1`, `$2` for PostgreSQL. `$n` in the source would
//! be wrong on SQLite, which numbers such names by first appearance.

use std::borrow::Cow;

/// One query as each engine should see it. Most queries are one text for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sql {
    /// For SQLite.
    pub sqlite: &'static str,
    /// For PostgreSQL; placeholders are still written `?1`.
    pub postgres: &'static str,
}

impl Sql {
    /// One text for both engines.
    pub const fn same(text: &'static str) -> Self {
        Self {
            sqlite: text,
            postgres: text,
        }
    }

    /// A native text for each engine, for row locks, advisory locks and the like.
    pub const fn pair(sqlite: &'static str, postgres: &'static str) -> Self {
        Self { sqlite, postgres }
    }
}

/// Rewrites `?n` to `$n` outside literals, quoted identifiers and comments. A `?` without a number is
/// left alone: it is an operator of PostgreSQL.
pub(crate) fn number_placeholders(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Code(code) => out.push_str(&code_placeholders(code)),
            Piece::Verbatim(verbatim) => out.push_str(verbatim),
        }
    }
    out
}

/// Rewrites the SQLite words of a schema to those of PostgreSQL, outside literals, quoted identifiers
/// and comments, so that one migration text usually serves both:
///
/// | SQLite | PostgreSQL |
/// |---|---|
/// | `INTEGER PRIMARY KEY AUTOINCREMENT` | `BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY` |
/// | `INTEGER` | `BIGINT` |
/// | `BLOB` | `BYTEA` |
/// | `) STRICT`, `) WITHOUT ROWID`, or both | `)` |
pub(crate) fn postgres_schema(text: &str) -> String {
    let mut words: Vec<Word<'_>> = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Verbatim(verbatim) => words.push(Word::Gap(verbatim)),
            Piece::Code(code) => words.extend(split_words(code)),
        }
    }
    rewrite_words(&words)
}

enum Piece<'a> {
    Code(&'a str),
    Verbatim(&'a str),
}

/// Splits a text into code and what must not be touched: `'…'`, `"…"`, `-- …`, `/* … */`, `$tag$…$tag$`.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((start, length)) = next_verbatim(rest) {
        let (code, tail) = split(rest, start);
        let (verbatim, after) = split(tail, length);
        found.push(Piece::Code(code));
        found.push(Piece::Verbatim(verbatim));
        rest = after;
    }
    found.push(Piece::Code(rest));
    found
}

/// Where the next untouchable part begins, and how long it is.
fn next_verbatim(text: &str) -> Option<(usize, usize)> {
    for (at, character) in text.char_indices() {
        let (_, tail) = split(text, at);
        let length = match character {
            '\'' => Some(quoted(tail, '\'')),
            '"' => Some(quoted(tail, '"')),
            '-' if tail.starts_with("--") => Some(tail.find('\n').unwrap_or(tail.len())),
            '/' if tail.starts_with("/*") => Some(tail.find("*/").map_or(tail.len(), |end| end + 2)),
            '$' => dollar_quoted(tail),
            _ => None,
        };
        if let Some(length) = length {
            return Some((at, length));
        }
    }
    None
}

/// The length of a quoted part; a doubled quote inside does not end it.
fn quoted(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character != quote {
            continue;
        }
        if characters.next_if(|(_, next)| *next == quote).is_none() {
            return at + quote.len_utf8();
        }
    }
    text.len()
}

/// The length of `$tag$ … $tag$`, if the text begins with one.
fn dollar_quoted(text: &str) -> Option<usize> {
    let tag_end = text
        .char_indices()
        .skip(1)
        .find(|(_, character)| !(character.is_ascii_alphanumeric() || *character == '_'))
        .filter(|(_, character)| *character == '$')?
        .0;
    let (tag, body) = split(text, tag_end + 1);
    if tag.chars().nth(1).is_some_and(|first| first.is_ascii_digit()) {
        return None;
    }
    Some(body.find(tag).map_or(text.len(), |end| tag.len() * 2 + end))
}

fn code_placeholders(code: &str) -> Cow<'_, str> {
    if !code.contains('?') {
        return Cow::Borrowed(code);
    }
    let mut out = String::with_capacity(code.len());
    let mut characters = code.chars().peekable();
    while let Some(character) = characters.next() {
        let numbered = character == '?' && characters.peek().is_some_and(char::is_ascii_digit);
        out.push(if numbered { '$' } else { character });
    }
    Cow::Owned(out)
}

#[derive(Clone, Copy)]
enum Word<'a> {
    Name(&'a str),
    Gap(&'a str),
}

impl Word<'_> {
    fn is(self, name: &str) -> bool {
        matches!(self, Self::Name(word) if word.eq_ignore_ascii_case(name))
    }
}

/// Splits code into names and what stands between them.
fn split_words(code: &str) -> Vec<Word<'_>> {
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut words = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let inside = is_name(first);
        let end = rest
            .find(|character| is_name(character) != inside)
            .unwrap_or(rest.len());
        let (word, after) = split(rest, end);
        words.push(if inside { Word::Name(word) } else { Word::Gap(word) });
        rest = after;
    }
    words
}

fn rewrite_words(words: &[Word<'_>]) -> String {
    let mut out = String::new();
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        rest = after;
        if is_sequence(
            words_ahead(word, after),
            &["INTEGER", "PRIMARY", "KEY", "AUTOINCREMENT"],
        ) {
            out.push_str("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY");
            rest = after.get(6..).unwrap_or_default();
        } else if is_sequence(words_ahead(word, after), &["WITHOUT", "ROWID"]) {
            rest = after.get(2..).unwrap_or_default();
            rest = drop_comma(&mut out, rest);
        } else if word.is("STRICT") && closes_table(&out) {
            rest = drop_comma(&mut out, rest);
        } else {
            out.push_str(match word {
                Word::Name(name) if name.eq_ignore_ascii_case("INTEGER") => "BIGINT",
                Word::Name(name) if name.eq_ignore_ascii_case("BLOB") => "BYTEA",
                Word::Name(text) | Word::Gap(text) => text,
            });
        }
    }
    out
}

fn words_ahead<'a>(word: &Word<'a>, after: &'a [Word<'a>]) -> impl Iterator<Item = Word<'a>> {
    std::iter::once(*word).chain(after.iter().copied())
}

/// Whether the names come next, with only white space between them.
fn is_sequence<'a>(mut words: impl Iterator<Item = Word<'a>>, names: &[&str]) -> bool {
    for (position, name) in names.iter().enumerate() {
        let gap_is_blank = position == 0
            || words
                .next()
                .is_some_and(|gap| matches!(gap, Word::Gap(text) if text.trim().is_empty()));
        if !gap_is_blank || !words.next().is_some_and(|word| word.is(name)) {
            return false;
        }
    }
    true
}

/// Whether what was written so far ends with the bracket that closes a table, so that the next word is
/// an option of the table.
fn closes_table(out: &str) -> bool {
    out.trim_end().ends_with(')')
}

/// After one table option was dropped: drops the comma that leads to the next.
fn drop_comma<'a>(out: &mut String, rest: &'a [Word<'a>]) -> &'a [Word<'a>] {
    match rest.split_first() {
        Some((Word::Gap(gap), after)) if gap.trim() == "," => {
            out.push(' ');
            after
        }
        Some(_) | None => rest,
    }
}

/// Splits at a byte offset that is known to be a boundary; past the end, everything is before it.
fn split(text: &str, at: usize) -> (&str, &str) {
    text.split_at_checked(at).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_become_dollars_only_in_code() {
        let cases = [
            (
                "SELECT a FROM t WHERE b = ?1 AND c = ?12",
                "SELECT a FROM t WHERE b = $1 AND c = $12",
            ),
            ("SELECT '?1', ?1", "SELECT '?1', $1"),
            ("SELECT 'it''s ?1', ?2", "SELECT 'it''s ?1', $2"),
            (r#"SELECT "a?1" FROM t -- ?1 "#, r#"SELECT "a?1" FROM t -- ?1 "#),
            ("SELECT ?1 -- ?2\n, ?3", "SELECT $1 -- ?2\n, $3"),
            ("SELECT /* ?1 */ ?2", "SELECT /* ?1 */ $2"),
            ("SELECT $q$ ?1 $q$, ?2", "SELECT $q$ ?1 $q$, $2"),
            ("SELECT a ? 'x', a ?| b", "SELECT a ? 'x', a ?| b"),
            ("SELECT 'ü?1', ?1", "SELECT 'ü?1', $1"),
            ("SELECT 'open ?1", "SELECT 'open ?1"),
            ("", ""),
        ];
        for (source, expected) in cases {
            assert_eq!(number_placeholders(source), expected);
        }
    }

    #[test]
    fn schema_words_are_rewritten_for_postgres() {
        assert_eq!(
            postgres_schema(
                "CREATE TABLE t (seq INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL, at integer,\n\
                 kind TEXT DEFAULT 'BLOB' /* BLOB */) STRICT, WITHOUT ROWID;"
            ),
            "CREATE TABLE t (seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id BYTEA NOT NULL, at \
             BIGINT,\nkind TEXT DEFAULT 'BLOB' /* BLOB */)  ;"
        );
        assert_eq!(
            postgres_schema("CREATE TABLE t (blob_id INTEGER) STRICT"),
            "CREATE TABLE t (blob_id BIGINT) "
        );
    }
}
