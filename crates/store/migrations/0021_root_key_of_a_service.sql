-- A root key that a service holds: where it is, and a key that the service wrapped, by which it is recognised.
ALTER TABLE root_key ADD COLUMN source TEXT;
ALTER TABLE root_key ADD COLUMN wrapped BLOB;
