//! The schema's history: forward only, never edited after it was released.

use crate::db::{Migration, Sql};

/// Every migration in order.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        number: 1,
        name: "first",
        sql: Sql::same(include_str!("../migrations/0001_first.sql")),
    },
    Migration {
        number: 2,
        name: "one of each",
        sql: Sql::same(include_str!("../migrations/0002_one_of_each.sql")),
    },
    Migration {
        number: 3,
        name: "connections",
        sql: Sql::same(include_str!("../migrations/0003_connections.sql")),
    },
    Migration {
        number: 4,
        name: "manifests",
        sql: Sql::same(include_str!("../migrations/0004_manifests.sql")),
    },
    Migration {
        number: 5,
        name: "siblings",
        sql: Sql::same(include_str!("../migrations/0005_siblings.sql")),
    },
    Migration {
        number: 6,
        name: "calls",
        sql: Sql::pair(
            include_str!("../migrations/0006_calls.sql"),
            include_str!("../migrations/0006_calls_postgres.sql"),
        ),
    },
    Migration {
        number: 7,
        name: "rotation and restore",
        sql: Sql::same(include_str!("../migrations/0007_rotation_and_restore.sql")),
    },
    Migration {
        number: 8,
        name: "people",
        sql: Sql::same(include_str!("../migrations/0008_people.sql")),
    },
    Migration {
        number: 9,
        name: "clients",
        sql: Sql::same(include_str!("../migrations/0009_clients.sql")),
    },
    Migration {
        number: 10,
        name: "approvals",
        sql: Sql::same(include_str!("../migrations/0010_approvals.sql")),
    },
    Migration {
        number: 11,
        name: "positions",
        sql: Sql::pair(
            include_str!("../migrations/0011_positions.sql"),
            include_str!("../migrations/0011_positions_postgres.sql"),
        ),
    },
    Migration {
        number: 12,
        name: "rules by parent",
        sql: Sql::same(include_str!("../migrations/0012_rules_by_parent.sql")),
    },
    Migration {
        number: 13,
        name: "local users",
        sql: Sql::same(include_str!("../migrations/0013_local_users.sql")),
    },
    Migration {
        number: 14,
        name: "device codes",
        sql: Sql::same(include_str!("../migrations/0014_device_codes.sql")),
    },
    Migration {
        number: 16,
        name: "people grow",
        sql: Sql::pair(
            include_str!("../migrations/0016_people_grow.sql"),
            include_str!("../migrations/0016_people_grow_postgres.sql"),
        ),
    },
    Migration {
        number: 19,
        name: "provider tokens",
        sql: Sql::same(include_str!("../migrations/0019_provider_tokens.sql")),
    },
    Migration {
        number: 20,
        name: "accounts by owner",
        sql: Sql::pair(
            include_str!("../migrations/0020_accounts_by_owner.sql"),
            include_str!("../migrations/0020_accounts_by_owner_postgres.sql"),
        ),
    },
    Migration {
        number: 21,
        name: "root key of a service",
        sql: Sql::same(include_str!("../migrations/0021_root_key_of_a_service.sql")),
    },
];
