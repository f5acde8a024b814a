-- The tokens of an account at an OAuth 2 provider: where they stand, and who is refreshing them. The tokens themselves are
-- in `credentials`, sealed. `position` is raised by every new token; `attempt` by every refresh that begins, so that one
-- that was taken for dead cannot write what it got. `holder` is the node that refreshes, until `attempt_until`; without a
-- holder it is the moment before which nobody tries again.
CREATE TABLE provider_tokens (
  tenant BLOB NOT NULL,
  account BLOB NOT NULL,
  state TEXT NOT NULL,
  position INTEGER NOT NULL,
  is_refreshable INTEGER NOT NULL,
  expires_at INTEGER,
  last_error TEXT,
  attempt INTEGER NOT NULL,
  holder BLOB,
  attempt_until INTEGER,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, account)
) WITHOUT ROWID, STRICT;

-- Accounts that people have begun to connect, by the digest of the `state` that the provider sends back. `content` is what
-- was agreed to on our page, as JSON.
CREATE TABLE begun_connects (
  tenant BLOB NOT NULL,
  state BLOB NOT NULL,
  connection BLOB NOT NULL,
  session BLOB NOT NULL,
  content TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at INTEGER,
  PRIMARY KEY (tenant, state)
) WITHOUT ROWID, STRICT;
CREATE INDEX begun_connects_end ON begun_connects (expires_at);
