//! The values that cross the border to a database, and the rows that come back.
//!
//! Both engines see four kinds only: null, 64-bit integer, text and bytes. Booleans are 0 and 1, moments
//! are microseconds since the epoch, identifiers are 16 bytes, JSON is text.

use super::error::DbError;
use chancery_core::id::Id;
use chancery_core::time::Timestamp;
use std::fmt;

/// One parameter or one column.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// No value.
    Null,
    /// A 64-bit integer; also a boolean (0 or 1) and a moment (microseconds).
    Integer(i64),
    /// Text; also JSON.
    Text(String),
    /// Bytes; also an identifier (16 of them).
    Blob(Vec<u8>),
}

impl Value {
    /// The 16 bytes of an identifier.
    pub fn id(id: impl Id) -> Self {
        Self::Blob(id.as_bytes().to_vec())
    }

    /// The 16 bytes of an identifier, or null.
    pub fn optional_id(id: Option<impl Id>) -> Self {
        id.map_or(Self::Null, Self::id)
    }
}

impl fmt::Debug for Value {
    /// SECURITY: text and bytes may be personal or sealed, so only their lengths are shown. The driver
    /// prints parameters when its debug log is on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Integer(number) => write!(f, "Integer({number})"),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Blob(bytes) => write!(f, "Blob({} bytes)", bytes.len()),
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(i64::from(number))
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Integer(i64::from(truth))
    }
}

impl From<Timestamp> for Value {
    fn from(at: Timestamp) -> Self {
        Self::Integer(at.as_micros())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Blob(bytes.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Blob(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Blob(bytes)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One row of a result. Columns are counted from 0, in the order that the query names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(Vec<Value>);

impl Row {
    /// A row of these columns.
    pub fn new(columns: Vec<Value>) -> Self {
        Self(columns)
    }

    /// All columns.
    pub fn values(&self) -> &[Value] {
        &self.0
    }

    /// The integer in a column.
    ///
    /// # Errors
    /// [`DbError::Corrupt`] if the column is missing, null or of another kind. The same holds for every
    /// accessor of a row.
    pub fn integer(&self, column: usize) -> Result<i64, DbError> {
        self.optional_integer(column)?.ok_or(null(column))
    }

    /// The text in a column.
    ///
    /// # Errors
    /// See [`Row::integer`].
    pub fn text(&self, column: usize) -> Result<String, DbError> {
        self.optional_text(column)?.ok_or(null(column))
    }

    /// The bytes in a column.
    ///
    /// # Errors
    /// See [`Row::integer`].
    pub fn blob(&self, column: usize) -> Result<Vec<u8>, DbError> {
        self.optional_blob(column)?.ok_or(null(column))
    }

    /// The boolean in a column, kept as 0 or 1.
    ///
    /// # Errors
    /// See [`Row::integer`]; any other number is corrupt too.
    pub fn boolean(&self, column: usize) -> Result<bool, DbError> {
        self.optional_boolean(column)?.ok_or(null(column))
    }

    /// The moment in a column, kept as microseconds.
    ///
    /// # Errors
    /// See [`Row::integer`].
    pub fn timestamp(&self, column: usize) -> Result<Timestamp, DbError> {
        self.integer(column).map(Timestamp::from_micros)
    }

    /// The identifier in a column, kept as 16 bytes.
    ///
    /// # Errors
    /// See [`Row::integer`]; any other length is corrupt too.
    pub fn id<T: Id>(&self, column: usize) -> Result<T, DbError> {
        self.optional_id(column)?.ok_or(null(column))
    }

    /// The integer in a column, if it is not null.
    ///
    /// # Errors
    /// See [`Row::integer`].
    pub fn optional_integer(&self, column: usize) -> Result<Option<i64>, DbError> {
        match self.column(column)? {
            Value::Null => Ok(None),
            Value::Integer(number) => Ok(Some(*number)),
            Value::Text(_) | Value::Blob(_) => Err(kind(column, "an integer")),
        }
    }

    /// The text in a column, if it is not null.
    ///
    /// # Errors
    /// See [`Row::integer`].
    pub fn optional_text(&self, column: usize) -> Result<Option<String>, DbError> {
        match self.column(column)? {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text.clone())),
            Value::Integer(_) | Value::Blob(_) => Err(kind(column, "text")),
        }
    }

    /// The bytes in a column, if it is not null.
    ///
    /// # Errors
    /// See [`Row::integer`].
    pub fn optional_blob(&self, column: usize) -> Result<Option<Vec<u8>>, DbError> {
        match self.column(column)? {
            Value::Null => Ok(None),
            Value::Blob(bytes) => Ok(Some(bytes.clone())),
            Value::Integer(_) | Value::Text(_) => Err(kind(column, "bytes")),
        }
    }

    /// The boolean in a column, if it is not null.
    ///
    /// # Errors
    /// See [`Row::boolean`].
    pub fn optional_boolean(&self, column: usize) -> Result<Option<bool>, DbError> {
        match self.optional_integer(column)? {
            None => Ok(None),
            Some(0) => Ok(Some(false)),
            Some(1) => Ok(Some(true)),
            Some(_) => Err(kind(column, "0 or 1")),
        }
    }

    /// The moment in a column, if it is not null.
    ///
    /// # Errors
    /// See [`Row::integer`].
    pub fn optional_timestamp(&self, column: usize) -> Result<Option<Timestamp>, DbError> {
        Ok(self.optional_integer(column)?.map(Timestamp::from_micros))
    }

    /// The identifier in a column, if it is not null.
    ///
    /// # Errors
    /// See [`Row::id`].
    pub fn optional_id<T: Id>(&self, column: usize) -> Result<Option<T>, DbError> {
        match self.column(column)? {
            Value::Null => Ok(None),
            Value::Blob(bytes) => match <[u8; 16]>::try_from(bytes.as_slice()) {
                Ok(bytes) => Ok(Some(T::from_bytes(bytes))),
                Err(_) => Err(kind(column, "an id of 16 bytes")),
            },
            Value::Integer(_) | Value::Text(_) => Err(kind(column, "an id of 16 bytes")),
        }
    }

    fn column(&self, column: usize) -> Result<&Value, DbError> {
        self.0.get(column).ok_or_else(|| kind(column, "present"))
    }
}

fn null(column: usize) -> DbError {
    kind(column, "not null")
}

fn kind(column: usize, expected: &'static str) -> DbError {
    DbError::corrupt(format!("column {column} is not {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chancery_core::id::AgentId;

    #[test]
    fn a_wrong_kind_is_corruption_and_never_a_default() {
        let row = Row::new(vec![
            Value::from("x"),
            Value::Integer(2),
            Value::Null,
            Value::Blob(vec![1]),
        ]);
        assert!(matches!(row.integer(0), Err(DbError::Corrupt { .. })));
        assert!(matches!(row.boolean(1), Err(DbError::Corrupt { .. })));
        assert!(matches!(row.text(2), Err(DbError::Corrupt { .. })));
        assert!(matches!(row.id::<AgentId>(3), Err(DbError::Corrupt { .. })));
        assert!(matches!(row.integer(9), Err(DbError::Corrupt { .. })));
        assert!(matches!(row.optional_text(2), Ok(None)));
    }

    #[test]
    fn ids_and_moments_round_trip() {
        let id = AgentId::from_bytes([7; 16]);
        let row = Row::new(vec![Value::id(id), Timestamp::from_seconds(3).into()]);
        assert!(matches!(row.id::<AgentId>(0), Ok(read) if read == id));
        assert!(matches!(row.timestamp(1), Ok(at) if at == Timestamp::from_seconds(3)));
    }

    #[test]
    fn debug_shows_no_content() {
        let shown = format!("{:?}", [Value::from("marker"), Value::from(b"marker")]);
        assert!(!shown.contains("marker"), "{shown}");
    }
}
