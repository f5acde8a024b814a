-- The first schema. Every noun of the directory has a table of the same shape:
--   name         unique in the tenant and never reused: rows are never deleted
--   natural_key  what else is unique among rows in use (an issuer's URL, a resource's URI, …)
--   parent       what the noun hangs on by name (a client's agent, a binding's issuer, …)
--   generation   raised by every revocation; written into everything issued
--   version      raised by every change; what guards assert
--   spec         the rest, as JSON

CREATE TABLE tenants (
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  generation INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  natural_key TEXT,
  parent TEXT,
  spec TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX tenants_name ON tenants (tenant, name);
CREATE UNIQUE INDEX tenants_natural_key ON tenants (tenant, natural_key) WHERE natural_key IS NOT NULL AND state <> 'retired';
CREATE INDEX tenants_parent ON tenants (tenant, parent) WHERE parent IS NOT NULL;

CREATE TABLE trusted_issuers (
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  generation INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  natural_key TEXT,
  parent TEXT,
  spec TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX trusted_issuers_name ON trusted_issuers (tenant, name);
CREATE UNIQUE INDEX trusted_issuers_natural_key ON trusted_issuers (tenant, natural_key) WHERE natural_key IS NOT NULL AND state <> 'retired';
CREATE INDEX trusted_issuers_parent ON trusted_issuers (tenant, parent) WHERE parent IS NOT NULL;

CREATE TABLE users (
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  generation INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  natural_key TEXT,
  parent TEXT,
  spec TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX users_name ON users (tenant, name);
CREATE UNIQUE INDEX users_natural_key ON users (tenant, natural_key) WHERE natural_key IS NOT NULL AND state <> 'retired';
CREATE INDEX users_parent ON users (tenant, parent) WHERE parent IS NOT NULL;

CREATE TABLE agents (
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  generation INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  natural_key TEXT,
  parent TEXT,
  spec TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX agents_name ON agents (tenant, name);
CREATE UNIQUE INDEX agents_natural_key ON agents (tenant, natural_key) WHERE natural_key IS NOT NULL AND state <> 'retired';
CREATE INDEX agents_parent ON agents (tenant, parent) WHERE parent IS NOT NULL;

CREATE TABLE clients (
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  generation INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  natural_key TEXT,
  parent TEXT,
  spec TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX clients_name ON clients (tenant, name);
CREATE UNIQUE INDEX clients_natural_key ON clients (tenant, natural_key) WHERE natural_key IS NOT NULL AND state <> 'retired';
CREATE INDEX clients_parent ON clients (tenant, parent) WHERE parent IS NOT NULL;

CREATE TABLE blueprints (
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  generation INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  natural_key TEXT,
  parent TEXT,
  spec TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX blueprints_name ON blueprints (tenant, name);
CREATE UNIQUE INDEX blueprints_natural_key ON blueprints (tenant, natural_key) WHERE natural_key IS NOT NULL AND state <> 'retired';
CREATE INDEX blueprints_parent ON blueprints (tenant, parent) WHERE parent IS NOT NULL;

CREATE TABLE runtime_bindings (
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  generation INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  natural_key TEXT,
  parent TEXT,
  spec TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX runtime_bindings_name ON runtime_bindings (tenant, name);
CREATE UNIQUE INDEX runtime_bindings_natural_key ON runtime_bindings (tenant, natural_key) WHERE natural_key IS NOT NULL AND state <> 'retired';
CREATE INDEX runtime_bindings_parent ON runtime_bindings (tenant, parent) WHERE parent IS NOT NULL;

CREATE TABLE resources (
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  generation INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  natural_key TEXT,
  parent TEXT,
  spec TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX resources_name ON resources (tenant, name);
CREATE UNIQUE INDEX resources_natural_key ON resources (tenant, natural_key) WHERE natural_key IS NOT NULL AND state <> 'retired';
CREATE INDEX resources_parent ON resources (tenant, parent) WHERE parent IS NOT NULL;

CREATE TABLE grants (
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  generation INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  natural_key TEXT,
  parent TEXT,
  spec TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX grants_name ON grants (tenant, name);
CREATE UNIQUE INDEX grants_natural_key ON grants (tenant, natural_key) WHERE natural_key IS NOT NULL AND state <> 'retired';
CREATE INDEX grants_parent ON grants (tenant, parent) WHERE parent IS NOT NULL;

CREATE TABLE delegations (
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  generation INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  natural_key TEXT,
  parent TEXT,
  spec TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX delegations_name ON delegations (tenant, name);
CREATE UNIQUE INDEX delegations_natural_key ON delegations (tenant, natural_key) WHERE natural_key IS NOT NULL AND state <> 'retired';
CREATE INDEX delegations_parent ON delegations (tenant, parent) WHERE parent IS NOT NULL;

CREATE TABLE policy_sets (
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  generation INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  natural_key TEXT,
  parent TEXT,
  spec TEXT NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX policy_sets_name ON policy_sets (tenant, name);
CREATE UNIQUE INDEX policy_sets_natural_key ON policy_sets (tenant, natural_key) WHERE natural_key IS NOT NULL AND state <> 'retired';
CREATE INDEX policy_sets_parent ON policy_sets (tenant, parent) WHERE parent IS NOT NULL;

-- Secrets of clients: digests only.
CREATE TABLE client_secrets (
  tenant BLOB NOT NULL,
  client BLOB NOT NULL,
  digest BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  PRIMARY KEY (tenant, client, digest)
) WITHOUT ROWID, STRICT;

-- How many tokens were issued on a grant with a budget.
CREATE TABLE grant_uses (
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  used INTEGER NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;

-- Events: leaves of the tenant's log with the parts that stand beside them. `position` is the index in the
-- tree, null until the integrator has folded the event in.
CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  time INTEGER NOT NULL,
  kind TEXT NOT NULL,
  outcome TEXT NOT NULL,
  log_generation INTEGER NOT NULL,
  position INTEGER,
  leaf TEXT NOT NULL,
  mac BLOB NOT NULL,
  parts TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_id ON events (tenant, id);
CREATE INDEX events_pending ON events (tenant, seq) WHERE position IS NULL;
CREATE UNIQUE INDEX events_position ON events (tenant, log_generation, position) WHERE position IS NOT NULL;

-- The head of each tenant's log.
CREATE TABLE log_heads (
  tenant BLOB NOT NULL,
  log_generation INTEGER NOT NULL,
  size INTEGER NOT NULL,
  root BLOB NOT NULL,
  signed_size INTEGER NOT NULL,
  PRIMARY KEY (tenant)
) WITHOUT ROWID, STRICT;

-- Hash tiles in the layout of C2SP tlog-tiles; the rightmost of each level may be partial.
CREATE TABLE log_tiles (
  tenant BLOB NOT NULL,
  log_generation INTEGER NOT NULL,
  level INTEGER NOT NULL,
  tile INTEGER NOT NULL,
  hashes BLOB NOT NULL,
  PRIMARY KEY (tenant, log_generation, level, tile)
) WITHOUT ROWID, STRICT;

-- Signed checkpoints.
CREATE TABLE checkpoints (
  tenant BLOB NOT NULL,
  log_generation INTEGER NOT NULL,
  size INTEGER NOT NULL,
  time INTEGER NOT NULL,
  note TEXT NOT NULL,
  PRIMARY KEY (tenant, log_generation, size)
) WITHOUT ROWID, STRICT;

-- The revocation feed: every change of a noun, read by every node. On PostgreSQL `transaction_id` orders
-- rows so that a reader misses none (see change.rs); on SQLite it is 0.
CREATE TABLE changes (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant BLOB NOT NULL,
  noun TEXT NOT NULL,
  id BLOB NOT NULL,
  generation INTEGER NOT NULL,
  time INTEGER NOT NULL,
  transaction_id INTEGER NOT NULL
) STRICT;
CREATE INDEX changes_transaction ON changes (transaction_id);

-- Access tokens revoked one by one, until they would have ended.
CREATE TABLE revoked_tokens (
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;
CREATE INDEX revoked_tokens_end ON revoked_tokens (expires_at);

-- What may be used once: digests of assertions' `jti` and the like, until they would have ended.
CREATE TABLE consumed (
  tenant BLOB NOT NULL,
  kind TEXT NOT NULL,
  digest BLOB NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, kind, digest)
) WITHOUT ROWID, STRICT;
CREATE INDEX consumed_end ON consumed (expires_at);

-- Answers to requests with an idempotency key.
CREATE TABLE idempotency (
  tenant BLOB NOT NULL,
  actor TEXT NOT NULL,
  key TEXT NOT NULL,
  request BLOB NOT NULL,
  status INTEGER NOT NULL,
  response TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, actor, key)
) WITHOUT ROWID, STRICT;
CREATE INDEX idempotency_end ON idempotency (expires_at);

-- The root key's id and check value, written once.
CREATE TABLE root_key (
  singleton INTEGER NOT NULL PRIMARY KEY,
  id TEXT NOT NULL,
  check_value BLOB NOT NULL
) STRICT;

-- Tenant keys, sealed under the root key.
CREATE TABLE tenant_keys (
  tenant BLOB NOT NULL,
  sealed BLOB NOT NULL,
  PRIMARY KEY (tenant)
) WITHOUT ROWID, STRICT;

-- Signing keys, sealed under the tenant key.
CREATE TABLE signing_keys (
  tenant BLOB NOT NULL,
  kid TEXT NOT NULL,
  purpose TEXT NOT NULL,
  algorithm TEXT NOT NULL,
  state TEXT NOT NULL,
  public TEXT NOT NULL,
  sealed BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  retires_at INTEGER,
  PRIMARY KEY (tenant, kid)
) WITHOUT ROWID, STRICT;

-- Work that one node at a time does. `epoch` rises with every new holder and fences the old one off.
CREATE TABLE leases (
  name TEXT NOT NULL PRIMARY KEY,
  holder BLOB NOT NULL,
  epoch INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;

-- One-time codes that enrol the first administrator.
CREATE TABLE enrolments (
  tenant BLOB NOT NULL,
  digest BLOB NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at INTEGER,
  PRIMARY KEY (tenant, digest)
) WITHOUT ROWID, STRICT;
