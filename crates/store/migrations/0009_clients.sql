-- How clients that make themselves known come to agents: rules, and initial access tokens. Two nouns of the common shape.

CREATE TABLE registration_rules (
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
CREATE UNIQUE INDEX registration_rules_name ON registration_rules (tenant, name);
CREATE UNIQUE INDEX registration_rules_natural_key ON registration_rules (tenant, natural_key) WHERE natural_key IS NOT NULL AND state <> 'retired';
CREATE INDEX registration_rules_parent ON registration_rules (tenant, parent) WHERE parent IS NOT NULL;

CREATE TABLE registration_tokens (
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
CREATE UNIQUE INDEX registration_tokens_name ON registration_tokens (tenant, name);
CREATE UNIQUE INDEX registration_tokens_natural_key ON registration_tokens (tenant, natural_key) WHERE natural_key IS NOT NULL AND state <> 'retired';
CREATE INDEX registration_tokens_parent ON registration_tokens (tenant, parent) WHERE parent IS NOT NULL;

-- Clients that registered themselves: the digest of the token that manages the registration (none for a metadata
-- document), and until when somebody must have adopted the client, or it ends (none once somebody has).
CREATE TABLE client_registrations (
  tenant BLOB NOT NULL,
  client BLOB NOT NULL,
  digest BLOB,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  PRIMARY KEY (tenant, client)
) WITHOUT ROWID, STRICT;
CREATE INDEX client_registrations_end ON client_registrations (tenant, expires_at) WHERE expires_at IS NOT NULL;
