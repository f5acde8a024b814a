-- People: their sessions, and what was issued on the codes that they agreed to. Two nouns of the common shape.

CREATE TABLE sessions (
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
CREATE UNIQUE INDEX sessions_name ON sessions (tenant, name);
CREATE UNIQUE INDEX sessions_natural_key ON sessions (tenant, natural_key) WHERE natural_key IS NOT NULL AND state <> 'retired';
CREATE INDEX sessions_parent ON sessions (tenant, parent, name) WHERE parent IS NOT NULL;

CREATE TABLE token_families (
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
CREATE UNIQUE INDEX token_families_name ON token_families (tenant, name);
CREATE UNIQUE INDEX token_families_natural_key ON token_families (tenant, natural_key) WHERE natural_key IS NOT NULL AND state <> 'retired';
CREATE INDEX token_families_parent ON token_families (tenant, parent, name) WHERE parent IS NOT NULL;

-- When a session was last used.
CREATE TABLE session_uses (
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  last_seen INTEGER NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;

-- Sign-ins at an outside issuer that have begun, by the digest of their `state`. `browser` is the digest of the secret
-- in the cookie of the browser that began it.
CREATE TABLE sign_ins (
  tenant BLOB NOT NULL,
  state BLOB NOT NULL,
  issuer BLOB NOT NULL,
  browser BLOB NOT NULL,
  return_to TEXT NOT NULL,
  max_age INTEGER,
  expires_at INTEGER NOT NULL,
  used_at INTEGER,
  PRIMARY KEY (tenant, state)
) WITHOUT ROWID, STRICT;
CREATE INDEX sign_ins_end ON sign_ins (expires_at);

-- Authorization requests that wait for a person's answer. `request` is what was asked, as JSON.
CREATE TABLE authorization_requests (
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  session BLOB NOT NULL,
  request TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  answered_at INTEGER,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;
CREATE INDEX authorization_requests_end ON authorization_requests (expires_at);

-- Authorization codes, by their digest. `family` is the id that everything issued on the code gets.
CREATE TABLE authorization_codes (
  tenant BLOB NOT NULL,
  digest BLOB NOT NULL,
  family BLOB NOT NULL,
  content TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at INTEGER,
  PRIMARY KEY (tenant, digest)
) WITHOUT ROWID, STRICT;
CREATE INDEX authorization_codes_end ON authorization_codes (expires_at);

-- The refresh token of a family: which one of its line is the present one, its digest, and that of the one before.
CREATE TABLE refresh_tokens (
  tenant BLOB NOT NULL,
  family BLOB NOT NULL,
  position INTEGER NOT NULL,
  digest BLOB NOT NULL,
  previous BLOB,
  rotated_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, family)
) WITHOUT ROWID, STRICT;
CREATE INDEX refresh_tokens_end ON refresh_tokens (expires_at);
