-- Device authorization (RFC 8628): what a device asked for, until a person answers and the device has its token. `digest`
-- is that of the device code, of 256 bits. `user_code` is a MAC under a key of the tenant: a code that people type could
-- be found from its digest. `request` is what was asked, `content` what was agreed to, as JSON; `family` is the id that
-- everything issued on it gets.
CREATE TABLE device_codes (
  tenant BLOB NOT NULL,
  id BLOB NOT NULL,
  digest BLOB NOT NULL,
  user_code BLOB NOT NULL,
  client BLOB NOT NULL,
  state TEXT NOT NULL,
  request TEXT NOT NULL,
  family BLOB,
  content TEXT,
  poll_interval INTEGER NOT NULL,
  polled_at INTEGER,
  expires_at INTEGER NOT NULL,
  used_at INTEGER,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX device_codes_digest ON device_codes (tenant, digest);
CREATE UNIQUE INDEX device_codes_user_code ON device_codes (tenant, user_code) WHERE state = 'pending';
CREATE INDEX device_codes_end ON device_codes (expires_at);
