-- A tenant's key while it is rotated: the one before, until nothing is sealed under it any more. `former_mac` is the
-- key of the MAC over events that was derived from the one before, sealed under the present one: an event that was
-- written just before the rotation is still taken into the log. `rotated_at` is when the present key came.
ALTER TABLE tenant_keys ADD COLUMN previous BLOB;
ALTER TABLE tenant_keys ADD COLUMN former_mac BLOB;
ALTER TABLE tenant_keys ADD COLUMN rotated_at INTEGER;

-- Restores of the database from a backup: the log generation that each began, the one before as it was last known,
-- and when somebody confirmed that what was lost has been looked at. Until then the tenant issues nothing.
CREATE TABLE restores (
  tenant BLOB NOT NULL,
  log_generation INTEGER NOT NULL,
  previous_generation INTEGER NOT NULL,
  time INTEGER NOT NULL,
  confirmed_at INTEGER,
  PRIMARY KEY (tenant, log_generation)
) WITHOUT ROWID, STRICT;
