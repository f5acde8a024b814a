-- Downstream providers, and the accounts of owners there: two nouns of the common shape.

CREATE TABLE connections (
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
CREATE UNIQUE INDEX connections_name ON connections (tenant, name);
CREATE UNIQUE INDEX connections_natural_key ON connections (tenant, natural_key) WHERE natural_key IS NOT NULL AND state <> 'retired';
CREATE INDEX connections_parent ON connections (tenant, parent) WHERE parent IS NOT NULL;

CREATE TABLE connected_accounts (
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
CREATE UNIQUE INDEX connected_accounts_name ON connected_accounts (tenant, name);
CREATE UNIQUE INDEX connected_accounts_natural_key ON connected_accounts (tenant, natural_key) WHERE natural_key IS NOT NULL AND state <> 'retired';
CREATE INDEX connected_accounts_parent ON connected_accounts (tenant, parent) WHERE parent IS NOT NULL;

-- What the vault sealed, one row for each account. It is replaced and deleted; it is never history.
CREATE TABLE credentials (
  tenant BLOB NOT NULL,
  account BLOB NOT NULL,
  sealed BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, account)
) WITHOUT ROWID, STRICT;
