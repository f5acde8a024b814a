-- As 0016_people_grow.sql; only the name of the function that finds a text differs.
-- Grants by whom they are for: `parent` is an agent's name, a space, and the principal.
CREATE INDEX grants_principal ON grants (tenant, substr(parent, strpos(parent, ' ') + 1), name) WHERE state <> 'retired';
-- What is over is forgotten by when it began.
CREATE INDEX sessions_begun ON sessions (created_at);
CREATE INDEX token_families_begun ON token_families (created_at);
CREATE INDEX session_uses_seen ON session_uses (last_seen);
