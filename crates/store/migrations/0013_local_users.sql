-- Local people: what they sign in with. `hash` is a PHC string (argon2id).
CREATE TABLE passwords (
  tenant BLOB NOT NULL,
  person BLOB NOT NULL,
  hash TEXT NOT NULL,
  changed_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, person)
) WITHOUT ROWID, STRICT;

-- Passkeys of people, local or not. `credential` is the id that the authenticator gave it, `content` what is kept of it, as
-- JSON. Only those of local people sign in; the others say yes.
CREATE TABLE passkeys (
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  person BLOB NOT NULL,
  name TEXT NOT NULL,
  credential BLOB NOT NULL,
  content TEXT NOT NULL,
  signs_in INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  used_at INTEGER,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX passkeys_credential ON passkeys (tenant, credential);
CREATE INDEX passkeys_person ON passkeys (tenant, person);
CREATE INDEX passkeys_sign_in ON passkeys (tenant) WHERE signs_in = 1;

-- One-time codes with which a local person sets a password or registers a passkey. `generation` is the person's when the
-- code was made: what ends the person's sessions ends the code.
CREATE TABLE invitations (
  tenant BLOB NOT NULL,
  digest BLOB NOT NULL,
  person BLOB NOT NULL,
  generation INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at INTEGER,
  PRIMARY KEY (tenant, digest)
) WITHOUT ROWID, STRICT;
CREATE INDEX invitations_person ON invitations (tenant, person);
CREATE INDEX invitations_end ON invitations (expires_at);

-- Tries of passwords, by the SHA-256 of the account or source that they are counted for. Nobody tries again before `until`.
CREATE TABLE password_tries (
  tenant BLOB NOT NULL,
  subject BLOB NOT NULL,
  tries INTEGER NOT NULL,
  delay INTEGER NOT NULL,
  until INTEGER NOT NULL,
  tried_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, subject)
) WITHOUT ROWID, STRICT;
CREATE INDEX password_tries_end ON password_tries (tried_at);

-- What a passkey signed when somebody said yes: the assertion, as JSON.
CREATE TABLE approval_assertions (
  tenant BLOB NOT NULL,
  approval BLOB NOT NULL,
  person BLOB NOT NULL,
  assertion TEXT NOT NULL,
  PRIMARY KEY (tenant, approval, person)
) WITHOUT ROWID, STRICT;
