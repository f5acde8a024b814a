-- As 0006_calls.sql; only the name of the function that finds a text differs.
CREATE INDEX events_calls ON events (tenant, time, seq) WHERE kind = 'call.decided';
CREATE INDEX events_call_ends ON events (tenant, substr(leaf, strpos(leaf, 'dec_'), 30)) WHERE kind = 'call.ended';
