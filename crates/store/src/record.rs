//! What all nouns of the directory share in storage: one table shape, one set of queries.

use crate::db::{Db, DbError, Expect, Row, Sql, Statement, Value};
use chancery_core::id::TenantId;
use chancery_core::name::Name;
use chancery_core::noun::{Lifecycle, Noun, Record, Spec};

/// The queries of one noun's table.
#[derive(Debug)]
pub struct Table {
    by_id: Sql,
    by_name: Sql,
    by_natural_key: Sql,
    by_parent: Sql,
    page: Sql,
    insert: Sql,
    update: Sql,
    pub(crate) guard: Sql,
}

/// The queries of the table with this name.
macro_rules! table {
    ($name:literal) => {
        $crate::record::Table::new(
            $crate::Sql::same(concat!(
                "SELECT id, name, state, generation, version, created_at, updated_at, spec FROM ", $name,
                " WHERE tenant = ?1 AND id = ?2"
            )),
            $crate::Sql::same(concat!(
                "SELECT id, name, state, generation, version, created_at, updated_at, spec FROM ", $name,
                " WHERE tenant = ?1 AND name = ?2"
            )),
            $crate::Sql::same(concat!(
                "SELECT id, name, state, generation, version, created_at, updated_at, spec FROM ", $name,
                " WHERE tenant = ?1 AND natural_key = ?2 AND state <> 'retired'"
            )),
            $crate::Sql::same(concat!(
                "SELECT id, name, state, generation, version, created_at, updated_at, spec FROM ", $name,
                " WHERE tenant = ?1 AND parent = ?2 AND state <> 'retired' ORDER BY name LIMIT 10000"
            )),
            $crate::Sql::same(concat!(
                "SELECT id, name, state, generation, version, created_at, updated_at, spec FROM ", $name,
                " WHERE tenant = ?1 AND name > ?2 AND (?3 = '' OR state = ?3) ORDER BY name LIMIT ?4"
            )),
            $crate::Sql::same(concat!(
                "INSERT INTO ", $name,
                " (tenant, id, name, state, generation, version, created_at, updated_at, natural_key, parent, spec)",
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
            )),
            $crate::Sql::same(concat!(
                "UPDATE ", $name, " SET state = ?4, generation = ?5, version = ?6, updated_at = ?7,",
                " natural_key = ?8, parent = ?9, spec = ?10 WHERE tenant = ?1 AND id = ?2 AND version = ?3"
            )),
            $crate::Sql::pair(
                concat!("SELECT 1 FROM ", $name, " WHERE tenant = ?1 AND id = ?2 AND version = ?3"),
                concat!("SELECT 1 FROM ", $name, " WHERE tenant = ?1 AND id = ?2 AND version = ?3 FOR SHARE"),
            ),
        )
    };
}
pub(crate) use table;

impl Table {
    #[expect(
        clippy::too_many_arguments,
        reason = "called by the macro above only, which names each query"
    )]
    pub(crate) const fn new(
        by_id: Sql,
        by_name: Sql,
        by_natural_key: Sql,
        by_parent: Sql,
        page: Sql,
        insert: Sql,
        update: Sql,
        guard: Sql,
    ) -> Self {
        Self {
            by_id,
            by_name,
            by_natural_key,
            by_parent,
            page,
            insert,
            update,
            guard,
        }
    }
}

/// A noun that has a table.
pub trait Stored: Spec {
    /// Its queries.
    const TABLE: &'static Table;

    /// What else is unique among rows in use.
    fn natural_key(&self, state: Lifecycle) -> Option<String> {
        let _ = state;
        None
    }

    /// The name of what it hangs on.
    fn parent(&self) -> Option<String> {
        None
    }
}

/// One page of a list, in order of names.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// Names after this one; empty for the first page.
    pub after: &'a str,
    /// Only rows in this state.
    pub state: Option<Lifecycle>,
    /// At most so many.
    pub limit: u32,
}

/// The record with this id.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub async fn find_by_id<S: Stored>(
    db: &Db,
    tenant: TenantId,
    id: S::Id,
) -> Result<Option<Record<S::Id, S>>, DbError> {
    let row = db
        .query_optional(&S::TABLE.by_id, vec![Value::id(tenant), Value::id(id)])
        .await?;
    row.as_ref().map(read).transpose()
}

/// The record with this name.
///
/// # Errors
/// As [`find_by_id`].
pub async fn find_by_name<S: Stored>(
    db: &Db,
    tenant: TenantId,
    name: &Name,
) -> Result<Option<Record<S::Id, S>>, DbError> {
    let row = db
        .query_optional(
            &S::TABLE.by_name,
            vec![Value::id(tenant), Value::from(name.as_str())],
        )
        .await?;
    row.as_ref().map(read).transpose()
}

/// The record in use with this natural key.
///
/// # Errors
/// As [`find_by_id`].
pub async fn find_by_natural_key<S: Stored>(
    db: &Db,
    tenant: TenantId,
    key: &str,
) -> Result<Option<Record<S::Id, S>>, DbError> {
    let row = db
        .query_optional(
            &S::TABLE.by_natural_key,
            vec![Value::id(tenant), Value::from(key)],
        )
        .await?;
    row.as_ref().map(read).transpose()
}

/// Records in use that hang on this parent.
///
/// # Errors
/// As [`find_by_id`].
pub async fn list_by_parent<S: Stored>(
    db: &Db,
    tenant: TenantId,
    parent: &str,
) -> Result<Vec<Record<S::Id, S>>, DbError> {
    let rows = db
        .query(&S::TABLE.by_parent, vec![Value::id(tenant), Value::from(parent)])
        .await?;
    rows.iter().map(read).collect()
}

/// One page of records in order of names.
///
/// # Errors
/// As [`find_by_id`].
pub async fn list<S: Stored>(
    db: &Db,
    tenant: TenantId,
    page: &Page<'_>,
) -> Result<Vec<Record<S::Id, S>>, DbError> {
    let state = page.state.map_or("", Lifecycle::as_str);
    let params = vec![
        Value::id(tenant),
        Value::from(page.after),
        Value::from(state),
        Value::from(page.limit),
    ];
    let rows = db.query(&S::TABLE.page, params).await?;
    rows.iter().map(read).collect()
}

/// Inserts a record. Fails with label `exists` if its name or natural key is taken.
pub fn insert<S: Stored>(tenant: TenantId, record: &Record<S::Id, S>) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(record.id),
        Value::from(record.name.as_str()),
        Value::from(record.state.as_str()),
        number(record.generation),
        number(record.version),
        Value::from(record.created_at),
        Value::from(record.updated_at),
        Value::from(record.spec.natural_key(record.state)),
        Value::from(record.spec.parent()),
        Value::from(spec_text(&record.spec)),
    ];
    Statement::new(&S::TABLE.insert, params, Expect::Unique, "exists")
}

/// Writes a record over the version before it. Fails with label `changed` if that is not what is stored.
pub fn update<S: Stored>(tenant: TenantId, record: &Record<S::Id, S>) -> Statement {
    let params = vec![
        Value::id(tenant),
        Value::id(record.id),
        number(record.version.saturating_sub(1)),
        Value::from(record.state.as_str()),
        number(record.generation),
        number(record.version),
        Value::from(record.updated_at),
        Value::from(record.spec.natural_key(record.state)),
        Value::from(record.spec.parent()),
        Value::from(spec_text(&record.spec)),
    ];
    Statement::new(&S::TABLE.update, params, Expect::Rows(1), "changed")
}

/// A counter as a column.
pub(crate) fn number(counter: u64) -> Value {
    Value::from(i64::try_from(counter).unwrap_or(i64::MAX))
}

/// A column as a counter.
pub(crate) fn counter(row: &Row, column: usize) -> Result<u64, DbError> {
    u64::try_from(row.integer(column)?).map_err(|_| corrupt("a counter is negative"))
}

/// A row that cannot be.
pub(crate) fn corrupt(reason: &str) -> DbError {
    DbError::Corrupt {
        reason: reason.to_owned(),
    }
}

/// Every query of every noun's table.
pub(crate) fn queries() -> Vec<&'static Sql> {
    crate::guard::TABLES
        .iter()
        .flat_map(|(_, table)| {
            [
                &table.by_id,
                &table.by_name,
                &table.by_natural_key,
                &table.by_parent,
                &table.page,
                &table.insert,
                &table.update,
                &table.guard,
            ]
        })
        .collect()
}

pub(crate) fn read<S: Stored>(row: &Row) -> Result<Record<S::Id, S>, DbError> {
    let spec = row.text(7)?;
    let broken = |_| DbError::Corrupt {
        reason: format!("the spec of a {} cannot be read", S::NOUN),
    };
    Ok(Record {
        id: row.id(0)?,
        name: row
            .text(1)?
            .parse()
            .map_err(|_| corrupt("a name cannot be read"))?,
        state: Lifecycle::parse(&row.text(2)?).ok_or_else(|| corrupt("a state cannot be read"))?,
        generation: counter(row, 3)?,
        version: counter(row, 4)?,
        created_at: row.timestamp(5)?,
        updated_at: row.timestamp(6)?,
        spec: serde_json::from_str(&spec).map_err(broken)?,
    })
}

/// A spec as JSON text. Specs are maps with text keys, so that writing them cannot fail.
fn spec_text<S: Spec>(spec: &S) -> String {
    serde_json::to_string(spec).unwrap_or_else(|_| unreachable!("{} specs are plain JSON", noun::<S>()))
}

fn noun<S: Spec>() -> Noun {
    S::NOUN
}
