-- What an MCP server says of its tools, prompts and resources: the definition that is accepted, and the one that
-- was seen last. Where they differ, the thing is in quarantine until somebody accepts the new one.
CREATE TABLE manifests (
  tenant BLOB NOT NULL,
  resource BLOB NOT NULL,
  listing TEXT NOT NULL,
  name TEXT NOT NULL,
  accepted_digest TEXT NOT NULL,
  accepted_content TEXT NOT NULL,
  seen_digest TEXT NOT NULL,
  seen_content TEXT NOT NULL,
  seen_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, resource, listing, name)
) WITHOUT ROWID, STRICT;
