//! The reader threads: each has a connection that can only read, all take from one bounded queue.

use super::super::error::DbError;
use super::super::value::{Row, Value};
use super::code::classify;
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection};
use std::sync::{Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// What a reader is asked to do.
pub(super) enum Read {
    /// Run one query.
    Query {
        sql: &'static str,
        params: Vec<Value>,
        reply: oneshot::Sender<Result<Vec<Row>, DbError>>,
    },
    /// Answer what is queued, then stop.
    Close,
}

/// Runs until the queue is closed and empty.
pub(super) fn run(connection: &Connection, queue: &Mutex<mpsc::Receiver<Read>>) {
    loop {
        // The lock is held while waiting: whoever holds it takes the next query.
        let mut waiting = queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(read) = waiting.blocking_recv() else {
            return;
        };
        match read {
            Read::Close => waiting.close(),
            Read::Query { sql, params, reply } => {
                drop(waiting);
                if !reply.is_closed() {
                    // The caller may have stopped waiting; then nobody needs the rows.
                    reply.send(query(connection, sql, &params)).ok();
                }
            }
        }
    }
}

/// Runs a query and reads all its rows.
pub(super) fn query(
    connection: &Connection,
    sql: &'static str,
    params: &[Value],
) -> Result<Vec<Row>, DbError> {
    let failed = |error: rusqlite::Error| classify(&error, sql);
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    if !statement.readonly() {
        return Err(DbError::driver(sql, "a query must not write"));
    }
    bind(&mut statement, params).map_err(failed)?;

    let columns = statement.column_count();
    let mut found = Vec::new();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next().map_err(failed)? {
        let values = (0..columns)
            .map(|column| value(row.get_ref(column).map_err(failed)?, column))
            .collect::<Result<_, _>>()?;
        found.push(Row::new(values));
    }
    Ok(found)
}

/// Binds all parameters; too few and too many are errors.
pub(super) fn bind(statement: &mut CachedStatement<'_>, params: &[Value]) -> rusqlite::Result<()> {
    let wanted = statement.parameter_count();
    if wanted != params.len() {
        return Err(rusqlite::Error::InvalidParameterCount(params.len(), wanted));
    }
    for (position, param) in params.iter().enumerate() {
        statement.raw_bind_parameter(position + 1, Bound(param))?;
    }
    Ok(())
}

struct Bound<'a>(&'a Value);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        let value = match self.0 {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(*number),
            // PostgreSQL cannot keep such a text, so neither engine takes it.
            Value::Text(text) if text.contains('\0') => {
                let reason = "text with a zero byte".into();
                return Err(rusqlite::Error::ToSqlConversionFailure(reason));
            }
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        };
        Ok(rusqlite::types::ToSqlOutput::Borrowed(value))
    }
}

fn value(value: ValueRef<'_>, column: usize) -> Result<Value, DbError> {
    match value {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(number) => Ok(Value::Integer(number)),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Ok(Value::Text(text.to_owned())),
            Err(_) => Err(DbError::corrupt(format!("column {column} is not UTF-8"))),
        },
        ValueRef::Blob(bytes) => Ok(Value::Blob(bytes.to_vec())),
        ValueRef::Real(_) => Err(DbError::corrupt(format!("column {column} is a fraction"))),
    }
}
