//! One file of Rust, read just far enough for the rules: comments and literals blanked, test code set apart,
//! paths and declarations found. Not a parser: what does not look like one of these is skipped.

/// A source file.
#[derive(Debug)]
pub struct Source {
    /// Its path from the workspace's folder, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
    /// The text with comments and literals blanked, so that what is left is code. Lines stay where they are.
    code: String,
    /// The same without what is compiled for tests only.
    product: String,
}

/// A path in code, `use` trees spelled out: `std::fs::read`, `Permit`, `super::keys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The line, from 1.
    pub line: usize,
    /// Its segments, joined by `::`; from `crate` where it was written from `self` or `super`.
    pub path: String,
    /// Whether it stands in a `use` declaration.
    pub is_import: bool,
}

impl Source {
    /// Reads a file's text.
    pub fn new(path: &str, text: &str) -> Self {
        let code = blanked(text);
        let product = if is_test_file(path) {
            String::new()
        } else {
            without_tests(&code)
        };
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            product,
        }
    }

    /// The code without comments, literals, and what is compiled for tests only.
    pub fn product(&self) -> &str {
        &self.product
    }

    /// The code without comments and literals.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Whether it is compiled for tests only.
    pub fn is_test(&self) -> bool {
        is_test_file(&self.path)
    }

    /// Lines before the tests.
    pub fn product_lines(&self) -> usize {
        self.text
            .lines()
            .take_while(|line| !line.starts_with("#[cfg(test)]"))
            .count()
    }

    /// Every path outside tests.
    pub fn mentions(&self) -> Vec<Mention> {
        let module = module_of(&self.path);
        let mut found = mentions(&tokens(&self.product));
        for mention in &mut found {
            mention.path = from_crate(&mention.path, &module);
        }
        found
    }

    /// Names that the file declares, outside and inside tests, each with its line.
    pub fn declarations(&self) -> Vec<(usize, String)> {
        let tokens = tokens(&self.code);
        let pairs = tokens.iter().zip(tokens.iter().skip(1));
        pairs
            .filter(|(keyword, name)| DECLARES.contains(&keyword.text) && name.is_word())
            .map(|(_, name)| (name.line, name.text.to_owned()))
            .collect()
    }

    /// Names of tests: functions under a test attribute, and those listed in a macro that makes tests of them.
    pub fn tests(&self) -> Vec<String> {
        let tokens = tokens(&self.code);
        let mut found = Vec::new();
        let mut is_marked = false;
        let mut rest = tokens.as_slice();
        while let Some((token, after)) = rest.split_first() {
            rest = after;
            match token.text {
                "#" => is_marked |= is_test_attribute(after),
                "fn" if is_marked => {
                    found.extend(after.first().map(|name| name.text.to_owned()));
                    is_marked = false;
                }
                "}" => is_marked = false,
                word if TEST_MACROS.contains(&word) && after.first().is_some_and(|next| next.text == "!") => {
                    let listed = after
                        .iter()
                        .skip(1)
                        .take_while(|next| next.text != ")" && next.text != "{");
                    found.extend(
                        listed
                            .filter(|next| next.is_word())
                            .map(|next| next.text.to_owned()),
                    );
                }
                _ => {}
            }
        }
        found
    }
}

/// One word or sign of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// The line, from 1.
    pub line: usize,
    /// Its text; `::` is one sign.
    pub text: &'a str,
}

impl Token<'_> {
    fn is_word(&self) -> bool {
        self.text.starts_with(is_word_start)
    }
}

/// The words and signs of blanked code.
pub fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    for (line, text) in code.lines().enumerate() {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if is_word_start(first) || first.is_ascii_digit() {
                rest.find(|next| !is_word(next)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (token, after) = rest.split_at(length);
            found.push(Token {
                line: line + 1,
                text: token,
            });
            rest = after.trim_start();
        }
    }
    found
}

/// The module that a file is: `crates/server/src/issue/token.rs` is `issue::token`.
fn module_of(path: &str) -> Vec<&str> {
    let inner = path.split_once("/src/").map_or(path, |(_, inner)| inner);
    let mut module: Vec<&str> = inner.trim_end_matches(".rs").split('/').collect();
    if matches!(module.last(), Some(&("mod" | "lib" | "main"))) {
        module.pop();
    }
    module
}

/// A path that starts at `self` or `super`, from `crate`.
fn from_crate(path: &str, module: &[&str]) -> String {
    if !path.starts_with("self::") && !path.starts_with("super::") {
        return path.to_owned();
    }
    let mut base = module.to_vec();
    let mut rest = path;
    while let Some(above) = rest.strip_prefix("super::") {
        base.pop();
        rest = above;
    }
    let mut segments = vec!["crate"];
    segments.append(&mut base);
    segments.push(rest.trim_start_matches("self::"));
    segments.join("::")
}

fn mentions(tokens: &[Token<'_>]) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut rest = tokens;
    while let Some((token, after)) = rest.split_first() {
        // `use<…>` in a type lists what it captures and imports nothing.
        if token.text == "use" && after.first().is_some_and(|next| next.text != "<") {
            rest = use_tree(after, &[], &mut found);
        } else if token.is_word() {
            let (mention, after) = plain_path(rest, token.line);
            found.push(mention);
            rest = after;
        } else {
            rest = after;
        }
    }
    found
}

/// The path that starts here, as far as it is plain: words with `::` between.
fn plain_path<'a, 'b>(tokens: &'b [Token<'a>], line: usize) -> (Mention, &'b [Token<'a>]) {
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = tokens;
    while let Some((word, after)) = rest.split_first().filter(|(word, _)| word.is_word()) {
        segments.push(word.text);
        rest = after;
        match (after.first(), after.get(1)) {
            (Some(sign), Some(next)) if sign.text == "::" && next.is_word() => {
                rest = after.get(1..).unwrap_or_default();
            }
            _ => break,
        }
    }
    (
        Mention {
            line,
            path: segments.join("::"),
            is_import: false,
        },
        rest,
    )
}

/// Reads one tree of a `use` declaration and what follows it in the same braces; returns what is left.
fn use_tree<'a, 'b>(
    tokens: &'b [Token<'a>],
    prefix: &[&'a str],
    found: &mut Vec<Mention>,
) -> &'b [Token<'a>] {
    let mut segments = prefix.to_vec();
    let mut rest = tokens;
    let mut line = 0;
    let mut is_renamed = false;
    while let Some((token, after)) = rest.split_first() {
        rest = after;
        match token.text {
            "{" => {
                rest = use_tree(after, &segments, found);
                // What the braces held is found already.
                segments.clear();
            }
            "," | "}" | ";" => {
                if line != 0 && !segments.is_empty() {
                    found.push(Mention {
                        line,
                        path: segments.join("::"),
                        is_import: true,
                    });
                }
                if token.text != "," {
                    return rest;
                }
                segments = prefix.to_vec();
                line = 0;
                is_renamed = false;
            }
            "as" => is_renamed = true,
            // In braces `self` is what stands before them; in front it starts a path.
            "self" if !segments.is_empty() => line = line.max(token.line),
            "::" => line = line.max(token.line),
            _ if is_renamed => {}
            word => {
                line = token.line;
                segments.push(word);
            }
        }
    }
    rest
}

fn is_test_attribute(after_hash: &[Token<'_>]) -> bool {
    let path: Vec<&str> = after_hash
        .iter()
        .skip(1)
        .map(|token| token.text)
        .take_while(|text| *text != "]" && *text != "(")
        .collect();
    after_hash.first().is_some_and(|token| token.text == "[") && path.last() == Some(&"test")
}

/// Whether a whole file is compiled for tests only, by where it lies.
fn is_test_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name == "tests.rs"
        || name.ends_with("_tests.rs")
        || ["/tests/", "/benches/", "/examples/"]
            .iter()
            .any(|folder| path.contains(folder))
}

/// Blanks every item under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut left = String::with_capacity(code.len());
    let mut rest = code;
    while let Some((before, after)) = rest.split_once(TEST_ONLY) {
        left.push_str(before);
        let (item, following) = after.split_at(item_length(after));
        left.extend(TEST_ONLY.chars().map(|_| ' '));
        left.extend(
            item.chars()
                .map(|character| if character == '\n' { '\n' } else { ' ' }),
        );
        rest = following;
    }
    left + rest
}

/// How long an item is: to its `;` or its closing brace, whichever comes first outside brackets.
fn item_length(code: &str) -> usize {
    let mut depth = 0_u32;
    for (index, character) in code.char_indices() {
        match character {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && character == '}' {
                    return index + 1;
                }
            }
            ';' if depth == 0 => return index + 1,
            _ => {}
        }
    }
    code.len()
}

/// The text with comments, strings and characters blanked. Lines stay lines.
fn blanked(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let mut is_in_word = false;
    while let Some(character) = rest.chars().next() {
        let length = literal_length(rest, is_in_word);
        if length == 0 {
            code.push(character);
            is_in_word = is_word(character);
            rest = rest.get(character.len_utf8()..).unwrap_or_default();
        } else {
            let (literal, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
            code.extend(
                literal
                    .chars()
                    .map(|hidden| if hidden == '\n' { '\n' } else { ' ' }),
            );
            is_in_word = false;
            rest = after;
        }
    }
    code
}

/// The length of the comment or literal that starts here; 0 if none does.
fn literal_length(rest: &str, is_in_word: bool) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_length(rest);
    }
    if rest.starts_with('"') {
        return 1 + string_length(rest.get(1..).unwrap_or_default());
    }
    if rest.starts_with('\'') {
        return character_length(rest);
    }
    if is_in_word { 0 } else { raw_string_length(rest) }
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_u32;
    let mut skipped = 0;
    while let Some(left) = rest.get(skipped..).filter(|left| !left.is_empty()) {
        if left.starts_with("/*") {
            depth += 1;
            skipped += 2;
        } else if left.starts_with("*/") {
            depth -= 1;
            skipped += 2;
            if depth == 0 {
                return skipped;
            }
        } else {
            skipped += left.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// From after the opening quote to after the closing one.
fn string_length(rest: &str) -> usize {
    let mut is_escaped = false;
    for (index, character) in rest.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal; 0 for a lifetime.
fn character_length(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => {
            // What is escaped may itself be a quote.
            let closing = characters.skip(1).find(|(_, character)| *character == '\'');
            closing.map_or(0, |(index, _)| index + 1)
        }
        Some(_) => characters
            .next()
            .filter(|(_, next)| *next == '\'')
            .map_or(0, |(index, _)| index + 1),
        None => 0,
    }
}

fn raw_string_length(rest: &str) -> usize {
    let Some(after) = ["r", "br", "cr"]
        .iter()
        .find_map(|prefix| rest.strip_prefix(prefix))
    else {
        return 0;
    };
    let hashes = after.len() - after.trim_start_matches('#').len();
    let Some(body) = after.trim_start_matches('#').strip_prefix('"') else {
        return 0;
    };
    let closing = format!("\"{}", "#".repeat(hashes));
    let content = body.find(&closing).map_or(body.len(), |end| end + closing.len());
    rest.len() - body.len() + content
}

fn is_word_start(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_'
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

const TEST_ONLY: &str = "#[cfg(test)]";
const DECLARES: [&str; 9] = [
    "fn", "struct", "enum", "trait", "mod", "type", "const", "static", "union",
];
/// Macros of the tree that make one test of each name they are given.
const TEST_MACROS: [&str; 3] = ["conformance", "on_both_engines", "on_postgres"];

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let source = Source::new("crates/x/src/lib.rs", text);
        source
            .mentions()
            .into_iter()
            .map(|mention| mention.path)
            .collect()
    }

    #[test]
    fn use_trees_are_spelled_out() {
        let found = paths("pub(crate) use std::{fs, io::{self, Read as R}, net::*};\nuse a::b;");
        for path in ["std::fs", "std::io", "std::io::Read", "std::net::*", "a::b"] {
            assert!(found.contains(&path.to_owned()), "{path} in {found:?}");
        }
        assert!(
            !found.contains(&"std".to_owned()) && !found.contains(&"R".to_owned()),
            "{found:?}"
        );
    }

    #[test]
    fn paths_in_code_are_found_and_those_in_comments_and_literals_are_not() {
        let found = paths(
            "// std::fs\n/* std::net /* nested */ std::env */\nfn f<'a>(x: &'a str) -> char {\n\
             let s = \"std::process \\\" std::thread\"; let r = r#\"std::time \" std::os\"#;\n\
             let b = br\"std::a\"; let q = '\\''; let d = '\"'; std::mem::drop::<u8>(1); 'x' }",
        );
        assert!(found.contains(&"std::mem::drop".to_owned()), "{found:?}");
        assert_eq!(
            found.iter().filter(|path| path.starts_with("std")).count(),
            1,
            "{found:?}"
        );
    }

    #[test]
    fn paths_from_self_and_super_are_told_from_the_crate() {
        let source = Source::new(
            "crates/x/src/issue/token.rs",
            "use super::super::http::A; use super::own; use self::b::C; fn f() { super::target::find(); }",
        );
        let found: Vec<String> = source
            .mentions()
            .into_iter()
            .map(|mention| mention.path)
            .collect();
        for path in [
            "crate::http::A",
            "crate::issue::own",
            "crate::issue::token::b::C",
            "crate::issue::target::find",
        ] {
            assert!(found.contains(&path.to_owned()), "{path} in {found:?}");
        }
    }

    #[test]
    fn what_is_for_tests_only_is_set_apart() {
        let text =
            "#[cfg(test)]\nmod first;\nuse a::b;\n#[cfg(test)]\nmod tests {\n use c::d; }\nuse e::f;\n";
        let found = paths(text);
        assert!(
            found.contains(&"a::b".to_owned()) && found.contains(&"e::f".to_owned()),
            "{found:?}"
        );
        assert!(!found.contains(&"c::d".to_owned()), "{found:?}");
        assert!(
            Source::new("crates/x/src/y/tests.rs", "use c::d;")
                .mentions()
                .is_empty()
        );
    }

    #[test]
    fn lines_are_counted_up_to_the_tests() {
        let source = Source::new("crates/x/src/a.rs", "one\ntwo\n#[cfg(test)]\nmod tests {}\n");
        assert_eq!(source.product_lines(), 2);
        assert_eq!(source.mentions().first().map(|mention| mention.line), Some(1));
    }

    #[test]
    fn tests_are_found_by_attribute_and_in_the_macros_that_make_them() {
        let source = Source::new(
            "crates/x/tests/it/main.rs",
            "#[test]\n#[should_panic(expected = \"x\")]\nfn one() {}\nfn helping() {}\n\
             #[tokio::test(flavor = \"multi_thread\")]\nasync fn two() {}\n\
             conformance!(three, four,);\nproptest! { #[test]\n fn five(x in 0..3) {} }",
        );
        assert_eq!(source.tests(), ["one", "two", "three", "four", "five"]);
    }

    #[test]
    fn declarations_have_names_and_lines() {
        let source = Source::new("crates/x/src/a.rs", "struct A;\nimpl A {\n  const fn b() {}\n}\n");
        let names: Vec<String> = source.declarations().into_iter().map(|(_, name)| name).collect();
        assert!(names.contains(&"A".to_owned()) && names.contains(&"b".to_owned()));
    }
}
