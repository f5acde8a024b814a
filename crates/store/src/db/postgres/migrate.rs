//! Applying migrations on PostgreSQL, one node at a time.

use super::super::Engine;
use super::super::error::DbError;
use super::super::migrate::{APPLIED, INFRASTRUCTURE, Migration, MigrationError, RECORD, plan};
use super::super::value::Value;
use super::codec::{Bound, references};
use super::{Postgres, code};
use deadpool_postgres::Object;

impl Postgres {
    pub(crate) async fn migrate(&self, migrations: &'static [Migration]) -> Result<(), DbError> {
        let client = self.client().await?;
        let result = self.migrate_on(&client, migrations).await;
        // The session's settings and its lock end with it.
        drop(Object::take(client));
        result
    }

    async fn migrate_on(&self, client: &Object, migrations: &'static [Migration]) -> Result<(), DbError> {
        let failed = |error: tokio_postgres::Error| code::classify(&error, "migrate");
        client.batch_execute(LOCK).await.map_err(failed)?;
        client
            .batch_execute(INFRASTRUCTURE.postgres)
            .await
            .map_err(failed)?;
        let applied = self.rows(client, APPLIED.postgres, &[]).await?;
        for migration in plan(migrations, &applied, Engine::Postgres)? {
            if let Err(error) = self.apply(client, migration).await {
                return Err(MigrationError::Failed {
                    number: migration.number,
                    name: migration.name,
                    reason: code::describe(&error),
                }
                .into());
            }
        }
        Ok(())
    }

    async fn apply(&self, client: &Object, migration: &Migration) -> Result<(), tokio_postgres::Error> {
        client.batch_execute("BEGIN").await?;
        client.batch_execute(&migration.text(Engine::Postgres)).await?;
        let values = [
            migration.number.into(),
            migration.name.into(),
            Value::Blob(migration.checksum(Engine::Postgres)),
        ];
        let bound: Vec<Bound<'_>> = values.iter().map(Bound).collect();
        client
            .execute(self.text(RECORD.postgres).as_ref(), &references(&bound))
            .await?;
        client.batch_execute("COMMIT").await
    }
}

/// A node waits for another's migrations as long as they take. The number is ours alone.
const LOCK: &str = "SET default_transaction_read_only = off; SET statement_timeout = 0; SET lock_timeout = 0; \
     SET idle_in_transaction_session_timeout = 0; SELECT pg_advisory_lock(4854712203918734947)";
